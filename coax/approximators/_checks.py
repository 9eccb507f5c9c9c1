"""What a user's forward-pass function must look like, and what to say when it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..utils import make_cast, single_space
from ._networks import is_network, signature_of

__all__ = ("check_array_output", "check_bounds", "check_signature", "check_space", "check_value_range")

STATE = ("S", "is_training")
STATE_ACTION = ("S", "A", "is_training")


def check_space(env: Any, attribute: str, owner: str) -> gymnasium.Space:
    """The space of an environment (or of anything with such an attribute); of several at once, that of each."""
    if isinstance(env, str):
        raise TypeError(f"{owner}: expected an environment, got the text {env!r}. Fix: gymnasium.make({env!r}).")
    space = single_space(env, attribute)
    if not isinstance(space, gymnasium.Space):
        raise TypeError(
            f"{owner}: expected env.{attribute} to be a gymnasium.Space, got {type(space).__name__}. "
            "Fix: pass a gymnasium environment, or any object with observation_space and action_space."
        )
    make_cast(space)  # before any advice about the forward pass, which would not help with such a space
    return space


def check_signature(func: Any, allowed: Sequence[tuple[str, ...]], owner: str) -> tuple[str, ...]:
    """Which of the allowed argument lists a forward pass has: a function, a pair of functions, or a Flax module."""
    if not callable(func) and not is_network(func):
        raise TypeError(f"{owner}: expected a function, got {type(func).__name__}. Fix: pass the forward pass itself.")
    given = signature_of(func)
    if given.names not in allowed:
        expected = " or ".join(f"func({', '.join(names)})" for names in allowed)
        some = ", ".join(allowed[0])
        raise TypeError(
            f"{owner}: expected the signature {expected}, got {given.text}. Fix: {given.fix}. Instead of a function, "
            f"there may be a Flax module with such a __call__, or a pair of functions init(rng, {some}) and "
            f"apply([params], {some}), where [params] is params, or params, rng, or params, state, rng."
        )
    return given.names  # type: ignore[return-value]


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


def check_bounds(name: str, space: gymnasium.Space, x: Any) -> None:
    """Whether host arrays lie within the bounds of a Box, and of every Box in a composite space."""
    if isinstance(space, gymnasium.spaces.Tuple | gymnasium.spaces.Dict):
        children = space.spaces if isinstance(space, gymnasium.spaces.Dict) else dict(enumerate(space.spaces))
        for key, child in children.items():
            check_bounds(f"{name}[{key!r}]", child, x[key])
    elif isinstance(space, gymnasium.spaces.Box) and isinstance(x, np.ndarray) and not _is_inside(space, x):
        raise ValueError(
            f"{name}: expected elements of {space}, got values from {x.min()} to {x.max()}. "
            "Fix: clip them to the bounds."
        )


def _is_inside(space: gymnasium.spaces.Box, x: np.ndarray) -> bool:
    return bool(((x >= space.low) & (x <= space.high)).all())


def check_value_range(value_range: Any, owner: str) -> tuple[float, float]:
    """The lowest and the highest value of a categorical value distribution."""
    pair = value_range if isinstance(value_range, tuple | list) and len(value_range) == 2 else (None, None)
    if not all(isinstance(x, int | float | np.number) and not isinstance(x, bool) for x in pair):
        raise TypeError(
            f"{owner}: expected value_range=(low, high), got {value_range!r}. Fix: pass two numbers, in units of value."
        )
    low, high = map(float, pair)
    if not -np.inf < low < high < np.inf:
        raise TypeError(
            f"{owner}: expected value_range=(low, high) with low < high, both finite, got {value_range!r}. "
            "Fix: pass the lowest and the highest value that is to be expected."
        )
    return low, high
