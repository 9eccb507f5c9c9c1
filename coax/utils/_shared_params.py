"""Keeping the modules that several functions share at the same parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

__all__ = ("sync_shared_params",)


def sync_shared_params(*params: Mapping[str, Any], weights: Sequence[float] | None = None) -> tuple[Any, ...]:
    """Average the parameters of modules that occur in several functions.

    A module is shared if its top-level name occurs in two or more of the mappings, for instance through an equal
    ``hk.name_scope`` in two forward functions.

    Parameters
    ----------
    *params : mapping
        Parameters as Haiku makes them: from module names to their parameters.
    weights : sequence of float, optional
        How much each mapping counts, relative to the others that share a module. By default all the same.

    Returns
    -------
    tuple of dict
        In the order of `params`. Fewer than two are returned as they are.

    Raises
    ------
    ValueError
        If there are not as many weights as mappings, if a sum of weights is not positive, or if a shared module has
        different parameters in two mappings.

    Examples
    --------
    >>> q.params, q_targ.params = coax.utils.sync_shared_params(q.params, q_targ.params)
    """
    if len(params) < 2:
        return params
    if weights is None:
        weights = (1.0,) * len(params)
    if len(weights) != len(params):
        raise ValueError(
            f"weights: expected {len(params)} of them, got {len(weights)}. Fix: pass one weight for each of the params."
        )
    synced = [dict(p) for p in params]
    for module in dict.fromkeys(key for p in params for key in p):
        owners = [i for i, p in enumerate(params) if module in p]
        if len(owners) > 1:
            mean = _weighted_mean(module, [params[i][module] for i in owners], [weights[i] for i in owners])
            for i in owners:
                synced[i][module] = mean
    return tuple(synced)


def _weighted_mean(module: str, trees: Sequence[Any], weights: Sequence[float]) -> Any:
    total = sum(weights)
    if not total > 0:
        raise ValueError(
            f"weights: expected a positive sum over the owners of {module!r}, got {total}. Fix: raise one."
        )
    shapes = [jax.tree.map(lambda leaf: str(leaf.shape), tree) for tree in trees]
    if any(other != shapes[0] for other in shapes[1:]):
        raise ValueError(
            f"the shared module {module!r} has different parameters in two functions: {shapes}. "
            "Fix: build it in the same way everywhere, or give one of them another name."
        )
    return jax.tree.map(lambda *leaves: sum(w / total * leaf for w, leaf in zip(weights, leaves, strict=True)), *trees)
