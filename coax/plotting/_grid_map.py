"""The map of an environment whose states are the cells of a grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ("GridMap", "grid_map")

_LAKE = ((-1, 0), (0, 1), (1, 0), (0, -1))  # left, down, right, up: (columns, rows), the rows counted downwards
_CLIFF = ((0, -1), (1, 0), (0, 1), (-1, 0))  # up, right, down, left


class GridMap(NamedTuple):
    """Where things are, and where actions go.

    Attributes
    ----------
    letters : U1[rows, columns]
        ``S`` a start, ``F`` free, ``H`` a hole, ``C`` a cliff, ``G`` a goal. The state is ``row * columns + column``.
    moves : i64[A, 2]
        Where each action goes: (columns, rows), the rows counted downwards.
    """

    letters: np.ndarray
    moves: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Where one can be before a step, bool[rows, columns]."""
        return np.isin(self.letters, ("S", "F"))


def grid_map(env: Any) -> GridMap:
    """The map of a frozen lake, of Gymnasium or of coax, or of the cliff walk; or a map given as strings.

    Raises
    ------
    TypeError
        If `env` is none of these.
    ValueError
        If a map given as strings has other letters, or rows of different lengths.
    """
    if isinstance(env, list | tuple | np.ndarray):
        return _of_rows(env)
    for layer in _layers(env):
        desc = getattr(layer, "desc", None)
        if desc is not None:
            return _of_rows(desc)
        cliff = getattr(layer, "_cliff", None)
        if isinstance(cliff, np.ndarray):
            letters = np.where(cliff, "C", "F")
            letters.flat[layer.start_state_index] = "S"
            letters[-1, -1] = "G"
            return GridMap(letters, np.array(_CLIFF))
    raise TypeError(
        f"env: expected a frozen lake or a cliff walk, or a map, got {type(env).__name__}. "
        'Fix: pass such an environment, or one string per row, such as ["SFF", "FHG"].'
    )


def _layers(env: Any) -> Iterator[Any]:
    """The environment, and those inside of it."""
    while env is not None:
        yield env
        several = getattr(env, "envs", None)
        env = several[0] if several else getattr(env, "functional_env", None) or getattr(env, "env", None)


def _of_rows(desc: Any) -> GridMap:
    rows = ["".join(x.decode() if isinstance(x, bytes) else str(x) for x in row) for row in desc]
    fix = 'Fix: pass one string per row, such as ["SFF", "FHG"].'
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError(f"env: expected a map with rows of one length, got {rows}. {fix}")
    unknown = sorted(set("".join(rows)) - set("SFHG"))
    if unknown:
        raise ValueError(f"env: expected a map of the letters S, F, H and G, got {''.join(unknown)!r}. {fix}")
    return GridMap(np.array([list(row) for row in rows]), np.array(_LAKE))
