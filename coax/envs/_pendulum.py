"""A pendulum to swing up, in JAX."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from ._functional import FunctionalEnv, Outcome

__all__ = ("Pendulum",)

_MAX_SPIN = 8.0  # rad/s
_MAX_TORQUE = 2.0  # N m
_WIDTH = np.array([1, 1, _MAX_SPIN], np.float32)
_DT = 0.05  # s
_MASS = 1.0  # kg
_LENGTH = 1.0  # m


@dataclasses.dataclass(frozen=True)
class Pendulum(FunctionalEnv):
    r"""Swing a pendulum up and keep it there, with little torque: Gymnasium's ``Pendulum-v1``, in JAX.

    Two environments with the same parameters are equal.

    Parameters
    ----------
    g : float, optional
        The acceleration of gravity, in m/s^2.
    max_episode_steps : int or None, optional
        After how many steps an episode is cut off, unless :class:`JaxVectorEnv` is told otherwise.

    Notes
    -----
    The observation is f32[3]: cosine and sine of the angle, which is 0 at the top, and the angular velocity (rad/s).
    The action f32[1] is a torque (N m), clipped to [-2, 2]. The reward is
    :math:`-(\text{angle}^2 + 0.1\,\text{velocity}^2 + 0.001\,\text{torque}^2)` of the state before the step,
    the angle taken from [-pi, pi). There is no terminal state. The state is kept in jax's default precision.

    Examples
    --------
    >>> env = coax.envs.JaxVectorEnv(coax.envs.Pendulum(), num_envs=8, random_seed=13)
    """

    g: float = 10.0
    max_episode_steps: int | None = dataclasses.field(default=200, kw_only=True)
    observation_space: spaces.Box = dataclasses.field(
        default_factory=lambda: spaces.Box(-_WIDTH, _WIDTH, dtype=np.float32), init=False, repr=False, compare=False
    )
    action_space: spaces.Box = dataclasses.field(
        default_factory=lambda: spaces.Box(-_MAX_TORQUE, _MAX_TORQUE, (1,), np.float32),
        init=False,
        repr=False,
        compare=False,
    )

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The angle is uniform on [-pi, pi), the angular velocity on [-1, 1)."""
        state = jax.random.uniform(key, (2,), minval=-1.0) * np.array([np.pi, 1.0])
        return state, _observe(state)

    def step(self, state: jax.Array, action: Any, key: jax.Array | None = None) -> Outcome:
        """One step of the semi-implicit Euler method, 0.05 s long. There is nothing random in it."""
        angle, spin = state
        torque = jnp.clip(action[0], -_MAX_TORQUE, _MAX_TORQUE)
        from_top = angle - 2 * np.pi * jnp.floor((angle + np.pi) / (2 * np.pi))
        reward = -(from_top**2 + 0.1 * spin**2 + 0.001 * torque**2)
        rate = 1.5 * self.g / _LENGTH * jnp.sin(angle) + 3 / (_MASS * _LENGTH**2) * torque
        spin = jnp.clip(spin + _DT * rate, -_MAX_SPIN, _MAX_SPIN)
        state = jnp.stack((angle + _DT * spin, spin))
        return Outcome(state, _observe(state), reward.astype(jnp.float32), jnp.bool_(False), jnp.bool_(False))


def _observe(state: jax.Array) -> jax.Array:
    angle, spin = state
    return jnp.stack((jnp.cos(angle), jnp.sin(angle), spin)).astype(jnp.float32)
