"""Returns of whole rollouts, as plain functions of arrays ``[T, ...]`` with time in front.

They share one vocabulary. For the transition at time t, `rewards` is r_t; `discount` is gamma, or 0 where the episode
terminated; `cut` says that the episode ended here, terminated or truncated; `v_next` is a value at the *true* next
observation, which is not the value at t + 1 where there is a cut. The end of the rollout counts as a cut. `v` is the
value at the observation itself, `rho` the importance ratio of the action that was taken there.

From NumPy arrays come NumPy arrays, and jax is left alone. If one argument is a jax array, so are the results: the
functions can be compiled, mapped and differentiated.
"""

from ._advantages import generalized_advantages
from ._discounted import discounted_returns
from ._lambda import lambda_returns
from ._nstep import NStepWindows, n_step_returns, n_step_windows
from ._retrace import retrace
from ._vtrace import VTrace, vtrace

__all__ = (
    "NStepWindows",
    "VTrace",
    "discounted_returns",
    "generalized_advantages",
    "lambda_returns",
    "n_step_returns",
    "n_step_windows",
    "retrace",
    "vtrace",
)
