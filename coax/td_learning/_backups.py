"""Backups: which output of which network a target bootstraps from. One small function per algorithm."""

from __future__ import annotations

from typing import Any

from ._rule import Batch, Nets

__all__ = (
    "double_backup",
    "double_backup_selecting_online",
    "expected_backup",
    "greedy_backup",
    "sarsa_backup",
    "soft_backup",
    "state_backup",
)


def state_backup(nets: Nets, batch: Batch) -> Any:
    """The value of the next state."""
    return nets.targ.value(batch.S_next)


def sarsa_backup(nets: Nets, batch: Batch) -> Any:
    """The value of the next action that was taken."""
    return nets.targ.value(batch.S_next, batch.A_next)


def expected_backup(nets: Nets, batch: Batch) -> Any:
    """The expectation over the next actions of the policy."""
    return nets.head.expected(nets.pi.probs(batch.S_next), nets.targ.values(batch.S_next))


def greedy_backup(nets: Nets, batch: Batch) -> Any:
    """The value of the best next action."""
    return nets.head.greedy(nets.targ.values(batch.S_next), nets.main.allowed(batch.S_next))


def double_backup(nets: Nets, batch: Batch) -> Any:
    """The action that the target network likes best, valued by the network that learns."""
    S = batch.S_next
    return nets.head.double(nets.targ.values(S), nets.main.values(S), nets.main.allowed(S))


def double_backup_selecting_online(nets: Nets, batch: Batch) -> Any:
    """The action that the network that learns likes best, valued by the target network."""
    S = batch.S_next
    return nets.head.double(nets.main.values(S), nets.targ.values(S), nets.main.allowed(S))


def soft_backup(nets: Nets, batch: Batch) -> Any:
    """The soft maximum over the next actions."""
    S = batch.S_next
    return nets.head.soft(nets.targ.values(S), nets.own["temperature"], nets.main.allowed(S))
