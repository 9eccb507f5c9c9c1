"""Replay buffers: transitions kept for later, and drawn from at random."""

from ._device import DeviceReplayBuffer
from ._device_prioritized import DevicePrioritizedReplayBuffer
from ._prioritized import PrioritizedReplayBuffer
from ._simple import SimpleReplayBuffer

__all__ = ("DevicePrioritizedReplayBuffer", "DeviceReplayBuffer", "PrioritizedReplayBuffer", "SimpleReplayBuffer")
