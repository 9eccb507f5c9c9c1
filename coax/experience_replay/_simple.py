"""A replay buffer that is sampled uniformly."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import jax
import numpy as np

from .._entries import fresh_seed
from .._stateful import HostStateful
from ..reward_tracing import TransitionBatch
from ..utils._generators import generator_from_array, generator_to_array
from ._ring import STORED, Ring
from ._saved import checked

__all__ = ("SimpleReplayBuffer",)


class SimpleReplayBuffer(HostStateful):
    """Keeps the latest transitions, and draws from them uniformly.

    The arrays are allocated in full when the first batch comes: it says which fields there are, their shapes and
    dtypes. `logP`, `Rn`, `In`, `logP_next` and `W` are float32. What is added is copied, and so is what is drawn.

    Parameters
    ----------
    capacity : int
        How many transitions are kept, at least 1. When it is reached, the oldest make room.
    random_seed : int, optional
        By default the operating system gives one.

    Raises
    ------
    TypeError, ValueError
        If `capacity` is not an integer, or less than 1.

    References
    ----------
    Lin (1992), Self-improving reactive agents based on reinforcement learning, planning and teaching, section 3.4;
    Mnih et al. (2015), Methods, "Training algorithm for deep Q-networks".

    Examples
    --------
    >>> buffer = coax.experience_replay.SimpleReplayBuffer(capacity=1000, random_seed=7)
    >>> buffer.add(batch)
    >>> len(buffer)
    4
    >>> buffer.sample(batch_size=2).batch_size
    2
    """

    instead: ClassVar[str] = "add and sample outside of it, and pass the batch as an argument"

    def __init__(self, capacity: int, random_seed: int | None = None):
        self._capacity = _as_capacity(capacity)
        self._random_seed = random_seed
        self._generator = np.random.default_rng(fresh_seed() if random_seed is None else random_seed)
        self._ring: Ring | None = None
        self._count = 0  # how many transitions were ever added

    @property
    def capacity(self) -> int:
        """How many transitions are kept at most."""
        return self._capacity

    @property
    def random_seed(self) -> int | None:
        """The seed of the generator that samples are drawn with."""
        return self._random_seed

    def __len__(self) -> int:
        """Count the transitions that can be drawn."""
        return min(self._count, self._capacity)

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, transition_batch: TransitionBatch) -> None:
        """Store transitions.

        Parameters
        ----------
        transition_batch : TransitionBatch [B, ...]
            It is copied and not changed. In the copy `idx` counts the transitions that were added since the buffer was
            empty: 0, 1, 2, ...

        Raises
        ------
        TypeError
            If it is not a :class:`TransitionBatch`, or has other fields or dtypes than those stored.
        ValueError
            If the shape of a field is another one. All errors name the field, and then nothing is stored.
        """
        self._on_host("add")
        if not isinstance(transition_batch, TransitionBatch):
            raise TypeError(
                f"transition_batch: expected a TransitionBatch, got {type(transition_batch).__name__}. "
                "Fix: pass what a tracer's pop() or flush() returned."
            )
        if np.ndim(transition_batch.Rn) != 1:
            raise ValueError(
                f"transition_batch.Rn: expected shape [B], got {list(np.shape(transition_batch.Rn))}. "
                "Fix: pass what a tracer's pop() or flush() returned."
            )
        ring = self._ring or Ring(self._capacity, transition_batch)
        leaves = ring.fitting(transition_batch)
        ring.write(self._count % self._capacity, leaves)
        self._ring = ring
        self._count += len(leaves[0])

    def sample(self, batch_size: int = 32) -> TransitionBatch:
        """Draw transitions uniformly, without replacement.

        Parameters
        ----------
        batch_size : int, optional
            How many, B.

        Returns
        -------
        TransitionBatch [B, ...]
            In random order.

        Raises
        ------
        TypeError
            If `batch_size` is not an integer.
        ValueError
            If it is less than 1, or more than there are transitions.
        """
        self._on_host("sample")
        size, held = _as_size(batch_size), len(self)
        if not 0 < size <= held:
            raise ValueError(
                f"batch_size: expected a number from 1 to the {held} transitions in the buffer, got {batch_size}. "
                "Fix: wait until len(buffer) >= batch_size."
            )
        # Takes time in proportion to the size, whatever the number of transitions held.
        return self._read(self._generator.choice(held, size, replace=False) + (self._count - held))

    def clear(self) -> None:
        """Forget all transitions, and what they look like. The numbers in `idx` start again from 0."""
        self._on_host("clear")
        self._ring, self._count = None, 0

    def __iter__(self) -> Iterator[TransitionBatch]:
        """Batches of size 1, oldest first.

        Raises
        ------
        RuntimeError
            If the buffer is changed meanwhile.
        """
        self._on_host("__iter__")
        ring, count = self._ring, self._count
        for i in range(count - len(self), count):
            if self._ring is not ring or self._count != count:
                raise RuntimeError(
                    "SimpleReplayBuffer: expected no change during iteration, got one. Fix: iterate over list(buffer)."
                )
            yield self._read(np.array([i]))

    def _read(self, numbers: np.ndarray) -> TransitionBatch:
        """The transitions with the given running numbers i64[B]."""
        assert self._ring is not None
        return self._ring.read(numbers % self._capacity, numbers.astype(np.int32))

    # --- the state protocol

    def init(self, key: jax.Array | None) -> dict[str, Any]:
        """The state of an empty buffer, with a generator seeded by the key."""
        seed = fresh_seed() if key is None else [int(word) for word in np.asarray(jax.random.bits(key, (2,)))]
        return {
            "count": np.array(0, np.int64),
            "rng": generator_to_array(np.random.default_rng(seed)),
            "transitions": None,
        }

    def _snapshot(self) -> dict[str, Any]:
        transitions = None
        if self._ring is not None:
            batch = self._read(np.arange(self._count - len(self), self._count))
            transitions = {name: getattr(batch, name) for name in STORED}
        return {
            "count": np.array(self._count, np.int64),
            "rng": generator_to_array(self._generator),
            "transitions": transitions,
        }

    def _restore(self, new: Any) -> None:
        new = checked(type(self).__name__, new, self._capacity, self._ring)
        ring, count = None, int(new["count"])
        if new["transitions"] is not None:
            batch = TransitionBatch(**new["transitions"])
            ring = Ring(self._capacity, batch)
            ring.write((count - batch.batch_size) % self._capacity, ring.fitting(batch))
        self._ring, self._count, self._generator = ring, count, generator_from_array(new["rng"])

    def __copy__(self) -> Self:
        new = super().__copy__()
        new._ring = None if self._ring is None else self._ring.copy()
        new._generator = generator_from_array(generator_to_array(self._generator))
        return new


def _as_size(x: Any) -> int:
    try:
        return operator.index(x)
    except TypeError:
        raise TypeError(f"batch_size: expected an integer, got {x!r}. Fix: pass for instance batch_size=32.") from None


def _as_capacity(x: Any) -> int:
    fix = "Fix: pass for instance capacity=100_000."
    try:
        capacity = operator.index(x)
    except TypeError:
        raise TypeError(f"capacity: expected an integer, got {x!r}. {fix}") from None
    if isinstance(x, bool) or capacity < 1:
        raise ValueError(f"capacity: expected at least 1, got {x!r}. {fix}")
    return capacity
