"""Observations, each kept once however many transitions it belongs to."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..utils import Rows

__all__ = ("AT_ONCE", "Observations")

AT_ONCE = 1 << 15  # so many pieces may come in one call
_MOST_BYTES = 1 << 26  # of the latest pieces, which are kept a second time to look up what comes
_MOST_USES = 1 << 15  # a piece that belongs to more is stored anew: with those of one call it is what 16 bits can count


class Growing:
    """An array of rows that can grow. What is there stays where it is, so that growing needs no room for a copy.

    Parameters
    ----------
    like : array [B, ...]
        It says what rows look like. There are none at first.
    """

    def __init__(self, like: np.ndarray):
        self._shape, self._dtype = like.shape[1:], like.dtype
        self._parts: list[np.ndarray] = []
        self._starts = [0]

    def grow(self, more: int) -> None:
        """Add rows."""
        part = np.empty((more, *self._shape), self._dtype)
        self._parts.append(part)
        self._starts.append(self._starts[-1] + more)

    def __setitem__(self, i: int, row: Any) -> None:
        part = 0
        while i >= self._starts[part + 1]:
            part += 1
        self._parts[part][i - self._starts[part]] = row

    def fill(self, rows: np.ndarray) -> None:
        """Write the first rows, as many as these."""
        for part, start in zip(self._parts, self._starts, strict=False):
            some = rows[start : start + len(part)]
            part[: len(some)] = some

    def take(self, where: np.ndarray) -> np.ndarray:
        """Copies of the rows at i32[...]: [..., *row]."""
        if len(self._parts) == 1:
            return self._parts[0].take(where, axis=0)
        out = np.empty((*where.shape, *self._shape), self._dtype)
        for part, (start, stop) in zip(self._parts, itertools.pairwise(self._starts), strict=True):
            here = (where >= start) & (where < stop)
            out[here] = part.take(where[here] - start, axis=0)
        return out

    def streamed(self, where: np.ndarray) -> Rows:
        """The rows at i32[N], read where they are."""
        return Rows((len(where), *self._shape), self._dtype, lambda start, stop: self.take(where[start:stop]))

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self._starts[-1]

    def repair(self) -> None:
        """Go on after an interrupt."""
        self._starts = [0, *itertools.accumulate(map(len, self._parts))]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self._parts)


class Observations:
    """Pieces of observations. One that was among the latest is not stored a second time.

    A piece is an observation, or one frame of a stack. Which belong together is found by their bytes: those of a piece
    that comes in are looked up among those of the latest. So nothing depends on who adds, in which order, from how many
    environments.

    Parameters
    ----------
    capacity : int
        How many pieces there is room for at first.
    like : list of arrays [B, ...]
        The leaves of a piece say what they look like.
    """

    def __init__(self, capacity: int, like: Sequence[np.ndarray]):
        self._size = 0
        self._most = max(_MOST_BYTES // max(sum(x.itemsize * math.prod(x.shape[1:]) for x in like), 1), 16)
        self._memory = min(max(capacity // 128, 128), 1024, self._most)  # how many of the latest are looked at, so far
        self._uses = array("H")
        self._free = array("i")
        self._unused = 0  # from here on no slot was ever used
        self._slots: dict[bytes, int] = {}  # of the latest pieces, in the order of their coming
        self._bytes: dict[int, bytes] = {}  # the other way round
        self._stores = [Growing(x) for x in like]
        self._step = capacity // 64 + 8  # by how much it grows, twice as much each time
        self._grow(capacity + 2 * self._step)

    @property
    def nbytes(self) -> int:
        """What the arrays take, and the bytes of the latest pieces."""
        uses = self._uses.itemsize * len(self._uses) + self._free.itemsize * len(self._free)
        return uses + sum(store.nbytes for store in self._stores) + sum(map(len, self._slots))

    def add(self, pieces: Sequence[Sequence[np.ndarray]], retired: np.ndarray) -> np.ndarray:
        """Store the pieces of transitions that come, and drop those of transitions that go.

        Parameters
        ----------
        pieces : list of J lists of arrays [B, ...]
            The leaves of the J pieces of each of B transitions. B J is at most :data:`AT_ONCE`.
        retired : i32[...]
            Slots that B transitions refer to no longer, once for each time; -1 is none.

        Returns
        -------
        i32[B, J]
            The slots in which they are.
        """
        each = [_bytes_of(leaves) for leaves in pieces]
        keys = [key for row in zip(*each, strict=True) for key in row]
        slots = {key: self._known(key) for key in keys}
        new = {key: i for i, key in enumerate(keys) if slots[key] is None}
        if new:
            self._make_room(len(new))  # until here nothing is changed
        if 4 * len(keys) > self._memory:  # look at all that a vector environment gives at once
            self._memory = max(self._memory, min(4 * len(keys), self._most, self._size // 4))
        for key, i in new.items():
            row, piece = divmod(i, len(pieces))
            slots[key] = slot = self._take_slot(key)
            for store, x in zip(self._stores, pieces[piece], strict=True):
                store[slot] = x[row]
        found = [slots[key] for key in keys]
        self._use(found)
        self._drop(retired)
        return np.array(found, np.int32).reshape(-1, len(pieces))

    def take(self, slots: np.ndarray) -> list[np.ndarray]:
        """The leaves [..., *row] of the pieces in the slots i32[...]."""
        return [store.take(slots) for store in self._stores]

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size

    def streamed(self, slots: np.ndarray) -> list[Rows]:
        """The leaves [N, *row] of the pieces in the slots i32[N], read where they are."""
        return [store.streamed(slots) for store in self._stores]

    def fill(self, leaves: Sequence[np.ndarray], slots: np.ndarray) -> None:
        """Put pieces [P, ...] into the slots 0, 1, ..., which are referred to by i32[...]; all others are free."""
        count = len(leaves[0])
        self._make_room(count)
        for store, x in zip(self._stores, leaves, strict=True):
            store.fill(x)
        first = max(count - self._memory, 0)  # those before are too old to be looked up
        self._unused = first
        for name in _bytes_of([x[first:] for x in leaves]):
            self._take_slot(name)
        self._count_uses(slots)

    def repair(self, slots: np.ndarray) -> None:
        """Go on after an interrupt, from what is certain: which slots i32[...] are referred to; -1 is none."""
        for store in self._stores:
            store.repair()
        self._size = min(store.size for store in self._stores)
        uses = self._count_uses(slots)
        self._free = array("i", np.flatnonzero(uses == 0)[::-1].astype(np.int32).tobytes())
        self._unused = self._size
        self._slots, self._bytes = {}, {}

    def _count_uses(self, slots: np.ndarray) -> np.ndarray:
        """How often each slot is referred to, u16[slots]."""
        uses = np.bincount(slots[slots >= 0], minlength=self._size).astype(np.uint16)
        self._uses = array("H", uses.tobytes())
        return uses

    def _known(self, key: bytes) -> int | None:
        slot = self._slots.get(key)
        return None if slot is None or self._uses[slot] >= _MOST_USES else slot

    def _take_slot(self, key: bytes) -> int:
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._unused = self._unused, self._unused + 1
        self._slots.pop(key, None)  # so that it is the latest
        self._slots[key], self._bytes[slot] = slot, key
        if len(self._slots) > self._memory:
            oldest = next(iter(self._slots))
            del self._bytes[self._slots.pop(oldest)]
        return slot

    def _use(self, slots: Iterable[Any]) -> None:
        uses = self._uses
        for slot in slots:
            uses[slot] += 1

    def _drop(self, slots: np.ndarray) -> None:
        uses = self._uses
        for slot in slots.ravel().tolist():
            if slot < 0:
                continue
            uses[slot] -= 1
            if not uses[slot]:
                self._free.append(slot)
                key = self._bytes.pop(slot, None)
                if key is not None and self._slots.get(key) == slot:
                    del self._slots[key]

    def _make_room(self, count: int) -> None:
        """Make room for so many more pieces; each time the room grows by more than before."""
        missing = count - (len(self._free) + self._size - self._unused)
        if missing > 0:
            self._grow(max(missing, self._step))

    def _grow(self, more: int) -> None:
        for store in self._stores:
            store.grow(more)
        self._uses.frombytes(bytes(self._uses.itemsize * more))
        self._size, self._step = len(self._uses), 2 * self._step


def _bytes_of(leaves: Sequence[np.ndarray]) -> list[bytes]:
    """The bytes of each of B pieces with leaves [B, ...]."""
    if len(leaves) == 1:
        return _rows_of(leaves[0])
    return [b"".join(parts) for parts in zip(*map(_rows_of, leaves), strict=True)]


def _rows_of(x: np.ndarray) -> list[bytes]:
    raw, count = x.tobytes(), len(x)
    if count == 1:
        return [raw]
    size = len(raw) // max(count, 1)
    return [raw[i * size : (i + 1) * size] for i in range(count)]
