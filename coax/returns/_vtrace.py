"""V-trace: values of a policy from the actions of another one."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..typing import Array
from ._recursion import backward
from ._rollout import as_number, as_rollout, as_values, bootstrap, module_of

__all__ = ("VTrace", "vtrace")


class VTrace(NamedTuple):
    r"""What :func:`vtrace` gives.

    Attributes
    ----------
    vs : f32[T, ...]
        Targets of the value function.
    advantages : f32[T, ...]
        Advantages for the policy gradient; the clipped importance ratio is in them.
    """

    vs: Array
    advantages: Array


def vtrace(
    rewards: Any,
    discount: Any,
    cut: Any,
    v: Any,
    v_next: Any,
    rho: Any,
    lambda_: Any = 1.0,
    rho_bar: Any = 1.0,
    c_bar: Any = 1.0,
) -> VTrace:
    r"""V-trace targets and advantages, from steps that another policy took.

    .. math::

        \rho_t = \min\left(\bar\rho, \frac{\pi(a_t|s_t)}{\mu(a_t|s_t)}\right) \qquad
        c_t = \lambda\min\left(\bar c, \frac{\pi(a_t|s_t)}{\mu(a_t|s_t)}\right) \qquad
        \delta_t = \rho_t\left(r_t + \gamma_t v(s'_t) - v(s_t)\right)

    .. math::

        v_t &= v(s_t) + \delta_t
            + \begin{cases}
                0 & \text{if there is a cut at } t \\
                \gamma_t c_t (v_{t+1} - v(s_{t+1})) & \text{else}
            \end{cases}
        \\
        A_t &= \rho_t\left(r_t + \gamma_t
            \begin{cases}
                v(s'_t) & \text{if there is a cut at } t \\
                (1-\lambda)\, v(s'_t) + \lambda\, v_{t+1} & \text{else}
            \end{cases}
            - v(s_t)\right)

    Where all ratios are 1, :math:`v_t` are the :func:`lambda_returns` and :math:`A_t` the
    :func:`generalized_advantages`. No gradient is stopped here.

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
    rho : f32[T, ...]
        Importance ratios :math:`\pi(a_t|s_t) / \mu(a_t|s_t)` of the policy that is learned and the one that acted, not
        clipped.
    lambda_ : float, optional
        The weight :math:`\lambda` of what lies further ahead, in [0, 1].
    rho_bar : float, optional
        Where the ratio of a step itself is clipped, :math:`\bar\rho`. It decides which policy the values converge to;
        infinity means no clipping.
    c_bar : float, optional
        Where the ratios that lead to a later step are clipped, :math:`\bar c`; at most `rho_bar` in the paper. It
        decides how fast the values converge.

    Returns
    -------
    VTrace

    Raises
    ------
    ValueError
        If shapes differ, `lambda_` is not in [0, 1], or `rho_bar` or `c_bar` is negative.

    References
    ----------
    Espeholt et al. (2018), IMPALA, equation 1, remark 2 and section 4.2.
    """
    name = "vtrace"
    rewards, discount, cut = as_rollout(name, rewards, discount, cut, v, v_next, rho, lambda_, rho_bar, c_bar)
    v, v_next, rho = as_values(name, rewards, v=v, v_next=v_next, rho=rho)
    lambda_ = as_number(name, "lambda_", lambda_, rewards, most=1)
    rho_bar, c_bar = (as_number(name, k, x, rewards) for k, x in (("rho_bar", rho_bar), ("c_bar", c_bar)))
    xp = module_of(rewards)

    clipped, mix = xp.minimum(rho, rho_bar), xp.where(cut, 0, lambda_)
    td_error = rewards + bootstrap(discount, v_next) - v
    vs = v + backward(clipped * td_error, discount * mix * xp.minimum(rho, c_bar))
    ahead = bootstrap(discount * (1 - mix), v_next) + bootstrap(discount * mix, xp.roll(vs, -1, axis=0))
    return VTrace(vs, clipped * (rewards + ahead - v))
