"""Counts steps and episodes, averages what is recorded, and writes one log line an episode."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import gymnasium

from ..sinks import Sink
from ._last_observation import only_item
from ._monitor import Monitor
from ._vector_monitor import VectorTrainMonitor

__all__ = ("TrainMonitor",)


class TrainMonitor(gymnasium.Wrapper, Monitor):
    r"""Watch a training: count steps and episodes, average metrics, write a log line at the end of each episode.

    It also remembers the last observation, see :func:`coax.envs.transition`. No call waits for the device, except once
    an episode for all metrics together.

    Parameters
    ----------
    env : gymnasium.Env or gymnasium.vector.VectorEnv
        The environment. Around a vector environment this is a :class:`VectorTrainMonitor`, which counts the steps of
        all of them.
    tensorboard_dir : str, optional
        Where to write event files for TensorBoard. A folder named after the time is made in it, unless the path ends in
        such a name. Needs ``pip install 'coax[tensorboard]'``.
    tensorboard_write_all : bool, optional
        Whether to write every single metric that is recorded, rather than the mean of each episode.
    log_all_metrics : bool, optional
        Whether the log line shows all metrics. By default it shows those whose names end in ``/loss``, ``/entropy`` or
        ``/kl_div``, or begin with ``throughput/``.
    smoothing : float, optional
        About how many of the last episodes ``avg_G`` looks back on, at least 1. It may be set at any time.
    sinks : iterable of coax.sinks.Sink, optional
        Where to write besides: files, a progress bar and so on, see :mod:`coax.sinks`. They are closed with the
        environment, and also if the interpreter exits. A :class:`coax.sinks.Console` among them takes the place of the
        log line that there is otherwise. A copy of the monitor, or one made from a pickle, has none of them.
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
        If `smoothing` is not a number, one of `sinks` no sink, or one of `logger_kwargs` unknown.
    ValueError
        If `smoothing` is less than 1.

    Examples
    --------
    >>> env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1"), name="dqn")
    >>> s, info = env.reset(seed=13)
    >>> s, r, terminated, truncated, info = env.step(pi(s))
    >>> env.record_metrics(qlearning.update(batch))
    """

    t: int
    G: float
    _elapsed: float  # seconds, up to the last pause
    _started: float | None  # None while the clock stands still
    _written: bool

    def __new__(cls, env: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Around a vector environment, the one for those."""
        if isinstance(env, gymnasium.vector.VectorEnv):
            return VectorTrainMonitor(env, *args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self,
        env: gymnasium.Env | gymnasium.vector.VectorEnv,
        tensorboard_dir: str | os.PathLike[str] | None = None,
        tensorboard_write_all: bool = False,
        log_all_metrics: bool = False,
        smoothing: float = 10,
        *,
        sinks: Sink | Iterable[Sink] = (),
        **logger_kwargs: Any,
    ):
        gymnasium.Wrapper.__init__(self, env)  # type: ignore[arg-type]  # __new__ has made it a gymnasium.Env
        self._set_up(tensorboard_dir, tensorboard_write_all, log_all_metrics, smoothing, sinks, **logger_kwargs)

    # --- the environment

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
        self._reports.raise_failure()
        return s, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step. If it is the last one of the episode, the log line is written.

        A step after that, or after :meth:`close`, is passed on to the environment. It counts in `T`, so that a loop
        over `T` ends, and in nothing else: `t`, `G` and `avg_G` stay those of the finished episode until :meth:`reset`.
        """
        self._on_host("step")
        only_item(self, self._last)
        s_next, r, terminated, truncated, info = self.env.step(action)
        reward = float(r)
        info = {**(info or {}), "monitor": {"T": self.T, "ep": self.ep}}
        self.T += 1
        self._last = (s_next,)
        if self._reports.ticks:
            self._reports.step(self.T)
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
        if self._reports.has_boards:
            self._actions.add(action)
        if is_last:
            self._average(self.G)
            self._pause()
            self._write_line()
            self._reports.raise_failure()

    def _space_of_actions(self) -> gymnasium.Space:
        return self.env.action_space

    def close(self) -> None:
        """Write what is not written yet, and close the sinks and the environment."""
        self._pause()
        self._write_line()
        self._reports.close()
        self.env.close()
        self._reports.raise_failure()

    # --- counting

    def _begin_first(self) -> None:
        self._begin_episode()
        self._pause()

    def _begin_episode(self) -> None:
        self.t, self.G = 0, 0.0
        self._elapsed = 0.0
        self._started = time.perf_counter()
        self._written = True  # there is nothing to write
        self._begun()

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

    def _write_line(self) -> None:
        """Write about this episode, unless that is done or it has no steps."""
        if self._written:
            return
        self._written = True
        self._report({name: getattr(self, name) for name in ("ep", "T", "G", "avg_r", "avg_G", "t", "dt_ms")})


# the signature is that of __init__, whoever asks
TrainMonitor.__new__.__wrapped__ = TrainMonitor.__init__  # type: ignore[attr-defined]


class StreamingSample:
    """Stands in for the sample of actions in counter files of coax 0.1.13, so that they can be read."""
