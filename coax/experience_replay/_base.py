"""What all replay buffers share: transitions come in, the oldest make room, some are looked at again."""

from __future__ import annotations

import abc
import copy
import functools
import operator
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import jax
import numpy as np

from .._entries import generator_of_seed
from .._stateful import HostStateful
from ..reward_tracing import TransitionBatch
from ..utils._generators import generator_from_array, generator_to_array
from ._saved import checked
from ._transitions import Transitions

__all__ = ("BaseReplayBuffer", "as_capacity", "as_size")


class BaseReplayBuffer(HostStateful):
    """Keeps the latest transitions.

    Parameters
    ----------
    capacity : int
        How many are kept, at least 1.
    random_seed : int, key[] or None
        Of the generator that samples are drawn with.
    frame_axis : int or None
        Where in an observation the frames of a stack are.

    Raises
    ------
    TypeError, ValueError
        If `capacity` or `frame_axis` is not an integer, or `capacity` is less than 1.
    """

    instead: ClassVar[str] = (
        "add and sample outside of it, and pass the batch as an argument; or use a "
        "coax.experience_replay.DeviceReplayBuffer"
    )

    def __init__(self, capacity: int, random_seed: Any, frame_axis: int | None):
        self._capacity = as_capacity(capacity)
        self._frame_axis = None if frame_axis is None else _as_axis(frame_axis)
        self._random_seed = random_seed
        self._generator = generator_of_seed(random_seed)
        self._transitions: Transitions | None = None
        self._count = 0  # how many transitions were ever added

    @abc.abstractmethod
    def sample(self, batch_size: int = 32) -> TransitionBatch:
        """Draw transitions."""

    @property
    def capacity(self) -> int:
        """How many transitions are kept at most."""
        return self._capacity

    @property
    def random_seed(self) -> Any:
        """The seed, an int, a key or None, of the generator that samples are drawn with."""
        return self._random_seed

    @property
    def frame_axis(self) -> int | None:
        """Where in an observation the frames of a stack are, without the axis of the batch."""
        return self._frame_axis

    @property
    def nbytes(self) -> int:
        """How many bytes the arrays take, also those of rows that are still empty; 0 before anything was added."""
        return 0 if self._transitions is None else self._transitions.nbytes

    def __len__(self) -> int:
        """Count the transitions that can be drawn."""
        return min(self._count, self._capacity)

    def __bool__(self) -> bool:
        return self._count > 0

    def clear(self) -> None:
        """Forget all transitions, and what they look like. The numbers in `idx` start again from 0."""
        self._on_host("clear")
        self._transitions, self._count = None, 0

    def __iter__(self) -> Iterator[TransitionBatch]:
        """Batches of size 1, oldest first.

        Raises
        ------
        RuntimeError
            If transitions are added or forgotten meanwhile.
        """
        self._on_host("__iter__")
        transitions, count = self._transitions, self._count
        for i in range(count - len(self), count):
            if self._transitions is not transitions or self._count != count:
                raise RuntimeError(
                    f"{type(self).__name__}: expected no change during iteration, got one. "
                    "Fix: iterate over list(buffer)."
                )
            yield self._read(np.array([i]))

    def _add(self, transition_batch: Any, priorities: np.ndarray | None = None) -> None:
        """Store transitions; after an error as many of the first ones as were stored by then, mostly none."""
        self._check_batch(transition_batch)
        transitions = self._transitions or Transitions(self._capacity, transition_batch, self._frame_axis)
        leaves = transitions.kind.leaves_of(transition_batch)
        end = self._count + len(leaves[0])
        first = max(self._count, end - self._capacity)  # those before would be overwritten by the rest at once
        while first < end:
            last = min(first + transitions.at_once, end)
            rows = slice(len(leaves[0]) - (end - first), len(leaves[0]) - (end - last))
            keep = functools.partial(self._keep_rows, transitions, np.arange(first, last), priorities, rows)
            transitions.write(first % self._capacity, [x[rows] for x in leaves], keep)
            first = last

    def _keep_rows(self, transitions: Transitions, numbers: np.ndarray, priorities: Any, rows: slice) -> None:
        """Count rows that were written, with these running numbers. May run twice."""
        self._transitions, self._count = transitions, int(numbers[-1]) + 1

    @staticmethod
    def _check_batch(transition_batch: Any) -> None:
        """Whether it is a batch at all.

        Raises
        ------
        TypeError, ValueError
            If not.
        """
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

    def _read(self, numbers: np.ndarray) -> TransitionBatch:
        """The transitions with the given running numbers i64[B]."""
        assert self._transitions is not None
        return self._transitions.read(numbers % self._capacity, numbers.astype(np.int32))

    # --- the state protocol

    def init(self, key: jax.Array | None) -> dict[str, Any]:
        """The state of an empty buffer, with a generator seeded by the key."""
        return {
            "count": np.array(0, np.int64),
            "rng": generator_to_array(generator_of_seed(key)),
            "transitions": None,
        }

    def _snapshot(self) -> dict[str, Any]:
        return jax.tree.map(np.asarray, self._stream())

    def _stream(self) -> dict[str, Any]:
        transitions = self._transitions
        return {
            "count": np.array(self._count, np.int64),
            "rng": generator_to_array(self._generator),
            "transitions": None if transitions is None else transitions.streamed(self._count - len(self), len(self)),
        }

    def _places(self, count: int) -> np.ndarray:
        """Where the transitions are, oldest first, when so many were added."""
        return np.arange(count - min(count, self._capacity), count) % self._capacity

    def _checked(self, new: Any) -> dict[str, Any]:
        """A state with NumPy arrays for leaves, or a ``TypeError``."""
        return checked(self, new, self._transitions)

    def _take_over(self, new: dict[str, Any]) -> None:
        """Go on from a state that was checked."""
        transitions, count = None, int(new["count"])
        if new["transitions"] is not None:
            at = self._capacity, self._frame_axis, self._places(count)
            transitions = Transitions.restored(*at, new["transitions"])
        self._transitions, self._count, self._generator = transitions, count, generator_from_array(new["rng"])

    def __copy__(self) -> Self:
        new = super().__copy__()
        new._transitions = copy.deepcopy(self._transitions)
        new._generator = generator_from_array(generator_to_array(self._generator))
        return new


def as_size(x: Any) -> int:
    """A batch size as an int.

    Raises
    ------
    TypeError
        If it is not an integer.
    """
    try:
        return operator.index(x)
    except TypeError:
        raise TypeError(f"batch_size: expected an integer, got {x!r}. Fix: pass for instance batch_size=32.") from None


def as_capacity(x: Any) -> int:
    """A capacity as an int.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer, or less than 1.
    """
    fix = "Fix: pass for instance capacity=100_000."
    try:
        capacity = operator.index(x)
    except TypeError:
        raise TypeError(f"capacity: expected an integer, got {x!r}. {fix}") from None
    if isinstance(x, bool) or capacity < 1:
        raise ValueError(f"capacity: expected at least 1, got {x!r}. {fix}")
    return capacity


def _as_axis(x: Any) -> int:
    if isinstance(x, bool) or not hasattr(x, "__index__"):
        raise TypeError(f"frame_axis: expected an integer or None, got {x!r}. Fix: pass for instance frame_axis=-1.")
    return operator.index(x)
