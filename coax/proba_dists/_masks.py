"""Masks of allowed actions, for spaces with discrete parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import Space, spaces

__all__ = ("check_mask", "mask_parts", "read_mask", "refuse_mask", "split_mask")


def check_mask(name: str, mask: Any, space: Space, rows: Any = None) -> None:
    """Whether a mask allows something in every row, or in those where `rows` bool[B] is True.

    Raises
    ------
    ValueError
        If it allows nothing somewhere, or does not fit the space.
    """
    if mask is None:
        return
    if isinstance(space, spaces.Tuple | spaces.Dict):
        children = space.spaces if isinstance(space, spaces.Dict) else dict(enumerate(space.spaces))
        for (key, child), part in zip(children.items(), mask_parts(name, mask, list(children), space), strict=True):
            check_mask(f"{name}[{key!r}]", part, child, rows)
    elif isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        sizes = (
            [2] * int(np.prod(space.shape)) if isinstance(space, spaces.MultiBinary) else space.nvec.ravel().tolist()
        )
        for i, part in enumerate(split_mask(name, mask, sizes)):
            _require_choice(f"{name}[{i}]", part, rows)
    elif isinstance(space, spaces.Discrete):
        _require_length(name, mask, int(space.n))
        _require_choice(name, mask, rows)
    else:
        refuse_mask(name, mask, space)


def _require_length(name: str, mask: Any, n: int) -> None:
    if np.shape(mask)[-1:] != (n,):
        raise ValueError(
            f"{name}: expected a mask of shape (..., {n}), one entry per choice, got {np.shape(mask)}. "
            "Fix: pass a boolean array that is True where the choice is allowed."
        )


def _require_choice(name: str, mask: Any, rows: Any = None) -> None:
    if mask is None or isinstance(mask, jax.core.Tracer):
        return
    some = np.asarray(mask).astype(bool).any(axis=-1)
    if not (some if rows is None else some | ~rows).all():
        raise ValueError(
            f"{name}: expected at least one allowed choice in every row, got a mask that is False everywhere. "
            "Fix: allow one, or do not act in such a state."
        )


def read_mask(name: str, mask: Any, n: int) -> jax.Array:
    """A mask bool[..., A] of `n` choices.

    Raises
    ------
    ValueError
        If it has another length, holds something other than 0 and 1, or (where its values are known) allows nothing.
    """
    _require_length(name, mask, n)
    if not isinstance(mask, jax.core.Tracer):
        host = np.asarray(mask)
        if host.dtype != bool and not np.isin(host, (0, 1)).all():
            raise ValueError(f"{name}: expected True and False, got {host.min()} to {host.max()}. Fix: pass booleans.")
        _require_choice(name, host)
    return jnp.asarray(mask).astype(bool)


def refuse_mask(name: str, mask: Any, space: Space) -> None:
    """Refuse a mask for a space without choices."""
    if mask is not None:
        raise ValueError(
            f"{name}: expected None for {space}, which has no choices to exclude, got {type(mask).__name__}."
        )


def mask_parts(name: str, mask: Any, keys: list[Any], space: Space) -> list[Any]:
    """The masks of the parts of a Tuple or Dict space; a part may be None, and one of a Dict may be left out.

    Raises
    ------
    ValueError
        If it does not have the parts of the space.
    """
    if isinstance(space, spaces.Dict):
        if isinstance(mask, Mapping) and mask.keys() <= set(keys):
            return [mask.get(key) for key in keys]
        got = f"the keys {list(mask)}" if isinstance(mask, Mapping) else type(mask).__name__
        raise ValueError(f"{name}: expected a dict of masks with keys from {keys}, got {got}. Fix: name the parts so.")
    if isinstance(mask, tuple | list) and len(mask) == len(keys):
        return list(mask)
    raise ValueError(
        f"{name}: expected a tuple of {len(keys)} masks, got {type(mask).__name__}. "
        "Fix: pass one mask per part, None for a part without choices."
    )


def split_mask(name: str, mask: Any, sizes: list[int]) -> list[Any]:
    """The masks of the entries of a MultiDiscrete (or MultiBinary) space, whose entries have `sizes` choices.

    Either a tuple with a mask [..., n] (or None) per entry, row by row, or all of them side by side in one array
    [..., n_1 + n_2 + ...].

    Raises
    ------
    ValueError
        If the sizes do not fit.
    """
    parts = mask if isinstance(mask, tuple | list) else ()
    if len(parts) == len(sizes) and all(part is None or np.ndim(part) for part in parts):
        return list(parts)
    apart = any(part is None or np.ndim(part) for part in parts)
    if apart or np.shape(mask)[-1:] != (sum(sizes),):
        got = f"a {type(mask).__name__} of {len(parts)}" if apart else f"shape {np.shape(mask)}"
        raise ValueError(
            f"{name}: expected a mask per entry, of lengths {sizes}, or one of shape (..., {sum(sizes)}), "
            f"got {got}. Fix: pass them side by side, in the order of the entries."
        )
    stops = np.cumsum(sizes)
    mask = np.asarray(mask) if parts else mask
    return [mask[..., stop - n : stop] for n, stop in zip(sizes, stops, strict=True)]
