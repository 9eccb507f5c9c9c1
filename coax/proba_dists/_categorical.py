"""The categorical distribution, over the elements of a Discrete space."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..utils import argmax, jit

__all__ = ("CategoricalDist",)


# --- pure functions of logits: f32[..., A] ----------------------------------------------------------------------------


def _times_log(p: jax.Array, log_q: jax.Array) -> jax.Array:
    """``p * log_q``, and 0 with gradient 0 where p is 0, however small q is."""
    safe = jnp.where(p > 0, log_q, 0.0)
    return jnp.where(p > 0, p * safe, 0.0)


def gumbel_softmax(logits: jax.Array, key: jax.Array, tau: float) -> jax.Array:
    """A differentiable sample: its argmax has the probabilities of the logits (Jang et al. 2017)."""
    noise = jax.random.gumbel(key, jnp.shape(logits), jnp.result_type(logits, jnp.float32))
    return jax.nn.softmax((noise + jax.nn.log_softmax(logits)) / tau)


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


# --- the bundle -------------------------------------------------------------------------------------------------------


class CategoricalDist:
    r"""Categorical distribution over a Discrete space.

    The distribution parameters are ``{'logits': f32[..., A]}``, unnormalised log-probabilities; -inf is allowed for
    actions that are impossible. A raw variate is a vector f32[..., A]: one-hot, or its soft form (Gumbel-softmax).

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

    References
    ----------
    Jang, Gu and Poole (2017), section 2; Maddison, Mnih and Teh (2017), section 3.
    """

    def __init__(self, space: gymnasium.spaces.Discrete, gumbel_softmax_tau: float = 0.2):
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise TypeError(
                f"space: expected gymnasium.spaces.Discrete, got {space!r}. "
                "Fix: use the distribution of that space, or a coax.wrappers wrapper that makes it Discrete."
            )
        if not gumbel_softmax_tau > 0:
            raise ValueError(f"gumbel_softmax_tau: expected a positive number, got {gumbel_softmax_tau}. Fix: try 0.2.")
        self._space = space
        self._tau = float(gumbel_softmax_tau)

    @property
    def space(self) -> gymnasium.spaces.Discrete:
        """The space of the clean variates."""
        return self._space

    @property
    def gumbel_softmax_tau(self) -> float:
        """Temperature of the soft samples."""
        return self._tau

    @property
    def hyperparams(self) -> dict[str, float]:
        """``{'gumbel_softmax_tau': float}``."""
        return {"gumbel_softmax_tau": self._tau}

    @property
    def default_priors(self) -> dict[str, jax.Array]:
        """Uniform: ``{'logits': f32[1, A]}``, all zero."""
        return {"logits": jnp.zeros((1, self.num_categories))}

    @property
    def dist_params_structure(self) -> Any:
        """Tree structure of the distribution parameters."""
        return jax.tree.structure(self.default_priors)

    @property
    def num_categories(self) -> int:
        """A, the number of actions."""
        return int(self._space.n)

    def _logits(self, dist_params: Any) -> jax.Array:
        return self._per_category("dist_params['logits']", dist_params["logits"])

    def _per_category(self, name: str, x: Any) -> jax.Array:
        shape = np.shape(x)
        if not shape or shape[-1] != self.num_categories:
            raise ValueError(
                f"{name}: expected shape (..., {self.num_categories}), got {shape}. "
                "Fix: give the last axis one entry per action."
            )
        return jnp.asarray(x)

    def sample(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """Soft, differentiable variates f32[..., A]; their argmax is an exact sample."""
        return gumbel_softmax(self._logits(dist_params), rng, self._tau)

    def mean(self, dist_params: Any) -> jax.Array:
        """Probabilities f32[..., A]."""
        return jax.nn.softmax(self._logits(dist_params))

    def mode(self, dist_params: Any) -> jax.Array:
        """A soft one-hot f32[..., A] of the most likely action."""
        return jax.nn.softmax(jax.nn.log_softmax(self._logits(dist_params)) / self._tau)

    def log_proba(self, dist_params: Any, X: Any) -> jax.Array:
        """Log-probability f32[...] of raw variates f32[..., A]."""
        return log_proba_of(self._logits(dist_params), jnp.asarray(X))

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

    def affine_transform(self, dist_params: Any, scale: Any, shift: Any, value_transform: Any = None) -> Any:
        """Not defined: the categories are not numbers.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("affine_transform: the categories of a CategoricalDist are not numbers")

    def preprocess_variate(self, rng: jax.Array | None, X: Any) -> jax.Array:
        """One-hot f32[..., A] of clean variates i[...]; a single one becomes a batch of one.

        Raises
        ------
        TypeError
            If `X` are not integers.
        """
        X = jnp.asarray(X)
        if not jnp.issubdtype(X.dtype, jnp.integer):
            raise TypeError(f"X: expected integers from {self._space}, got {X.dtype}. Fix: pass actions, not variates.")
        return jax.nn.one_hot(jnp.atleast_1d(X) - int(self._space.start), self.num_categories, dtype=jnp.float32)

    def postprocess_variate(self, rng: jax.Array, X: Any, index: int = 0, batch_mode: bool = False) -> Any:
        """Clean variates of raw ones f32[B, A]: the argmax, ties broken at random.

        Returns
        -------
        int, or i64[B] in `batch_mode`
            Inside a trace a jax integer.
        """
        X = self._per_category("X", X)
        found = _argmax(rng, X if batch_mode else X[index])
        if isinstance(found, jax.core.Tracer):
            return found + int(self._space.start)
        clean = np.asarray(found).astype(self._space.dtype) + self._space.start
        return clean if batch_mode else int(clean)


_argmax = jit(argmax)
