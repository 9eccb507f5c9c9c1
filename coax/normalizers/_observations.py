"""Observations with zero mean and unit variance."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from .._entries import Fixed
from .._sharing import Rule
from .._stateful import there
from ..utils import make_cast, single_space
from ._base import BaseNormalizer, as_limit, as_rows, flat
from ._moments import nothing, scaled, shifted, sums, taken_in

__all__ = ("ObservationNormalizer",)


class ObservationRule(Rule):
    """The pure functions of a normaliser of observations.

    Parameters
    ----------
    space : gymnasium.Space
    clip, epsilon : float
    """

    def __init__(self, space: gymnasium.Space, clip: float, epsilon: float):
        self.space, self.clip, self.epsilon = space, clip, epsilon
        self.cast = make_cast(space, "S")
        leaves, self._tree = jax.tree.flatten(_parts(space))
        self._num_leaves = len(leaves)
        self._places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, spaces.Box)]
        self._shapes = [leaves[i].shape for i in self._places]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        if not sum(self._sizes):
            raise ValueError(
                f"ObservationNormalizer: expected a space with a Box in it, got {space}. "
                "Fix: leave discrete observations as they are."
            )
        self.normalized_space = _normalized(space, clip)
        self.norm = jax.jit(self._norm)
        self.step = jax.jit(self._step)

    def init(self) -> dict[str, Any]:
        return nothing(sum(self._sizes))

    def boxes(self, S: Any) -> list[Any]:
        """The parts of observations that are normalised."""
        leaves = jax.tree.leaves(S)
        return [leaves[i] for i in self._places]

    def joined(self, S: Any, boxes: list[Any]) -> Any:
        """Observations with these parts in place of their own."""
        leaves = jax.tree.leaves(S)
        for i, box in zip(self._places, boxes, strict=True):
            leaves[i] = box
        return jax.tree.unflatten(self._tree, leaves)

    def tree(self, row: Any) -> Any:
        """Numbers [D] in the structure of an observation; None in discrete places."""
        leaves: list[Any] = [None] * self._num_leaves
        ends = np.cumsum(self._sizes)
        for i, end, size, shape in zip(self._places, ends, self._sizes, self._shapes, strict=True):
            leaves[i] = row[end - size : end].reshape(shape)
        return jax.tree.unflatten(self._tree, leaves)

    def _rows(self, boxes: list[Any], dtype: Any) -> jax.Array:
        """All numbers of observations side by side, [..., D]."""
        parts = []
        for box, shape, size in zip(boxes, self._shapes, self._sizes, strict=True):
            parts.append(jnp.reshape(box, (*box.shape[: box.ndim - len(shape)], size)).astype(dtype))
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)

    def _norm(self, state: dict[str, Any], boxes: list[Any]) -> list[jax.Array]:
        x = shifted(state, self._rows(boxes, state["moments"].dtype))
        x = scaled(state, x, self.clip, self.epsilon).astype(jnp.float32)
        parts = jnp.split(x, np.cumsum(self._sizes)[:-1].tolist(), axis=-1)
        return [part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _step(self, state: dict[str, Any], blocks: list[tuple]) -> tuple[dict[str, Any], list]:
        """The moments after blocks of (boxes, rows), and the boxes as they are then."""
        dtype, size = state["moments"].dtype, sum(self._sizes)
        rows = [(self._rows(boxes, dtype).reshape(-1, size), flat(mask) & ~state["frozen"]) for boxes, mask in blocks]
        new = taken_in(state, rows)
        return new, [self._norm(new, boxes) for boxes, _ in blocks]


class ObservationNormalizer(BaseNormalizer):
    r"""Keeps the running mean and variance of observations, and normalises by them.

    .. math:: s \mapsto \mathrm{clip}\left(\frac{s - \mu}{\sqrt{\sigma^2 + \epsilon}},\ -c,\ c\right)

    each number of an observation by itself. In a training loop, :class:`coax.wrappers.NormalizeObservation` is the
    environment with one of these in it. By itself it goes into any function of one's own.

    Parameters
    ----------
    env : environment or gymnasium.Space
        Whose observations. Boxes of any dtype are normalised, also as parts of Dict and Tuple spaces; discrete parts
        are passed on as they are.
    clip : float, optional
        What is normalised lies between -clip and clip. It may be infinite.
    epsilon : float, optional
        Added to the variance, so that what hardly varies is not blown up.

    Attributes
    ----------
    mean, std : pytree of f64
        Of all that was counted, in the structure of an observation, with None for discrete parts. Inside a compiled
        function f32.
    count, skipped : int
        How many observations were counted, and how many were skipped.
    frozen : bool
        If True, :meth:`update` changes nothing. It may be set at any time.
    observation_space, normalized_space : gymnasium.Space
        Of what comes in, and of what comes out: Boxes of float32 between -clip and clip.

    Raises
    ------
    TypeError
        If there is no space, or a number is none.
    ValueError
        If there is no Box in the space, or a number is not positive.

    Notes
    -----
    An observation in which some number is NaN, infinite or larger than 1e18 counts for nothing: it is `skipped`. One of
    these would otherwise stay in the mean for ever. Normalising it gives NaN where it is NaN.

    A number that never varied is shifted by its mean and not scaled. Before anything is counted, :meth:`norm` only
    clips.

    The state has the entries ``counts`` u32[2, 2], ``moments`` f32[4, D] and ``frozen`` bool[]. Both moments are held
    to twice the precision of float32, so that neither numbers far from zero nor billions of steps cost digits. The
    observations themselves are taken in float32, also where their space says float64.

    In :class:`gymnasium.wrappers.NormalizeObservation` the moments begin as if mean 0 and variance 1 had been seen
    0.0001 times, which is long felt where the mean is far from zero; nothing is clipped; and one NaN stays for ever.

    References
    ----------
    Andrychowicz et al. (2021), What matters for on-policy deep actor-critic methods, section 3.3.

    Examples
    --------
    >>> normalizer = coax.ObservationNormalizer(gymnasium.spaces.Box(0, 100, (2,)))
    >>> normalizer.update([[10, 1], [30, 1]])
    >>> normalizer.mean, normalizer.std
    (array([20.,  1.]), array([10.,  0.]))
    >>> normalizer.norm([40, 1])
    array([2., 0.], dtype=float32)
    """

    observation_space = Fixed("_rule.space", "The space of what comes in.", "normaliser")
    normalized_space = Fixed("_rule.normalized_space", "The space of what comes out.", "normaliser")
    _rule: ObservationRule

    def __init__(self, env: Any, clip: float = 10.0, epsilon: float = 1e-8):
        space = env if isinstance(env, gymnasium.Space) else single_space(env, "observation_space")
        if not isinstance(space, gymnasium.Space):
            raise TypeError(
                f"ObservationNormalizer: expected an environment or a space, got {type(env).__name__}. "
                "Fix: pass env, or env.observation_space."
            )
        owner = type(self).__name__
        self._rule = ObservationRule.shared(space, as_limit("clip", clip, owner), as_limit("epsilon", epsilon, owner))
        self._write({**self._rule.init(), "frozen": np.zeros((), bool)})

    def init(self, key: Any) -> dict[str, Any]:
        """The state before anything was counted; frozen if it is so now."""
        return {**self._rule.init(), "frozen": self._state["frozen"]}

    @property
    def mean(self) -> Any:
        """The mean of all that was counted."""
        return self._rule.tree(sums(self._moments())[0])

    @property
    def std(self) -> Any:
        """The standard deviation of all that was counted, without epsilon."""
        return self._rule.tree(sums(self._moments())[1] ** 0.5)

    def norm(self, S: Any) -> Any:
        """Normalise observations. This changes nothing.

        Parameters
        ----------
        S : observation
            One, or any number of leading axes in front.

        Returns
        -------
        observation
            With the same leading axes, f32 where the space is a Box. NumPy arrays outside of compiled functions.

        Raises
        ------
        ValueError, TypeError
            If they are not of the space.
        """
        S, _ = self._rule.cast(S)
        return self._rule.joined(S, there(self._rule.norm(self._peek(), self._rule.boxes(S))))

    def update(self, S: Any, mask: Any = None) -> None:
        """Count observations.

        Parameters
        ----------
        S : observation
            One, or any number of leading axes in front.
        mask : bool[...], optional
            False for those that count for nothing, even if they are NaN: with as many entries as there are
            observations.

        Raises
        ------
        ValueError, TypeError
            If the observations are not of the space, or the mask does not fit.
        """
        self._take_in((S, mask))

    def _take_in(self, *blocks: tuple[Any, Any]) -> list[Any]:
        """Count blocks of (observations, mask), and give all of them, normalised, on the host or where they are."""
        casted = []
        for S, mask in blocks:
            S, lead = self._rule.cast(S)
            casted.append((S, as_rows("mask", mask, lead, missing=True)))
        new, boxes = self._rule.step(self._peek(), [(self._rule.boxes(S), mask) for S, mask in casted])
        self._replace(new)
        return [self._rule.joined(S, part) for (S, _), part in zip(casted, there(boxes), strict=True)]

    def _as_if_counted(self, S: Any, mask: Any) -> Any:
        """Observations [N, ...], normalised as they would be after counting those that `mask` says; changes nothing."""
        S, _ = self._rule.cast(S)
        _, (boxes,) = self._rule.step(self._peek(), [(self._rule.boxes(S), mask)])
        return self._rule.joined(S, there(boxes))


def _parts(space: gymnasium.Space) -> Any:
    """A space as a tree, with the structure of its elements."""
    if isinstance(space, spaces.Tuple):
        return tuple(map(_parts, space.spaces))
    if isinstance(space, spaces.Dict):
        return {key: _parts(child) for key, child in space.spaces.items()}
    return space


def _normalized(space: gymnasium.Space, clip: float) -> gymnasium.Space:
    if isinstance(space, spaces.Tuple):
        new: gymnasium.Space = spaces.Tuple([_normalized(child, clip) for child in space.spaces])
    elif isinstance(space, spaces.Dict):
        new = spaces.Dict({key: _normalized(child, clip) for key, child in space.spaces.items()})
    elif isinstance(space, spaces.Box):
        new = spaces.Box(-clip, clip, space.shape, np.float32)
    else:
        return space
    if hasattr(space, "action_mask"):  # which says where in an observation the mask of its actions is
        new.action_mask = space.action_mask  # type: ignore[attr-defined]
    return new
