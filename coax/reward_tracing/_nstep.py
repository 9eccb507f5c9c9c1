"""Transitions over windows of n steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._entries import Fixed
from ._base import RUNNING, TERMINATED, TRUNCATED, BaseRewardTracer
from ._scalars import as_gamma, as_n
from ._steps import Step
from ._windows import Window

__all__ = ("NStep",)


class NStep(BaseRewardTracer):
    r"""Traces n-step transitions.

    .. math::

        R^{(n)}_t = \sum_{i<k} \gamma^i r_{t+i} \qquad
        I^{(n)}_t = \gamma^k, \text{ or } 0 \text{ if the episode terminated}

    over the :math:`k \le n` steps up to the end of the episode. A transition can be popped when the step after its
    window was added, when its last step came with `s_next` and `a_next`, or when the episode is over. What was said
    about the state after a step (`s_next`, `a_next`) is used; what was not said is taken from the step that follows.

    Parameters
    ----------
    n : int
        Number of steps, at least 1.
    gamma : float
        Discount factor, in [0, 1].
    record_extra_info : bool, optional
        Put the steps t, ..., t + n themselves into `extra_info`: a dict with the keys ``states``, ``actions``,
        ``rewards``, ``dones``, ``log_props``, ``weights``, each a tuple of n + 1 batched entries. ``dones[i]`` is True
        from the step that terminated the episode onwards, and beyond it the last step is repeated. After a truncation
        the true last observation is one more entry, and the first whose ``dones`` is True: a state to bootstrap from,
        which nothing follows. No transition can then be popped before the step after its window.
    num_envs : int, optional
        Of how many environments the steps come at once, see :meth:`add`. By default of a single one.

    Raises
    ------
    TypeError, ValueError
        If `n`, `gamma` or `num_envs` is not a number, or out of range.

    References
    ----------
    Sutton and Barto (2018), section 7.1; Pardo et al. (2018), Time limits in reinforcement learning, section 3.1.
    """

    n = Fixed("_n", "Number of steps.", "tracer")
    gamma = Fixed("_gamma", "Discount factor.", "tracer")
    record_extra_info = Fixed("_record_extra_info", "Whether the steps themselves are put into `extra_info`.", "tracer")

    def __init__(self, n: int, gamma: float, record_extra_info: bool = False, *, num_envs: int | None = None):
        self._n = as_n(n)
        self._gamma = as_gamma(gamma)
        self._record_extra_info = bool(record_extra_info)
        self._powers = [self._gamma**k for k in range(self._n + 1)]
        super().__init__(num_envs)

    def _ready(self) -> bool:
        return self._count() > 0

    def _next(self) -> Window:
        window = self._window(0)
        del self._steps[0]
        return window

    def _all(self) -> list[Window]:
        count = self._count()
        windows = [self._window(i) for i in range(count)]
        del self._steps[:count]
        return windows

    def _count(self) -> int:
        steps = self._steps
        if self._end or not steps:
            return len(steps)
        # The steps after the window are part of the extra info, so these cannot be had early.
        early = not self._record_extra_info and steps[-1].next.a is not None
        return max(0, len(steps) - self._n + early)

    def _window(self, i: int) -> Window:
        steps, n = self._steps, self._n
        first = steps[i]
        k = min(n, len(steps) - i)
        rn = first.r
        for j in range(1, k):
            rn += self._powers[j] * steps[i + j].r
        if i + k == len(steps) and self._end != RUNNING:
            goes_on, s_next, a_next, logp_next = self._final(first)
            in_ = self._powers[k] if goes_on else 0.0
        else:
            in_ = self._powers[n]
            s_next, a_next, logp_next = self._after(i + n)
        extra_info = self._extra_info(i) if self._record_extra_info else None
        return Window(first.s, first.a, s_next, a_next, (first.logp, rn, in_, logp_next, first.w), extra_info)

    def _after(self, i: int) -> tuple[Any, Any, float]:
        """The state, action and propensity at index `i`, in an episode that went on there."""
        said = self._steps[i - 1].next
        if said.a is not None:
            return said.s, said.a, said.logp or 0.0
        step = self._steps[i]
        return step.s if said.s is None else said.s, step.a, step.logp

    def _extra_info(self, i: int) -> dict[str, tuple]:
        steps = self._steps[i : i + self._n + 1]
        done = [False] * len(steps)
        at_end = i + len(steps) == len(self._steps)
        if at_end and self._end == TERMINATED:
            done[-1] = True
        if at_end and self._end == TRUNCATED and len(steps) <= self._n:
            _, s_next, a_next, logp_next = self._final(steps[-1])
            steps.append(Step(s_next, a_next, 0.0, logp_next, steps[-1].w, steps[-1].next))
            done.append(True)
        missing = self._n + 1 - len(steps)
        steps += [steps[-1]] * missing
        done += [True] * missing
        return {
            "states": tuple(step.s for step in steps),
            "actions": tuple(step.a for step in steps),
            "rewards": tuple(np.float32(step.r) for step in steps),
            "dones": tuple(done),
            "log_props": tuple(np.float32(step.logp) for step in steps),
            "weights": tuple(np.float32(step.w) for step in steps),
        }
