"""Transitions in preallocated arrays. Observations that belong to several of them are stored once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np

from ..reward_tracing import TransitionBatch
from ..utils import Rows
from ._cut import Cut, cut_of
from ._observations import AT_ONCE, Observations

__all__ = ("NUMBERS", "STORED", "Kind", "Transitions", "describe", "fields_of", "names_of")

NUMBERS = ("logP", "Rn", "In", "W", "logP_next")
# Not idx: the place of a row tells which it is.
STORED = (*NUMBERS, "A", "A_next", "extra_info", "S", "S_next")
fields_of = operator.attrgetter(*STORED)


class Kind(NamedTuple):
    """What transitions look like.

    Attributes
    ----------
    tree : PyTreeDef
        Structure of the fields, in the order of `STORED`.
    names : tuple of str
        Of the leaves.
    rows : tuple of (dtype, shape)
        What a row of each looks like.
    single : list of (dtype, shape)
        What each looks like in a batch of one transition: most batches are.
    """

    tree: Any
    names: tuple[str, ...]
    rows: tuple[tuple[Any, tuple[int, ...]], ...]
    single: list[tuple[Any, tuple[int, ...]]]

    @classmethod
    def of(cls, batch: TransitionBatch) -> tuple[Kind, list[np.ndarray]]:
        """The kind of a batch, and its leaves.

        Raises
        ------
        TypeError, ValueError
            If a field of the batch is no array with a row for each transition, or `S_next` does not look like `S`.
        """
        fields = fields_of(batch)
        leaves, tree = jax.tree.flatten(fields)
        names = names_of(fields)
        rows = [_as_rows(name, x, len(batch.Rn)) for name, x in zip(names, leaves, strict=True)]
        kind = cls(
            tree, names, tuple((x.dtype, x.shape[1:]) for x in rows), [(x.dtype, (1, *x.shape[1:])) for x in rows]
        )
        if fields[-2] is None or not _structure(fields[-2]).num_leaves:
            raise TypeError(
                f"transition_batch.S: expected arrays, got {fields[-2]!r}. "
                "Fix: pass what a tracer's pop() or flush() returned."
            )
        kind._check_next(fields)
        return kind, rows

    def leaves_of(self, batch: TransitionBatch) -> list[np.ndarray]:
        """The leaves of a batch of this kind.

        Raises
        ------
        TypeError
            If the batch has other fields, or another dtype: the field is named.
        ValueError
            If the rows of a field have another shape: it is named.
        """
        fields = fields_of(batch)
        leaves, tree = jax.tree.flatten(fields)
        count = len(batch.Rn)
        want = self.single if count == 1 else [(dtype, (count, *shape)) for dtype, shape in self.rows]
        if tree == self.tree and {*map(type, leaves)} == _ARRAYS and [(x.dtype, x.shape) for x in leaves] == want:
            return leaves
        self._check_tree(fields, tree)
        rows = [_as_rows(name, x, count) for name, x in zip(self.names, leaves, strict=True)]
        for name, row, x in zip(self.names, self.rows, rows, strict=True):
            if (x.dtype, x.shape[1:]) != row:
                raise (TypeError if x.shape[1:] == row[1] else ValueError)(
                    f"transition_batch.{name}: expected rows of {describe(*row)} as before, "
                    f"got {describe(x.dtype, x.shape[1:])}. {_FIX}"
                )
        return rows

    def _check_tree(self, fields: tuple[Any, ...], tree: Any) -> None:
        if tree == self.tree:
            return
        wanted = jax.tree.unflatten(self.tree, self.names)
        for name, field, other in zip(STORED, wanted, fields, strict=True):
            want, got = _structure(field), _structure(other)
            if want != got:
                raise TypeError(f"transition_batch.{name}: expected the structure {want} as before, got {got}. {_FIX}")

    def _check_next(self, fields: tuple[Any, ...]) -> None:
        S, S_next = fields[-2:]
        if S_next is None:
            return
        fix = "Fix: pass observations of one environment."
        one, other = _structure(S), _structure(S_next)
        if one != other:
            raise TypeError(f"transition_batch.S_next: expected the structure of S, {one}, got {other}. {fix}")
        count = one.num_leaves
        for name, want, got in zip(
            self.names[-count:], self.rows[-2 * count : -count], self.rows[-count:], strict=True
        ):
            if want != got:
                raise (TypeError if want[1] == got[1] else ValueError)(
                    f"transition_batch.{name}: expected rows of {describe(*want)} as in S, got {describe(*got)}. {fix}"
                )


class Transitions:
    """Rows of arrays, one for each transition.

    Parameters
    ----------
    capacity : int
        How many rows there are.
    batch : TransitionBatch
        It says what transitions look like.
    frame_axis : int or None
        Where the frames of a stack are: see :func:`cut_of`.

    Attributes
    ----------
    kind : Kind
    cut : Cut
    """

    def __init__(self, capacity: int, batch: TransitionBatch, frame_axis: int | None):
        self._set(capacity, batch, frame_axis)

    def _set(self, capacity: int, batch: TransitionBatch, frame_axis: int | None) -> None:
        self._frame_axis = frame_axis
        self._tree = _structure(fields_of(batch)[:-2])
        self.kind, leaves = Kind.of(batch)
        S = jax.tree.unflatten(self.kind.tree, leaves)[-2]
        self.cut = cut_of(S, frame_axis)
        self._has_next = batch.S_next is not None
        n_numbers, n_observed = sum(name in NUMBERS for name in self.kind.names), _structure(S).num_leaves
        self._sizes = n_numbers, len(leaves) - n_observed * (1 + self._has_next), n_observed
        pieces = self._pieces(leaves)
        self._numbers = np.empty((capacity, n_numbers), np.float32)  # those of a row together: one look at memory
        self._others = [np.empty((capacity, *x.shape[1:]), x.dtype) for x in leaves[slice(*self._sizes[:2])]]
        self._columns = [*self._numbers.T, *self._others]
        self._slots = np.full((capacity, len(pieces)), -1, np.int32)
        self._touched = False
        self._observations = Observations(capacity, pieces[0])

    @property
    def nbytes(self) -> int:
        """What the arrays take."""
        arrays = (self._numbers, self._slots, *self._others)
        return sum(x.nbytes for x in arrays) + self._observations.nbytes

    @property
    def at_once(self) -> int:
        """How many rows may be written in one call."""
        return max(AT_ONCE // self._slots.shape[1], 1)

    def write(self, start: int, leaves: list[np.ndarray], keep: Callable[[], None]) -> None:
        """Put rows into the places `start`, `start` + 1, ..., the first of which follows the last.

        Parameters
        ----------
        start : int
        leaves : list of arrays [B, ...]
            What :meth:`Kind.leaves_of` returned; as many rows as there may be at once, and as there is room for.
        keep : callable
            Is called when they are written. May run twice.

        Notes
        -----
        An interrupt may come at any point. Before the first row is touched nothing is written. Later all is written
        before it goes on its way.
        """
        self._touched = False
        try:
            self._write(start, leaves)
            keep()
        except BaseException:
            self._observations.repair(self._slots)
            if self._touched:
                self._write(start, leaves)
                keep()
            raise

    def _write(self, start: int, leaves: list[np.ndarray]) -> None:
        pieces, count = self._pieces(leaves), len(leaves[0])
        if count == 1:
            slots = self._observations.add(pieces, self._slots[start])[0]
            self._touched = True
            self._slots[start] = slots
            for store, x in zip(self._columns, leaves, strict=False):
                store[start] = x[0]
            return
        places = np.arange(start, start + count) % len(self._slots)
        slots = self._observations.add(pieces, self._slots[places])
        self._touched = True
        self._slots[places] = slots
        for store, x in zip(self._columns, leaves, strict=False):
            store[places] = x

    def read(self, places: np.ndarray, idx: np.ndarray) -> TransitionBatch:
        """Copies of the rows at the given places [B], as a batch with the given ids."""
        slots = self._slots.take(places, axis=0)
        S, S_next = self._both(slots, self._observations_at)
        logP, Rn, In, W, logP_next, A, A_next, extra_info = self._fields(places)
        return TransitionBatch(S, A, logP, Rn, In, S_next, A_next, logP_next, W, idx, extra_info)

    def _fields(self, places: np.ndarray) -> tuple:
        numbers = np.ascontiguousarray(self._numbers.take(places, axis=0).T)
        others = [store.take(places, axis=0) for store in self._others]
        return self._tree.unflatten([*numbers, *others])

    def _both(self, slots: np.ndarray, func: Any) -> tuple[Any, Any]:
        """A function of the slots [B] or [B, K] of S, and of those of S_next."""
        count = self.cut.frames
        if count is None:
            return func(slots[:, 0]), func(slots[:, 1]) if self._has_next else None
        return func(slots[:, :count]), func(slots[:, count:]) if self._has_next else None

    def _observations_at(self, slots: np.ndarray) -> Any:
        return self.cut.whole(self._observations.take(slots))

    def _pieces(self, leaves: list[np.ndarray]) -> list[Sequence[np.ndarray]]:
        """The leaves of each piece of S and S_next."""
        _, start, count = self._sizes
        pieces = self.cut.pieces(leaves[start : start + count])
        return [*pieces, *self.cut.pieces(leaves[start + count :])] if self._has_next else pieces

    # --- as a dict of arrays, in which an observation is where it is among all that are held

    def streamed(self, first: int, count: int) -> dict[str, Any]:
        """The rows in the places `first`, `first` + 1, ..., read where they are: the fields, with numbers for pieces.

        The pieces of observations are numbered in the order in which they come, so that equal transitions are saved
        equally.
        """
        rank, order = self._order_of_pieces(first, count)

        def rows(shape: tuple[int, ...], dtype: Any, read: Callable[[np.ndarray], np.ndarray]) -> Rows:
            return Rows((count, *shape), dtype, lambda start, stop: read(self._places(first + start, first + stop)))

        def numbers_of(columns: np.ndarray) -> Rows:
            return rows(columns.shape[1:], np.int32, lambda at: rank[self._slots[at][:, columns[0]]])

        fields = [rows(x.shape[1:], x.dtype, x.__getitem__) for x in self._columns]
        named = dict(zip(STORED[:-2], self._tree.unflatten(fields), strict=True))
        S, S_next = self._both(np.arange(self._slots.shape[1])[None], numbers_of)
        pieces = self.cut.tree.unflatten(self._observations.streamed(order))
        axis = np.array(-1 if self.cut.axis is None else self.cut.axis, np.int32)
        return {**named, "S": S, "S_next": S_next, "observations": pieces, "frame_axis": axis}

    def _places(self, start: int, stop: int) -> np.ndarray:
        return np.arange(start, stop) % len(self._slots)

    def _order_of_pieces(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """For each slot the number of its piece, i32[slots], and for each piece its slot, i32[P]."""
        rank = np.full(self._observations.size, -1, np.int32)
        order, found = np.empty(len(rank), np.int32), 0
        for start in range(first, first + count, AT_ONCE):
            slots = self._slots[self._places(start, min(start + AT_ONCE, first + count))].ravel()
            some, at = np.unique(slots[rank[slots] < 0], return_index=True)
            new = some[np.argsort(at)]
            rank[new] = np.arange(found, found + len(new), dtype=np.int32)
            order[found : found + len(new)] = new
            found += len(new)
        return rank, order[:found]

    def saved(self, first: int, count: int) -> dict[str, Any]:
        """Copies of the same."""
        return jax.tree.map(np.asarray, self.streamed(first, count))

    @classmethod
    def restored(cls, capacity: int, frame_axis: int | None, places: np.ndarray, saved: dict[str, Any]) -> Self:
        """Rows at the given places [N], from what :meth:`saved` returned."""
        new = object.__new__(cls)
        new._restore(capacity, frame_axis, places, saved)
        return new

    def _restore(self, capacity: int, frame_axis: int | None, places: np.ndarray, saved: dict[str, Any]) -> None:
        leaves, tree = jax.tree.flatten(saved["observations"])
        S = saved["S"]
        cut = Cut(tree, None if S.ndim == 1 else S.shape[1], frame_axis and frame_axis % leaves[0].ndim)
        none = jax.tree.map(lambda x: x[:0], {name: saved[name] for name in STORED[:-2]})
        some = [cut.whole([x[at[:0]] for x in leaves]) for at in (saved["S"], saved["S_next"]) if at is not None]
        self._set(capacity, TransitionBatch(**none, S=some[0], S_next=some[1] if some[1:] else None), frame_axis)
        slots = np.concatenate([at.reshape(len(places), -1) for at in (S, saved["S_next"]) if at is not None], axis=1)
        self._slots[places] = slots
        self._observations.fill(leaves, slots)
        others = jax.tree.leaves([saved[name] for name in STORED[:-2]])
        for store, x in zip(self._columns, others, strict=True):
            store[places] = x

    # Not every tree structure can be pickled, but trees of arrays can.

    def __getstate__(self) -> Any:
        places = np.flatnonzero(self._slots[:, 0] >= 0)
        return len(self._slots), self._frame_axis, places, self.saved(0, len(places))

    def __setstate__(self, state: Any) -> None:
        self._restore(*state)


_ARRAYS = {np.ndarray}


def _structure(x: Any) -> Any:
    return jax.tree.structure(x)  # jax does not say what its type has


_FIX = "Fix: use one buffer for each kind of transition."


def describe(dtype: Any, shape: Any) -> str:
    """What a row of an array looks like."""
    return f"{dtype}{list(shape)}"


def names_of(fields: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(
        name + jax.tree_util.keystr(path)
        for name, field in zip(STORED, fields, strict=True)
        for path, _ in jax.tree_util.tree_leaves_with_path(field)
    )


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
