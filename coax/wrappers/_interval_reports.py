"""The reports of a compiled loop: one for each interval."""

from __future__ import annotations

import atexit
import copy
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ._counting import COUNTS, SUMS
from ._reports import Reports

__all__ = ("IntervalReports",)


class IntervalReports:
    """The reports of a compiled loop: one for each interval.

    Parameters
    ----------
    names : sequence of str
        Of the metrics.
    reports : Reports
        Where they go.
    """

    def __init__(self, names: Sequence[str], reports: Reports):
        self.names, self.reports = names, reports
        self._last = time.perf_counter()
        # Programs that still run at exit report first, then the sinks are closed: what is registered last comes first.
        atexit.unregister(_finish_programs)
        atexit.register(_finish_programs)

    def __call__(self, *report: Any) -> None:
        """Write one report. What goes wrong is kept: a running program cannot be stopped."""
        self.write(*map(np.asarray, report))

    def __copy__(self) -> IntervalReports:
        return IntervalReports(self.names, copy.copy(self.reports))

    def __reduce__(self) -> tuple:
        return IntervalReports, (self.names, self.reports)  # the clock begins anew

    def __deepcopy__(self, memo: dict) -> IntervalReports:
        return copy.copy(self)

    @property
    def writer(self) -> Any:
        """Of the classic folder for TensorBoard, or None."""
        return self.reports.writer

    def write(self, T: Any, ep: Any, avg_G: Any, counts: np.ndarray, sums: np.ndarray, metrics: np.ndarray) -> None:
        """Write about an interval: its counts and sums, and the sum and the number f[2, M] of each metric."""
        now = time.perf_counter()
        total = dict(zip((*COUNTS, *SUMS), (*counts.tolist(), *sums.tolist()), strict=True))
        over = total["episodes"] or float("nan")
        numbers = {
            "ep": int(ep),
            "T": int(T),
            "G": total["G"] / over,
            "avg_r": total["R"] / total["steps"],
            "avg_G": float(avg_G),
            "t": round(total["t"] / max(total["episodes"], 1)),
            "dt_ms": 1000 * (now - self._last) / total["steps"],
        }
        self._last = now
        found = {name: x / n for name, x, n in zip(self.names, *metrics.tolist(), strict=True) if n}
        self.reports.write(int(T), numbers, found, found)


def _finish_programs() -> None:
    jax.effects_barrier()
