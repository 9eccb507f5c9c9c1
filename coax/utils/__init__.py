"""Small tools, one concept per file: spaces, preprocessors, trees, schedules, noise, segment trees, storage."""

from __future__ import annotations

import importlib
from typing import Any

from .._absent import absent as _absent
from ._activations import clipped_logit, double_relu
from ._atomic import replacing
from ._batching import batch_to_single, chunks_pow2, idx, single_to_batch, unvectorize
from ._casting import cast_to_space, make_cast
from ._checks import at_least_one, check_array, isscalar
from ._diagnostics import get_grads_diagnostics, get_magnitude_quantiles
from ._docstrings import docstring
from ._elements import make_element
from ._env_attrs import get_env_attr, has_env_attr, steps_itself
from ._frames import diff_transform, diff_transform_matrix
from ._generators import generator_from_array, generator_to_array
from ._jit import JittedFunc, jit
from ._logging import enable_logging
from ._noise import OrnsteinUhlenbeckNoise
from ._preprocessors import check_preprocessors, default_preprocessor
from ._pretty import pretty_print, pretty_repr
from ._quantiles import quantile_cos_embedding, quantiles, quantiles_uniform
from ._reload import reload_recursive
from ._roles import is_policy, is_qfunction, is_reward_function, is_stochastic, is_transition_model, is_vfunction
from ._rows import Rows
from ._sampling import safe_sample
from ._schedules import StepwiseLinearFunction
from ._segment_tree import MaxTree, MinTree, SegmentTree, SumTree
from ._serialize import dump, dumps, load, loads
from ._shared_params import sync_shared_params
from ._spaces import leading_axes, single_space, space_key
from ._ties import argmax, argmin
from ._trees import merge_dicts, stack_trees, tree_ravel

# Old names of this package whose implementation lives on a higher floor: the only exception to "imports go down".
_HIGHER = {
    "generate_gif": "coax.training:generate_gif",
    "get_transition_batch": "coax.reward_tracing:get_transition_batch",
    "render_episode": "coax.training:render_episode",
}

__all__ = (
    "JittedFunc",
    "MaxTree",
    "MinTree",
    "OrnsteinUhlenbeckNoise",
    "Rows",
    "SegmentTree",
    "StepwiseLinearFunction",
    "SumTree",
    "argmax",
    "argmin",
    "at_least_one",
    "batch_to_single",
    "cast_to_space",
    "check_array",
    "check_preprocessors",
    "chunks_pow2",
    "clipped_logit",
    "default_preprocessor",
    "diff_transform",
    "diff_transform_matrix",
    "docstring",
    "double_relu",
    "dump",
    "dumps",
    "enable_logging",
    "generate_gif",
    "generator_from_array",
    "generator_to_array",
    "get_env_attr",
    "get_grads_diagnostics",
    "get_magnitude_quantiles",
    "get_transition_batch",
    "has_env_attr",
    "idx",
    "is_policy",
    "is_qfunction",
    "is_reward_function",
    "is_stochastic",
    "is_transition_model",
    "is_vfunction",
    "isscalar",
    "jit",
    "leading_axes",
    "load",
    "loads",
    "make_cast",
    "make_element",
    "merge_dicts",
    "pretty_print",
    "pretty_repr",
    "quantile_cos_embedding",
    "quantiles",
    "quantiles_uniform",
    "reload_recursive",
    "render_episode",
    "replacing",
    "safe_sample",
    "single_space",
    "single_to_batch",
    "space_key",
    "stack_trees",
    "steps_itself",
    "sync_shared_params",
    "tree_ravel",
    "unvectorize",
)


def __getattr__(name: str) -> Any:
    if name not in _HIGHER:
        raise _absent("coax.utils", name)
    module, _, attribute = _HIGHER[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
