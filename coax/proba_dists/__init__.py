"""Probability distributions over the elements of gymnasium spaces: pure functions, bundled."""

from ._base import BaseProbaDist
from ._categorical import CategoricalDist

__all__ = ("BaseProbaDist", "CategoricalDist")
