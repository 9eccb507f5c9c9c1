"""A TensorBoard writer that opens its file when it is first used."""

from __future__ import annotations

import datetime
import importlib
import os
import re
from collections.abc import Mapping
from typing import Any

import gymnasium
import jax
import numpy as np

__all__ = ("ActionSample", "LazyWriter", "stamped", "write_scalars", "writer_class")

_STAMP = re.compile(r"\d{8}_\d{6}")


def stamped(directory: str | os.PathLike) -> str:
    """The directory of one run: with the time in its name, unless it ends in one already."""
    directory = os.fspath(directory)
    if _STAMP.fullmatch(os.path.basename(os.path.normpath(directory))):
        return directory
    return os.path.join(directory, datetime.datetime.now().strftime("%Y%m%d_%H%M%S"))


def writer_class() -> Any:
    """``tensorboardX.SummaryWriter``.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    """
    try:
        return importlib.import_module("tensorboardX").SummaryWriter
    except ImportError as err:
        raise ImportError("tensorboardX is missing. Fix: pip install 'coax[tensorboard]'") from err


class LazyWriter:
    """A ``tensorboardX.SummaryWriter``, opened on first use and again after unpickling.

    Parameters
    ----------
    directory : str
        Where the event file goes.
    """

    def __init__(self, directory: str):
        self.directory = directory
        self._writer: Any = None

    def __call__(self) -> Any:
        """The writer.

        Raises
        ------
        ImportError
            If tensorboardX is not installed.
        """
        if self._writer is None:
            self._writer = writer_class()(self.directory)
        return self._writer

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write out what is buffered and close the file. The next use opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __getstate__(self) -> dict[str, Any]:
        return {"directory": self.directory, "_writer": None}


def write_scalars(writer: Any, numbers: Mapping[str, Any], means: Mapping[str, float], T: int) -> None:
    """Write the counters of an episode, or their means over several, and the means of metrics."""
    scalars = {
        "episode/episode": numbers["ep"],
        "episode/avg_reward": numbers["avg_r"],
        "episode/return": numbers["G"],
        "episode/steps": numbers["t"],
        "episode/avg_step_duration_ms": numbers["dt_ms"],
        **means,
    }
    for name, value in scalars.items():
        writer.add_scalar(name, float(value), global_step=T)


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
