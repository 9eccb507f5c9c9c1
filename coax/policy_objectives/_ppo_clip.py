"""Proximal policy optimisation with a clipped objective."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optax

from .._entries import Fixed, Number
from ..approximators import Policy
from ..regularizers import Regularizer
from ..reward_tracing import TransitionBatch
from ._base import PolicyObjective
from ._objectives import Objective, clipped_surrogate

__all__ = ("PPOClip",)


class PPOClip(PolicyObjective):
    r"""Proximal policy optimisation: a step that brings nothing once the policy has moved far enough.

    With the ratio :math:`\rho = \pi_\theta(A|S) / \pi_\text{old}(A|S)`, maximise

    .. math::

        \mathbb{E} \min\left(\rho\,\mathcal{A},\ \text{clip}(\rho, 1-\epsilon, 1+\epsilon)\,\mathcal{A}\right)

    The tracer must have been given the log-probabilities of the actions when they were taken,
    ``tracer.add(s, a, r, terminated, logp, ...)``. The arguments are those of :class:`PolicyObjective`, and these:

    Parameters
    ----------
    epsilon : float, optional
        How far the ratio may move. May be set at any time.
    normalize_advantage : bool, optional
        Shift and scale the advantages of each batch to mean 0 and deviation 1, over the rows that count.
    dual_clip : float, optional
        For negative advantages the objective is never below ``dual_clip * Adv``, so that a ratio that has become huge
        cannot dominate; above 1, say 3. Given at construction, it may be set at any time. Default: no such bound.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Warns
    -----
    UserWarning
        If all log-probabilities in a batch are 0: they were probably not recorded.

    Notes
    -----
    It reports ``PPOClip/kl_div_old``, how far the policy is from the one that acted, in nats, estimated from the
    actions, and ``PPOClip/clip_fraction``, the share of rows whose ratio is outside of the bounds.

    References
    ----------
    Schulman et al. (2017), "Proximal policy optimization algorithms", equation 7; `dual_clip` is that of Ye et al.
    (2020), "Mastering complex control in MOBA games with deep reinforcement learning", equation 2.
    """

    REQUIRES_PROPENSITIES = True

    _uses = ("S", "A", "logP")
    _looks_at_advantages = True

    epsilon = Number(0)
    dual_clip = Number(1, exclusive=True)
    normalize_advantage = Fixed("_normalize_advantage", "Whether advantages are normalised: compiled in.")

    def __init__(
        self,
        pi: Policy,
        optimizer: optax.GradientTransformation | None = None,
        regularizer: Regularizer | None = None,
        epsilon: float = 0.2,
        *,
        normalize_advantage: bool = False,
        dual_clip: float | None = None,
        clip_weights: tuple[float, float] | None = None,
    ):
        self._normalize_advantage = bool(normalize_advantage)
        numbers = {"epsilon": type(self).epsilon.leaf(epsilon, "PPOClip")}
        if dual_clip is not None:
            numbers["dual_clip"] = type(self).dual_clip.leaf(dual_clip, "PPOClip")
        objective = Objective(clipped_surrogate, (self._normalize_advantage, dual_clip is not None))
        self._set_up(pi, objective, optimizer, regularizer, clip_weights, numbers)

    def _check_more(self, tb: TransitionBatch, live: Any, found: dict[str, Any]) -> None:
        super()._check_more(tb, live, found)
        if isinstance(tb.logP, np.ndarray) and not tb.logP.any():
            warnings.warn(
                "PPOClip: expected the log-probabilities of the actions in logP, got zeros. "
                "Fix: a, logp = pi(s, return_logp=True), and tracer.add(s, a, r, terminated, logp, ...)",
                UserWarning,
                stacklevel=5,
            )
