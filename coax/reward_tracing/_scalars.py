"""Numbers and flags that a user passes, checked."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

__all__ = ("FIX_GAMMA", "as_flag", "as_float", "as_gamma", "as_lambda", "as_n", "as_number")


FIX_GAMMA = "Fix: pass for instance gamma=0.99."
_FIX_NUMBER = "Fix: pass the scalar of one step of one environment."
_FIX_FLAG = (
    "Fix: pass a bool, such as the flag of one step as env.step returned it; "
    "for several environments at once make the tracer with num_envs=..."
)


def as_float(name: str, x: Any, fix: str = _FIX_NUMBER) -> float:
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
    raise TypeError(f"{name}: expected a number, got {_what(x)}. {fix}")


def as_number(name: str, x: Any) -> float:
    """Like :func:`as_float`, but no flag: next to flags in a list of arguments, one would be a slip.

    Raises
    ------
    TypeError
        If `x` is not a number, or a bool, or has axes.
    """
    if _kind(x) == "b":
        raise TypeError(
            f"{name}: expected a number, got the bool {x!r}. Fix: pass truncated= by name, if that is what it is."
        )
    return as_float(name, x)


def as_flag(name: str, x: Any) -> bool:
    """A Python bool from a bool of Python, NumPy or jax, or from the integer 0 or 1.

    Raises
    ------
    TypeError
        If `x` is anything else, or has axes.
    """
    kind = _kind(x)
    if not np.ndim(x) and (kind == "b" or (kind in ("i", "u") and x in (0, 1))):
        return bool(x)
    raise TypeError(f"{name}: expected a bool, got {_what(x)}. {_FIX_FLAG}")


def _kind(x: Any) -> str:
    """The kind of number, as in ``np.dtype.kind``; empty if it is none."""
    if isinstance(x, int):
        return "b" if isinstance(x, bool) else "i"
    return getattr(getattr(x, "dtype", None), "kind", "")


def _what(x: Any) -> str:
    return f"shape {np.shape(x)}" if np.ndim(x) else repr(x)


def as_gamma(x: Any) -> float:
    """A discount factor.

    Raises
    ------
    TypeError, ValueError
        If it is not a number, or not in [0, 1].
    """
    return _as_share("gamma", x, FIX_GAMMA)


def as_lambda(x: Any) -> float:
    """The lambda of lambda-returns.

    Raises
    ------
    TypeError, ValueError
        If it is not a number, or not in [0, 1].
    """
    return _as_share("lambda_", x, "Fix: pass for instance lambda_=0.95.")


def _as_share(name: str, x: Any, fix: str) -> float:
    share = as_float(name, x, fix=fix)
    if not 0 <= share <= 1:
        raise ValueError(f"{name}: expected a number in [0, 1], got {x!r}. {fix}")
    return share


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
