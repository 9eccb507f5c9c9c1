"""Event files for TensorBoard."""

from __future__ import annotations

import datetime
import os
import re
import time
import weakref
from collections.abc import Mapping
from typing import Any

from ._need import need
from ._sink import Sink, closed_error

__all__ = ("LazyWriter", "TensorBoard", "stamped", "write_scalars", "writer_class")

_STAMP = re.compile(r"\d{8}_\d{6}")


def stamped(directory: str | os.PathLike[str]) -> str:
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
    return need("tensorboardX", "tensorboard").SummaryWriter


class LazyWriter:
    """A ``tensorboardX.SummaryWriter``, opened on first use and again after unpickling.

    It is closed when it is gone, and when the interpreter exits.

    Parameters
    ----------
    directory : str
        Where the event file goes.
    """

    def __init__(self, directory: str):
        self.directory = directory
        self._writer: Any = None
        self._closer: Any = None

    def __call__(self) -> Any:
        """The writer.

        Raises
        ------
        ImportError
            If tensorboardX is not installed.
        """
        if self._writer is None:
            make = writer_class()
            _wait_for_a_new_name(self.directory)
            self._writer = make(self.directory)
            self._closer = weakref.finalize(self, _close, self._writer, os.getpid())
        return self._writer

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write out what is buffered and close the file. The next use opens another."""
        if self._writer is not None:
            self._writer = None
            self._closer()

    def __getstate__(self) -> dict[str, Any]:
        return {"directory": self.directory, "_writer": None}

    def __repr__(self) -> str:
        return f"TensorBoard({self.directory!r})"


def _wait_for_a_new_name(directory: str) -> None:
    """Wait while a new event file would take the place of an older one: they are named after the second."""
    while os.path.isdir(directory):
        stamp = f".tfevents.{int(time.time())}."
        if not any(stamp in name for name in os.listdir(directory)):
            return
        time.sleep(0.02)


def _close(writer: Any, pid: int) -> None:
    if os.getpid() == pid:  # a fork has the file, but not the thread that writes to it
        writer.close()


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


class TensorBoard(Sink):
    """Event files for TensorBoard: the numbers of each episode, the means of metrics, a histogram of the actions.

    Needs ``pip install 'coax[tensorboard]'``.

    Parameters
    ----------
    directory : path
        A folder named after the time is made in it, so that each run has its own. A path that ends in such a name, e.g.
        ``20240131_235959``, is taken as it is: that is how to go on with a run.

    Attributes
    ----------
    directory : str
        Of the event files.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.

    Examples
    --------
    >>> env = gymnasium.make("CartPole-v1")
    >>> env = coax.wrappers.TrainMonitor(env, sinks=[coax.sinks.TensorBoard("runs/dqn")])
    """

    def __init__(self, directory: str | os.PathLike[str]):
        writer_class()  # not only after an episode of minutes
        self._writer = LazyWriter(stamped(directory))
        self._closed = False

    @property
    def directory(self) -> str:
        """Of the event files."""
        return self._writer.directory

    @property
    def writer(self) -> Any:
        """The ``tensorboardX.SummaryWriter``, for what else you want to write.

        Raises
        ------
        ValueError
            After :meth:`close`.
        """
        if self._closed:
            raise closed_error(self)
        return self._writer()

    def write(self, T: int, numbers: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Write the numbers and the metrics, at step `T`."""
        write_scalars(self.writer, numbers, metrics, T)
        self.flush()

    def flush(self) -> None:
        """Write out what is buffered."""
        self._writer.flush()

    def close(self) -> None:
        """Write out what is buffered and close the file."""
        self._closed = True
        self._writer.close()

    def __repr__(self) -> str:
        return f"TensorBoard({self.directory!r})"
