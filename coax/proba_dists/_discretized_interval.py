"""The categorical distribution over the bins of an interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..utils import space_key
from ..value_transforms import as_value_transform
from ._base import BaseProbaDist, read_numbers, refuse_space
from ._categorical import OverLogits, check_tau, read_weights, sample_index
from ._masks import refuse_mask
from ._particles import Particles

__all__ = ("DiscretizedIntervalDist", "project")


# --- pure functions ---------------------------------------------------------------------------------------------------


def project(probs: Any, atoms_new: Any, atoms: Any) -> jax.Array:
    """Move the mass of a distribution onto other atoms: the mass of each splits between its two neighbours, linearly.

    Nothing is lost, and the mean stays what it was, but for what lies beyond the first or the last atom and goes there.

    Parameters
    ----------
    probs : f32[..., J]
    atoms_new : f32[J] or f32[..., J]
        Where the mass is.
    atoms : f32[K]
        Where it shall be, in ascending order, at least two.

    Returns
    -------
    f32[..., K]

    References
    ----------
    Bellemare, Dabney and Munos (2017), algorithm 1.
    """
    probs, atoms_new, atoms = map(jnp.asarray, (probs, atoms_new, atoms))
    x = jnp.clip(atoms_new, atoms[0], atoms[-1])
    left = jnp.searchsorted(atoms[1:-1], x, side="right", method="compare_all")  # an exact hit is its own left one
    share = ((x - atoms[left]) / (atoms[left + 1] - atoms[left]))[..., None, :]
    # A comparison of all with all instead of a scatter: it fuses, and the two parts add up to 1 whatever the rounding.
    ahead = jnp.arange(len(atoms))[:, None] - left[..., None, :]
    weights = jnp.where(ahead == 0, 1 - share, jnp.where(ahead == 1, share, 0))
    return jnp.sum(weights * probs[..., None, :], axis=-1)


# --- the bundle -------------------------------------------------------------------------------------------------------


class DiscretizedIntervalDist(OverLogits, BaseProbaDist):
    r"""Categorical distribution over K bins of equal width of an interval, each of which stands for its centre.

    The distribution parameters are ``{'logits': f32[..., K]}``, as those of a CategoricalDist, and so are variates:
    weights f32[..., K] of the bins. Elements are numbers of the Box. Of a soft variate the element is a soft mix of the
    centres; :meth:`sample_element` draws exact ones.

    Parameters
    ----------
    space : gymnasium.spaces.Box
        The interval: one number, shape () or (1,), with finite bounds.
    num_bins : int, optional
        K, at least 2.
    gumbel_softmax_tau : float, optional
        Temperature of the soft samples: the smaller, the closer to one-hot.

    Raises
    ------
    TypeError
        If `space` is not a Box of one number.
    ValueError
        If its bounds are not finite and in order, or another argument is out of its range.

    References
    ----------
    Bellemare, Dabney and Munos (2017), section 4.
    """

    def __init__(self, space: gymnasium.Space, num_bins: int = 20, gumbel_softmax_tau: float = 0.2):
        if not isinstance(space, gymnasium.spaces.Box) or np.prod(space.shape) != 1:
            raise refuse_space(space, "Box of one number, shape () or (1,)")
        self._low, self._high = float(space.low.item()), float(space.high.item())
        if not (np.isfinite([self._low, self._high]).all() and self._low < self._high):
            raise ValueError(
                f"space: expected finite bounds low < high, got [{self._low}, {self._high}]. "
                "Fix: pass a Box with the range of the values."
            )
        if not isinstance(num_bins, int | np.integer) or isinstance(num_bins, bool) or num_bins < 2:
            raise ValueError(f"num_bins: expected an int of at least 2, got {num_bins!r}. Fix: try 51.")
        self._n, self._tau = int(num_bins), check_tau(gumbel_softmax_tau)
        numbers = {"num_bins": int(num_bins), "gumbel_softmax_tau": self._tau}
        self._set_up(gymnasium.spaces.Discrete(int(num_bins)), numbers, elements=space)
        self._key = (*self._key, space_key(space))
        self._space_orig = space
        edges = np.linspace(self._low, self._high, int(num_bins) + 1)
        self._atoms, self._inner_edges = (edges[:-1] + edges[1:]) / 2, edges[1:-1]
        if not (np.diff(self._atoms.astype(np.float32)) > 0).all():
            raise ValueError(
                f"num_bins: expected bins in [{self._low}, {self._high}] that float32 can tell apart, got {num_bins}. "
                "Fix: use fewer, or shift the interval towards 0."
            )

    @property
    def space_orig(self) -> gymnasium.spaces.Box:
        """The interval."""
        return self._space_orig

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self._low

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self._high

    @property
    def num_bins(self) -> int:
        """K, the number of bins."""
        return len(self._atoms)

    @property
    def atoms(self) -> np.ndarray:
        """The centres of the bins, f64[K], in ascending order: a copy."""
        return self._atoms.copy()

    def expectation(self, dist_params: Any, func: Callable[[Any], Any] | None = None) -> jax.Array:
        """``E func(X)``, f32[...].

        Parameters
        ----------
        dist_params : {'logits': f32[..., K]}
        func : callable, optional
            From numbers to numbers, entry by entry, for instance the inverse of a value transform, whose expectation is
            the mean in the original space. By default the identity.
        """
        probs = self.mean(dist_params)
        values = self._centres(probs) if func is None else func(self._centres(probs))
        return jnp.sum(probs * values, axis=-1)

    def particles(self, dist_params: Any) -> Particles:
        """The centres of the bins with their probabilities, leaves f32[..., K]."""
        probs = self.mean(dist_params)
        return Particles(jnp.broadcast_to(self._centres(probs), probs.shape), probs)

    def mode(self, dist_params: Any) -> jax.Array:
        """The most likely bin, one-hot f32[..., K], so that its element is the centre of a bin."""
        logits = self._logits(dist_params)
        return jax.nn.one_hot(jnp.argmax(logits, axis=-1), self.num_bins, dtype=logits.dtype)

    def affine_transform(
        self, dist_params: Any, scale: Any, shift: Any, value_transform: Any = None
    ) -> dict[str, jax.Array]:
        """Distribution parameters of ``f(scale * f_inverse(X) + shift)``, brought back to the bins by :func:`project`.

        What lies beyond the first or the last centre goes there.

        Parameters
        ----------
        dist_params : {'logits': f32[..., K]}
        scale, shift : f32[] or f32[...]
        value_transform : ValueTransform, or pair of functions, or None
            f and its inverse, if the numbers of the interval are transformed ones.

        Returns
        -------
        {'logits': f32[..., K]}
            Logarithms of probabilities, at least log 1e-16.
        """
        f, f_inverse = as_value_transform(value_transform)
        probs = self.mean(dist_params)
        atoms = self._centres(probs)
        scale = read_numbers("scale", scale, probs.shape[:-1], atoms.dtype)
        shift = read_numbers("shift", shift, probs.shape[:-1], atoms.dtype)
        moved = project(probs, f(scale * f_inverse(atoms) + shift), atoms)
        return {"logits": jnp.log(jnp.maximum(moved, 1e-16))}

    def masked(self, dist_params: Any, mask: Any) -> Any:
        """The same; only a mask of None makes sense here.

        Raises
        ------
        ValueError
            If there is a mask.
        """
        refuse_mask("mask", mask, self._space_orig)
        return dist_params

    def sample_element(self, dist_params: Any, rng: jax.Array) -> jax.Array:
        """Centres of bins, f32[..., *element]."""
        logits = self._logits(dist_params)
        return self._number(self._centres(logits)[sample_index(logits, rng)])

    def to_element(self, X: Any, rng: jax.Array) -> jax.Array:
        """Numbers f32[..., *element]: the centres, weighted with variates f32[..., K]; the key is not used."""
        weights = read_weights("X", X, self.num_bins)
        return self._number(jnp.sum(weights * self._centres(weights), axis=-1))

    def from_element(self, x: Any) -> jax.Array:
        """One-hot f32[..., K] of the bins that hold the numbers; what lies outside the interval is in the nearest."""
        x = jnp.asarray(x).reshape(np.shape(x)[: np.ndim(x) - len(self._space_orig.shape)])
        index = jnp.searchsorted(jnp.asarray(self._inner_edges), x, side="right", method="compare_all")
        return jnp.where(jnp.isnan(x)[..., None], jnp.nan, jax.nn.one_hot(index, self.num_bins))

    def _centres(self, like: jax.Array) -> jax.Array:
        return jnp.asarray(self._atoms, jnp.promote_types(like.dtype, jnp.float32))

    def _number(self, x: jax.Array) -> jax.Array:
        kept = jax.dtypes.canonicalize_dtype(self._space_orig.dtype)
        x = x if jnp.issubdtype(kept, jnp.floating) else jnp.round(x).astype(kept)
        return x.reshape(*x.shape, *self._space_orig.shape)
