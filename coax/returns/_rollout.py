"""What every function of a rollout checks, and how it looks ahead."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..typing import Array

__all__ = ("as_number", "as_rollout", "as_values", "bootstrap", "module_of")


def module_of(*xs: Any) -> Any:
    """``jax.numpy`` if anything here is a jax array (or stands for one in a trace), else ``numpy``."""
    return jnp if any(isinstance(x, jax.Array) for x in xs) else np


def as_rollout(name: str, rewards: Any, discount: Any, cut: Any, *others: Any) -> tuple[Array, Array, Array]:
    """The three arrays that describe a rollout, of one shape [T, ...]: f32, f32, bool.

    They are NumPy arrays if no argument is a jax array, `others` included. A termination and the last step are made
    cuts.

    Raises
    ------
    ValueError
        If the shapes differ, or there is no time axis, or it is empty.
    """
    xp = module_of(rewards, discount, cut, *others)
    rewards = xp.asarray(rewards)
    if not jnp.issubdtype(rewards.dtype, jnp.floating):
        rewards = rewards.astype(float)
    discount, cut = xp.asarray(discount, rewards.dtype), xp.asarray(cut, bool)
    _same_shape(name, rewards=rewards, discount=discount, cut=cut)
    if not rewards.ndim or not rewards.shape[0]:
        raise ValueError(
            f"{name}: expected arrays [T, ...] with T >= 1, got shape {rewards.shape}. Fix: put time in front."
        )
    last = np.arange(len(rewards)) == len(rewards) - 1
    return rewards, discount, cut | (discount == 0) | last.reshape(-1, *(1,) * (rewards.ndim - 1))


def as_values(name: str, rewards: Array, **values: Any) -> list[Array]:
    """Further arrays of a rollout, in the module and dtype of `rewards`.

    Raises
    ------
    ValueError
        If a shape differs from that of `rewards`.
    """
    xp = module_of(rewards)
    arrays = {key: xp.asarray(x, rewards.dtype) for key, x in values.items()}
    _same_shape(name, rewards=rewards, **arrays)
    return list(arrays.values())


def as_number(name: str, what: str, x: Any, rewards: Array, most: float = np.inf) -> Array:
    """One number from 0 to `most`, in the module and dtype of `rewards`. What lies on the device is not looked at.

    Raises
    ------
    ValueError
        If it has axes, or is out of range.
    """
    if np.ndim(x):
        raise ValueError(f"{name}: expected one number as {what}, got shape {np.shape(x)}. Fix: pass a scalar.")
    if not isinstance(x, jax.Array) and not 0 <= x <= most:
        raise ValueError(f"{name}: expected {what} in [0, {most:g}], got {x!r}. Fix: pass for instance {what}=1.0.")
    return module_of(rewards).asarray(x, rewards.dtype)


def _same_shape(name: str, **arrays: Array) -> None:
    """Refuse arrays of different shapes instead of broadcasting them against each other."""
    shapes = {key: x.shape for key, x in arrays.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise ValueError(
            f"{name}: expected arrays of one shape [T, ...], got {said}. Fix: reshape them; nothing is broadcast."
        )


def bootstrap(factor: Array, value: Array) -> Array:
    """``factor * value``, and 0 where the factor is 0, whatever the value is (even NaN), gradients included."""
    xp = module_of(factor, value)
    off = factor == 0
    return xp.where(off, xp.zeros_like(factor), factor) * xp.where(off, xp.zeros_like(value), value)
