"""Whole Python objects on disk: cloudpickle, compressed with lz4."""

from __future__ import annotations

import os
import pathlib
import uuid
from typing import Any

import cloudpickle
import lz4.frame

__all__ = ("dump", "dumps", "load", "loads")


def dumps(obj: Any) -> bytes:
    """Serialise an object to bytes. References between objects survive only inside one call."""
    return lz4.frame.compress(cloudpickle.dumps(obj))


def loads(b: bytes) -> Any:
    """Restore what :func:`dumps` made.

    Warnings
    --------
    This runs whatever code the bytes contain. Load only what you trust.
    """
    return cloudpickle.loads(lz4.frame.decompress(b))


def dump(obj: Any, filepath: str | os.PathLike) -> None:
    """Write an object to a file.

    The file appears when it is complete: an interrupted dump leaves an older file as it was.

    Parameters
    ----------
    obj : object
        Anything that cloudpickle takes. To keep references between objects, dump them together.
    filepath : path
        Conventionally ends in ``.pkl.lz4``. Missing folders are made.
    """
    path = pathlib.Path(os.path.realpath(filepath))
    data = dumps(obj)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(filepath: str | os.PathLike) -> Any:
    """Restore what :func:`dump` wrote.

    Warnings
    --------
    This runs whatever code the file contains. Load only what you trust.
    """
    return loads(pathlib.Path(filepath).read_bytes())
