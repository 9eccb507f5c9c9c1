"""The pure part of the updater of models."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._updater import Batch, Core, GradientRule, Loss, Weights, fill_dead_rows
from ..approximators import Plan
from ._losses import raw

__all__ = ("ModelRule", "Parts")


class Parts(NamedTuple):
    """What makes an updater of models what it is.

    Attributes
    ----------
    goal, compare : callable
        What the model is compared with, and how.
    loss_function : callable or None
    regularizer : Plan or None
    needs_next : bool
        Whether rows without a next state are left out.
    """

    goal: Callable[..., Any]
    compare: Callable[..., Any]
    loss_function: Callable[..., Any] | None
    regularizer: Plan | None
    needs_next: bool


class ModelRule(GradientRule):
    """Pure functions of the states of an updater of models and of its model."""

    def __init__(self, core: Core, parts: Parts):
        super().__init__(core)
        self.parts = parts

    def loss(self, states: list, batch: Batch, weights: Weights, key: Any) -> Loss:
        """How far the model is off, and the regularizer."""
        core, parts = self.core, self.parts
        own = None if key is None else jax.random.fold_in(key, core.own + 1)
        goal = jax.lax.stop_gradient(parts.goal(core.main.rule, batch, own))

        def cost(params: Any) -> tuple[jax.Array, tuple]:
            out, function_state = self.predict(params, states, batch, weights, key, batch.A)
            bare = parts.compare(core.main.rule, parts.loss_function, goal, out, weights.w, own) * weights.share
            report = {"loss_bare": bare}
            if parts.regularizer is None:
                return bare, (function_state, report)
            now = list(states)
            now[core.main.at] = {**self.main(states), "params": params}
            term, more = parts.regularizer.bind(now, key).at_the_start(batch, weights.live)
            return bare + weights.mean(term), (function_state, {**report, **more})

        return Loss(cost, lambda report: (report, None))

    def weighted(self, batch: Batch) -> tuple[Batch, Weights]:
        """The weights; 0 for rows without a next state, if that is what is learned."""
        batch, weights = super().weighted(batch)
        if not self.parts.needs_next:
            return batch, weights
        live = weights.live & has_next(batch)
        share = live.shape[0] / jnp.maximum(live.sum(), 1)
        return fill_dead_rows(live, batch), Weights(jnp.where(live, weights.w, 0.0), live, share)


def has_next(batch: Batch) -> jax.Array:
    """Whether a row holds the next observation, bool[B]: at the end of an episode a tracer may not know it."""

    def same(x: Any, y: Any) -> jax.Array:
        return (jnp.asarray(x) == jnp.asarray(y)).reshape(len(x), -1).all(axis=-1)

    unchanged = jax.tree.leaves(jax.tree.map(same, raw(batch.S), raw(batch.S_next)))
    return (batch.In != 0) | ~functools.reduce(operator.and_, unchanged)
