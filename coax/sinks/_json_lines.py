"""One JSON object for each episode."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Final

from ._line_file import LineFile
from ._row import NUMBERS, as_row
from ._sink import Sink, closed_error

__all__ = ("JSONLines",)

_START: Final = f'{{"{NUMBERS[0]}": '.encode()


class JSONLines(Sink):
    """A file with a JSON object in each line, one for each episode.

    Its keys are ``ep``, ``T``, ``G``, ``avg_r``, ``avg_G``, ``t``, ``dt_ms``, then the metrics by their names. (A
    metric that is named like one of those, e.g. ``G``, is put down as ``metrics/G``.) JSON has no word for what is not
    a finite number: that is written as a string, ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``, which ``float`` reads
    back.

    A file that is there is appended to. Each line is handed to the operating system at once, so a process that is
    killed loses none; a line that was cut short is removed when the file is opened again. One file belongs to one
    monitor.

    Parameters
    ----------
    path : path
        Where to write. Missing folders are made.

    Raises
    ------
    ValueError
        If there is a file that this class has not written, or something that is no file. It is left as it is.

    Examples
    --------
    >>> env = gymnasium.make("CartPole-v1")
    >>> env = coax.wrappers.TrainMonitor(env, sinks=[coax.sinks.JSONLines("runs/dqn.jsonl")])
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._file = LineFile(path, _is_ours, "coax.sinks.JSONLines")

    @property
    def path(self) -> str:
        """Where the file is."""
        return self._file.path

    def write(self, T: int, numbers: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Write one line."""
        if self._file.closed:
            raise closed_error(self)
        row = {name: _valid(value) for name, value in as_row(T, numbers, metrics).items()}
        self._file.append(json.dumps(row, allow_nan=False).encode() + b"\n")

    def flush(self) -> None:
        """Wait until all lines are on the disk, where they survive the loss of power too."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __repr__(self) -> str:
        return f"JSONLines({self.path!r})"


def _valid(value: int | float) -> int | float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _is_ours(line: bytes, is_whole: bool) -> bool:
    """Whether this is a line of ours, or the beginning of one."""
    if not is_whole:
        return line.startswith(_START) or _START.startswith(line)
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and set(row) >= set(NUMBERS)
