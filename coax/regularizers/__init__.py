"""Regularizers: terms that keep a policy from becoming too sure, or from leaving a prior."""

from ._base import Regularizer, check_regularizer

__all__ = ("Regularizer", "check_regularizer")
