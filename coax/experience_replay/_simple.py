"""A replay buffer that is sampled uniformly."""

from __future__ import annotations

from typing import Any

from ..reward_tracing import TransitionBatch
from ._base import BaseReplayBuffer, as_size

__all__ = ("SimpleReplayBuffer",)


class SimpleReplayBuffer(BaseReplayBuffer):
    """Keeps the latest transitions, and draws from them uniformly.

    The arrays are allocated in full when the first batch comes: it says which fields there are, their shapes and
    dtypes. `logP`, `Rn`, `In`, `logP_next` and `W` are float32. What is added is copied, and so is what is drawn.

    An observation is stored once, also where it is the next state of one transition and the state of another; so is a
    frame that belongs to several stacks. Stacks are tuples, as :class:`coax.wrappers.FrameStacking` makes them, or
    arrays, cut along `frame_axis`. See :attr:`nbytes` for what is saved.

    Parameters
    ----------
    capacity : int
        How many transitions are kept, at least 1. When it is reached, the oldest make room.
    random_seed : int or key[], optional
        By default the operating system gives one.
    frame_axis : int, optional
        The axis of the frames in an observation that is an array with a stack of frames, e.g. -1 for those of shape
        [height, width, frames]. By default such an observation is stored as a whole.

    Raises
    ------
    TypeError, ValueError
        If `capacity` or `frame_axis` is not an integer, or `capacity` is less than 1.

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

    def __init__(self, capacity: int, random_seed: Any = None, *, frame_axis: int | None = None):
        super().__init__(capacity, random_seed, frame_axis)

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
            If it is no :class:`coax.reward_tracing.TransitionBatch`, or has other fields or dtypes than those stored.
        ValueError
            If the shape of a field is another one. All errors name the field, and then nothing is stored.
        """
        self._on_host("add")
        self._add(transition_batch)

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
        size, held = as_size(batch_size), len(self)
        if not 0 < size <= held:
            raise ValueError(
                f"batch_size: expected a number from 1 to the {held} transitions in the buffer, got {batch_size}. "
                "Fix: wait until len(buffer) >= batch_size."
            )
        # Takes time in proportion to the size, whatever the number of transitions held.
        return self._read(self._generator.choice(held, size, replace=False) + (self._count - held))
