"""How good a policy is, over a fixed number of episodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.envs.registration import EnvSpec

from .._entries import Rng, fresh_seed, key_of_seed
from .._lifting import call_compiled
from .._program import record
from .._stateful import HostStateful, Stateful, collect, current_frame, is_tracing, refuse_on_host, states_of
from ..envs import FunctionalEnv, transition
from ..typing import Array
from ..utils import at_least_one, steps_itself
from ..wrappers import DeviceTrainMonitor, LastObservation
from ._turns import objects_of, turn_of

__all__ = ("Evaluation", "evaluate")


class Evaluation(NamedTuple):
    """What the episodes of an evaluation came to.

    Attributes
    ----------
    returns : f64[episodes]
        Sum of the rewards of each episode, without discount. In a compiled function f32.
    lengths : i64[episodes]
        Number of steps of each. In a compiled function i32.
    """

    returns: Array
    lengths: Array


def evaluate(
    env: Any, policy: Callable[..., Any], episodes: int = 10, seed: Any = None, *, over: Any = ()
) -> Evaluation:
    """Play episodes with a policy, and change nothing of the training.

    Of N environments the first episodes of each count, as many from each, whatever their lengths: taking those that are
    over first would favour short ones.

    Parameters
    ----------
    env : str, EnvSpec, JaxVectorEnv, gymnasium.Env or gymnasium.vector.VectorEnv
        Of what is named by an id a new one is made. A :class:`coax.envs.JaxVectorEnv` plays from a fresh state and has
        its own again afterwards. Another environment is reset and played, so it must be none that the training uses.
        What normalises it is used as it is, and learns nothing from these episodes.
    policy : callable
        A function of observations that returns actions: e.g. ``pi``, or ``pi.mode`` for its most likely actions.
    episodes : int, optional
        How many, at least 1.
    seed : int or key[], optional
        Of the environment, and of the policy in these episodes. By default the operating system gives one; a compiled
        function must be told.
    over : Stateful or sequence of Stateful, optional
        What else a function uses, that coax cannot see in it: ``evaluate(env, lambda S: pi(S), over=pi)``. Otherwise
        their random streams are those of the training, and go on; with environments inside JAX that is an error.

    Returns
    -------
    Evaluation
        ``(returns, lengths)``. Of N environments the first episodes of all come first.

    Raises
    ------
    TypeError
        If `env` is no environment, `policy` no function, or `episodes` no integer.
    ValueError
        If `episodes` is less than 1, or `env` is inside a monitor, whose counts it would change (a
        :class:`coax.wrappers.DeviceTrainMonitor` may be outermost), or a compiled function gives no seed.
    StateError
        If an environment of the host is used in a compiled function.

    Warnings
    --------
    It plays until the episodes are over. Without a time limit, a policy that never ends one never comes back.

    Notes
    -----
    In a compiled function `env` must be one inside JAX. There, a new function each time is compiled each time: define
    it once.

    To leave the training as it is, the objects that are known here (see `over`) have their states back afterwards.
    Meanwhile the entry ``rng`` of a state is another stream, and an entry ``frozen``, as normalisers have it, is True.
    Rewards are those that `env` gives: of a :class:`coax.wrappers.NormalizeReward` evaluate the one inside.

    Examples
    --------
    >>> returns, lengths = coax.training.evaluate("FrozenLake-v1", pi.mode, episodes=5, seed=13)
    >>> returns.shape
    (5,)
    """
    episodes = at_least_one("episodes", episodes, 10)
    if not steps_itself(env):
        refuse_on_host(env)
    key = _as_seed(seed)
    while isinstance(env, DeviceTrainMonitor):  # which would count these episodes as those of the training
        env = env.env
    objs = collect(objects_of(env, policy, over))
    if steps_itself(env):
        _refuse_monitors(env)
        return _on_device(turn_of(env, policy), env, objs, episodes, key)
    with _host_env(env) as host, _own_streams(objs, key):
        first = int(jax.random.randint(jax.random.fold_in(key, len(objs)), (), 0, 2**31 - 1))
        return _on_host(LastObservation(host), policy, episodes, first)


# --- in JAX -----------------------------------------------------------------------------------------------------------


def _on_device(
    turn: Callable[..., Any], env: Any, objs: Sequence[Stateful], episodes: int, key: jax.Array
) -> Evaluation:
    def play(key: jax.Array) -> Evaluation:
        return _played(turn, env.num_envs, objs, episodes, key)

    if is_tracing():
        return play(key)
    found = call_compiled(play, objs, turn, ("evaluate", episodes), key)
    return Evaluation(np.asarray(found.returns, np.float64), np.asarray(found.lengths, np.int64))


def _played(
    turn: Callable[..., Any], num_envs: int, objs: Sequence[Stateful], episodes: int, key: jax.Array
) -> Evaluation:
    """The episodes; the states of the objects stay as they are."""
    states = [_fresh(obj, state, jax.random.fold_in(key, i)) for i, (obj, state) in enumerate(_states(objs))]
    program = record(lambda: _what_counts(turn()), objs, jax.tree.map(_abstract, states), (), {}, current_frame())
    leaves = jax.tree.leaves(states)
    quota = _quota(jnp, episodes, num_envs)

    def goes_on(carry: tuple) -> jax.Array:
        return (carry[1]["done"] < quota).any()

    def body(carry: tuple) -> tuple:
        changed, tally = carry
        places = {**dict(enumerate(leaves)), **dict(zip(program.changed, changed, strict=True))}
        new, outs = program([places[i] for i in range(len(leaves))], [])
        return new, _tallied(tally, jax.tree.unflatten(program.out_tree, outs), episodes)

    tally = {
        "G": jnp.zeros(num_envs),
        "lost": jnp.zeros(num_envs),
        "t": jnp.zeros(num_envs, jnp.int32),
        "done": jnp.zeros(num_envs, jnp.int32),
        "returns": jnp.zeros(episodes),
        "lengths": jnp.zeros(episodes, jnp.int32),
    }
    start = [jnp.asarray(leaves[i]) for i in program.changed]
    tally = jax.lax.while_loop(goes_on, body, (start, tally))[1]
    return Evaluation(tally["returns"], tally["lengths"])


def _what_counts(row: Any) -> tuple:
    return row.R, row.terminated | row.truncated


def _tallied(tally: dict[str, Any], row: tuple, episodes: int) -> dict[str, Any]:
    R, over = row
    # Each sum keeps what rounding takes away from it (Kahan, 1965), since float32 forgets in long episodes.
    more = R - tally["lost"]
    G = tally["G"] + more
    lost, t, done = (G - tally["G"]) - more, tally["t"] + 1, tally["done"]
    place = jnp.where(over, done * len(R) + jnp.arange(len(R)), episodes)  # one beyond the end is dropped
    return {
        "G": jnp.where(over, 0, G),
        "lost": jnp.where(over, 0, lost),
        "t": jnp.where(over, 0, t),
        "done": done + over,
        "returns": tally["returns"].at[place].set(G, mode="drop"),
        "lengths": tally["lengths"].at[place].set(t, mode="drop"),
    }


def _states(objs: Sequence[Stateful]) -> list[tuple[Stateful, Any]]:
    return list(zip(objs, states_of(objs), strict=True))


def _fresh(obj: Stateful, state: Any, key: jax.Array) -> Any:
    """The state of an object in the evaluation: new episodes, a random stream of its own, and frozen statistics."""
    if steps_itself(obj):
        return obj.init(key)
    if not isinstance(state, dict):
        return state
    if isinstance(state.get("rng"), Rng):
        state = {**state, "rng": Rng.seeded(key)}
    frozen = state.get("frozen")
    if isinstance(frozen, np.ndarray | jax.Array) and frozen.dtype == bool:
        state = {**state, "frozen": np.ones((), bool)}
    return state


def _refuse_monitors(env: Any) -> None:
    if any(isinstance(obj, DeviceTrainMonitor) for obj in collect(env)):
        raise ValueError(
            f"evaluate: expected an environment of its own, got {env}, whose episodes are counted by a "
            "DeviceTrainMonitor. Fix: pass what is inside of the monitor: monitor.env."
        )


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype)


# --- on the host ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _host_env(env: Any) -> Iterator[Any]:
    """The environment to play in, closed afterwards if it was made here."""
    if isinstance(env, str | EnvSpec):
        made = gymnasium.make(env)
        try:
            yield made
        finally:
            made.close()
        return
    if not isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv):
        fix = "pass for instance 'CartPole-v1'"
        if isinstance(env, FunctionalEnv):
            fix = "make a coax.envs.JaxVectorEnv of it"
        raise TypeError(f"evaluate: expected an environment or the id of one, got {type(env).__name__}. Fix: {fix}.")
    layer: Any = env
    while layer is not None:
        if isinstance(layer, HostStateful):
            raise ValueError(
                f"evaluate: expected an environment of its own, got {env}, whose episodes are counted by a "
                f"{type(layer).__name__}. Fix: pass its id, or a second environment without a monitor."
            )
        layer = getattr(layer, "env", None)
    yield env


@contextlib.contextmanager
def _own_streams(objs: Sequence[Stateful], key: jax.Array) -> Iterator[None]:
    """Give the objects random streams of their own for a while, and then back all that they had."""
    before = [(obj, obj.state) for obj in objs if not isinstance(obj, HostStateful)]
    try:
        for i, (obj, state) in enumerate(before):
            obj._write(_fresh(obj, state, jax.random.fold_in(key, i)))
        yield
    finally:
        for obj, state in before:
            obj._write(state)


def _on_host(env: Any, policy: Callable[..., Any], episodes: int, seed: int) -> Evaluation:
    num_envs = getattr(env, "num_envs", 1)
    quota = _quota(np, episodes, num_envs)
    G, t, done = np.zeros(num_envs), np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    env.reset(seed=seed)
    while (done < quota).any():
        row = transition(env, policy(env.observation))
        counts = np.atleast_1d(row.mask) & (done < quota)
        over = counts & np.atleast_1d(np.logical_or(row.terminated, row.truncated))
        G, t = G + np.where(counts, row.R, 0), t + counts
        place = (done * num_envs + np.arange(num_envs))[over]
        returns[place], lengths[place] = G[over], t[over]
        G, t, done = np.where(over, 0, G), np.where(over, 0, t), done + over
    return Evaluation(returns, lengths)


def _quota(xp: Any, episodes: int, num_envs: int) -> Any:
    """How many episodes of each environment count."""
    return episodes // num_envs + (xp.arange(num_envs) < episodes % num_envs)


def _as_seed(seed: Any) -> jax.Array:
    if seed is None and is_tracing():
        raise ValueError(
            "evaluate: expected a seed in a compiled function, in which a random one would always be the same, got "
            "None. Fix: pass seed=0 for the same episodes each time, or a key, e.g. jax.random.key(t), for others."
        )
    return key_of_seed(fresh_seed() if seed is None else seed)
