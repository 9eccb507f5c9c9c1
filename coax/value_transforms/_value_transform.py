"""A pair of functions that are each other's inverse."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax

__all__ = ("IDENTITY", "ValueTransform", "as_value_transform")


class ValueTransform:
    """An invertible function of values, and its inverse.

    Two transforms are equal if they are made of the same two function objects, so that what is compiled for one serves
    the other.

    Parameters
    ----------
    transform_func : callable
        From a value f32[...] to what the function approximator learns, f32[...].
    inverse_func : callable
        Its inverse.

    Raises
    ------
    TypeError
        If one of the two is not callable.

    Examples
    --------
    >>> f, f_inv = coax.value_transforms.ValueTransform(jnp.arcsinh, jnp.sinh)
    """

    __slots__ = ("_inverse_func", "_key", "_transform_func")

    def __init__(
        self,
        transform_func: Callable[[Any], jax.Array],
        inverse_func: Callable[[Any], jax.Array],
        *,
        key: Hashable = None,
    ):
        for name, func in (("transform_func", transform_func), ("inverse_func", inverse_func)):
            if not callable(func):
                raise TypeError(f"{name}: expected a function, got {func!r}. Fix: pass two functions of one array.")
        self._transform_func = transform_func
        self._inverse_func = inverse_func
        self._key = (transform_func, inverse_func) if key is None else key

    @property
    def transform_func(self) -> Callable[[Any], jax.Array]:
        """The function, from values to the space of learning."""
        return self._transform_func

    @property
    def inverse_func(self) -> Callable[[Any], jax.Array]:
        """The inverse, back to values."""
        return self._inverse_func

    def __iter__(self) -> Iterator[Callable[[Any], jax.Array]]:
        return iter((self._transform_func, self._inverse_func))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueTransform):
            return NotImplemented
        return type(self) is type(other) and self._key == other._key

    def __hash__(self) -> int:
        return hash((type(self), self._key))

    def __repr__(self) -> str:
        names = (getattr(f, "__name__", repr(f)) for f in self)
        return f"{type(self).__name__}({', '.join(names)})"


def _same(x: Any) -> Any:
    return x


IDENTITY = ValueTransform(_same, _same)
"""The transform that changes nothing."""


def as_value_transform(x: Any) -> ValueTransform:
    """A :class:`ValueTransform` from whatever a user may pass for one.

    Parameters
    ----------
    x : ValueTransform, or pair of functions, or None
        None stands for :data:`IDENTITY`.

    Returns
    -------
    ValueTransform

    Raises
    ------
    TypeError
        If `x` is anything else.
    """
    if x is None:
        return IDENTITY
    if isinstance(x, ValueTransform):
        return x
    if isinstance(x, tuple | list) and len(x) == 2 and all(map(callable, x)):
        return ValueTransform(*x)
    hint = f"pass an instance, {x.__name__}()" if isinstance(x, type) else "pass coax.value_transforms.LogTransform()"
    raise TypeError(
        f"value_transform: expected a ValueTransform, a pair of functions (f, f_inverse) or None, got {x!r}. "
        f"Fix: {hint}, or a tuple of two functions."
    )
