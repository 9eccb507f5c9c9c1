"""Means of recorded metrics, which stay on the device until somebody looks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from .._metrics import Metrics

__all__ = ("MetricMeans",)

Names = tuple[tuple[str, ...], ...]  # of each array, along its last axis; of a number, its own

_FOLD_AT = 1024  # unread mappings kept before those that are ready are folded into the sums
_WAIT_AT = 8192  # the same before waiting for the device


class MetricMeans:
    """Sums and counts of metrics, by name.

    Mappings are stored as they come and fetched together, so that adding one never waits for the device.

    Parameters
    ----------
    fold_at, wait_at : int, optional
        How many unread mappings are kept before those that the device has finished are folded into the sums, and before
        waiting for the device.
    """

    def __init__(self, fold_at: int = _FOLD_AT, wait_at: int = _WAIT_AT):
        self._fold_at, self._wait_at = fold_at, wait_at
        self._sums: dict[str, tuple[float, int]] = {}
        self._unread: list[tuple[int, Names, Sequence[Any]]] = []  # step, names, arrays or numbers
        self.shown = False  # whether the log line has shown them: then the next to be added begins anew

    def add(self, metrics: Mapping[str, Any], T: int) -> None:
        """Store `metrics`, which were recorded at step `T`, unread.

        Raises
        ------
        TypeError
            If `metrics` is no mapping of numbers. Nothing is stored then.
        """
        values: Sequence[Any]
        if isinstance(metrics, Metrics):
            values, names = metrics.tree_flatten()
        else:
            values, names = _checked_values(metrics), tuple((name,) for name in metrics)
        if self.shown:
            self.clear()
        self._unread.append((T, names, values))

    def is_due(self) -> bool:
        """Whether so much is unread that it is time to call :meth:`fold_ready`."""
        n = len(self._unread)
        return n >= self._wait_at or (n >= self._fold_at and n % (self._fold_at // 2) == 0)

    def fold_ready(self, each: Callable[[str, float, int], None] | None = None) -> None:
        """Fold the oldest into the sums, as far as the device has finished them; all of them if they are too many."""
        n = 0
        while n < len(self._unread) and _is_ready(self._unread[n][2]):
            n += 1
        self._fold(len(self._unread) if len(self._unread) >= self._wait_at else n, each)

    def fold(self, each: Callable[[str, float, int], None] | None = None) -> None:
        """Fetch all that is unread, at once.

        Parameters
        ----------
        each : callable, optional
            Is called with the name, the mean over the leading axes, and the step of each number fetched.
        """
        self._fold(len(self._unread), each)

    def _fold(self, n: int, each: Callable[[str, float, int], None] | None) -> None:
        rows = self._unread[:n]
        fetched = iter(_fetched([x for _, _, values in rows for x in values]))
        rows = [(T, names, [next(fetched) for _ in values]) for T, names, values in rows]
        del self._unread[:n]
        for (names, _), group in itertools.groupby(rows, _look):
            steps, _, values = zip(*group, strict=True)
            for name, (totals, count) in _by_name(names, values).items():
                old_total, old_count = self._sums.get(name, (0.0, 0))
                self._sums[name] = (old_total + float(totals.sum()), old_count + count * len(steps))
                if each is not None and count:
                    for T, total in zip(steps, totals.tolist(), strict=True):
                        each(name, total / count, T)

    def means(self) -> dict[str, float]:
        """The mean of each metric. Fetch what is unread."""
        self.fold()
        return {name: total / count for name, (total, count) in self._sums.items() if count}

    def clear(self) -> None:
        """Forget everything."""
        self._sums, self._unread, self.shown = {}, [], False

    @property
    def sums(self) -> dict[str, tuple[float, int]]:
        """Sum and count by name. Fetch what is unread. Setting it replaces everything."""
        self.fold()
        return dict(self._sums)

    @sums.setter
    def sums(self, new: Mapping[str, tuple[float, int]]) -> None:
        sums = {name: (float(total), int(count)) for name, (total, count) in new.items()}
        self._sums, self._unread, self.shown = sums, [], False

    def __copy__(self) -> MetricMeans:
        new = MetricMeans(self._fold_at, self._wait_at)
        new._sums, new._unread, new.shown = dict(self._sums), list(self._unread), self.shown
        return new


def _fetched(leaves: list[Any]) -> list[Any]:
    """The values on the host; where there is nothing to transfer, one by one is ten times as fast."""
    return list(map(np.asarray, leaves)) if jax.default_backend() == "cpu" else jax.device_get(leaves)


def _look(row: tuple[int, Names, Sequence[Any]]) -> Any:
    """What those have in common that can be added up at once."""
    _, names, values = row
    return names, [np.shape(x) for x in values]


def _by_name(names: Names, values: Sequence[Sequence[Any]]) -> dict[str, tuple[np.ndarray, int]]:
    """Of K mappings that look alike: the total of each name in each, f64[K], and how many numbers that is.

    Of a name that occurs twice the later one counts.
    """
    found: dict[str, tuple[np.ndarray, int]] = {}
    for part, arrays in zip(names, zip(*values, strict=True), strict=True):
        numbers = np.stack(arrays).reshape(len(arrays), -1, len(part))
        totals = numbers.sum(axis=1, dtype=np.float64)
        found.update((name, (totals[:, i], numbers.shape[1])) for i, name in enumerate(part))
    return found


def _checked_values(metrics: Any) -> list[Any]:
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"metrics: expected a mapping from names to numbers, got {type(metrics).__name__}. "
            "Fix: pass what updater.update(batch) returns, or a dict."
        )
    for name, value in metrics.items():
        kind = getattr(getattr(value, "dtype", None), "kind", "f" if isinstance(value, int | float) else "O")
        if not isinstance(name, str) or kind not in "biufV":  # V: bfloat16 and its like
            raise TypeError(
                f"metrics[{name!r}]: expected a name and a number, got {value!r}. Fix: leave out what is no number."
            )
    return [value.copy() if isinstance(value, np.ndarray) else value for value in metrics.values()]


def _is_ready(values: Sequence[Any]) -> bool:
    return all(x.is_ready() for x in values if hasattr(x, "is_ready"))
