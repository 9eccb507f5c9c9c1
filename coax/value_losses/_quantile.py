"""The loss of quantile regression."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._regression import huber_of
from ._weights import blank_rows, check_same, weighted_mean

__all__ = ("quantile_huber", "quantile_huber_each")


def quantile_huber_each(y_true: Any, y_pred: Any, quantiles: Any, delta: float = 1.0, weights: Any = None) -> jax.Array:
    r"""Quantile regression with a Huber loss, per sample.

    With :math:`d_{ij} = y_j - \hat{y}_i`, summed over the targets :math:`j`, averaged over the predictions :math:`i`:

    .. math::

        \frac{1}{N} \sum_{i=1}^N \sum_{j=1}^M
            w_j \left|\tau_i - \mathbb{1}[d_{ij} < 0]\right| \frac{\ell_\delta(d_{ij})}{\delta}

    Parameters
    ----------
    y_true : f32[..., M]
        Samples or quantiles of the target.
    y_pred : f32[..., N]
        Predicted quantiles.
    quantiles : f32[..., N]
        The fractions :math:`\tau_i` that the predictions belong to.
    delta : float, optional
        The absolute error beyond which the loss is linear; positive.
    weights : f32[..., M], optional
        The :math:`w_j` of the targets. Default: ones.

    Returns
    -------
    f32[...]

    Raises
    ------
    ValueError
        If shapes disagree, or `delta` is not positive.

    References
    ----------
    Dabney et al. (2018a), Distributional reinforcement learning with quantile regression, equation 10;
    Dabney et al. (2018b), Implicit quantile networks, equation 3.
    """
    y_true, y_pred, quantiles = jnp.asarray(y_true), jnp.asarray(y_pred), jnp.asarray(quantiles)
    check_same("quantile_huber", y_pred=y_pred, quantiles=quantiles)
    if not y_true.ndim or y_true.shape[:-1] != y_pred.shape[:-1]:
        raise ValueError(
            f"quantile_huber: expected y_true [..., M] and y_pred [..., N] with equal leading axes, got y_true "
            f"{y_true.shape}, y_pred {y_pred.shape}. Fix: reshape them; nothing is broadcast."
        )
    d = y_true[..., None, :] - y_pred[..., :, None]
    tilt = jnp.abs(quantiles[..., :, None] - (d < 0).astype(quantiles.dtype))
    each = tilt * huber_of(d, delta) / delta
    if weights is not None:
        check_same("quantile_huber", y_true=y_true, weights=jnp.asarray(weights))
        each = each * jnp.asarray(weights)[..., None, :]
    return each.sum(axis=-1).mean(axis=-1)


def quantile_huber(y_true: Any, y_pred: Any, quantiles: Any, w: Any = None, delta: float = 1.0) -> jax.Array:
    """Mean over the samples of ``w * quantile_huber_each(y_true, y_pred, quantiles, delta)``.

    Parameters
    ----------
    y_true : f32[B, M]
        Samples or quantiles of the target.
    y_pred : f32[B, N]
        Predicted quantiles.
    quantiles : f32[B, N]
        The fractions that the predictions belong to.
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
    each = quantile_huber_each(blank_rows(w, y_true), blank_rows(w, y_pred), blank_rows(w, quantiles), delta)
    return weighted_mean(each, w)
