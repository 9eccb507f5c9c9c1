"""The line that a monitor writes about an episode, and where it is shown."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from ..utils import enable_logging

__all__ = ("is_shown", "log_line", "show_lines")


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


def show_lines(logger: logging.Logger, **kwargs: Any) -> None:
    """Show the lines of a logger on the console, once, whoever else sets up logging before or after."""
    if kwargs or not logger.handlers:  # else another monitor has seen to it
        enable_logging(**{"logger": logger.name, **kwargs})
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler) and _is_not_shown_by_root not in handler.filters:
            handler.addFilter(_is_not_shown_by_root)
    logger.setLevel(kwargs.get("level", logging.INFO))


def _is_not_shown_by_root(record: logging.LogRecord) -> bool:
    """Whether the root logger leaves it to us to show a line: else it would be on the console twice."""
    consoles = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return not any(getattr(handler, "stream", None) in consoles for handler in logging.getLogger().handlers)
