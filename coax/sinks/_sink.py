"""What a place is like that a monitor writes to."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

__all__ = ("Sink", "closed_error")


class Sink(abc.ABC):
    """A place that a monitor writes to: about each episode, or about each interval of a compiled loop.

    To write somewhere else, derive from this class and give it :meth:`write`; the rest may stay as it is.

    Examples
    --------
    >>> class Best(coax.sinks.Sink):
    ...     G = float("-inf")
    ...     def write(self, T, numbers, metrics):
    ...         self.G = max(self.G, numbers["G"])
    >>> best = Best()
    >>> env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1"), sinks=[best])
    """

    @abc.abstractmethod
    def write(self, T: int, numbers: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Write about one episode.

        What is raised here does not keep the other sinks from being written; the monitor raises it afterwards.

        Parameters
        ----------
        T : int
            The counter of the monitor.
        numbers : mapping from str to number
            ``ep``, ``T``, ``G``, ``avg_r``, ``avg_G``, ``t`` and ``dt_ms``, as in the log line.
        metrics : mapping from str to float
            The means of all that was recorded, e.g. ``QLearning/loss``.
        """

    def step(self, T: int) -> None:  # noqa: B027 - most have nothing to do in a step
        """Do what is to be done after each step in Python, in a microsecond at most.

        Parameters
        ----------
        T : int
            The counter of the monitor.
        """

    def make_room(self) -> None:  # noqa: B027 - most are not on the console
        """Clear the last line of the console, since a line is about to be written there."""

    def flush(self) -> None:  # noqa: B027 - most keep nothing back
        """Bring what was written to where it is safe."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Flush, and let go of files and the like. A second time does nothing."""


def closed_error(sink: Any) -> ValueError:
    """What is raised by a sink that is written to after it was closed."""
    return ValueError(
        f"{sink!r} is closed. Fix: write before env.close() or sink.close(); or go on with a new one of the same path, "
        "which appends: env.sinks = [...]."
    )
