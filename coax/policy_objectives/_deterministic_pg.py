"""The deterministic policy gradient."""

from __future__ import annotations

from typing import Any

import optax

from .._updater import check_kind
from ..approximators import Ensemble, Policy
from ..regularizers import Regularizer
from ..typing import AbstractQ
from ._base import PolicyObjective
from ._values import objective_of_values

__all__ = ("DeterministicPG",)


class DeterministicPG(PolicyObjective):
    r"""The deterministic policy gradient: maximise :math:`\mathbb{E}\,q(S, a)`, where a is the mode of the policy.

    The gradient gets to the policy through the action. Of Discrete actions, which let none through, it is the exact
    expectation :math:`\sum_a \pi_\theta(a|S)\,q(S, a)`. Of a q-function with a distribution it is the mean. The
    arguments are those of :class:`PolicyObjective`, and these:

    Parameters
    ----------
    q_targ : coax.Q, coax.StochasticQ or coax.Ensemble
        Who values the actions, as it is at the time of the update. DDPG and TD3 have the q-function that learns here.
    reduction : {'mean', 'min'}, optional
        What is made of the values by the members of an ensemble.
    subset : int, optional
        Look at so many members only, drawn anew at each update. Default: all.

    Raises
    ------
    TypeError
        If `q_targ` is no q-function, or no gradient would get to the policy: see :class:`SoftPG`.
    ValueError
        If `q_targ` was made for other spaces than `pi`, or an option is not one.

    References
    ----------
    Silver et al. (2014), "Deterministic policy gradient algorithms", theorem 1; Lillicrap et al. (2016), "Continuous
    control with deep reinforcement learning", section 3.
    """

    REQUIRES_PROPENSITIES = False

    _uses = ("S",)

    def __init__(
        self,
        pi: Policy,
        q_targ: AbstractQ | Ensemble,
        optimizer: optax.GradientTransformation | None = None,
        regularizer: Regularizer | None = None,
        *,
        reduction: str = "mean",
        subset: int | None = None,
        clip_weights: tuple[float, float] | None = None,
    ):
        if not isinstance(q_targ, Ensemble):
            check_kind(self, "q_targ", q_targ, AbstractQ, "a coax.Q, or a coax.Ensemble")
        self._check_pi(pi)
        self._qs = (q_targ,)
        objective, self._draws = objective_of_values(self, pi, "q_targ", self._qs, reduction, subset, False)
        self._set_up(pi, objective, optimizer, regularizer, clip_weights)

    @property
    def q_targ(self) -> Any:
        """Who values the actions: compiled in."""
        return self._qs[0]
