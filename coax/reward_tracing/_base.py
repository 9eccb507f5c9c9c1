"""What all tracers share: the cache of steps of one episode, how it is filled, saved and restored."""

from __future__ import annotations

import abc
import copy
import itertools
from typing import Any, ClassVar, NamedTuple, Self

import jax
import numpy as np

from .._stateful import HostStateful
from ..errors import EpisodeDoneError, InsufficientCacheError
from ._scalars import as_flag, as_float, as_number
from ._steps import NOTHING, Next, Step, check_arrays, steps_from_arrays, steps_to_arrays
from ._streams import as_num_envs, rows_of
from ._transition_batch import MISSING_S_NEXT, TransitionBatch
from ._windows import Window, batched, single

__all__ = ("RUNNING", "TERMINATED", "TRUNCATED", "BaseRewardTracer", "Traced")

RUNNING, TERMINATED, TRUNCATED = range(3)


class Traced(NamedTuple):
    """What a tracer works out for several steps at once, to be popped one by one."""

    rn: float
    adv: float
    v: float


class BaseRewardTracer(HostStateful):
    """Turns the steps of one environment, or of several at once, into transitions.

    Use it as ``tracer.add(...)`` at every step, then ``while tracer: tracer.pop()``, or ``if tracer: tracer.flush()``.
    Observations and actions are kept by reference until they are popped, and popped without a copy: an environment that
    writes into the array it returned before needs ``s.copy()``.

    Parameters
    ----------
    num_envs : int or None
        Of how many environments the steps come at once, along the leading axis of what is added. The steps of each are
        traced for themselves. None: of a single one, without that axis.
    """

    instead: ClassVar[str] = (
        "use coax.reward_tracing.DeviceNStep in an off-policy loop, or n_step_transitions over a coax.training.rollout"
    )

    gamma: float
    _steps: list[Step]
    _end: int  # how the episode of the cached steps ended, if it did
    _popped: int  # how many of the cached steps are popped already, counted from the end
    _partial: float  # the return from the last of them that was popped
    _traced: list[Traced]  # what is worked out already, of the first steps
    _streams: list[BaseRewardTracer] | None  # of several environments, one for each

    def __init__(self, num_envs: int | None):
        self._clear()
        self._streams = None
        if num_envs is not None:
            self._streams = [self._twin() for _ in range(as_num_envs(num_envs))]

    @abc.abstractmethod
    def _ready(self) -> bool:
        """Whether there is a transition of the one environment."""

    @abc.abstractmethod
    def _next(self) -> Window:
        """The next transition, which is then forgotten."""

    @abc.abstractmethod
    def _all(self) -> list[Window]:
        """All transitions that there are, in the same order, which are then forgotten."""

    @property
    def num_envs(self) -> int | None:
        """Of how many environments the steps come at once; None if it is a single one, without an axis for it."""
        return None if self._streams is None else len(self._streams)

    def __bool__(self) -> bool:
        """Whether there is a transition to pop."""
        return self._ready() if self._streams is None else any(stream._ready() for stream in self._streams)

    def pop(self) -> TransitionBatch:
        """The next transition, as a batch of size 1; of several environments, that of the first one that has any.

        Raises
        ------
        InsufficientCacheError
            If there is none yet.
        ValueError
            If it takes a value function, and that gives anything but one number for each observation.
        """
        self._on_host("pop")
        self._need()
        if self._streams is None:
            return single(self._next())
        return single(next(stream for stream in self._streams if stream._ready())._next())

    def flush(self) -> TransitionBatch:
        """All transitions that could be popped, as one batch, in the order of popping.

        Raises
        ------
        InsufficientCacheError
            If there is none yet.
        ValueError
            If it takes a value function, and that gives anything but one number for each observation.
        """
        self._on_host("flush")
        self._need()
        if self._streams is None:
            return batched(self._all())
        return batched([window for stream in self._streams if stream._ready() for window in stream._all()])

    def add(
        self,
        s: Any,
        a: Any,
        r: Any,
        done: Any,
        logp: Any = 0.0,
        w: Any = 1.0,
        *,
        truncated: Any = False,
        s_next: Any = None,
        a_next: Any = None,
        logp_next: Any = None,
        mask: Any = None,
    ) -> None:
        """Add one step, or one of each environment.

        With `num_envs` all that is given has a leading axis of that length, except that a default stands for all.

        Parameters
        ----------
        s, a : pytree of arrays
            Observation, and the action taken.
        r : float
            The reward that followed.
        done : bool
            Whether the episode *terminated* with this step.
        logp : float, optional
            Log-propensity of the action.
        w : float, optional
            Sample weight.
        truncated : bool, optional
            Whether the episode was cut off after this step, for instance by a time limit. Needs `s_next`.
        s_next : pytree of arrays, optional
            The observation after this step, as the environment returned it. By default the next step gives it.
        a_next : pytree of arrays, optional
            The action in `s_next`. It is needed after a truncation by updaters that look at the next action; else the
            next step gives it.
        logp_next : float, optional
            Log-propensity of `a_next`, by default 0.
        mask : bool, optional
            False where this is no step at all, as :func:`coax.envs.transition` says it of vector environments: it is
            left out.

        Raises
        ------
        EpisodeDoneError
            If the episode is over and its transitions were not popped.
        TypeError
            If a number or flag is not one. A flag is a bool, of NumPy or jax too, or the integer 0 or 1; `logp` and `w`
            are no flags.
        ValueError
            If `s_next` is missing though `truncated` or `a_next` was given, or `a_next` though `logp_next` was; or if
            something has not one entry for each environment. Then nothing is added.
        """
        self._on_host("add")
        step = (s, a, r, done, logp, w, truncated, s_next, a_next, logp_next)
        if self._streams is not None:
            self._add_several(step, mask)
        elif mask is None or as_flag("mask", mask):
            self._add(*step)

    def _add_several(self, step: tuple, mask: Any) -> None:
        assert self._streams is not None
        rows = rows_of(len(self._streams), step, mask)
        made = [
            (stream, stream._checked_step(*row))
            for stream, row in zip(self._streams, rows, strict=True)
            if row is not None
        ]
        for stream, (one, end) in made:
            stream._steps.append(one)
            stream._end = end

    def _add(self, *step: Any) -> None:
        one, end = self._checked_step(*step)
        self._steps.append(one)
        self._end = end

    def _checked_step(
        self,
        s: Any,
        a: Any,
        r: Any,
        done: Any,
        logp: Any,
        w: Any,
        truncated: Any,
        s_next: Any,
        a_next: Any,
        logp_next: Any,
    ) -> tuple[Step, int]:
        """A step to add, and whether the episode ends with it."""
        if self._end and self._ready():
            raise EpisodeDoneError(
                f"{type(self).__name__}.add: expected no step after the end of the episode, whose last "
                f"{len(self)} transitions wait. Fix: take them (while tracer: tracer.pop()), or call tracer.reset()."
            )
        end = _ending(done, truncated, s_next)
        following = NOTHING if s_next is a_next is logp_next is None else _following(s_next, a_next, logp_next)
        step = Step(
            s,
            a,
            r if type(r) is float else as_float("r", r),
            logp if type(logp) is float else as_number("logp", logp),
            w if type(w) is float else as_number("w", w),
            following,
        )
        return step, end

    def reset(self) -> None:
        """Forget all steps."""
        self._on_host("reset")
        for stream in (self, *(self._streams or ())):
            stream._clear()

    def __len__(self) -> int:
        """Count the steps that are held."""
        return len(self._steps) - self._popped + sum(map(len, self._streams or ()))

    # --- for subclasses

    def _twin(self) -> BaseRewardTracer:
        """The same for one environment."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._clear()
        return new

    def _clear(self) -> None:
        self._steps, self._end, self._popped, self._partial, self._traced = [], RUNNING, 0, 0.0, []

    def _final(self, window_start: Step) -> tuple[bool, Any, Any, float]:
        """How the episode went on after its last step: whether it did, S_next, A_next, logP_next.

        Where nothing is known the start of the window stands in, as some valid state and action. The next action after
        a truncation is marked as unknown by a propensity of NaN.
        """
        following = self._steps[-1].next
        goes_on = self._end == TRUNCATED
        s_next = window_start.s if following.s is None else following.s
        if following.a is not None:
            return goes_on, s_next, following.a, following.logp or 0.0
        return goes_on, s_next, window_start.a, float("nan") if goes_on else window_start.logp

    def _need(self) -> None:
        if not self:
            raise InsufficientCacheError(
                f"{type(self).__name__}: expected a transition to pop, got {len(self)} steps, which are not enough. "
                "Fix: pop only while the tracer is true (while tracer: tracer.pop())."
            )

    # --- the state protocol

    def init(self, key: Any) -> Any:
        """The state of an empty tracer. The key is not used."""
        empty = _state([], RUNNING, 0, 0.0, [])
        return empty if self._streams is None else {"streams": [empty for _ in self._streams]}

    def _snapshot(self) -> Any:
        if self._streams is not None:
            return {"streams": [stream._snapshot() for stream in self._streams]}
        return _state(self._steps, self._end, self._popped, self._partial, self._traced)

    def _checked(self, new: Any) -> Any:
        where = f"{type(self).__name__}.state"
        if self._streams is None:
            return self._checked_one(new, where)
        streams = new.get("streams") if isinstance(new, dict) else None
        if not isinstance(streams, list | tuple) or len(streams) != len(self._streams):
            got = type(streams).__name__ if streams is None else f"{len(streams)} of them"
            raise TypeError(f"{where}['streams']: expected {len(self._streams)} of them, got {got}. {_FIX_STATE}")
        each = zip(self._streams, streams, range(len(streams)), strict=True)
        return {"streams": [stream._checked_one(one, f"{where}['streams'][{i}]") for stream, one, i in each]}

    def _checked_one(self, new: Any, where: str) -> dict[str, Any]:
        """That of one environment."""
        fresh = _state([], RUNNING, 0, 0.0, [])
        if not isinstance(new, dict) or sorted(new) != sorted(fresh):
            got = sorted(new) if isinstance(new, dict) else type(new).__name__
            raise TypeError(f"{where}: expected a dict of {sorted(fresh)}, got {got}. {_FIX_STATE}")
        new = jax.tree.map(np.asarray, new)
        fault = _wrong_kind(fresh, new) or check_arrays(steps_to_arrays(self._steps), new) or _wrong_shape(new)
        if fault:
            raise TypeError(f"{where}{fault}. {_FIX_STATE}")
        return new

    def _take_over(self, new: dict[str, Any]) -> None:
        if self._streams is not None:
            for stream, one in zip(self._streams, new["streams"], strict=True):
                stream._take_over(one)
            return
        self._steps, self._partial = steps_from_arrays(new), float(new["partial"])
        self._end, self._popped = int(new["end"]), int(new["popped"])
        self._traced = list(itertools.starmap(Traced, new["traced"].tolist()))

    def __copy__(self) -> Self:
        new = super().__copy__()
        new._steps, new._traced = list(self._steps), list(self._traced)
        new._streams = None if self._streams is None else [copy.copy(stream) for stream in self._streams]
        return new


_FIX_STATE = "Fix: give the state of a tracer of the same kind, for the same environment."


def _state(steps: list[Step], end: int, popped: int, partial: float, traced: list[Traced]) -> dict[str, Any]:
    return {
        **steps_to_arrays(steps),
        "end": np.array(end, np.int32),
        "popped": np.array(popped, np.int32),
        "partial": np.array(partial, np.float64),
        "traced": np.array(traced, np.float64).reshape(-1, len(Traced._fields)),
    }


def _wrong_kind(fresh: dict[str, Any], new: dict[str, Any]) -> str | None:
    for name, old in fresh.items():
        if old is not None and _kind(new[name]) != _kind(old):
            return f"[{name!r}]: expected {_kind(old)}, got {_kind(new[name])}"
    return None


def _wrong_shape(new: dict[str, Any]) -> str | None:
    (rows, columns), most = new["traced"].shape, len(new["r"])
    if not 0 <= new["popped"] <= most:
        return f"['popped']: expected a number from 0 to {most}, got {new['popped']}"
    if new["end"] not in (RUNNING, TERMINATED, TRUNCATED):
        return f"['end']: expected {RUNNING}, {TERMINATED} or {TRUNCATED}, got {new['end']}"
    if columns == len(Traced._fields) and rows <= most:
        return None
    return f"['traced']: expected at most {most} rows of {', '.join(Traced._fields)}, got {[rows, columns]}"


def _kind(x: Any) -> str:
    return f"{x.dtype} with {x.ndim} axes" if isinstance(x, np.ndarray) else type(x).__name__


def _ending(done: Any, truncated: Any, s_next: Any) -> int:
    if done if type(done) is bool else as_flag("done", done):
        return TERMINATED
    if not (truncated if type(truncated) is bool else as_flag("truncated", truncated)):
        return RUNNING
    if s_next is None:
        raise ValueError(MISSING_S_NEXT)
    return TRUNCATED


def _following(s_next: Any, a_next: Any, logp_next: Any) -> Next:
    if logp_next is not None:
        if a_next is None:
            raise ValueError("logp_next: expected it with the action it belongs to. Fix: pass a_next too.")
        logp_next = as_number("logp_next", logp_next)
    if a_next is not None and s_next is None:
        raise ValueError("a_next: expected it with the observation it belongs to. Fix: pass s_next too.")
    return Next(s_next, a_next, logp_next)
