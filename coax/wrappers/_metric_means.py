"""Means of recorded metrics, which stay on the device until somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from .._metrics import Metrics

__all__ = ("MetricMeans",)

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
        self._unread: list[tuple[int, tuple[str, ...], Any]] = []  # step, names, Metrics or list of values
        self.shown = False  # whether the log line has shown them: then the next to be added begins anew

    def add(self, metrics: Mapping[str, Any], T: int) -> None:
        """Store `metrics`, which were recorded at step `T`, unread.

        Raises
        ------
        TypeError
            If `metrics` is no mapping of numbers. Nothing is stored then.
        """
        values = metrics if isinstance(metrics, Metrics) else _checked_values(metrics)
        if self.shown:
            self.clear()
        self._unread.append((T, tuple(metrics), values))

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
        steps, names, values = zip(*self._unread[:n], strict=True) if n else ((), (), ())
        fetched = jax.device_get(values)
        del self._unread[:n]
        for T, keys, row in zip(steps, names, fetched, strict=True):
            for name, value in _on_host(row) if isinstance(row, Metrics) else zip(keys, row, strict=True):
                total, count = value, 1
                if type(value) is not float:
                    total, count = float(np.sum(value, dtype=np.float64)), int(np.size(value))
                old_total, old_count = self._sums.get(name, (0.0, 0))
                self._sums[name] = (old_total + total, old_count + count)
                if each is not None and count:
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


def _on_host(metrics: Metrics) -> Iterable[tuple[str, Any]]:
    """Names and values of metrics that were fetched; scalars come out as Python floats, all at once."""
    arrays, names = metrics.tree_flatten()
    found: dict[str, Any] = {}
    for part, array in zip(names, arrays, strict=True):
        found.update(zip(part, array.tolist() if array.ndim == 1 else np.moveaxis(array, -1, 0), strict=True))
    return found.items()


def _checked_values(metrics: Any) -> list[Any]:
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"metrics: expected a mapping from names to numbers, got {type(metrics).__name__}. "
            "Fix: pass what updater.update(batch) returns, or a dict."
        )
    for name, value in metrics.items():
        if not isinstance(name, str) or not (isinstance(value, int | float | np.generic) or hasattr(value, "dtype")):
            raise TypeError(
                f"metrics[{name!r}]: expected a name and a number, got {value!r}. Fix: leave out what is no number."
            )
    return [value.copy() if isinstance(value, np.ndarray) else value for value in metrics.values()]


def _is_ready(values: Any) -> bool:
    return all(leaf.is_ready() for leaf in jax.tree.leaves(values) if hasattr(leaf, "is_ready"))
