"""The policy gradient of soft actor-critic."""

from __future__ import annotations

from collections.abc import Sequence

import optax

from .._entries import Fixed
from .._updater import checked_list
from ..approximators import Ensemble, Policy
from ..regularizers import Regularizer
from ..typing import AbstractQ
from ._base import PolicyObjective
from ._values import objective_of_values

__all__ = ("SoftPG",)


class SoftPG(PolicyObjective):
    r"""The gradient of soft actor-critic: maximise :math:`\mathbb{E}\min_i q_i(S, a)`, where a is a sample.

    The sample is reparametrised, so that the gradient gets to the policy through the action. Of Discrete actions it is
    the exact expectation :math:`\sum_a \pi_\theta(a|S) \min_i q_i(S, a)`. The entropy is not in here: add an
    :class:`coax.regularizers.EntropyRegularizer`. The arguments are those of :class:`PolicyObjective`, and these:

    Parameters
    ----------
    q_targ_list : list of q-functions, or coax.Ensemble
        Who values the actions, as they are at the time of the update. SAC has the q-functions that learn here.
    reduction : {'min', 'mean'}, optional
        What is made of the values.
    subset : int, optional
        Look at so many of the networks only, drawn anew at each update. Default: all.

    Raises
    ------
    TypeError
        If `q_targ_list` is no list or holds something else, or no gradient would get to the policy: the actions must be
        Discrete or Boxes of floats, and an `action_preprocessor` of a q-function one that jax can trace.
    ValueError
        If the list is empty, a q-function was made for other spaces than `pi`, or an option is not one.

    References
    ----------
    Haarnoja et al. (2018), "Soft actor-critic algorithms and applications", equation 9; Christodoulou (2019), "Soft
    actor-critic for discrete action settings", section 4.
    """

    REQUIRES_PROPENSITIES = None

    _uses = ("S",)

    q_targ_list = Fixed("_qs", "The q-functions that value the actions: compiled in.")

    def __init__(
        self,
        pi: Policy,
        q_targ_list: Sequence[AbstractQ] | Ensemble,
        optimizer: optax.GradientTransformation | None = None,
        regularizer: Regularizer | None = None,
        *,
        reduction: str = "min",
        subset: int | None = None,
        clip_weights: tuple[float, float] | None = None,
    ):
        self._check_pi(pi)
        self._qs = checked_list(self, "q_targ_list", q_targ_list, (AbstractQ, Ensemble), "q-functions, e.g. [q1, q2]")
        objective, self._draws = objective_of_values(self, pi, "q_targ_list", self._qs, reduction, subset, True)
        self._set_up(pi, objective, optimizer, regularizer, clip_weights)
