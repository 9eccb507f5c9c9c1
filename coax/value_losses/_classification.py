"""Losses for binary labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._weights import blank_rows, check_same, weighted_mean

__all__ = ("logloss", "logloss_each", "logloss_sign", "logloss_sign_each")


def logloss_each(y_true: Any, y_pred: Any) -> jax.Array:
    r"""Binary cross-entropy :math:`-y\log p - (1-y)\log(1-p)`, per element.

    Finite for ``p = 0`` and ``p = 1`` too: a probability counts as at least the smallest normal number of its dtype.

    Parameters
    ----------
    y_true : f32[...]
        Labels, 0 or 1.
    y_pred : f32[...]
        Probabilities of label 1. Where logits are at hand, :func:`logloss_sign_each` keeps more precision.

    Returns
    -------
    f32[...]

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    p = _as_float(y_pred)
    y = jnp.asarray(y_true, p.dtype)
    check_same("logloss", y_true=y, y_pred=p)
    return -y * _log(p) - (1 - y) * _log(1 - p)


def logloss(y_true: Any, y_pred: Any, w: Any = None) -> jax.Array:
    """Mean over all elements of ``w * logloss_each(y_true, y_pred)``.

    Parameters
    ----------
    y_true : f32[B, ...]
        Labels, 0 or 1.
    y_pred : f32[B, ...]
        Probabilities of label 1.
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
    return weighted_mean(logloss_each(blank_rows(w, y_true), blank_rows(w, y_pred)), w)


def logloss_sign_each(y_true_sign: Any, logits: Any) -> jax.Array:
    r"""Logistic loss :math:`\log(1 + \exp(-y z))`, per element; exact for large logits of either sign.

    Parameters
    ----------
    y_true_sign : f32[...]
        Labels, -1 or +1.
    logits : f32[...]
        Log-odds :math:`z` of label +1.

    Returns
    -------
    f32[...]

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    z = _as_float(logits)
    y = jnp.asarray(y_true_sign, z.dtype)
    check_same("logloss_sign", y_true_sign=y, logits=z)
    return jax.nn.softplus(-y * z)


def logloss_sign(y_true_sign: Any, logits: Any, w: Any = None) -> jax.Array:
    """Mean over all elements of ``w * logloss_sign_each(y_true_sign, logits)``.

    Parameters
    ----------
    y_true_sign : f32[B, ...]
        Labels, -1 or +1.
    logits : f32[B, ...]
        Log-odds of label +1.
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
    return weighted_mean(logloss_sign_each(blank_rows(w, y_true_sign), blank_rows(w, logits)), w)


def _as_float(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


def _log(p: jax.Array) -> jax.Array:
    # Adding the smallest normal number changes no larger probability, and unlike a clip it keeps the sign of the
    # gradient at 0. A probability that rounding put below 0 counts as 0.
    return jnp.log(jnp.where(p < 0, jnp.zeros_like(p), p) + jnp.finfo(p.dtype).tiny)
