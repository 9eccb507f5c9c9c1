"""Heads: what a value function outputs, and how that is backed up and compared. Decided once, at construction.

An *outcome* is what may be gained from somewhere on, in the original space: a number f32[..., B], or its law as
:class:`coax.proba_dists.Particles` with leaves [..., B, K].
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..proba_dists import DiscretizedIntervalDist, Particles, project
from ..value_losses import quantile_huber_each, weighted_mean
from ._targets import best_action, bootstrap, expected_value, greedy_value

__all__ = ("Head", "head_of", "pick")


class Head(NamedTuple):
    """The functions that an updater needs for one kind of output. An algorithm names them and never asks for the kind.

    Attributes
    ----------
    value : callable
        ``value(outcome) -> f32[...]``: its expectation; of a target too.
    greedy : callable
        ``greedy(outcomes, mask) -> outcome``: of outcomes [B, A, ...], that of the best action that is allowed.
    lowest : callable
        ``lowest(outcomes) -> outcome``: of outcomes [M, B, ...], the one with the lowest value.
    mix : callable
        ``mix(p, outcomes) -> outcome``: of outcomes [B, M, ...] with probabilities f32[B, M].
    shift : callable
        ``shift(outcome, amount) -> outcome``: add f32[B].
    target : callable
        ``target(rn, in_, outcome, value_transform) -> target``: discounted, rewards added, transformed.
    loss : callable
        ``loss(rule, loss_function, target, out, w) -> f32[]``: mean over the batch.
    center : callable
        ``center(rule, out) -> f32[B]``: the same of an output, in the transformed space.
    """

    value: Callable[..., Any]
    greedy: Callable[..., Any]
    lowest: Callable[..., Any]
    mix: Callable[..., Any]
    shift: Callable[..., Any]
    target: Callable[..., Any]
    loss: Callable[..., Any]
    center: Callable[..., Any]


def pick(outcomes: Any, index: jax.Array) -> Any:
    """Of outcomes [B, A, ...] the one at index i32[B] of each row."""
    return jax.tree.map(
        lambda x: jnp.take_along_axis(x, index.reshape(-1, *(1,) * (x.ndim - 1)), axis=1)[:, 0], outcomes
    )


# --- one number -------------------------------------------------------------------------------------------------------


def _same(x: Any) -> Any:
    return x


def _itself(rule: Any, out: Any) -> Any:
    return out


def _scalar_loss(rule: Any, loss_function: Callable[..., Any], target: Any, out: Any, w: Any) -> jax.Array:
    return loss_function(target, out, w)


# --- a law ------------------------------------------------------------------------------------------------------------


def mix_particles(p: Any, outcomes: Particles) -> Particles:
    """The mixture, with probabilities f32[B, M], of laws with leaves [B, M, K]: leaves [B, M * K]."""
    weights = jnp.asarray(p)[..., None] * outcomes.weights
    return Particles(*(x.reshape(*x.shape[:-2], -1) for x in (outcomes.values, weights)))


def _shift_particles(outcome: Particles, amount: Any) -> Particles:
    return outcome.map(lambda x: x + amount[..., None])


def _particles_target(rn: Any, in_: Any, outcome: Particles, value_transform: Any) -> Particles:
    dead = outcome.weights == 0
    values = jnp.where(dead, 0.0, outcome.values)  # such as an action of probability 0 whose values are not finite
    return outcome._replace(values=bootstrap(rn[..., None], in_[..., None], values, value_transform))


def _mean_of_particles(outcome: Particles) -> jax.Array:
    return outcome.mean


def _best_particles(outcomes: Particles, mask: Any = None) -> Particles:
    return pick(outcomes, best_action(outcomes.mean, mask))


def _lowest_particles(outcomes: Particles) -> Particles:
    index = jnp.argmin(outcomes.mean, axis=0)
    return jax.tree.map(lambda x: jnp.take_along_axis(x, index[None, :, None], axis=0)[0], outcomes)


def _center(rule: Any, out: Any) -> jax.Array:
    return rule.dist.expectation(out)


def _bins_loss(rule: Any, loss_function: Any, target: Particles, out: Any, w: Any) -> jax.Array:
    """Cross-entropy with the target, brought onto the bins."""
    atoms = rule.dist.atoms.astype(out["logits"].dtype)
    goal = project(target.weights, target.values, atoms)
    return weighted_mean(-jnp.sum(goal * jax.nn.log_softmax(out["logits"]), axis=-1), w)


def _quantiles_loss(rule: Any, loss_function: Any, target: Particles, out: Any, w: Any) -> jax.Array:
    # N times the mean over the target, so that N equally likely numbers are summed up
    scale = out["values"].shape[-1]
    values, fractions = out["values"], out["quantile_fractions"]
    each = quantile_huber_each(target.values, values, fractions, weights=scale * target.weights)
    return weighted_mean(each, w)


SCALAR = Head(
    value=_same,
    greedy=greedy_value,
    lowest=functools.partial(jnp.min, axis=0),
    mix=expected_value,
    shift=jnp.add,
    target=bootstrap,
    loss=_scalar_loss,
    center=_itself,
)
BINS = Head(
    value=_mean_of_particles,
    greedy=_best_particles,
    lowest=_lowest_particles,
    mix=mix_particles,
    shift=_shift_particles,
    target=_particles_target,
    loss=_bins_loss,
    center=_center,
)
QUANTILES = BINS._replace(loss=_quantiles_loss)


def head_of(function: Any) -> Head:
    """The head of what learns."""
    dist = getattr(function.rule, "dist", None)
    if dist is None:
        return SCALAR
    return BINS if isinstance(dist, DiscretizedIntervalDist) else QUANTILES
