"""Generalized advantages."""

from __future__ import annotations

from typing import Any

from ..typing import Array
from ._recursion import backward
from ._rollout import as_number, as_rollout, as_values, bootstrap, module_of

__all__ = ("generalized_advantages",)


def generalized_advantages(rewards: Any, discount: Any, cut: Any, v: Any, v_next: Any, lambda_: Any) -> Array:
    r"""Generalized advantage estimates (GAE).

    .. math::

        \delta_t = r_t + \gamma_t v(s'_t) - v(s_t) \qquad
        A_t = \delta_t + \begin{cases}
            0 & \text{if there is a cut at } t \\
            \gamma_t\lambda\, A_{t+1} & \text{else}
        \end{cases}

    They are the :func:`lambda_returns` less `v`, as long as ``v[t + 1]`` is ``v_next[t]`` where there is no cut.

    Parameters
    ----------
    rewards : f32[T, ...]
        Rewards :math:`r_t`.
    discount : f32[T, ...]
        Discount :math:`\gamma_t`: gamma, or 0 where the episode terminated.
    cut : bool[T, ...]
        Where the episode ended, terminated or truncated. The last step always counts as a cut.
    v : f32[T, ...]
        Value of the observation of each step.
    v_next : f32[T, ...]
        Value of the true next observation of each step. It may hold anything where `discount` is 0.
    lambda_ : float
        The weight :math:`\lambda` of what lies further ahead, in [0, 1].

    Returns
    -------
    f32[T, ...]

    Raises
    ------
    ValueError
        If shapes differ, or `lambda_` is out of range.

    References
    ----------
    Schulman et al. (2016), High-dimensional continuous control using generalized advantage estimation, section 3.
    """
    name = "generalized_advantages"
    rewards, discount, cut = as_rollout(name, rewards, discount, cut, v, v_next, lambda_)
    v, v_next = as_values(name, rewards, v=v, v_next=v_next)
    lambda_ = as_number(name, "lambda_", lambda_, rewards, most=1)
    td_error = rewards + bootstrap(discount, v_next) - v
    return backward(td_error, discount * module_of(rewards).where(cut, 0, lambda_))
