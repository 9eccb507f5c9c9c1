"""Losses for values on the real line."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._weights import blank_rows, check_same, weighted_mean

__all__ = ("huber", "huber_each", "mse", "mse_each")


def mse_each(y_true: Any, y_pred: Any) -> jax.Array:
    r"""Half the squared error, :math:`\frac{1}{2}(\hat{y} - y)^2`, per element.

    Parameters
    ----------
    y_true, y_pred : f32[...]
        Targets and predictions, of one shape.

    Returns
    -------
    f32[...]

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    check_same("mse", y_true=y_true, y_pred=y_pred)
    return jnp.square(y_pred - y_true) / 2


def mse(y_true: Any, y_pred: Any, w: Any = None) -> jax.Array:
    """Mean over all elements of ``w * (y_pred - y_true)^2 / 2``.

    Parameters
    ----------
    y_true, y_pred : f32[B, ...]
        Targets and predictions, of one shape.
    w : f32[B], optional
        Sample weights; a row with weight 0 is not looked at.

    Returns
    -------
    f32[]

    Raises
    ------
    ValueError
        If shapes disagree.
    """
    return weighted_mean(mse_each(blank_rows(w, y_true), blank_rows(w, y_pred)), w)


def huber_each(y_true: Any, y_pred: Any, delta: float = 1.0) -> jax.Array:
    r"""Quadratic for small errors, linear for large ones, per element.

    .. math::

        \ell(e) = \begin{cases} e^2 / 2 & |e| \le \delta \\ \delta (|e| - \delta / 2) & |e| > \delta \end{cases}
        \qquad e = \hat{y} - y

    Parameters
    ----------
    y_true, y_pred : f32[...]
        Targets and predictions, of one shape.
    delta : float, optional
        The absolute error beyond which the loss is linear; positive.

    Returns
    -------
    f32[...]

    Raises
    ------
    ValueError
        If the shapes differ, or `delta` is not positive.

    References
    ----------
    Huber (1964), Robust estimation of a location parameter; Mnih et al. (2015), Methods (clipped error).
    """
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    check_same("huber", y_true=y_true, y_pred=y_pred)
    return huber_of(y_pred - y_true, delta)


def huber(y_true: Any, y_pred: Any, w: Any = None, delta: float = 1.0) -> jax.Array:
    """Mean over all elements of ``w * huber_each(y_true, y_pred, delta)``.

    Parameters
    ----------
    y_true, y_pred : f32[B, ...]
        Targets and predictions, of one shape.
    w : f32[B], optional
        Sample weights; a row with weight 0 is not looked at.
    delta : float, optional
        The absolute error beyond which the loss is linear; positive.

    Returns
    -------
    f32[]

    Raises
    ------
    ValueError
        If shapes disagree, or `delta` is not positive.
    """
    return weighted_mean(huber_each(blank_rows(w, y_true), blank_rows(w, y_pred), delta), w)


def huber_of(err: jax.Array, delta: float) -> jax.Array:
    """The Huber loss of an error. Without a division or a root, so its gradient at 0 is 0."""
    if isinstance(delta, int | float) and not delta > 0:
        raise ValueError(f"delta: expected a positive number, got {delta}. Fix: pass for instance delta=1.0.")
    size = jnp.abs(err)
    near = jnp.minimum(size, jnp.asarray(delta, size.dtype))
    return near * (size - near / 2)
