"""What each objective says of a batch, as pure functions of arrays and of what an objective may look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._updater import Batch, Weights, draw_networks, stacked
from ..approximators import choose_action
from ..proba_dists import BaseProbaDist

__all__ = (
    "Objective",
    "View",
    "clipped_surrogate",
    "cloning",
    "expected_value",
    "policy_gradient",
    "standardized",
    "value_of_action",
)


class View(NamedTuple):
    """What an objective may look at.

    Attributes
    ----------
    dist : BaseProbaDist
        The distribution of the actions.
    dist_params : pytree of arrays [B, ...]
        What the policy says, with the parameters that are differentiated; masked actions have probability 0.
    qs : tuple of bound q-functions
    own : dict
        The updater's own state.
    key : PRNG key or None
        For what the objective draws itself.
    """

    dist: BaseProbaDist
    dist_params: Any
    qs: tuple
    own: dict[str, Any]
    key: Any

    def log_proba(self, A: Any) -> jax.Array:
        """The log-probability f32[B] of raw actions; of one that is excluded it is NaN, and so is its gradient."""
        found = self.dist.log_proba(self.dist_params, self.dist.from_element(A))
        return found * jnp.where(jnp.isneginf(found), jnp.nan, 1.0)  # there is no way to make it likelier


class Objective(NamedTuple):
    """A function with options. Equal ones share all compiled functions.

    Attributes
    ----------
    func : callable
        ``func(view, batch, weights, *options) -> (objective, report)``: what to maximise, a number per row f32[B], and
        scalars f32[] to report under their names.
    options : tuple
    """

    func: Callable[..., Any]
    options: tuple = ()

    def __call__(self, view: View, batch: Batch, weights: Weights) -> tuple[jax.Array, dict[str, jax.Array]]:
        return self.func(view, batch, weights, *self.options)


# --- of the actions that were taken -----------------------------------------------------------------------------------


def policy_gradient(view: View, batch: Batch, weights: Weights) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``Adv * log pi(A|S)``."""
    log_pi = view.log_proba(batch.A)
    return batch.Adv * log_pi, {"kl_div_old": kl_div_old(log_pi - batch.logP, weights)}


def clipped_surrogate(
    view: View, batch: Batch, weights: Weights, standardize: bool, dual: bool
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``min(Adv * ratio, Adv * clip(ratio, 1 - epsilon, 1 + epsilon))``; with `dual` no less than ``dual_clip * Adv``.

    Written with bounds on the logarithm of the ratio, so that a ratio too large for a float has no gradient where it is
    clipped, as any other that is clipped.
    """
    adv = standardized(batch.Adv, weights) if standardize else batch.Adv
    log_ratio = view.log_proba(batch.A) - batch.logP
    epsilon = view.own["epsilon"]
    lowest, highest = jnp.log1p(-jnp.minimum(epsilon, 1.0)), jnp.log1p(epsilon)
    good = adv >= 0
    low = jnp.where(good, -jnp.inf, lowest)
    high = jnp.where(good, highest, jnp.log(view.own["dual_clip"]) if dual else jnp.inf)
    outside = (log_ratio < lowest) | (log_ratio > highest)
    report = {"kl_div_old": kl_div_old(log_ratio, weights), "clip_fraction": mean_of_live(outside, weights)}
    return adv * jnp.exp(jnp.clip(log_ratio, low, high)), report


def cloning(view: View, batch: Batch, weights: Weights, weighted: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``log pi(A|S)``; if `weighted`, times ``exp(Adv / temperature)``, which is at most ``max_weight``."""
    log_pi = view.log_proba(batch.A)
    if not weighted:
        return log_pi, {}
    # the exponent is bounded, not the power: it may be too large for a float
    exponent = jnp.minimum(batch.Adv / view.own["temperature"], jnp.log(view.own["max_weight"]))
    return jnp.exp(exponent) * log_pi, {"weight": mean_of_live(jnp.exp(exponent), weights)}


def standardized(adv: jax.Array, weights: Weights) -> jax.Array:
    """Advantages f32[B] shifted and scaled to mean 0 and deviation 1 over the rows that count; one alone is kept.

    Those that are equal but for rounding become 0.
    """
    live = weights.live
    mean, deviation = jnp.mean(adv, where=live), jnp.std(adv, where=live)
    differ = deviation > 1e-5 * jnp.abs(mean)
    scaled = jnp.where(differ, (adv - mean) / (deviation + 1e-8), 0.0)
    return jnp.where(live.sum() > 1, scaled, adv)


def kl_div_old(log_ratio: jax.Array, weights: Weights) -> jax.Array:
    """How far the policy is from the one that acted, ``KL(old | new)`` in nats, from the actions it took.

    The mean of ``ratio - 1 - log ratio`` has the right expectation and is never negative.
    """
    return mean_of_live(jnp.expm1(log_ratio) - log_ratio, weights)


def mean_of_live(x: jax.Array, weights: Weights) -> jax.Array:
    """The mean f32[] of numbers f32[B] over the rows that count, each as much."""
    return jnp.mean(jnp.where(weights.live, x, 0.0)) * weights.share


# --- of the values of actions -----------------------------------------------------------------------------------------


def expected_value(
    view: View, batch: Batch, weights: Weights, reduction: str, subset: int | None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``sum_a pi(a|S) q(S, a)`` over Discrete actions, exactly."""
    values = [stacked(q.values(batch.S), q) for q in view.qs]
    p = view.dist.mean(view.dist_params)
    every = reduced(view, values, reduction, subset)
    # the values of what has probability 0 may be anything
    return jnp.sum(p * jnp.where(p > 0, every, 0.0), axis=-1), {}


def value_of_action(
    view: View, batch: Batch, weights: Weights, reduction: str, subset: int | None, sampled: bool
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``q(S, a)``, where a is a reparametrised sample, or the mode."""
    # without a sample nothing is drawn: numbers leave no ties to break
    key = jax.random.fold_in(view.key, 0) if sampled else jax.random.key(0)

    def value(q: Any) -> jax.Array:
        return q.value(batch.S, choose_action(view.dist, view.dist_params, q.rule, key, sampled=sampled))

    return reduced(view, [stacked(value(q), q) for q in view.qs], reduction, subset), {}


def reduced(view: View, values: list[jax.Array], reduction: str, subset: int | None) -> jax.Array:
    """Of values [M, ...], as several lists, the lowest or the mean: [...]."""
    every = jnp.concatenate(values)
    if subset is not None:
        every = draw_networks(jax.random.fold_in(view.key, 1), every, subset)
    return jnp.min(every, axis=0) if reduction == "min" else jnp.mean(every, axis=0)
