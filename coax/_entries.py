"""What attributes of a stateful object can be.

Streams of random keys, numbers that a user may set, views on the state under old names, and parts that stay.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import jax
import numpy as np

from ._stateful import Stateful, check_like, current_frame, is_tracing, name_of

__all__ = (
    "Entry",
    "Fixed",
    "Number",
    "Rng",
    "as_key",
    "as_seed",
    "draw_key",
    "fresh_seed",
    "generator_of_seed",
    "key_of_seed",
)


class Rng(NamedTuple):
    """A stream of keys: the n-th is the n-th fold of one base key. Costs no dispatch to advance on the host.

    Attributes
    ----------
    key : key[]
        The base key, never used itself.
    count : u32[]
        How many keys were drawn.
    """

    key: Any
    count: Any

    @classmethod
    def seeded(cls, seed: int | jax.Array) -> Rng:
        """A fresh stream from an integer or a key (typed, or the older uint32[2])."""
        return cls(key_of_seed(seed), np.zeros((), np.uint32))

    @property
    def next_key(self) -> jax.Array:
        """The key to use now, before :meth:`advanced`."""
        return jax.random.fold_in(self.key, self.count)

    def advanced(self) -> Rng:
        """The stream after :attr:`next_key` was used."""
        if isinstance(self.count, np.ndarray):
            return Rng(self.key, np.array((self.count.item() + 1) & 0xFFFFFFFF, np.uint32))
        return Rng(self.key, self.count + np.uint32(1))


def as_key(key: Any) -> jax.Array:
    """A typed key, from a typed one or the older uint32[2]."""
    if not hasattr(key, "dtype"):
        raise TypeError(f"key: expected a key, got {type(key).__name__}. Fix: pass jax.random.key({key!r}).")
    return key if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def key_of_seed(seed: Any) -> jax.Array:
    """A typed key, from an integer (also one inside a compiled function), or a key.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(seed, int) and not isinstance(seed, bool):
        return jax.random.key(seed)
    dtype = getattr(seed, "dtype", np.dtype(object))
    if np.shape(seed) == () and jax.dtypes.issubdtype(dtype, np.integer):
        return jax.random.key(seed)
    if not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) and (np.ndim(seed) != 1 or dtype != np.uint32):
        raise TypeError(f"seed: expected an integer or a key, got {seed!r}. Fix: pass for instance 13.")
    return as_key(seed)


def fresh_seed() -> int:
    """A seed from the operating system, for objects that were given none."""
    return int(np.random.SeedSequence().generate_state(1)[0] & 0x7FFFFFFF)


def as_seed(seed: Any) -> Any:
    """What a `random_seed` is: an int, a typed key, or for None an int from the operating system.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if seed is None:
        return fresh_seed()
    try:
        return operator.index(seed)
    except TypeError:
        return key_of_seed(seed)


def generator_of_seed(seed: Any) -> np.random.Generator:
    """A generator of NumPy, from an int, a key, or for None from the operating system.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If the int is negative.
    """
    seed = as_seed(seed)
    return np.random.default_rng(seed if isinstance(seed, int) else np.asarray(jax.random.bits(seed, (2,))).tolist())


class Number:
    """Descriptor of a number that a user may set at any time: a leaf of the state under the attribute's name.

    Outside a trace it reads as a Python float, inside as a jax scalar. Setting it never recompiles anything.

    Parameters
    ----------
    low, high : float, optional
        The range it must lie in. Numbers that come from inside a compiled function cannot be checked.
    exclusive : bool, optional
        Whether `low` itself is excluded.
    """

    def __init__(self, low: float = -math.inf, high: float = math.inf, *, exclusive: bool = False):
        self._low, self._high, self._exclusive = low, high, exclusive

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, obj: Stateful | None, owner: type | None = None) -> Any:
        if obj is None:
            return self
        value = self._state_of(obj)[self._name]
        return value if is_tracing() else float(value)

    def _state_of(self, obj: Stateful) -> dict[str, Any]:
        state = obj._peek()
        if self._name not in state:
            raise AttributeError(
                f"{type(obj).__name__} was made without {self._name}, which is compiled in. "
                f"Fix: make one with it: {type(obj).__name__}(..., {self._name}=...)."
            )
        return state

    def __set__(self, obj: Stateful, value: Any) -> None:
        state = self._state_of(obj)
        if isinstance(value, jax.core.Tracer):
            new: Any = jax.lax.convert_element_type(value, state[self._name].dtype)
        else:
            new = self.leaf(value, type(obj).__name__).astype(state[self._name].dtype)
        obj._write({**state, self._name: new}, owned=obj._owned - {self._name})

    def leaf(self, value: Any, owner: str) -> np.ndarray:
        """The number as a state leaf, in the one dtype that all settable numbers have.

        Raises
        ------
        TypeError
            If `value` is not a real number.
        ValueError
            If it is outside the range.
        """
        name = f"{owner}.{self._name}"
        if isinstance(value, bool) or not (isinstance(value, int | float) or getattr(value, "shape", None) == ()):
            raise TypeError(f"{name}: expected a number, got {value!r}. Fix: pass a float.")
        if not self._low <= value <= self._high or (self._exclusive and value == self._low):
            bracket = "(" if self._exclusive or self._low == -math.inf else "["
            closing = ")" if self._high == math.inf else "]"
            raise ValueError(
                f"{name}: expected a number in {bracket}{self._low}, {self._high}{closing}, got {value}. "
                "Fix: pass one from that range."
            )
        return np.asarray(value, jax.dtypes.canonicalize_dtype(float))


class Entry:
    """Descriptor of a view on one entry of the state, under the attribute's name.

    Setting it takes the same structure, shapes and dtypes, else a ``TypeError`` names the first leaf that differs.
    """

    def __init__(self, doc: str):
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, obj: Stateful | None, owner: type | None = None) -> Any:
        if obj is None:
            return self
        value = obj._peek()[self._name]
        if current_frame() is None:
            obj._owned -= {self._name}
        return value

    def __set__(self, obj: Stateful, new: Any) -> None:
        state = obj._peek()
        fitting = check_like(name_of(obj), {self._name: state[self._name]}, {self._name: new})
        obj._write({**state, **fitting}, obj._owned - {self._name})


class Fixed(property):
    """A read-only public name for a part that is fixed at construction.

    Parameters
    ----------
    attribute : str
        Where the object keeps it.
    doc : str
    noun : str, optional
        What to make a new one of.
    """

    def __init__(self, attribute: str, doc: str, noun: str = "updater"):
        super().__init__(operator.attrgetter(attribute), doc=doc)
        self._noun = noun

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, obj: Any, value: Any) -> None:
        raise AttributeError(
            f"{type(obj).__name__}.{self._name} is fixed at construction. "
            f"Fix: make a new {self._noun}, with other arguments."
        )


def draw_key(obj: Stateful) -> jax.Array:
    """The next key of an object's own stream, for the user."""
    return obj._draw_rng()["rng"].next_key
