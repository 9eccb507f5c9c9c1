"""What every function of a rollout checks, and how it looks ahead."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ("as_rollout", "bootstrap", "same_shape")


def as_rollout(name: str, rewards: Any, discount: Any, cut: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The three arrays that describe a rollout, of one shape [T, ...]: f32, f32, bool.

    A termination and the last step are made cuts.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no time axis, or it is empty.
    """
    rewards = jnp.asarray(rewards)
    if not jnp.issubdtype(rewards.dtype, jnp.floating):
        rewards = rewards.astype(float)
    discount, cut = jnp.asarray(discount, rewards.dtype), jnp.asarray(cut, bool)
    same_shape(name, rewards=rewards, discount=discount, cut=cut)
    if not rewards.ndim or not rewards.shape[0]:
        raise ValueError(
            f"{name}: expected arrays [T, ...] with T >= 1, got shape {rewards.shape}. Fix: put time in front."
        )
    return rewards, discount, (cut | (discount == 0)).at[-1].set(True)


def same_shape(name: str, **arrays: jax.Array) -> None:
    """Refuse arrays of different shapes instead of broadcasting them against each other."""
    shapes = {key: x.shape for key, x in arrays.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise ValueError(
            f"{name}: expected arrays of one shape [T, ...], got {said}. Fix: reshape them; nothing is broadcast."
        )


def bootstrap(factor: jax.Array, value: jax.Array) -> jax.Array:
    """``factor * value``, and 0 where the factor is 0, whatever the value is (even NaN), gradients included."""
    off = factor == 0
    return jnp.where(off, jnp.zeros_like(factor), factor) * jnp.where(off, jnp.zeros_like(value), value)
