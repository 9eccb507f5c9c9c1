"""Transitions in preallocated arrays, where the newest take the places of the oldest."""

from __future__ import annotations

import operator
from typing import Any, Self

import jax
import numpy as np

from ..reward_tracing import TransitionBatch

__all__ = ("NUMBERS", "STORED", "Ring", "describe")

NUMBERS = ("logP", "Rn", "In", "logP_next", "W")
# Not idx: the place of a row tells which it is. The fields that are always there come first, one leaf each.
STORED = ("logP", "Rn", "In", "W", "logP_next", "S", "A", "S_next", "A_next", "extra_info")
fields_of = operator.attrgetter(*STORED)


class Ring:
    """Rows of arrays, one for each transition.

    Parameters
    ----------
    capacity : int
        How many rows there are.
    batch : TransitionBatch
        Its fields say which arrays there are, and what their rows look like.

    Raises
    ------
    TypeError, ValueError
        If a field of the batch is no array with a row for each transition.
    """

    def __init__(self, capacity: int, batch: TransitionBatch):
        leaves, tree = jax.tree.flatten(fields_of(batch))
        names = _names_of(fields_of(batch))
        rows = [_as_rows(name, x, len(batch.Rn)) for name, x in zip(names, leaves, strict=True)]
        self._set([np.empty((capacity, *x.shape[1:]), x.dtype) for x in rows], tree)

    def _set(self, stores: list[np.ndarray], tree: Any) -> None:
        self._stores, self._tree = stores, tree
        self._single = [(x.dtype, (1, *x.shape[1:])) for x in stores]

    @property
    def tree(self) -> tuple[Any, ...]:
        """The arrays [capacity, ...], in the order of `STORED`."""
        return jax.tree.unflatten(self._tree, self._stores)

    def fitting(self, batch: TransitionBatch) -> list[Any]:
        """The leaves of a batch, in the order and the dtypes in which they are stored.

        Raises
        ------
        TypeError
            If the batch has other fields, or a dtype that cannot be cast: the field is named.
        ValueError
            If the rows of a field have another shape: it is named.
        """
        leaves, tree = jax.tree.flatten(fields_of(batch))
        if tree == self._tree:
            for x, (dtype, shape) in zip(leaves, self._single, strict=True):
                if type(x) is not np.ndarray or x.dtype != dtype or x.shape != shape:
                    break
            else:
                return leaves
        return self._cast(batch, leaves, tree)

    def _cast(self, batch: TransitionBatch, leaves: list[Any], tree: Any) -> list[np.ndarray]:
        if tree != self._tree:
            raise _other_structure(self.tree, fields_of(batch))
        names = _names_of(self.tree)
        out = []
        for name, store, x in zip(names, self._stores, leaves, strict=True):
            rows = _as_rows(name, x, len(batch.Rn))
            castable = np.can_cast(rows.dtype, store.dtype, "same_kind")
            if rows.shape[1:] != store.shape[1:] or not castable:
                raise (ValueError if castable else TypeError)(
                    f"transition_batch.{name}: expected rows of {describe(store)} as before, "
                    f"got {describe(rows)}. {_FIX}"
                )
            out.append(rows.astype(store.dtype, copy=False))
        return out

    def write(self, start: int, leaves: list[Any]) -> None:
        """Put rows into the places `start`, `start` + 1, ..., the first of which follows the last."""
        count, capacity = len(leaves[0]), len(self._stores[0])
        if count == 1:
            for store, x in zip(self._stores, leaves, strict=True):
                store[start] = x[0]
            return
        skipped = max(0, count - capacity)  # these would be overwritten by the rest at once
        start, count = (start + skipped) % capacity, count - skipped
        before_the_end = min(count, capacity - start)
        for store, x in zip(self._stores, leaves, strict=True):
            rows = x[skipped:]
            store[start : start + before_the_end] = rows[:before_the_end]
            store[: count - before_the_end] = rows[before_the_end:]

    def read(self, places: np.ndarray, idx: np.ndarray) -> TransitionBatch:
        """Copies of the rows at the given places [B], as a batch with the given ids."""
        taken = [store.take(places, axis=0) for store in self._stores]
        logP, Rn, In, W, logP_next, S, A, S_next, A_next, extra_info = jax.tree.unflatten(self._tree, taken)
        return TransitionBatch(S, A, logP, Rn, In, S_next, A_next, logP_next, W, idx, extra_info)

    def copy(self) -> Self:
        """The same rows in other arrays."""
        new = object.__new__(type(self))
        new._set([store.copy() for store in self._stores], self._tree)
        return new

    # Not every tree structure can be pickled, but trees of arrays can.

    def __getstate__(self) -> Any:
        return self.tree

    def __setstate__(self, tree: Any) -> None:
        self._set(*jax.tree.flatten(tree))


_FIX = "Fix: use one buffer for each kind of transition."


def describe(store: Any) -> str:
    """What a row of an array looks like."""
    return f"{store.dtype}{list(store.shape[1:])}"


def _names_of(fields: tuple[Any, ...]) -> list[str]:
    return [
        name + jax.tree_util.keystr(path)
        for name, field in zip(STORED, fields, strict=True)
        for path, _ in jax.tree_util.tree_leaves_with_path(field)
    ]


def _as_rows(name: str, x: Any, count: int) -> np.ndarray:
    if not hasattr(x, "dtype"):
        raise TypeError(
            f"transition_batch.{name}: expected an array, got {type(x).__name__}. "
            "Fix: pass what a tracer's pop() or flush() returned."
        )
    rows = np.asarray(x)
    wants_number = name in NUMBERS
    if rows.shape[:1] != (count,) or (wants_number and rows.ndim != 1):
        more = "" if wants_number else ", ..."
        raise ValueError(
            f"transition_batch.{name}: expected shape [{count}{more}], a row for each value of Rn, got "
            f"{list(rows.shape)}. Fix: pass what a tracer's pop() or flush() returned."
        )
    return rows.astype(np.float32, copy=False) if wants_number else rows


def _other_structure(stored: tuple[Any, ...], new: tuple[Any, ...]) -> TypeError:
    structures = ((name, *map(jax.tree.structure, pair)) for name, *pair in zip(STORED, stored, new, strict=True))
    name, want, got = next((name, want, got) for name, want, got in structures if want != got)
    return TypeError(f"transition_batch.{name}: expected the structure {want} as before, got {got}. {_FIX}")
