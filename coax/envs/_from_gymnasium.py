"""Gymnasium's functional environments."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
from gymnasium.experimental.functional import FuncEnv

from ._functional import FunctionalEnv, Outcome

__all__ = ("FromGymnasium",)


@dataclasses.dataclass(frozen=True)
class FromGymnasium(FunctionalEnv):
    """A functional environment of Gymnasium. It has no time limit.

    Parameters
    ----------
    env : gymnasium.experimental.functional.FuncEnv
        Written with ``jax.numpy``.
    params : optional
        By default those of the environment.
    """

    env: FuncEnv
    params: Any = None
    observation_space: gymnasium.Space = dataclasses.field(init=False, compare=False)
    action_space: gymnasium.Space = dataclasses.field(init=False, compare=False)
    max_episode_steps: int | None = dataclasses.field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        params = getattr(self.env, "default_params", None) if self.params is None else self.params
        object.__setattr__(self, "params", params)
        object.__setattr__(self, "observation_space", self.env.observation_space)
        object.__setattr__(self, "action_space", self.env.action_space)

    @property
    def _named(self) -> dict[str, Any]:
        return {} if self.params is None else {"params": self.params}  # not every environment takes them

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """``(state, observation)`` at the beginning of an episode."""
        keys = jax.random.split(key)
        state = self.env.initial(keys[0], **self._named)
        return state, self.env.observation(state, keys[1], **self._named)

    def step(self, state: Any, action: Any, key: jax.Array) -> Outcome:
        """What an action leads to."""
        keys, old = jax.random.split(key, 4), state
        state = self.env.transition(old, action, keys[0], **self._named)
        return Outcome(
            state,
            self.env.observation(state, keys[1], **self._named),
            jnp.asarray(self.env.reward(old, action, state, keys[2], **self._named), jnp.float32),
            jnp.asarray(self.env.terminal(state, keys[3], **self._named), bool),
            jnp.bool_(False),
        )

    def __repr__(self) -> str:
        return f"FromGymnasium({type(self.env).__name__})"
