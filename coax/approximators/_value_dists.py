"""Distributions over values."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from ..proba_dists import BaseProbaDist, DiscretizedIntervalDist, EmpiricalQuantileDist
from ..value_transforms import ValueTransform
from ._checks import check_value_range

__all__ = ("interval_dist", "value_dist")


def interval_dist(
    owner: str, value_range: Any, num_bins: int, transform: ValueTransform
) -> tuple[tuple[float, float], DiscretizedIntervalDist]:
    """The range of values, and bins of equal width over it in the transformed space."""
    low, high = check_value_range(value_range, owner)
    first, last = float(transform.transform_func(low)), float(transform.transform_func(high))
    if not first < last:
        raise TypeError(
            f"{owner}: expected value_transform to increase over {low, high}, got {first} to {last}. "
            "Fix: use an increasing function."
        )
    box = Box(first, last, (), np.float64)  # a Box of float32 would round the range, and the atoms with it
    return (low, high), DiscretizedIntervalDist(box, num_bins=check_count(owner, num_bins))


def value_dist(owner: str, value_range: Any, num_bins: int, transform: ValueTransform) -> tuple[Any, BaseProbaDist]:
    """Bins if there is a range, else quantiles."""
    if value_range is not None:
        return interval_dist(owner, value_range, num_bins, transform)
    return None, EmpiricalQuantileDist(num_quantiles=check_count(owner, num_bins))


def check_count(owner: str, num_bins: Any) -> int:
    """The number of bins or quantiles."""
    if isinstance(num_bins, bool) or not isinstance(num_bins, int | np.integer) or num_bins < 1:
        raise TypeError(f"{owner}: expected num_bins to be a positive integer, got {num_bins!r}. Fix: 51 is customary.")
    return int(num_bins)
