"""Transitions over whole episodes."""

from __future__ import annotations

from .._entries import Fixed
from ._base import BaseRewardTracer
from ._scalars import as_gamma
from ._windows import Window

__all__ = ("MonteCarlo",)


class MonteCarlo(BaseRewardTracer):
    r"""Traces full returns, :math:`G_t = r_t + \gamma G_{t+1}`.

    Transitions can be popped when the episode is over, and come last to first. After a termination `In` is 0. After a
    truncation `Rn` holds the discounted rewards up to the cut, `S_next` is the true last observation and `In` is gamma
    to the number of steps up to it, so that ``Rn + In * v(S_next)`` is the bootstrapped return.

    Parameters
    ----------
    gamma : float
        Discount factor, in [0, 1].
    num_envs : int, optional
        Of how many environments the steps come at once, see :meth:`add`. By default of a single one.

    Raises
    ------
    TypeError, ValueError
        If `gamma` or `num_envs` is not a number, or out of range.

    References
    ----------
    Sutton and Barto (2018), section 5.1; Pardo et al. (2018), Time limits in reinforcement learning, section 3.1.
    """

    instead = "use coax.reward_tracing.monte_carlo_transitions over a coax.training.rollout"

    gamma = Fixed("_gamma", "Discount factor.", "tracer")

    def __init__(self, gamma: float, *, num_envs: int | None = None):
        self._gamma = as_gamma(gamma)
        super().__init__(num_envs)

    def _ready(self) -> bool:
        return bool(self._end) and len(self) > 0

    def _all(self) -> list[Window]:
        return [self._next() for _ in range(len(self))]

    def _next(self) -> Window:
        step = self._steps[-1 - self._popped]
        self._partial = rn = step.r + self._gamma * self._partial
        self._popped += 1
        goes_on, s_next, a_next, logp_next = self._final(step)
        in_ = self._gamma**self._popped if goes_on else 0.0
        if not len(self):
            self._clear()
        return Window(step.s, step.a, s_next, a_next, (step.logp, rn, in_, logp_next, step.w), None)
