"""Several q-functions, as a list or an ensemble: checks of the arguments, and which of them are looked at."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..approximators import Ensemble

__all__ = ("check_reduction", "checked_list", "count_networks", "draw_networks", "stacked")


def checked_list(updater: Any, argument: str, given: Any, kinds: Any, what: str) -> tuple:
    """A list as a tuple; an ensemble stands for a list of its own.

    Raises
    ------
    TypeError
        If it is no list, or holds something of another kind.
    ValueError
        If it is empty.
    """
    name = type(updater).__name__
    if isinstance(given, Ensemble):
        given = [given]
    if not isinstance(given, tuple | list):
        raise TypeError(
            f"{name}: expected {argument} to be a list, got {type(given).__name__}. Fix: pass a list of {what}."
        )
    if not given:
        raise ValueError(f"{name}: expected {argument} to hold something, got an empty list. Fix: pass {what}.")
    for item in given:
        if not isinstance(item, kinds):
            raise TypeError(
                f"{name}: expected {argument} to be a list of {what}, got a {type(item).__name__} in it. "
                "Fix: leave it out."
            )
    return tuple(given)


def count_networks(qs: tuple) -> int:
    """How many networks there are, with all members of the ensembles."""
    return sum(getattr(q, "members", 1) for q in qs)


def check_reduction(reduction: Any, subset: Any, networks: int) -> None:
    """Refuse what says not how several values become one."""
    if reduction not in ("min", "mean"):
        raise ValueError(f"reduction: expected 'min' or 'mean', got {reduction!r}. Fix: 'min' takes the lowest.")
    if subset is None:
        return
    if not isinstance(subset, int | np.integer) or isinstance(subset, bool) or not 1 <= subset <= networks:
        raise ValueError(f"subset: expected an int from 1 to {networks}, got {subset!r}. Fix: draw fewer.")


def draw_networks(key: jax.Array, outcomes: Any, subset: int | None) -> Any:
    """Of what all networks say, leaves [M, ...], that of so many of them, each at most once."""
    if subset is None:
        return outcomes
    m = jax.tree.leaves(outcomes)[0].shape[0]
    index = jax.random.choice(key, m, (subset,), replace=False)
    return jax.tree.map(lambda x: x[index], outcomes)


def stacked(outcome: Any, bound: Any) -> Any:
    """What a function says, with a leading axis M: of an ensemble its members, of a single function 1."""
    return outcome if getattr(bound.rule, "members", None) else jax.tree.map(lambda x: x[None], outcome)
