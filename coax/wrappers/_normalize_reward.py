"""Environments whose rewards are normalised."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode

from .._stateful import Stateful
from ..normalizers import RewardNormalizer
from ..utils import steps_itself
from ._last_observation import LastObservation, VectorLastObservation

__all__ = ("DeviceNormalizeReward", "NormalizeReward", "VectorNormalizeReward")


class NormalizeReward(LastObservation):
    """Divide rewards by the standard deviation of the discounted return, see :class:`coax.RewardNormalizer`.

    It also remembers the last observation, see :func:`coax.envs.transition`. A :class:`coax.wrappers.TrainMonitor`
    inside of it counts the rewards themselves, one around it the normalised ones.

    Parameters
    ----------
    env : gymnasium.Env, gymnasium.vector.VectorEnv or JaxVectorEnv
        The environment. Around a vector environment this is a :class:`VectorNormalizeReward`, and around one inside
        JAX a :class:`DeviceNormalizeReward`, which also works in a compiled loop.
    normalizer : RewardNormalizer, optional
        By default a new one.
    **kwargs
        `gamma`, `clip` and `epsilon` of a new one.

    Attributes
    ----------
    normalizer : RewardNormalizer
        Has the statistics: they are saved with its state. With ``normalizer.frozen = True`` they stay as they are.

    Raises
    ------
    TypeError
        If `env` is no environment, or `normalizer` no normaliser, or both that and its arguments are given.
    ValueError
        If the normaliser is for another number of environments.

    Notes
    -----
    :func:`coax.training.evaluate` uses the statistics and leaves them alone, so its returns are those of normalised
    rewards. For the returns themselves, evaluate in the environment inside of this.

    Examples
    --------
    >>> env = coax.wrappers.NormalizeReward(gymnasium.make("Pendulum-v1"), gamma=0.9)
    >>> s, info = env.reset(seed=13)
    >>> s, r, terminated, truncated, info = env.step(env.action_space.sample())
    >>> env.normalizer.count
    1
    """

    def __new__(cls, env: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Around vector environments, the one for those."""
        if steps_itself(env):
            return DeviceNormalizeReward(env, *args, **kwargs)
        if isinstance(env, gymnasium.vector.VectorEnv):
            return VectorNormalizeReward(env, *args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self, env: gymnasium.Env | gymnasium.vector.VectorEnv, normalizer: RewardNormalizer | None = None, **kwargs: Any
    ):
        self._normalizer = fitting_normalizer(env, normalizer, **kwargs)
        super().__init__(env)

    @property
    def normalizer(self) -> RewardNormalizer:
        """What has the statistics."""
        return self._normalizer

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        found = super().reset(seed=seed, options=options)
        self._normalizer.reset()
        return found

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        s_next, r, terminated, truncated, info = super().step(action)
        R = self._normalizer._take_in(float(r), bool(terminated), bool(truncated))
        return s_next, float(R), terminated, truncated, info


# the signature is that of __init__, whoever asks
NormalizeReward.__new__.__wrapped__ = NormalizeReward.__init__  # type: ignore[attr-defined]


class VectorNormalizeReward(VectorLastObservation):
    """Divide the rewards of N environments by the standard deviation of the return, as :class:`NormalizeReward` does.

    A row that is no transition, as vector environments may give between two episodes, counts for nothing.

    Parameters
    ----------
    env : gymnasium.vector.VectorEnv
        The environments.
    normalizer : RewardNormalizer, optional
        By default a new one.
    **kwargs
        `gamma`, `clip` and `epsilon` of a new one.

    Attributes
    ----------
    normalizer : RewardNormalizer
        Has the statistics.

    Raises
    ------
    TypeError, ValueError
        As :class:`NormalizeReward`. Also if the environments do not say in ``metadata['autoreset_mode']`` what they do
        at the end of an episode.

    Examples
    --------
    >>> envs = gymnasium.make_vec("Pendulum-v1", num_envs=4, vectorization_mode="sync")
    >>> envs = coax.wrappers.NormalizeReward(envs)
    >>> S, info = envs.reset(seed=13)
    >>> S, R, terminated, truncated, info = envs.step(envs.action_space.sample())
    >>> envs.normalizer.count
    4
    """

    def __init__(self, env: gymnasium.vector.VectorEnv, normalizer: RewardNormalizer | None = None, **kwargs: Any):
        self._normalizer = fitting_normalizer(env, normalizer, **kwargs)
        super().__init__(env)

    @property
    def normalizer(self) -> RewardNormalizer:
        """What has the statistics."""
        return self._normalizer

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all, or those in ``options['reset_mask']``."""
        rows = np.ones(self.num_envs, bool) & (options or {}).get("reset_mask", True)
        found = super().reset(seed=seed, options=options)
        self._normalizer.reset(rows)
        return found

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in each."""
        same = self.autoreset_mode is AutoresetMode.SAME_STEP
        rows = np.ones(self.num_envs, bool) if same else ~self.over
        S, R, terminated, truncated, info = super().step(actions)
        ends = np.asarray(terminated, bool), np.asarray(truncated, bool)
        R = np.asarray(self._normalizer._take_in(np.asarray(R, float), *ends, rows), float)
        return S, R, terminated, truncated, info


class DeviceNormalizeReward(Stateful, gymnasium.vector.VectorWrapper):
    """Divide rewards of environments inside JAX by the standard deviation of the return, as :class:`NormalizeReward`.

    It works in a compiled loop and in a Python loop.

    Parameters
    ----------
    env : JaxVectorEnv
        The environments.
    normalizer : RewardNormalizer, optional
        By default a new one.
    **kwargs
        `gamma`, `clip` and `epsilon` of a new one.

    Attributes
    ----------
    normalizer : RewardNormalizer
        Has the statistics. It is one of the :attr:`children`; this itself has no state.

    Raises
    ------
    TypeError, ValueError
        As :class:`NormalizeReward`.

    Examples
    --------
    >>> env = coax.envs.JaxVectorEnv(coax.envs.Pendulum(), num_envs=4, random_seed=13)
    >>> env = coax.wrappers.NormalizeReward(coax.wrappers.NormalizeObservation(env), gamma=0.9)
    >>> def step():
    ...     return coax.envs.transition(env, jnp.zeros((4, 1))).R
    >>> coax.scan(step, length=10, over=env).shape
    (10, 4)
    >>> env.normalizer.count
    40
    """

    def __init__(self, env: Any, normalizer: RewardNormalizer | None = None, **kwargs: Any):
        self._normalizer = fitting_normalizer(env, normalizer, **kwargs)
        gymnasium.vector.VectorWrapper.__init__(self, env)
        self._write({})

    def init(self, key: Any) -> dict[str, Any]:
        """Nothing: all that changes is in the children."""
        return {}

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The environments, and the normaliser."""
        return (self.env, self._normalizer)  # type: ignore[return-value]

    @property
    def normalizer(self) -> RewardNormalizer:
        """What has the statistics."""
        return self._normalizer

    def __copy__(self) -> DeviceNormalizeReward:
        new = super().__copy__()
        new.env, new._normalizer = self.env.copy(), self._normalizer.copy()  # type: ignore[attr-defined]
        return new

    @property
    def observation(self) -> Any:
        """What the next actions are to be chosen from: leaves [N, *obs]."""
        return self.env.observation  # type: ignore[attr-defined]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all, or those in ``options['reset_mask']``."""
        found = self.env.reset(seed=seed, options=options)
        rows = (options or {}).get("reset_mask")
        self._normalizer.reset(rows if rows is None or isinstance(rows, jax.Array) else np.asarray(rows, bool))
        return found

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in each."""
        S, R, terminated, truncated, info = self.env.step(actions)
        return S, self._normalizer._take_in(R, terminated, truncated), terminated, truncated, info

    def transition(self, actions: Any) -> Any:
        """The same step, as :func:`coax.envs.transition` gives it."""
        row = self.env.transition(actions)  # type: ignore[attr-defined]
        return row._replace(R=self._normalizer._take_in(row.R, row.terminated, row.truncated, row.mask))


def fitting_normalizer(env: Any, normalizer: Any, **kwargs: Any) -> RewardNormalizer:
    """The normaliser of the rewards of an environment: a given one, or a new one."""
    if not isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv):
        raise TypeError(
            f"NormalizeReward: expected an environment, got {type(env).__name__}. "
            "Fix: pass a gymnasium.Env or VectorEnv, or a coax.envs.JaxVectorEnv."
        )
    num_envs = env.num_envs if isinstance(env, gymnasium.vector.VectorEnv) else None
    if normalizer is None:
        return RewardNormalizer(num_envs, **kwargs)
    if not isinstance(normalizer, RewardNormalizer) or kwargs:
        raise TypeError(
            f"NormalizeReward: expected a coax.RewardNormalizer and nothing else, or arguments of a new one, got "
            f"{type(normalizer).__name__} and {kwargs}. Fix: leave one of them out."
        )
    if normalizer.num_envs != num_envs:
        raise ValueError(
            f"NormalizeReward: expected a normaliser with num_envs={num_envs}, got one with {normalizer.num_envs}. "
            "Fix: make it with that number."
        )
    return normalizer
