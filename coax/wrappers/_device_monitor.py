"""The monitor of environments inside JAX: it counts in a compiled loop, and reports from inside of it."""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import gymnasium
import jax
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental import io_callback

from .._entries import Fixed, Number
from .._stateful import Stateful, is_tracing
from ..errors import StateError
from ..sinks import Sink
from ..sinks._tensorboard import stamped, writer_class
from ..utils import at_least_one, steps_itself
from ._counting import MonitorRule
from ._interval_reports import IntervalReports
from ._reports import Reports

__all__ = ("DeviceTrainMonitor",)


class DeviceTrainMonitor(Stateful, gymnasium.vector.VectorWrapper):
    r"""Watch a training in environments inside JAX, and report from inside a compiled loop, without leaving it.

    It is to a :class:`coax.envs.JaxVectorEnv` what :class:`TrainMonitor` is to other environments, and also works in a
    Python loop. A compiled loop writes no line for each episode, but one for each interval: means over the episodes
    that ended in it (`G`, `t`), over its steps (`avg_r`, `dt`), and of what was recorded.

    Parameters
    ----------
    env : JaxVectorEnv
        The environments.
    every : int, optional
        After how many steps, of all environments together, to report again, at least 1.
    metrics : sequence of str, optional
        The names of the metrics that are recorded: a compiled program must know beforehand what it has to keep.
    tensorboard_dir : str, optional
        Where to write event files for TensorBoard, as for :class:`TrainMonitor`.
    log_all_metrics : bool, optional
        Whether the log line shows all metrics, as for :class:`TrainMonitor`.
    smoothing : float, optional
        About how many of the last episodes ``avg_G`` looks back on, at least 1.
    sinks : iterable of coax.sinks.Sink, optional
        Where to write besides, once for each interval, as for :class:`TrainMonitor`.
    **logger_kwargs
        For :func:`coax.utils.enable_logging`: `name`, `level`, `output_filepath`, `output_level`, `logger`.

    Attributes
    ----------
    T : int
        Number of steps plus number of episodes begun, in all environments, as :class:`TrainMonitor` counts. It stays at
        2^31 - 1 once it is there, and so does `ep`.
    ep : int
        Number of episodes begun.
    t : i32[N]
        Number of steps in the present episode of each environment.
    G : f32[N]
        Sum of its rewards, without discount.
    avg_G : float
        Running mean of the returns of finished episodes.

    Raises
    ------
    TypeError
        If the environments do not run inside JAX, or an argument has the wrong type.
    ValueError
        If a number is less than 1, or a name occurs twice.

    Notes
    -----
    A report is an ordered callback, which costs the program a wait. What goes wrong in it, e.g. a full disk, is raised
    by the next call on the objects. Under ``vmap`` there is no order: there, return the metrics and report between
    calls.

    So that nothing is lost if one interrupts it, a program that calls back does not consume the states that it changes:
    while it runs, they are there twice. Where a large replay buffer leaves no room for that, take this out of the loop,
    and run the loop in pieces.

    In an interval without the end of an episode, `G` is NaN and `t` is 0. The environments have been reset when this is
    made, which counts as the beginning of N episodes; a ``reset`` counts N more.

    Examples
    --------
    >>> env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), num_envs=4, random_seed=13)
    >>> env = coax.wrappers.DeviceTrainMonitor(env, every=10_000, metrics=["QLearning/loss"], name="dqn")
    """

    every = Fixed("_rule.every", "After how many steps it reports.", "DeviceTrainMonitor")
    smoothing = Number(low=1)
    metrics = Fixed("_sink.names", "The names of the metrics that are recorded.", "DeviceTrainMonitor")

    def __init__(
        self,
        env: Any,
        every: int = 10_000,
        metrics: Sequence[str] = (),
        tensorboard_dir: str | os.PathLike[str] | None = None,
        log_all_metrics: bool = False,
        smoothing: float = 10,
        *,
        sinks: Sink | Iterable[Sink] = (),
        **logger_kwargs: Any,
    ):
        if not steps_itself(env) or isinstance(env, DeviceTrainMonitor):
            raise TypeError(
                f"DeviceTrainMonitor: expected a coax.envs.JaxVectorEnv, got {type(env).__name__}. "
                "Fix: use coax.wrappers.TrainMonitor, in a Python loop."
            )
        gymnasium.vector.VectorWrapper.__init__(self, env)
        names = _as_names(metrics)
        self._rule: MonitorRule = MonitorRule.shared(env.num_envs, at_least_one("every", every, 10_000), len(names))
        directory = None if tensorboard_dir is None else stamped(tensorboard_dir)
        if directory is not None:
            writer_class()  # not only after a loop of minutes
        self._sink = IntervalReports(names, Reports(directory, sinks, log_all_metrics, **logger_kwargs))
        self._write(self._rule.init(DeviceTrainMonitor.smoothing.leaf(smoothing, "DeviceTrainMonitor")))

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Counters of environments that have just been reset."""
        return self._rule.init(self._state["smoothing"])

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The environments."""
        return (self.env,)  # type: ignore[return-value]

    # --- the environments

    @property
    def observation(self) -> Any:
        """What the next actions are to be chosen from: leaves [N, *obs]."""
        return self.env.observation  # type: ignore[attr-defined]

    def __copy__(self) -> DeviceTrainMonitor:
        new = super().__copy__()
        new.env, new._sink = copy.copy(self.env), copy.copy(self._sink)
        return new

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all, or those in ``options['reset_mask']``."""
        S, info = self.env.reset(seed=seed, options=options)
        rows = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self._write(self._rule.begin(self._peek(), rows if isinstance(rows, jax.Array) else np.asarray(rows, bool)))
        return S, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in each."""
        S, R, terminated, truncated, info = self.env.step(actions)
        self._count(R, terminated | truncated)
        return S, R, terminated, truncated, info

    def transition(self, actions: Any) -> Any:
        """The same step, as :func:`coax.envs.transition` gives it."""
        row = self.env.transition(actions)  # type: ignore[attr-defined]
        self._count(row.R, row.terminated | row.truncated)
        return row

    def close(self, **kwargs: Any) -> None:
        """Report what is not reported yet, and close the sinks and the environments."""
        if np.asarray(self._peek()["counts"])[0]:
            self._report_now()
        self._sink.reports.close()
        self.env.close(**kwargs)
        self._poll()

    def flush(self) -> None:
        """Bring what was written to where it is safe: files to the disk, and so on.

        Raises
        ------
        OSError
            If a sink failed.
        """
        self._sink.reports.flush()
        self._poll()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: Any) -> bool | None:
        self.close()
        return None  # an error goes on

    # --- counting

    def _count(self, R: Any, over: Any) -> None:
        if not is_tracing():
            self._poll()
        state, due = self._rule.count(self._peek(), R, over)
        if is_tracing():
            _report(self._sink, due, self._rule.summary(state))
            self._write(self._rule.afresh(state, due))
        else:
            self._write(state)
            if due:
                self._report_now()
                self._poll()

    def _report_now(self) -> None:
        state = self._peek()
        self._write(self._rule.afresh(state, True))
        self._sink.write(*map(np.asarray, self._rule.summary(state)))

    def record_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Take down metrics, for their mean over the interval.

        Parameters
        ----------
        metrics : mapping from str to number
            What an updater returns, or any mapping. An array counts with all its entries. Of these only what was named
            at construction is kept.

        Raises
        ------
        TypeError
            If it is no mapping.
        ValueError
            If none of these metrics was named.
        """
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f"metrics: expected a mapping from names to numbers, got {type(metrics).__name__}. "
                "Fix: pass what updater.update(batch) returns, or a dict."
            )
        known = [name for name in self._sink.names if name in metrics]
        if metrics and not known:
            raise ValueError(
                f"record_metrics: expected some of the metrics {list(self._sink.names)}, got {list(metrics)}. "
                f"Fix: name them at construction: DeviceTrainMonitor(env, metrics={list(metrics)[:1]})."
            )
        values = {self._sink.names.index(name): metrics[name] for name in known}
        self._write(self._rule.record(self._peek(), values))

    def _read(self, name: str) -> Any:
        value = self._peek()[name]
        if is_tracing():
            return value
        self._owned -= {name}
        return np.asarray(value) if np.ndim(value) else np.asarray(value).item()

    T = property(operator.methodcaller("_read", "T"), doc="Number of steps plus number of episodes begun.")
    ep = property(operator.methodcaller("_read", "ep"), doc="Number of episodes begun.")
    t = property(operator.methodcaller("_read", "t"), doc="Number of steps in the present episodes, i32[N].")
    G = property(operator.methodcaller("_read", "G"), doc="Sums of the rewards of the present episodes, f32[N].")
    avg_G = property(operator.methodcaller("_read", "avg_G"), doc="Running mean of the returns of finished episodes.")

    @property
    def logger(self) -> Any:
        """Where the log lines go."""
        return self._sink.reports.console.logger

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Where it writes besides. New ones may be set at any time; the old ones are not closed by that.

        Raises
        ------
        TypeError
            If one is not a :class:`coax.sinks.Sink`.
        """
        return self._sink.reports.sinks

    @sinks.setter
    def sinks(self, new: Any) -> None:
        self._sink.reports.sinks = new

    def _poll(self) -> None:
        self._sink.reports.raise_failure()


def _report(sink: IntervalReports, due: jax.Array, summary: tuple) -> None:
    """Report from a compiled program, if it is time for that."""

    @custom_vmap
    def report(due: jax.Array, *summary: jax.Array) -> jax.Array:
        jax.lax.cond(due, lambda: io_callback(sink, None, *summary, ordered=True), lambda: None)
        return due

    @report.def_vmap
    def _(axis_size: int, in_batched: Any, *args: Any) -> Any:
        raise StateError(
            "DeviceTrainMonitor is used under jax.vmap, where reports have no order. Fix: leave it out of what is "
            "mapped; return the metrics, or call the mapped function several times and look at them in between."
        )

    report(due, *summary)


def _as_names(metrics: Any) -> tuple[str, ...]:
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"metrics: expected names, got {names!r}. Fix: pass for instance metrics=['QLearning/loss'].")
    if len(set(names)) < len(names):
        raise ValueError(f"metrics: expected each name once, got {list(names)}. Fix: leave out what occurs twice.")
    return names
