"""From stacked frames to position, velocity, acceleration and so on."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ("diff_transform", "diff_transform_matrix")


def diff_transform_matrix(num_frames: int, dtype: Any = "float32") -> jax.Array:
    r"""The matrix of finite differences: :math:`M_{ij} = (-1)^{n-1-i} \binom{n-1-j}{n-1-i}`.

    Column j takes the difference of order n - 1 - j of the latest frames, so the last column is the latest frame.

    Parameters
    ----------
    num_frames : int
        n, at least 1.
    dtype : dtype, optional

    Returns
    -------
    dtype[n, n]

    Raises
    ------
    AssertionError
        If `num_frames` is not a positive integer.
    """
    if not isinstance(num_frames, int) or isinstance(num_frames, bool) or num_frames < 1:
        raise AssertionError(
            f"num_frames: expected a positive int, got {num_frames!r}. Fix: pass the number of frames."
        )
    last = num_frames - 1
    rows = [[(-1) ** (last - i) * math.comb(last - j, last - i) for j in range(num_frames)] for i in range(num_frames)]
    return jnp.asarray(np.array(rows, float), dtype)


def diff_transform(X: Any, dtype: Any = "float32") -> jax.Array:
    """Turn frames, stacked along the last axis, into finite differences.

    For three frames x0, x1, x2 the last axis becomes x2 - 2 x1 + x0, x2 - x1, x2.

    Parameters
    ----------
    X : array[..., n]
        Frames of any dtype, oldest first.
    dtype : dtype, optional
        Of the output. Frames are cast before anything is subtracted.

    Returns
    -------
    dtype[..., n]

    Examples
    --------
    >>> coax.utils.diff_transform(jnp.array([1, 2, 4]))
    Array([1., 2., 4.], dtype=float32)
    """
    X = jnp.asarray(X).astype(dtype)
    # Highest: reduced precision, the default on accelerators, would round pixel values before subtracting them.
    return jnp.matmul(X, diff_transform_matrix(X.shape[-1], dtype), precision=jax.lax.Precision.HIGHEST)
