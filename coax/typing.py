"""Names for types, and the roles that objects play.

Axis letters in all docstrings: B batch, T time, E environments, A actions, K bins or quantiles, N members of an
ensemble. A shape reads ``f32[B, A]``; ``...`` stands for any number of leading axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np

from ._metrics import Metrics

__all__ = (
    "AbstractPolicy",
    "AbstractQ",
    "AbstractRewardFunction",
    "AbstractStochastic",
    "AbstractTransitionModel",
    "AbstractV",
    "Action",
    "Array",
    "Batch",
    "Key",
    "LogPropensity",
    "Metrics",
    "Observation",
    "Params",
    "Policy",
    "Preprocessor",
    "PyTree",
    "Shape",
    "SpaceElement",
)

Array: TypeAlias = jax.Array | np.ndarray
Key: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Params: TypeAlias = Mapping[str, Any]
Shape: TypeAlias = tuple[int, ...]
Preprocessor: TypeAlias = Callable[[Key | None, Any], Any]

Batch = Sequence
Observation = TypeVar("Observation")
Action = TypeVar("Action")
LogPropensity = TypeVar("LogPropensity")
SpaceElement: TypeAlias = Observation | Action
Policy: TypeAlias = Callable[[Observation, bool], Action | tuple[Action, LogPropensity]]


# The roles are plain marker classes: a test of type needs no import of the classes that play them.


class AbstractV:
    """A state value function: ``v(s)``."""


class AbstractQ:
    """A function of state and action: ``q(s, a)``, or ``q(s)`` for all discrete actions."""


class AbstractPolicy:
    """A policy with distribution parameters, which an updater can evaluate: ``pi(s)``."""


class AbstractStochastic:
    """A function whose output is a probability distribution: it has ``mean``, ``mode`` and ``dist_params``."""


class AbstractTransitionModel:
    """A model of the next state: ``p(s, a)``."""


class AbstractRewardFunction:
    """A model of the reward: ``r(s, a)``."""
