"""What role an object plays, by the abstract classes of :mod:`coax.typing`."""

from __future__ import annotations

from typing import Any

from ..typing import (
    AbstractPolicy,
    AbstractQ,
    AbstractRewardFunction,
    AbstractStochastic,
    AbstractTransitionModel,
    AbstractV,
)

__all__ = ("is_policy", "is_qfunction", "is_reward_function", "is_stochastic", "is_transition_model", "is_vfunction")


def is_vfunction(obj: Any) -> bool:
    """Whether this is a state value function, stochastic or not."""
    return isinstance(obj, AbstractV)


def is_qfunction(obj: Any) -> bool:
    """Whether this is a function of state and action with a scalar outcome: a value, or a reward."""
    return isinstance(obj, AbstractQ)


def is_policy(obj: Any) -> bool:
    """Whether this is a policy that an updater can evaluate, which the random policy is not."""
    return isinstance(obj, AbstractPolicy)


def is_stochastic(obj: Any) -> bool:
    """Whether the forward pass gives the parameters of a distribution; not so for policies derived from values."""
    return isinstance(obj, AbstractStochastic)


def is_transition_model(obj: Any) -> bool:
    """Whether this is a model of the next state."""
    return isinstance(obj, AbstractTransitionModel)


def is_reward_function(obj: Any) -> bool:
    """Whether this is a model of the reward."""
    return isinstance(obj, AbstractRewardFunction)
