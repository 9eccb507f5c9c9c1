"""Putting pytrees and mappings together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ("is_small", "merge_dicts", "stack_trees", "tree_ravel")

_FEW_NUMBERS = 1 << 15


def stack_trees(*trees: Sequence[Any]) -> tuple[Any, ...]:
    """Stack trees leaf by leaf, along a new leading axis.

    Parameters
    ----------
    *trees : sequence of pytrees
        In each sequence all trees have the same structure and shapes.

    Returns
    -------
    tuple of pytrees
        One for each sequence.

    Examples
    --------
    >>> (params,) = coax.utils.stack_trees([q.params, q_targ.params])
    """
    return tuple(jax.tree.map(lambda *leaves: jnp.stack(leaves), *sequence) for sequence in trees)


def tree_ravel(pytree: Any) -> jax.Array:
    """All entries of all leaves in one array of rank 1, in the order of the leaves."""
    leaves = jax.tree.leaves(pytree)
    return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves]) if leaves else jnp.zeros(0)


def is_small(pytree: Any) -> bool:
    """Whether all leaves together are few numbers, so that one copy takes less time than a call for each leaf."""
    return sum(map(np.size, jax.tree.leaves(pytree))) <= _FEW_NUMBERS


def merge_dicts(*dicts: Mapping) -> dict:
    """One dict of all entries; of equal keys the later one counts, with a ``UserWarning``."""
    merged: dict = {}
    for new in dicts:
        overlap = [key for key in new if key in merged]
        if overlap:
            warnings.warn(f"merge_dicts: these keys occur more than once, the last counts: {overlap}", stacklevel=2)
        merged.update(new)
    return merged
