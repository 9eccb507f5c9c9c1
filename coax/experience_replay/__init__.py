"""Replay buffers: transitions kept for later, and drawn from at random."""

from ._device import DeviceReplayBuffer
from ._prioritized import PrioritizedReplayBuffer
from ._simple import SimpleReplayBuffer

__all__ = ("DeviceReplayBuffer", "PrioritizedReplayBuffer", "SimpleReplayBuffer")
