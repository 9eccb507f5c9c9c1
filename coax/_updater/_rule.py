"""The pure part that all updaters share: from a loss to new parameters."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._donation import InPlace
from .._metrics import Metrics
from .._sharing import Rule
from ..approximators import Plan
from ..utils import get_grads_diagnostics
from ._gradient_step import fill_dead_rows, gradient_step
from ._in_place import merge

__all__ = ("Batch", "Core", "GradientRule", "Loss", "Weights")


class Batch(NamedTuple):
    """The fields of a transition batch that an update needs; what it does not need is None."""

    S: Any = None
    A: Any = None
    logP: Any = None
    Rn: Any = None
    In: Any = None
    S_next: Any = None
    A_next: Any = None
    logP_next: Any = None
    W: Any = None
    Adv: Any = None
    extra_info: Any = None


class Core(NamedTuple):
    """What every updater is wired to. Equal wirings share one rule, hence all compiled functions.

    Attributes
    ----------
    name : str
        Prefix of the metrics.
    main : Plan
        What learns.
    own : int
        Position of the updater's own state.
    optimizer : optax.GradientTransformation
    clip_weights : (float, float) or None
    uses_rng : bool
        Whether anything involved draws random numbers.
    """

    name: str
    main: Plan
    own: int
    optimizer: Any  # init and update, as of an optax.GradientTransformation
    clip_weights: tuple[float, float] | None
    uses_rng: bool

    @property
    def mutable(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """Which entries of which states an update replaces in place."""
        return (self.own, ("optimizer_state",)), (self.main.at, ("params", "function_state"))


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

    def mean(self, x: jax.Array) -> jax.Array:
        """The mean f32[] of ``w * x`` over the rows that count, of numbers f32[..., B]."""
        return jnp.mean(jnp.where(self.live, self.w * x, 0.0)) * self.share


class Loss(NamedTuple):
    """What an algorithm does with a batch.

    Attributes
    ----------
    cost : callable
        ``cost(params) -> (f32[], (function_state, aux))``: what is differentiated. Whatever needs no gradient (a
        target) is computed before.
    finish : callable
        ``finish(aux) -> (report, each)``: scalars f32[] to report under their names, and a number per row f32[B].
    """

    cost: Callable[..., Any]
    finish: Callable[..., Any]


class GradientRule(Rule):
    """Pure functions of the states of an updater and of all that it refers to; a subclass defines :meth:`loss`."""

    def __init__(self, core: Core):
        self.core = core
        self.step = InPlace(functools.partial(self._step, with_each=False), f"{core.name}.update")
        self.step_with_each = InPlace(functools.partial(self._step, with_each=True), f"{core.name}.update")
        self.gradients = jax.jit(self._gradients)
        self.apply = InPlace(self._apply, f"{core.name}.apply_grads")

    @abc.abstractmethod
    def loss(self, states: list, batch: Batch, weights: Weights, key: Any) -> Loss:
        """The loss of a batch whose rows of weight 0 are filled with something harmless."""

    # --- one update

    def _step(self, given: list, rest: list, batch: Batch, with_each: bool) -> tuple:
        states = merge(self.core.mutable, given, rest)
        grads, function_state, report, each = self._differentiate(states, batch)
        new = self._advance(states, grads, function_state, self.weighted(batch)[1].live.any())
        new = self._renewed(states, new)
        return (new, Metrics.stacked(report), each) if with_each else (new, Metrics.stacked(report))

    def _gradients(self, states: list, batch: Batch) -> tuple[Any, Any, Metrics, Any]:
        grads, function_state, report, each = self._differentiate(states, batch)
        return grads, function_state, Metrics.stacked(report), each

    def _apply(self, given: list, rest: list, grads: Any, function_state: Any) -> tuple[list]:
        states = merge(self.core.mutable, given, rest)
        return (self._renewed(states, self._advance(states, grads, function_state)),)

    def _renewed(self, states: list, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """New entries, with the next random numbers if anything draws."""
        if self.core.uses_rng:
            new[0]["rng"] = states[self.core.own]["rng"].advanced()
        return new

    def _differentiate(self, states: list, batch: Batch) -> tuple[Any, Any, dict[str, jax.Array], Any]:
        """Gradients, new function state, scalars to report, and a number per row."""
        batch, weights = self.weighted(batch)
        loss = self.loss(states, batch, weights, self.key(states))
        (value, (function_state, aux)), grads = jax.value_and_grad(loss.cost, has_aux=True)(self.main(states)["params"])
        report, each = loss.finish(aux)
        mine = {"loss": value, **report, **get_grads_diagnostics(grads, key_prefix="grads_")}
        return grads, function_state, {f"{self.core.name}/{name}": x for name, x in mine.items()}, each

    def _advance(self, states: list, grads: Any, function_state: Any, some: Any = True) -> list[dict[str, Any]]:
        own, main = states[self.core.own], self.main(states)
        params, optimizer_state, flag, fine = gradient_step(
            self.core.optimizer, grads, main["params"], own["optimizer_state"], own["not_finite"], some
        )
        kept = jax.tree.map(lambda new, old: jnp.where(fine, new, old), function_state, main["function_state"])
        return [
            {"optimizer_state": optimizer_state, "not_finite": flag},
            {"params": params, "function_state": kept},
        ]

    # --- pieces for the losses

    def main(self, states: list) -> dict[str, Any]:
        """The state of what learns."""
        return states[self.core.main.at]

    def predict(self, params: Any, states: list, batch: Batch, weights: Weights, key: Any, A: Any = None) -> tuple:
        """Raw output of what learns in training mode, leaves [B, ...], and its new function state."""
        rule, function_state = self.core.main.rule, self.main(states)["function_state"]
        own = jax.random.fold_in(key, self.core.own) if rule.uses_rng else None  # no other object has this position
        out, new = rule.at(params, function_state, own, batch.S, A, is_training=True, live=weights.live)
        some = weights.live.any()
        return out, jax.tree.map(lambda a, b: jnp.where(some, a, b), new, function_state)

    def weighted(self, batch: Batch) -> tuple[Batch, Weights]:
        """The weights, and the batch with rows of weight 0 filled with something harmless."""
        w = jnp.asarray(batch.W)
        w = w.astype(jnp.result_type(w, jnp.float32))
        if self.core.clip_weights is not None:
            w = jnp.clip(w, *self.core.clip_weights)
        live = w != 0
        rows = batch._replace(W=None)
        return fill_dead_rows(live, rows), Weights(w, live, live.shape[0] / jnp.maximum(live.sum(), 1))

    def key(self, states: list) -> Any:
        """The key of this update, None if nothing draws."""
        return states[self.core.own]["rng"].next_key if self.core.uses_rng else None
