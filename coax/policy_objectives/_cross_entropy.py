"""Imitation of the actions in the batch."""

from __future__ import annotations

from typing import Any

import optax

from .._entries import Number
from ..approximators import Policy
from ..regularizers import Regularizer
from ..reward_tracing import TransitionBatch
from ._base import PolicyObjective
from ._objectives import Objective, cloning

__all__ = ("CrossEntropy",)


class CrossEntropy(PolicyObjective):
    r"""Do what was done in the batch: maximise :math:`\mathbb{E}\,w\,\log\pi_\theta(A|S)`.

    Without a `temperature` all actions count the same, :math:`w = 1`, which is behaviour cloning. With one the better
    ones count more, :math:`w = \min(\exp(\mathcal{A} / \text{temperature}), \text{max\_weight})`. The actions may come
    from any policy. The arguments are those of :class:`PolicyObjective`, and these:

    Parameters
    ----------
    temperature : float, optional
        The lower, the more the best actions count. Given at construction, it may be set at any time. Default: no
        weights.
    max_weight : float, optional
        The largest weight. May be set at any time.

    Raises
    ------
    ValueError
        If a number is out of its range; at the update, if there are advantages but no temperature.

    Notes
    -----
    With a `temperature` it reports ``CrossEntropy/weight``, the mean of the weights.

    References
    ----------
    Pomerleau (1991), "Efficient training of artificial neural networks for autonomous navigation"; Peng et al. (2019),
    "Advantage-weighted regression", equation 9 and section 5.
    """

    REQUIRES_PROPENSITIES = False

    _uses = ("S", "A")

    temperature = Number(0, exclusive=True)
    max_weight = Number(0, exclusive=True)

    def __init__(
        self,
        pi: Policy,
        optimizer: optax.GradientTransformation | None = None,
        regularizer: Regularizer | None = None,
        *,
        temperature: float | None = None,
        max_weight: float = 20.0,
        clip_weights: tuple[float, float] | None = None,
    ):
        numbers = {"max_weight": type(self).max_weight.leaf(max_weight, "CrossEntropy")}
        self._looks_at_advantages = temperature is not None
        if temperature is not None:
            numbers["temperature"] = type(self).temperature.leaf(temperature, "CrossEntropy")
        objective = Objective(cloning, (self._looks_at_advantages,))
        self._set_up(pi, objective, optimizer, regularizer, clip_weights, numbers)

    def _prepared(self, tb: TransitionBatch, Adv: Any) -> Any:
        if Adv is not None and not self._looks_at_advantages:
            raise ValueError(
                "CrossEntropy: expected no advantages, because it was made without a temperature, got Adv. "
                "Fix: make it with temperature=1.0, or leave Adv out."
            )
        return super()._prepared(tb, Adv)
