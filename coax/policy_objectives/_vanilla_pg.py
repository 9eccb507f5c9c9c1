"""The policy gradient."""

from __future__ import annotations

import optax

from ..approximators import Policy
from ..regularizers import Regularizer
from ._base import PolicyObjective
from ._objectives import Objective, policy_gradient

__all__ = ("VanillaPG",)


class VanillaPG(PolicyObjective):
    r"""The policy gradient: maximise :math:`\mathbb{E}\,\mathcal{A}(S, A)\,\log\pi_\theta(A|S)`.

    The actions should come from the policy as it is now. The arguments are those of :class:`PolicyObjective`.

    Notes
    -----
    It reports ``VanillaPG/kl_div_old``, how far the policy is from the one that acted, in nats: of use only where the
    tracer was given the log-probabilities of the actions.

    References
    ----------
    Williams (1992); Sutton and Barto (2018), sections 13.3 and 13.4.
    """

    REQUIRES_PROPENSITIES = False

    _uses = ("S", "A", "logP")
    _looks_at_advantages = True

    def __init__(
        self,
        pi: Policy,
        optimizer: optax.GradientTransformation | None = None,
        regularizer: Regularizer | None = None,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        self._set_up(pi, Objective(policy_gradient), optimizer, regularizer, clip_weights)
