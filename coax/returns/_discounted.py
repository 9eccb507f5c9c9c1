"""Returns that run to the end of the episode."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._rollout import as_rollout, bootstrap, same_shape

__all__ = ("discounted_returns",)


def discounted_returns(rewards: Any, discount: Any, cut: Any, v_next: Any = None) -> jax.Array:
    r"""Monte-Carlo returns, continued by a value where an episode was truncated or the rollout ends.

    .. math::

        G_t = r_t + \gamma_t \begin{cases} v(s'_t) & \text{if there is a cut at } t \\ G_{t+1} & \text{else} \end{cases}

    Parameters
    ----------
    rewards : f32[T, ...]
        Rewards :math:`r_t`.
    discount : f32[T, ...]
        Discount :math:`\gamma_t`: gamma, or 0 where the episode terminated.
    cut : bool[T, ...]
        Where the episode ended, terminated or truncated. The last step always counts as a cut.
    v_next : f32[T, ...], optional
        Value of the true next observation. It is looked at only where there is a cut and `discount` is not 0; elsewhere
        it may hold anything. If left out, nothing follows a cut.

    Returns
    -------
    f32[T, ...]

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Sutton and Barto (2018), section 3.3; Pardo et al. (2018), Time limits in reinforcement learning, section 3.1.
    """
    rewards, discount, cut = as_rollout("discounted_returns", rewards, discount, cut)
    tail = jnp.zeros_like(rewards) if v_next is None else jnp.asarray(v_next, rewards.dtype)
    same_shape("discounted_returns", rewards=rewards, v_next=tail)

    def step(g_next: jax.Array, at_t: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        r, d, ends, v = at_t
        g = r + bootstrap(d, jnp.where(ends, v, g_next))
        return g, g

    return jax.lax.scan(step, jnp.zeros_like(rewards[0]), (rewards, discount, cut, tail), reverse=True)[1]
