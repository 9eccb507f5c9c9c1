"""The pure part of TD learning: target, loss, gradient step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .._donation import InPlace
from .._metrics import Metrics
from .._sharing import Rule
from .._updater import fill_dead_rows, gradient_step, merge
from ..approximators import Plan
from ..utils import get_grads_diagnostics
from ._heads import Head

__all__ = ("Batch", "Nets", "TDRule", "Wiring")


class Batch(NamedTuple):
    """The fields of a transition batch that an update needs; what it does not need is None."""

    S: Any
    A: Any
    Rn: Any
    In: Any
    S_next: Any
    A_next: Any
    logP_next: Any
    W: Any
    extra_info: Any


class Nets(NamedTuple):
    """What a backup may look at, all with their states filled in."""

    head: Head
    main: Any
    targ: Any
    pi: Any
    own: dict[str, Any]


class Wiring(NamedTuple):
    """The ingredients of a TD updater. Equal wirings share one rule, hence all compiled functions.

    Attributes
    ----------
    name : str
        Prefix of the metrics.
    backup : callable
        ``backup(nets, batch) -> output to bootstrap from``, in the original space.
    head : Head
    main, targ : Plan
        What learns, and what the target looks at.
    pi, regularizer : Plan or None
    own : int
        Position of the updater's own state.
    loss_function : callable
    optimizer : optax.GradientTransformation
    clip_weights : (float, float) or None
    reports_targ : bool
        Whether the metrics hold the TD error of what the target looks at.
    """

    name: str
    backup: Callable
    head: Head
    main: Plan
    targ: Plan
    pi: Plan | None
    regularizer: Plan | None
    own: int
    loss_function: Callable
    optimizer: optax.GradientTransformation
    clip_weights: tuple[float, float] | None
    reports_targ: bool

    @property
    def mutable(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """Which entries of which states an update replaces in place."""
        return (self.own, ("optimizer_state",)), (self.main.at, ("params", "function_state"))

    @property
    def uses_rng(self) -> bool:
        """Whether anything involved draws random numbers."""
        plans = [plan for plan in (self.main, self.targ, self.pi, self.regularizer) if plan is not None]
        return any(plan.rule.uses_rng for plan in plans)


class TDRule(Rule):
    """Pure functions of the states of an updater and of all that it refers to."""

    def __init__(self, wiring: Wiring):
        self.wiring = wiring
        self.step = InPlace(functools.partial(self._step, with_td_error=False))
        self.step_with_td_error = InPlace(functools.partial(self._step, with_td_error=True))
        self.gradients = jax.jit(self._gradients)
        self.apply = InPlace(self._apply)
        self.td_error = jax.jit(self._td_error)

    # --- target

    def target(self, states: list, batch: Batch, live: Any, key: Any) -> tuple[Any, dict[str, jax.Array]]:
        """What to learn towards, in the space of the main function's output; and what the regularizer reports."""
        w = self.wiring
        nets = Nets(
            w.head,
            w.main.bind(states, key),
            w.targ.bind(states, key),
            None if w.pi is None else w.pi.bind(states, key),
            states[w.own],
        )
        out_next, report = w.backup(nets, batch), {}
        if batch.logP_next is not None:
            # a row that was truncated without a next action has no target: what is not finite is reported
            marked = jnp.isnan(batch.logP_next) & (batch.In != 0)
            out_next = w.head.shift(out_next, jnp.where(marked, jnp.nan, 0.0))
        if w.regularizer is not None:
            # the term belongs to the state that is bootstrapped from
            term, report = w.regularizer.bind(states, key).evaluate(batch.S_next, live)
            out_next = w.head.shift(out_next, -term)
        target = w.head.bootstrap(batch.Rn, batch.In, out_next, w.main.rule.value_transform)
        return jax.lax.stop_gradient(target), report

    # --- one update

    def _step(self, given: list, rest: list, batch: Batch, with_td_error: bool) -> tuple:
        states = merge(self.wiring.mutable, given, rest)
        grads, function_state, report, td_error = self._differentiate(states, batch)
        new = self._advance(states, grads, function_state, self._weighted(batch)[1].live.any())
        own = states[self.wiring.own]
        if self.wiring.uses_rng:
            new[0]["rng"] = own["rng"].advanced()
        return (new, Metrics.stacked(report), td_error) if with_td_error else (new, Metrics.stacked(report))

    def _gradients(self, states: list, batch: Batch) -> tuple[Any, Any, Metrics, jax.Array]:
        grads, function_state, report, td_error = self._differentiate(states, batch)
        return grads, function_state, Metrics.stacked(report), td_error

    def _apply(self, given: list, rest: list, grads: Any, function_state: Any) -> tuple[list]:
        return (self._advance(merge(self.wiring.mutable, given, rest), grads, function_state),)

    def _advance(self, states: list, grads: Any, function_state: Any, some: Any = True) -> list[dict[str, Any]]:
        own, main = states[self.wiring.own], states[self.wiring.main.at]
        params, optimizer_state, flag, fine = gradient_step(
            self.wiring.optimizer, grads, main["params"], own["optimizer_state"], own["not_finite"], some
        )
        kept = jax.tree.map(lambda new, old: jnp.where(fine, new, old), function_state, main["function_state"])
        return [
            {"optimizer_state": optimizer_state, "not_finite": flag},
            {"params": params, "function_state": kept},
        ]

    def _td_error(self, states: list, batch: Batch) -> jax.Array:
        batch, weights = self._weighted(batch)
        key, main = self._key(states), states[self.wiring.main.at]
        target, _ = self.target(states, batch, weights.live, key)
        out, _ = self._predict(main["params"], main["function_state"], batch, key, weights)
        return self._errors(target, out, weights)

    # --- pieces

    def _differentiate(self, states: list, batch: Batch) -> tuple[Any, Any, dict[str, jax.Array], jax.Array]:
        """Gradients, new function state, scalars to report, TD errors f32[B]."""
        w = self.wiring
        batch, weights = self._weighted(batch)
        key, main = self._key(states), states[w.main.at]
        target, report = self.target(states, batch, weights.live, key)

        def cost(params: Any) -> tuple[jax.Array, tuple]:
            out, function_state = self._predict(params, main["function_state"], batch, key, weights)
            return self._mean(w.head.loss(w.loss_function, target, out, weights.w), weights), (out, function_state)

        (loss, (out, function_state)), grads = jax.value_and_grad(cost, has_aux=True)(main["params"])
        td_error = self._errors(target, out, weights)
        mine = {
            "loss": loss,
            "td_error": self._mean(jnp.mean(weights.w * td_error), weights),
            **get_grads_diagnostics(grads, key_prefix="grads_"),
        }
        if w.reports_targ:
            td_error_targ = (
                td_error if w.targ == w.main else self._errors(target, self._targ(states, batch, key), weights)
            )
            mine["td_error_targ"] = self._mean(jnp.mean(weights.w * td_error_targ), weights)
        return grads, function_state, {f"{w.name}/{name}": x for name, x in {**mine, **report}.items()}, td_error

    def _predict(self, params: Any, function_state: Any, batch: Batch, key: Any, weights: Weights) -> tuple[Any, Any]:
        rule = self.wiring.main.rule
        own = jax.random.fold_in(key, self.wiring.own) if rule.uses_rng else None  # no other object has this position
        out, new = rule.at(params, function_state, own, batch.S, batch.A, is_training=True, live=weights.live)
        some = weights.live.any()
        return out, jax.tree.map(lambda a, b: jnp.where(some, a, b), new, function_state)

    def _targ(self, states: list, batch: Batch, key: Any) -> Any:
        """What the target looks at says of the present, in the space of the main function's output."""
        w = self.wiring
        value = w.targ.bind(states, key).value(batch.S, batch.A)
        return w.head.bootstrap(jnp.zeros_like(batch.Rn), jnp.ones_like(batch.In), value, w.main.rule.value_transform)

    def _errors(self, target: Any, out: Any, weights: Weights) -> jax.Array:
        """Minus the gradient of the unweighted loss per sample: target minus output for the squared loss."""
        head = self.wiring.head
        slope = jax.grad(lambda y: head.loss(self.wiring.loss_function, target, y))(out)
        return jnp.where(weights.live, -slope * weights.live.shape[0], 0.0)

    def _weighted(self, batch: Batch) -> tuple[Batch, Weights]:
        """The weights, and the batch with rows of weight 0 filled with something harmless."""
        w = jnp.asarray(batch.W)
        w = w.astype(jnp.result_type(w, jnp.float32))
        if self.wiring.clip_weights is not None:
            w = jnp.clip(w, *self.wiring.clip_weights)
        live = w != 0
        rows = batch._replace(W=None)
        return fill_dead_rows(live, rows), Weights(w, live, live.shape[0] / jnp.maximum(live.sum(), 1))

    @staticmethod
    def _mean(x: jax.Array, weights: Weights) -> jax.Array:
        """A mean over all rows as one over the live rows."""
        return x * weights.share

    def _key(self, states: list) -> Any:
        return states[self.wiring.own]["rng"].next_key if self.wiring.uses_rng else None


class Weights(NamedTuple):
    """Sample weights.

    Attributes
    ----------
    w : f32[B]
    live : bool[B]
        Rows that count at all.
    share : f32[]
        All rows over live rows: what turns a mean over all into a mean over those that count.
    """

    w: jax.Array
    live: jax.Array
    share: jax.Array
