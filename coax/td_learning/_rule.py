"""The pure part of TD learning: the target, and the loss towards it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._updater import Batch, Core, GradientRule, Loss, Weights
from ..approximators import Plan
from ._backups import Nets
from ._heads import Head

__all__ = ("Parts", "TDRule")


class Parts(NamedTuple):
    """What makes a TD updater what it is.

    Attributes
    ----------
    backup : callable
        ``backup(nets, batch) -> outcome`` to bootstrap from, in the original space.
    head : Head
    targs : tuple of Plan
        What the target looks at.
    pis : tuple of Plan
    regularizer : Plan or None
    loss_function : callable
    members : int or None
        How many functions learn at once, if it is an ensemble.
    clips_change : bool
        Whether a value that moved far from the old one in ``extra_info['V']`` gets no better for it.
    reports_targ : bool
        Whether the metrics hold the TD error of what the target looks at.
    """

    backup: Callable[..., Any]
    head: Head
    targs: tuple[Plan, ...]
    pis: tuple[Plan, ...]
    regularizer: Plan | None
    loss_function: Callable[..., Any]
    members: int | None
    clips_change: bool
    reports_targ: bool


class TDRule(GradientRule):
    """Pure functions of the states of a TD updater and of all that it refers to."""

    def __init__(self, core: Core, parts: Parts):
        super().__init__(core)
        self.parts = parts
        self.td_error = jax.jit(self._td_error)

    def target(self, states: list, batch: Batch, live: Any, key: Any) -> tuple[Any, dict[str, jax.Array]]:
        """What to learn towards, in the space of the main function's output; and what the regularizer reports."""
        core, parts = self.core, self.parts
        nets = Nets(
            head=parts.head,
            main=core.main.bind(states, key),
            targs=tuple(plan.bind(states, key) for plan in parts.targs),
            pis=tuple(plan.bind(states, key) for plan in parts.pis),
            own=states[core.own],
            key=None if key is None else jax.random.fold_in(key, core.own + 1),
        )
        outcome, report, rn = parts.backup(nets, batch), {}, batch.Rn
        if batch.logP_next is not None:
            # a row that was truncated without a next action has no target: what is not finite is reported
            marked = jnp.isnan(batch.logP_next) & (batch.In != 0)
            outcome = parts.head.shift(outcome, jnp.where(marked, jnp.nan, 0.0))
        if parts.regularizer is not None:
            regularizer = parts.regularizer.bind(states, key)
            term, report = regularizer.at_the_end(batch, live)
            if regularizer.is_a_return:
                rn = rn - term
            else:  # the term belongs to the state that is bootstrapped from
                outcome = parts.head.shift(outcome, -term)
        target = parts.head.target(rn, batch.In, outcome, core.main.rule.value_transform)
        return jax.lax.stop_gradient(target), report

    def loss(self, states: list, batch: Batch, weights: Weights, key: Any) -> Loss:
        """The loss towards the target."""
        target, report = self.target(states, batch, weights.live, key)

        def cost(params: Any) -> tuple[jax.Array, tuple]:
            out, function_state = self.predict(params, states, batch, weights, key, batch.A)
            if self.parts.clips_change:
                loss = self._clipped(states, target, out, batch, weights)
            else:
                loss = self._each_member(lambda out: self._compare(target, out, weights.w), out).sum()
            return loss * weights.share, (function_state, out)

        def finish(out: Any) -> tuple[dict[str, jax.Array], jax.Array]:
            errors = self._errors(target, self._centers(out), weights)
            mine = {"td_error": weights.mean(errors)}
            if self.parts.reports_targ:
                same = self.parts.targs == (self.core.main,)
                errors_targ = errors if same else self._errors(target, self._present(states, batch, key), weights)
                mine["td_error_targ"] = weights.mean(errors_targ)
            return {**mine, **report}, errors

        return Loss(cost, finish)

    def _compare(self, target: Any, out: Any, w: Any) -> jax.Array:
        return self.parts.head.loss(self.core.main.rule, self.parts.loss_function, target, out, w)

    def _clipped(self, states: list, target: jax.Array, y: jax.Array, batch: Batch, weights: Weights) -> jax.Array:
        """The larger of the losses of a value and of the same kept near the old one, mean over the batch."""
        c = states[self.core.own]["clip_change"]
        old = self.core.main.rule.value_transform.transform_func(batch.extra_info["V"])
        each = jax.vmap(lambda goal, y: self._compare(goal[None], y[None], None))
        return jnp.mean(weights.w * jnp.maximum(each(target, y), each(target, old + jnp.clip(y - old, -c, c))))

    def _each_member(self, func: Callable[..., Any], out: Any) -> jax.Array:
        return func(out) if self.parts.members is None else jax.vmap(func)(out)

    def _td_error(self, states: list, batch: Batch) -> jax.Array:
        batch, weights = self.weighted(batch)
        key = self.key(states)
        target, _ = self.target(states, batch, weights.live, key)
        out, _ = self.predict(self.main(states)["params"], states, batch, weights, key, batch.A)
        return self._errors(target, self._centers(out), weights)

    def _centers(self, out: Any) -> jax.Array:
        """Expectations f32[..., B] of raw outputs, in the transformed space."""
        return self.parts.head.center(self.core.main.rule, out)

    def _errors(self, target: Any, y: jax.Array, weights: Weights) -> jax.Array:
        """Minus the gradient of the unweighted loss per sample: target minus prediction for the squared loss.

        Of laws it is taken at their expectations; of an ensemble it is the mean over its members.
        """
        goal, loss_function = self.parts.head.value(target), self.parts.loss_function
        slope = jax.grad(lambda y: loss_function(goal, y))
        slopes = slope(y) if y.ndim == 1 else jnp.mean(jax.vmap(slope)(y), axis=0)
        return jnp.where(weights.live, -slopes * weights.live.shape[0], 0.0)

    def _present(self, states: list, batch: Batch, key: Any) -> jax.Array:
        """What the target looks at says of the present, f32[..., B], in the transformed space of what learns."""
        outcome = self.parts.targs[0].bind(states, key).outcome(batch.S, batch.A)
        return self.core.main.rule.value_transform.transform_func(self.parts.head.value(outcome))
