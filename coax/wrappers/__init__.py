"""Environments around environments."""

from ._action_masking import ActionMasking
from ._last_observation import LastObservation
from ._train_monitor import TrainMonitor

__all__ = ("ActionMasking", "LastObservation", "TrainMonitor")
