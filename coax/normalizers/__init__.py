"""Observations and rewards on a scale that a network can work with: running mean and standard deviation."""

from ._base import BaseNormalizer
from ._observations import ObservationNormalizer
from ._rewards import RewardNormalizer

__all__ = ("BaseNormalizer", "ObservationNormalizer", "RewardNormalizer")
