"""Transitions with lambda-returns and advantages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._entries import Fixed
from .._stateful import Stateful
from ..returns import generalized_advantages, lambda_returns
from ._base import TERMINATED, BaseRewardTracer, Traced
from ._rows import stack
from ._scalars import as_gamma, as_lambda, as_n
from ._steps import Step
from ._windows import Window

__all__ = ("LambdaReturn",)


class LambdaReturn(BaseRewardTracer):
    r"""Traces lambda-returns and generalized advantages over segments of at most n steps.

    .. math::

        G^\lambda_t = r_t + \gamma \left((1 - \lambda)\, v(s_{t+1}) + \lambda\, G^\lambda_{t+1}\right) \qquad
        A_t = \sum_{i} (\gamma\lambda)^i \left(r_{t+i} + \gamma v(s_{t+i+1}) - v(s_{t+i})\right)

    A segment ends after n steps, or with the episode. Its last return is bootstrapped from the state that follows, also
    after a truncation, but not after a termination. A transition holds :math:`G^\lambda_t` in `Rn`, with 0 in `In`, and
    in `extra_info` the advantage ``'Adv'`` and the value ``'V'`` of the state, each f32[B]. `S_next` and `A_next` are
    those of one step on.

    Transitions can be popped when their segment is over and the state after it is known: at the end of the episode, or
    after n steps, at once if the last came with `s_next`, else with the step that follows. They come first to last. If
    they are not popped the next segment begins all the same. The values are those of the time when the first transition
    is popped; the whole segment is worked out then.

    Parameters
    ----------
    n : int or None
        Length of a segment, at least 1. None: segments are whole episodes.
    gamma : float
        Discount factor, in [0, 1].
    lambda_ : float
        The weight :math:`\lambda` of what lies further ahead, in [0, 1].
    v : callable
        Values of a batch of observations, ``v(S) -> f32[B]``: a :class:`coax.V`, the `mean` of a
        :class:`coax.StochasticV`, or a function of your own. It is called twice for a segment, once for all
        observations and once for all next ones. So that a compiled function sees few different lengths, the last
        observation is repeated until there are n, or 1, 2, 4, 8 and so on if that is less.
    num_envs : int, optional
        Of how many environments the steps come at once, see :meth:`add`. By default of a single one.

    Raises
    ------
    TypeError, ValueError
        If `n`, `gamma`, `num_envs` or `lambda_` is not a number, or out of range, or `v` cannot be called.

    Examples
    --------
    >>> tracer = coax.reward_tracing.LambdaReturn(n=128, gamma=0.99, lambda_=0.95, v=v)
    >>> tracer.add(s, a=1, r=2.0, done=True)
    >>> batch = tracer.flush()
    >>> batch.Rn, batch.extra_info["Adv"] == batch.Rn - batch.extra_info["V"]
    (array([2.], dtype=float32), array([ True]))

    References
    ----------
    Sutton and Barto (2018), section 12.3; Schulman et al. (2016), High-dimensional continuous control using generalized
    advantage estimation, section 3; Schulman et al. (2017), Proximal policy optimization algorithms, section 5.
    """

    instead = "use coax.reward_tracing.lambda_transitions over a coax.training.rollout"

    n = Fixed("_n", "Length of a segment; None if it is the episode.", "tracer")
    gamma = Fixed("_gamma", "Discount factor.", "tracer")
    lambda_ = Fixed("_lambda", "The weight of what lies further ahead.", "tracer")
    v = Fixed("_v", "Values of a batch of observations.", "tracer")

    def __init__(
        self, n: int | None, gamma: float, lambda_: float, v: Callable[[Any], Any], *, num_envs: int | None = None
    ):
        self._n = None if n is None else as_n(n)
        self._gamma, self._lambda = as_gamma(gamma), as_lambda(lambda_)
        if not callable(v):
            raise TypeError(f"v: expected a function of observations, got {v!r}. Fix: pass for instance a coax.V.")
        self._v = v
        super().__init__(num_envs)

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The value function, if it is a stateful object or a method of one."""
        owner = getattr(self._v, "__self__", self._v)
        return (owner,) if isinstance(owner, Stateful) else ()

    def _ready(self) -> bool:
        return bool(self._traced) or self._finished() > 0

    def _next(self) -> Window:
        if not self._traced:
            self._trace()
        window = self._window(0)
        del self._steps[0], self._traced[0]
        return window

    def _all(self) -> list[Window]:
        self._trace()
        count = len(self._traced)
        windows = [self._window(i) for i in range(count)]
        del self._steps[:count], self._traced[:count]
        return windows

    def _finished(self) -> int:
        """How many steps of finished segments are yet to be worked out."""
        rest = len(self._steps) - len(self._traced)
        if self._end:
            return rest
        if self._n is None:
            return 0
        full = rest - rest % self._n
        # What follows the last step is not known yet if nothing was said about it.
        return full - self._n if full and full == rest and self._steps[-1].next.s is None else full

    def _trace(self) -> None:
        start, count = len(self._traced), self._finished()
        if not count:
            return
        steps = self._steps[start : start + count]
        discount = np.full(count, self._gamma)
        if self._end == TERMINATED:
            discount[-1] = 0
        cut = np.arange(1, count + 1) % (self._n or count) == 0
        rewards = np.array([step.r for step in steps])
        v = self._values([step.s for step in steps])
        v_next = self._values([self._after(i)[0] for i in range(start, start + count)])
        rn = lambda_returns(rewards, discount, cut, v_next, self._lambda)
        adv = generalized_advantages(rewards, discount, cut, v, v_next, self._lambda)
        self._traced += map(Traced, rn.tolist(), adv.tolist(), v.tolist())

    def _values(self, observations: list[Any]) -> np.ndarray:
        """One value for each observation, f64[T]."""
        count = len(observations)
        size = 1 << (count - 1).bit_length()
        if self._n is not None and count <= self._n:
            size = min(size, self._n)
        values = np.asarray(self._v(stack(observations + observations[-1:] * (size - count))))
        if values.shape != (size,):
            raise ValueError(
                f"v: expected values of shape {(size,)} for {size} observations, got {values.shape}. "
                "Fix: pass a function that gives one number for each observation, along the leading axis."
            )
        return values[:count].astype(np.float64)

    def _after(self, i: int) -> tuple[Any, Any, float]:
        """The state, action and propensity after step `i`; where they are not known, those of the step stand in."""
        said = self._steps[i].next
        there: Step = self._steps[min(i + 1, len(self._steps) - 1)]
        s_next = there.s if said.s is None else said.s
        return (s_next, there.a, there.logp) if said.a is None else (s_next, said.a, said.logp or 0.0)

    def _window(self, i: int) -> Window:
        step, traced = self._steps[i], self._traced[i]
        s_next, a_next, logp_next = self._after(i)
        extra_info = {"Adv": np.float32(traced.adv), "V": np.float32(traced.v)}
        return Window(step.s, step.a, s_next, a_next, (step.logp, traced.rn, 0.0, logp_next, step.w), extra_info)
