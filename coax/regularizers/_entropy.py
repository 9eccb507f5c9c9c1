"""A bonus for entropy."""

from __future__ import annotations

from typing import Any

import jax

from ._base import Regularizer, mean_of_live
from ._learned_temperature import LearnedTemperature

__all__ = ("EntropyRegularizer",)


class EntropyRegularizer(Regularizer):
    r"""The term :math:`-\beta\,\mathcal{H}[f(S)]`: less loss, and more value, where there is more entropy.

    The entropy is the exact one of the distribution, ``f.proba_dist.entropy``, without a sample. Masked actions have
    probability 0 in it.

    Parameters
    ----------
    f : policy, or another function with distribution parameters
    beta : float or LearnedTemperature, optional
        How much a nat of entropy is worth. May be set at any time (``regularizer.beta = 0.01``); nothing is compiled
        again. With a :class:`LearnedTemperature` it is what has been learned so far.

    Raises
    ------
    TypeError
        If `f` has no distribution parameters, or `beta` is no number.

    Notes
    -----
    It reports ``EntropyRegularizer/beta`` and ``EntropyRegularizer/entropy``, the mean over the rows that count; in the
    metrics of an updater these stand behind its name, as ``VanillaPG/EntropyRegularizer/entropy``.

    References
    ----------
    Williams and Peng (1991), Function optimization using connectionist reinforcement learning algorithms; Mnih et al.
    (2016), Asynchronous methods for deep reinforcement learning, section 4; Haarnoja et al. (2018), Soft actor-critic,
    equation 1.
    """

    def __init__(self, f: Any, beta: float | LearnedTemperature = 0.001):
        super().__init__(f, beta=beta)

    def function(self, dist_params: Any, beta: Any) -> jax.Array:  # type: ignore[override]
        """``-beta * entropy`` per row, f32[B]."""
        return -beta * self.f.proba_dist.entropy(dist_params)

    def metrics_func(self, dist_params: Any, beta: Any) -> dict[str, jax.Array]:  # type: ignore[override]
        """``beta``, and the mean entropy in nats."""
        return self._report(beta, self.f.proba_dist.entropy(dist_params).mean())

    def _evaluate(self, dist_params: Any, live: jax.Array, hyperparams: dict[str, Any]) -> tuple[jax.Array, dict]:
        beta, entropy = hyperparams["beta"], self.f.proba_dist.entropy(dist_params)
        return -beta * entropy, self._report(beta, mean_of_live(entropy, live))

    @staticmethod
    def _report(beta: Any, entropy: jax.Array) -> dict[str, Any]:
        return {"EntropyRegularizer/beta": beta, "EntropyRegularizer/entropy": entropy}
