"""Counts steps and episodes, averages what is recorded, and writes one log line an episode."""

from __future__ import annotations

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
from ..utils import dump, load
from ._last_observation import only_item
from ._log_line import is_shown, log_line, show_lines
from ._metric_means import MetricMeans
from ._tensorboard import ActionSample, LazyWriter, stamped

__all__ = ("TrainMonitor",)

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


class TrainMonitor(gymnasium.Wrapper, HostStateful):
    r"""Watch a training: count steps and episodes, average metrics, write a log line at the end of each episode.

    It also remembers the last observation, see :func:`coax.envs.transition`. No call waits for the device, except once
    an episode for all metrics together.

    Parameters
    ----------
    env : gymnasium.Env
        The environment.
    tensorboard_dir : str, optional
        Where to write event files for TensorBoard. A folder named after the time is made in it, unless the path ends in
        such a name. Needs ``pip install 'coax[tensorboard]'``.
    tensorboard_write_all : bool, optional
        Whether to write every single metric that is recorded, rather than the mean of each episode.
    log_all_metrics : bool, optional
        Whether the log line shows all metrics. By default it shows those whose names end in ``/loss``, ``/entropy`` or
        ``/kl_div``, or begin with ``throughput/``.
    smoothing : float, optional
        About how many of the last episodes :attr:`avg_G` looks back on, at least 1. It may be set at any time.
    **logger_kwargs
        For :func:`coax.utils.enable_logging`: `name`, `level`, `output_filepath`, `output_level`, `logger`.
        Each monitor has its own.

    Metrics that are recorded after the last step of an episode are shown in the next line.

    Attributes
    ----------
    T : int
        Number of steps plus number of episodes begun: each ``step`` and each ``reset`` adds one.
    ep : int
        Number of episodes begun.
    t : int
        Number of steps in this episode.
    G : float
        Sum of the rewards of this episode, without discount.
    avg_G : float
        Running mean of `G` over finished episodes: :math:`\bar{G} \leftarrow \bar{G} + (G - \bar{G}) / m`, where
        :math:`m` is the number of finished episodes, at most `smoothing`.

    Raises
    ------
    TypeError
        If `env` is a vector environment, `smoothing` is not a number, or one of `logger_kwargs` is unknown.
    ValueError
        If `smoothing` is less than 1.

    Examples
    --------
    >>> env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1"), name="dqn")
    >>> s, info = env.reset(seed=13)
    >>> s, r, terminated, truncated, info = env.step(pi(s))
    >>> env.record_metrics(qlearning.update(batch))
    """

    T: int
    ep: int
    t: int
    G: float
    avg_G: float
    _n_avg_G: float
    _period: dict[str, list[int]]
    _elapsed: float  # seconds, up to the last pause
    _started: float | None  # None while the clock stands still
    _written: bool

    instead: ClassVar[str] = "wrap it around the environment of a Python loop; a compiled loop returns its metrics"

    def __init__(
        self,
        env: gymnasium.Env,
        tensorboard_dir: str | os.PathLike | None = None,
        tensorboard_write_all: bool = False,
        log_all_metrics: bool = False,
        smoothing: float = 10,
        **logger_kwargs: Any,
    ):
        if isinstance(env, gymnasium.vector.VectorEnv):
            raise TypeError(
                f"env: expected a single gymnasium.Env, got the vector environment {type(env).__name__}. "
                "Fix: wrap single environments, or use gymnasium.wrappers.vector.RecordEpisodeStatistics."
            )
        gymnasium.Wrapper.__init__(self, env)
        self.log_all_metrics = log_all_metrics
        self.tensorboard_write_all = tensorboard_write_all
        self.smoothing = smoothing
        self._last: tuple = ()  # empty before the first reset
        self._writer = None if tensorboard_dir is None else LazyWriter(stamped(tensorboard_dir))
        self._metrics = MetricMeans()
        self._actions = ActionSample()
        self.reset_global()
        self._logger = show_lines(type(self).__name__, **logger_kwargs)

    # --- the environment

    @property
    def observation(self) -> Any:
        """What the last ``reset`` or ``step`` returned.

        Raises
        ------
        gymnasium.error.ResetNeeded
            Before the first ``reset``.
        """
        return only_item(self, self._last)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. If the last one was left before its end, its log line is written first."""
        self._on_host("reset")
        self._pause()
        s, info = self.env.reset(seed=seed, options=options)
        self._write_line()
        self._begin_episode()
        self.T += 1
        self.ep += 1
        self._last = (s,)
        return s, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step. If it is the last one of the episode, the log line is written.

        A step after that, or after :meth:`close`, is passed on to the environment. It counts in `T`, so that a loop
        over `T` ends, and in nothing else: `t`, `G` and `avg_G` stay those of the finished episode until :meth:`reset`.
        """
        self._on_host("step")
        s_next, r, terminated, truncated, info = self.env.step(action)
        reward = float(r)
        info = {**(info or {}), "monitor": {"T": self.T, "ep": self.ep}}
        self.T += 1
        self._last = (s_next,)
        if not self._is_over:
            self._count(action, reward, terminated or truncated)
        return s_next, r, terminated, truncated, info

    @property
    def _is_over(self) -> bool:
        """Whether the line about this episode is written, so that nothing more belongs to it."""
        return self._written and self.t > 0

    def _count(self, action: Any, reward: float, is_last: bool) -> None:
        if self._started is None:  # after a reset that failed
            self._started = time.perf_counter()
        self.t += 1
        self.G += reward
        self._written = False
        if self._writer is not None:
            self._actions.add(action)
        if is_last:
            self._n_avg_G = min(self.smoothing, self._n_avg_G + 1)
            self.avg_G += (self.G - self.avg_G) / self._n_avg_G
            self._pause()
            self._write_line()

    def close(self) -> None:
        """Write what is not written yet, and close the environment."""
        self._pause()
        self._write_line()
        if self._writer is not None:
            self._writer.close()
        self.env.close()

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
        self._begin_episode()
        self._pause()

    def _begin_episode(self) -> None:
        self.t, self.G = 0, 0.0
        self._elapsed = 0.0
        self._started = time.perf_counter()
        self._written = True  # there is nothing to write
        self._actions.clear()
        if self._metrics.shown:
            self._metrics.clear()

    def _pause(self) -> None:
        self._seconds = self._seconds

    @property
    def _seconds(self) -> float:
        return self._elapsed + (0.0 if self._started is None else time.perf_counter() - self._started)

    @_seconds.setter
    def _seconds(self, value: float) -> None:
        self._elapsed, self._started = value, None

    @property
    def avg_r(self) -> float:
        """Mean reward of this episode; NaN before its first step."""
        return self.G / self.t if self.t else float("nan")

    @property
    def dt_ms(self) -> float:
        """Mean duration of a step of this episode, in milliseconds; NaN before its first step."""
        return 1000 * self._seconds / self.t if self.t else float("nan")

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
        return self._logger

    @property
    def tensorboard(self) -> Any:
        """The ``tensorboardX.SummaryWriter``, or None if there is no `tensorboard_dir`.

        Raises
        ------
        ImportError
            If tensorboardX is not installed.
        """
        return None if self._writer is None else self._writer()

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
            self._metrics.fold_ready(self._write_one())

    def get_metrics(self) -> dict[str, float]:
        """The mean of each metric over the episode so far. Waits for the device."""
        self._on_host("get_metrics")
        self._metrics.fold(self._write_one())
        return self._metrics.means()

    def _write_one(self) -> Any:
        """What to do with each number as soon as it is read, if anything."""
        writer = self.tensorboard if self.tensorboard_write_all else None
        return writer and (lambda name, value, T: writer.add_scalar(name, value, global_step=T))

    def _write_line(self) -> None:
        """Write about this episode, unless that is done or it has no steps."""
        if self._written:
            return
        self._written = True
        means = self.get_metrics()
        self._metrics.shown = True
        shown = means if self.log_all_metrics else {name: means[name] for name in means if is_shown(name)}
        names = ("ep", "T", "G", "avg_r", "avg_G", "t", "dt_ms")
        self.logger.info(log_line({name: getattr(self, name) for name in names}, shown))
        if self._writer is not None:
            self._write_tensorboard({} if self.tensorboard_write_all else means)

    def _write_tensorboard(self, means: Mapping[str, float]) -> None:
        scalars = {
            "episode/episode": self.ep,
            "episode/avg_reward": self.avg_r,
            "episode/return": self.G,
            "episode/steps": self.t,
            "episode/avg_step_duration_ms": self.dt_ms,
            **means,
        }
        for name, value in scalars.items():
            self.tensorboard.add_scalar(name, float(value), global_step=self.T)
        self._actions.write(self.tensorboard, self.env.action_space, self.T)
        self.tensorboard.flush()

    # --- state

    def init(self, key: jax.Array | None = None) -> Any:
        """Counters at zero."""
        return {**{name: np.zeros((), dtype) for name, (_, dtype) in _LEAVES.items()}, "metrics": {}, "period": {}}

    def _snapshot(self) -> Any:
        sums = {} if self._metrics.shown else self._metrics.sums
        return {
            **{name: np.array(getattr(self, attribute), dtype) for name, (attribute, dtype) in _LEAVES.items()},
            "metrics": _pairs(sums, np.float64),
            "period": _pairs(self._period, np.int64),
        }

    def _restore(self, new: Any) -> None:
        like = self.init()
        for part, dtype in (("metrics", np.float64), ("period", np.int64)):  # which there are comes from the data
            names = new.get(part) if isinstance(new, Mapping) else None
            like[part] = dict.fromkeys(names if isinstance(names, Mapping) else (), np.zeros(2, dtype))
        new = check_like(name_of(self), like, new)
        for name, (attribute, _) in _LEAVES.items():
            setattr(self, attribute, new[name].item())
        self._metrics.sums = {name: pair.tolist() for name, pair in new["metrics"].items()}
        self._period = {name: pair.tolist() for name, pair in new["period"].items()}
        self._actions.clear()

    def __copy__(self) -> Self:
        new = super().__copy__()
        new._metrics, new._actions = copy.copy(self._metrics), copy.copy(self._actions)
        new._period, new._writer = copy.deepcopy(self._period), copy.copy(self._writer)
        return new

    def get_counters(self) -> dict[str, Any]:
        """The counters, for :meth:`set_counters`."""
        self._on_host("get_counters")
        return {
            "T": self.T,
            "ep": self.ep,
            "t": self.t,
            "G": self.G,
            "avg_G": self.avg_G,
            "_n_avg_G": self._n_avg_G,
            "_ep_starttime": None if self._written else time.time() - self._seconds,
            "_ep_metrics": {} if self._metrics.shown else self._metrics.sums,
            "_ep_actions": list(self._actions.actions),
            "_tensorboard_dir": None if self._writer is None else self._writer.directory,
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
        values = (*(counters[name] for name in ("T", "ep", "t", "G", "avg_G", "_n_avg_G")),)
        values += (0.0 if start is None else time.time() - start, start is None or counters["t"] == 0)
        self._restore(
            {
                **{name: np.array(x, dtype) for (name, (_, dtype)), x in zip(_LEAVES.items(), values, strict=True)},
                "metrics": _pairs(counters["_ep_metrics"], np.float64),
                "period": _pairs(counters["_period"], np.int64),
            }
        )
        for action in counters["_ep_actions"] if isinstance(counters["_ep_actions"], list) else ():
            self._actions.add(action)
        if self._writer is not None:
            self._writer.close()
        self._writer = None if directory is None else LazyWriter(directory)

    def save_counters(self, filepath: str | os.PathLike) -> None:
        """Write the counters to a file. Its folder is made if there is none."""
        dump(self.get_counters(), filepath)

    def load_counters(self, filepath: str | os.PathLike) -> None:
        """Go on counting from a file of :meth:`save_counters`. It is unpickled: load only files that you trust."""
        self.set_counters(load(filepath))


def _check_number(name: str, x: Any) -> None:
    if not isinstance(x, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {x!r}. Fix: pass an int or a float.")


def _pairs(table: Any, dtype: Any) -> dict[str, np.ndarray]:
    """The entries that are pairs of numbers."""
    items = table.items() if isinstance(table, Mapping) else ()
    return {name: np.array(pair, dtype) for name, pair in items if isinstance(pair, tuple | list) and len(pair) == 2}


class StreamingSample:
    """Stands in for the sample of actions in counter files of coax 0.1.13, so that they can be read."""
