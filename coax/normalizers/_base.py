"""What the normalisers have in common: how much they have seen, and whether they are frozen."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Fixed
from .._stateful import Stateful, is_tracing, name_of
from ._moments import count_of

__all__ = ("BaseNormalizer", "as_limit", "as_rows")


class BaseNormalizer(Stateful):
    """Running statistics, which are a state with the entries ``counts``, ``moments`` and ``frozen``.

    Attributes
    ----------
    count, skipped : int
        How many rows were counted, and how many were skipped since they were not finite. In a compiled function f32[].
    frozen : bool
        Whether nothing is counted at present.
    clip, epsilon : float
        As at construction.
    """

    clip = Fixed("_rule.clip", "What is normalised lies between -clip and clip.", "normaliser")
    epsilon = Fixed("_rule.epsilon", "What is added to the variance before the square root is taken.", "normaliser")
    rule = Fixed("_rule", "The pure functions that it compiles.", "normaliser")
    _rule: Any

    @property
    def frozen(self) -> Any:
        """Whether nothing is counted at present: a bool, inside a compiled function bool[]. May be set at any time.

        :func:`coax.training.evaluate` sets it while it plays.
        """
        value = self._peek()["frozen"]
        return value if is_tracing() else bool(value)

    @frozen.setter
    def frozen(self, new: Any) -> None:
        leaf = new if isinstance(new, jax.Array) else np.array(new)
        if leaf.dtype != bool or leaf.shape != ():
            raise TypeError(f"{name_of(self)}.frozen: expected a bool, got {new!r}. Fix: pass True or False.")
        self._write({**self._peek(), "frozen": leaf}, self._owned - {"frozen"})

    @property
    def count(self) -> Any:
        """How many rows were counted."""
        return self._count(0)

    @property
    def skipped(self) -> Any:
        """How many rows were skipped, since they were not finite."""
        return self._count(1)

    def _count(self, i: int) -> Any:
        pair = self._peek()["counts"][i]
        if is_tracing():
            low, high = pair.astype(jax.dtypes.canonicalize_dtype(float))
            return high * 2.0**32 + low
        return count_of(np.asarray(pair))

    def _moments(self) -> Any:
        """The moments in float64; inside a trace where they are."""
        moments = self._peek()["moments"]
        return moments if is_tracing() else np.asarray(moments, np.float64)

    def _replace(self, new: dict[str, Any]) -> None:
        self._write({**self._peek(), **new}, self._owned - new.keys())


def as_limit(name: str, x: Any, owner: str, high: float = math.inf) -> float:
    """A positive number.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not positive.
    """
    if isinstance(x, bool) or not isinstance(x, int | float | np.number):
        raise TypeError(f"{owner}: expected a number as {name}, got {x!r}. Fix: pass a float.")
    if not 0 < x <= high:
        raise ValueError(f"{owner}: expected a positive number as {name}, got {x}. Fix: leave it out.")
    return float(x)


def as_rows(name: str, rows: Any, shape: tuple[int, ...], missing: bool) -> Any:
    """Bools of a given shape.

    Raises
    ------
    TypeError
        If they are no bools.
    ValueError
        If the shape is another one.
    """
    if rows is None:
        return np.full(shape, missing)
    rows = rows if isinstance(rows, jax.Array) else np.asarray(rows)
    if rows.dtype != bool:
        raise TypeError(f"{name}: expected bools, got {rows.dtype}. Fix: pass one bool for each row.")
    if rows.shape != shape:
        raise ValueError(
            f"{name}: expected shape {list(shape)}, got {list(rows.shape)}. Fix: pass one bool for each row."
        )
    return rows


def flat(x: Any) -> jax.Array:
    """Rows without leading axes: [B]."""
    return jnp.reshape(x, -1)
