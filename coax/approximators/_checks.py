"""What a user's forward-pass function must look like, and what to say when it does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp

__all__ = ("check_array_output", "check_signature", "check_space")

STATE = ("S", "is_training")
STATE_ACTION = ("S", "A", "is_training")


def check_space(env: Any, attribute: str, owner: str) -> gymnasium.Space:
    """The space of an environment (or of anything with such an attribute)."""
    space = getattr(env, attribute, None)
    if not isinstance(space, gymnasium.Space):
        raise TypeError(
            f"{owner}: expected env.{attribute} to be a gymnasium.Space, got {type(space).__name__}. "
            "Fix: pass a gymnasium environment, or any object with observation_space and action_space."
        )
    return space


def check_signature(func: Callable, allowed: Sequence[tuple[str, ...]], owner: str) -> tuple[str, ...]:
    """Which of the allowed argument lists `func` has."""
    if not callable(func):
        raise TypeError(f"{owner}: expected a function, got {type(func).__name__}. Fix: pass the forward pass itself.")
    names = tuple(inspect.signature(func).parameters)
    if names not in allowed:
        expected = " or ".join(f"func({', '.join(names)})" for names in allowed)
        raise TypeError(
            f"{owner}: expected the signature {expected}, got func({', '.join(names)}). "
            "Fix: name the arguments exactly so, in this order."
        )
    return names


def check_array_output(out: Any, shape: tuple[int, ...], owner: str, fix: str) -> None:
    """Whether an (abstract) output is one floating-point array of the given shape."""
    if not isinstance(out, jax.ShapeDtypeStruct | jax.Array):
        raise TypeError(f"{owner}: expected func to return one jax array, got {type(out).__name__}. Fix: {fix}.")
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(
            f"{owner}: expected func to return a floating dtype, got {out.dtype}. "
            "Fix: return float32, e.g. from hk.Linear."
        )
    if out.shape != shape:
        raise TypeError(
            f"{owner}: expected func to return shape {shape} for a batch of {shape[0]}, got {out.shape}. Fix: {fix}."
        )
