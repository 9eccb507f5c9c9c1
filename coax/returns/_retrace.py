"""Retrace: action values of a policy from the actions of another one."""

from __future__ import annotations

from typing import Any

from ..typing import Array
from ._recursion import backward
from ._rollout import as_number, as_rollout, as_values, bootstrap, module_of

__all__ = ("retrace",)


def retrace(rewards: Any, discount: Any, cut: Any, q: Any, v_next: Any, rho: Any, lambda_: Any = 1.0) -> Array:
    r"""Retrace(lambda) targets of a q-function, from steps that another policy took.

    .. math::

        c_t = \lambda\min\left(1, \frac{\pi(a_t|s_t)}{\mu(a_t|s_t)}\right) \qquad
        \delta_t = r_t + \gamma_t \sum_a \pi(a|s'_t)\, q(s'_t, a) - q(s_t, a_t)

    .. math::

        q_t = q(s_t, a_t) + \delta_t
            + \begin{cases}
                0 & \text{if there is a cut at } t \\
                \gamma_t c_{t+1} (q_{t+1} - q(s_{t+1}, a_{t+1})) & \text{else}
            \end{cases}

    Parameters
    ----------
    rewards : f32[T, ...]
        Rewards :math:`r_t`.
    discount : f32[T, ...]
        Discount :math:`\gamma_t`: gamma, or 0 where the episode terminated.
    cut : bool[T, ...]
        Where the episode ended, terminated or truncated. The last step always counts as a cut.
    q : f32[T, ...]
        Value :math:`q(s_t, a_t)` of the action that was taken.
    v_next : f32[T, ...]
        Expected value :math:`\sum_a \pi(a|s'_t)\, q(s'_t, a)` at the true next observation of each step. It may hold
        anything where `discount` is 0.
    rho : f32[T, ...]
        Importance ratios :math:`\pi(a_t|s_t) / \mu(a_t|s_t)` of the policy that is learned and the one that acted, not
        clipped. The first of an episode counts for nothing.
    lambda_ : float, optional
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
    Munos et al. (2016), Safe and efficient off-policy reinforcement learning, section 2.
    """
    rewards, discount, cut = as_rollout("retrace", rewards, discount, cut, q, v_next, rho, lambda_)
    q, v_next, rho = as_values("retrace", rewards, q=q, v_next=v_next, rho=rho)
    lambda_ = as_number("retrace", "lambda_", lambda_, rewards, most=1)
    xp = module_of(rewards)
    # The ratio belongs to the action at t + 1: that of the step itself is what the value is of.
    c_next = lambda_ * xp.minimum(xp.roll(rho, -1, axis=0), 1)
    td_error = rewards + bootstrap(discount, v_next) - q
    return q + backward(td_error, bootstrap(xp.where(cut, 0, discount), c_next))
