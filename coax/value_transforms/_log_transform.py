"""The signed logarithm."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from ._value_transform import ValueTransform

__all__ = ("LogTransform",)


class LogTransform(ValueTransform):
    r"""Logarithmic for large values, the identity for small ones.

    .. math::

        f(x) = \text{sign}(x)\, c \log(1 + |x| / c) \qquad
        f^{-1}(y) = \text{sign}(y)\, c \left(\text{e}^{|y| / c} - 1\right)

    Parameters
    ----------
    scale : float, optional
        The size :math:`c > 0` of a value at which the logarithm sets in. Transforms of equal scale are equal.

    Raises
    ------
    TypeError, ValueError
        If `scale` is not a number, or not positive and finite.
    """

    __slots__ = ("_scale",)

    def __init__(self, scale: float = 1.0):
        try:
            value = float(scale)
        except (TypeError, ValueError):
            raise TypeError(f"scale: expected a positive number, got {scale!r}. Fix: pass a float.") from None
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"scale: expected a positive, finite number, got {scale!r}. Fix: pass for instance 1.0.")
        self._scale = value
        super().__init__(functools.partial(_log, scale=value), functools.partial(_exp, scale=value), key=value)

    @property
    def scale(self) -> float:
        """The size of a value at which the logarithm sets in."""
        return self._scale

    def __repr__(self) -> str:
        return f"LogTransform(scale={self._scale})"


def _log(x: Any, scale: float) -> jax.Array:
    x, sign = _with_sign(x)
    return sign * scale * jnp.log1p(sign * x / scale)


def _exp(y: Any, scale: float) -> jax.Array:
    y, sign = _with_sign(y)
    return sign * scale * jnp.expm1(sign * y / scale)


def _with_sign(x: Any) -> tuple[jax.Array, jax.Array]:
    # jnp.sign and jnp.abs have gradient 0 at 0, where the slope of both functions is 1: hence a sign that is never 0.
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    return x, jnp.where(x < 0, -jnp.ones_like(x), jnp.ones_like(x))
