"""Any number of environments at once, inside JAX."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from .._entries import Fixed, Rng, as_seed, key_of_seed
from .._sharing import Rule
from .._stateful import Stateful, is_tracing, there
from ..utils import at_least_one, make_cast, safe_sample
from ._as_functional import as_functional
from ._functional import FunctionalEnv, Outcome
from ._transition import Transition

__all__ = ("JaxVectorEnv",)


class VectorRule(Rule):
    """The pure functions of N environments.

    Parameters
    ----------
    env : FunctionalEnv
    num_envs : int
    limit : int or None
        After how many steps an episode is cut off.
    """

    def __init__(self, env: FunctionalEnv, num_envs: int, limit: int | None):
        self.env, self.num_envs, self.limit = env, num_envs, limit
        self.cast_action = make_cast(env.action_space, "actions")
        element = make_cast(env.observation_space)(safe_sample(env.observation_space, 0))[0]
        self.dtypes = jax.tree.map(lambda x: np.asarray(x).dtype, element)  # of observations on the host
        self.init = jax.jit(self._init)
        self.begin = jax.jit(self._begin)
        self.step = jax.jit(self._step)
        self._fields = dict(vars(env)) if hasattr(env, "__dict__") else {}
        self._check_env()

    def is_current(self) -> bool:
        """Whether the environment is as it was when programs were compiled of it."""
        return all(getattr(self.env, name, None) is x for name, x in self._fields.items())

    def _init(self, key: jax.Array) -> dict[str, Any]:
        rng = Rng.seeded(key)
        return {**self._first(rng), "rng": rng.advanced()}

    def _first(self, rng: Rng) -> dict[str, Any]:
        """The state at the beginning of new episodes, but for the random stream."""
        # Two families of keys: those of the step do not depend on those of the reset, so that what an environment
        # does not use is not worked out.
        simulator, observation = jax.vmap(self._reset)(self._keys(rng, 0))
        return {"observation": observation, "simulator": simulator, "t": jnp.zeros(self.num_envs, jnp.int32)}

    def _keys(self, rng: Rng, family: int) -> jax.Array:
        # away from the small numbers that others fold into keys, since equal seeds make equal streams
        return jax.random.split(jax.random.fold_in(rng.next_key, 7_919 + family), self.num_envs)

    def _begin(self, state: dict[str, Any], rows: jax.Array) -> dict[str, Any]:
        """The state with new episodes in some rows bool[N]."""
        return {**self._where(rows, self._first(state["rng"]), state), "rng": state["rng"].advanced()}

    def _step(self, state: dict[str, Any], A: Any) -> tuple[dict[str, Any], tuple]:
        """The state from which to go on, and ``(S_next, R, terminated, truncated)``."""
        rng = state["rng"]
        outcome = jax.vmap(self._outcome)(state["simulator"], A, self._keys(rng, 1))
        t, terminated, truncated = state["t"] + 1, outcome.terminated, outcome.truncated
        if self.limit is not None:
            truncated = truncated | (t >= self.limit)
        then = {"observation": outcome.observation, "simulator": outcome.state, "t": t}
        new = self._where(terminated | truncated, self._first(rng), then)
        return {**new, "rng": rng.advanced()}, (outcome.observation, outcome.reward, terminated, truncated)

    def _where(self, rows: jax.Array, yes: dict[str, Any], no: dict[str, Any]) -> dict[str, Any]:
        def leaf(x: jax.Array, y: jax.Array) -> jax.Array:
            return jnp.where(rows.reshape(-1, *(1,) * (x.ndim - 1)), x, y)

        return {name: jax.tree.map(leaf, yes[name], no[name]) for name in yes}

    # --- a single environment, with fixed dtypes

    def _reset(self, key: jax.Array) -> tuple[Any, Any]:
        state, observation = self.env.reset(key)
        return jax.tree.map(_strong, state), self._observed(observation)

    def _outcome(self, state: Any, action: Any, key: jax.Array) -> Outcome:
        # Of the state it gets other containers: it may write into them.
        outcome = Outcome(*self.env.step(jax.tree.map(lambda x: x, state), action, key))
        return Outcome(
            jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), outcome.state, state),
            self._observed(outcome.observation),
            jnp.asarray(outcome.reward, jax.dtypes.canonicalize_dtype(float)),
            jnp.asarray(outcome.terminated, bool),
            jnp.asarray(outcome.truncated, bool),
        )

    def _observed(self, observation: Any) -> Any:
        S, lead = make_cast(self.env.observation_space, "observation")(jax.tree.map(jnp.asarray, observation))
        if lead != ():
            raise ValueError(
                f"{type(self.env).__name__}: expected one observation of {self.env.observation_space}, got leading "
                f"axes {list(lead)}. Fix: return a single one; JaxVectorEnv puts the environments side by side."
            )
        return S

    def observed(self, S: Any) -> Any:
        """Observations as a user gets them: on the host in the dtype of the space, or inside a trace where they are."""
        if is_tracing():
            return S
        return jax.tree.map(lambda x, dtype: np.asarray(x).astype(dtype, copy=False), S, self.dtypes)

    def _check_env(self) -> None:
        """Whether JAX can trace the environment, and its states keep their shape.

        Raises
        ------
        TypeError
            If not.
        """
        name, key = type(self.env).__name__, jax.eval_shape(lambda: jax.random.key(0))
        begun = _traced(name, "reset", self.env.reset, key)
        if not isinstance(begun, tuple) or len(begun) != 2:
            raise TypeError(
                f"{name}.reset: expected (state, observation), got {jax.tree.structure(begun)}. Fix: return both."
            )
        action = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, self._an_action()))
        outcome = _traced(name, "step", self.env.step, begun[0], action, key)
        if not isinstance(outcome, tuple) or not 4 <= len(outcome) <= 5:
            raise TypeError(
                f"{name}.step: expected a coax.envs.Outcome, got {jax.tree.structure(outcome)}. "
                "Fix: return Outcome(state, observation, reward, terminated)."
            )
        outcome = Outcome(*outcome)
        for field in ("reward", "terminated", "truncated"):
            value = getattr(outcome, field)
            if not hasattr(value, "dtype") and not isinstance(value, bool | int | float):
                raise TypeError(f"{name}.step: expected a number as {field}, got {value!r}. Fix: return one number.")
            if np.shape(value) != ():
                raise TypeError(
                    f"{name}.step: expected one number as {field}, got shape {list(np.shape(value))}. "
                    "Fix: return a scalar; JaxVectorEnv puts the environments side by side."
                )
        self._check_state(begun[0], outcome.state)

    def _check_state(self, begun: Any, then: Any) -> None:
        """Whether a state after a step can take the place of the one before."""
        want, got = (jax.tree.structure(x) for x in (begun, then))
        leaves = [[_described(x) for x in jax.tree.leaves(tree)] for tree in (begun, then)]
        pairs = zip(jax.tree.leaves(begun), jax.tree.leaves(then), strict=False)
        if want != got or not all(_fits(x, like) for like, x in pairs):  # type: ignore[operator]
            raise TypeError(
                f"{type(self.env).__name__}.step: expected a state like that of reset, {want} with {leaves[0]}, got "
                f"{got} with {leaves[1]}. Fix: return a state of the same structure, shapes and dtypes from both."
            )

    def _an_action(self) -> Any:
        return jax.tree.map(np.asarray, self.cast_action(safe_sample(self.env.action_space, 0))[0])


class JaxVectorEnv(Stateful, gymnasium.vector.VectorEnv):
    """N environments at once, inside JAX.

    In a Python loop they are vector environments as Gymnasium has them, and each step is one call to the device. In a
    function that is compiled by :func:`coax.jit`, :func:`coax.scan` or :func:`coax.transform` they are a part of the
    program. The loop is written alike in both: see :func:`coax.envs.transition`.

    Episodes begin anew in the very step in which they end (``SAME_STEP``): what the step returns for them is the first
    observation of the next episode, and ``info['final_obs']`` is the last one of the old.

    Parameters
    ----------
    env : FunctionalEnv, or an environment of gymnax, brax, pgx or gymnasium's functional ones
        A single environment, see :func:`coax.envs.as_functional`. Wrappers that reset or count time must be taken off.
        It is compiled in: it must not change afterwards.
    num_envs : int
        How many, N.
    max_episode_steps : int or None, optional
        After how many steps an episode is cut off: `truncated`. By default (``...``) what the environment says; None:
        never.
    random_seed : int or key[], optional
        By default the operating system gives one.

    Raises
    ------
    TypeError
        If `env` is no functional environment, or JAX cannot trace it, or what its functions return does not fit, or a
        number is none.
    ValueError
        If a number is less than 1.

    Notes
    -----
    It has been reset when it is made, and remembers its last observation. Outside of compiled functions, what it gives
    are NumPy arrays.

    Examples
    --------
    >>> env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), num_envs=4, random_seed=13)
    >>> def step():
    ...     S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, pi(env.observation))
    ...     return R
    >>> coax.scan(step, length=10, over=(env, pi)).shape  # doctest: +SKIP
    (10, 4)
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # type: ignore[misc]
    autoreset_mode = AutoresetMode.SAME_STEP

    functional_env = Fixed("_rule.env", "The single environment, as pure functions.", "JaxVectorEnv")
    max_episode_steps = Fixed("_rule.limit", "After how many steps an episode is cut off, or None.", "JaxVectorEnv")
    random_seed = Fixed("_random_seed", "The seed that it was made with.", "JaxVectorEnv")

    def __init__(
        self,
        env: Any,
        num_envs: int,
        *,
        max_episode_steps: int | EllipsisType | None = ...,
        random_seed: Any = None,
    ):
        env = as_functional(env)
        self.num_envs = at_least_one("num_envs", num_envs, 8)
        limit = env.max_episode_steps if max_episode_steps is ... else max_episode_steps
        limit = None if limit is None else at_least_one("max_episode_steps", limit, 500)
        self._rule: VectorRule = VectorRule.shared(env, self.num_envs, limit)
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        self.observation_space = batch_space(env.observation_space, self.num_envs)
        self.action_space = batch_space(env.action_space, self.num_envs)
        self.action_mask = getattr(env, "action_mask", None)  # where functions and policies look for it
        self._random_seed = as_seed(random_seed)
        self._write(self._rule.init(key_of_seed(self._random_seed)))

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh episodes, and a random stream."""
        return self._rule.init(key)

    @property
    def observation(self) -> Any:
        """What the next actions are to be chosen from: leaves [N, *obs]."""
        return self._rule.observed(self._hand_out("observation"))

    @property
    def t(self) -> Any:
        """The number of steps in the present episodes, i32[N]."""
        return there(self._hand_out("t"))

    def _hand_out(self, name: str) -> Any:
        state = self._peek()
        if not is_tracing():
            self._owned -= {name}  # an array on the host may be the very memory of the one on the device
        return state[name]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all, or those in ``options['reset_mask']``, bool[N].

        Parameters
        ----------
        seed : int or key[], optional
            Starts the random stream anew.
        options : dict, optional
        """
        state = self._peek()
        if seed is not None:
            state = {**state, "rng": Rng.seeded(seed)}
        rows = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        rows = rows if isinstance(rows, jax.Array) else np.asarray(rows, bool)
        if np.shape(rows) != (self.num_envs,):
            raise ValueError(
                f"reset_mask: expected shape [{self.num_envs}], got {list(np.shape(rows))}. "
                "Fix: pass one bool for each environment."
            )
        self._write(self._rule.begin(state, rows))
        return self.observation, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in each.

        Parameters
        ----------
        actions : pytree of arrays [N, *act]

        Returns
        -------
        S : observations, leaves [N, *obs]
            Where an episode ended, the first observation of the next.
        R : f32[N]
        terminated, truncated : bool[N]
        info : dict
            In a compiled function always ``final_obs``, leaves [N, *obs], and ``_final_obs``, bool[N]: where that is
            the last observation of an episode. Outside, as Gymnasium has it, only if an episode ended; `final_obs` is
            then an array of objects, with None where no episode ended.

        Raises
        ------
        ValueError
            If the actions are not in the space.
        """
        _, S_next, R, terminated, truncated, _ = self.transition(actions)
        if not is_tracing():  # those of Gymnasium can be written to
            R, terminated, truncated = np.array(R), np.array(terminated), np.array(truncated)
        ended = terminated | truncated
        info = {"final_obs": S_next, "_final_obs": ended}
        if not is_tracing():
            info = {"final_obs": _as_objects(S_next, ended), "_final_obs": ended} if ended.any() else {}
        return self.observation, R, terminated, truncated, info

    def transition(self, actions: Any) -> Transition:
        """The same step, as :func:`coax.envs.transition` gives it."""
        A, lead = self._rule.cast_action(actions)
        if lead != (self.num_envs,):
            raise ValueError(
                f"actions: expected the leading axis [{self.num_envs}], got {list(lead)}. "
                "Fix: pass one action for each environment."
            )
        S, state = self.observation, self._peek()
        new, outcome = self._rule.step(state, A)
        self._write(new)
        S_next, (R, terminated, truncated) = self._rule.observed(outcome[0]), there(outcome[1:])
        mask = (jnp if is_tracing() else np).ones(self.num_envs, bool)
        return Transition(S, S_next, R, terminated, truncated, mask)

    def __repr__(self) -> str:
        return f"JaxVectorEnv({self._rule.env!r}, num_envs={self.num_envs})"


def _as_objects(S: Any, rows: np.ndarray) -> np.ndarray:
    """Single observations where `rows` says so, else None: an array of objects [N]."""
    found = np.full(len(rows), None, object)
    for i in np.flatnonzero(rows):
        found[i] = jax.tree.map(lambda leaf, i=i: leaf[i], S)
    return found


def _strong(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)


def _traced(name: str, method: str, fun: Callable[..., Any], *args: Any) -> Any:
    try:
        return jax.eval_shape(fun, *args)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as err:
        raise TypeError(
            f"{name}.{method}: expected a function that JAX can trace, got one that cannot be: {err} "
            "Fix: write it with jax.numpy, and jnp.where in place of if; or make a gymnasium.Env of it and run that in "
            "a Python loop."
        ) from err


def _described(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}"


def _fits(x: Any, like: Any) -> bool:
    """Whether a leaf of a state can take the place of another, but for its precision."""
    if x.shape != like.shape or x.dtype == like.dtype:
        return x.shape == like.shape
    if any(jax.dtypes.issubdtype(each.dtype, jax.dtypes.extended) for each in (x, like)):  # keys
        return False
    return np.can_cast(x.dtype, like.dtype, "same_kind")
