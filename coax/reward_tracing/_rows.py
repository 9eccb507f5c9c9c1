"""One-row and many-row arrays from the values of single steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

__all__ = ("batch_of_one", "stack")

_SCALARS = (int, float, np.generic)


def batch_of_one(x: Any) -> Any:
    """Add a leading axis of length 1 to every leaf; arrays are not copied."""
    if type(x) is np.ndarray:
        return x[None]
    if isinstance(x, _SCALARS):
        return np.array([x])
    return jax.tree.map(lambda leaf: np.asarray(leaf)[None], x)


def stack(xs: Sequence[Any]) -> Any:
    """Stack every leaf along a new leading axis, into fresh memory."""
    if isinstance(xs[0], (np.ndarray, *_SCALARS)):
        return np.array(xs)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *xs)
