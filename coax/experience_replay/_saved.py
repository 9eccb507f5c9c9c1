"""Whether a saved state is one of a replay buffer, and fits it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ._ring import NUMBERS, STORED, Ring, describe

__all__ = ("checked",)

_FIX = "Fix: give the state of a buffer of the same capacity, for the same transitions."


def checked(owner: str, new: Any, capacity: int, ring: Ring | None) -> dict[str, Any]:
    """The state, with NumPy arrays for leaves.

    Parameters
    ----------
    owner : str
        The name of the class, for errors.
    new : dict
        ``count`` i64[], ``rng`` u64[6] and ``transitions``: None, or a dict with the fields [N, ...], oldest first.
    capacity : int
        Of the buffer: N is the lesser of `capacity` and `count`.
    ring : Ring or None
        What the buffer holds now, if anything: the fields must look the same.

    Raises
    ------
    TypeError
        If anything does not fit: the first such leaf is named.
    """
    fault = _fault(new, capacity, ring)
    if fault:
        raise TypeError(f"{owner}.state{fault}. {_FIX}")
    return jax.tree.map(np.array, new)


def _fault(new: Any, capacity: int, ring: Ring | None) -> str | None:
    entries = ["count", "rng", "transitions"]
    if not isinstance(new, dict) or sorted(new) != entries:
        return f": expected a dict of {entries}, got {sorted(new) if isinstance(new, dict) else type(new).__name__}"
    for name, want in {"count": "int64[]", "rng": "uint64[6]"}.items():
        got = _kind(new[name])
        if got != want:
            return f"['{name}']: expected {want}, got {got}"
    count, transitions = int(new["count"]), new["transitions"]
    if count < 0:
        return f"['count']: expected at least 0, got {count}"
    if transitions is None:
        return f"['transitions']: expected {min(count, capacity)} rows, got None" if count else None
    if not isinstance(transitions, dict) or sorted(transitions) != sorted(STORED):
        return f"['transitions']: expected a dict of {sorted(STORED)}"
    return _wrong_rows(transitions, min(count, capacity)) or (ring and _other_rows(transitions, ring)) or None


def _kind(x: Any) -> str:
    return f"{x.dtype}{list(np.shape(x))}" if hasattr(x, "dtype") else type(x).__name__


def _wrong_rows(transitions: dict[str, Any], count: int) -> str | None:
    for name in STORED:
        if transitions[name] is None and name in ("logP", "Rn", "In", "W", "S", "A"):
            return f"['transitions']['{name}']: expected {count} rows, got None"
        for path, x in jax.tree_util.tree_leaves_with_path(transitions[name]):
            where = f"['transitions']['{name}']{jax.tree_util.keystr(path)}"
            if name in NUMBERS and _kind(x) != f"float32[{count}]":
                return f"{where}: expected float32[{count}], got {_kind(x)}"
            if np.shape(x)[:1] != (count,) or not hasattr(x, "dtype"):
                return f"{where}: expected {count} rows, got {_kind(x)}"
    return None


def _other_rows(transitions: dict[str, Any], ring: Ring) -> str | None:
    for name, held in zip(STORED, ring.tree, strict=True):
        where = f"['transitions']['{name}']"
        want, got = jax.tree.structure(held), jax.tree.structure(transitions[name])
        if want != got:  # type: ignore[operator]
            return f"{where}: expected the structure {want}, got {got}"
        for x, (path, y) in zip(
            jax.tree.leaves(held), jax.tree_util.tree_leaves_with_path(transitions[name]), strict=True
        ):
            if describe(x) != describe(y):
                return f"{where}{jax.tree_util.keystr(path)}: expected rows of {describe(x)}, got {describe(y)}"
    return None
