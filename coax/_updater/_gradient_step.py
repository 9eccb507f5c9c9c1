"""A step of an optimizer that gradients which are not finite do not get through; and rows that do not count."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..utils._trees import is_small, tree_ravel

__all__ = ("fill_dead_rows", "gradient_step")


def first_not_finite(grads: Any) -> jax.Array:
    """Position of the first leaf that holds NaN or infinity, i32[]; -1 if none does."""
    leaves = jax.tree.leaves(grads)
    if is_small(grads):  # one look at all numbers: each counts the more the earlier its leaf is
        counts = np.repeat(np.arange(len(leaves), 0, -1, dtype=np.int32), [leaf.size for leaf in leaves])
        most = jnp.max(jnp.where(jnp.isfinite(tree_ravel(grads)), 0, counts))
        return jnp.where(most > 0, len(leaves) - most, -1)
    bad = jnp.stack([~jnp.isfinite(leaf).all() for leaf in leaves])
    return jnp.where(bad.any(), jnp.argmax(bad).astype(jnp.int32), jnp.int32(-1))


def gradient_step(
    optimizer: optax.GradientTransformation,
    grads: Any,
    params: Any,
    optimizer_state: Any,
    flag: jax.Array,
    some: Any = True,
) -> tuple[Any, Any, jax.Array, jax.Array]:
    """One step of the optimizer, or none at all if the gradients are not finite.

    Parameters
    ----------
    optimizer : optax.GradientTransformation
    grads, params, optimizer_state : pytrees
    flag : i32[]
        The first bad leaf so far, -1 if there was none.
    some : bool[], optional
        Whether there is anything to learn from. Without, there is no step: momentum alone moves nothing.

    Returns
    -------
    params, optimizer_state : pytrees
        New ones, or the old ones.
    flag : i32[]
        The first bad leaf ever; -1 while all was fine.
    fine : bool[]
        Whether the step was taken.
    """
    bad = jnp.where(some, first_not_finite(grads), -1)
    fine = (bad < 0) & some
    updates, new_state = optimizer.update(grads, optimizer_state, params)
    new_params = optax.apply_updates(params, updates)
    kept = keep_unless(fine, (new_params, new_state), (params, optimizer_state))
    return *kept, jnp.where(flag < 0, bad, flag), fine


def keep_unless(fine: jax.Array, new: Any, old: Any) -> Any:
    """The new tree where `fine`, else the old one, in the dtypes of the old one."""
    return jax.tree.map(lambda a, b: jnp.where(fine, a if a.dtype == b.dtype else a.astype(b.dtype), b), new, old)


def fill_dead_rows(live: jax.Array, tree: Any) -> Any:
    """Rows that do not count hold a copy of the first one that does, so that nothing bad can come of them."""
    first = jnp.argmax(live)
    some = live.any()

    def fill(x: Any) -> jax.Array:
        x = jnp.asarray(x)
        # a gather: of a batch over several devices it moves the one row, where a slice moves all of them
        row = jnp.take(x, first, axis=0, mode="clip")
        donor = jnp.where(some, row, jnp.zeros_like(row))
        return jnp.where(live.reshape(-1, *(1,) * (x.ndim - 1)), x, donor)

    return jax.tree.map(fill, tree)
