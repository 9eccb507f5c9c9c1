"""Argmax and argmin that break ties at random."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ("argmax", "argmin")


def argmax(rng: jax.Array, arr: Any, axis: int = -1) -> jax.Array:
    """Index of the largest entry; among equals, each with the same probability.

    Parameters
    ----------
    rng : key[]
        A PRNG key.
    arr : array[..., A, ...]
        Any rank above zero.
    axis : int, optional
        The axis to reduce.

    Returns
    -------
    int[...]
        The shape of `arr` without `axis`.
    """
    arr = jnp.asarray(arr)
    # The largest lottery number among the winners wins. Losers get -1; numbers lie in [0, 1).
    best = arr == jnp.max(arr, axis=axis, keepdims=True)
    lottery = jax.random.uniform(rng, arr.shape)
    return jnp.argmax(jnp.where(best, lottery, -1), axis=axis)


def argmin(rng: jax.Array, arr: Any, axis: int = -1) -> jax.Array:
    """Index of the smallest entry; among equals, each with the same probability. See :func:`argmax`."""
    arr = jnp.asarray(arr)
    best = arr == jnp.min(arr, axis=axis, keepdims=True)
    lottery = jax.random.uniform(rng, arr.shape)
    return jnp.argmax(jnp.where(best, lottery, -1), axis=axis)
