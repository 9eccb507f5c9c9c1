"""TD targets as plain functions of arrays: batched over leading axes, no network, no key, no class."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..value_transforms import ValueTransform, as_value_transform

__all__ = (
    "best_action",
    "bootstrap",
    "double_value",
    "expected_value",
    "greedy_value",
    "soft_value",
    "truncated_quantiles",
)


def bootstrap(rn: Any, in_: Any, v_next: Any, value_transform: ValueTransform | None = None) -> jax.Array:
    r"""The n-step TD target :math:`f(R^{(n)}_t + I^{(n)}_t\,v_{t+n})`.

    Parameters
    ----------
    rn : f32[...]
        Partial return :math:`\sum_{k<n}\gamma^k R_{t+k}`.
    in_ : f32[...]
        Bootstrap factor: :math:`\gamma^n`, or 0 if the episode terminated within the n steps. Where it is 0, `v_next`
        does not matter, not even if it is infinite or NaN.
    v_next : f32[...]
        Value of the state n steps on, in the original space.
    value_transform : ValueTransform, optional
        The f of the function that learns. Default: the identity.

    Returns
    -------
    f32[...]

    References
    ----------
    Sutton and Barto (2018), equation 7.2; the transform is that of Pohlen et al. (2018), section 3.2.
    """
    in_ = jnp.asarray(in_)
    future = jnp.where(in_ == 0, 0.0, in_ * jnp.where(in_ == 0, 0.0, v_next))
    return as_value_transform(value_transform).transform_func(rn + future)


def greedy_value(q_next: Any, mask: Any = None) -> jax.Array:
    """Value of the best action.

    Parameters
    ----------
    q_next : f32[..., A]
    mask : bool[..., A], optional
        Actions that are allowed. Default: all.

    Returns
    -------
    f32[...]

    References
    ----------
    Watkins (1989); Sutton and Barto (2018), equation 6.8.
    """
    return jnp.max(_allowed(q_next, mask), axis=-1)


def double_value(q_select: Any, q_evaluate: Any, mask: Any = None) -> jax.Array:
    """Value, by one estimate, of the action that another one likes best: free of the bias of the maximum.

    Of tied best actions the first is taken.

    Parameters
    ----------
    q_select, q_evaluate : f32[..., A]
    mask : bool[..., A], optional
        Actions that are allowed. Default: all.

    Returns
    -------
    f32[...]

    References
    ----------
    van Hasselt (2010), equation 4; van Hasselt, Guez and Silver (2016), equation 4.
    """
    index = best_action(q_select, mask)[..., None]
    return jnp.take_along_axis(jnp.asarray(q_evaluate), index, axis=-1)[..., 0]


def expected_value(p_next: Any, q_next: Any) -> jax.Array:
    """Expectation over the actions of a policy. Actions of probability 0 do not matter, whatever their value.

    Parameters
    ----------
    p_next : f32[..., A]
        Probabilities.
    q_next : f32[..., A]

    Returns
    -------
    f32[...]

    References
    ----------
    van Seijen et al. (2009), equation 3; Sutton and Barto (2018), equation 6.9.
    """
    p_next = jnp.asarray(p_next)
    return jnp.sum(p_next * jnp.where(p_next > 0, q_next, 0.0), axis=-1)


def soft_value(q_next: Any, temperature: Any, mask: Any = None) -> jax.Array:
    r"""Soft maximum, :math:`\tau\log\sum_a\exp(q_a/\tau)`.

    Parameters
    ----------
    q_next : f32[..., A]
    temperature : float
        Positive; in the units of the values.
    mask : bool[..., A], optional
        Actions that are allowed. Default: all.

    Returns
    -------
    f32[...]

    References
    ----------
    Haarnoja et al. (2017), equation 5 for discrete actions.
    """
    return temperature * jax.nn.logsumexp(_allowed(q_next, mask) / temperature, axis=-1)


def truncated_quantiles(values: Any, drop: int) -> jax.Array:
    """All but the highest of the quantiles of several estimates: the fewer are left, the lower the estimate.

    Parameters
    ----------
    values : f32[..., M]
        Pooled quantiles, in any order.
    drop : int
        How many are left out, fewer than M.

    Returns
    -------
    f32[..., M - drop]
        In ascending order.

    Raises
    ------
    ValueError
        If nothing would be left.

    References
    ----------
    Kuznetsov et al. (2020), equations 10 and 11.
    """
    values = jnp.asarray(values)
    if not 0 <= drop < values.shape[-1]:
        raise ValueError(
            f"drop: expected a number of quantiles from 0 to {values.shape[-1] - 1}, got {drop}. Fix: drop fewer."
        )
    return jnp.sort(values, axis=-1)[..., : values.shape[-1] - drop]


def best_action(q: Any, mask: Any = None) -> jax.Array:
    """Position i32[...] of the best action that is allowed; of several the first.

    Parameters
    ----------
    q : f32[..., A]
    mask : bool[..., A], optional
        Actions that are allowed. Default: all.
    """
    return jnp.argmax(_allowed(q, mask), axis=-1)


def _allowed(q: Any, mask: Any) -> jax.Array:
    """The values f32[..., A], -inf where a mask excludes the action."""
    q = jnp.asarray(q)
    return q if mask is None else jnp.where(mask, q, -jnp.inf)
