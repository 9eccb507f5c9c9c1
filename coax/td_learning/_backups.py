"""Backups: which outcome of which network a target bootstraps from. One small function per algorithm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._updater import Batch, draw_networks, stacked
from ..proba_dists import Particles
from ._heads import Head, pick
from ._targets import best_action, soft_value, truncated_quantiles

__all__ = (
    "Backup",
    "Choose",
    "Nets",
    "Reduce",
    "double_backup",
    "double_backup_selecting_online",
    "expected_backup",
    "greedy_backup",
    "policy_backup",
    "sarsa_backup",
    "several_greedy_backup",
    "several_policies_backup",
    "soft_backup",
    "state_backup",
)


class Nets(NamedTuple):
    """What a backup may look at, all with their states filled in.

    Attributes
    ----------
    head : Head
    main : bound function
        What learns.
    targs : tuple of bound functions
    pis : tuple of bound policies
    own : dict
        The updater's own state.
    key : PRNG key or None
        For what the backup draws itself.
    """

    head: Head
    main: Any
    targs: tuple
    pis: tuple
    own: dict[str, Any]
    key: Any

    @property
    def targ(self) -> Any:
        return self.targs[0]


# --- one network ------------------------------------------------------------------------------------------------------


def state_backup(nets: Nets, batch: Batch) -> Any:
    """The value of the next state."""
    return nets.targ.outcome(batch.S_next)


def sarsa_backup(nets: Nets, batch: Batch) -> Any:
    """The value of the next action that was taken."""
    return nets.targ.outcome(batch.S_next, batch.A_next)


def expected_backup(nets: Nets, batch: Batch) -> Any:
    """The expectation over the next actions of the policy."""
    return nets.head.mix(nets.pis[0].probs(batch.S_next), nets.targ.outcomes(batch.S_next))


def greedy_backup(nets: Nets, batch: Batch) -> Any:
    """The value of the best next action."""
    return nets.head.greedy(nets.targ.outcomes(batch.S_next), nets.main.allowed(batch.S_next))


def double_backup(nets: Nets, batch: Batch) -> Any:
    """The action that the target network likes best, valued by the network that learns."""
    return _selected(nets, batch, nets.targ, nets.main)


def double_backup_selecting_online(nets: Nets, batch: Batch) -> Any:
    """The action that the network that learns likes best, valued by the target network."""
    return _selected(nets, batch, nets.main, nets.targ)


def _selected(nets: Nets, batch: Batch, select: Any, evaluate: Any) -> Any:
    values = nets.head.value(select.outcomes(batch.S_next))
    return pick(evaluate.outcomes(batch.S_next), best_action(values, nets.main.allowed(batch.S_next)))


def soft_backup(nets: Nets, batch: Batch) -> Any:
    """The soft maximum over the next actions."""
    S = batch.S_next
    return soft_value(nets.targ.outcomes(S), nets.own["temperature"], nets.main.allowed(S))


# --- several networks, or a policy that says the next action ----------------------------------------------------------


class Backup(NamedTuple):
    """A backup with options. Equal ones share all compiled functions.

    Attributes
    ----------
    func : callable
        ``func(nets, batch, *options) -> outcome``.
    options : tuple
    """

    func: Callable[..., Any]
    options: tuple

    def __call__(self, nets: Nets, batch: Batch) -> Any:
        return self.func(nets, batch, *self.options)


class Choose(NamedTuple):
    """How the next action comes from a policy.

    Attributes
    ----------
    sampled : bool
        Whether it is a sample, or the mode.
    smooth : callable or None
        ``smooth(A, key, own) -> A``: noise on the action, as TD3 puts it there.
    """

    sampled: bool
    smooth: Callable[..., Any] | None = None


class Reduce(NamedTuple):
    """How the outcomes of several networks become one.

    Attributes
    ----------
    how : {'min', 'mean', 'truncate'}
    subset : int or None
        How many of the networks are looked at, drawn anew each time; None for all.
    drop : int
        With 'truncate': how many of the highest quantiles are left out, for each network.
    """

    how: str
    subset: int | None = None
    drop: int = 0

    def drawn(self, nets: Nets, outcomes: Any) -> Any:
        """Of outcomes [M, ...] of all networks, those of the networks that are looked at."""
        return (
            outcomes if self.subset is None else draw_networks(jax.random.fold_in(nets.key, 1), outcomes, self.subset)
        )

    def __call__(self, nets: Nets, outcomes: Any) -> Any:
        """Of outcomes [M, N, B, ...]."""
        outcomes = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), outcomes)
        if self.how == "min":
            return nets.head.lowest(outcomes)
        m = jax.tree.leaves(outcomes)[0].shape[0]
        if self.how == "truncate":
            values = jnp.moveaxis(outcomes.values, 0, -2)
            kept = truncated_quantiles(values.reshape(*values.shape[:-2], -1), m * self.drop)
            return Particles(kept, jnp.full_like(kept, 1 / kept.shape[-1]))
        return nets.head.mix(
            jnp.full((jax.tree.leaves(outcomes)[0].shape[1], m), 1 / m),
            jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), outcomes),
        )


def policy_backup(nets: Nets, batch: Batch, choose: Choose) -> Any:
    """The value of the next action of the policy."""
    (A,) = _actions(nets, batch, choose, nets.targ)
    return nets.targ.outcome(batch.S_next, A)


def several_policies_backup(nets: Nets, batch: Batch, choose: Choose, reduce: Reduce) -> Any:
    """The next actions of all policies, valued by all target networks, and what is made of these values."""
    outcomes = [
        jax.tree.map(
            lambda *xs: jnp.stack(xs, axis=1),
            *(stacked(targ.outcome(batch.S_next, A), targ) for A in _actions(nets, batch, choose, targ)),
        )
        for targ in nets.targs
    ]
    return reduce(nets, reduce.drawn(nets, _concatenated(outcomes)))


def several_greedy_backup(nets: Nets, batch: Batch, reduce: Reduce) -> Any:
    """The actions that the target networks like best, valued by all of them, and what is made of these values."""
    outcomes = _concatenated([stacked(targ.outcomes(batch.S_next), targ) for targ in nets.targs])
    outcomes = reduce.drawn(nets, outcomes)
    best = best_action(nets.head.value(outcomes), nets.main.allowed(batch.S_next))  # i32[M, B]
    pairs = jax.vmap(lambda index: jax.vmap(lambda outs: pick(outs, index))(outcomes))(best)
    return reduce(nets, pairs)


def _actions(nets: Nets, batch: Batch, choose: Choose, targ: Any) -> Iterator[Any]:
    """The next action of each policy, as a target network sees it; the same for every network."""
    for i, pi in enumerate(nets.pis):
        key = jax.random.key(0) if nets.key is None else jax.random.fold_in(nets.key, 2 + i)
        smooth = None if choose.smooth is None else lambda A, key: choose.smooth(A, key, nets.own)  # type: ignore[misc]
        yield pi.action_for(targ.rule, batch.S_next, key, sampled=choose.sampled, smooth=smooth)


def _concatenated(outcomes: list) -> Any:
    return jax.tree.map(lambda *xs: jnp.concatenate(xs), *outcomes) if len(outcomes) > 1 else outcomes[0]
