"""From elements of a space to what a network takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import Space, spaces

from .._entries import as_seed, generator_of_seed, key_of_seed
from ._sampling import safe_sample
from ._spaces import leaf_shape, unsupported

__all__ = ("check_preprocessors", "default_preprocessor")


def default_preprocessor(space: Space) -> Callable[[Any, Any], Any]:
    """How elements of a space are fed to a network, unless the user says otherwise.

    ========================= ===================================================================
    space                     output, for B elements
    ========================= ===================================================================
    Discrete                  one-hot ``float[B, n]``, counted from ``space.start``
    Box                       array ``[B, *shape]`` in the dtype of the space, clipped to its bounds
    MultiDiscrete             list of one-hots ``float[B, n]``, one per entry of ``nvec``, row by row
    MultiBinary               ``float[B, *shape]``
    Tuple, Dict               tuple, dict of the above
    ========================= ===================================================================

    Parameters
    ----------
    space : gymnasium.Space
        One of the above.

    Returns
    -------
    callable
        ``func(rng, X)``: pure, works under every jax transformation, and ignores `rng`. One element gets a batch axis
        of length 1; more than one leading axis is flattened into one.

    Raises
    ------
    TypeError
        If the space is none of the above; from ``func`` if a float comes for a Discrete or MultiDiscrete space.
    """
    if isinstance(space, spaces.Tuple):
        parts = [default_preprocessor(child) for child in space.spaces]
        return lambda rng, X: tuple(f(rng, x) for f, x in zip(parts, X, strict=True))
    if isinstance(space, spaces.Dict):
        named = {key: default_preprocessor(child) for key, child in space.spaces.items()}
        return lambda rng, X: {key: f(rng, X[key]) for key, f in named.items()}
    shape = leaf_shape(space)
    if isinstance(space, spaces.Discrete):
        return _one_hot(int(space.n), int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        return _one_hots(np.asarray(space.nvec).ravel(), np.asarray(space.start).ravel())
    if isinstance(space, spaces.MultiBinary):
        return lambda rng, X: jnp.reshape(jnp.asarray(X), (-1, *shape)).astype(float)
    if isinstance(space, spaces.Box):
        return _clipped(space)
    raise unsupported(space)


def _integers(X: Any) -> jax.Array:
    X = jnp.asarray(X)
    if not jnp.issubdtype(X.dtype, jnp.integer) and X.dtype != bool:
        raise TypeError(
            f"X: expected integers, got {X.dtype}{list(X.shape)}. Fix: pass elements of the discrete space."
        )
    return X.astype(int)


def _one_hot(n: int, start: int) -> Callable[[Any, Any], jax.Array]:
    return lambda rng, X: jax.nn.one_hot(jnp.ravel(_integers(X)) - start, n)


def _one_hots(nvec: np.ndarray, start: np.ndarray) -> Callable[[Any, Any], list[jax.Array]]:
    def preprocess(rng: Any, X: Any) -> list[jax.Array]:
        X = jnp.reshape(_integers(X), (-1, len(nvec)))
        return [jax.nn.one_hot(X[:, i] - int(start[i]), int(n)) for i, n in enumerate(nvec)]

    return preprocess


def _clipped(space: spaces.Box) -> Callable[[Any, Any], jax.Array]:
    shape, dtype, low, high = space.shape, np.dtype(space.dtype), space.low, space.high
    bounded = dtype.kind != "b" and not _is_everything(low, high)

    def preprocess(rng: Any, X: Any) -> jax.Array:
        kept = jax.dtypes.canonicalize_dtype(dtype)
        X = jnp.reshape(jnp.asarray(X, kept), (-1, *shape))
        return jnp.clip(X, _saturated(low, kept), _saturated(high, kept)) if bounded else X

    return preprocess


def _is_everything(low: np.ndarray, high: np.ndarray) -> bool:
    if np.issubdtype(low.dtype, np.integer):
        info = np.iinfo(low.dtype)
        return bool(np.all(low == info.min) and np.all(high == info.max))
    return bool(np.all(low == -np.inf) and np.all(high == np.inf))


def _saturated(bound: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A bound in the dtype that jax keeps, which is narrower than 64-bit ones unless ``jax_enable_x64`` is set."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return np.clip(bound, info.min, info.max).astype(dtype)
    with np.errstate(over="ignore"):
        return bound.astype(dtype)


def check_preprocessors(
    space: Space, *preprocessors: Callable[[Any, Any], Any], num_samples: int = 20, random_seed: Any = None
) -> bool:
    """Whether preprocessors do the same to elements of a space.

    Parameters
    ----------
    space : gymnasium.Space
        Where the samples come from. Its own generator is left alone.
    *preprocessors : callable
        Two or more functions ``func(rng, X)``.
    num_samples : int, optional
        How many elements are tried.
    random_seed : int or key[], optional
        By default the operating system gives one.

    Returns
    -------
    bool
        Whether all outputs have the same structure, types of leaves, shapes, dtypes and (nearly) the same values.

    Raises
    ------
    ValueError
        If there are fewer than two preprocessors.
    """
    if len(preprocessors) < 2:
        raise ValueError(f"expected at least two preprocessors, got {len(preprocessors)}. Fix: pass those to compare.")
    seed = as_seed(random_seed)
    generator, key = generator_of_seed(seed), key_of_seed(seed)
    for i in range(num_samples):
        sample = safe_sample(space, generator)
        first, *others = (preprocess(jax.random.fold_in(key, i), sample) for preprocess in preprocessors)
        if not all(_alike(first, other) for other in others):
            return False
    return True


def _alike(a: Any, b: Any) -> bool:
    tree: Any = jax.tree.structure(a)
    if tree != jax.tree.structure(b):
        return False
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if type(x) is not type(y) or np.shape(x) != np.shape(y) or np.asarray(x).dtype != np.asarray(y).dtype:
            return False
        if not np.allclose(x, y):
            return False
    return True
