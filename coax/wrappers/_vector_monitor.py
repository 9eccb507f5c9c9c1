"""The monitor of several environments at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np

from ..sinks import Sink
from ._last_observation import VectorLastObservation
from ._monitor import Monitor

__all__ = ("VectorTrainMonitor",)


class VectorTrainMonitor(VectorLastObservation, Monitor):
    r"""Watch a training in N environments at once, as :class:`TrainMonitor` does in one.

    The steps of all environments are counted, and each episode gets its log line. The arguments are those of
    :class:`TrainMonitor`.

    Parameters
    ----------
    env : gymnasium.vector.VectorEnv
        The environments.

    Attributes
    ----------
    T : int
        Number of steps plus number of episodes begun, in all environments. A row that is no transition, as vector
        environments may give between two episodes, is the beginning of an episode and no step.
    ep : int
        Number of episodes begun.
    t : i64[N]
        Number of steps in the present episode of each environment.
    G : f64[N]
        Sum of its rewards, without discount.
    avg_G : float
        Running mean of the returns of finished episodes, of all environments.
    over : bool[N]
        Which episodes ended with the last step, and were not begun anew by then.

    Raises
    ------
    TypeError
        If `smoothing` is not a number, one of `sinks` no sink, or one of `logger_kwargs` unknown.
    ValueError
        If `smoothing` is less than 1, or the environments do not say in ``metadata['autoreset_mode']`` what they do at
        the end of an episode.

    Examples
    --------
    >>> envs = gymnasium.make_vec("FrozenLakeNonSlippery-v0", num_envs=8, vectorization_mode="sync")
    >>> envs = coax.wrappers.TrainMonitor(envs, name="dqn")
    >>> S, info = envs.reset(seed=13)
    >>> S, S_next, R, terminated, truncated, mask = coax.envs.transition(envs, pi(envs.observation))
    >>> R.shape, bool(mask.all()), envs.T
    ((8,), True, 16)
    """

    t: np.ndarray
    G: np.ndarray
    _elapsed: np.ndarray  # seconds, up to the last pause
    _started: np.ndarray  # NaN while the clock stands still
    _some_paused: bool
    _written: np.ndarray

    def __init__(
        self,
        env: gymnasium.vector.VectorEnv,
        tensorboard_dir: str | os.PathLike[str] | None = None,
        tensorboard_write_all: bool = False,
        log_all_metrics: bool = False,
        smoothing: float = 10,
        *,
        sinks: Sink | Iterable[Sink] = (),
        **logger_kwargs: Any,
    ):
        VectorLastObservation.__init__(self, env)
        self._set_up(tensorboard_dir, tensorboard_write_all, log_all_metrics, smoothing, sinks, **logger_kwargs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all, or those in ``options['reset_mask']``. Lines of those left early are written first."""
        self._on_host("reset")
        rows = np.ones(self.num_envs, bool) & (options or {}).get("reset_mask", True)
        S, info = super().reset(seed=seed, options=options)
        self._pause(rows)
        self._write_lines(rows)
        self._begin_episodes(rows)
        self._reports.raise_failure()
        return S, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in each environment. The log lines of the episodes that end with it are written.

        A step after the end of an episode that nobody begins anew counts in `T`, so that a loop over `T` ends, and in
        nothing else.
        """
        self._on_host("step")
        over = self.over
        S, R, terminated, truncated, info = super().step(actions)
        info = {**(info or {}), "monitor": {"T": self.T, "ep": self.ep}}
        self._count(np.asarray(R, float), over)
        if self._reports.has_boards:
            self._actions.add(actions)
        if self._reports.ticks:
            self._reports.step(self.T)
        last = np.logical_or(terminated, truncated) & ~over
        if last.any():
            self._end_episodes(last)
            self._reports.raise_failure()
        return S, R, terminated, truncated, info

    def _count(self, R: np.ndarray, over: np.ndarray) -> None:
        if over.any():
            rows = ~over
            if self.autoreset_mode is gymnasium.vector.AutoresetMode.NEXT_STEP:
                self._begin_episodes(over)  # which counts them in T
            else:
                self.T += int(over.sum())
            self.T += int(rows.sum())
            self.t, self.G = self.t + rows, self.G + np.where(rows, R, 0.0)
            self._written = over
        else:
            self.T += self.num_envs
            self.t, self.G = self.t + 1, self.G + R
            self._written = np.zeros(self.num_envs, bool)
        if self._some_paused:  # and not begun anew
            self._started = np.where(np.isnan(self._started) & ~over, time.perf_counter(), self._started)
            self._some_paused = bool(np.isnan(self._started).any())

    def _end_episodes(self, last: np.ndarray) -> None:
        self._pause(last)
        for G in self.G[last]:
            self._average(float(G))
        self._write_lines(last)
        if self.autoreset_mode is gymnasium.vector.AutoresetMode.SAME_STEP:
            self._begin_episodes(last)

    def close(self, **kwargs: Any) -> None:
        """Write what is not written yet, and close the sinks and the environments."""
        everything = np.ones(self.num_envs, bool)
        self._pause(everything)
        self._write_lines(everything)
        self._reports.close()
        self.env.close(**kwargs)
        self._reports.raise_failure()

    def _space_of_actions(self) -> gymnasium.Space:
        return self.env.single_action_space

    # --- counting

    def _begin_first(self) -> None:
        shape = (self.num_envs,)
        self.t, self.G = np.zeros(shape, np.int64), np.zeros(shape)
        self._elapsed, self._started = np.zeros(shape), np.full(shape, np.nan)
        self._some_paused = True
        self._written = np.ones(shape, bool)  # there is nothing to write
        self._begun()

    def _begin_episodes(self, rows: np.ndarray) -> None:
        count = int(rows.sum())
        if not count:
            return
        self.T += count
        self.ep += count
        self.t, self.G = np.where(rows, 0, self.t), np.where(rows, 0.0, self.G)
        self._elapsed = np.where(rows, 0.0, self._elapsed)
        self._started = np.where(rows, time.perf_counter(), self._started)
        self._some_paused = bool(np.isnan(self._started).any())
        self._written = self._written | rows
        self._begun()

    def _pause(self, rows: np.ndarray) -> None:
        self._elapsed = np.where(rows, self._seconds, self._elapsed)
        self._started = np.where(rows, np.nan, self._started)
        self._some_paused = True

    @property
    def _seconds(self) -> np.ndarray:
        return self._elapsed + np.nan_to_num(time.perf_counter() - self._started)

    @_seconds.setter
    def _seconds(self, value: np.ndarray) -> None:
        self._elapsed, self._started = value, np.full(self.num_envs, np.nan)
        self._some_paused = True

    @property
    def avg_r(self) -> np.ndarray:
        """Mean reward of the present episode of each environment, f64[N]; NaN before its first step."""
        return np.where(self.t > 0, self.G / np.maximum(self.t, 1), np.nan)

    @property
    def dt_ms(self) -> np.ndarray:
        """Mean duration of a step of the present episodes, in milliseconds, f64[N]; NaN before the first step."""
        return np.where(self.t > 0, 1000 * self._seconds / np.maximum(self.t, 1), np.nan)

    def _write_lines(self, rows: np.ndarray) -> None:
        """Write about these episodes, unless that is done or they have no steps."""
        for i in np.flatnonzero(rows & ~self._written):
            each = {name: getattr(self, name)[i].item() for name in ("G", "avg_r", "t", "dt_ms")}
            self._report({"ep": self.ep, "T": self.T, "avg_G": self.avg_G, **each})
        self._written = self._written | rows
