"""Transitions: what they hold, and how they are traced from a stream of steps."""

from ._batches import check_batch, concatenate, needs_a_next, require_a_next
from ._device_nstep import DeviceNStep
from ._lambdareturn import LambdaReturn
from ._montecarlo import MonteCarlo
from ._nstep import NStep
from ._random_batch import get_transition_batch
from ._rollouts import Rollout, lambda_transitions, monte_carlo_transitions, n_step_transitions
from ._transition_batch import TransitionBatch

__all__ = (
    "DeviceNStep",
    "LambdaReturn",
    "MonteCarlo",
    "NStep",
    "Rollout",
    "TransitionBatch",
    "check_batch",
    "concatenate",
    "get_transition_batch",
    "lambda_transitions",
    "monte_carlo_transitions",
    "n_step_transitions",
    "needs_a_next",
    "require_a_next",
)
