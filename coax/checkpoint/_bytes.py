"""Arrays as bytes, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ..utils import Rows

__all__ = ("PIECE", "as_bytes", "on_host", "pieces")

PIECE = 1 << 22  # bytes


def on_host(x: Any) -> np.ndarray | Rows:
    """An array in host memory; on the CPU it is the same memory."""
    return x if isinstance(x, np.ndarray | Rows) else np.asarray(jax.device_get(x))


def pieces(x: np.ndarray | Rows, size: int = PIECE) -> Iterator[np.ndarray]:
    """The bytes of an array in row-major order, u8[...] of about `size` each; none of an empty one."""
    if isinstance(x, Rows) and x.nbytes:
        step = max(1, size * x.shape[0] // x.nbytes)
        for start in range(0, x.shape[0], step):
            yield as_bytes(x.read(start, min(start + step, x.shape[0])))
    elif x.nbytes:
        flat = as_bytes(np.asarray(x))
        for start in range(0, len(flat), size):
            yield flat[start : start + size]


def as_bytes(x: np.ndarray) -> np.ndarray:
    """The bytes of an array; no copy if its rows lie one after another."""
    native = x.astype(x.dtype.newbyteorder("="), copy=False) if x.dtype.byteorder in "<>" else x
    return np.ascontiguousarray(native).reshape(-1).view(np.uint8)
