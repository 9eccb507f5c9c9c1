"""Elements of a space drawn with a generator of one's own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from .._entries import generator_of_seed

__all__ = ("safe_sample",)

_NARROW = 1000  # a Box up to this width is sampled in full
_REACH = 10  # in a wider one, how far a sample may lie from the element nearest to zero


def safe_sample(space: Space, seed: Any = None) -> Any:
    """Draw an element of a space, without touching the generator of the space itself.

    Samples of a large or unbounded Box stay small: they lie within 10 of its element nearest to zero.

    Parameters
    ----------
    space : gymnasium.Space
        Any space.
    seed : int, key[], numpy.random.Generator, numpy.random.RandomState, optional
        A generator is advanced. By default the operating system gives a seed.

    Returns
    -------
    element
        An element of the space in its dtype; for a Discrete space an ``int``.

    Raises
    ------
    TypeError
        If `space` is not a gymnasium space.
    """
    if not isinstance(space, Space):
        raise TypeError(
            f"space: expected a gymnasium.Space, got {type(space).__name__}. Fix: pass env.observation_space."
        )
    if isinstance(seed, np.random.RandomState):
        seed = int(seed.randint(2**31 - 1))
    return _draw(space, seed if isinstance(seed, np.random.Generator) else generator_of_seed(seed))


def _draw(space: Space, rng: np.random.Generator) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(space.start) + int(rng.integers(int(space.n)))
    if isinstance(space, spaces.MultiDiscrete):
        return (space.start + rng.integers(space.nvec)).astype(space.dtype)
    if isinstance(space, spaces.MultiBinary):
        return rng.integers(0, 2, space.shape, space.dtype)
    if isinstance(space, spaces.Box):
        return _draw_float(space, rng) if np.dtype(space.dtype).kind == "f" else _draw_integer(space, rng)
    if isinstance(space, spaces.Tuple):
        return tuple(_draw(child, rng) for child in space.spaces)
    if isinstance(space, spaces.Dict):
        return {key: _draw(space.spaces[key], rng) for key in sorted(space.spaces)}
    own = copy.deepcopy(space)
    own.seed(int(rng.integers(2**31)))
    return own.sample()


def _draw_float(space: spaces.Box, rng: np.random.Generator) -> np.ndarray:
    low, high = space.low.astype(float), space.high.astype(float)
    nearest = np.clip(0.0, low, high)
    with np.errstate(over="ignore"):
        narrow = high - low <= _NARROW
    low = np.where(narrow, low, np.maximum(low, nearest - _REACH))
    high = np.where(narrow, high, np.minimum(high, nearest + _REACH))
    drawn = (low + (high - low) * rng.random(space.shape)).astype(space.dtype)
    return np.asarray(np.clip(drawn, space.low, space.high))


def _draw_integer(space: spaces.Box, rng: np.random.Generator) -> np.ndarray:
    # Distances in uint64 are right for every integer dtype, since that arithmetic wraps around.
    dtype = np.dtype(space.dtype)
    nearest, low, high = (
        np.asarray(x).astype(np.uint64)
        for x in (np.clip(np.zeros(space.shape, dtype), space.low, space.high), space.low, space.high)
    )
    with np.errstate(over="ignore"):
        below, above = nearest - low, high - nearest
        narrow = high - low <= np.uint64(_NARROW)
        below = np.where(narrow, below, np.minimum(below, np.uint64(_REACH)))
        above = np.where(narrow, above, np.minimum(above, np.uint64(_REACH)))
        drawn = nearest - below + rng.integers(below + above, dtype=np.uint64, endpoint=True)
    return np.asarray(drawn).astype(dtype)
