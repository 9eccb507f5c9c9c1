"""Indented text of nested data, with arrays summarised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

__all__ = ("pretty_print", "pretty_repr")


def pretty_repr(o: Any, d: int = 0) -> str:
    """Indented text of nested tuples, lists and mappings; of an array its shape, dtype, minimum, median and maximum.

    Parameters
    ----------
    o : object
        Anything.
    d : int, optional
        Depth, for the indentation of all lines but the first.
    """
    if isinstance(o, jax.Array | np.ndarray | np.generic):
        return _array_repr(o)
    if hasattr(o, "_asdict"):
        return _block(f"{type(o).__name__}(", [(f"{k}=", v) for k, v in o._asdict().items()], ")", d)
    if isinstance(o, tuple):
        return _block("(", [("", v) for v in o], ")", d)
    if isinstance(o, list):
        return _block("[", [("", v) for v in o], "]", d)
    if isinstance(o, Mapping):
        name = "" if type(o) is dict else type(o).__name__
        parts = [(f"{k!r}: ", v) for k, v in o.items()]
        return _block(f"{name}({{" if name else "{", parts, "})" if name else "}", d)
    if type(o).__module__.partition(".")[0] == "pandas" and hasattr(o, "to_numpy"):
        return f"{type(o).__name__}({_array_repr(o.to_numpy())})"
    return repr(o).replace("\n", "\n" + "  " * d)


def pretty_print(obj: Any) -> None:
    """Print :func:`pretty_repr` of an object."""
    print(pretty_repr(obj))


def _block(opening: str, parts: list[tuple[str, Any]], closing: str, d: int) -> str:
    if not parts:
        return opening + closing
    indent = "\n" + "  " * (d + 1)
    return opening + ",".join(f"{indent}{label}{pretty_repr(v, d + 1)}" for label, v in parts) + closing


def _array_repr(x: Any) -> str:
    text = f"array(shape={tuple(x.shape)}, dtype={x.dtype}"
    if isinstance(x, jax.core.Tracer) or not x.size or not _is_real(x.dtype):
        return text + ")"
    values = np.asarray(x).astype(float)
    least, median, most = np.min(values), np.median(values), np.max(values)
    return f"{text}, min={least:.3g}, median={median:.3g}, max={most:.3g})"


def _is_real(dtype: Any) -> bool:
    return any(jax.dtypes.issubdtype(dtype, kind) for kind in (np.floating, np.integer, np.bool_))
