"""Environments of brax."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from ._functional import FunctionalEnv, Outcome

__all__ = ("FromBrax",)

_TAKEN_OFF: Final = {
    "AutoResetWrapper": "resets on its own, and so loses the last observation of an episode",
    "EpisodeWrapper": "counts time on its own, and so mixes up the ends of episodes",
    "VmapWrapper": "holds several environments",
    "DomainRandomizationVmapWrapper": "holds several environments",
}


@dataclasses.dataclass(frozen=True)
class FromBrax(FunctionalEnv):
    """An environment of brax, without the wrappers that reset it and count its steps.

    Episodes are cut off after 1000 steps, as in ``brax.envs.create``, unless :class:`JaxVectorEnv` is told otherwise.

    Parameters
    ----------
    env : brax.envs.Env
        As ``brax.envs.get_environment`` makes it.

    Raises
    ------
    TypeError
        If it is inside a wrapper that resets it, counts its steps or holds several of it.
    """

    env: Any
    observation_space: gymnasium.Space = dataclasses.field(init=False, compare=False)
    action_space: gymnasium.Space = dataclasses.field(init=False, compare=False)
    max_episode_steps: int | None = dataclasses.field(default=1000, init=False, compare=False)

    def __post_init__(self) -> None:
        _check_wrappers(self.env)
        observation = jax.eval_shape(self.env.reset, jax.eval_shape(lambda: jax.random.key(0))).obs
        object.__setattr__(self, "observation_space", _space(observation))
        object.__setattr__(self, "action_space", spaces.Box(-1.0, 1.0, (int(self.env.action_size),), np.float32))

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """``(state, observation)`` at the beginning of an episode."""
        state = self.env.reset(key)
        return state, state.obs

    def step(self, state: Any, action: Any, key: jax.Array | None = None) -> Outcome:
        """What an action leads to. What is random in it, brax keeps in the state."""
        # brax writes into the dicts of the state that it is given; these are new ones
        state = self.env.step(jax.tree.map(lambda x: x, state), action)
        reward, terminated = jnp.asarray(state.reward, jnp.float32), jnp.asarray(state.done, bool)
        return Outcome(state, state.obs, reward, terminated, jnp.bool_(False))

    def __repr__(self) -> str:
        return f"FromBrax({type(self.env).__name__})"


def _check_wrappers(env: Any) -> None:
    while env is not None:
        for kind in type(env).__mro__:
            if kind.__name__ in _TAKEN_OFF:
                raise TypeError(
                    f"env: expected an environment of brax without {kind.__name__}, which "
                    f"{_TAKEN_OFF[kind.__name__]}. Fix: make it with brax.envs.get_environment(name), or with "
                    "brax.envs.create(name, episode_length=None, auto_reset=False); "
                    "coax.envs.JaxVectorEnv(env, num_envs, max_episode_steps=...) does the rest."
                )
        env = vars(env).get("env")


def _space(observation: Any) -> gymnasium.Space:
    if isinstance(observation, Mapping):
        return spaces.Dict({name: _space(part) for name, part in observation.items()})
    return spaces.Box(-np.inf, np.inf, observation.shape, np.float32)
