"""Reinforcement learning in JAX: the concepts as small objects, the training loop yours."""

from __future__ import annotations

import importlib
from typing import Any

from . import (
    approximators,
    checkpoint,
    envs,
    errors,
    experience_replay,
    model_updaters,
    normalizers,
    plotting,
    policy_objectives,
    proba_dists,
    regularizers,
    returns,
    reward_tracing,
    sinks,
    td_learning,
    training,
    typing,
    utils,
    value_losses,
    value_transforms,
    wrappers,
)
from ._absent import absent as _absent
from ._entries import Number, Rng
from ._lifting import check, cond, jit, scan, transform
from ._stateful import Stateful
from ._version import __version__ as __version__
from .approximators import (
    ActionMask,
    BoltzmannPolicy,
    Ensemble,
    EpsilonGreedy,
    Policy,
    Q,
    RandomPolicy,
    RewardFunction,
    StochasticQ,
    StochasticRewardFunction,
    StochasticTransitionModel,
    StochasticV,
    SuccessorStateQ,
    TransitionModel,
    V,
)
from .checkpoint import load, save
from .normalizers import ObservationNormalizer, RewardNormalizer
from .training import render_episode
from .utils import safe_sample, unvectorize

__all__ = (
    "ActionMask",
    "BoltzmannPolicy",
    "Ensemble",
    "EpsilonGreedy",
    "Number",
    "ObservationNormalizer",
    "Policy",
    "Q",
    "RandomPolicy",
    "RewardFunction",
    "RewardNormalizer",
    "Rng",
    "Stateful",
    "StochasticQ",
    "StochasticRewardFunction",
    "StochasticTransitionModel",
    "StochasticV",
    "SuccessorStateQ",
    "TransitionModel",
    "V",
    "approximators",
    "check",
    "checkpoint",
    "cond",
    "envs",
    "errors",
    "experience_replay",
    "jit",
    "load",
    "model_updaters",
    "normalizers",
    "plotting",
    "policy_objectives",
    "proba_dists",
    "regularizers",
    "render_episode",
    "returns",
    "reward_tracing",
    "safe_sample",
    "save",
    "scan",
    "sinks",
    "td_learning",
    "training",
    "transform",
    "typing",
    "unvectorize",
    "utils",
    "value_losses",
    "value_transforms",
    "wrappers",
)

# Parts that are loaded when they are first used: name, module, and the name in it (None: the module itself).
_LAZY: dict[str, tuple[str, str | None]] = {}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise _absent("coax", name)
    module_name, attribute = _LAZY[name]
    module = importlib.import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
