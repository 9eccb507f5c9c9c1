"""Optimizer state in few arrays: what a compiled step returns costs time for each array, whatever its size."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..utils._trees import is_small

__all__ = ("Packing",)

_LEAST_LEAVES = 4


class Packing(NamedTuple):
    """An optimizer whose state is one vector for each dtype, as long as it is small.

    It does the same arithmetic as the optimizer inside, on the same arrays: these are slices of the vectors.

    Attributes
    ----------
    inner : optax.GradientTransformation
    """

    inner: optax.GradientTransformation

    def init(self, params: Any) -> Any:
        """The state at first, packed."""
        return _initial(self.inner.init, params)

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The changes of the parameters, and the next state, packed."""
        like = jax.eval_shape(self.inner.init, params)
        updates, new = self.inner.update(grads, _unpack(state, like), params)
        return updates, _pack(new, like)

    def unpacked(self, state: Any, params: Any) -> Any:
        """The state as the optimizer has it."""
        return _unpack(state, jax.eval_shape(self.inner.init, params))

    def packed(self, state: Any, params: Any) -> Any:
        """The other way round."""
        return _pack(state, jax.eval_shape(self.inner.init, params))


@functools.partial(jax.jit, static_argnums=0)
def _initial(init: Callable[[Any], Any], params: Any) -> Any:
    return _pack(init(params), jax.eval_shape(init, params))


def _pack(state: Any, like: Any) -> Any:
    if not _is_packed(like):
        return state
    by_dtype: dict[str, list[jax.Array]] = {}
    for x, kind in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
        by_dtype.setdefault(str(kind.dtype), []).append(jnp.ravel(x).astype(kind.dtype))
    return {name: jnp.concatenate(parts) for name, parts in by_dtype.items()}


def _unpack(state: Any, like: Any) -> Any:
    if not _is_packed(like):
        return state
    kinds, tree = jax.tree.flatten(like)
    starts = dict.fromkeys(state, 0)
    leaves = []
    for kind in kinds:
        name, size = str(kind.dtype), math.prod(kind.shape)
        leaves.append(state[name][starts[name] : starts[name] + size].reshape(kind.shape))
        starts[name] += size
    return jax.tree.unflatten(tree, leaves)


def _is_packed(like: Any) -> bool:
    """Whether a state that looks like this is kept as vectors."""
    leaves = jax.tree.leaves(like)
    if len(leaves) < _LEAST_LEAVES:
        return False
    if any(jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended) for x in leaves):  # keys have no plain numbers
        return False
    return is_small(like)
