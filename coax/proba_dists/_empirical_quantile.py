"""The law of N equally likely numbers, such as estimates of the quantiles of a return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..value_transforms import as_value_transform
from ._base import BaseProbaDist, read_numbers, read_params, read_variate
from ._masks import refuse_mask
from ._particles import Particles

__all__ = ("EmpiricalQuantileDist",)


# --- pure functions of values: f32[..., N] ----------------------------------------------------------------------------


def share_of(values: jax.Array, x: jax.Array) -> jax.Array:
    """The share f32[..., M] of the values that are equal to each of the numbers f32[..., M]."""
    return jnp.mean(values[..., None, :] == x[..., None], axis=-1, dtype=values.dtype)


def most_frequent(values: jax.Array) -> jax.Array:
    """The most frequent value f32[...]; of several, the one nearest to the median, and then the lower one."""
    values = jnp.sort(values, axis=-1)  # so that argmin finds the lower one first
    share = share_of(values, values)
    away = jnp.abs(values - jnp.median(values, axis=-1, keepdims=True))
    rank = jnp.where(share == jnp.max(share, axis=-1, keepdims=True), away, jnp.inf)
    return jnp.take_along_axis(values, jnp.argmin(rank, axis=-1)[..., None], axis=-1)[..., 0]


# --- the bundle -------------------------------------------------------------------------------------------------------


class EmpiricalQuantileDist(BaseProbaDist):
    r"""The law of N equally likely numbers.

    The distribution parameters are ``{'values': f32[..., N], 'quantile_fractions': f32[..., N]}``. A value estimates
    the quantile at its fraction, a number in (0, 1). The fractions only say which quantiles were asked for: whatever
    they are, each value has probability 1/N (equal values add up). Variates and elements are real numbers f32[...].

    Parameters
    ----------
    num_quantiles : int
        N.

    Raises
    ------
    ValueError
        If `num_quantiles` is not a positive integer.

    References
    ----------
    Dabney et al. (2018a), section 3; Dabney et al. (2018b), section 3.
    """

    def __init__(self, num_quantiles: int):
        if not isinstance(num_quantiles, int | np.integer) or isinstance(num_quantiles, bool) or num_quantiles < 1:
            raise ValueError(f"num_quantiles: expected a positive int, got {num_quantiles!r}. Fix: try 32.")
        self._set_up(gymnasium.spaces.Box(-np.inf, np.inf, ()), {"num_quantiles": int(num_quantiles)})

    @property
    def num_quantiles(self) -> int:
        """N, the number of values."""
        return self._hyperparams["num_quantiles"]

    @property
    def default_priors(self) -> dict[str, jax.Array]:
        """``{'values': f32[1, N], 'quantile_fractions': f32[1, N]}``: zeros and ones."""
        shape = (1, self.num_quantiles)
        return {"values": jnp.zeros(shape), "quantile_fractions": jnp.ones(shape)}

    def _read(self, dist_params: Any) -> tuple[jax.Array, jax.Array]:
        shape = (self.num_quantiles,)
        values, fractions = read_params(self._name, dist_params, {"values": shape, "quantile_fractions": shape})
        return values, fractions

    def sample(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """One of the values f32[...] at random, differentiable in it."""
        values, _ = self._read(dist_params)
        index = jax.random.randint(rng, values.shape[:-1], 0, self.num_quantiles)
        return jnp.take_along_axis(values, index[..., None], axis=-1)[..., 0]

    def mean(self, dist_params: Any) -> jax.Array:
        """The mean f32[...] of the values."""
        return self.expectation(dist_params)

    def expectation(self, dist_params: Any, func: Callable[[Any], Any] | None = None) -> jax.Array:
        """``E func(X)``, f32[...].

        Parameters
        ----------
        dist_params : {'values': f32[..., N], 'quantile_fractions': f32[..., N]}
        func : callable, optional
            From numbers to numbers, entry by entry, for instance the inverse of a value transform, whose expectation is
            the mean in the original space. By default the identity.
        """
        values, _ = self._read(dist_params)
        return jnp.mean(values if func is None else func(values), axis=-1)

    def particles(self, dist_params: Any) -> Particles:
        """The values f32[..., N] with probabilities 1/N."""
        values, _ = self._read(dist_params)
        return Particles(values, jnp.full_like(values, 1 / self.num_quantiles))

    def mode(self, dist_params: Any) -> jax.Array:
        """The most frequent value f32[...]; of several, the one nearest to the median, and then the lower one."""
        return most_frequent(self._read(dist_params)[0])

    def log_proba(self, dist_params: Any, X: Any) -> jax.Array:
        """Logarithm f32[...] of the share of the values that are equal to numbers f32[...]; -inf where none is."""
        values, _ = self._read(dist_params)
        X = read_variate("X", X, (), lambda x: True, "numbers")
        return jnp.log(share_of(values, X[..., None]))[..., 0]

    def sample_and_log_proba(self, dist_params: Any, rng: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One of the values f32[...] at random, and its log-probability f32[...]."""
        X = self.sample(dist_params, rng)
        return X, self.log_proba(dist_params, X)

    def entropy(self, dist_params: Any) -> jax.Array:
        """``-E_p log p``, f32[...], in nats: log N if all values differ."""
        return self.cross_entropy(dist_params, dist_params)

    def cross_entropy(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``-E_p log q``, f32[...], in nats; infinite where q lacks a value of p."""
        (p, _), (q, _) = self._read(dist_params_p), self._read(dist_params_q)
        return -jnp.mean(jnp.log(share_of(q, p)), axis=-1)

    def kl_divergence(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``E_p log(p / q)``, f32[...], in nats; infinite where q lacks a value of p."""
        return self.cross_entropy(dist_params_p, dist_params_q) - self.entropy(dist_params_p)

    def affine_transform(
        self, dist_params: Any, scale: Any, shift: Any, value_transform: Any = None
    ) -> dict[str, jax.Array]:
        """Distribution parameters of ``f(scale * f_inverse(X) + shift)``; the fractions stay as they are.

        Parameters
        ----------
        dist_params : {'values': f32[..., N], 'quantile_fractions': f32[..., N]}
        scale, shift : f32[] or f32[...]
        value_transform : ValueTransform, or pair of functions, or None
            f and its inverse, if the values are transformed ones.
        """
        f, f_inverse = as_value_transform(value_transform)
        values, fractions = self._read(dist_params)
        scale = read_numbers("scale", scale, values.shape[:-1], values.dtype)
        shift = read_numbers("shift", shift, values.shape[:-1], values.dtype)
        return {"values": f(scale * f_inverse(values) + shift), "quantile_fractions": fractions}

    def masked(self, dist_params: Any, mask: Any) -> Any:
        """The same; only a mask of None makes sense here.

        Raises
        ------
        ValueError
            If there is a mask.
        """
        refuse_mask("mask", mask, self._space)
        return dist_params

    def sample_element(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """One of the values f32[...] at random."""
        return self.sample(dist_params, rng)

    def to_element(self, X: Any, rng: jax.Array) -> jax.Array:
        """The numbers themselves; the key is not used."""
        return read_variate("X", X, (), lambda x: True, "numbers")

    def from_element(self, x: Any) -> jax.Array:
        """The numbers themselves."""
        return jnp.asarray(x)
