"""Whether the observations and actions of a batch are elements of the spaces that a function was made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np

from ..utils import make_cast, safe_sample

__all__ = ("field_check",)


def field_check(space: gymnasium.Space, field: str, owner: str) -> Callable[[Any, Any], Any]:
    """Compile a space into a check of one field of a batch.

    Parameters
    ----------
    space : gymnasium.Space
    field, owner : str
        How errors name it and the updater.

    Returns
    -------
    callable
        ``check(x, live) -> x``, the field in the dtype of the space. `live` is the sample weights [B] (or anything
        else that is 0 in rows that do not count): such rows may hold values outside of the space. Shapes and kinds are
        always checked, values only on the host.

        It raises ``ValueError`` for shapes, structures and values that do not fit, ``TypeError`` for floats where the
        space is discrete.
    """
    general = _general(space, field, owner)
    plain = space.shape if isinstance(space, gymnasium.spaces.Box | gymnasium.spaces.Discrete) else None
    if plain is None:
        return general
    dtype, shape = np.dtype(space.dtype), tuple(plain)
    if isinstance(space, gymnasium.spaces.Box):

        def check(x: Any, live: Any) -> Any:
            fits = type(x) is np.ndarray and x.dtype is dtype and x.shape == (len(live), *shape)
            return x if fits else general(x, live)

        return check

    low, last = int(space.start), int(space.n) - 1  # type: ignore[attr-defined]
    unsigned = np.dtype(f"u{dtype.itemsize}")

    def check_index(x: Any, live: Any) -> Any:
        if type(x) is np.ndarray and x.dtype is dtype and x.shape == (len(live),):
            # as unsigned numbers what is below the first one is above the last: one look instead of two
            offset = (x - low if low else x).view(unsigned)
            if offset.item(offset.argmax()) <= last:
                return x
        return general(x, live)

    return check_index


def _general(space: gymnasium.Space, field: str, owner: str) -> Callable[[Any, Any], Any]:
    name = f"transition_batch.{field}"
    cast = make_cast(space, name)

    def check(x: Any, live: Any) -> Any:
        if x is None:
            raise ValueError(
                f"{owner}: expected {field} in the batch, got None. "
                "Fix: pass what a tracer's pop() or a buffer's sample() returned."
            )
        try:
            casted, leading = cast(x)
        except ValueError:
            if not isinstance(live, np.ndarray) or live.all():
                raise
            casted, leading = cast(_without_dead_rows(space, x, live))
        if leading != (len(live),):
            raise ValueError(
                f"{name}: expected one element of {space} for each of {len(live)} transitions, "
                f"got {_axes(leading)}. Fix: give every field one row per transition, of the environment that the "
                "functions were made for."
            )
        return casted

    return check


def _axes(leading: tuple) -> str:
    """How many elements there are."""
    return f"leading axes {leading} of them" if leading else "one single element"


def _without_dead_rows(space: gymnasium.Space, x: Any, live: np.ndarray) -> Any:
    """The same with an element of the space in rows that do not count."""

    def fill(leaf: Any, element: Any) -> Any:
        if not isinstance(leaf, np.ndarray) or leaf.shape[1:] != np.shape(element):
            return leaf
        dead = (live == 0).reshape(-1, *(1,) * (leaf.ndim - 1))
        return np.where(dead, np.asarray(element).astype(leaf.dtype), leaf)

    return jax.tree.map(fill, x, safe_sample(space, seed=0))
