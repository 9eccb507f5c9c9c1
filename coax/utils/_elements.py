"""From the results of compiled functions to elements of a space: what an environment can be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from ._spaces import leaf_shape

__all__ = ("make_element",)


def make_element(space: Space) -> Callable[[Any], Any]:
    """Compile a space into a function that brings its elements to the host.

    Parameters
    ----------
    space : gymnasium.Space
        Discrete, Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of these.

    Returns
    -------
    callable
        ``element(x)``: the same with NumPy arrays in the dtype of the space, any leading axes in front. A single
        element of a Discrete space is an ``int``. What rounding put outside the bounds of a Box is put on them.

    Raises
    ------
    TypeError
        If the elements of the space are not arrays.
    """
    if isinstance(space, spaces.Tuple):
        parts = [make_element(child) for child in space.spaces]
        return lambda x: tuple(part(leaf) for part, leaf in zip(parts, x, strict=True))
    if isinstance(space, spaces.Dict):
        named = {key: make_element(child) for key, child in space.spaces.items()}
        return lambda x: {key: part(x[key]) for key, part in named.items()}
    leaf_shape(space)
    dtype = np.dtype(space.dtype)
    if isinstance(space, spaces.Discrete):

        def discrete(x: Any) -> Any:
            host = np.asarray(x)
            return host.item() if host.ndim == 0 else host.astype(dtype, copy=False)

        return discrete
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
        return lambda x: np.asarray(np.asarray(x).astype(dtype, copy=False).clip(low, high))
    return lambda x: np.asarray(x).astype(dtype, copy=False)
