"""The categorical distribution, over the elements of a Discrete space."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..utils import argmax
from ._base import BaseProbaDist, read_params, read_variate, refuse_space
from ._masks import read_mask

__all__ = ("CategoricalDist",)


# --- pure functions of logits: f32[..., A] ----------------------------------------------------------------------------


def _times_log(p: jax.Array, log_q: jax.Array) -> jax.Array:
    """``p * log_q``, and 0 with gradient 0 where p is 0, however small q is."""
    safe = jnp.where(p == 0, 0.0, log_q)  # not p > 0, which hides a p that is NaN
    return jnp.where(p == 0, 0.0, p * safe)


def gumbel_softmax(logits: jax.Array, key: jax.Array, tau: float) -> jax.Array:
    """A differentiable sample: its argmax has the probabilities of the logits (Jang et al. 2017)."""
    noise = jax.random.gumbel(key, jnp.shape(logits), jnp.result_type(logits, jnp.float32))
    return jax.nn.softmax((noise + jax.nn.log_softmax(logits)) / tau)


def mask_logits(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Logits with -inf, hence probability and gradient exactly 0, where the mask bool[..., A] is False."""
    return jnp.where(mask, logits, -jnp.inf)


def sample_index(logits: jax.Array, key: jax.Array) -> jax.Array:
    """An exact sample, as an index i32[...], by the Gumbel-max trick."""
    return jnp.argmax(logits + jax.random.gumbel(key, jnp.shape(logits), jnp.result_type(logits)), axis=-1)


def log_proba_of(logits: jax.Array, x: jax.Array) -> jax.Array:
    """Log-probability f32[...] of one-hot (or soft) variates f32[..., A]."""
    return jnp.sum(_times_log(x, jax.nn.log_softmax(logits)), axis=-1)


def log_proba_of_index(logits: jax.Array, index: jax.Array) -> jax.Array:
    """Log-probability f32[...] of indices i32[...]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), index[..., None], axis=-1)[..., 0]


def cross_entropy_of(logits_p: jax.Array, logits_q: jax.Array) -> jax.Array:
    """``-E_p log q``, f32[...]."""
    return -jnp.sum(_times_log(jax.nn.softmax(logits_p), jax.nn.log_softmax(logits_q)), axis=-1)


def kl_divergence_of(logits_p: jax.Array, logits_q: jax.Array) -> jax.Array:
    """``E_p log(p / q)``, f32[...]."""
    p, log_p, log_q = jax.nn.softmax(logits_p), jax.nn.log_softmax(logits_p), jax.nn.log_softmax(logits_q)
    return jnp.sum(_times_log(p, log_p) - _times_log(p, log_q), axis=-1)


# --- the bundles ------------------------------------------------------------------------------------------------------


class OverLogits:
    """Mixin of the distributions with parameters ``{'logits': f32[..., A]}``, over A categories; it has no state."""

    # from the classes that it is mixed with
    _name: str
    _n: int
    _tau: float

    @property
    def gumbel_softmax_tau(self) -> float:
        """Temperature of the soft samples."""
        return self._tau

    @property
    def default_priors(self) -> dict[str, jax.Array]:
        """Uniform: ``{'logits': f32[1, A]}``, all zero."""
        return {"logits": jnp.zeros((1, self._n))}

    def _logits(self, dist_params: Any) -> jax.Array:
        return read_params(self._name, dist_params, {"logits": (self._n,)})[0]

    def sample(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """Soft, differentiable variates f32[..., A]; their argmax is an exact sample."""
        return gumbel_softmax(self._logits(dist_params), rng, self._tau)

    def mean(self, dist_params: Any) -> jax.Array:
        """Probabilities f32[..., A]."""
        return jax.nn.softmax(self._logits(dist_params))

    def log_proba(self, dist_params: Any, X: Any) -> jax.Array:
        """Log-probability f32[...] of one-hot variates f32[..., A]; of soft ones, the mean over their weights."""
        logits = self._logits(dist_params)
        return log_proba_of(logits, read_weights("X", X, self._n))

    def sample_and_log_proba(self, dist_params: Any, rng: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Soft variates f32[..., A], and the log-probability f32[...] of the category that each stands for."""
        logits = self._logits(dist_params)
        X = gumbel_softmax(logits, rng, self._tau)
        return X, log_proba_of_index(logits, jnp.argmax(X, axis=-1))

    def entropy(self, dist_params: Any) -> jax.Array:
        """``-E_p log p``, f32[...], in nats."""
        logits = self._logits(dist_params)
        return cross_entropy_of(logits, logits)

    def cross_entropy(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``-E_p log q``, f32[...], in nats; infinite where q excludes what p allows."""
        return cross_entropy_of(self._logits(dist_params_p), self._logits(dist_params_q))

    def kl_divergence(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``E_p log(p / q)``, f32[...], in nats; infinite where q excludes what p allows."""
        return kl_divergence_of(self._logits(dist_params_p), self._logits(dist_params_q))


class CategoricalDist(OverLogits, BaseProbaDist):
    r"""Categorical distribution over a Discrete space.

    The distribution parameters are ``{'logits': f32[..., A]}``, unnormalised log-probabilities; -inf is allowed for
    actions that are impossible. A variate is a vector f32[..., A]: one-hot, or its soft form (Gumbel-softmax).

    Parameters
    ----------
    space : gymnasium.spaces.Discrete
        A actions, from ``space.start`` on.
    gumbel_softmax_tau : float, optional
        Temperature of the soft samples: the smaller, the closer to one-hot.

    Raises
    ------
    TypeError
        If `space` is not a Discrete space.
    ValueError
        If the temperature is not positive.

    References
    ----------
    Jang, Gu and Poole (2017), section 2; Maddison, Mnih and Teh (2017), section 3.
    """

    def __init__(self, space: gymnasium.Space, gumbel_softmax_tau: float = 0.2):
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise refuse_space(space, "Discrete")
        self._n, self._tau = int(space.n), check_tau(gumbel_softmax_tau)
        self._set_up(space, {"gumbel_softmax_tau": self._tau})

    @property
    def num_categories(self) -> int:
        """A, the number of actions."""
        return self._n

    def mode(self, dist_params: Any) -> jax.Array:
        """A soft one-hot f32[..., A] of the most likely action."""
        return jax.nn.softmax(jax.nn.log_softmax(self._logits(dist_params)) / self._tau)

    def affine_transform(self, dist_params: Any, scale: Any, shift: Any, value_transform: Any = None) -> Any:
        """Not defined: the categories are not numbers.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("affine_transform: the categories of a CategoricalDist are not numbers")

    def masked(self, dist_params: Any, mask: Any) -> Any:
        """The same with probability 0 for what a mask bool[..., A] excludes.

        Raises
        ------
        ValueError
            If the mask has another length, or allows nothing.
        """
        if mask is None:
            return dist_params
        logits, mask = self._logits(dist_params), read_mask("mask", mask, self._n)
        if mask.ndim > 1 and mask.shape != logits.shape:
            raise ValueError(
                f"mask: expected the shape of the logits, {logits.shape}, or one mask for all, got {mask.shape}. "
                "Fix: give it the leading axes of the distribution parameters."
            )
        return {"logits": mask_logits(logits, mask)}

    def sample_element(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """Actions i32[...]."""
        return sample_index(self._logits(dist_params), rng) + int(self._space.start)

    def to_element(self, X: Any, rng: jax.Array) -> jax.Array:
        """Actions i32[...]: the argmax of variates f32[..., A], ties broken at random."""
        return argmax(rng, read_weights("X", X, self._n)) + int(self._space.start)

    def from_element(self, x: Any) -> jax.Array:
        """One-hot f32[..., A] of actions i[...]."""
        return jax.nn.one_hot(jnp.asarray(x) - int(self._space.start), self._n)


def check_tau(tau: Any) -> float:
    """A temperature of soft samples."""
    if not tau > 0:
        raise ValueError(f"gumbel_softmax_tau: expected a positive number, got {tau}. Fix: try 0.2.")
    return float(tau)


def read_weights(name: str, X: Any, n: int) -> jax.Array:
    """Variates f32[..., A] of categories: weights that sum to one."""

    def inside(x: np.ndarray) -> Any:
        return (x >= 0).all(axis=-1) & (np.abs(x.sum(axis=-1) - 1) < 1e-2)

    return read_variate(name, X, (n,), inside, "one-hot vectors (or weights that sum to 1)")
