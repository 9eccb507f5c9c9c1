"""How large the numbers in a pytree are."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._trees import is_small, tree_ravel

__all__ = ("get_grads_diagnostics", "get_magnitude_quantiles")


def get_grads_diagnostics(grads: Any, key_prefix: str = "", keep_tree_structure: bool = False) -> Any:
    """The largest absolute value and the Euclidean norm of gradients.

    Parameters
    ----------
    grads : pytree
        Gradients, or anything else.
    key_prefix : str, optional
        Put before the names.
    keep_tree_structure : bool, optional
        Do it for each leaf by itself.

    Returns
    -------
    dict or pytree of dicts
        With the keys ``max`` and ``norm``.
    """
    if keep_tree_structure:
        return jax.tree.map(lambda leaf: get_grads_diagnostics(leaf, key_prefix), grads)
    leaves = [tree_ravel(grads)] if is_small(grads) else jax.tree.leaves(grads)
    largest = jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves])
    squares = jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in leaves])
    return {f"{key_prefix}max": jnp.max(largest), f"{key_prefix}norm": jnp.sqrt(jnp.sum(squares))}


def get_magnitude_quantiles(pytree: Any, key_prefix: str = "") -> dict[str, jax.Array]:
    """Quartiles of the absolute values of all entries: ``min``, ``p25``, ``p50``, ``p75`` and ``max``.

    Parameters
    ----------
    pytree : pytree
        Anything with arrays as leaves.
    key_prefix : str, optional
        Put before the names.
    """
    quartiles = jnp.quantile(jnp.abs(tree_ravel(pytree)), jnp.linspace(0, 1, 5))
    return {f"{key_prefix}{name}": quartiles[i] for i, name in enumerate(("min", "p25", "p50", "p75", "max"))}
