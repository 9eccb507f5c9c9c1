"""Reinforcement learning in JAX: the concepts as small objects, the training loop yours."""

from __future__ import annotations

import importlib
from typing import Any

from . import (
    envs,
    proba_dists,
    returns,
    typing,
    utils,
    value_losses,
    value_transforms,
)
from ._lifting import cond, jit, scan, transform
from ._stateful import Stateful
from .approximators import BoltzmannPolicy, EpsilonGreedy, Q, RandomPolicy, V
from .utils import safe_sample

__version__ = "0.2.0"

__all__ = (
    "BoltzmannPolicy",
    "EpsilonGreedy",
    "Q",
    "RandomPolicy",
    "Stateful",
    "V",
    "cond",
    "envs",
    "jit",
    "proba_dists",
    "returns",
    "safe_sample",
    "scan",
    "transform",
    "typing",
    "utils",
    "value_losses",
    "value_transforms",
)

# Parts that are loaded when they are first used: name, module, and the name in it (None: the module itself).
_LAZY: dict[str, tuple[str, str | None]] = {}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'coax' has no attribute {name!r}")
    module_name, attribute = _LAZY[name]
    module = importlib.import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
