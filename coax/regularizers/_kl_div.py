"""A price for leaving a prior."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Entry
from .._stateful import is_tracing
from ._base import Regularizer, mean_of_live
from ._learned_temperature import LearnedTemperature

__all__ = ("KLDivRegularizer",)


class Priors(Entry):
    """Descriptor of the priors: they may be set to anything that they could have been made of."""

    def __set__(self, obj: Any, new: Any) -> None:
        super().__set__(obj, new if is_tracing() else _as_priors(obj.f.proba_dist, new))


class KLDivRegularizer(Regularizer):
    r"""The term :math:`\beta\,\text{KL}[f(S)\,\|\,\text{priors}] = \beta\,\mathbb{E}_f \log(f / \text{priors})`.

    Parameters
    ----------
    f : policy, or another function with distribution parameters
    beta : float or LearnedTemperature, optional
        The price of a nat. May be set at any time (``regularizer.beta = 0.01``); nothing is compiled again.
    priors : pytree of arrays, optional
        Distribution parameters, leaves [1, ...] or without that axis: the same for all rows of a batch. They may be set
        to others of the same shapes. Default: ``f.proba_dist.default_priors``, which is uniform over discrete actions
        and standard normal in logit space for a Box.

    Raises
    ------
    TypeError
        If `f` has no distribution parameters, or `beta` is no number.
    ValueError
        If `priors` have another structure or other shapes, or hold NaN.

    Notes
    -----
    It reports ``KLDivRegularizer/beta`` and ``KLDivRegularizer/kl_div``, the mean over the rows that count; in the
    metrics of an updater these stand behind its name. A prior that excludes what `f` allows makes it infinite.

    References
    ----------
    Levine (2018), Reinforcement learning and control as probabilistic inference, section 3.3; Abdolmaleki et al.
    (2018), Maximum a posteriori policy optimisation, section 2.
    """

    priors = Priors("The distribution parameters of the prior, leaves [1, ...].")

    def __init__(self, f: Any, beta: float | LearnedTemperature = 0.001, priors: Any = None):
        super().__init__(f, beta=beta)
        self._write({**self._state, "priors": _as_priors(self.f.proba_dist, priors)})

    def function(self, dist_params: Any, beta: Any, priors: Any) -> jax.Array:  # type: ignore[override]
        """``beta * kl_divergence`` per row, f32[B]."""
        return beta * self.f.proba_dist.kl_divergence(dist_params, priors)

    def metrics_func(self, dist_params: Any, beta: Any, priors: Any) -> dict[str, jax.Array]:  # type: ignore[override]
        """``beta``, and the mean divergence in nats."""
        return self._report(beta, self.f.proba_dist.kl_divergence(dist_params, priors).mean())

    def _evaluate(self, dist_params: Any, live: jax.Array, hyperparams: dict[str, Any]) -> tuple[jax.Array, dict]:
        beta, kl_div = hyperparams["beta"], self.f.proba_dist.kl_divergence(dist_params, hyperparams["priors"])
        return beta * kl_div, self._report(beta, mean_of_live(kl_div, live))

    @staticmethod
    def _report(beta: Any, kl_div: jax.Array) -> dict[str, Any]:
        return {"KLDivRegularizer/beta": beta, "KLDivRegularizer/kl_div": kl_div}


def _as_priors(dist: Any, priors: Any) -> Any:
    """Priors like the default ones, in arrays of their own."""
    like = dist.default_priors
    given = like if priors is None else priors
    structure: Any = jax.tree.structure(like)
    if structure != jax.tree.structure(given):
        raise ValueError(
            f"priors: expected the structure {structure}, got {jax.tree.structure(given)}. "
            "Fix: change the values of f.proba_dist.default_priors."
        )

    def leaf(path: tuple, want: Any, got: Any) -> np.ndarray:
        array = np.asarray(got, np.dtype(want.dtype))
        array = array[None] if array.shape == want.shape[1:] else array
        if array.shape != want.shape or np.isnan(array).any():
            what = f"shape {np.shape(got)}" if array.shape != want.shape else "NaN"
            raise ValueError(
                f"priors{jax.tree_util.keystr(path)}: expected numbers of shape {want.shape}, got {what}. "
                "Fix: give one prior for all rows; it is broadcast over the batch."
            )
        return array.copy()

    return jax.tree_util.tree_map_with_path(leaf, jax.tree.map(jnp.asarray, like), given)
