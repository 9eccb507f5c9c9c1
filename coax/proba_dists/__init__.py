"""Probability distributions over the elements of gymnasium spaces."""

from ._categorical import CategoricalDist

__all__ = ("CategoricalDist",)
