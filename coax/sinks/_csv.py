"""A table of episodes as comma-separated values."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ._line_file import LineFile
from ._row import NUMBERS, as_row
from ._sink import Sink, closed_error

__all__ = ("CSV",)


class CSV(Sink):
    """A table of comma-separated values, with a row for each episode.

    The columns are ``ep``, ``T``, ``G``, ``avg_r``, ``avg_G``, ``t``, ``dt_ms``, then the metrics by their names. (A
    metric that is named like one of those, e.g. ``G``, is put down as ``metrics/G``.) A metric that comes up later gets
    a column of its own, which is empty in the rows before. Numbers are written such that ``float`` reads back the same
    one: in full, and ``nan``, ``inf``, ``-inf``.

    A file that is there is appended to. Each row is handed to the operating system at once, so a process that is killed
    loses none; a row that was cut short is removed when the file is opened again. One file belongs to one monitor.

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
    >>> env = coax.wrappers.TrainMonitor(env, sinks=[coax.sinks.CSV("runs/dqn.csv")])
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._file = LineFile(path, _is_ours, "coax.sinks.CSV")
        self._columns = _cells(self._file.first)

    @property
    def path(self) -> str:
        """Where the file is."""
        return self._file.path

    def write(self, T: int, numbers: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Write one row."""
        if self._file.closed:
            raise closed_error(self)
        row = as_row(T, numbers, metrics)
        known = self._columns or list(NUMBERS)
        columns = list(dict.fromkeys([*known, *row]))
        line = b",".join(repr(row[name]).encode() if name in row else b"" for name in columns) + b"\n"
        if not self._columns:
            line = _header(columns) + line
        elif len(columns) > len(self._columns):
            self._file.rewrite(_widening(_header(columns), len(columns) - len(self._columns)))
            self._columns = columns
        self._file.append(line)
        self._columns = columns

    def flush(self) -> None:
        """Wait until all rows are on the disk, where they survive the loss of power too."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __repr__(self) -> str:
        return f"CSV({self.path!r})"


def _header(columns: Sequence[str]) -> bytes:
    for name in columns:
        if set(name) & {"\n", "\r", "\0"}:
            raise ValueError(f"expected names of metrics in one line, got {name!r}. Fix: rename that metric.")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(columns)
    return text.getvalue().encode()


def _cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode()]), []) if line else []


def _is_ours(line: bytes, is_whole: bool) -> bool:
    """Whether this is a header of ours, or the beginning of one."""
    try:
        cells = _cells(line)
    except (UnicodeDecodeError, csv.Error):
        return not is_whole and line.startswith(_header(NUMBERS).strip() + b",")  # cut inside a letter or in quotes
    if len(cells) <= len(NUMBERS) and not is_whole:
        return _header(NUMBERS).startswith(line)
    return cells[: len(NUMBERS)] == list(NUMBERS) and not (is_whole and len(set(cells)) < len(cells))


def _widening(header: bytes, more: int) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    """What puts in another header, and as many more empty cells at the end of each row."""

    def change(lines: Iterable[bytes]) -> Iterator[bytes]:
        rows = iter(lines)
        next(rows)
        yield header
        for row in rows:
            yield row.rstrip(b"\r\n") + b"," * more + b"\n"

    return change
