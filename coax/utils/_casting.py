"""Casting what a user passes to the dtype of a space, on the host, so that ``pi(3)`` compiles nothing new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import Space, spaces

from ._spaces import children_of, leaf_leading_axes, leaf_shape, same_leading_axes, subspaces_of, unsupported

__all__ = ("Cast", "cast_to_space", "make_cast")

Cast: TypeAlias = Callable[[Any], tuple[Any, tuple[int, ...]]]


def cast_to_space(space: Space, x: Any, name: str = "x") -> Any:
    """`x` as NumPy arrays in the dtype of the space: the first thing that ``make_cast(space)(x)`` returns.

    To cast many elements of one space, keep the closure that :func:`make_cast` returns.
    """
    return make_cast(space, name)(x)[0]


def make_cast(space: Space, name: str = "x") -> Cast:
    """Compile a space into a function that checks and casts its elements.

    Parameters
    ----------
    space : gymnasium.Space
        Discrete, Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of these.
    name : str, optional
        How errors name the argument.

    Returns
    -------
    callable
        ``cast(x) -> (casted, leading_axes)``. The leaves of `casted` are NumPy arrays in the dtype of the space; an
        array that has it already is returned as it is. Parts of a Tuple space come out as a tuple, of a Dict space as
        a dict. Arrays of jax and tracers stay on the device and are not read.

        It raises ``ValueError`` for a shape or structure that does not fit, and for host values outside of a discrete
        space; ``TypeError`` for a float where the space is discrete.

    Raises
    ------
    TypeError
        If the elements of the space are not arrays.
    """
    if isinstance(space, spaces.Tuple | spaces.Dict):
        return _composite_cast(space, name)
    shape = leaf_shape(space)
    if isinstance(space, spaces.Box):
        return _box_cast(shape, np.dtype(space.dtype), name)
    if isinstance(space, spaces.Discrete):
        return _discrete_cast(space, name)
    if isinstance(space, spaces.MultiDiscrete):
        low = np.asarray(space.start, np.int64)
        return _integer_cast(shape, np.dtype(space.dtype), low, low + space.nvec - 1, name, str(space))
    if isinstance(space, spaces.MultiBinary):
        return _integer_cast(shape, np.dtype(space.dtype), np.int8(0), np.int8(1), name, str(space))
    raise unsupported(space)


def _composite_cast(space: spaces.Tuple | spaces.Dict, name: str) -> Cast:
    labels = [label for label, _ in subspaces_of(space, name)]
    casts = [make_cast(child, label) for label, child in subspaces_of(space, name)]
    keys = tuple(space.spaces) if isinstance(space, spaces.Dict) else None

    def cast(x: Any) -> tuple[Any, tuple[int, ...]]:
        parts = children_of(space, x, name)
        done = [part_cast(part) for part_cast, part in zip(casts, parts, strict=True)]
        leading = done[0][1] if done else ()
        for _, other in done:
            if other != leading:
                shapes = [
                    jax.tree.map(np.shape, part, is_leaf=lambda p: not isinstance(p, tuple | dict)) for part, _ in done
                ]
                same_leading_axes([(n, s, axes) for n, s, (_, axes) in zip(labels, shapes, done, strict=True)])
        out = [part for part, _ in done]
        return (tuple(out) if keys is None else dict(zip(keys, out, strict=True))), leading

    return cast


def _box_cast(shape: tuple[int, ...], dtype: np.dtype, name: str) -> Cast:
    def cast(x: Any) -> tuple[Any, tuple[int, ...]]:
        if type(x) is np.ndarray and x.shape == shape and x.dtype == dtype:
            return x, ()
        x = _as_array(x, name)
        leading = _checked_leading(name, shape, x.shape)
        if isinstance(x, jax.Array):
            return _device_cast(x, dtype), leading
        return _lossless(x, dtype, name), leading

    return cast


def _discrete_cast(space: spaces.Discrete, name: str) -> Cast:
    low, high, dtype = int(space.start), int(space.start + space.n) - 1, np.dtype(space.dtype)
    general = _integer_cast((), dtype, low, high, name, str(space))
    scalar = dtype.type

    def cast(x: Any) -> tuple[Any, tuple[int, ...]]:
        kind = type(x)
        if (kind is int or kind is scalar) and low <= x <= high:
            return np.array(x, dtype), ()
        return general(x)

    return cast


def _integer_cast(shape: tuple[int, ...], dtype: np.dtype, low: Any, high: Any, name: str, label: str) -> Cast:
    def cast(x: Any) -> tuple[Any, tuple[int, ...]]:
        x = _as_array(x, name)
        if x.dtype.kind not in "iub":
            if x.size:
                raise TypeError(
                    f"{name}: expected integers for {label}, got {x.dtype} of shape {x.shape}. "
                    "Fix: pass the index, not a one-hot vector or a float."
                )
            x = x.astype(dtype)
        leading = _checked_leading(name, shape, x.shape)
        if isinstance(x, jax.Array):
            return _device_cast(x, dtype), leading
        if ((x < low) | (x > high)).any():
            raise ValueError(
                f"{name}: expected elements of {label}, got values from {x.min()} to {x.max()}. "
                "Fix: pass integers inside the space, counted from its start."
            )
        return x.astype(dtype, copy=False), leading

    return cast


def _as_array(x: Any, name: str) -> Any:
    """An array, without reading one that is on the device."""
    if isinstance(x, np.ndarray | jax.Array):
        return x
    if isinstance(x, list | tuple) and any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(x)):
        return jnp.asarray(x)
    try:
        array = np.asarray(x)
    except ValueError as err:
        raise ValueError(
            f"{name}: expected an array, got a ragged {type(x).__name__}. "
            "Fix: pass equal rows; of what env.reset() and env.step() return, pass the observation alone."
        ) from err
    if array.dtype.kind not in "iubfc":
        raise TypeError(f"{name}: expected numbers, got {type(x).__name__}: {x!r:.80}. Fix: pass an array.")
    return array


def _checked_leading(name: str, want: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    leading = leaf_leading_axes(name, want, shape)
    if shape[len(leading) :] != want:
        raise ValueError(
            f"{name}: expected shape [..., {', '.join(map(str, want))}], got shape {tuple(shape)}. "
            "Fix: pass one element of the space, or any number of leading axes in front of it."
        )
    return leading


def _device_cast(x: jax.Array, dtype: np.dtype) -> jax.Array:
    canonical = jax.dtypes.canonicalize_dtype(dtype)
    return x if x.dtype == canonical else x.astype(canonical)


def _lossless(x: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Cast between floats, or to a wider kind, as it comes; anything else only if no value changes."""
    if x.dtype == dtype:
        return x
    if np.can_cast(x.dtype, dtype, "same_kind"):
        return x.astype(dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        casted = x.astype(dtype)
    if not np.array_equal(casted, x):
        raise ValueError(
            f"{name}: expected values that {dtype} can hold, got {x.dtype} from {x.min()} to {x.max()}. "
            "Fix: round and clip them to the space, or pass them in the dtype of the space."
        )
    return casted
