"""Where in a ring of places transitions come and go, as pure functions of four integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ("MOST_PLACES", "NOWHERE", "Ring")

MOST_PLACES = 1 << 30
NOWHERE = MOST_PLACES  # a place outside of every ring: what is written there is dropped


class Ring(NamedTuple):
    """How far a ring is filled. In the state it is one array i32[4].

    All numbers are kept apart, so that nothing goes wrong when `number` runs over: after 2^31 - 1 comes -2^31, and
    only differences of running numbers matter.

    Attributes
    ----------
    cursor : i32[]
        The place of the next transition.
    size : i32[]
        How many are held.
    number : i32[]
        The running number of the next one.
    seen : i32[]
        Always 0, but known only when all that was read so far has been read: see :meth:`after`.
    """

    cursor: jax.Array
    size: jax.Array
    number: jax.Array
    seen: jax.Array

    @classmethod
    def of(cls, packed: jax.Array) -> Ring:
        return cls(*(packed[i] for i in range(4)))

    @staticmethod
    def empty() -> jax.Array:
        return jnp.zeros(4, jnp.int32)

    @property
    def packed(self) -> jax.Array:
        return jnp.stack(self)

    def claim(self, count: int, mask: Any, capacity: int) -> tuple[jax.Array, Ring]:
        """Places i32[B] for so many new transitions, and the ring with them; those masked out have theirs nowhere."""
        steps = jnp.arange(count, dtype=jnp.int32)
        new = jnp.int32(count)
        if mask is not None:
            entered = jnp.cumsum(mask, dtype=jnp.int32)
            steps, new = entered - 1, entered[-1]
        places = self._wrapped(self.cursor + self.seen + steps, capacity)
        if mask is not None:
            places = jnp.where(mask, places, NOWHERE)
        cursor = self._wrapped(self.cursor + new, capacity)
        return places, Ring(cursor, jnp.minimum(self.size + new, capacity), self.number + new, self.seen)

    @staticmethod
    def _wrapped(place: jax.Array, capacity: int) -> jax.Array:
        return jnp.where(place >= capacity, place - capacity, place)

    def at_age(self, age: jax.Array, capacity: int) -> tuple[jax.Array, jax.Array]:
        """Places and running numbers of those that were added so long ago; the latest has the age 1."""
        place = self.cursor - age
        return jnp.where(place < 0, place + capacity, place), self.number - age

    def number_at(self, place: jax.Array, capacity: int) -> jax.Array:
        """The running numbers of what is at the given places."""
        age = self.cursor - place
        return self.number - jnp.where(age <= 0, age + capacity, age)

    def places_of(self, idx: jax.Array, capacity: int) -> jax.Array:
        """Where those with the given running numbers are; nowhere if they are not held."""
        age = self.number - idx
        held = (age > 0) & (age <= self.size)
        return jnp.where(held, self.at_age(age, capacity)[0], NOWHERE)

    def after(self, rows: Mapping[str, jax.Array]) -> Ring:
        """The ring, to be used only when the given rows have been read.

        What XLA does not know to come later it may do at the same time, with a copy of all that is held. So the next
        place to write to is made to depend on what was read.
        """
        seen = self.seen
        for x in rows.values():
            bits = jax.lax.bitcast_convert_type(x[0, 0].astype(jnp.float32), jnp.int32)
            # never true, since there are 32 bits; but that takes knowing that a size is not negative
            seen = seen | (jax.lax.population_count(bits) > 64 + self.size).astype(jnp.int32)
        return self._replace(seen=seen)
