"""Sample weights: rows that count for nothing, and the mean that all losses share."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

__all__ = ("blank_rows", "weighted_mean")

T = TypeVar("T")


def weighted_mean(loss: Any, w: Any = None) -> jax.Array:
    """Mean over all elements of ``w * loss``, not divided by the sum of the weights.

    Elements of rows with ``w == 0`` are not looked at, so they may be NaN. Their gradient with respect to `loss` is
    zero; where the loss itself was computed from NaN, its inputs need :func:`blank_rows` too.

    Parameters
    ----------
    loss : f32[B, ...]
        The loss per element.
    w : f32[B], optional
        A weight per row; may have more axes if they are the leading ones of `loss`.

    Returns
    -------
    f32[]

    Raises
    ------
    ValueError
        If the axes of `w` are not leading axes of `loss`.
    """
    loss = jnp.asarray(loss)
    if w is None:
        return jnp.mean(loss)
    w = jnp.asarray(w, loss.dtype)
    check_weights(w.shape, loss.shape)
    return jnp.mean(align(w, loss.ndim) * blank_rows(w, loss))


def blank_rows(w: Any, tree: T, fill: float = 0) -> T:
    """The same arrays, with `fill` in every row where ``w == 0``.

    Nothing flows back through a blanked row: its gradient is zero even where the row was NaN. Applied to what goes
    *into* a computation, it keeps NaN of such rows out of all that follows, gradients included.

    Parameters
    ----------
    w : f32[B] or None
        A weight per row; None leaves everything as it is.
    tree : pytree of arrays [B, ...]
    fill : float, optional
        A value for which the computation is well defined.

    Returns
    -------
    pytree of arrays [B, ...]

    Examples
    --------
    >>> coax.value_losses.blank_rows(jnp.array([1.0, 0.0]), jnp.array([3.0, jnp.nan])).tolist()
    [3.0, 0.0]
    """
    if w is None:
        return tree
    off = jnp.asarray(w) == 0

    def blank(x: Any) -> jax.Array:
        x = jnp.asarray(x)
        check_weights(off.shape, x.shape)
        return jnp.where(align(off, x.ndim), jnp.asarray(fill, x.dtype), x)

    return jax.tree.map(blank, tree)


def align(w: jax.Array, ndim: int) -> jax.Array:
    """`w` with axes of length 1 appended up to `ndim`."""
    return w.reshape(w.shape + (1,) * (ndim - w.ndim))


def check_weights(w: tuple[int, ...], loss: tuple[int, ...]) -> None:
    """Refuse weights that would have to be broadcast in any other way than over trailing axes."""
    if w != loss[: len(w)] or (not w and loss):
        raise ValueError(
            f"w: expected one weight per row, so that its shape starts the shape {loss}, got shape {w}. "
            f"Fix: pass w of shape {loss[:1]}."
        )


def check_same(name: str, **arrays: jax.Array) -> None:
    """Refuse arrays of different shapes instead of broadcasting them against each other."""
    shapes = {key: x.shape for key, x in arrays.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise ValueError(f"{name}: expected equal shapes, got {said}. Fix: reshape them; nothing is broadcast.")
