"""Returns of whole rollouts, as plain functions of arrays ``[T, ...]`` with time in front.

They share one vocabulary. For the transition at time t, `rewards` is r_t; `discount` is gamma, or 0 where the episode
terminated; `cut` says that the episode ended here, terminated or truncated; `v_next` is a value at the *true* next
observation, which is not the value at t + 1 where there is a cut. The end of the rollout counts as a cut.
"""

from ._discounted import discounted_returns
from ._nstep import NStepWindows, n_step_returns, n_step_windows

__all__ = ("NStepWindows", "discounted_returns", "n_step_returns", "n_step_windows")
