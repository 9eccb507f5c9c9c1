"""TD learning of state-action values: one class per algorithm, each a choice of what to bootstrap from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium

from .._entries import Fixed, Number
from ..typing import AbstractPolicy, AbstractQ
from ._backups import (
    double_backup,
    double_backup_selecting_online,
    expected_backup,
    greedy_backup,
    sarsa_backup,
    soft_backup,
)
from ._base import TDLearning
from ._checks import check_kind

__all__ = ("DoubleQLearning", "ExpectedSarsa", "QLearning", "Sarsa", "SoftQLearning")


_Q = Fixed("_main", "The function that learns.")
_Q_TARG = Fixed("_targ", "The function that the target looks at.")
_PI_TARG = Fixed("_pi_targ", "The policy that the target looks at, or None.")


def _check_q(updater: TDLearning, q: Any, q_targ: Any) -> None:
    check_kind(updater, "q", q, AbstractQ, "a coax.Q")
    check_kind(updater, "q_targ", q if q_targ is None else q_targ, AbstractQ, "one coax.Q, e.g. q.copy()")


def _check_discrete(updater: TDLearning, q: Any, error: type[Exception], repair: str) -> None:
    if not isinstance(q.action_space, gymnasium.spaces.Discrete):
        raise error(f"{type(updater).__name__}: expected Discrete actions, got {q.action_space}. Fix: {repair}.")


class Sarsa(TDLearning):
    r"""TD learning towards :math:`R^{(n)}_t + I^{(n)}_t\,q(S_{t+n}, A_{t+n})`, with the next action that was taken.

    The arguments are those of :class:`TDLearning`. Transitions that end in a truncation need ``a_next``.

    References
    ----------
    Rummery and Niranjan (1994); Sutton and Barto (2018), sections 6.4 and 7.2.
    """

    _uses_a_next = True
    _not_finite_hint = (
        " Transitions that were truncated without an a_next have no target here: pass it to the tracer, "
        "tracer.add(..., truncated=True, s_next=s_next, a_next=pi(s_next))."
    )
    q, q_targ = _Q, _Q_TARG

    def __init__(
        self,
        q: Any,
        q_targ: Any = None,
        optimizer: Any = None,
        loss_function: Callable | None = None,
        policy_regularizer: Any = None,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        self._set_up(q, q_targ, sarsa_backup, optimizer, loss_function, policy_regularizer, clip_weights)


class ExpectedSarsa(TDLearning):
    r"""TD learning towards :math:`R^{(n)}_t + I^{(n)}_t \sum_a \pi(a|S_{t+n})\,q(S_{t+n}, a)`.

    The arguments are those of :class:`TDLearning`, and `pi_targ`.

    Parameters
    ----------
    pi_targ : policy
        Whose expectation to take. The expectation is exact: q is evaluated at every action.

    Raises
    ------
    NotImplementedError
        If the actions are not Discrete.

    References
    ----------
    van Seijen et al. (2009); Sutton and Barto (2018), section 6.6.
    """

    q, q_targ, pi_targ = _Q, _Q_TARG, _PI_TARG

    def __init__(
        self,
        q: Any,
        pi_targ: Any,
        q_targ: Any = None,
        optimizer: Any = None,
        loss_function: Callable | None = None,
        policy_regularizer: Any = None,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        _check_discrete(self, q, NotImplementedError, "use Sarsa, or QLearning with a pi_targ")
        check_kind(self, "pi_targ", pi_targ, AbstractPolicy, "the policy that acts, e.g. coax.EpsilonGreedy(q)")
        self._set_up(q, q_targ, expected_backup, optimizer, loss_function, policy_regularizer, clip_weights, pi_targ)


class QLearning(TDLearning):
    r"""TD learning towards :math:`R^{(n)}_t + I^{(n)}_t \max_a q(S_{t+n}, a)`.

    The arguments are those of :class:`TDLearning`.

    Parameters
    ----------
    pi_targ : policy, optional
        Not used for Discrete actions.

    Raises
    ------
    TypeError
        If the actions are not Discrete.

    References
    ----------
    Watkins (1989); Sutton and Barto (2018), section 6.5; with `q_targ` and a replay buffer Mnih et al. (2015).
    """

    q, q_targ, pi_targ = _Q, _Q_TARG, _PI_TARG

    def __init__(
        self,
        q: Any,
        pi_targ: Any = None,
        q_targ: Any = None,
        optimizer: Any = None,
        loss_function: Callable | None = None,
        policy_regularizer: Any = None,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        _check_greedy(self, q, pi_targ)
        self._set_up(q, q_targ, greedy_backup, optimizer, loss_function, policy_regularizer, clip_weights)


class DoubleQLearning(TDLearning):
    r"""TD learning towards the value, by one network, of the next action that the other one likes best.

    .. math:: R^{(n)}_t + I^{(n)}_t\, q(S_{t+n}, \arg\max_a q_\text{targ}(S_{t+n}, a))

    The arguments are those of :class:`TDLearning`.

    Parameters
    ----------
    pi_targ : policy, optional
        Not used for Discrete actions.
    select_with : {'q_targ', 'q'}, optional
        Which network selects; the other one evaluates. With 'q' these are the roles of van Hasselt, Guez and Silver;
        'q_targ' is what coax has always done.

    Raises
    ------
    TypeError
        If the actions are not Discrete.
    ValueError
        If `select_with` is something else.

    References
    ----------
    van Hasselt (2010); van Hasselt, Guez and Silver (2016), equation 4.
    """

    q, q_targ, pi_targ = _Q, _Q_TARG, _PI_TARG

    def __init__(
        self,
        q: Any,
        pi_targ: Any = None,
        q_targ: Any = None,
        optimizer: Any = None,
        loss_function: Callable | None = None,
        policy_regularizer: Any = None,
        *,
        select_with: str = "q_targ",
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        _check_greedy(self, q, pi_targ)
        backups = {"q_targ": double_backup, "q": double_backup_selecting_online}
        if select_with not in backups:
            raise ValueError(
                f"select_with: expected 'q_targ' or 'q', got {select_with!r}. Fix: name the network that selects."
            )
        self._set_up(q, q_targ, backups[select_with], optimizer, loss_function, policy_regularizer, clip_weights)


class SoftQLearning(TDLearning):
    r"""TD learning towards :math:`R^{(n)}_t + I^{(n)}_t\,\tau\log\sum_a\exp(q(S_{t+n}, a)/\tau)`.

    The arguments are those of :class:`TDLearning`.

    Parameters
    ----------
    temperature : float, optional
        :math:`\tau`, in the units of the values. May be set at any time; nothing is compiled again.

    Raises
    ------
    NotImplementedError
        If the actions are not Discrete.
    ValueError
        If the temperature is not positive.

    References
    ----------
    Haarnoja et al. (2017).
    """

    q, q_targ = _Q, _Q_TARG
    temperature = Number(0, exclusive=True)

    def __init__(
        self,
        q: Any,
        q_targ: Any = None,
        optimizer: Any = None,
        loss_function: Callable | None = None,
        policy_regularizer: Any = None,
        temperature: float = 1.0,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        _check_discrete(self, q, NotImplementedError, "use QLearning with a pi_targ and an entropy regularizer")
        numbers = {"temperature": type(self).temperature.leaf(temperature, type(self).__name__)}
        self._set_up(
            q, q_targ, soft_backup, optimizer, loss_function, policy_regularizer, clip_weights, numbers=numbers
        )


def _check_greedy(updater: TDLearning, q: Any, pi_targ: Any) -> None:
    if pi_targ is not None:
        check_kind(updater, "pi_targ", pi_targ, AbstractPolicy, "a policy, or None")
    _check_discrete(updater, q, TypeError, "wrap the environment so that its actions are Discrete")
    if pi_targ is not None:
        warnings.warn(f"{type(updater).__name__}: pi_targ is not used for Discrete actions", UserWarning, stacklevel=3)
