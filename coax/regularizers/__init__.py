"""Regularizers: terms that keep a policy from becoming too sure, or from leaving a prior."""

from ._base import Regularizer

__all__ = ("Regularizer",)
