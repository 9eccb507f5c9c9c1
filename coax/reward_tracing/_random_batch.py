"""Random transitions, for trying things out."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .._entries import generator_of_seed
from ..utils import safe_sample, single_space
from ._rows import stack
from ._scalars import FIX_GAMMA, as_float
from ._transition_batch import TransitionBatch

__all__ = ("get_transition_batch",)


def get_transition_batch(env: Any, batch_size: int = 1, gamma: float = 0.9, random_seed: Any = None) -> TransitionBatch:
    """Random transitions from the spaces of an environment, which is not stepped.

    Parameters
    ----------
    env : gymnasium.Env
        Anything with an `observation_space` and an `action_space`.
    batch_size : int, optional
        Number of transitions, at least 1.
    gamma : float, optional
        Discount factor, in [0, 1]; `In` is 0 or `gamma`.
    random_seed : int or key[], optional
        By default the operating system gives one.

    Returns
    -------
    TransitionBatch

    Raises
    ------
    TypeError
        If `batch_size` is not a positive integer, or `gamma` not a number in [0, 1].
    """
    size = _batch_size(batch_size)
    gamma = as_float("gamma", gamma, FIX_GAMMA)
    if not 0 <= gamma <= 1:
        raise TypeError(f"gamma: expected a number in [0, 1], got {gamma}. Fix: pass for instance gamma=0.9.")
    rng = generator_of_seed(random_seed)

    def draws(space: Any) -> Any:
        return stack([safe_sample(space, rng) for _ in range(size)])

    def uniform() -> np.ndarray:
        return np.clip(rng.uniform(size=size), 0.01, 0.99).astype(np.float32)

    return TransitionBatch(
        S=draws(single_space(env, "observation_space")),
        A=draws(single_space(env, "action_space")),
        logP=np.log(uniform()),
        Rn=np.clip(rng.normal(size=size), -5, 5).astype(np.float32),
        In=(gamma * rng.integers(2, size=size)).astype(np.float32),
        S_next=draws(single_space(env, "observation_space")),
        A_next=draws(single_space(env, "action_space")),
        logP_next=np.log(uniform()),
        W=np.clip(uniform() / uniform(), 0.01, 100),
    )


def _batch_size(x: Any) -> int:
    try:
        size = operator.index(x)
    except TypeError:
        size = 0
    if size < 1:
        raise TypeError(f"batch_size: expected a positive integer, got {x!r}. Fix: pass for instance batch_size=32.")
    return size
