"""The one recursion that all returns run on."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..typing import Array
from ._rollout import module_of

__all__ = ("backward",)


def backward(a: Array, b: Array) -> Array:
    """Solve ``x[t] = a[t] + b[t] * x[t + 1]``, with 0 beyond the end.

    Where `b` is 0 nothing comes back from later, not even NaN.

    Parameters
    ----------
    a, b : f32[T, ...]
        Both of NumPy, or both of jax.

    Returns
    -------
    f32[T, ...]
    """
    xp = module_of(a, b)

    def step(x_next: Any, at_t: tuple[Any, Any, Any]) -> tuple[Any, Any]:
        a_t, b_t, goes_on = at_t
        x = a_t + b_t * xp.where(goes_on, x_next, 0)
        return x, x

    nothing, goes_on = xp.zeros_like(a[0]), b != 0
    if xp is not np:
        return jax.lax.scan(step, nothing, (a, b, goes_on), reverse=True)[1]
    out, x = np.empty_like(a), nothing
    for t in reversed(range(len(a))):
        x, out[t] = step(x, (a[t], b[t], goes_on[t]))
    return out
