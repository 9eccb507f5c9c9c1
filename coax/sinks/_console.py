"""The log line on the console, as a sink."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ._log_line import is_shown, log_line, show_lines
from ._sink import Sink

__all__ = ("Console",)


class Console(Sink):
    """One log line for each episode, on the console and perhaps in a file. A monitor has one if it is given none.

    Parameters
    ----------
    log_all_metrics : bool, optional
        Whether the line shows all metrics. By default it shows those whose names end in ``/loss``, ``/entropy`` or
        ``/kl_div``, or begin with ``throughput/``. It may be set at any time.
    **logger_kwargs
        For :func:`coax.utils.enable_logging`: `name`, `level`, `output_filepath`, `output_level`, `logger`.

    Attributes
    ----------
    logger : logging.Logger
        Where the lines go: a logger of this object alone, below the one named ``TrainMonitor``.

    Examples
    --------
    >>> env = coax.wrappers.TrainMonitor(
    ...     gymnasium.make("FrozenLake-v1"), sinks=[coax.sinks.Console(log_all_metrics=True, name="dqn")]
    ... )
    """

    def __init__(self, log_all_metrics: bool = False, **logger_kwargs: Any):
        self.log_all_metrics = log_all_metrics
        self.logger: logging.Logger = show_lines("TrainMonitor", **logger_kwargs)

    @property
    def is_on(self) -> bool:
        """Whether lines are shown at all."""
        return self.logger.isEnabledFor(logging.INFO)

    def write(self, T: int, numbers: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Write the line."""
        if self.is_on:
            names = [name for name in metrics if self.log_all_metrics or is_shown(name)]
            self.logger.info(log_line(numbers, {name: metrics[name] for name in names}))

    def flush(self) -> None:
        """Flush the console and the file."""
        for handler in self.logger.handlers:
            handler.flush()

    def close(self) -> None:
        """Flush. The console stays open, and a step after the end may still be logged."""
        self.flush()

    def __repr__(self) -> str:
        return "Console()"
