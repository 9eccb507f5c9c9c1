"""What can be done with whole batches of transitions."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._transition_batch import TransitionBatch

__all__ = ("check_batch", "concatenate", "needs_a_next", "require_a_next")


def check_batch(transition_batch: Any) -> TransitionBatch:
    """The batch, if all its leaves have the same length. Reads shapes only, so it works inside a trace.

    Raises
    ------
    TypeError
        If it is not a :class:`TransitionBatch`.
    ValueError
        If a leaf has another length than `Rn`: the field and both lengths are named.
    """
    if not isinstance(transition_batch, TransitionBatch):
        raise TypeError(
            f"transition_batch: expected a TransitionBatch, got {type(transition_batch).__name__}. "
            "Fix: pass what a tracer's pop() or a buffer's sample() returned."
        )
    try:
        fits = set(map(len, jax.tree.leaves(_fields(transition_batch)))) == {len(transition_batch.Rn)}
    except TypeError:  # a scalar has no length
        fits = False
    if not fits:
        raise _disagreement(transition_batch)
    return transition_batch


_fields = operator.attrgetter(*TransitionBatch.__slots__)  # a tuple flattens faster than a class of ours


def _disagreement(tb: TransitionBatch) -> ValueError:
    shapes = [(jax.tree_util.keystr(path), np.shape(x)) for path, x in jax.tree_util.tree_leaves_with_path(tb)]
    for name, shape in shapes:
        if not shape:
            return ValueError(f"transition_batch{name}: expected a leading axis, got a scalar. Fix: stack transitions.")
    size = np.shape(tb.Rn)[0]
    name, shape = next((name, shape) for name, shape in shapes if shape[0] != size)
    return ValueError(
        f"transition_batch{name}: expected the batch size of Rn, {size}, got length {shape[0]}. "
        "Fix: give every field one row per transition."
    )


def concatenate(batches: Iterable[TransitionBatch]) -> TransitionBatch:
    """The transitions of several batches in one, in the given order. All fields are kept, `idx` too.

    Raises
    ------
    ValueError
        If there is none, or they differ in which fields they have.
    """
    batches = tuple(batches)
    if not batches:
        raise ValueError("batches: expected at least one TransitionBatch, got none. Fix: pass a non-empty sequence.")
    trees: list[Any] = [jax.tree.structure(tb) for tb in batches]
    if any(tree != trees[0] for tree in trees):
        other = next(tree for tree in trees if tree != trees[0])
        raise ValueError(
            f"batches: expected equal structures, got {trees[0]} and {other}. "
            "Fix: give all batches the same optional fields (A_next, logP_next, extra_info)."
        )
    return jax.tree.map(_join, *batches)


def _join(*leaves: Any) -> Any:
    on_host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return np.concatenate(leaves) if on_host else jnp.concatenate(leaves)


def needs_a_next(transition_batch: TransitionBatch) -> Any:
    """The rows that bootstrap from a state whose next action is not known.

    That is so where an episode was truncated and no `a_next` was given: the action that would have followed was never
    chosen. Tracers mark these rows with ``logP_next = nan`` and put any valid action into `A_next`. The mark lies in
    the batch itself, so it stays with the row through buffers, sampling and concatenation.

    Parameters
    ----------
    transition_batch : TransitionBatch

    Returns
    -------
    bool[B]
        NumPy if the batch is, else jax. False where `In` is 0.
    """
    tb = transition_batch
    if tb.A_next is None:
        return tb.In != 0
    if tb.logP_next is None:
        return np.zeros(np.shape(tb.In), bool)
    return (tb.logP_next != tb.logP_next) & (tb.In != 0)


def require_a_next(transition_batch: TransitionBatch, name: str) -> None:
    """Refuse a batch with rows whose next action is missing, on behalf of the updater called `name`.

    Batches of jax arrays are let through: reading them would wait for the device, and is impossible inside a trace.

    Raises
    ------
    ValueError
        If there is such a row.
    """
    tb = transition_batch
    if tb.A_next is None:
        raise ValueError(
            f"{name}: expected A_next in the batch, got None. Fix: use NStep, or from_single(..., a_next=...)."
        )
    if not isinstance(tb.logP_next, np.ndarray) or not isinstance(tb.In, np.ndarray):
        return
    rows = np.flatnonzero(needs_a_next(tb))
    if rows.size:
        raise ValueError(
            f"{name}: expected the next action of every row that bootstraps, got none for {rows.size} of "
            f"{tb.batch_size} rows (first: {rows[0]}), where an episode was truncated. Fix: at a truncation pass the "
            "action that the policy chooses there: tracer.add(..., truncated=True, s_next=s_next, a_next=pi(s_next))."
        )
