"""Checks of arrays and numbers at the door of a function."""

from __future__ import annotations

import numbers
import operator
from typing import Any

import jax
import numpy as np

__all__ = ("at_least_one", "check_array", "isscalar")


def at_least_one(name: str, x: Any, example: int) -> int:
    """An argument that counts something.

    Parameters
    ----------
    name : str
        How errors name it.
    x : object
        What was passed.
    example : int
        What else to pass.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is less than 1.
    """
    try:
        value = operator.index(x)
    except TypeError:
        value = None
    if value is None or isinstance(x, bool):
        raise TypeError(f"{name}: expected an integer, got {x!r}. Fix: pass for instance {name}={example}.")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {x}. Fix: pass for instance {name}={example}.")
    return value


def isscalar(num: Any) -> bool:
    """Whether this is a number, or an array with one entry."""
    if isinstance(num, jax.Array | np.ndarray | np.generic):
        return num.size == 1 and num.dtype.kind not in "USO"
    return isinstance(num, numbers.Number)


def check_array(
    arr: Any,
    ndim: int | tuple | None = None,
    ndim_min: int | None = None,
    ndim_max: int | None = None,
    dtype: Any = None,
    shape: tuple[int, ...] | None = None,
    axis_size: int | tuple | None = None,
    axis: int | None = None,
    except_np: bool = False,
) -> None:
    """Check that something is a jax array with given properties; works under every jax transformation.

    Parameters
    ----------
    arr : object
        What to check.
    ndim, dtype : optional
        What to expect; of several in a tuple, list or set, one.
    ndim_min, ndim_max : int, optional
        Bounds for the number of axes, inclusive.
    shape : tuple of int, optional
        The exact shape.
    axis_size, axis : int, optional
        The length of an axis; of several in a tuple, list or set, one.
    except_np : bool, optional
        Accept NumPy arrays too.

    Raises
    ------
    TypeError
        If something is not as expected.
    """
    if not isinstance(arr, (jax.Array, np.ndarray) if except_np else jax.Array):
        raise TypeError(f"expected a jax array, got {type(arr).__name__}. Fix: pass jnp.asarray(...).")
    _expect("ndim", arr, ndim is None or arr.ndim in _several(ndim), ndim)
    _expect("ndim", arr, ndim_min is None or arr.ndim >= ndim_min, f"at least {ndim_min}")
    _expect("ndim", arr, ndim_max is None or arr.ndim <= ndim_max, f"at most {ndim_max}")
    _expect("dtype", arr, dtype is None or any(arr.dtype == np.dtype(d) for d in _several(dtype)), dtype)
    _expect("shape", arr, shape is None or arr.shape == tuple(shape), shape)
    if axis_size is not None:
        if axis is None:
            raise TypeError("axis: expected an int together with axis_size, got None. Fix: name the axis.")
        fits = -arr.ndim <= axis < arr.ndim and arr.shape[axis] in _several(axis_size)
        _expect(f"size of axis {axis}", arr, fits, axis_size)


def _several(expected: Any) -> Any:
    return expected if isinstance(expected, tuple | list | set | frozenset) else (expected,)


def _expect(what: str, arr: Any, ok: bool, expected: Any) -> None:
    if not ok:
        raise TypeError(
            f"{what}: expected {expected}, got an array of shape {arr.shape} and dtype {arr.dtype}. "
            "Fix: pass an array with the expected properties."
        )
