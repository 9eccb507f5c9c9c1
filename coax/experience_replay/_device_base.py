"""What the replay buffers in device memory share: a fixed number of places, and rows that come and go in place."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._donation import InPlace, advance, owned_copy
from .._entries import Fixed, Rng, as_seed
from .._stateful import Stateful, is_tracing, name_of, refuse_in_trace
from ..errors import StateError
from ..reward_tracing import TransitionBatch
from ._base import as_capacity
from ._layout import Layout
from ._ring import MOST_PLACES, NOWHERE, Ring

__all__ = ("BaseDeviceReplayBuffer", "Rows", "as_mask")

_AT_ONCE = 1024  # how many rows an iterator fetches in one go


class Rows(NamedTuple):
    """Pure functions of rows in a ring: of the entries ``stores`` and ``ring`` of a state.

    Attributes
    ----------
    capacity : int
    layout : Layout
    """

    capacity: int
    layout: Layout

    def empty(self) -> dict[str, Any]:
        """The entries of an empty buffer."""
        return {"stores": self.layout.empty(self.capacity), "ring": Ring.empty()}

    def put(self, given: dict[str, Any], leaves: list[Any], mask: Any) -> tuple[dict[str, Any], jax.Array]:
        """The entries with more rows in them, and the places i32[B] of these."""
        rows, ring = self.layout.packed(leaves), Ring.of(given["ring"])
        places, ring = ring.claim(len(leaves[0]), mask, self.capacity)
        stores = {name: _put_rows(x, places, rows[name]) for name, x in given["stores"].items()}
        return {**given, "stores": stores, "ring": ring.packed}, places

    def get(self, stores: dict[str, jax.Array], places: jax.Array) -> dict[str, jax.Array]:
        return {name: x.at[places].get(mode="promise_in_bounds") for name, x in stores.items()}

    def read(self, given: dict[str, Any], ages: jax.Array) -> TransitionBatch:
        """The rows that were added so long ago."""
        places, idx = Ring.of(given["ring"]).at_age(ages, self.capacity)
        return self.layout.unpacked(self.get(given["stores"], places), idx)


def _put_rows(store: jax.Array, places: jax.Array, rows: jax.Array) -> jax.Array:
    """The store [N, ...] with rows [B, ...] at places i32[B]; those nowhere are dropped.

    XLA turns a scatter of one row into something for which it sometimes copies the store. So there are always two.
    """
    if len(places) == 1:
        places, rows = jnp.append(places, NOWHERE), jnp.concatenate([rows, rows])
    return store.at[places].set(rows, mode="drop")


class BaseDeviceReplayBuffer(Stateful):
    """Keeps the latest transitions in arrays of a fixed size in device memory.

    Parameters
    ----------
    capacity : int
        How many are kept, at least 1 and at most 2^30.
    layout : Layout
        What they look like.
    random_seed : int, key[] or None
        Of the stream that samples are drawn with.

    Raises
    ------
    TypeError, ValueError
        If `capacity` is not an integer, or out of range.
    """

    _is_large = True

    capacity = Fixed("_capacity", "How many transitions are kept at most.", "buffer")
    random_seed = Fixed("_random_seed", "The seed of the stream that samples are drawn with.", "buffer")
    rule = Fixed("_rule", "The pure functions that it compiles.", "buffer")
    _rule: Any

    def __init__(self, capacity: int, random_seed: Any):
        self._capacity = as_capacity(capacity)
        if self._capacity > MOST_PLACES:
            raise ValueError(f"capacity: expected at most {MOST_PLACES}, got {capacity}. Fix: use several buffers.")
        self._random_seed = random_seed

    def _start(self, **numbers: Any) -> None:
        """Allocate what the rule says; `numbers` are leaves of numbers one may set."""
        state = {**self._rule.empty(), "rng": Rng.seeded(as_seed(self._random_seed)), **numbers}
        self._write(state, owned=frozenset(self._rule.changes))

    def init(self, key: Any) -> dict[str, Any]:
        """The state of an empty buffer, with a random stream from a key, and the present numbers one may set."""
        return {**self._state, **self._rule.empty(), "rng": Rng.seeded(key)}

    @property
    def size(self) -> Any:
        """How many transitions can be drawn: i32[] inside of a compiled function, an int outside."""
        size = self._peek()["ring"][1]
        return size if is_tracing() else int(size)

    @property
    def nbytes(self) -> int:
        """How many bytes the arrays take, also those of places that are still empty."""
        return sum(x.size * x.dtype.itemsize for name in self._rule.changes for x in jax.tree.leaves(self._state[name]))

    def __len__(self) -> int:
        """Count the transitions that can be drawn; outside of a compiled function."""
        return self._known_size("len(buffer)")

    def __bool__(self) -> bool:
        return self._known_size("bool(buffer)") > 0

    def _known_size(self, what: str) -> int:
        if is_tracing():
            raise StateError(
                f"{name_of(self)}: {what} is not known inside a compiled function, which is made before it runs. "
                "Fix: use buffer.size there, for instance coax.cond(buffer.size >= 32, learn, skip, over=updater)."
            )
        return int(self._peek()["ring"][1])

    def clear(self) -> None:
        """Forget all transitions. The numbers in `idx` start again from 0."""
        state = self._peek()
        new = {name: x for name, x in self._rule.empty().items() if name != "stores"}
        self._write({**state, **new}, self._owned - new.keys())

    def __iter__(self) -> Iterator[TransitionBatch]:
        """Batches of size 1 with NumPy arrays, oldest first; outside of a compiled function.

        Raises
        ------
        RuntimeError
            If transitions are added or forgotten meanwhile.
        """
        refuse_in_trace(self, "__iter__()")
        ring, held = self._peek()["ring"], len(self)
        for start in range(0, held, _AT_ONCE):
            ages = np.maximum(held - start - np.arange(_AT_ONCE, dtype=np.int32), 1)
            rows = jax.device_get(self._rule.read(self._given(), ages))
            for i in range(min(_AT_ONCE, held - start)):
                if self._peek()["ring"] is not ring:
                    raise RuntimeError(
                        f"{type(self).__name__}: expected no change during iteration, got one. "
                        "Fix: iterate over list(buffer)."
                    )
                yield jax.tree.map(lambda x: x[i : i + 1], rows)  # noqa: B023 - it is called here

    @abc.abstractmethod
    def sample(self, batch_size: int = 32) -> TransitionBatch:
        """Draw transitions."""

    # --- inside

    def _given(self) -> dict[str, Any]:
        state = self._peek()
        return {name: state[name] for name in self._rule.changes}

    def _change(self, step: InPlace, entries: tuple[str, ...], *args: Any) -> None:
        """Run a step ``(given, rest, *args) -> new`` of the rule on the entries it changes in place, and the rest."""
        state = self._peek()
        given = {name: state[name] for name in entries}
        rest = {name: x for name, x in state.items() if name not in entries and name != "rng"}

        def keep(new: dict[str, Any]) -> None:
            self._write({**state, **new}, self._owned.union(entries))

        def claim() -> dict[str, Any]:
            return {name: x if name in self._owned else owned_copy(x) for name, x in given.items()}

        advance((self,), step, claim, keep, given, rest, *args)

    def _draw(self, batch_size: int) -> TransitionBatch:
        state = self._draw_rng()
        rest = {name: x for name, x in state.items() if name not in (*self._rule.changes, "rng")}
        batch, ring = self._rule.sample(self._given(), rest, state["rng"], batch_size)
        if is_tracing():  # outside, what comes later waits
            self._write({**self._peek(), "ring": ring}, self._owned)
        return batch


def as_mask(mask: Any, count: int) -> Any:
    """The mask bool[B] of as many rows, or None.

    Raises
    ------
    TypeError
        If it does not hold bools.
    ValueError
        If it has another shape.
    """
    if mask is None:
        return None
    given = mask if isinstance(mask, jax.Array) else np.asarray(mask)
    fix = "Fix: pass one bool for each transition, False for those that are to be left out."
    if given.dtype != bool:
        raise TypeError(f"mask: expected bools, got {given.dtype}. {fix}")
    if given.shape != (count,):
        raise ValueError(f"mask: expected shape [{count}], got {list(given.shape)}. {fix}")
    return given
