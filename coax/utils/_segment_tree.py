"""Binary trees over arrays, in which changing entries and reducing over ranges take logarithmic time."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .._entries import generator_of_seed

__all__ = ("MaxTree", "MinTree", "SegmentTree", "SumTree")

_ENTRY = 10  # the level at which a search enters
_OF_NUMBERS: dict[Any, Callable[[Any, Any], Any]] = {np.add: operator.add}


class SegmentTree:
    """A binary tree that keeps a reduction (sum, min, ...) of an array up to date.

    Everything is vectorised over entries and ranges.

    Parameters
    ----------
    capacity : int
        Length of the array.
    reducer : callable
        Associative function of two arrays, elementwise: ``np.add``, ``np.minimum``, ...
    init_value : float
        Its neutral element, and the initial value of all entries.

    References
    ----------
    Schaul et al. (2016), "Prioritized experience replay", appendix B.2.1.
    """

    def __init__(self, capacity: int, reducer: Callable[[Any, Any], Any], init_value: float):
        if not isinstance(capacity, int | np.integer) or capacity < 1:
            raise TypeError(f"capacity: expected a positive int, got {capacity!r}. Fix: pass the number of entries.")
        self.capacity = int(capacity)
        self.reducer = reducer
        self.init_value = float(init_value)
        # Node i has the children 2 i and 2 i + 1; the root is node 1 and node 0 is not used.
        self._width = 1 << (self.capacity - 1).bit_length()
        self._nodes = np.full(2 * self._width, self.init_value)
        self._rebuild()

    @property
    def height(self) -> int:
        """The number of levels."""
        return self._width.bit_length()

    @property
    def nbytes(self) -> int:
        """How many bytes the nodes take."""
        return self._nodes.nbytes

    @property
    def root_value(self) -> float:
        """The reduction of the whole array."""
        return float(self._nodes[1])

    @property
    def values(self) -> np.ndarray:
        """The array: f64[capacity], a view that follows changes. Change it with :meth:`set_values`."""
        return self[self.height - 1]

    def __getitem__(self, lookup: Any) -> Any:
        """``tree[level]`` or ``tree[level, index]``: the nodes of one level, the root being level 0."""
        level, *rest = lookup if isinstance(lookup, tuple) else (lookup,)
        if not isinstance(level, int | np.integer) or not -self.height <= level < self.height:
            raise IndexError(
                f"level: expected an int from {-self.height} to {self.height - 1}, got {level!r}. Fix: see tree.height."
            )
        level = level % self.height
        width = 1 << level
        view = self._nodes[width : width + (self.capacity if level == self.height - 1 else width)]
        view.flags.writeable = False
        return view[rest[0] if len(rest) == 1 else tuple(rest)] if rest else view

    def set_values(self, idx: Any, values: Any) -> None:
        """Change entries.

        Parameters
        ----------
        idx : int, list of int, i64[B], ``...`` or None
            Which entries; negative ones count from the end. ``...`` and None mean all. Of equal ones the last counts.
        values : float or f64[B]
            Their new values.

        Raises
        ------
        IndexError
            If `idx` is of another type, or out of range.
        ValueError
            If there are not as many values as indices.
        """
        if idx is None or idx is Ellipsis:
            self._nodes[self._width : self._width + self.capacity] = values
            self._rebuild()
            return
        nodes = self._checked_index(idx) + self._width
        self._nodes[nodes] = np.broadcast_to(np.asarray(values, float), nodes.shape)
        if len(nodes) == 1:
            self._climb(nodes.item())
            return
        pairs = self._nodes.reshape(-1, 2)
        for _ in range(self.height - 1):
            nodes >>= 1
            children = pairs.take(nodes, axis=0)
            self._nodes[nodes] = self.reducer(children[:, 0], children[:, 1])

    def _climb(self, node: int) -> None:
        """Bring what is above one node up to date; number by number, since arrays of one take longer."""
        nodes: Any = memoryview(self._nodes.data)
        reducer = _OF_NUMBERS.get(self.reducer, self.reducer)
        while node > 1:
            node >>= 1
            nodes[node] = reducer(nodes[2 * node], nodes[2 * node + 1])

    def partial_reduce(self, start: Any = 0, stop: Any = None) -> np.ndarray:
        """The reduction over the entries from `start` up to, but not including, `stop`.

        Parameters
        ----------
        start, stop : int or i64[B], optional
            Ends of one or many ranges; negative ones count from the end. By default the whole array.

        Returns
        -------
        f64[B]
            Of length 1 for one range.

        Raises
        ------
        TypeError
            If an end is not an integer.
        ValueError
            If there are not as many starts as stops.
        IndexError
            If a range is empty or not inside the array.
        """
        left, right = self._checked_ranges(start, stop)
        left, right = left + self._width, right + self._width
        # Walk up from both ends, taking the nodes that lie inside. Two results keep the order of the entries.
        below, above = np.full(left.shape, self.init_value), np.full(left.shape, self.init_value)
        while np.any(left < right):
            take = (left < right) & (left & 1 == 1)
            below[take] = self.reducer(below[take], self._nodes[left[take]])
            left = left + take
            take = (left < right) & (right & 1 == 1)
            right = right - take
            above[take] = self.reducer(self._nodes[right[take]], above[take])
            left, right = left >> 1, right >> 1
        return self.reducer(below, above)

    def _rebuild(self) -> None:
        width = self._width >> 1
        while width:
            below = self._nodes[2 * width : 4 * width]
            self._nodes[width : 2 * width] = self.reducer(below[0::2], below[1::2])
            width >>= 1

    def _checked_index(self, idx: Any) -> np.ndarray:
        array = np.atleast_1d(np.asarray(idx))
        if isinstance(idx, list) and not idx:
            array = array.astype(int)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise IndexError(
                f"idx: expected an int, a list of ints, an integer array of rank 1, ... or None, got {idx!r:.80}. "
                "Fix: pass integer positions."
            )
        if array.size and not -self.capacity <= array.min() <= array.max() < self.capacity:
            raise IndexError(
                f"idx: expected positions from {-self.capacity} to {self.capacity - 1}, got {array.min()} to "
                f"{array.max()}. Fix: pass positions inside the array."
            )
        return array.astype(np.int64) % self.capacity

    def _checked_ranges(self, start: Any, stop: Any) -> tuple[np.ndarray, np.ndarray]:
        ends = [np.asarray(start), np.asarray(self.capacity if stop is None else stop)]
        for name, end in zip(("start", "stop"), ends, strict=True):
            if end.dtype.kind not in "iu" or end.ndim > 1:
                raise TypeError(
                    f"{name}: expected an int or an integer array of rank 1, got {end.dtype} of shape {end.shape}. "
                    "Fix: pass integer positions."
                )
        if ends[0].ndim == ends[1].ndim == 1 and ends[0].shape != ends[1].shape:
            raise ValueError(
                f"expected as many starts as stops, got {len(ends[0])} and {len(ends[1])}. Fix: pass a stop per start."
            )
        pair = np.broadcast_arrays(*(np.atleast_1d(end).astype(np.int64) for end in ends))
        left, right = (np.where(end < 0, end + self.capacity, end) for end in pair)
        bad = (left < 0) | (left >= right) | (right > self.capacity)
        if bad.any():
            i = int(np.argmax(bad))
            raise IndexError(
                f"expected ranges with 0 <= start < stop <= {self.capacity}, got start {left[i]} and stop {right[i]}. "
                "Fix: pass ranges that hold at least one entry."
            )
        return left, right

    def __repr__(self) -> str:
        levels = "".join(f"\n  level={level}: {self[level]!r}" for level in range(self.height))
        return f"{type(self).__name__}({levels}\n)"


class MinTree(SegmentTree):
    """The minimum over ranges. Entries start at infinity. See :class:`SegmentTree`."""

    def __init__(self, capacity: int):
        super().__init__(capacity, np.minimum, np.inf)


class MaxTree(SegmentTree):
    """The maximum over ranges. Entries start at minus infinity. See :class:`SegmentTree`."""

    def __init__(self, capacity: int):
        super().__init__(capacity, np.maximum, -np.inf)


class SumTree(SegmentTree):
    """Sums over ranges, and samples in proportion to the entries. See :class:`SegmentTree`.

    Parameters
    ----------
    capacity : int
        Length of the array. Entries start at zero.
    random_seed : int or key[], optional
        By default the operating system gives one.

    Attributes
    ----------
    rnd : numpy.random.Generator
        Where samples come from.
    """

    def __init__(self, capacity: int, random_seed: Any = None):
        super().__init__(capacity, np.add, 0.0)
        self.random_seed = random_seed

    @property
    def random_seed(self) -> Any:
        """The seed, an int, a key or None. Setting it starts the generator anew."""
        return self._random_seed

    @random_seed.setter
    def random_seed(self, new: Any) -> None:
        self.rnd = generator_of_seed(new)
        self._random_seed = new

    def sample(self, n: int, stratified: bool = False) -> np.ndarray:
        """Draw positions, with replacement, each with a probability in proportion to its entry.

        Parameters
        ----------
        n : int
            How many.
        stratified : bool, optional
            Draw one from each of n equal parts of the total, which lowers the variance of averages.

        Returns
        -------
        i32[n]

        Raises
        ------
        TypeError
            If `n` is not a positive int.
        RuntimeError
            If the sum of all entries is not positive.
        """
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise TypeError(f"n: expected a positive int, got {n!r}. Fix: pass the number of samples.")
        u = self.rnd.random(n)
        return self.inverse_cdf((np.arange(n) + u) / n if stratified else u)

    def inverse_cdf(self, u: Any) -> Any:
        """The position at which the running sum of the entries passes a fraction of the total.

        Parameters
        ----------
        u : float or f64[B]
            Fractions from 0 to 1. A position with entry 0 is never returned.

        Returns
        -------
        int or i32[B]

        Raises
        ------
        TypeError
            If `u` is not a float, a list of floats or an array of rank 1.
        ValueError
            If `u` is not between 0 and 1.
        RuntimeError
            If the sum of all entries is not positive.
        """
        fraction = np.asarray(u)
        if fraction.dtype.kind not in "fiu" or fraction.ndim > 1:
            raise TypeError(
                f"u: expected a float, or floats in an array of rank 1, got {u!r:.80}. Fix: pass fractions."
            )
        if not np.all((fraction >= 0) & (fraction <= 1)):
            raise ValueError(f"u: expected fractions from 0 to 1, got {u!r:.80}. Fix: divide by the total.")
        if not self.root_value > 0:
            raise RuntimeError(f"expected a positive sum of entries, got {self.root_value}. Fix: set positive entries.")
        node, rest = self._enter(np.atleast_1d(fraction).astype(float))
        pairs = self._nodes.reshape(-1, 2)
        for _ in range(self.height - 1 - min(_ENTRY, self.height - 1)):
            children = pairs.take(node, axis=0)
            left = children[:, 0]
            # Rounding may leave a rest behind an empty right half; only halves with something in them are entered.
            go_right = (rest >= left) & (children[:, 1] > 0)
            rest -= left * go_right
            node = 2 * node + go_right
        found = (node - self._width).astype(np.int32)
        return found if fraction.ndim else int(found[0])

    def _enter(self, fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nodes some levels below the root, and what is left to go in each: by one search, not level by level."""
        width = 1 << min(_ENTRY, self.height - 1)
        sums = np.cumsum(self._nodes[width : 2 * width])
        goal = fraction * sums[-1]
        # The first sum that passes the goal is one with something in it. At the end of all it is the last of these.
        last = np.searchsorted(sums, sums[-1])
        found = np.minimum(np.searchsorted(sums, goal, side="right"), last)
        return found + width, goal - np.where(found > 0, sums[found - 1], 0.0)
