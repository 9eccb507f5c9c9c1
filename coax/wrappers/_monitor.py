"""What a monitor does, whatever it watches: count, average what is recorded, write a line for each episode."""

from __future__ import annotations

import abc
import copy
import logging
import numbers
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import gymnasium
import jax
import numpy as np

from .._stateful import HostStateful, check_like, name_of
from ..sinks import Sink
from ..sinks._tensorboard import stamped
from ..utils import dump, load
from ._last_observation import only_item
from ._metric_means import MetricMeans
from ._reports import Reports
from ._tensorboard import ActionSample

__all__ = ("Monitor",)

_LEAVES = {  # of the state: the attribute that holds it, and its dtype
    "T": ("T", np.int64),
    "ep": ("ep", np.int64),
    "t": ("t", np.int64),
    "G": ("G", np.float64),
    "avg_G": ("avg_G", np.float64),
    "n_avg_G": ("_n_avg_G", np.float64),
    "seconds": ("_seconds", np.float64),
    "written": ("_written", np.bool_),
}
_COUNTERS = {"T", "ep", "t", "G", "avg_G", "_n_avg_G", "_ep_starttime", "_ep_metrics", "_ep_actions"}
_COUNTERS |= {"_tensorboard_dir", "_period"}


class Monitor(HostStateful):
    """Counters, means of metrics and a log. Subclasses watch an environment and say when an episode is over.

    Parameters
    ----------
    tensorboard_dir : str or None
    tensorboard_write_all, log_all_metrics : bool
    smoothing : float
    sinks : iterable of Sink
    **logger_kwargs
        See :class:`TrainMonitor`.
    """

    T: int
    ep: int
    t: Any  # one number, or one for each environment; so are the others
    G: Any
    avg_G: float
    _n_avg_G: float
    _period: dict[str, list[int]]
    _seconds: Any
    _written: Any

    instead: ClassVar[str] = "put a coax.wrappers.DeviceTrainMonitor around a coax.envs.JaxVectorEnv"

    def _set_up(
        self,
        tensorboard_dir: str | os.PathLike[str] | None,
        tensorboard_write_all: bool,
        log_all_metrics: bool,
        smoothing: float,
        sinks: Any,
        **logger_kwargs: Any,
    ) -> None:
        self.tensorboard_write_all = tensorboard_write_all
        self.smoothing = smoothing
        self._last: tuple = ()  # empty before the first reset
        self._metrics = MetricMeans()
        self._actions = ActionSample()
        self.reset_global()
        directory = None if tensorboard_dir is None else stamped(tensorboard_dir)
        self._reports = Reports(directory, sinks, log_all_metrics, **logger_kwargs)

    @abc.abstractmethod
    def _begin_first(self) -> None:
        """Set what belongs to an episode to zero, as before the first reset."""

    @abc.abstractmethod
    def _space_of_actions(self) -> gymnasium.Space:
        """The space of one action."""

    @property
    def observation(self) -> Any:
        """What the last ``reset`` or ``step`` returned.

        Raises
        ------
        gymnasium.error.ResetNeeded
            Before the first ``reset``.
        """
        return only_item(self, self._last)

    # --- counting

    @property
    def smoothing(self) -> float:
        """About how many of the last episodes `avg_G` looks back on."""
        return self._smoothing

    @smoothing.setter
    def smoothing(self, value: float) -> None:
        _check_number("smoothing", value)
        if not value >= 1:
            raise ValueError(f"smoothing: expected at least 1, got {value!r}. Fix: pass smoothing=1 for no smoothing.")
        self._smoothing = value

    def reset_global(self) -> None:
        """Set all counters to zero."""
        self.T, self.ep, self.avg_G = 0, 0, 0.0
        self._n_avg_G = 0
        self._period = {}
        self._metrics.clear()
        self._begin_first()

    def _begun(self) -> None:
        """An episode begins: what was written about the one before is forgotten."""
        self._actions.clear()
        if self._metrics.shown:
            self._metrics.clear()

    def period(self, name: str, T_period: float | None = None, ep_period: float | None = None) -> bool:
        """Whether it is time to do something again that is done periodically.

        Each name counts for itself. After a jump of the counters it is time several times in a row, until it has
        caught up.

        Parameters
        ----------
        name : str
            What is done.
        T_period, ep_period : number, optional
            Do it each time that `T`, or `ep`, has grown by this much. With both, either is enough.

        Raises
        ------
        TypeError
            If a period is not a number.
        ValueError
            If a period is not positive.
        """
        self._on_host("period")
        for label, length in (("T_period", T_period), ("ep_period", ep_period)):
            if length is None:
                continue
            _check_number(label, length)
            if not length > 0:
                raise ValueError(f"{label}: expected a positive number, got {length!r}. Fix: pass 1 or more.")
        counts = self._period.setdefault(name, [1, 1])
        for i, (now, length) in enumerate(((self.T, T_period), (self.ep, ep_period))):
            if length is not None and now >= counts[i] * length:
                counts[i] += 1
                return True
        return False

    # --- metrics and the log

    @property
    def logger(self) -> logging.Logger:
        """Where the log lines go: a logger of this monitor alone, below the one that is named after the class."""
        return self._reports.console.logger

    @property
    def log_all_metrics(self) -> bool:
        """Whether the log line shows all metrics."""
        return self._reports.console.log_all_metrics

    @log_all_metrics.setter
    def log_all_metrics(self, value: bool) -> None:
        self._reports.console.log_all_metrics = value

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Where it writes besides. New ones may be set at any time; the old ones are not closed by that.

        Raises
        ------
        TypeError
            If one is not a :class:`coax.sinks.Sink`.
        """
        return self._reports.sinks

    @sinks.setter
    def sinks(self, new: Any) -> None:
        self._reports.sinks = new

    @property
    def tensorboard(self) -> Any:
        """The ``tensorboardX.SummaryWriter``, or None if there is no `tensorboard_dir`.

        Raises
        ------
        ImportError
            If tensorboardX is not installed.
        """
        return None if self._reports.writer is None else self._reports.writer()

    def record_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Take down metrics, for their mean over the episode. They are not read before the log line is written.

        Parameters
        ----------
        metrics : mapping from str to number
            What an updater returns, or any mapping. An array counts with all its entries.

        Raises
        ------
        TypeError
            If it is no mapping from names to numbers.
        """
        self._on_host("record_metrics")
        self._metrics.add(metrics, self.T)
        if self._metrics.is_due():
            self._read(self._metrics.fold_ready)
            self._reports.raise_failure()

    def get_metrics(self) -> dict[str, float]:
        """The mean of each metric over the episode so far. Waits for the device."""
        self._on_host("get_metrics")
        self._read(self._metrics.fold)
        self._reports.raise_failure()
        return self._metrics.means()

    def _read(self, fold: Any) -> None:
        """Read metrics, and write each of them to TensorBoard if that is wanted."""
        if self.tensorboard_write_all and self._reports.writer is not None:
            rows: list[tuple[str, float, int]] = []
            fold(lambda *row: rows.append(row))
            for row in rows:
                self._reports.each(*row)
        else:
            fold()

    def _average(self, G: float) -> None:
        """Take the return of a finished episode into the running mean."""
        self._n_avg_G = min(self.smoothing, self._n_avg_G + 1)
        self.avg_G += (G - self.avg_G) / self._n_avg_G

    def _report(self, numbers: Mapping[str, Any]) -> None:
        """Write about an episode: ``ep``, ``T``, ``G``, ``avg_r``, ``avg_G``, ``t``, ``dt_ms``, and the metrics.

        A sink that fails does not raise here, where counting is not finished.
        """
        self._read(self._metrics.fold)
        means = self._metrics.means()
        self._metrics.shown = True
        self._reports.write(self.T, numbers, means, {} if self.tensorboard_write_all else means, self._draw_actions)

    def _draw_actions(self, writer: Any) -> None:
        self._actions.write(writer, self._space_of_actions(), self.T)

    def flush(self) -> None:
        """Bring what was written to where it is safe: files to the disk, and so on.

        Raises
        ------
        OSError
            If a sink failed.
        """
        self._reports.flush()
        self._reports.raise_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: Any) -> bool | None:
        self.close()
        return None  # an error goes on

    @abc.abstractmethod
    def close(self) -> None:
        """Write what is not written yet, and close the sinks and the environment."""

    # --- state

    def init(self, key: jax.Array | None = None) -> Any:
        """Counters at zero."""
        leaves = {
            name: np.zeros(np.shape(getattr(self, attribute)), dtype) for name, (attribute, dtype) in _LEAVES.items()
        }
        return {**leaves, "metrics": {}, "period": {}}

    def _snapshot(self) -> Any:
        sums = {} if self._metrics.shown else self._metrics.sums
        return {
            **{name: np.array(getattr(self, attribute), dtype) for name, (attribute, dtype) in _LEAVES.items()},
            "metrics": _pairs(sums, np.float64),
            "period": _pairs(self._period, np.int64),
        }

    def _checked(self, new: Any) -> Any:
        like = self.init()
        for part, dtype in (("metrics", np.float64), ("period", np.int64)):  # which there are comes from the data
            names = new.get(part) if isinstance(new, Mapping) else None
            like[part] = dict.fromkeys(names if isinstance(names, Mapping) else (), np.zeros(2, dtype))
        return check_like(name_of(self), like, new)

    def _take_over(self, new: Any) -> None:
        for name, (attribute, _) in _LEAVES.items():
            setattr(self, attribute, new[name].item() if new[name].ndim == 0 else np.array(new[name]))
        self._metrics.sums = {name: pair.tolist() for name, pair in new["metrics"].items()}
        self._period = {name: pair.tolist() for name, pair in new["period"].items()}
        self._actions.clear()

    def __copy__(self) -> Self:
        new = super().__copy__()
        new._metrics, new._actions = copy.copy(self._metrics), copy.copy(self._actions)
        new._period, new._reports = copy.deepcopy(self._period), copy.copy(self._reports)
        return new

    # --- counters as coax 0.1.13 had them

    def get_counters(self) -> dict[str, Any]:
        """The counters, for :meth:`set_counters`."""
        self._on_host("get_counters")
        start = np.where(self._written, np.nan, time.time() - self._seconds)
        return {
            "T": self.T,
            "ep": self.ep,
            "t": copy.copy(self.t),
            "G": copy.copy(self.G),
            "avg_G": self.avg_G,
            "_n_avg_G": self._n_avg_G,
            "_ep_starttime": start if start.ndim else None if self._written else start.item(),
            "_ep_metrics": {} if self._metrics.shown else self._metrics.sums,
            "_ep_actions": list(self._actions.actions),
            "_tensorboard_dir": self._reports.folder,
            "_period": copy.deepcopy(self._period),
        }

    def set_counters(self, counters: dict[str, Any]) -> None:
        """Go on counting from there.

        Counters of coax 0.1.13 are taken over too, except what belongs to an unfinished episode: its metrics and its
        sample of actions.

        Parameters
        ----------
        counters : dict
            What :meth:`get_counters` returned.

        Raises
        ------
        TypeError
            If it is no dict with exactly these keys. Nothing is changed then.
        """
        self._on_host("set_counters")
        if not isinstance(counters, dict) or set(counters) != _COUNTERS:
            got = sorted(map(str, counters)) if isinstance(counters, dict) else type(counters).__name__
            raise TypeError(
                f"counters: expected a dict with the keys {sorted(_COUNTERS)}, got {got}. "
                "Fix: pass what env.get_counters() returned."
            )
        start, directory = counters["_ep_starttime"], counters["_tensorboard_dir"]
        start = np.asarray(np.nan if start is None else start, np.float64)
        values = (*(counters[name] for name in ("T", "ep", "t", "G", "avg_G", "_n_avg_G")),)
        values += (np.nan_to_num(time.time() - start), np.isnan(start) | (np.asarray(counters["t"]) == 0))
        self._restore(
            {
                **{name: np.array(x, dtype) for (name, (_, dtype)), x in zip(_LEAVES.items(), values, strict=True)},
                "metrics": _pairs(counters["_ep_metrics"], np.float64),
                "period": _pairs(counters["_period"], np.int64),
            }
        )
        for action in counters["_ep_actions"] if isinstance(counters["_ep_actions"], list) else ():
            self._actions.add(action)
        self._reports.folder = directory

    def save_counters(self, filepath: str | os.PathLike[str]) -> None:
        """Write the counters to a file. Its folder is made if there is none."""
        dump(self.get_counters(), filepath)

    def load_counters(self, filepath: str | os.PathLike[str]) -> None:
        """Go on counting from a file of :meth:`save_counters`. It is unpickled: load only files that you trust."""
        self.set_counters(load(filepath))


def _check_number(name: str, x: Any) -> None:
    if not isinstance(x, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {x!r}. Fix: pass an int or a float.")


def _pairs(table: Any, dtype: Any) -> dict[str, np.ndarray]:
    """The entries that are pairs of numbers."""
    items = table.items() if isinstance(table, Mapping) else ()
    return {name: np.array(pair, dtype) for name, pair in items if isinstance(pair, tuple | list) and len(pair) == 2}
