"""Random numbers without replacement, when only a running program knows from how many."""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ("without_replacement",)

_REJECTED = -1
_MOST_ROUNDS = 16


def without_replacement(key: jax.Array, count: int, size: jax.Array, capacity: int) -> jax.Array:
    """Draw distinct numbers, uniformly.

    Parameters
    ----------
    key : key[]
    count : int
        How many, B; at most `capacity`.
    size : i32[]
        From 0, 1, ..., `size` - 1.
    capacity : int
        No less than `size`.

    Returns
    -------
    i32[B]
        In random order; each ordered choice is equally likely. With a `size` below B only so many are drawn, and the
        rest is 0.
    """
    order = jnp.arange(count, dtype=jnp.int32)
    crowded = capacity <= 2 * count  # numbers would come again and again
    numbers = _permuted(key, size, capacity)[:count] if crowded else _drawn_again(key, order, size)
    return jnp.where(order < size, numbers, 0)


def _permuted(key: jax.Array, size: jax.Array, capacity: int) -> jax.Array:
    """A random permutation of the first `size` numbers, and then the others."""
    places = jnp.arange(capacity, dtype=jnp.int32)
    bits = jax.random.bits(key, (2, capacity), jnp.uint32)
    _, _, _, numbers = jax.lax.sort((places >= size, bits[0], bits[1], places), num_keys=3)
    return numbers


def _drawn_again(key: jax.Array, order: jax.Array, size: jax.Array) -> jax.Array:
    """Draw with replacement, and draw again what was drawn before, until all are distinct.

    All numbers are treated alike, and so all results are equally likely. Where there are few to draw from, or it does
    not end, they are drawn one after the other.
    """

    def draw(turn: jax.Array) -> jax.Array:
        # those beyond `size` take part in nothing
        return jnp.where(order < size, _below(jax.random.fold_in(key, turn), len(order), size), size + order)

    def repeats(numbers: jax.Array) -> jax.Array:
        ranked = jnp.sort(numbers)
        return (ranked[0] == _REJECTED) | jnp.any(ranked[1:] == ranked[:-1])

    def again(carry: tuple) -> tuple:
        numbers, turn, _ = carry
        earlier = (numbers[:, None] == numbers) & (order[:, None] > order)
        bad = jnp.any(earlier, axis=1) | (numbers == _REJECTED)
        numbers = jnp.where(bad, draw(turn), numbers)
        return numbers, turn + 1, repeats(numbers)

    most = jnp.where(size < 2 * len(order), 1, _MOST_ROUNDS)
    first = draw(jnp.int32(0))
    drawn = first, jnp.int32(1), repeats(first)
    drawn = jax.lax.while_loop(lambda carry: (carry[1] < most) & carry[2], again, drawn)

    def singly(carry: tuple) -> tuple:
        _, turn, _ = carry  # it changes, since XLA takes out of a loop what stays the same, and would always do it
        numbers = _one_by_one(jax.random.fold_in(key, turn), order, size)
        return numbers, turn + 1, repeats(numbers)

    return jax.lax.while_loop(lambda carry: carry[2], singly, drawn)[0]


def _below(key: jax.Array, count: int, size: jax.Array) -> jax.Array:
    """Uniform numbers i32[B] below `size`; or one that says that this draw came to nothing."""
    bits, modulus = jax.random.bits(key, (count,), jnp.uint32), jnp.maximum(size, 1).astype(jnp.uint32)
    surplus = (jnp.uint32(0) - modulus) % modulus  # 2^32 modulo `size`: so many draws at the end are left out
    return jnp.where(bits > ~surplus, _REJECTED, (bits % modulus).astype(jnp.int32))


def _one_by_one(key: jax.Array, order: jax.Array, size: jax.Array) -> jax.Array:
    """The first numbers of a shuffle that swaps each place with one that does not come before it.

    Of the places only those that were swapped are kept.

    References
    ----------
    Knuth (1997), The art of computer programming, volume 2, section 3.4.2, algorithm P.
    """
    steps = jax.random.randint(key, order.shape, 0, jnp.maximum(size - order, 1), jnp.int32)

    def turn(i: jax.Array, carry: tuple) -> tuple:
        places, numbers, drawn = carry

        def at(place: jax.Array) -> jax.Array:
            last = jnp.max(jnp.where(places == place, order, -1))
            return jnp.where(last < 0, place, numbers[last])

        place = i + steps[i]
        return places.at[i].set(place), numbers.at[i].set(at(i)), drawn.at[i].set(at(place))

    none = jnp.full_like(order, -1)
    drawn = jax.lax.fori_loop(0, len(order), turn, (none, none, none))[2]
    return jnp.where(order < size, drawn, size + order)
