"""Where the reports of a compiled loop go: a log line, and TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._counting import COUNTS, SUMS
from ._log_line import is_shown, log_line, show_lines
from ._tensorboard import LazyWriter, write_scalars

__all__ = ("Sink",)


class Sink:
    """Where the reports go: a log line, and TensorBoard.

    Parameters
    ----------
    names : sequence of str
        Of the metrics.
    directory : str or None
        Of the event files.
    show_all : bool
        Whether the line shows all metrics.
    **logger_kwargs
        For :func:`coax.utils.enable_logging`.
    """

    def __init__(self, names: Sequence[str], directory: str | None, show_all: bool, **logger_kwargs: Any):
        self.names, self.show_all = names, show_all
        self.writer = None if directory is None else LazyWriter(directory)
        self.logger = show_lines("TrainMonitor", **logger_kwargs)
        self.failure: Exception | None = None
        self._last = time.perf_counter()

    def __call__(self, *report: Any) -> None:
        """Write one report. What goes wrong is kept for :meth:`raise_failure`: a running program cannot be stopped."""
        try:
            self.write(*map(np.asarray, report))
        except Exception as err:
            self.failure = self.failure or err

    def __deepcopy__(self, memo: dict) -> Sink:
        return self

    def raise_failure(self) -> None:
        """Raise what went wrong, once."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

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
        self.logger.info(log_line(numbers, {name: found[name] for name in found if self.show_all or is_shown(name)}))
        if self.writer is not None:
            write_scalars(self.writer(), numbers, found, int(T))
            self.writer.flush()
