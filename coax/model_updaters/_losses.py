"""What a model is compared with, and how: one pair of functions per kind of model.

A *goal* is what the model should say, as ``goal(rule, batch, key)`` makes it of a batch; a *comparison* is
``compare(rule, loss_function, goal, out, w, key) -> f32[]``, the weighted mean over the batch for the raw output `out`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from .._updater import Batch
from ..approximators._preprocessing import Prepared
from ..value_losses import weighted_mean

__all__ = (
    "compare_directly",
    "compare_likelihood",
    "compare_sample",
    "compare_sampled_number",
    "next_input",
    "next_variate",
    "raw",
    "reward",
)


# --- goals ------------------------------------------------------------------------------------------------------------


def next_input(rule: Any, batch: Batch, key: Any) -> Any:
    """The next observation as the model would see it, leaves [B, ...]."""
    return rule.forward.observed(key, batch.S_next)


def next_variate(rule: Any, batch: Batch, key: Any) -> Any:
    """The next observation as a variate of the model's distribution, leaves [B, ...]."""
    return rule.dist.from_element(raw(batch.S_next))


def reward(rule: Any, batch: Batch, key: Any) -> jax.Array:
    """The reward f32[B], transformed."""
    return rule.value_transform.transform_func(batch.Rn)


def raw(S: Any) -> Any:
    """Observations without what host-only preprocessors made of them."""
    return S.raw if isinstance(S, Prepared) else S


# --- comparisons ------------------------------------------------------------------------------------------------------


def compare_directly(rule: Any, loss_function: Callable[..., Any], goal: Any, out: Any, w: Any, key: Any) -> jax.Array:
    """The loss, summed over the leaves."""
    pairs = zip(jax.tree.leaves(goal), jax.tree.leaves(out), strict=True)
    return sum(loss_function(y_true, y_pred, w) for y_true, y_pred in pairs)


def compare_likelihood(rule: Any, loss_function: None, goal: Any, out: Any, w: Any, key: Any) -> jax.Array:
    """Minus the log-probability of the goal: of a variate, or of the number that a bin stands for."""
    return weighted_mean(-rule.dist.log_proba(out, _as_variate(rule, goal)), w)


def compare_sample(rule: Any, loss_function: Callable[..., Any], goal: Any, out: Any, w: Any, key: Any) -> jax.Array:
    """The loss of a reparametrised sample, summed over the leaves."""
    return compare_directly(rule, loss_function, goal, rule.dist.sample(out, key), w, key)


def compare_sampled_number(
    rule: Any, loss_function: Callable[..., Any], goal: Any, out: Any, w: Any, key: Any
) -> jax.Array:
    """The loss of the number that a reparametrised sample stands for."""
    return loss_function(goal, rule.dist.to_element(rule.dist.sample(out, key), key), w)


def _as_variate(rule: Any, goal: Any) -> Any:
    return rule.dist.from_element(goal) if rule.kind == "values" else goal
