"""Arrays that are put together only where they are needed, a piece at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ("Rows",)


class Rows:
    """An array [N, ...] that is read from somewhere else, as many rows at a time as one wants.

    It stands in for a large array in the state of an object that is being saved, so that no copy of the whole is made.
    ``np.asarray`` makes one.

    Parameters
    ----------
    shape : tuple of int
        At least one axis.
    dtype : dtype
    read : callable
        ``read(start, stop)`` gives these rows, as an array of that dtype.
    """

    __slots__ = ("dtype", "read", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any, read: Callable[[int, int], np.ndarray]):
        self.shape, self.dtype, self.read = shape, np.dtype(dtype), read

    @property
    def nbytes(self) -> int:
        """How many bytes the whole array would take."""
        return self.dtype.itemsize * math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.read(0, self.shape[0]), dtype)
