"""Transitions over windows of n steps, inside a compiled loop."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Fixed, Number
from .._sharing import Rule
from .._stateful import Stateful
from ..returns import n_step_windows
from ..utils import make_cast, single_space
from ._scalars import as_n
from ._transition_batch import TransitionBatch

__all__ = ("DeviceNStep",)


# --- the pure part ----------------------------------------------------------------------------------------------------


class Steps(NamedTuple):
    """One step of each environment, leaves [E, ...], or several of them in a row, leaves [T, E, ...]."""

    s: Any
    a: Any
    logp: Any
    w: Any
    r: Any
    terminated: Any
    truncated: Any
    s_next: Any
    a_next: Any
    logp_next: Any


class NStepRule(Rule):
    """Pure functions of the last steps.

    Parameters
    ----------
    n : int
        Number of steps in a window.
    observation_space, action_space : gymnasium.Space
        Of a single environment.
    """

    def __init__(self, n: int, observation_space: gymnasium.Space, action_space: gymnasium.Space):
        self.n = n
        self.cast = {
            name: make_cast(space, name)
            for names, space in ((("s", "s_next"), observation_space), (("a", "a_next"), action_space))
            for name in names
        }
        self.observation_space, self.action_space = observation_space, action_space
        self.add = jax.jit(self._add)

    def empty(self, num_envs: int, next_action: bool) -> dict[str, Any]:
        """What is remembered of no steps: the last n - 1 of each environment, and how many of these there are."""
        if self.n == 1:
            return {}
        shape = (self.n - 1, num_envs)

        def zeros(space: gymnasium.Space) -> Any:
            return jax.tree.map(lambda x: jnp.zeros((*shape, *x.shape), _canonical(x.dtype)), _leaves_of(space))

        s, a, number = zeros(self.observation_space), zeros(self.action_space), jnp.zeros(shape, _canonical(float))
        flag = jnp.zeros(shape, bool)
        following = (a, number) if next_action else (None, None)
        steps = Steps(s, a, number, number, number, flag, flag, s, *following)
        return {"steps": steps._asdict(), "count": jnp.zeros(num_envs, jnp.int32)}

    def _add(
        self, gamma: Any, held: dict[str, Any], step: Steps, mask: Any
    ) -> tuple[TransitionBatch, Any, dict[str, Any]]:
        window, there = jax.tree.map(lambda x: x[None], step), mask
        if held:
            window = jax.tree.map(lambda xs, x: jnp.concatenate([xs, x]), Steps(**held["steps"]), window)
            there = mask & (held["count"] == self.n - 1)
            steps = jax.tree.map(lambda x: jnp.where(_align(mask, x.ndim), x[1:], x[:-1]), window)
            held = {"steps": steps._asdict(), "count": jnp.minimum(held["count"] + mask, self.n - 1)}
        return self._first(window, gamma, there), there, held

    def _first(self, window: Steps, gamma: Any, there: Any) -> TransitionBatch:
        """The transition that begins with the first of n steps; of weight 0 where there is none."""
        discount = jnp.where(window.terminated, 0, gamma)
        windows = n_step_windows(window.r, discount, window.terminated | window.truncated, self.n)
        rn, in_, last = (x[0] for x in windows)
        each = jnp.arange(len(there), dtype=jnp.int32)
        start = jax.tree.map(lambda x: x[0], window)
        end = jax.tree.map(lambda x: x[0] if self.n == 1 else x[last, each], window)
        return TransitionBatch(
            S=start.s,
            A=start.a,
            logP=start.logp,
            Rn=jnp.where(there, rn, 0),
            In=jnp.where(there, in_, 0),
            S_next=end.s_next,
            A_next=end.a_next,
            logP_next=end.logp_next,
            W=jnp.where(there, start.w, 0),
            idx=each,
        )


def _leaves_of(space: gymnasium.Space) -> Any:
    """The shapes and dtypes of an element."""
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(map(_leaves_of, space.spaces))
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: _leaves_of(child) for key, child in space.spaces.items()}
    return jax.ShapeDtypeStruct(space.shape, space.dtype)


def _canonical(dtype: Any) -> np.dtype:
    return jax.dtypes.canonicalize_dtype(dtype)


def _align(mask: Any, ndim: int) -> Any:
    """The mask [E] in front of what has the axes [T, E, ...]."""
    return mask.reshape(-1, *(1,) * (ndim - 2))


# --- the shell --------------------------------------------------------------------------------------------------------


class DeviceNStep(Stateful):
    r"""Traces n-step transitions, in a compiled loop too: the twin of :class:`NStep` in device memory.

    Each step of the environments that is added gives the transitions that begin n - 1 steps before: one row for each
    environment, always as many, with a mask that says which of them there are. A window in which an episode ended
    stops there. The rows are those of :class:`NStep`, in the same order for each environment, only later: the last
    n - 1 steps of an episode are given out during the next one, and the very last ones are not given out.

    Parameters
    ----------
    n : int
        Number of steps, at least 1. With ``n=1`` nothing is remembered.
    gamma : float
        Discount factor, in [0, 1]. May be set at any time, for each seed in a mapped loop too; nothing is compiled
        again. It counts for all windows that are not given out yet.
    env : gymnasium.vector.VectorEnv or gymnasium.Env
        Says how many environments there are, E, and what their observations and actions look like. It is not kept. Of
        a single one what is added has no axis for it, and batches are of size 1.
    next_action : bool, optional
        Whether the action that follows each step is added too, and given out as `A_next`: updaters such as
        :class:`coax.td_learning.Sarsa` need it.

    Raises
    ------
    TypeError, ValueError
        If `n` or `gamma` is not a number, or out of range, or `env` is no environment.

    Notes
    -----
    The state has the entry ``gamma`` (f32[]) and, unless n is 1, ``steps`` (a dict of arrays [n - 1, E, ...], the last
    steps of each environment) and ``count`` (i32[E], how many of these there are).

    References
    ----------
    Sutton and Barto (2018), section 7.1; Pardo et al. (2018), Time limits in reinforcement learning, section 3.1.

    Examples
    --------
    >>> tracer = coax.reward_tracing.DeviceNStep(n=2, gamma=0.5, env=env)
    >>> batch, mask = tracer.add(s=0, a=2, r=1.0, done=False, s_next=1)
    >>> mask.tolist()
    [False]
    >>> batch, mask = tracer.add(s=1, a=2, r=2.0, done=False, s_next=2)
    >>> mask.tolist(), batch.S.tolist(), batch.Rn.tolist(), batch.In.tolist(), batch.S_next.tolist()
    ([True], [0], [2.0], [0.25], [2])
    """

    gamma = Number(0, 1)
    n = Fixed("_n", "Number of steps.", "tracer")
    num_envs = Fixed("_num_envs", "Of how many environments the steps come at once; None for a single one.", "tracer")
    next_action = Fixed("_next_action", "Whether the action that follows each step is added too.", "tracer")
    rule = Fixed("_rule", "The pure functions that it compiles.", "tracer")

    def __init__(self, n: int, gamma: float, env: Any, *, next_action: bool = False):
        spaces = [single_space(env, name) for name in ("observation_space", "action_space")]
        if any(space is None for space in spaces):
            raise TypeError(
                f"DeviceNStep: expected an environment, got {type(env).__name__}. "
                "Fix: pass env=... with an observation_space and an action_space."
            )
        self._n, self._next_action = as_n(n), bool(next_action)
        self._num_envs: int | None = env.num_envs if isinstance(env, gymnasium.vector.VectorEnv) else None
        self._rule: NStepRule = NStepRule.shared(self._n, *spaces)
        gamma = type(self).gamma.leaf(gamma, type(self).__name__)
        self._write({**self._empty(), "gamma": gamma})

    def _empty(self) -> dict[str, Any]:
        return self._rule.empty(self._num_envs or 1, self._next_action)

    def init(self, key: Any) -> dict[str, Any]:
        """The state without any steps, and the present `gamma`. The key is not used."""
        return {**self._empty(), "gamma": self._state["gamma"]}

    def reset(self, rows: Any = None) -> None:
        """Forget the steps of some environments, where an episode was left before its end.

        Parameters
        ----------
        rows : bool[E], optional
            Of which; by default of all.
        """
        state = self._peek()
        if rows is None or not self._empty():
            self._write({**state, **self._empty()})
        else:
            self._write({**state, "count": jnp.where(jnp.asarray(rows, bool), 0, state["count"])})

    def add(
        self,
        s: Any,
        a: Any,
        r: Any,
        done: Any,
        logp: Any = 0.0,
        w: Any = 1.0,
        *,
        s_next: Any,
        truncated: Any = False,
        a_next: Any = None,
        logp_next: Any = 0.0,
        mask: Any = True,
    ) -> tuple[TransitionBatch, jax.Array]:
        """Add one step of each environment, and get the transitions that began n - 1 steps before.

        All that is given has a leading axis [E], unless the tracer is of a single environment, except that a default
        stands for all.

        Parameters
        ----------
        s, a : pytree of arrays [E, ...]
            Observations, and the actions taken.
        r : f32[E]
            The rewards that followed.
        done : bool[E]
            Whether the episode *terminated* with this step.
        logp : f32[E], optional
            Log-propensities of the actions.
        w : f32[E], optional
            Sample weights.
        s_next : pytree of arrays [E, ...]
            The true next observations: :func:`coax.envs.transition` gives them.
        truncated : bool[E], optional
            Whether the episode was cut off after this step, for instance by a time limit.
        a_next : pytree of arrays [E, ...], optional
            The actions in `s_next`, if the tracer was made with ``next_action=True``.
        logp_next : f32[E], optional
            Their log-propensities; NaN where `a_next` is not known, see :func:`needs_a_next`.
        mask : bool[E], optional
            False where this is no step at all: it is left out.

        Returns
        -------
        transition_batch : TransitionBatch
            E rows, or one of a single environment, as jax arrays.
        mask : bool[E]
            Which rows are transitions. The others have weight 0: an update passes over them, a buffer is given the
            mask.

        Raises
        ------
        TypeError
            If a number or a flag is not one.
        ValueError
            If something has not one entry for each environment, or is no element of its space, or `a_next` is given or
            missing against what the tracer was made for. Then nothing is added.
        """
        self._check_next(a_next, logp_next)
        step = Steps(
            s=self._element("s", s),
            a=self._element("a", a),
            logp=self._number("logp", logp, 0.0),
            w=self._number("w", w, 1.0),
            r=self._number("r", r),
            terminated=self._flag("done", done),
            truncated=self._flag("truncated", truncated, False),
            s_next=self._element("s_next", s_next),
            a_next=self._element("a_next", a_next) if self._next_action else None,
            logp_next=self._number("logp_next", logp_next, 0.0) if self._next_action else None,
        )
        there, state = self._flag("mask", mask, True), self._peek()
        held = {name: x for name, x in state.items() if name != "gamma"}
        batch, there, held = self._rule.add(state["gamma"], held, step, there)
        if held:
            self._write({**state, **held})
        return batch, there

    # --- what is added, checked: [E, ...]

    def _check_next(self, a_next: Any, logp_next: Any) -> None:
        if self._next_action and a_next is None:
            raise ValueError(
                "a_next: expected the action in s_next, since next_action=True, got None. "
                "Fix: pass what the policy chooses there; where that is not known any action, with logp_next=nan."
            )
        given = "a_next" if a_next is not None else "logp_next"
        if not self._next_action and (a_next is not None or not _is_default(logp_next, 0.0)):
            raise ValueError(f"{given}: this tracer takes no next action. Fix: DeviceNStep(..., next_action=True).")

    def _element(self, name: str, x: Any) -> Any:
        x, lead = self._rule.cast[name](x)
        self._check_lead(name, lead)
        return x if self._num_envs is not None else jax.tree.map(lambda leaf: leaf[None], x)

    def _number(self, name: str, x: Any, default: float | None = None) -> Any:
        x = self._column(name, x, default)
        if x.dtype == bool and name != "r":
            raise TypeError(
                f"{name}: expected a number, got a bool. Fix: pass truncated= by name, if that is what it is."
            )
        if not jnp.issubdtype(x.dtype, jnp.number) and x.dtype != bool:
            raise TypeError(f"{name}: expected numbers, got {x.dtype}. {self._fix}")
        return x.astype(_canonical(float))

    def _flag(self, name: str, x: Any, default: bool | None = None) -> Any:
        x = self._column(name, x, default)
        if x.dtype != bool and not jnp.issubdtype(x.dtype, jnp.integer):
            raise TypeError(f"{name}: expected bools, got {x.dtype}. {self._fix}")
        return x.astype(bool)

    def _column(self, name: str, x: Any, default: float | None) -> Any:
        if default is not None and _is_default(x, default):
            return np.full(self._num_envs or 1, default)
        x = x if isinstance(x, jax.Array) else np.asarray(x)
        self._check_lead(name, x.shape)
        return x.reshape(-1)

    def _check_lead(self, name: str, got: tuple[int, ...]) -> None:
        if got != (() if self._num_envs is None else (self._num_envs,)):
            want = (
                "one of one environment" if self._num_envs is None else f"one for each of {self._num_envs} environments"
            )
            raise ValueError(f"{name}: expected {want}, got the leading axes {list(got)}. {self._fix}")

    @property
    def _fix(self) -> str:
        if self._num_envs is None:
            return "Fix: pass what env.step returned, or make the tracer with the vector environment."
        return "Fix: pass what the vector environment returned, and an action for each of them."


def _is_default(x: Any, default: float) -> bool:
    return isinstance(x, bool | int | float) and isinstance(x, bool) == isinstance(default, bool) and x == default
