"""Which arrays a checkpoint can hold."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = ("CODES", "DTYPES")

# What the layout calls them. Those without a name are stored as bytes.
_NAMED = {
    "bool": "BOOL",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
_NAMELESS = ("complex128", "float8_e4m3b11fnuz", "float8_e4m3fnuz", "float8_e5m2fnuz", "int4", "uint4")

CODES: dict[str, str] = {**_NAMED, **dict.fromkeys(_NAMELESS, "U8")}
DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(getattr(jnp, name, name)) for name in CODES}
