"""The normal distribution squashed into a Box by a hyperbolic tangent."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ._base import BaseProbaDist, read_variate, refuse_space
from ._normal import (
    OverGaussian,
    at_least_f32,
    check_bounds,
    check_clip,
    cross_entropy_each,
    draw,
    entropy_each,
    into_box,
    log_density_each,
    logit_of,
    read_reals,
    sum_last,
)

__all__ = ("SquashedNormalDist",)

_LOG_2 = math.log(2)
_REACH = 10.0  # log(1 + exp(-2y)) is below 3e-9 beyond


# --- pure functions of the Gaussian variable Y, and of its mu and logvar: f32[..., *act] ------------------------------


def log_slope(y: jax.Array) -> jax.Array:
    """``log(1 - tanh(y)^2)``, which stays finite where tanh(y) rounds to 1."""
    return 2 * (_LOG_2 - y - jax.nn.softplus(-2 * y))


def mean_log_slope(mu: jax.Array, logvar: jax.Array) -> jax.Array:
    """``E log(1 - tanh(Y)^2)`` for a Gaussian Y, by quadrature with an error below 1e-7 before rounding."""
    narrow = logvar < 0
    # Each rule gets parameters that it can handle, also where the other one is taken: its gradient is finite then.
    by_hermite = _mean_if_narrow(mu, jnp.where(narrow, logvar, 0.0))
    return jnp.where(narrow, by_hermite, _mean_if_wide(mu, jnp.where(narrow, 0.0, logvar)))


def _mean_if_narrow(mu: jax.Array, logvar: jax.Array) -> jax.Array:
    """Gauss-Hermite: over a deviation of at most 1 the function is smooth."""
    nodes, weights = np.polynomial.hermite.hermgauss(32)
    steps, shares = jnp.asarray(math.sqrt(2) * nodes, mu.dtype), jnp.asarray(weights / math.sqrt(math.pi), mu.dtype)
    return jnp.sum(shares * log_slope(mu[..., None] + jnp.exp(logvar / 2)[..., None] * steps), axis=-1)


def _mean_if_wide(mu: jax.Array, logvar: jax.Array) -> jax.Array:
    """``2 log 2 - 2 E|Y| - 2 E log(1 + exp(-2|Y|))``: a closed form, and a bump that the density hardly varies over."""
    sd = jnp.exp(logvar / 2)
    mean_abs = math.sqrt(2 / math.pi) * sd * jnp.exp(-jnp.square(mu / sd) / 2) + mu * jax.lax.erf(
        mu / sd / math.sqrt(2)
    )
    nodes, weights = np.polynomial.legendre.leggauss(32)
    nodes, weights = (nodes + 1) * _REACH / 2, weights * _REACH / 2
    y, bump = jnp.asarray(nodes, mu.dtype), jnp.asarray(weights * np.log1p(np.exp(-2 * nodes)), mu.dtype)
    at, per_sd = mu[..., None], (1 / sd)[..., None]
    both_sides = sum(jnp.exp(-jnp.square((y + sign * at) * per_sd) / 2) for sign in (1, -1))
    mean_bump = jnp.sum(bump * both_sides, axis=-1) / (math.sqrt(2 * math.pi) * sd)
    return 2 * (_LOG_2 - mean_abs - mean_bump)


# --- the bundle -------------------------------------------------------------------------------------------------------


class SquashedNormalDist(OverGaussian, BaseProbaDist):
    r"""Gaussian squashed into a Box by a hyperbolic tangent, independent in each dimension.

    The distribution parameters are ``{'mu': f32[..., *act], 'logvar': f32[..., *act]}``: the mean and the logarithm of
    the variance of a Gaussian variable Y. A variate f32[..., *act] lies in the Box itself, between its bounds l and h:

    .. math::

        X = \frac{h + l}{2} + \frac{h - l}{2} \tanh Y \qquad Y \sim \mathcal{N}(\mu, \sigma^2)

    Densities and entropies are those of X over the Box, the change of variables included. This is the policy of soft
    actor-critic: ``sample_and_log_proba`` gives the log-density of its own sample without going back from X to Y, so it
    is accurate and differentiable also where tanh rounds to 1, and minus that log-density is the entropy estimator.

    In an integer Box, elements are variates rounded to the nearest integer; densities are those before rounding.

    Parameters
    ----------
    space : gymnasium.spaces.Box
        Of any shape ``*act``.
    clip_logvar : pair of floats, optional
        To what ``logvar`` is clipped wherever it is read. Its gradient is 0 beyond.
    clip_box : pair of floats, optional
        Bounds further out are replaced by these, with a warning.

    Raises
    ------
    TypeError
        If `space` is not a Box.
    ValueError
        If one of the pairs is not in order, or the bounds leave no room: finite, and low < high everywhere.

    Warns
    -----
    UserWarning
        If a bound lies outside of `clip_box`.

    References
    ----------
    Haarnoja et al. (2018), Soft actor-critic algorithms and applications, appendix C.
    """

    def __init__(
        self,
        space: gymnasium.Space,
        clip_logvar: tuple[float, float] = (-10.0, 4.0),
        *,
        clip_box: tuple[float, float] = (-256.0, 256.0),
    ):
        if not isinstance(space, gymnasium.spaces.Box):
            raise refuse_space(space, "Box")
        self._shape: tuple[int, ...] = space.shape
        self._clip_logvar = check_clip("clip_logvar", clip_logvar)
        self._clip_box = check_clip("clip_box", clip_box)
        self._low, self._high = check_bounds(space, self._clip_box)
        self._set_up(space, {"clip_logvar": self._clip_logvar, "clip_box": self._clip_box})

    def _bounds(self, dtype: Any) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(self._low, dtype), jnp.asarray(self._high, dtype)

    def _inside(self, x: np.ndarray) -> Any:
        rounding = 1e-6 * (self._high - self._low + np.maximum(np.abs(self._low), np.abs(self._high)))
        return (x >= self._low - rounding) & (x <= self._high + rounding)

    def _squash(self, y: jax.Array) -> jax.Array:
        low, high = self._bounds(y.dtype)
        return jnp.clip(jnp.tanh(y) * (high - low) / 2 + (high + low) / 2, low, high)

    def _log_scale(self, dtype: Any) -> jax.Array:
        return jnp.asarray(np.log((self._high - self._low) / 2), dtype)

    def sample(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """Variates f32[..., *act] in the Box, differentiable in the parameters."""
        return self._squash(draw(*self._read(dist_params), rng)[0])

    def mean(self, dist_params: Any) -> jax.Array:
        """The image of mu, f32[..., *act], a variate: the median in fact, for the mean has no closed form."""
        return self._squash(self._read(dist_params)[0])

    def mode(self, dist_params: Any) -> jax.Array:
        """The image of mu, f32[..., *act], a variate: the median in fact; a large variance has modes on the bounds."""
        return self._squash(self._read(dist_params)[0])

    def log_proba(self, dist_params: Any, X: Any) -> jax.Array:
        """Log-density f32[...] over the Box of variates f32[..., *act].

        The proportion of the Box below X is clipped to [eps, 1 - eps], where eps is half the machine epsilon of X
        (2**-24 in float32, Y = -8.3 and 8.3), so that X on a bound has a finite log-density. For a sample of one's own
        :meth:`sample_and_log_proba` needs no such clip.

        Raises
        ------
        ValueError
            If X lies outside of the Box (where its values are known).
        """
        mu, logvar = self._read(dist_params)
        x = at_least_f32(read_variate("X", X, self._shape, self._inside, f"elements of {self._space}"))
        y = logit_of(x, *self._bounds(x.dtype)) / 2  # arctanh(2p - 1) = logit(p) / 2
        each = log_density_each(y, mu, logvar) - log_slope(y) - self._log_scale(y.dtype)
        return sum_last(each, self._shape)

    def sample_and_log_proba(self, dist_params: Any, rng: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Variates f32[..., *act] in the Box and their log-density f32[...] over the Box.

        The log-density is computed from Y and its noise, not from X: it is accurate, and has the right gradient, also
        where tanh rounds to 1. Minus the log-density estimates the :meth:`entropy` without bias; soft actor-critic
        uses it so.
        """
        mu, logvar = self._read(dist_params)
        y, noise = draw(mu, logvar, rng)
        each = log_density_each(noise, jnp.zeros_like(mu), jnp.zeros_like(mu)) - logvar / 2
        each = each - log_slope(y) - self._log_scale(mu.dtype)
        return self._squash(y), sum_last(each, self._shape)

    def entropy(self, dist_params: Any) -> jax.Array:
        """``-E_p log p`` of the density over the Box, f32[...], in nats, differentiable.

        It is the entropy of Y plus ``E log(dX/dY)``. The latter has no closed form: it is computed by quadrature,
        per dimension with an error below 1e-7, to which float32 adds its rounding: less than 1e-5 for mu between -20
        and 20.
        """
        mu, logvar = self._read(dist_params)
        each = entropy_each(logvar) + mean_log_slope(mu, logvar) + self._log_scale(mu.dtype)
        return sum_last(each, self._shape)

    def cross_entropy(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``-E_p log q`` of the densities over the Box, f32[...], in nats; by the same quadrature as the entropy."""
        p, q = self._read(dist_params_p), self._read(dist_params_q)
        each = cross_entropy_each(*p, *q) + mean_log_slope(*p) + self._log_scale(p[0].dtype)
        return sum_last(each, self._shape)

    def to_element(self, X: Any, rng: jax.Array) -> jax.Array:
        """Elements [..., *act] of the Box: variates in its dtype, clipped to its bounds; the key is not used."""
        x = at_least_f32(read_reals("X", X, self._shape))
        return into_box(x, *self._bounds(x.dtype), self._space.dtype)

    def from_element(self, x: Any) -> jax.Array:
        """Variates f32[..., *act]: elements [..., *act] as floats; what lies outside of the bounds is put on them."""
        x = at_least_f32(jnp.asarray(x))
        return jnp.clip(x, *self._bounds(x.dtype))
