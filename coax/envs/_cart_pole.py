"""A pole on a cart, in JAX."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from ._functional import FunctionalEnv, Outcome

__all__ = ("CartPole",)

_GRAVITY = 9.8  # m/s^2
_POLE_MASS = 0.1  # kg
_TOTAL_MASS = 1.1  # kg, pole and cart
_HALF_LENGTH = 0.5  # m, from the joint to the middle of the pole
_FORCE = 10.0  # N
_DT = 0.02  # s
_MAX_POSITION = 2.4  # m
_MAX_ANGLE = 12 * 2 * np.pi / 360  # rad
_WIDTH = np.array([2 * _MAX_POSITION, np.inf, 2 * _MAX_ANGLE, np.inf], np.float32)  # as Gymnasium has it
_START = 0.05  # in the units of each entry


@dataclasses.dataclass(frozen=True)
class CartPole(FunctionalEnv):
    """Keep a pole upright by pushing the cart below it: Gymnasium's ``CartPole-v1``, in JAX.

    Two environments with the same parameters are equal.

    Parameters
    ----------
    sutton_barto_reward : bool, optional
        The reward is 0, and -1 where the pole falls. Without it, the reward is 1, also where the pole falls.
    max_episode_steps : int or None, optional
        After how many steps an episode is cut off, unless :class:`JaxVectorEnv` is told otherwise.

    Notes
    -----
    The observation is f32[4]: position (m), velocity (m/s), angle (rad) and angular velocity (rad/s). Action 0 pushes
    to the left, 1 to the right. An episode terminates where the cart is more than 2.4 m from the middle or the pole
    more than 12 degrees from upright. The state is kept in jax's default precision, the observation is not.

    References
    ----------
    Barto, Sutton and Anderson 1983, "Neuronlike adaptive elements that can solve difficult learning control problems".

    Examples
    --------
    >>> env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), num_envs=8, random_seed=13)
    """

    sutton_barto_reward: bool = False
    max_episode_steps: int | None = dataclasses.field(default=500, kw_only=True)
    observation_space: spaces.Box = dataclasses.field(
        default_factory=lambda: spaces.Box(-_WIDTH, _WIDTH, dtype=np.float32), init=False, repr=False, compare=False
    )
    action_space: spaces.Discrete = dataclasses.field(
        default_factory=lambda: spaces.Discrete(2), init=False, repr=False, compare=False
    )

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """All four entries are uniform on [-0.05, 0.05)."""
        state = jax.random.uniform(key, (4,), minval=-_START, maxval=_START)
        return state, state.astype(jnp.float32)

    def step(self, state: jax.Array, action: Any, key: jax.Array | None = None) -> Outcome:
        """One step of Euler's method, 0.02 s long. There is nothing random in it."""
        x, v, angle, spin = state
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        push = (jnp.where(action == 1, _FORCE, -_FORCE) + _POLE_MASS * _HALF_LENGTH * spin**2 * sin) / _TOTAL_MASS
        inertia = _HALF_LENGTH * (4 / 3 - _POLE_MASS / _TOTAL_MASS * cos**2)
        spin_rate = (_GRAVITY * sin - cos * push) / inertia
        v_rate = push - _POLE_MASS * _HALF_LENGTH / _TOTAL_MASS * spin_rate * cos
        state = jnp.stack((x + _DT * v, v + _DT * v_rate, angle + _DT * spin, spin + _DT * spin_rate))
        terminated = (jnp.abs(state[0]) > _MAX_POSITION) | (jnp.abs(state[2]) > _MAX_ANGLE)
        reward = -terminated.astype(jnp.float32) if self.sutton_barto_reward else jnp.float32(1)
        return Outcome(state, state.astype(jnp.float32), reward, terminated, jnp.bool_(False))
