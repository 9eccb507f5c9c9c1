"""Files that are there completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import time
import uuid
from collections.abc import Iterator
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has none: there nothing is cleared away
    fcntl = None  # type: ignore[assignment]

__all__ = ("replacing",)

_PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")
_OLD = 60  # seconds: a file that somebody has just opened may not be locked yet


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the place of another when all is written, and not before.

    It lies beside the other, is flushed to the disk and renamed at the end of the ``with`` block. After an error it is
    removed, and the older file is as it was. What a killed process has left in the folder is cleared away.

    Parameters
    ----------
    path : path
        Missing folders are made. Of a link, what it points to is replaced.

    Raises
    ------
    OSError
        If it cannot be written, for instance because the disk is full, or because a folder, a device or the like is
        there.
    """
    target = pathlib.Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EEXIST, f"expected a file or nothing, got something else that is there ({target})")
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear(target.parent)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _lock(file: BinaryIO) -> bool:
    """Whether the file is this process's now: the system lets go of it when the process ends, however it ends."""
    if fcntl is None:  # pragma: no cover
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _clear(folder: pathlib.Path) -> None:
    """Remove what was being written by processes that are no more."""
    for part in folder.glob(".*.part"):
        if not _PART.fullmatch(part.name) or not part.is_file():
            continue
        with contextlib.suppress(OSError):  # another process may clear away the same
            if time.time() - part.stat().st_mtime > _OLD:
                with open(part, "rb") as file:
                    if _lock(file):
                        part.unlink()


def _sync_folder(folder: pathlib.Path) -> None:
    """Make the new name last, too."""
    if os.name == "nt":  # pragma: no cover - folders cannot be opened there
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
