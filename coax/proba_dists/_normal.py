"""The normal distribution, over the elements of a Box: a Gaussian in logit space."""

from __future__ import annotations

import math
import warnings
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..value_transforms import ValueTransform, as_value_transform
from ._base import BaseProbaDist, read_params, read_variate, refuse_space
from ._masks import refuse_mask

__all__ = ("NormalDist",)

_LOG_2PI = math.log(2 * math.pi)


# --- pure functions of mu and logvar: f32[..., *act], one number per dimension ----------------------------------------


def draw(mu: jax.Array, logvar: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A differentiable sample, and the standard normal noise that it is made of (Kingma and Welling 2014)."""
    noise = jax.random.normal(key, mu.shape, mu.dtype)
    return mu + jnp.exp(logvar / 2) * noise, noise


def log_density_each(x: jax.Array, mu: jax.Array, logvar: jax.Array) -> jax.Array:
    """Log-density of x in each dimension."""
    return -(_LOG_2PI + logvar + jnp.square((x - mu) * jnp.exp(-logvar / 2))) / 2


def entropy_each(logvar: jax.Array) -> jax.Array:
    """``-E_p log p`` in each dimension."""
    return (_LOG_2PI + 1 + logvar) / 2


def cross_entropy_each(mu_p: jax.Array, logvar_p: jax.Array, mu_q: jax.Array, logvar_q: jax.Array) -> jax.Array:
    """``-E_p log q`` in each dimension."""
    apart = jnp.square((mu_p - mu_q) * jnp.exp(-logvar_q / 2))
    return (_LOG_2PI + logvar_q + jnp.exp(logvar_p - logvar_q) + apart) / 2


def kl_divergence_each(mu_p: jax.Array, logvar_p: jax.Array, mu_q: jax.Array, logvar_q: jax.Array) -> jax.Array:
    """``E_p log(p / q)`` in each dimension."""
    apart = jnp.square((mu_p - mu_q) * jnp.exp(-logvar_q / 2))
    log_ratio = logvar_p - logvar_q
    return (jnp.expm1(log_ratio) - log_ratio + apart) / 2


def affine_of(
    mu: jax.Array, logvar: jax.Array, scale: jax.Array, shift: jax.Array, transform: ValueTransform
) -> tuple[jax.Array, jax.Array]:
    """The Gaussian of ``f(scale * f_inverse(X) + shift)``, to first order in the deviation from mu (delta method)."""
    f, f_inverse = transform
    moved, slope = jax.jvp(lambda x: f(scale * f_inverse(x) + shift), (mu,), (jnp.ones_like(mu),))
    # A scale of 0, as at the end of an episode, must not make the gradient infinite.
    size = jnp.maximum(jnp.abs(slope), jnp.finfo(slope.dtype).tiny)
    return moved, logvar + 2 * jnp.log(size)


# --- pure functions of elements of a Box ------------------------------------------------------------------------------


def logit_of(x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """``logit((x - low) / (high - low))``, with proportions clipped to what floats can tell from 0 and 1."""
    eps = float(jnp.finfo(x.dtype).eps) / 2
    # The distance to each bound by itself: one minus a proportion close to 1 would keep few digits.
    below, above = ((part / (high - low)).clip(eps, 1 - eps) for part in (x - low, high - x))
    return jnp.log(below) - jnp.log(above)


def into_box(x: jax.Array, low: jax.Array, high: jax.Array, dtype: Any) -> jax.Array:
    """Elements of a Box: clipped to its bounds, and rounded if its dtype is none of floats."""
    x = jnp.clip(x, low, high)
    kept = jax.dtypes.canonicalize_dtype(dtype)
    return (x if jnp.issubdtype(kept, jnp.floating) else jnp.round(x)).astype(kept)


# --- the bundles ------------------------------------------------------------------------------------------------------


class OverGaussian:
    """Mixin of the distributions made from a Gaussian variable, independent in each dimension of a Box.

    The parameters are ``{'mu': f32[..., *act], 'logvar': f32[..., *act]}``. It has no state.
    """

    # from the classes that it is mixed with
    _name: str
    _space: Any
    _shape: tuple[int, ...]
    _clip_box: tuple[float, float]
    _clip_logvar: tuple[float, float]
    sample: Any
    to_element: Any

    @property
    def clip_box(self) -> tuple[float, float]:
        """The widest bounds."""
        return self._clip_box

    @property
    def clip_logvar(self) -> tuple[float, float]:
        """To what ``logvar`` is clipped wherever it is read."""
        return self._clip_logvar

    @property
    def default_priors(self) -> dict[str, jax.Array]:
        """A standard normal variable: ``{'mu': f32[1, *act], 'logvar': f32[1, *act]}``, all zero."""
        return {"mu": jnp.zeros((1, *self._shape)), "logvar": jnp.zeros((1, *self._shape))}

    def _read(self, dist_params: Any) -> tuple[jax.Array, jax.Array]:
        return read_normal(self._name, dist_params, self._shape, self._clip_logvar)

    def kl_divergence(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``E_p log(p / q)``, f32[...], in nats: the same after a bijection of both, such as a squashing."""
        each = kl_divergence_each(*self._read(dist_params_p), *self._read(dist_params_q))
        return sum_last(each, self._shape)

    def affine_transform(
        self, dist_params: Any, scale: Any, shift: Any, value_transform: Any = None
    ) -> dict[str, jax.Array]:
        """Distribution parameters of ``f(scale * f_inverse(X) + shift)``, where X is a variate, before squashing.

        Without a transform this is exact: ``mu' = scale * mu + shift`` and ``logvar' = logvar + 2 log |scale|``. With
        one it is the Gaussian of the delta method, first order in X - mu: ``mu'`` is the image of mu, and the standard
        deviation is multiplied by the slope there. The new ``logvar`` is clipped to `clip_logvar`.

        Parameters
        ----------
        dist_params : dict
        scale, shift : float, or f32[...] with the leading axes of mu, or f32[..., *act]
        value_transform : ValueTransform, or pair of functions, or None
            ``(f, f_inverse)``.

        Raises
        ------
        ValueError
            If the shape of `scale` or `shift` is none of these.
        """
        mu, logvar = self._read(dist_params)
        return affine_params(mu, logvar, scale, shift, value_transform, self._shape, self._clip_logvar)

    def masked(self, dist_params: Any, mask: Any) -> Any:
        """The same: there are no choices to exclude.

        Raises
        ------
        ValueError
            If the mask is anything but None.
        """
        refuse_mask("mask", mask, self._space)
        return dist_params

    def sample_element(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """Elements [..., *act] of the Box."""
        return self.to_element(self.sample(dist_params, rng), rng)


class NormalDist(OverGaussian, BaseProbaDist):
    r"""Gaussian distribution over a Box, independent in each dimension.

    The distribution parameters are ``{'mu': f32[..., *act], 'logvar': f32[..., *act]}``: the mean and the logarithm of
    the variance. They and the variates f32[..., *act] live in logit space: an element x of the Box between the bounds l
    and h has the variate

    .. math::

        z = \log\frac{x - l}{h - x} \qquad x = l + (h - l) \frac{1}{1 + \text{e}^{-z}}

    Proportions :math:`(x - l) / (h - l)` are clipped to [eps, 1 - eps], where eps is half the machine epsilon: 2**-24
    in float32, which puts the bounds at z = -16.6 and 16.6. In an integer Box x is rounded to the nearest integer, and
    its variate is that of the integer: a density, not the probability of all that is rounded to it.

    :meth:`log_proba`, :meth:`entropy` and the like are those of the variate, not of the element: there is no term for
    the change of variables. Ratios of probabilities of the same action (as in PPO), their gradients and KL-divergences
    do not depend on that term; entropies do. :class:`SquashedNormalDist` has densities over the Box.

    Parameters
    ----------
    space : gymnasium.spaces.Box
        Of any shape ``*act``.
    clip_box : pair of floats, optional
        Bounds further out are replaced by these, with a warning.
    clip_reals : pair of floats, optional
        To what variates are clipped before they become elements.
    clip_logvar : pair of floats, optional
        To what ``logvar`` is clipped wherever it is read. Its gradient is 0 beyond.

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
    """

    def __init__(
        self,
        space: gymnasium.Space,
        clip_box: tuple[float, float] = (-256.0, 256.0),
        clip_reals: tuple[float, float] = (-30.0, 30.0),
        clip_logvar: tuple[float, float] = (-20.0, 20.0),
    ):
        if not isinstance(space, gymnasium.spaces.Box):
            raise refuse_space(space, "Box")
        self._shape: tuple[int, ...] = space.shape
        self._clip_box = check_clip("clip_box", clip_box)
        self._clip_reals = check_clip("clip_reals", clip_reals)
        self._clip_logvar = check_clip("clip_logvar", clip_logvar)
        self._low, self._high = check_bounds(space, self._clip_box)
        clips = {"clip_box": self._clip_box, "clip_reals": self._clip_reals, "clip_logvar": self._clip_logvar}
        self._set_up(space, clips)

    @property
    def clip_reals(self) -> tuple[float, float]:
        """To what variates are clipped before they become elements."""
        return self._clip_reals

    def sample(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """Variates f32[..., *act], differentiable in the parameters."""
        return draw(*self._read(dist_params), rng)[0]

    def mean(self, dist_params: Any) -> jax.Array:
        """``mu``, f32[..., *act], a variate."""
        return self._read(dist_params)[0]

    def mode(self, dist_params: Any) -> jax.Array:
        """``mu``, f32[..., *act], a variate."""
        return self._read(dist_params)[0]

    def log_proba(self, dist_params: Any, X: Any) -> jax.Array:
        """Log-density f32[...] of variates f32[..., *act], in logit space: no change of variables to the Box.

        For the ratio of two probabilities of one action, as in PPO, this is all the same: the term would cancel.
        """
        mu, logvar = self._read(dist_params)
        return sum_last(log_density_each(read_reals("X", X, self._shape), mu, logvar), self._shape)

    def sample_and_log_proba(self, dist_params: Any, rng: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Variates f32[..., *act] and their log-density f32[...], in logit space, as :meth:`log_proba` gives it."""
        mu, logvar = self._read(dist_params)
        X = draw(mu, logvar, rng)[0]
        return X, sum_last(log_density_each(X, mu, logvar), self._shape)

    def entropy(self, dist_params: Any) -> jax.Array:
        """``-E_p log p`` of the variates, f32[...], in nats."""
        return sum_last(entropy_each(self._read(dist_params)[1]), self._shape)

    def cross_entropy(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``-E_p log q`` of the variates, f32[...], in nats."""
        each = cross_entropy_each(*self._read(dist_params_p), *self._read(dist_params_q))
        return sum_last(each, self._shape)

    def to_element(self, X: Any, rng: jax.Array) -> jax.Array:
        """Elements [..., *act] of the Box that variates f32[..., *act] stand for; the key is not used."""
        z = jnp.clip(at_least_f32(read_reals("X", X, self._shape)), *self._clip_reals)
        low, high = jnp.asarray(self._low, z.dtype), jnp.asarray(self._high, z.dtype)
        return into_box(low + (high - low) * jax.nn.sigmoid(z), low, high, self._space.dtype)

    def from_element(self, x: Any) -> jax.Array:
        """Variates f32[..., *act] of elements [..., *act]; what lies outside of the bounds is put on them."""
        x = at_least_f32(jnp.asarray(x))
        return logit_of(x, jnp.asarray(self._low, x.dtype), jnp.asarray(self._high, x.dtype))


# --- reading arguments ------------------------------------------------------------------------------------------------


def check_clip(name: str, pair: Any) -> tuple[float, float]:
    """Two numbers in order."""
    try:
        low, high = map(float, pair)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise ValueError(
            f"{name}: expected a pair of numbers (low, high) with low < high, got {pair!r}. "
            "Fix: pass the lower one first."
        )
    return low, high


def check_bounds(space: gymnasium.spaces.Box, clip_box: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of a Box within `clip_box`, f64[*act]; of an integer Box the outermost integers."""
    given = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    low, high = np.maximum(given[0], clip_box[0]), np.minimum(given[1], clip_box[1])
    if np.any(low != given[0]) or np.any(high != given[1]):
        warnings.warn(
            f"space: the bounds of {space} are clipped to clip_box={clip_box}: actions further out do not occur. "
            "Fix: rescale the space with a gymnasium wrapper, or pass other bounds as clip_box.",
            UserWarning,
            stacklevel=3,
        )
    whole = not np.issubdtype(space.dtype, np.floating)
    low, high = (np.ceil(low), np.floor(high)) if whole else (low, high)
    computed = np.float32 if whole else jax.dtypes.canonicalize_dtype(np.promote_types(space.dtype, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        span = high.astype(computed) - low.astype(computed)
    wrong = ~((span > 0) & np.isfinite(span))
    if wrong.any():
        raise ValueError(
            f"space: expected finite bounds with low < high everywhere, as {np.dtype(computed)}, got low={low[wrong]} "
            f"and high={high[wrong]} of {space} within clip_box={clip_box}. "
            "Fix: leave out what cannot vary, and pass a clip_box that overlaps with the space."
        )
    return low, high


def read_normal(
    name: str, dist_params: Any, shape: tuple[int, ...], clip_logvar: tuple[float, float]
) -> tuple[jax.Array, jax.Array]:
    """``mu`` and the clipped ``logvar``, of one dtype."""
    mu, logvar = read_params(name, dist_params, {"mu": shape, "logvar": shape})
    dtype = jnp.result_type(mu, logvar)
    return mu.astype(dtype), jnp.clip(logvar.astype(dtype), *clip_logvar)


def read_reals(name: str, X: Any, shape: tuple[int, ...]) -> jax.Array:
    """Variates f32[..., *act] that may be any numbers."""
    return read_variate(name, X, shape, lambda x: True, "variates")


def at_least_f32(x: jax.Array) -> jax.Array:
    """Floats in which a proportion of the Box keeps its digits."""
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32) if floating else float)


def sum_last(each: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The sum over the axes of an element: f32[..., *act] to f32[...]."""
    return jnp.sum(each, axis=tuple(range(-len(shape), 0)))


def affine_params(
    mu: jax.Array,
    logvar: jax.Array,
    scale: Any,
    shift: Any,
    value_transform: Any,
    shape: tuple[int, ...],
    clip_logvar: tuple[float, float],
) -> dict[str, jax.Array]:
    """Distribution parameters of ``f(scale * f_inverse(X) + shift)``."""
    scale, shift = (_over_elements(name, x, mu, shape) for name, x in (("scale", scale), ("shift", shift)))
    mu, logvar = affine_of(mu, logvar, scale, shift, as_value_transform(value_transform))
    return {"mu": mu, "logvar": jnp.clip(logvar, *clip_logvar)}


def _over_elements(name: str, x: Any, mu: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """A number, or one per row, or one per dimension, so that it broadcasts against mu."""
    x, leading = jnp.asarray(x, mu.dtype), mu.shape[: mu.ndim - len(shape)]
    if x.shape not in ((), leading, mu.shape):
        raise ValueError(
            f"{name}: expected a number, or an array of shape {leading} (one per row) or {mu.shape}, got {x.shape}. "
            "Fix: give it the leading axes of the distribution parameters."
        )
    return x.reshape(leading + (1,) * len(shape)) if x.shape == leading else x
