"""Whether a saved state is one of a replay buffer, and fits it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..utils import generator_from_array
from ._transitions import NUMBERS, STORED, Transitions, describe

__all__ = ("checked",)

_FIX = "Fix: give the state of a buffer of the same kind and capacity, for the same transitions."
_MAY_BE_EMPTY = ("extra_info",)
_SAVED = sorted((*STORED, "observations", "frame_axis"))


def checked(buffer: Any, new: Any, transitions: Transitions | None) -> dict[str, Any]:
    """The state, with NumPy arrays for leaves.

    Parameters
    ----------
    buffer : BaseReplayBuffer
        Its own `init` says which entries there are, and what they look like.
    new : dict
        These entries, where ``transitions`` is None or what :meth:`Transitions.saved` returned of all rows, oldest
        first: as many as were added, ``count``, or as there is room for.
    transitions : Transitions or None
        What the buffer holds now, if anything: the fields must look the same.

    Raises
    ------
    TypeError
        If anything does not fit: the first such leaf is named.
    """
    fault = _fault(buffer, new, transitions)
    if fault:
        raise TypeError(f"{type(buffer).__name__}.state{fault}. {_FIX}")
    generator_from_array(np.asarray(new["rng"]))
    return jax.tree.map(np.asarray, new)


def _fault(buffer: Any, new: Any, transitions: Transitions | None) -> str | None:
    fresh = buffer.init(None)
    entries = sorted(fresh)
    if not isinstance(new, dict) or sorted(new) != entries:
        return f": expected a dict of {entries}, got {sorted(new) if isinstance(new, dict) else type(new).__name__}"
    for name, like in fresh.items():
        if like is not None and _kind(new[name]) != _kind(like):
            return f"['{name}']: expected {_kind(like)}, got {_kind(new[name])}"
    count, saved = int(new["count"]), new["transitions"]
    if count < 0:
        return f"['count']: expected at least 0, got {count}"
    held = min(count, buffer.capacity)
    if saved is None:
        return f"['transitions']: expected {held} rows, got None" if count else None
    if not isinstance(saved, dict) or sorted(saved) != _SAVED:
        return f"['transitions']: expected a dict of {_SAVED}"
    fault = _wrong_rows(saved, held) or _wrong_slots(saved, buffer.frame_axis)
    return fault or (None if transitions is None else _other_kind(saved, transitions))


def _kind(x: Any) -> str:
    return f"{x.dtype}{list(np.shape(x))}" if hasattr(x, "dtype") else type(x).__name__


def _wrong_rows(saved: dict[str, Any], count: int) -> str | None:
    for name in STORED:
        if saved[name] is None and name not in ("logP_next", "A_next", "extra_info", "S_next"):
            return f"['transitions']['{name}']: expected {count} rows, got None"
        if name not in _MAY_BE_EMPTY and saved[name] is not None and not jax.tree.leaves(saved[name]):
            return f"['transitions']['{name}']: expected {count} rows, got {saved[name]!r:.80}"
        for path, x in jax.tree_util.tree_leaves_with_path(saved[name]):
            where = f"['transitions']['{name}']{jax.tree_util.keystr(path)}"
            if name in NUMBERS and _kind(x) != f"float32[{count}]":
                return f"{where}: expected float32[{count}], got {_kind(x)}"
            if np.shape(x)[:1] != (count,) or not hasattr(x, "dtype"):
                return f"{where}: expected {count} rows, got {_kind(x)}"
    return None


def _wrong_slots(saved: dict[str, Any], frame_axis: int | None) -> str | None:
    """What is wrong with the pieces of observations, or with the numbers that refer to them."""
    pieces = {len(x) if np.ndim(x) else -1 for x in jax.tree.leaves(saved["observations"])}
    if len(pieces) != 1 or -1 in pieces:
        return "['transitions']['observations']: expected arrays with as many rows each"
    (held,) = pieces
    like = saved["S"]
    if getattr(like, "dtype", None) != np.int32 or like.ndim not in (1, 2):
        return f"['transitions']['S']: expected int32[N] or int32[N, K], got {_kind(like)}"
    if frame_axis is not None and (like.ndim == 1 or len(jax.tree.leaves(saved["observations"])) > 1):
        return f"['transitions']['S']: expected stacks of frames along the axis {frame_axis}, got whole observations"
    axis = -1 if frame_axis is None else frame_axis % jax.tree.leaves(saved["observations"])[0].ndim
    if _kind(saved["frame_axis"]) != "int32[]" or saved["frame_axis"] != axis:
        return f"['transitions']['frame_axis']: expected {axis}, got {saved['frame_axis']} (-1 is none)"
    for name in ("S", "S_next"):
        at = saved[name]
        if at is None:
            continue
        if _kind(at) != _kind(like):
            return f"['transitions']['{name}']: expected {_kind(like)}, got {_kind(at)}"
        if at.size and not 0 <= at.min() <= at.max() < held:
            return f"['transitions']['{name}']: expected numbers from 0 to {held - 1}, got {at.min()} to {at.max()}"
    return None


def _other_kind(saved: dict[str, Any], transitions: Transitions) -> str | None:
    held = transitions.saved(0, 0)
    for name in _SAVED:
        where = f"['transitions']['{name}']"
        want: Any = jax.tree.structure(held[name])
        got: Any = jax.tree.structure(saved[name])
        if want != got:
            return f"{where}: expected the structure {want}, got {got}"
        for x, (path, y) in zip(
            jax.tree.leaves(held[name]), jax.tree_util.tree_leaves_with_path(saved[name]), strict=True
        ):
            one, other = (describe(leaf.dtype, leaf.shape[1:]) for leaf in (x, y))
            if one != other:
                return f"{where}{jax.tree_util.keystr(path)}: expected rows of {one}, got {other}"
    return None
