"""A file of whole lines that is only ever appended to."""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref
from collections.abc import Callable, Iterable
from io import FileIO
from typing import Final

__all__ = ("LineFile",)

_LONGEST: Final = 2**20  # bytes of a first line; what has a longer one is not ours
_BLOCK: Final = 2**16


class LineFile:
    """A file of whole lines that is only ever appended to, whoever was killed in between.

    Each line is handed to the operating system at once. One that was cut short, by a kill or by a full disk, is taken
    away again: at the next opening, or at once.

    Parameters
    ----------
    path : path
        Where it is. Missing folders are made, and the file if there is none.
    is_ours : callable
        Is asked with the first line of a file that is there, and whether it ends in a line break.
    kind : str
        What an error calls it.

    Attributes
    ----------
    path : str
        Absolute, with symbolic links followed.
    first : bytes
        The first line, empty if there is none.

    Raises
    ------
    ValueError
        If there is something else under this path. It is left as it is.
    """

    def __init__(self, path: str | os.PathLike[str], is_ours: Callable[[bytes, bool], bool], kind: str):
        self.path = os.path.realpath(os.fsdecode(path))
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise ValueError(
                f"{kind}: expected the path of a file, got {self.path!r}, which is none. Fix: pass another."
            )
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 - open for as long as this object
        self._box = [self._file]
        self._closer = weakref.finalize(self, _close, self._box)
        self._whole: int | None = None  # the length before a write that failed, and left something behind
        try:
            self.first = self._checked(is_ours, kind)
        except BaseException:
            self._closer()
            raise

    def _checked(self, is_ours: Callable[[bytes, bool], bool], kind: str) -> bytes:
        """The first line. What comes after the last line break is cut off."""
        self._file.seek(0)
        start = self._file.read(_LONGEST)
        first, end, _ = start.partition(b"\n")
        if start and (len(first) == _LONGEST or not is_ours(first, bool(end))):
            raise ValueError(
                f"{kind}: expected a new file or one of {kind}, but {self.path!r} begins with {start[:60]!r}. It was "
                "left as it is. Fix: pass another path, or move that file away."
            )
        size = self._file.seek(0, os.SEEK_END)
        whole = _last_break(self._file, size)
        if whole < size:
            self._file.truncate(whole)
        return first if end else b""

    def append(self, lines: bytes) -> None:
        """Write whole lines at the end.

        Raises
        ------
        OSError
            If that fails, e.g. since the disk is full. The file is as before then.
        """
        self._mend()
        self._whole, rest = os.fstat(self._file.fileno()).st_size, memoryview(lines)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            self._whole = None
        finally:
            if self._whole is not None:
                with contextlib.suppress(OSError):  # then it is tried again before the next write
                    self._mend()

    def _mend(self) -> None:
        if self._whole is not None:
            self._file.truncate(self._whole)
            self._whole = None

    def rewrite(self, change: Callable[[Iterable[bytes]], Iterable[bytes]]) -> None:
        """Change all lines. The new file is written beside, and takes the place of the old one when it is complete.

        Parameters
        ----------
        change : callable
            From the old lines to the new ones.

        Raises
        ------
        OSError
            If that fails. The file is as before then.
        """
        self._mend()
        folder, name = os.path.split(self.path)
        part = os.path.join(folder, f".{name}.part")
        try:
            with open(self.path, "rb") as old, open(part, "wb") as new:
                new.writelines(change(old))
                new.flush()
                os.fsync(new.fileno())
            shutil.copymode(self.path, part)
            try:
                self._file.close()  # Windows does not replace an open file
                os.replace(part, self.path)
            finally:
                self._file = self._box[0] = open(self.path, "a+b", buffering=0)  # noqa: SIM115
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise

    def sync(self) -> None:
        """Wait until all is on the disk."""
        if not self.closed:
            os.fsync(self._file.fileno())

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return not self._closer.alive

    def close(self) -> None:
        """Close the file. A second time does nothing."""
        self._closer()


def _close(box: list[FileIO]) -> None:
    box[0].close()


def _last_break(file: FileIO, size: int) -> int:
    """Where the line after the last line break begins."""
    position = size
    while position > 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
