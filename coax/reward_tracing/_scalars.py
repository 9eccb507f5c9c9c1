"""Numbers and flags that a user passes, checked."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

__all__ = ("as_flag", "as_float", "as_gamma", "as_n")


def as_float(name: str, x: Any) -> float:
    """A Python float from any real number, NumPy or jax ones included.

    Raises
    ------
    TypeError
        If `x` is not a number, or has axes.
    """
    if isinstance(x, int | float):
        return float(x)
    if np.ndim(x) == 0 and getattr(x, "dtype", None) is not None and np.dtype(x.dtype).kind in "fiub":
        return float(x)
    if getattr(x, "dtype", None) is not None and not np.ndim(x):
        return float(np.asarray(x, np.float32))  # bfloat16 and its like
    got = f"shape {np.shape(x)}" if np.ndim(x) else repr(x)
    raise TypeError(f"{name}: expected a number, got {got}. Fix: pass the scalar of one step of one environment.")


def as_flag(name: str, x: Any) -> bool:
    """A Python bool from whatever has one truth value.

    Raises
    ------
    TypeError
        If `x` has axes.
    """
    if np.ndim(x):
        raise TypeError(
            f"{name}: expected a bool, got shape {np.shape(x)}. Fix: pass the flag of one step of one environment."
        )
    return bool(x)


def as_gamma(x: Any) -> float:
    """A discount factor.

    Raises
    ------
    TypeError, ValueError
        If it is not a number, or not in [0, 1].
    """
    gamma = as_float("gamma", x)
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma: expected a number in [0, 1], got {x!r}. Fix: pass for instance gamma=0.99.")
    return gamma


def as_n(x: Any) -> int:
    """A number of steps.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or less than 1.
    """
    try:
        n = operator.index(x)
    except TypeError:
        raise TypeError(f"n: expected an integer, got {x!r}. Fix: pass an int of at least 1.") from None
    if n < 1:
        raise ValueError(f"n: expected at least 1, got {x!r}. Fix: pass for instance n=1.")
    return n
