"""How observations are cut into pieces that look alike: the frames of a stack, or one piece that is all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

__all__ = ("Cut", "cut_of")


class Cut(NamedTuple):
    """The structure of an observation.

    Attributes
    ----------
    tree : PyTreeDef
        Of a piece.
    frames : int or None
        How many pieces there are; None if the observation is the piece.
    axis : int or None
        Along which axis of its array, the first being 0, a stack of frames is cut; None if it is a tuple of frames.
    """

    tree: Any
    frames: int | None
    axis: int | None

    def pieces(self, leaves: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
        """The leaves [B, ...] of each piece, from those of observations."""
        if self.frames is None:
            return [leaves]
        if self.axis is not None:
            frames = np.moveaxis(leaves[0], self.axis + 1, 1)
            return [[frames[:, i]] for i in range(self.frames)]
        each = len(leaves) // self.frames
        return [leaves[i * each : (i + 1) * each] for i in range(self.frames)]

    def whole(self, leaves: Sequence[np.ndarray]) -> Any:
        """Observations, from the leaves [B, ...] of a piece, or [B, K, ...] where there are K."""
        if self.frames is None:
            return self.tree.unflatten(leaves)
        if self.axis is not None:
            return np.ascontiguousarray(np.moveaxis(leaves[0], 1, self.axis + 1))
        return tuple(self.tree.unflatten([x[:, i] for x in leaves]) for i in range(self.frames))


def cut_of(S: Any, frame_axis: int | None) -> Cut:
    """How observations [B, ...] are cut.

    Parameters
    ----------
    S : pytree of arrays [B, ...]
        A tuple of things that look alike is a stack of frames.
    frame_axis : int or None
        The axis of the frames, not counting that of the batch, where `S` is one array.

    Raises
    ------
    TypeError
        If `frame_axis` is given and `S` is not one array.
    ValueError
        If it has no such axis.
    """
    if frame_axis is not None:
        return _cut_along(S, frame_axis)
    # A tuple with names is an observation with parts, even if these look alike.
    kinds = [(jax.tree.structure(x), _kinds(x)) for x in S] if type(S) is tuple else []
    if len(kinds) < 2 or any(kind != kinds[0] for kind in kinds):
        return Cut(jax.tree.structure(S), None, None)
    return Cut(kinds[0][0], len(kinds), None)


def _kinds(x: Any) -> list[tuple]:
    return [(leaf.dtype, leaf.shape) for leaf in jax.tree.leaves(x)]


def _cut_along(S: Any, frame_axis: int) -> Cut:
    fix = "Fix: leave frame_axis out, or pass the axis of the frames, e.g. -1 for observations [height, width, frames]."
    if not hasattr(S, "ndim"):
        raise TypeError(f"frame_axis: expected observations that are one array, got {jax.tree.structure(S)}. {fix}")
    rank = S.ndim - 1
    if not -rank <= frame_axis < rank:
        raise ValueError(f"frame_axis: expected an axis of observations {list(S.shape[1:])}, got {frame_axis}. {fix}")
    axis = frame_axis % rank
    return Cut(jax.tree.structure(0), S.shape[axis + 1], axis)
