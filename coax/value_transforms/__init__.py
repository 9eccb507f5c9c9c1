"""Invertible transforms of values, for learning in a space where returns are of a moderate size."""

from ._log_transform import LogTransform
from ._value_transform import IDENTITY, ValueTransform, as_value_transform

__all__ = ("IDENTITY", "LogTransform", "ValueTransform", "as_value_transform")
