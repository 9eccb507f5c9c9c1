"""Environments of gymnax."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from ._functional import FunctionalEnv, Outcome

__all__ = ("FromGymnax",)

_ENDLESS = np.iinfo(np.int32).max


@dataclasses.dataclass(frozen=True)
class FromGymnax(FunctionalEnv):
    """An environment of gymnax, without its own resets and time limit.

    Parameters
    ----------
    env : gymnax.environments.environment.Environment
    params : EnvParams, optional
        By default those of the environment. ``params.max_steps_in_episode`` becomes :attr:`max_episode_steps`.

    Raises
    ------
    TypeError
        If a space is none that Gymnasium has.
    """

    env: Any
    params: Any = None
    observation_space: gymnasium.Space = dataclasses.field(init=False, compare=False)
    action_space: gymnasium.Space = dataclasses.field(init=False, compare=False)
    max_episode_steps: int | None = dataclasses.field(init=False, compare=False)

    def __post_init__(self) -> None:
        params = self.env.default_params if self.params is None else self.params
        limit = getattr(params, "max_steps_in_episode", None)
        found = {
            "params": params,
            "observation_space": _space(self.env.observation_space(params)),
            "action_space": _space(self.env.action_space(params)),
            "max_episode_steps": None if limit is None else int(limit),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """``(state, observation)`` at the beginning of an episode."""
        observation, state = self.env.reset_env(key, self.params)
        return state, observation

    def step(self, state: Any, action: Any, key: jax.Array) -> Outcome:
        """What an action leads to."""
        truncated: Any = False
        if hasattr(self.env, "is_truncated"):  # since 1.0, where the flags of step_env and the time limit are apart
            observation, state, reward, terminated, _ = self.env.step_env(key, state, action, self.params)
            truncated = self.env.is_truncated(state, self._endless)
        else:  # before, where `done` is also the time limit
            observation, state, reward, terminated, _ = self.env.step_env(key, state, action, self._endless)
        return Outcome(
            state,
            observation,
            jnp.asarray(reward, jnp.float32),
            jnp.asarray(terminated, bool),
            jnp.asarray(truncated, bool),
        )

    @property
    def _endless(self) -> Any:
        """The parameters with a time limit that no episode reaches."""
        if self.max_episode_steps is None:
            return self.params
        return self.params.replace(max_steps_in_episode=_ENDLESS)

    def __repr__(self) -> str:
        return f"FromGymnax({self.env.name})"


def _space(space: Any) -> gymnasium.Space:
    """What Gymnasium calls a space of gymnax."""
    kind = type(space).__name__
    if kind == "Discrete":
        return spaces.Discrete(int(space.n))
    if kind == "Box":
        dtype = np.dtype(space.dtype)
        low, high = (np.broadcast_to(np.asarray(x, dtype), space.shape) for x in (space.low, space.high))
        return spaces.Box(low, high, dtype=dtype)
    if kind == "Dict":
        return spaces.Dict({name: _space(child) for name, child in space.spaces.items()})
    if kind == "Tuple":
        return spaces.Tuple([_space(child) for child in space.spaces])
    raise TypeError(
        f"env: expected spaces that are Discrete, Box, Dict or Tuple, got {space!r}. "
        "Fix: make a coax.envs.FunctionalEnv of the environment, with spaces of Gymnasium."
    )
