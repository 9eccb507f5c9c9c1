"""A tree of partial sums in device memory, from which places are drawn in proportion to their values."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ._ring import NOWHERE

__all__ = ("draw_stratified", "empty_tree", "set_leaves", "value_at", "with_leaves")

# How many children a node has. A search looks at all children of a node on each level: few levels, and few children.
_FANOUT = 16

Tree = tuple[jax.Array, ...]


def empty_tree(capacity: int) -> Tree:
    """The levels of a tree over so many zeros, leaves first: f32[N, F], where N is 1 at the root."""
    levels: list[jax.Array] = []
    while capacity > 1 or not levels:
        capacity = -(-capacity // _FANOUT)
        levels.append(jnp.zeros((capacity, _FANOUT), jnp.float32))
    return tuple(levels)


def with_leaves(leaves: jax.Array) -> Tree:
    """A tree over the given values f32[N, F]."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        sums = levels[-1].sum(axis=1)
        levels.append(jnp.pad(sums, (0, -len(sums) % _FANOUT)).reshape(-1, _FANOUT))
    return tuple(levels)


def value_at(tree: Tree, places: jax.Array) -> jax.Array:
    """The values f32[B] at the given places."""
    return tree[0].at[places // _FANOUT, places % _FANOUT].get(mode="clip")


def set_leaves(tree: Tree, places: jax.Array, values: jax.Array) -> tuple[Tree, jax.Array]:
    """The tree with other values f32[B] at the given places, all of them different; those nowhere are dropped.

    A sum is that of its children, added up anew, so that no rounding errors pile up. The second thing returned is
    known only when all have been read: see :meth:`Ring.after`.
    """
    levels = []
    if len(places) == 1:  # see put_rows in _device_base.py
        places, values = jnp.append(places, NOWHERE), jnp.append(values, values)
    for level in tree:
        nodes = places // _FANOUT
        new = level.at[nodes, places % _FANOUT].set(values, mode="drop")
        levels.append(new)
        places, values = nodes, new.at[nodes].get(mode="clip").sum(axis=1)
    return tuple(levels), values[:, None]


def draw_stratified(tree: Tree, uniforms: jax.Array) -> jax.Array:
    """Places i32[B], one from each of B equal shares of the sum of all values. Never one whose value is 0.

    Parameters
    ----------
    tree : tuple of f32[N, F]
    uniforms : f32[B]
        Where in its share each is, from [0, 1).
    """
    count = len(uniforms)
    share = tree[-1].sum() / count
    # A position is a sum of two numbers, the second of which is what the first had to leave out: with a million values
    # one alone would be too coarse to tell them apart.
    position, fine = _sum(jnp.arange(count, dtype=jnp.float32) * share, uniforms * share)
    places = jnp.zeros(count, jnp.int32)
    for level in reversed(tree):
        values = level.at[places].get(mode="promise_in_bounds")
        child, before = _child_at(values, position, fine)
        position, fine = _sum(position - before, fine)
        fine = jnp.where(position > 0, fine, 0)
        position = jnp.maximum(position, 0)
        places = places * _FANOUT + child
    return places


def _sum(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of two numbers, the first of which is larger, and what is rounded off.

    References
    ----------
    Dekker (1971), A floating-point technique for extending the available precision.
    """
    total = x + y
    return total, y - (total - x)


def _child_at(values: jax.Array, position: jax.Array, fine: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which of the values f32[B, F], laid end to end, a position f32[B] falls into, and the sum f32[B] before it."""
    ends = jnp.cumsum(values, axis=1)
    children = jnp.arange(_FANOUT, dtype=jnp.int32)
    positive = values > 0
    last = jnp.max(jnp.where(positive, children, 0), axis=1)  # where a rounding error leads beyond the end
    first = jnp.min(jnp.where(positive & (ends - position[:, None] > fine[:, None]), children, _FANOUT), axis=1)
    child = jnp.minimum(first, last)
    before = jnp.sum(jnp.where(children < child[:, None], values, 0), axis=1)
    return child, before
