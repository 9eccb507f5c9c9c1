"""What all distributions share: their identity, and the way between elements of a space and variates."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..utils import make_cast, make_element, space_key

__all__ = ("BaseProbaDist", "read_numbers", "read_params", "read_variate", "refuse_space")


class BaseProbaDist(abc.ABC):
    """Base of the probability distributions.

    A distribution object is a bundle of pure functions: all are batched over any number of leading axes, written
    ``...``, and may be used inside any jax transformation. Two of them are equal, and share what is compiled, if they
    have the same class, an equal space and equal hyperparameters.

    There are two forms of an outcome: an *element* of the space, which an environment takes, and a (raw) *variate*,
    which networks see and formulas use, for instance a one-hot vector.
    """

    _space: Any
    _name = "dist_params"  # how errors speak of the parameters; a part of a composite knows its path

    def _set_up(
        self, space: gymnasium.Space, hyperparams: dict[str, Any], elements: gymnasium.Space | None = None
    ) -> None:
        self._space, self._hyperparams = space, hyperparams
        self._element_space = space if elements is None else elements
        self._cast = make_cast(self._element_space, "X")
        self._element = make_element(self._element_space)
        self._key = (type(self), space_key(space), *hyperparams.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseProbaDist) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        rest = "".join(f", {name}={value}" for name, value in self._hyperparams.items())
        return f"{type(self).__name__}({self._space}{rest})"

    @property
    def space(self) -> Any:
        """The space of the outcomes."""
        return self._space

    @property
    def element_space(self) -> Any:
        """Where the elements come from: the space, but for distributions that stand in for another one."""
        return self._element_space

    @property
    def hyperparams(self) -> Any:
        """The numbers that it was made with, by name."""
        return dict(self._hyperparams)

    @property
    def dist_params_structure(self) -> Any:
        """Tree structure of the distribution parameters."""
        return jax.tree.structure(self.default_priors)

    # --- what each distribution defines

    @property
    @abc.abstractmethod
    def default_priors(self) -> Any:
        """Distribution parameters of a prior, with a leading axis of length 1."""

    @abc.abstractmethod
    def sample(self, dist_params: Any, rng: jax.Array) -> Any:
        """Variates [..., *variate], differentiable in the parameters where that is possible."""

    @abc.abstractmethod
    def mean(self, dist_params: Any) -> Any:
        """The mean, a variate."""

    @abc.abstractmethod
    def mode(self, dist_params: Any) -> Any:
        """The mode, a variate."""

    @abc.abstractmethod
    def log_proba(self, dist_params: Any, X: Any) -> jax.Array:
        """Log-probability (or log-density) of variates, f32[...], in nats."""

    @abc.abstractmethod
    def sample_and_log_proba(self, dist_params: Any, rng: jax.Array) -> tuple[Any, jax.Array]:
        """Variates and the log-probability f32[...] of the elements that they stand for.

        Minus the log-probability estimates the entropy without bias.
        """

    @abc.abstractmethod
    def entropy(self, dist_params: Any) -> jax.Array:
        """``-E_p log p``, f32[...], in nats."""

    @abc.abstractmethod
    def cross_entropy(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``-E_p log q``, f32[...], in nats."""

    @abc.abstractmethod
    def kl_divergence(self, dist_params_p: Any, dist_params_q: Any) -> jax.Array:
        """``E_p log(p / q)``, f32[...], in nats."""

    @abc.abstractmethod
    def affine_transform(self, dist_params: Any, scale: Any, shift: Any, value_transform: Any = None) -> Any:
        """Distribution parameters of ``f(scale * f_inverse(X) + shift)``."""

    @abc.abstractmethod
    def masked(self, dist_params: Any, mask: Any) -> Any:
        """Distribution parameters that give what the mask excludes probability 0; None excludes nothing."""

    @abc.abstractmethod
    def sample_element(self, dist_params: Any, rng: jax.Array) -> Any:
        """Elements of the space, exact samples, as jax arrays [..., *element]."""

    @abc.abstractmethod
    def to_element(self, X: Any, rng: jax.Array) -> Any:
        """The elements that variates stand for, as jax arrays; the key breaks ties."""

    @abc.abstractmethod
    def from_element(self, x: Any) -> Any:
        """The variates that stand for elements given as arrays [..., *element]."""

    # --- in and out

    def preprocess_variate(self, rng: jax.Array | None, X: Any) -> Any:
        """Variates of elements of the space; a single one becomes a batch of one.

        Parameters
        ----------
        rng : key[] or None
            Not used.
        X : element, or batch of elements with any leading axes

        Raises
        ------
        TypeError
            If there are floats where the space is discrete.
        ValueError
            If shapes do not fit, or an element of a discrete space lies outside of it.
        """
        x, leading = self._cast(X)
        return self.from_element(x if leading else jax.tree.map(lambda leaf: leaf[None], x))

    def postprocess_variate(self, rng: jax.Array, X: Any, index: int = 0, batch_mode: bool = False) -> Any:
        """The element of the space that one variate of a batch stands for, or all of them.

        Parameters
        ----------
        rng : key[]
            Breaks ties.
        X : variates [B, *variate]
        index : int, optional
            Which one.
        batch_mode : bool, optional
            All of them.

        Returns
        -------
        element, or batch of elements in `batch_mode`
            NumPy arrays in the dtype of the space, an ``int`` for one from a Discrete space; inside a trace jax
            arrays.
        """
        found = _to_element(self, X if batch_mode else jax.tree.map(lambda leaf: leaf[index], X), rng)
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(found))
        return found if traced else self._element(found)


@functools.partial(jax.jit, static_argnums=0)
def _to_element(dist: BaseProbaDist, X: Any, rng: jax.Array) -> Any:
    return dist.to_element(X, rng)


# --- reading arguments ------------------------------------------------------------------------------------------------


def refuse_space(space: Any, kind: str) -> TypeError:
    """The error for a space that this distribution is not for."""
    return TypeError(
        f"space: expected gymnasium.spaces.{kind}, got {space!r}. "
        "Fix: use coax.proba_dists.ProbaDist, which picks the distribution of a space."
    )


def read_params(name: str, dist_params: Any, shapes: Mapping[str, tuple[int, ...]]) -> list[jax.Array]:
    """The distribution parameters of the given names, each of shape [..., *shape], with the same leading axes.

    Raises
    ------
    ValueError
        If they are no mapping with exactly these keys, or a shape does not fit.
    """
    if not isinstance(dist_params, Mapping) or dist_params.keys() != shapes.keys():
        got = f"the keys {sorted(dist_params)}" if isinstance(dist_params, Mapping) else type(dist_params).__name__
        raise ValueError(
            f"{name}: expected a dict with the keys {sorted(shapes)}, got {got}. Fix: return exactly these."
        )
    leading: tuple[int, ...] | None = None
    for key, trailing in shapes.items():
        shape = np.shape(dist_params[key])
        lead = shape[: len(shape) - len(trailing)]
        if len(shape) < len(trailing) or shape[len(lead) :] != trailing or (leading is not None and lead != leading):
            want = [*(["..."] if leading is None else map(str, leading)), *map(str, trailing)]
            raise ValueError(
                f"{name}[{key!r}]: expected shape ({', '.join(want)}), got {shape}. "
                "Fix: give all leaves the same leading axes, and the last ones the shape of the space."
            )
        leading = lead
    return [_floating(dist_params[key]) for key in shapes]


def read_variate(
    name: str, X: Any, trailing: tuple[int, ...], inside: Callable[[np.ndarray], Any], what: str
) -> jax.Array:
    """Variates [..., *trailing].

    Parameters
    ----------
    name : str
        How errors name them.
    X : array
    trailing : tuple of int
    inside : callable
        Whether (concrete) variates may be given.
    what : str
        What they should be, for the error.

    Raises
    ------
    ValueError
        If the shape does not fit, or `inside` says no.
    """
    shape = np.shape(X)
    fits = shape[len(shape) - len(trailing) :] == trailing and len(shape) >= len(trailing)
    if not fits or not (isinstance(X, jax.core.Tracer) or np.all(inside(np.asarray(X)))):
        got = f"shape {shape}" if not fits else f"values from {np.min(X)} to {np.max(X)}"
        raise ValueError(
            f"{name}: expected {what} of shape (..., {', '.join(map(str, trailing))}), got {got}. "
            "Fix: preprocess_variate makes variates of elements of the space."
        )
    return _floating(X)


def read_numbers(name: str, x: Any, leading: tuple[int, ...], dtype: Any) -> jax.Array:
    """A number, or one per distribution: f32[] or f32[...] becomes f32[..., 1], to go with what has one more axis.

    Raises
    ------
    ValueError
        If it has other axes than `leading`.
    """
    if np.shape(x) not in ((), leading):
        raise ValueError(
            f"{name}: expected a number or shape {leading}, the leading axes of the distribution parameters, "
            f"got shape {np.shape(x)}. Fix: pass one number for each distribution."
        )
    return jnp.asarray(x, dtype)[..., None]


def _floating(x: Any) -> jax.Array:
    """As floats of 32 bits at least: in half precision a law over many outcomes would lose some of them."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
