"""Games of pgx."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from ..approximators import ActionMask
from ._functional import FunctionalEnv, Outcome

__all__ = ("FromPgx",)


@dataclasses.dataclass(frozen=True)
class FromPgx(FunctionalEnv):
    """A game of pgx.

    A step is a move of the player whose turn it is, and its reward is that player's. The observation is what the
    player sees whose turn it is then: in a game of two that is the other player, as in :class:`ConnectFourEnv`.

    Parameters
    ----------
    env : pgx.Env

    Notes
    -----
    Games in which some actions are not always allowed have observations
    ``{"observation": ..., "action_mask": i8[A]}``, and functions and policies made from the environment use the mask.
    An action that is not allowed ends the game, with the reward -1. Boards of booleans are MultiBinary.
    """

    env: Any
    observation_space: gymnasium.Space = dataclasses.field(init=False, compare=False)
    action_space: spaces.Discrete = dataclasses.field(init=False, compare=False)
    action_mask: ActionMask | None = dataclasses.field(init=False, compare=False)
    max_episode_steps: int | None = dataclasses.field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        state = jax.eval_shape(self.env.init, jax.eval_shape(lambda: jax.random.key(0)))
        space, num_actions = _space(state.observation), state.legal_action_mask.shape[0]
        mask = None if self.env.id.startswith("minatar") else ActionMask("action_mask")
        if mask is not None:
            space = spaces.Dict({"observation": space, "action_mask": spaces.MultiBinary(num_actions)})
            # A vector environment has no such attribute, but the very space of the environments that it is made of.
            space.action_mask = mask  # type: ignore[attr-defined]
        found = {"observation_space": space, "action_space": spaces.Discrete(num_actions), "action_mask": mask}
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """``(state, observation)`` at the beginning of a game."""
        state = self.env.init(key)
        return state, self._observe(state)

    def step(self, state: Any, action: Any, key: jax.Array) -> Outcome:
        """What a move leads to."""
        player = state.current_player
        state = self.env.step(state, action, key)
        reward = jnp.asarray(state.rewards[player], jnp.float32)
        return Outcome(state, self._observe(state), reward, state.terminated, state.truncated)

    def _observe(self, state: Any) -> Any:
        if self.action_mask is None:
            return state.observation
        return {"observation": state.observation, "action_mask": state.legal_action_mask.astype(jnp.int8)}

    def __repr__(self) -> str:
        return f"FromPgx({self.env.id})"


def _space(observation: Any) -> gymnasium.Space:
    dtype = np.dtype(observation.dtype)
    if dtype.kind == "b":
        return spaces.MultiBinary(observation.shape)
    low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return spaces.Box(low, high, observation.shape, dtype)
