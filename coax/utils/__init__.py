"""Small tools, one concept per file: spaces, preprocessors, trees, schedules, noise, segment trees, storage."""

from __future__ import annotations

from ._casting import cast_to_space, make_cast
from ._jit import JittedFunc, jit
from ._preprocessors import check_preprocessors, default_preprocessor
from ._sampling import safe_sample
from ._spaces import leading_axes, space_key
from ._ties import argmax, argmin

__all__ = (
    "JittedFunc",
    "argmax",
    "argmin",
    "cast_to_space",
    "check_preprocessors",
    "default_preprocessor",
    "jit",
    "leading_axes",
    "make_cast",
    "safe_sample",
    "space_key",
)
