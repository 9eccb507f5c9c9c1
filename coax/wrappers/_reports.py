"""All the places that one monitor writes to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from ..sinks import Console, Sink, TensorBoard
from ..sinks._tensorboard import LazyWriter, write_scalars

__all__ = ("Reports",)


class Reports:
    """All the places that one monitor writes to. One that fails does not keep the others from being written.

    A copy, and what is made anew from a pickle, has the console and the folder for TensorBoard, but none of the sinks:
    two that write to one file would mix their rows.

    Parameters
    ----------
    directory : str or None
        For the event files of the classic argument `tensorboard_dir`.
    sinks : Sink or iterable of Sink
    log_all_metrics : bool
    **logger_kwargs
        Of the console, if there is none among the sinks.
    """

    def __init__(self, directory: str | None, sinks: Any, log_all_metrics: bool, **logger_kwargs: Any):
        sinks = _as_sinks(sinks)
        if _console_in(sinks) and (log_all_metrics or logger_kwargs):
            given = [*(["log_all_metrics"] if log_all_metrics else []), *logger_kwargs]
            raise TypeError(
                f"sinks: expected no Console beside the arguments {given}, which are those of the monitor's own one. "
                "Fix: pass them to coax.sinks.Console."
            )
        self.console: Console = _console_in(sinks) or Console(log_all_metrics, **logger_kwargs)
        self.writer = None if directory is None else LazyWriter(directory)
        self._failures: dict[int, tuple[Any, Exception]] = {}
        self._set(sinks)

    # --- which there are

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """What was given."""
        return self._sinks

    @sinks.setter
    def sinks(self, new: Any) -> None:
        self._set(_as_sinks(new))

    def _set(self, sinks: tuple[Sink, ...]) -> None:
        self._sinks = sinks
        self.ticks = tuple(sink for sink in sinks if type(sink).step is not Sink.step)
        self._in_the_way = tuple(sink for sink in sinks if type(sink).make_room is not Sink.make_room)
        self.console = _console_in(sinks) or self.console
        self._look()

    def _look(self) -> None:
        boards = [sink for sink in self._sinks if isinstance(sink, TensorBoard)]
        self.has_boards = bool(boards) or self.writer is not None  # which also show the actions

    @property
    def folder(self) -> str | None:
        """The classic folder for TensorBoard. Setting it closes the one before."""
        return None if self.writer is None else self.writer.directory

    @folder.setter
    def folder(self, directory: str | None) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None if directory is None else LazyWriter(directory)
        self._look()

    # --- writing

    def step(self, T: int) -> None:
        """Tell those that want to know about each step."""
        for sink in self.ticks:
            self._try(sink, sink.step, T)

    def write(
        self,
        T: int,
        numbers: Mapping[str, Any],
        metrics: Mapping[str, float],
        scalars: Mapping[str, float],
        draw: Callable[[Any], None] | None = None,
    ) -> None:
        """Write to all. What goes wrong is kept for :meth:`raise_failure`.

        Parameters
        ----------
        T : int
        numbers, metrics : mapping from str to number
        scalars : mapping from str to float
            The metrics that the classic folder for TensorBoard is to show.
        draw : callable, optional
            Is called with the writer of each TensorBoard.
        """
        if self._in_the_way and self.console.is_on:
            for sink in self._in_the_way:
                self._try(sink, sink.make_room)
        for sink in (self.console, *(sink for sink in self._sinks if sink is not self.console)):
            if draw is not None and isinstance(sink, TensorBoard):
                self._try(sink, _drawn, sink, draw)
            self._try(sink, sink.write, T, numbers, metrics)
        if self.writer is not None:
            self._try(self.writer, self._write_classic, T, numbers, scalars, draw)

    def _write_classic(self, T: int, numbers: Mapping, scalars: Mapping, draw: Callable[..., Any] | None) -> None:
        assert self.writer is not None
        writer = self.writer()
        write_scalars(writer, numbers, scalars, T)
        if draw is not None:
            draw(writer)
        writer.flush()

    def each(self, name: str, value: float, T: int) -> None:
        """Write one number to the classic folder for TensorBoard."""
        assert self.writer is not None
        self._try(self.writer, lambda: self.writer().add_scalar(name, value, global_step=T))  # type: ignore[misc]

    def flush(self) -> None:
        """Flush all."""
        for sink in (self.console, *self._sinks):
            self._try(sink, sink.flush)

    def close(self) -> None:
        """Close all."""
        for sink in (*self._sinks, *(() if self.writer is None else (self.writer,))):
            self._try(sink, sink.close)

    def _try(self, sink: Any, act: Callable[..., Any], *args: Any) -> None:
        try:
            act(*args)
        except Exception as err:
            self._failures.setdefault(id(sink), (sink, err))

    def raise_failure(self) -> None:
        """Raise what went wrong since the last time.

        Raises
        ------
        OSError
            If a sink failed. It names all that did.
        """
        if not self._failures:
            return
        failures, self._failures = list(self._failures.values()), {}
        text = "; ".join(f"{sink!r} failed: {type(err).__name__}: {err}" for sink, err in failures)
        raise OSError(
            f"{text}. All other sinks were written, and nothing is lost but the report: the training may go on. "
            "Fix: mend the cause, or take that sink away: env.sinks = [...]."
        ) from failures[0][1]

    # --- copies

    def __copy__(self) -> Reports:
        new = object.__new__(Reports)
        new.__setstate__({name: copy.copy(part) for name, part in self.__getstate__().items()})
        return new

    def __deepcopy__(self, memo: dict) -> Reports:
        return copy.copy(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"console": self.console, "writer": self.writer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _failures={})
        self._set(())


def _console_in(sinks: tuple[Sink, ...]) -> Console | None:
    return next((sink for sink in sinks if isinstance(sink, Console)), None)


def _drawn(sink: TensorBoard, draw: Callable[[Any], None]) -> None:
    draw(sink.writer)


def _as_sinks(sinks: Any) -> tuple[Sink, ...]:
    found = (sinks,) if isinstance(sinks, Sink) else tuple(sinks)
    for sink in found:
        if not isinstance(sink, Sink):
            raise TypeError(
                f"sinks: expected objects of coax.sinks.Sink, got {sink!r}. Fix: pass for instance "
                "coax.sinks.CSV('runs/dqn.csv'), or derive from coax.sinks.Sink."
            )
    if len(set(map(id, found))) < len(found):
        raise ValueError("sinks: expected each sink once, got one of them twice. Fix: leave it out.")
    return found
