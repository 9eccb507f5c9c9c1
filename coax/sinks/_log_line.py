"""The line that a monitor writes about an episode, and where it is shown."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from ..utils import enable_logging

__all__ = ("MonitorLogger", "is_shown", "log_line", "show_lines")

_ARGUMENTS = ("name", "level", "output_filepath", "output_level", "logger")


def log_line(counters: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """All about an episode in one line.

    Parameters
    ----------
    counters : mapping
        ``ep``, ``T``, ``G``, ``avg_r``, ``avg_G``, ``t`` and ``dt_ms``.
    metrics : mapping from str to float
        What else to show.
    """
    fields = [
        f"ep: {counters['ep']:d}",
        f"T: {counters['T']:,d}",
        f"G: {counters['G']:.3g}",
        f"avg_r: {counters['avg_r']:.3g}",
        f"avg_G: {counters['avg_G']:.3g}",
        f"t: {counters['t']:d}",
        f"dt: {counters['dt_ms']:.3f}ms",
        *(f"{name}: {mean:.3g}" for name, mean in metrics.items()),
    ]
    return ",\t".join(fields)


def is_shown(name: str) -> bool:
    """Whether the line shows a metric of this name, if it does not show all."""
    return name.endswith(("/loss", "/entropy", "/kl_div")) or name.startswith("throughput/")


class MonitorLogger(logging.Logger):
    """The logger of one monitor, with a console, a name and a level of its own.

    It is not in the registry of :mod:`logging`, so it goes when the monitor goes. Above it is the registered logger of
    the same name, to which lines are passed on and whose level counts where none was asked for.

    Parameters
    ----------
    name : str
        Of the registered logger above it.
    """

    parent: logging.Logger
    console: dict[str, Any]

    def __init__(self, name: str):
        super().__init__(name)
        self.parent = logging.getLogger(name)
        self.console = {}

    def isEnabledFor(self, level: int) -> bool:
        """Whether a line of this level is logged. Not cached: the registry could not clear the cache."""
        off = self.disabled or self.parent.disabled or self.manager.disable >= level
        return not off and level >= self.getEffectiveLevel()

    def __copy__(self) -> MonitorLogger:
        return self

    def __deepcopy__(self, memo: dict) -> MonitorLogger:
        return self

    def __reduce__(self) -> tuple:
        return _again, (self.name, self.console)  # without a file: two processes would write to it


def show_lines(class_name: str, **kwargs: Any) -> MonitorLogger:
    """A logger whose lines are on the console, once, whoever else sets up logging before or after.

    Parameters
    ----------
    class_name : str
        What the lines say whose they are.
    **kwargs
        For :func:`coax.utils.enable_logging`.

    Raises
    ------
    TypeError
        If one of these is unknown.
    """
    if unknown := sorted(kwargs.keys() - _ARGUMENTS):
        raise TypeError(
            f"{class_name}: expected, besides its own arguments, those of its log lines ({', '.join(_ARGUMENTS)}), "
            f"got {', '.join(unknown)}. Fix: leave that out, or look for a slip in the name."
        )
    logger = MonitorLogger(class_name)
    if "logger" in kwargs:  # that one shows the lines
        enable_logging(**kwargs)
    else:
        enable_logging(**kwargs, logger=logger)
        logger.console = {name: kwargs[name] for name in ("name", "level") if name in kwargs}
        weakref.finalize(logger, _close, logger.handlers[:]).atexit = False
    if not {"level", "output_level"} & set(kwargs):
        logger.setLevel(logging.NOTSET)
    if logger.parent.level == logging.NOTSET:
        logger.parent.setLevel(logging.INFO)
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(_is_not_shown_above)
    return logger


def _again(class_name: str, console: dict[str, Any]) -> MonitorLogger:
    return show_lines(class_name, **console)


def _close(handlers: list[logging.Handler]) -> None:
    for handler in handlers:
        handler.close()


def _is_not_shown_above(record: logging.LogRecord) -> bool:
    """Whether the loggers above leave it to us to show a line: else it would be on the console twice."""
    consoles = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return not any(
        getattr(handler, "stream", None) in consoles and record.levelno >= handler.level
        for handler in _handlers_above(record.name)
    )


def _handlers_above(name: str) -> Iterator[logging.Handler]:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None
