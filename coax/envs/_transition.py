"""One step of any environment, with the true next observation.

The only place that knows what an environment does at the end of an episode.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from .._stateful import refuse_on_host
from ..utils import steps_itself

__all__ = ("Transition", "memory_of", "transition")


class Transition(NamedTuple):
    """What one step of an environment tells a learner.

    Attributes
    ----------
    S : observation
        The one that the action was chosen from.
    S_next : observation
        The one that the action led to, also where the episode ended: never the first one of the next episode.
    R : float or f64[N]
        The reward.
    terminated : bool or bool[N]
        Whether `S_next` is a terminal state.
    truncated : bool or bool[N]
        Whether the episode was cut off at `S_next`, which is not a terminal state.
    mask : bool or bool[N]
        False for a row that is no transition at all, as vector environments may give between two episodes. Always
        True for a single environment.
    """

    S: Any
    S_next: Any
    R: Any
    terminated: Any
    truncated: Any
    mask: Any


@functools.singledispatch
def transition(env: Any, A: Any) -> Transition:
    """Take one step, and begin the next episode where this one ended.

    Afterwards ``env.observation`` is what the next action is to be chosen from: `S_next`, or the first observation of a
    new episode. So the body of a training loop needs no branch for the end of an episode.

    Parameters
    ----------
    env : gymnasium.Env or gymnasium.vector.VectorEnv
        An environment, or N of them at once, that has been reset and remembers its last observation in
        ``env.observation``: one inside a :class:`coax.wrappers.TrainMonitor` or a
        :class:`coax.wrappers.LastObservation`, or a :class:`coax.envs.JaxVectorEnv`. Only the last works inside a
        compiled function too.
    A : action
        The action to take in ``env.observation``.

    Returns
    -------
    Transition
        ``(S, S_next, R, terminated, truncated, mask)``.

    Raises
    ------
    TypeError
        If `env` is no environment, or does not remember its last observation.
    ValueError
        If a wrapper around the one that remembers changes observations; or if vector environments write over their last
        observations, or do not say what they do at the end of an episode.
    gymnasium.error.ResetNeeded
        If `env` was never reset.

    Notes
    -----
    Of vector environments all has a leading axis [N, ...], and every mode of beginning the next episode is known: after
    ``NEXT_STEP`` comes a row that is no transition, whose `mask` is False; with ``SAME_STEP`` the true next observation
    is taken from ``info['final_obs']``; with ``DISABLED`` the environments whose episode is over are reset here, those
    alone, without a seed.

    Examples
    --------
    >>> env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1"))
    >>> s, info = env.reset(seed=13)
    >>> while env.T < 10:
    ...     A, logP = pi(env.observation, return_logp=True)
    ...     S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
    """
    raise _no_environment(env)


@transition.register(gymnasium.Env)
def _single(env: gymnasium.Env, A: Any) -> Transition:
    refuse_on_host(env)
    memory = memory_of(env)
    S = memory.observation
    S_next, R, terminated, truncated, _ = env.step(A)
    _check_remembered(env, memory, S_next)
    if terminated or truncated:
        env.reset()
    return Transition(S, S_next, float(R), bool(terminated), bool(truncated), True)


@transition.register(gymnasium.vector.VectorEnv)
def _vector(env: gymnasium.vector.VectorEnv, A: Any) -> Transition:
    if steps_itself(env):
        return env.transition(A)  # type: ignore[attr-defined]
    refuse_on_host(env)
    memory = memory_of(env)
    S, over, mode = memory.observation, memory.over, memory.autoreset_mode
    S_next, R, terminated, truncated, info = env.step(A)
    _check_remembered(env, memory, S_next)
    if any(map(_are_one, jax.tree.leaves(S), jax.tree.leaves(S_next))):
        raise ValueError(
            f"transition: expected new observations from {env}, got the last ones written over. "
            "Fix: make it with copy=True."
        )
    mask = np.ones(env.num_envs, bool)
    ended = np.logical_or(terminated, truncated)
    if mode is AutoresetMode.NEXT_STEP:
        mask = ~over
    elif ended.any():
        if mode is AutoresetMode.SAME_STEP:
            S_next = _with_final(env, S_next, info, ended)
        else:
            env.reset(options={"reset_mask": ended})
    return Transition(S, S_next, R, terminated, truncated, mask)


def _with_final(env: gymnasium.vector.VectorEnv, S: Any, info: dict[str, Any], ended: np.ndarray) -> Any:
    """The observations, with the last ones of the episodes that ended in place of the first ones of the next."""
    final = info.get("final_obs")
    if final is None:
        raise ValueError(
            f"transition: expected info['final_obs'] from {env}, whose autoreset mode is SAME_STEP, got none. "
            "Fix: put the last observations there, or use another mode."
        )
    rows = list(iterate(env.observation_space, S))
    rows = [final[i] if over else row for i, (row, over) in enumerate(zip(rows, ended, strict=True))]
    empty: Any = create_empty_array(env.single_observation_space, env.num_envs)
    return concatenate(env.single_observation_space, rows, empty)


def memory_of(env: Any) -> Any:
    """The wrapper that remembers the last observation."""
    if steps_itself(env):
        return env
    if not isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv):
        raise _no_environment(env)
    refuse_on_host(env)
    wrapper: Any = env
    names = ("observation",) if isinstance(env, gymnasium.Env) else ("observation", "over")
    while not all(hasattr(type(wrapper), name) or name in vars(wrapper) for name in names) or callable(
        wrapper.observation  # a method of this name changes observations
    ):
        wrapper = getattr(wrapper, "env", None)
        if wrapper is None:
            raise _no_memory(env)
    return wrapper


def _check_remembered(env: Any, memory: Any, S_next: Any) -> None:
    """Whether what is remembered is what came out, so that no wrapper in between has changed it."""
    last = memory.observation
    if last is S_next:
        return
    same = jax.tree.structure(last) == jax.tree.structure(S_next)  # type: ignore[operator]
    if not same or not all(map(np.array_equal, jax.tree.leaves(last), jax.tree.leaves(S_next))):
        raise ValueError(
            f"transition: expected the observation that {env} returns to be the one that {type(memory).__name__} "
            "remembers, got another one. Fix: put that wrapper outside of those that change observations."
        )


def _are_one(x: Any, y: Any) -> bool:
    """Whether two leaves are the same piece of memory."""
    return isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and np.may_share_memory(x, y)


def _no_environment(env: Any) -> TypeError:
    return TypeError(
        f"transition: expected a gymnasium.Env or VectorEnv, got {type(env).__name__}. "
        "Fix: pass an environment, inside a coax.wrappers.TrainMonitor or a coax.wrappers.LastObservation."
    )


def _no_memory(env: Any) -> TypeError:
    return TypeError(
        f"transition: {env} does not remember its last observation. Fix: wrap it in coax.wrappers.TrainMonitor "
        "or coax.wrappers.LastObservation before its first reset."
    )
