"""TD learning of state-action values: one class per algorithm, each a choice of what to bootstrap from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import optax

from .._entries import Fixed, Number
from .._updater import check_kind
from ..approximators import Policy
from ..regularizers import Regularizer
from ..typing import AbstractPolicy, AbstractQ, AbstractStochastic
from ._backups import (
    Backup,
    Choose,
    double_backup,
    double_backup_selecting_online,
    expected_backup,
    greedy_backup,
    policy_backup,
    sarsa_backup,
    soft_backup,
)
from ._base import First, TDLearning

__all__ = ("DoubleQLearning", "ExpectedSarsa", "QLearning", "Sarsa", "SoftQLearning")


_Q = Fixed("_main", "The function that learns.")

_Q_TARG = First("_targs", "The function that the target looks at.")
_PI_TARG = First("_pis", "The policy that the target looks at, or None.")


MODE_BACKUP = Backup(policy_backup, (Choose(sampled=False),))


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

    _uses = (*TDLearning._uses, "A_next")
    _not_finite_hint = (
        " Transitions that were truncated without an a_next have no target here: pass it to the tracer, "
        "tracer.add(..., truncated=True, s_next=s_next, a_next=pi(s_next))."
    )
    q, q_targ = _Q, _Q_TARG

    def __init__(
        self,
        q: AbstractQ,
        q_targ: AbstractQ | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
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
    TypeError
        If `pi_targ` is none of Policy, EpsilonGreedy and BoltzmannPolicy.

    References
    ----------
    van Seijen et al. (2009); Sutton and Barto (2018), section 6.6.
    """

    q, q_targ, pi_targ = _Q, _Q_TARG, _PI_TARG

    def __init__(
        self,
        q: AbstractQ,
        pi_targ: AbstractPolicy,
        q_targ: AbstractQ | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        _check_discrete(self, q, NotImplementedError, "use Sarsa, or QLearning with a pi_targ")
        check_kind(self, "pi_targ", pi_targ, AbstractPolicy, "the policy that acts, e.g. coax.EpsilonGreedy(q)")
        self._set_up(q, q_targ, expected_backup, optimizer, loss_function, policy_regularizer, clip_weights, (pi_targ,))


class QLearning(TDLearning):
    r"""TD learning towards :math:`R^{(n)}_t + I^{(n)}_t \max_a q(S_{t+n}, a)`.

    The arguments are those of :class:`TDLearning`.

    Parameters
    ----------
    pi_targ : coax.Policy, optional
        Says the next action where it is not Discrete: the target is that of its mode. Not used for Discrete actions.

    Raises
    ------
    TypeError
        If the actions are not Discrete and there is no `pi_targ`.

    References
    ----------
    Watkins (1989); Sutton and Barto (2018), section 6.5; with `q_targ` and a replay buffer Mnih et al. (2015); with
    `pi_targ` Lillicrap et al. (2016); with bins Bellemare, Dabney and Munos (2017), with quantiles Dabney et al.
    (2018).
    """

    q, q_targ, pi_targ = _Q, _Q_TARG, _PI_TARG

    def __init__(
        self,
        q: AbstractQ,
        pi_targ: AbstractPolicy | None = None,
        q_targ: AbstractQ | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        pis, backup = _next_action(self, q, pi_targ, greedy_backup)
        self._set_up(q, q_targ, backup, optimizer, loss_function, policy_regularizer, clip_weights, pis)


class DoubleQLearning(TDLearning):
    r"""TD learning towards the value, by one network, of the next action that the other one likes best.

    .. math:: R^{(n)}_t + I^{(n)}_t\, q(S_{t+n}, \arg\max_a q_\text{targ}(S_{t+n}, a))

    The arguments are those of :class:`TDLearning`.

    Parameters
    ----------
    pi_targ : coax.Policy, optional
        Says the next action where it is not Discrete: there is then nothing to select, and this is QLearning. Not used
        for Discrete actions.
    select_with : {'q_targ', 'q'}, optional
        Which network selects; the other one evaluates. With 'q' these are the roles of van Hasselt, Guez and Silver;
        'q_targ' is what coax has always done.

    Raises
    ------
    TypeError
        If the actions are not Discrete and there is no `pi_targ`.
    ValueError
        If `select_with` is something else.

    References
    ----------
    van Hasselt (2010); van Hasselt, Guez and Silver (2016), equation 4.
    """

    q, q_targ, pi_targ = _Q, _Q_TARG, _PI_TARG

    def __init__(
        self,
        q: AbstractQ,
        pi_targ: AbstractPolicy | None = None,
        q_targ: AbstractQ | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
        *,
        select_with: str = "q_targ",
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        backups = {"q_targ": double_backup, "q": double_backup_selecting_online}
        if select_with not in backups:
            raise ValueError(
                f"select_with: expected 'q_targ' or 'q', got {select_with!r}. Fix: name the network that selects."
            )
        pis, backup = _next_action(self, q, pi_targ, backups[select_with])
        self._set_up(q, q_targ, backup, optimizer, loss_function, policy_regularizer, clip_weights, pis)


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
        If the actions are not Discrete, or q has a distribution as output.
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
        q: AbstractQ,
        q_targ: AbstractQ | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
        temperature: float = 1.0,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        _check_q(self, q, q_targ)
        _check_discrete(self, q, NotImplementedError, "use QLearning with a pi_targ and an entropy regularizer")
        if isinstance(q, AbstractStochastic):
            raise NotImplementedError(
                f"{type(self).__name__}: expected a coax.Q, got {type(q).__name__}: laws have no soft maximum. "
                "Fix: use QLearning, or a coax.Q."
            )
        numbers = {"temperature": type(self).temperature.leaf(temperature, type(self).__name__)}
        self._set_up(
            q, q_targ, soft_backup, optimizer, loss_function, policy_regularizer, clip_weights, numbers=numbers
        )


def _next_action(updater: TDLearning, q: Any, pi_targ: Any, discrete: Callable[..., Any]) -> tuple[tuple, Any]:
    """Which policies say the next action, and the backup: the given one for Discrete actions."""
    if pi_targ is not None:
        check_kind(updater, "pi_targ", pi_targ, AbstractPolicy, "a policy, or None; a target network goes to q_targ=")
    if isinstance(q.action_space, gymnasium.spaces.Discrete):
        if pi_targ is not None:
            name = type(updater).__name__
            warnings.warn(f"{name}: pi_targ is not used for Discrete actions", UserWarning, stacklevel=3)
        return (), discrete
    check_kind(updater, "pi_targ", pi_targ, Policy, "a coax.Policy: it says the next action, which is not Discrete")
    return (pi_targ,), MODE_BACKUP
