"""Elementwise functions for forward passes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ("clipped_logit", "double_relu")


def clipped_logit(x: Any, epsilon: float = 1e-15) -> jax.Array:
    r"""The logit of a proportion, finite at 0 and 1.

    .. math:: \log(\max(x, \epsilon)) - \log(\max(1 - x, \epsilon))

    Parameters
    ----------
    x : f32[...]
        Between 0 and 1.
    epsilon : float, optional
        Proportions closer than this to 0 or 1 count as this.

    Returns
    -------
    f32[...]
    """
    x = jnp.asarray(x)
    return jnp.log(jnp.clip(x, epsilon, 1)) - jnp.log(jnp.clip(1 - x, epsilon, 1))


def double_relu(arr: Any) -> jax.Array:
    """The negative and the positive part side by side: ``min(x, 0), max(x, 0)``.

    Parameters
    ----------
    arr : f32[..., D]

    Returns
    -------
    f32[..., 2 * D]
    """
    arr = jnp.asarray(arr)
    return jnp.concatenate([-jax.nn.relu(-arr), jax.nn.relu(arr)], axis=-1)
