"""Environments as pure functions of a state: what runs inside JAX."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import gymnasium
import jax

__all__ = ("FunctionalEnv", "Outcome")


class Outcome(NamedTuple):
    """What a step of a :class:`FunctionalEnv` leads to.

    Attributes
    ----------
    state : pytree of arrays
        The state after the step: also where the episode ended, never one of the next episode.
    observation : observation
        Of that state.
    reward : f32[]
    terminated : bool[]
        Whether it is a terminal state.
    truncated : bool[]
        Whether the environment itself cuts the episode off here. Time limits are not its business, see
        `max_episode_steps`.
    """

    state: Any
    observation: Any
    reward: Any
    terminated: Any
    truncated: Any = False


class FunctionalEnv(abc.ABC):
    """One environment, as pure functions that JAX can trace.

    It holds no state: :class:`JaxVectorEnv` runs any number of them at once, counts their steps and begins the next
    episode where one ends.

    Attributes
    ----------
    observation_space, action_space : gymnasium.Space
        Of a single environment.
    max_episode_steps : int or None
        After how many steps an episode is cut off, unless :class:`JaxVectorEnv` is told otherwise.
    action_mask : coax.ActionMask, optional
        Where the observations say which actions are allowed.

    Examples
    --------
    >>> class Walk(coax.envs.FunctionalEnv):
    ...     observation_space = gymnasium.spaces.Discrete(11)
    ...     action_space = gymnasium.spaces.Discrete(2)
    ...     max_episode_steps = 100
    ...     def reset(self, key):
    ...         s = jnp.int32(5)
    ...         return s, s
    ...     def step(self, state, action, key):
    ...         s = state + 2 * action - 1
    ...         return coax.envs.Outcome(s, s, reward=1.0 * (s == 10), terminated=(s == 0) | (s == 10))
    >>> env = coax.envs.JaxVectorEnv(Walk(), num_envs=8, random_seed=13)
    """

    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    max_episode_steps: int | None = None

    @abc.abstractmethod
    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """``(state, observation)`` at the beginning of an episode.

        Parameters
        ----------
        key : key[]
            For all that is random in it.
        """

    @abc.abstractmethod
    def step(self, state: Any, action: Any, key: jax.Array) -> Outcome:
        """What an action leads to.

        Parameters
        ----------
        state : pytree of arrays
        action : action
            An element of `action_space`, as jax arrays.
        key : key[]
            For all that is random in it.
        """
