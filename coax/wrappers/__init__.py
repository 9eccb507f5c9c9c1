"""Environments around environments."""

from typing import NoReturn as _NoReturn

from .._absent import absent as _absent
from ._action_masking import ActionMasking
from ._atari import AtariPreprocessing
from ._device_monitor import DeviceTrainMonitor
from ._frame_stacking import FrameStacking
from ._last_observation import LastObservation, VectorLastObservation
from ._normalize_observation import DeviceNormalizeObservation, NormalizeObservation, VectorNormalizeObservation
from ._normalize_reward import DeviceNormalizeReward, NormalizeReward, VectorNormalizeReward
from ._train_monitor import TrainMonitor
from ._vector_monitor import VectorTrainMonitor

__all__ = (
    "ActionMasking",
    "AtariPreprocessing",
    "DeviceNormalizeObservation",
    "DeviceNormalizeReward",
    "DeviceTrainMonitor",
    "FrameStacking",
    "LastObservation",
    "NormalizeObservation",
    "NormalizeReward",
    "TrainMonitor",
    "VectorLastObservation",
    "VectorNormalizeObservation",
    "VectorNormalizeReward",
    "VectorTrainMonitor",
)


def __getattr__(name: str) -> _NoReturn:
    raise _absent("coax.wrappers", name)
