"""Transitions over whole episodes."""

from __future__ import annotations

from ._base import BaseRewardTracer
from ._scalars import as_gamma
from ._transition_batch import TransitionBatch
from ._windows import Window, batched, single

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

    Raises
    ------
    TypeError, ValueError
        If `gamma` is not a number, or out of range.

    References
    ----------
    Sutton and Barto (2018), section 5.1; Pardo et al. (2018), Time limits in reinforcement learning, section 3.1.
    """

    def __init__(self, gamma: float):
        self._gamma = as_gamma(gamma)
        self._clear()

    @property
    def gamma(self) -> float:  # type: ignore[override]
        """Discount factor."""
        return self._gamma

    def __bool__(self) -> bool:
        return bool(self._end) and len(self) > 0

    def pop(self) -> TransitionBatch:
        """The latest transition, as a batch of size 1.

        Raises
        ------
        InsufficientCacheError
            If the episode is not over, or nothing is left of it.
        """
        self._on_host("pop")
        self._need()
        return single(self._pop())

    def flush(self) -> TransitionBatch:
        """All transitions of the episode, as one batch, last to first.

        Raises
        ------
        InsufficientCacheError
            If the episode is not over, or nothing is left of it.
        """
        self._on_host("flush")
        self._need()
        return batched([self._pop() for _ in range(len(self))])

    def _pop(self) -> Window:
        step = self._steps[-1 - self._popped]
        self._partial = rn = step.r + self._gamma * self._partial
        self._popped += 1
        goes_on, s_next, a_next, logp_next = self._final(step)
        in_ = self._gamma**self._popped if goes_on else 0.0
        if not len(self):
            self._clear()
        return Window(step.s, step.a, s_next, a_next, (step.logp, rn, in_, logp_next, step.w), None)
