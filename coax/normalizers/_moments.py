"""Running mean and variance of rows of numbers, as pure functions of a state.

The state has two entries. ``counts`` u32[2, 2] holds how many rows were counted and how many were skipped, each as its
lower and its upper 32 bits. ``moments`` f32[4, D] holds the mean, what rounding took from it, the variance, and what
rounding took from that: each pair has the digits of a float of twice the size, so that the millionth row counts as much
as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ("LARGEST", "Block", "count_of", "nothing", "scaled", "shifted", "sums", "taken_in")

LARGEST: Final = 1e18  # float32 can hold the squares of smaller numbers, and sums of these

Block = tuple[jax.Array, jax.Array]  # numbers f32[B, D], and which rows count bool[B]


def nothing(size: int) -> dict[str, Any]:
    """The state of moments of `size` numbers, before anything was counted."""
    floats = jax.dtypes.canonicalize_dtype(float)
    return {"counts": np.zeros((2, 2), np.uint32), "moments": np.zeros((4, size), floats)}


def taken_in(state: dict[str, Any], blocks: Sequence[Block]) -> dict[str, Any]:
    """The state after more rows, as of all rows at once.

    Rows with a number that is not finite, or is larger than `LARGEST`, are skipped.

    References
    ----------
    Chan, Golub and LeVeque (1979), Updating formulae and a pairwise algorithm for computing sample variances, equation
    2.1. Knuth (1997), The art of computer programming, volume 2, section 4.2.2, theorem B: the rest of a sum.
    """
    usable = [(jnp.abs(x) <= LARGEST).all(axis=1) for x, _ in blocks]  # which NaN is not
    rows = [mask & fit for (_, mask), fit in zip(blocks, usable, strict=True)]
    n = _total(rows)
    skipped = _total([mask & ~fit for (_, mask), fit in zip(blocks, usable, strict=True)])
    counts = jnp.stack([_plus(state["counts"][0], n), _plus(state["counts"][1], skipped)])

    mean, mean_rest, var, var_rest = state["moments"]
    is_first = (state["counts"][0] == 0).all()
    # Of numbers far from zero, the squares would leave no digits for the variance: look at distances from the mean.
    pivot = jnp.where(is_first, _any_row(blocks, rows), mean)
    rest = jnp.where(is_first, 0, mean_rest)
    each = 1 / jnp.maximum(n, 1).astype(mean.dtype)
    away = [jnp.where(row[:, None], (x - pivot) - rest, 0) for (x, _), row in zip(blocks, rows, strict=True)]
    shift = sum(d.sum(axis=0) for d in away) * each
    spread = sum(
        (jnp.where(row[:, None], jnp.square(d - shift), 0) * each).sum(axis=0)
        for d, row in zip(away, rows, strict=True)
    )

    share = n.astype(mean.dtype) / jnp.maximum(_as_float(counts[0], mean.dtype), 1)
    growth = share * (spread - var + (1 - share) * jnp.square(shift))
    new = jnp.stack([*_sum_and_rest(pivot, rest + share * shift), *_sum_and_rest(var, var_rest + growth)])
    return {"counts": counts, "moments": jnp.where(n > 0, new, state["moments"])}


def shifted(state: dict[str, Any], x: jax.Array) -> jax.Array:
    """Distances f32[..., D] from the mean."""
    mean, rest = state["moments"][:2]
    return (x - mean) - rest


def scaled(state: dict[str, Any], x: jax.Array, clip: float, epsilon: float) -> jax.Array:
    """Numbers f32[..., D] in units of the standard deviation, clipped. What never varied keeps its unit."""
    var = state["moments"][2]
    y = x / jnp.where(var > 0, jnp.sqrt(jnp.maximum(var, 0) + epsilon), 1)
    return jnp.clip(y, -clip, clip) if np.isfinite(clip) else y


def sums(moments: Any) -> tuple[Any, Any]:
    """Mean and variance, with what rounding took from them."""
    mean, mean_rest, var, var_rest = moments
    return mean + mean_rest, (var + var_rest).clip(0)


def count_of(pair: np.ndarray) -> int:
    """The number that is stored in two halves u32[2], as a Python int."""
    low, high = (int(x) for x in pair)
    return (high << 32) + low


def _as_float(pair: jax.Array, dtype: Any) -> jax.Array:
    return pair[1].astype(dtype) * 2.0**32 + pair[0].astype(dtype)


def _total(rows: Sequence[jax.Array]) -> jax.Array:
    return sum((row.sum(dtype=jnp.uint32) for row in rows), jnp.uint32(0))


def _plus(pair: jax.Array, n: jax.Array) -> jax.Array:
    low = pair[0] + n
    return jnp.stack([low, pair[1] + (low < n).astype(jnp.uint32)])


def _any_row(blocks: Sequence[Block], rows: Sequence[jax.Array]) -> jax.Array:
    """One of the rows that count; zeros if there is none."""
    found = jnp.zeros_like(blocks[0][0][0])
    for (x, _), row in zip(blocks, rows, strict=True):
        found = jnp.where(row.any(), x[jnp.argmax(row)], found)
    return found


def _sum_and_rest(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of two numbers, and exactly what rounding took from it."""
    total = x + y
    of_y = total - x
    return total, (x - (total - of_y)) + (y - of_y)
