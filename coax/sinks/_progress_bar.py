"""A progress bar on the terminal."""

from __future__ import annotations

import math
import sys
import time
import weakref
from collections.abc import Mapping
from typing import Any

from ._need import need
from ._sink import Sink, closed_error

__all__ = ("ProgressBar",)


class ProgressBar(Sink):
    """A progress bar on the terminal: how far the training is, its rate, the time left, and the running mean return.

    It follows the counter `T` of the monitor, and is drawn anew every `interval` seconds; a step in between only looks
    at the clock. A training that goes on from a checkpoint begins where that left off, and the rate is that of the
    present process. If the output is not a terminal, nothing is written. Needs ``pip install 'coax[progress]'``.

    Parameters
    ----------
    total : int, optional
        The last `T`. Without it there is no time left to tell.
    interval : float, optional
        After how many seconds to draw again.
    **tqdm_kwargs
        For ``tqdm.tqdm``, e.g. `desc` for a text in front, `position` for one of several bars, `file` for somewhere
        else than the standard error, or ``disable=False`` to write even where there is no terminal.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    TypeError, ValueError
        If `total` is not a number of steps, or `interval` not a number of seconds.

    Examples
    --------
    >>> env = gymnasium.make("CartPole-v1")
    >>> env = coax.wrappers.TrainMonitor(env, sinks=[coax.sinks.ProgressBar(total=100_000)])
    """

    def __init__(self, total: float | None = None, *, interval: float = 0.25, **tqdm_kwargs: Any):
        self._tqdm = need("tqdm", "progress").tqdm
        self._total = None if total is None else int(_at_least("total", total, 1))
        self._interval = _at_least("interval", interval, 0)
        file = tqdm_kwargs.setdefault("file", sys.stderr)
        quiet = tqdm_kwargs.setdefault("disable", None)
        if quiet is None:
            quiet = not (file is not None and getattr(file, "isatty", bool)())
        self._kwargs = {"unit": "step", "dynamic_ncols": True, **tqdm_kwargs, "disable": False}
        self._bar: Any = None
        self._closed = False
        self._T, self._avg_G = 0, math.nan
        self._next = math.inf if quiet else 0.0  # when to draw again, by time.perf_counter

    def step(self, T: int) -> None:
        """Draw, if it is time for that."""
        if time.perf_counter() >= self._next:
            self._draw(T)

    def write(self, T: int, numbers: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Take down the running mean return, and draw if it is time for that."""
        if self._closed:
            raise closed_error(self)
        self._T, self._avg_G = T, numbers["avg_G"]
        self.step(T)

    def _draw(self, T: int) -> None:
        self._T = T = T if self._total is None else min(T, self._total)  # a last step of several may go beyond it
        if self._bar is None:
            self._open(T)
        if self._bar.n > T:  # counted anew
            self._bar.reset()
            self._bar.initial = self._bar.n = self._bar.last_print_n = T
        if not math.isnan(self._avg_G):
            self._bar.set_postfix_str(f"avg_G={self._avg_G:.3g}", refresh=False)
        self._bar.update(T - self._bar.n)
        self._next = time.perf_counter() + self._interval

    def _open(self, T: int) -> None:
        # when to draw is decided here: tqdm would start a thread for it
        quiet_thread = type("tqdm", (self._tqdm,), {"monitor_interval": 0})
        self._bar = quiet_thread(total=self._total, initial=T, mininterval=0, miniters=0, **self._kwargs)
        self._closer = weakref.finalize(self, self._bar.close)

    def make_room(self) -> None:
        """Take the bar away, until it is written to again."""
        if self._bar is not None and 0 < self._next < math.inf:
            self._bar.clear()
            self._next = 0.0

    def flush(self) -> None:
        """Draw."""
        if self._bar is not None and self._next < math.inf:
            self._draw(self._T)

    def close(self) -> None:
        """Draw for the last time. The bar stays where it is, and what follows is written below it."""
        if self._bar is not None and self._next < math.inf:
            self._draw(self._T)
            self._closer()
        self._next, self._closed = math.inf, True

    def __repr__(self) -> str:
        return f"ProgressBar({'' if self._total is None else self._total})"


def _at_least(name: str, x: Any, low: float) -> Any:
    if not isinstance(x, int | float):
        raise TypeError(f"{name}: expected a number, got {x!r}. Fix: pass an int or a float.")
    if not low <= x < math.inf:
        raise ValueError(f"{name}: expected at least {low}, got {x!r}. Fix: pass {low} or more.")
    return x
