"""Quantile fractions for distributional value functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ("quantile_cos_embedding", "quantiles", "quantiles_uniform")


def quantiles(batch_size: int, num_quantiles: int = 200) -> jax.Array:
    """Evenly spaced quantile fractions 0, 1/K, ..., (K - 1)/K.

    Returns
    -------
    f32[B, K]

    References
    ----------
    Dabney et al. (2018), "Distributional reinforcement learning with quantile regression", section 4.
    """
    return jnp.tile(jnp.arange(num_quantiles, dtype=float) / num_quantiles, (batch_size, 1))


def quantiles_uniform(rng: jax.Array, batch_size: int, num_quantiles: int = 32) -> jax.Array:
    """Random quantile fractions that increase to 1: running sums of normalised uniform numbers.

    Returns
    -------
    f32[B, K]

    References
    ----------
    Yang et al. (2019), "Fully parameterized quantile function for distributional reinforcement learning".
    """
    steps = jax.random.uniform(rng, (batch_size, num_quantiles))
    sums = jnp.cumsum(steps, axis=-1)
    return sums / sums[:, -1:]


def quantile_cos_embedding(quantile_fractions: Any, n: int = 64) -> jax.Array:
    r"""Features of quantile fractions: :math:`\cos(\pi k \tau)` for k = 1, ..., n.

    Parameters
    ----------
    quantile_fractions : f32[..., K]
        Between 0 and 1.
    n : int, optional
        How many features.

    Returns
    -------
    f32[..., K, n]

    References
    ----------
    Dabney et al. (2018), "Implicit quantile networks for distributional reinforcement learning", equation 4.
    """
    tau = jnp.asarray(quantile_fractions)
    return jnp.cos(jnp.pi * tau[..., None] * jnp.arange(1, n + 1, dtype=tau.dtype))
