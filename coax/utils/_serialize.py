"""Whole Python objects on disk: cloudpickle, compressed with lz4."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import cloudpickle
import lz4.frame

from ._atomic import replacing

__all__ = ("dump", "dumps", "load", "loads")


def dumps(obj: Any) -> bytes:
    """Serialise an object to bytes. References between objects survive only inside one call."""
    return lz4.frame.compress(cloudpickle.dumps(obj))


def loads(b: bytes) -> Any:
    """Restore what :func:`dumps` made.

    Warnings
    --------
    This runs whatever code the bytes contain. Load only what you trust; files of strangers with :func:`coax.load`.
    """
    return cloudpickle.loads(lz4.frame.decompress(b))


def dump(obj: Any, filepath: str | os.PathLike[str]) -> None:
    """Write an object to a file, with the code that makes it.

    For the state of objects there is :func:`coax.save`, whose files hold data only. The file appears when it is
    complete: an interrupted dump leaves an older file as it was.

    Parameters
    ----------
    obj : object
        Anything that cloudpickle takes. To keep references between objects, dump them together.
    filepath : path
        Conventionally ends in ``.pkl.lz4``. Missing folders are made.
    """
    data = dumps(obj)
    with replacing(filepath) as file:
        file.write(data)


def load(filepath: str | os.PathLike[str]) -> Any:
    """Restore what :func:`dump` wrote.

    Warnings
    --------
    This runs whatever code the file contains. Load only what you trust; files of strangers with :func:`coax.load`.
    """
    return loads(pathlib.Path(filepath).read_bytes())
