"""Returns over windows of n steps."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import jax
import numpy as np

from ..typing import Array
from ._rollout import as_rollout, as_values, bootstrap, module_of

__all__ = ("NStepWindows", "n_step_returns", "n_step_windows")


class NStepWindows(NamedTuple):
    r"""For each time t, the window of at most n steps that begins there.

    Attributes
    ----------
    rn : f32[T, ...]
        Partial return :math:`\sum_{i<k} \gamma^i r_{t+i}` over the k steps of the window.
    in_ : f32[T, ...]
        Bootstrap factor: :math:`\gamma^k`, or 0 if the episode terminated in the window.
    last : i32[T, ...]
        Time :math:`t + k - 1` of the last step in the window. The state to bootstrap from is the true next observation
        of that step.
    """

    rn: Array
    in_: Array
    last: Array


def n_step_windows(rewards: Any, discount: Any, cut: Any, n: int) -> NStepWindows:
    """The `Rn` and `In` of every transition of a rollout, and where to find its `S_next`.

    A window ends after n steps, or at a cut, or at the end of the rollout, whichever comes first.

    Parameters
    ----------
    rewards : f32[T, ...]
        Rewards r_t.
    discount : f32[T, ...]
        gamma, or 0 where the episode terminated.
    cut : bool[T, ...]
        Where the episode ended, terminated or truncated. The last step always counts as a cut.
    n : int
        Number of steps, at least 1.

    Returns
    -------
    NStepWindows

    Raises
    ------
    ValueError
        If shapes differ, or `n` is less than 1.
    TypeError
        If `n` is not an integer.

    Examples
    --------
    >>> rewards, discount, cut = jnp.array([1.0, 2.0, 4.0]), jnp.full(3, 0.5), jnp.zeros(3, bool)
    >>> rn, in_, last = coax.returns.n_step_windows(rewards, discount, cut, n=2)
    >>> rn.tolist()
    [2.0, 4.0, 4.0]
    >>> next_observations = jnp.array([1, 2, 3])  # of one environment
    >>> next_observations[last].tolist()
    [2, 3, 3]

    References
    ----------
    Sutton and Barto (2018), section 7.1.
    """
    rewards, discount, cut = as_rollout("n_step_windows", rewards, discount, cut)
    n, xp = _check_n(n), module_of(rewards)

    def extend(_: int, windows: NStepWindows) -> NStepWindows:
        # Windows of m + 1 steps: one step here, and then the window of m steps that begins at the next.
        then = NStepWindows(*(xp.roll(x, -1, axis=0) for x in windows))
        return NStepWindows(
            rn=rewards + bootstrap(discount, xp.where(cut, xp.zeros_like(rewards), then.rn)),
            in_=discount * xp.where(cut, xp.ones_like(discount), then.in_),
            last=xp.where(cut, windows.last, then.last),
        )

    now = xp.arange(len(rewards), dtype=xp.int32).reshape(-1, *(1,) * (rewards.ndim - 1))
    windows, count = NStepWindows(rewards, discount, xp.broadcast_to(now, rewards.shape)), min(n, len(rewards))
    if xp is not np:
        return jax.lax.fori_loop(1, count, extend, windows)
    for i in range(1, count):
        windows = extend(i, windows)
    return windows


def n_step_returns(rewards: Any, discount: Any, cut: Any, v_next: Any, n: int) -> Array:
    """n-step returns: rewards of up to n steps, then the value where the window ends.

    Parameters
    ----------
    rewards : f32[T, ...]
        Rewards r_t.
    discount : f32[T, ...]
        gamma, or 0 where the episode terminated.
    cut : bool[T, ...]
        Where the episode ended, terminated or truncated. The last step always counts as a cut.
    v_next : f32[T, ...]
        Value of the true next observation of each step. It may hold anything where `discount` is 0.
    n : int
        Number of steps, at least 1.

    Returns
    -------
    f32[T, ...]

    Raises
    ------
    ValueError
        If shapes differ, or `n` is less than 1.
    TypeError
        If `n` is not an integer.

    References
    ----------
    Sutton and Barto (2018), equation 7.1.
    """
    xp = module_of(rewards, discount, cut, v_next)
    rn, in_, last = n_step_windows(xp.asarray(rewards), discount, cut, n)
    (v_next,) = as_values("n_step_returns", rn, v_next=v_next)
    return rn + bootstrap(in_, xp.take_along_axis(v_next, last, axis=0))


def _check_n(n: Any) -> int:
    try:
        value = operator.index(n)
    except TypeError:
        raise TypeError(f"n: expected an integer, got {n!r}. Fix: pass an int of at least 1.") from None
    if value < 1:
        raise ValueError(f"n: expected at least 1, got {value}. Fix: pass for instance n=1.")
    return value
