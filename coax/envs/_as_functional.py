"""Which environments are functional, and how to make others so."""

from __future__ import annotations

from typing import Any

from ._functional import FunctionalEnv

__all__ = ("as_functional",)


def as_functional(env: Any, params: Any = None) -> FunctionalEnv:
    """A functional environment."""
    if isinstance(env, FunctionalEnv):
        return env
    raise TypeError(f"env: expected a functional environment, got {type(env).__name__}.")
