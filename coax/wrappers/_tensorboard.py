"""What a monitor shows in TensorBoard beside numbers: a histogram of the actions."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import numpy as np

__all__ = ("ActionSample",)


class ActionSample:
    """An evenly spaced sample of the actions of an episode, for a histogram.

    When it is full, every second action is dropped and from then on only half as many are taken.

    Parameters
    ----------
    capacity : int, optional
        The largest number of actions that are kept.
    """

    def __init__(self, capacity: int = 1000):
        self._capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.actions: list[Any] = []
        self._seen, self._stride = 0, 1

    def add(self, action: Any) -> None:
        """Take the action, if it is its turn."""
        if self._seen % self._stride == 0:
            self.actions.append(action)
            if len(self.actions) > self._capacity:
                self.actions = self.actions[::2]
                self._stride *= 2
        self._seen += 1

    def write(self, writer: Any, space: gymnasium.Space, T: int) -> None:
        """Write one histogram for each part of the action."""
        rows: dict[str, list[np.ndarray]] = {}
        for action in self.actions:
            for path, leaf in jax.tree_util.tree_flatten_with_path(action)[0]:
                rows.setdefault("actions" + jax.tree_util.keystr(path), []).append(np.ravel(leaf))
        for name, values in rows.items():
            flat = np.concatenate(values)
            if np.issubdtype(flat.dtype, np.number):
                bins = np.arange(space.n + 1) + space.start if isinstance(space, gymnasium.spaces.Discrete) else "auto"
                writer.add_histogram(name, flat, global_step=T, bins=bins)

    def __copy__(self) -> ActionSample:
        new = object.__new__(ActionSample)
        new.__dict__.update(self.__dict__, actions=list(self.actions))
        return new
