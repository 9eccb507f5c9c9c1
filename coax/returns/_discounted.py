"""Returns that run to the end of the episode."""

from __future__ import annotations

from typing import Any

from ..typing import Array
from ._recursion import backward
from ._rollout import as_rollout, as_values, bootstrap, module_of

__all__ = ("discounted_returns",)


def discounted_returns(rewards: Any, discount: Any, cut: Any, v_next: Any = None) -> Array:
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
    rewards, discount, cut = as_rollout("discounted_returns", rewards, discount, cut, v_next)
    xp = module_of(rewards)
    (tail,) = as_values("discounted_returns", rewards, v_next=xp.zeros_like(rewards) if v_next is None else v_next)
    return backward(rewards + bootstrap(xp.where(cut, discount, 0), tail), xp.where(cut, 0, discount))
