"""Adding, removing and cutting the leading batch axis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ("batch_to_single", "chunks_pow2", "idx", "single_to_batch", "unvectorize")


def batch_to_single(pytree: Any, index: int = 0) -> Any:
    """One row of a batch: ``leaf[index]`` for every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], pytree)


def single_to_batch(pytree: Any) -> Any:
    """A batch of one: a new leading axis on every leaf."""
    return jax.tree.map(lambda leaf: jnp.expand_dims(leaf, axis=0), pytree)


def idx(arr: Any, axis: int = 0) -> jax.Array:
    """``arange`` over an axis of an array, for selecting one entry per row: ``q[idx(q), a]``.

    Parameters
    ----------
    arr : array
        Of NumPy or jax.
    axis : int, optional
        Whose length is taken.

    Returns
    -------
    int[B]

    Raises
    ------
    TypeError
        If `arr` is not an array.
    """
    if not isinstance(arr, jax.Array | np.ndarray):
        raise TypeError(f"arr: expected an array, got {type(arr).__name__}. Fix: pass jnp.asarray(arr).")
    return jnp.arange(arr.shape[axis])


def chunks_pow2(transition_batch: Any) -> Iterator[Any]:
    """Cut a batch into parts whose sizes are powers of two, largest first: 13 rows become 8, 4 and 1.

    Batches of any size thus lead to few different shapes, and so to few compilations.

    Parameters
    ----------
    transition_batch : pytree
        All leaves share their leading axis.

    Yields
    ------
    pytree
        Rows in the original order.
    """
    leaves = jax.tree.leaves(transition_batch)
    rows, start = (np.shape(leaves[0])[0] if leaves else 0), 0
    while start < rows:
        stop = start + (1 << ((rows - start).bit_length() - 1))
        yield jax.tree.map(lambda leaf, a=start, b=stop: leaf[a:b], transition_batch)
        start = stop


def unvectorize(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """From a function of batches to a function of single elements: the opposite of :func:`jax.vmap`.

    Parameters
    ----------
    f : callable
        Function of batches.
    in_axes : int, None or tuple, optional
        Where each argument gets a batch axis of length 1; None for an argument that has none. One value counts for all.
    out_axes : int, None or tuple, optional
        Which axis is taken away again. One value counts for all members of a tuple that `f` returns.

    Returns
    -------
    callable
        Function of single elements, with the same arguments.

    Raises
    ------
    ValueError
        When called: if the number of axes is not that of the arguments or outputs.
    TypeError
        When called: if there are several `out_axes` for one output.
    """

    @functools.wraps(f)
    def single(*args: Any) -> Any:
        ins = _one_axis_each(in_axes, len(args), "in_axes", "arguments")
        out = f(*(_on_leaves(jnp.expand_dims, arg, axis) for arg, axis in zip(args, ins, strict=True)))
        if not isinstance(out, tuple):
            if isinstance(out_axes, tuple | list):
                raise TypeError(
                    f"out_axes: expected an int or None for the single output of {_name(f)}, got {out_axes}. "
                    "Fix: pass one axis, or return a tuple."
                )
            return _on_leaves(jnp.squeeze, out, out_axes)
        outs = _one_axis_each(out_axes, len(out), "out_axes", "outputs")
        return tuple(_on_leaves(jnp.squeeze, part, axis) for part, axis in zip(out, outs, strict=True))

    def _name(f: Callable[..., Any]) -> str:
        return getattr(f, "__name__", repr(f))

    return single


def _on_leaves(change: Callable[..., Any], x: Any, axis: int | None) -> Any:
    return x if axis is None else jax.tree.map(lambda leaf: change(leaf, axis=axis), x)


def _one_axis_each(axes: Any, count: int, name: str, what: str) -> tuple:
    if axes is None or isinstance(axes, int):
        return (axes,) * count
    if len(axes) != count:
        raise ValueError(
            f"{name}: expected one axis for each of {count} {what}, got {len(axes)}: {axes}. "
            "Fix: pass one axis for all, or as many as there are."
        )
    return tuple(axes)
