"""Steps of several environments at once, taken apart."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

__all__ = ("as_num_envs", "rows_of")

_NAMES = ("s", "a", "r", "done", "logp", "w", "truncated", "s_next", "a_next", "logp_next")
_FOR_ALL = {"logp": 0.0, "w": 1.0, "truncated": False, "s_next": None, "a_next": None, "logp_next": None}


def as_num_envs(x: Any) -> int:
    """The number of environments.

    Raises
    ------
    TypeError
        If `x` is not an integer.
    ValueError
        If it is less than 1.
    """
    fix = "Fix: pass env.num_envs of a vector environment, or nothing for a single one."
    if isinstance(x, bool) or not isinstance(x, int | np.integer):
        raise TypeError(f"num_envs: expected an integer, got {x!r}. {fix}")
    if x < 1:
        raise ValueError(f"num_envs: expected at least 1, got {x}. {fix}")
    return int(x)


def rows_of(num_envs: int, step: tuple, mask: Any) -> list[tuple | None]:
    """One step of each environment; None where the mask says that there was none.

    Parameters
    ----------
    num_envs : int
    step : tuple
        What ``tracer.add`` takes, in the order of its arguments, with a leading axis [N, ...]. What has a default may
        be the default.
    mask : bool[N] or None

    Raises
    ------
    ValueError
        If something has another leading axis: it is named.
    """
    columns = [_column(num_envs, name, x) for name, x in zip(_NAMES, step, strict=True)]
    rows: list[tuple | None] = list(zip(*columns, strict=True))
    if mask is None:
        return rows
    there = np.asarray(mask)
    if there.shape != (num_envs,) or there.dtype != bool:
        raise ValueError(
            f"mask: expected a bool for each of {num_envs} environments, got {there.dtype} of shape "
            f"{list(there.shape)}. Fix: pass the mask that coax.envs.transition returned."
        )
    return [row if is_step else None for row, is_step in zip(rows, there.tolist(), strict=True)]


def _column(num_envs: int, name: str, x: Any) -> list[Any]:
    is_one = x is None or isinstance(x, bool | int | float)
    if is_one and name in _FOR_ALL and x == _FOR_ALL[name]:
        return [x] * num_envs
    if isinstance(x, list) and all(isinstance(part, bool | int | float | np.generic) for part in x):
        x = np.array(x)
    if type(x) is np.ndarray and x.shape[:1] == (num_envs,):
        return x.tolist() if name not in _NAMES[:2] and name not in ("s_next", "a_next") else list(x)
    tree: Any = jax.tree.structure(x)
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(x)]
    for leaf in arrays:
        if leaf.shape[:1] != (num_envs,):
            raise ValueError(
                f"{name}: expected an entry for each of {num_envs} environments, got {list(leaf.shape)}. "
                "Fix: pass what the vector environment returned, and an action for each of them."
            )
    return [tree.unflatten([leaf[i] for leaf in arrays]) for i in range(num_envs)]
