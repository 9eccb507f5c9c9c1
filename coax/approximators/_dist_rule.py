"""The pure functions of a forward pass whose output is read through a distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from .._entries import Rng
from .._sharing import Rule
from ..proba_dists import BaseProbaDist, Particles
from ..value_transforms import ValueTransform
from ._preprocessing import Prepared, Preprocessor
from ._rule import FunctionRule

__all__ = ("KEYLESS", "BoundDist", "DistRule", "choose_action", "takes_variates")

KEYLESS = frozenset(("dist_params", "expectation"))  # calls that draw nothing themselves: a key that goes in costs time


class DistRule(Rule):
    """What the output of a forward pass means as a distribution, in pure functions of states and arrays.

    Batches here have one leading axis B and hold raw elements of the spaces.

    Parameters
    ----------
    forward : FunctionRule
        Its raw output are distribution parameters, leaves [B, ...] or [B, A, ...].
    dist : BaseProbaDist
        How to read them.
    kind : {'policy', 'values', 'elements', 'points'}
        Whether the outcomes are actions (where a mask counts), numbers in the transformed space of values, or other
        elements of a space; or, 'points', whether the output is no distribution but a variate itself.
    """

    def __init__(self, forward: FunctionRule, dist: BaseProbaDist, kind: str):
        self.forward, self.dist, self.kind = forward, dist, kind
        self.center = _same if kind == "points" else dist.mean
        self._masks = kind == "policy" and forward.mask is not None
        self.call = jax.jit(self._call, static_argnums=(0, 1))
        self.log_proba = jax.jit(self._log_proba)

    # --- the forward pass, as an updater sees it

    @property
    def uses_rng(self) -> bool:
        return self.forward.uses_rng

    @property
    def same_in_training(self) -> bool:
        """Whether training and evaluation are the same program, without random numbers."""
        return self.forward.same_in_training

    @property
    def value_transform(self) -> ValueTransform:
        return self.forward.value_transform

    @property
    def observe(self) -> Preprocessor:
        return self.forward.observe

    @property
    def act(self) -> Preprocessor | None:
        return self.forward.act

    def at(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Distribution parameters at S (and A), leaves [B, ...], and the new function state; no mask yet."""
        return self.forward.at(*args, **kwargs)

    def allowed(self, S: Any) -> Any:
        """The mask of the actions at raw observations, leaves [B, A]; None without one."""
        return self.forward.allowed(S)

    def dist_params(self, params: Any, function_state: Any, key: Any, S: Any, A: Any = None) -> Any:
        """Distribution parameters at S (and A), leaves [B, ...]."""
        return self.excluding(self.forward.at(params, function_state, key, S, A)[0], S)

    def excluding(self, out: Any, S: Any) -> Any:
        """Distribution parameters, leaves [B, ...], in which actions that are not allowed have probability 0."""
        return self.dist.masked(out, self.allowed(S)) if self._masks else out

    def all_dist_params(self, params: Any, function_state: Any, key: Any, S: Any) -> Any:
        """Distribution parameters for every action, leaves [B, A, ...]."""
        return self.forward.all_actions(params, function_state, key, S)

    def expected(self, out: Any) -> jax.Array:
        """The expectations f32[...], in the original space, of distribution parameters [..., K]."""
        return self._expectation(out)

    def preferences(self, out: Any) -> jax.Array:
        """What value-based policies compare, f32[..., A]: the expectations."""
        return self._expectation(out)

    def law(self, out: Any) -> Particles:
        """The law of the value, in the original space, leaves [..., K], of distribution parameters [..., K]."""
        return self.dist.particles(out).map(self.value_transform.inverse_func)  # type: ignore[attr-defined]

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> BoundDist:
        """The function with a state filled in."""
        return BoundDist(self, state, key if self.uses_rng else None)

    # --- compiled entry points of the shells: one dispatch each

    def _call(
        self, what: str, everywhere: bool, params: Any, function_state: Any, rng: Rng | None, S: Any, A: Any = None
    ) -> Any:
        key: Any = None if rng is None else rng.next_key
        own = jax.random.fold_in(key, 1) if self.uses_rng else None
        if everywhere:
            found = self.all_dist_params(params, function_state, own, S)
        else:
            found = self.dist_params(params, function_state, own, S, A)
        return getattr(self, f"_{what}")(found, key)

    def _dist_params(self, dist_params: Any, key: Any) -> Any:
        return dist_params

    def _sample(self, dist_params: Any, key: jax.Array) -> Any:
        return self.value_transform.inverse_func(self.dist.sample_element(dist_params, key))

    def _sample_with_logp(self, dist_params: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        x = self.dist.sample_element(dist_params, key)
        # of the element that is handed out, as whoever stored it will compute it again
        return self.value_transform.inverse_func(x), self.dist.log_proba(dist_params, self.dist.from_element(x))

    def _expectation(self, dist_params: Any, key: Any = None) -> jax.Array:
        return self.dist.expectation(dist_params, self.value_transform.inverse_func)  # type: ignore[attr-defined]

    def _mean_element(self, dist_params: Any, key: jax.Array) -> Any:
        return self.dist.to_element(self.dist.mean(dist_params), key)

    def _mode(self, dist_params: Any, key: jax.Array) -> Any:
        return self.value_transform.inverse_func(self.dist.to_element(self.dist.mode(dist_params), key))

    def _point(self, variate: Any, key: jax.Array) -> Any:
        return self.dist.to_element(variate, key)

    def _log_proba(self, params: Any, function_state: Any, rng: Rng, S: Any, A: Any, x: Any) -> jax.Array:
        own = jax.random.fold_in(rng.next_key, 1) if self.uses_rng else None
        found = self.dist_params(params, function_state, own, S, A)
        return self.dist.log_proba(found, self.dist.from_element(x))


class BoundDist(NamedTuple):
    """A function with distribution parameters (or variates) as output, with its state filled in."""

    rule: DistRule
    state: dict[str, Any]
    key: Any
    known: tuple[Any, Any] | None = None  # observations [B, ...], and what is already known to be said there

    def dist_params(self, S: Any, A: Any = None) -> Any:
        """Leaves [B, ...]."""
        if self.known is not None and S is self.known[0] and A is None:
            return self.known[1]
        return self.rule.dist_params(self.state["params"], self.state["function_state"], self.key, S, A)

    def all_dist_params(self, S: Any) -> Any:
        """Leaves [B, A, ...]."""
        return self.rule.all_dist_params(self.state["params"], self.state["function_state"], self.key, S)

    def probs(self, S: Any) -> jax.Array:
        """Probabilities f32[B, A] of Discrete actions."""
        return self.rule.dist.mean(self.dist_params(S))

    def value(self, S: Any, A: Any = None) -> jax.Array:
        """The expectation, f32[B], in the original space."""
        return self.rule.expected(self.dist_params(S, A))

    def values(self, S: Any) -> jax.Array:
        """The expectation for every action, f32[B, A], in the original space."""
        return self.rule.expected(self.all_dist_params(S))

    def outcome(self, S: Any, A: Any = None) -> Particles:
        """The law of the value, leaves [B, K], in the original space."""
        return self.rule.law(self.dist_params(S, A))

    def outcomes(self, S: Any) -> Particles:
        """The laws of the values of every action, leaves [B, A, K], in the original space."""
        return self.rule.law(self.all_dist_params(S))

    def action_for(
        self, q: Any, S: Any, key: jax.Array, *, sampled: bool, smooth: Callable[[Any, jax.Array], Any] | None = None
    ) -> Any:
        """An action per row, as the rule of a q-function takes it; differentiable, as far as the distribution is.

        Parameters
        ----------
        q : rule
        S : pytree of arrays [B, ...]
        key : PRNG key
        sampled : bool
            Whether to draw it, or to take the mode.
        smooth : callable, optional
            ``smooth(A, key) -> A``: noise on top.
        """
        return choose_action(self.rule.dist, self.dist_params(S), q, key, sampled=sampled, smooth=smooth)

    def preferences(self, S: Any) -> jax.Array:
        """What value-based policies compare, f32[B, A]."""
        return self.values(S)

    def allowed(self, S: Any) -> Any:
        """The mask of the actions, leaves [B, A], or None."""
        return self.rule.allowed(S)

    def center(self, S: Any, A: Any = None) -> Any:
        """The mean as a variate, leaves [B, ...]."""
        return self.rule.center(self.dist_params(S, A))

    def centers(self, S: Any) -> Any:
        """The means for every action as variates, leaves [B, A, ...]."""
        return self.rule.center(self.all_dist_params(S))

    def value_of_inputs(self, X: Any) -> jax.Array:
        """The expectation f32[B] at preprocessed observations."""
        out, _ = self.rule.forward.on_inputs(self.state["params"], self.state["function_state"], self.key, X)
        return self.rule.expected(out)


def choose_action(
    dist: BaseProbaDist,
    dist_params: Any,
    q: Any,
    key: jax.Array,
    *,
    sampled: bool,
    smooth: Callable[[Any, jax.Array], Any] | None = None,
) -> Any:
    """Actions [B, ...] of distribution parameters, drawn or the mode, as the rule of a q-function takes them.

    Parameters
    ----------
    dist : distribution
    dist_params : pytree of arrays [B, ...]
    q : rule
    key : PRNG key
    sampled : bool
        Whether to draw them, or to take the mode.
    smooth : callable, optional
        ``smooth(A, key) -> A``: noise on top.
    """
    draw, to_element, noise = jax.random.split(key, 3)
    X = dist.sample(dist_params, draw) if sampled else dist.mode(dist_params)
    return q_input(q, dist, X, to_element, noise, smooth)


def q_input(q: Any, dist: BaseProbaDist, X: Any, key: jax.Array, noise: Any = None, smooth: Any = None) -> Any:
    """Variates [B, ...] of a distribution over actions as the actions that the rule of a q-function takes.

    Where q is preprocessed with the distribution's own ``preprocess_variate``, it gets the variates themselves: there
    and back again would lose precision near the bounds of a Box.
    """
    A = dist.to_element(X, key)
    if smooth is not None:
        return smooth(A, noise)
    return Prepared(A, {q.act: X}) if takes_variates(q, dist) else A


def takes_variates(q: Any, dist: BaseProbaDist) -> bool:
    """Whether the rule of a q-function preprocesses actions with the distribution's own ``preprocess_variate``."""
    made = getattr(getattr(q, "act", None), "func", None)
    return getattr(made, "__func__", None) is type(dist).preprocess_variate and made.__self__ == dist  # type: ignore[union-attr]


def _same(x: Any) -> Any:
    return x
