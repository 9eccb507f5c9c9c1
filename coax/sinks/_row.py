"""One row of a table of episodes."""

from __future__ import annotations

import numbers as kinds
from collections.abc import Mapping
from typing import Any, Final

__all__ = ("NUMBERS", "as_row")

NUMBERS: Final = ("ep", "T", "G", "avg_r", "avg_G", "t", "dt_ms")  # each row begins with these


def as_row(T: int, numbers: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, int | float]:
    """The numbers, then the metrics, by name, as ints and floats of Python.

    A metric that is named like a number, e.g. ``G``, is put down as ``metrics/G``.
    """
    row: dict[str, Any] = {**dict.fromkeys(NUMBERS), **numbers, "T": T}
    row.update({f"metrics/{name}" if name in row else name: value for name, value in metrics.items()})
    return {name: _plain(value) for name, value in row.items() if value is not None}


def _plain(value: Any) -> int | float:
    return int(value) if isinstance(value, kinds.Integral) else float(value)
