"""Lambda-returns: between one step and the whole episode."""

from __future__ import annotations

from typing import Any

from ..typing import Array
from ._recursion import backward
from ._rollout import as_number, as_rollout, as_values, bootstrap, module_of

__all__ = ("lambda_returns",)


def lambda_returns(rewards: Any, discount: Any, cut: Any, v_next: Any, lambda_: Any) -> Array:
    r"""Lambda-returns.

    .. math::

        G^\lambda_t = r_t + \gamma_t
            \begin{cases}
                v(s'_t) & \text{if there is a cut at } t \\
                (1 - \lambda)\, v(s'_t) + \lambda\, G^\lambda_{t+1} & \text{else}
            \end{cases}

    With ``lambda_=0`` these are the targets of TD(0), with ``lambda_=1`` the :func:`discounted_returns`.

    Parameters
    ----------
    rewards : f32[T, ...]
        Rewards :math:`r_t`.
    discount : f32[T, ...]
        Discount :math:`\gamma_t`: gamma, or 0 where the episode terminated.
    cut : bool[T, ...]
        Where the episode ended, terminated or truncated. The last step always counts as a cut.
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

    Examples
    --------
    >>> rewards, discount, cut = np.array([1.0, 2.0]), np.array([0.5, 0.5]), np.array([False, True])
    >>> coax.returns.lambda_returns(rewards, discount, cut, v_next=np.array([4.0, 8.0]), lambda_=0.5).tolist()
    [3.5, 6.0]

    References
    ----------
    Sutton and Barto (2018), section 12.1 and equation 12.18.
    """
    name = "lambda_returns"
    rewards, discount, cut = as_rollout(name, rewards, discount, cut, v_next, lambda_)
    (v_next,) = as_values(name, rewards, v_next=v_next)
    lambda_ = as_number(name, "lambda_", lambda_, rewards, most=1)
    mix = module_of(rewards).where(cut, 0, lambda_)
    return backward(rewards + bootstrap(discount * (1 - mix), v_next), discount * mix)
