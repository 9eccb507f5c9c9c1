"""Playing a policy for a number of steps."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .._lifting import scan
from .._stateful import is_tracing
from ..reward_tracing import Rollout
from ..utils import at_least_one, steps_itself
from ._turns import objects_of, take_turn, turn_of

__all__ = ("rollout",)


def rollout(env: Any, policy: Callable[..., Any], length: int, *, over: Any = ()) -> Rollout:
    """Play a policy for a number of steps, and keep all that happens.

    Parameters
    ----------
    env : gymnasium.Env, gymnasium.vector.VectorEnv or JaxVectorEnv
        One environment, or N, that :func:`coax.envs.transition` can step. It goes on from where it is.
    policy : callable
        A policy of coax, e.g. ``pi``; or any function of observations that returns actions, e.g. ``pi.mode``. In a
        compiled function, and in a :class:`coax.envs.JaxVectorEnv`, it must be one that JAX can trace.
    length : int
        Number of steps T, at least 1.
    over : Stateful or sequence of Stateful, optional
        What else a function uses that coax cannot see in it, where the rollout is compiled.

    Returns
    -------
    Rollout
        Leaves [T, ...] of one environment, [T, N, ...] of several. `S_next` holds the true next observations, also
        where an episode ended. `logP` is 0 where the policy is a mere function.

    Raises
    ------
    TypeError
        If `policy` is not callable, or `length` no integer.
    ValueError
        If `length` is less than 1.

    Notes
    -----
    With a :class:`coax.envs.JaxVectorEnv` it is one compiled loop, whose arrays stay on the device; inside of a
    compiled function it is a part of that. A new function each time is compiled each time: define it once. Otherwise it
    is a Python loop and gives NumPy arrays.

    Examples
    --------
    >>> env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1"))
    >>> s, info = env.reset(seed=13)
    >>> rows = coax.training.rollout(env, pi, length=10)
    >>> rows.R.shape
    (10,)
    >>> batch = coax.reward_tracing.n_step_transitions(rows, n=1, gamma=0.9)
    """
    length = at_least_one("length", length, 128)
    objs = objects_of(env, policy, over)
    if is_tracing() or steps_itself(env):
        return scan(turn_of(env, policy), length, over=objs)
    rows: Any = None
    for t in range(length):
        row = jax.tree.map(np.asarray, take_turn(env, policy))
        if rows is None:
            rows = jax.tree.map(lambda x: np.empty((length, *x.shape), x.dtype), row)
        # Copied at once: an environment may write over what it returned.
        jax.tree.map(lambda xs, x, t=t: operator.setitem(xs, t, x), rows, row)
    return rows
