"""Environments around environments."""

from ._last_observation import LastObservation
from ._train_monitor import TrainMonitor

__all__ = ("LastObservation", "TrainMonitor")
