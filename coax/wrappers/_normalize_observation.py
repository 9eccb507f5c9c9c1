"""Environments whose observations are normalised."""

from __future__ import annotations

import operator
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from .._stateful import Stateful, is_tracing
from ..approximators import ActionMask
from ..normalizers import ObservationNormalizer
from ..utils import get_env_attr, make_cast, single_space, steps_itself
from ._last_observation import LastObservation, VectorLastObservation

__all__ = ("DeviceNormalizeObservation", "NormalizeObservation", "VectorNormalizeObservation")


class NormalizeObservation(LastObservation):
    """Give observations zero mean and unit variance, by the mean and the variance of all that were seen.

    It also remembers the last observation, see :func:`coax.envs.transition`. Every observation counts once, also the
    first and the last ones of episodes, before it is normalised. What follows learns from observations as they were
    normalised at that time.

    Parameters
    ----------
    env : gymnasium.Env, gymnasium.vector.VectorEnv or JaxVectorEnv
        The environment. Around a vector environment this is a :class:`VectorNormalizeObservation`, and around one
        inside JAX a :class:`DeviceNormalizeObservation`, which also works in a compiled loop.
    normalizer : ObservationNormalizer, optional
        By default a new one. Two environments may share one.
    **kwargs
        `clip` and `epsilon` of a new one.

    Attributes
    ----------
    normalizer : ObservationNormalizer
        Has the statistics: they are saved with its state. With ``normalizer.frozen = True`` they stay as they are;
        :func:`coax.training.evaluate` uses them and leaves them alone.

    Raises
    ------
    TypeError
        If `env` is no environment, or `normalizer` no normaliser, or both that and its arguments are given.
    ValueError
        If the observations have no Box in them, or the normaliser is for others, or the mask of allowed actions lies
        in a Box.

    Examples
    --------
    >>> env = coax.wrappers.NormalizeObservation(gymnasium.make("Pendulum-v1"))
    >>> s, info = env.reset(seed=13)
    >>> env.observation_space
    Box(-10.0, 10.0, (3,), float32)
    >>> env.normalizer.count
    1
    """

    def __new__(cls, env: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Around vector environments, the one for those."""
        if steps_itself(env):
            return DeviceNormalizeObservation(env, *args, **kwargs)
        if isinstance(env, gymnasium.vector.VectorEnv):
            return VectorNormalizeObservation(env, *args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self,
        env: gymnasium.Env | gymnasium.vector.VectorEnv,
        normalizer: ObservationNormalizer | None = None,
        **kwargs: Any,
    ):
        self._normalizer = fitting_normalizer(env, normalizer, **kwargs)
        super().__init__(env)
        self.observation_space = self._normalizer.normalized_space

    @property
    def normalizer(self) -> ObservationNormalizer:
        """What has the statistics."""
        return self._normalizer

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        s, info = super().reset(seed=seed, options=options)
        return self._counted(s), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        s_next, r, terminated, truncated, info = super().step(action)
        return self._counted(s_next), r, terminated, truncated, info

    def _counted(self, s: Any) -> Any:
        (s,) = self._normalizer._take_in((s, True))
        self._last = (s,)
        return s


# the signature is that of __init__, whoever asks
NormalizeObservation.__new__.__wrapped__ = NormalizeObservation.__init__  # type: ignore[attr-defined]


class VectorNormalizeObservation(VectorLastObservation):
    """Give the observations of N environments zero mean and unit variance, as :class:`NormalizeObservation` does.

    All modes of beginning the next episode count the same observations. In ``info['final_obs']`` they are normalised
    too.

    Parameters
    ----------
    env : gymnasium.vector.VectorEnv
        The environments.
    normalizer : ObservationNormalizer, optional
        By default a new one.
    **kwargs
        `clip` and `epsilon` of a new one.

    Attributes
    ----------
    normalizer : ObservationNormalizer
        Has the statistics.

    Raises
    ------
    TypeError, ValueError
        As :class:`NormalizeObservation`. Also if the environments do not say in ``metadata['autoreset_mode']`` what
        they do at the end of an episode.

    Examples
    --------
    >>> envs = gymnasium.make_vec("Pendulum-v1", num_envs=4, vectorization_mode="sync")
    >>> envs = coax.wrappers.NormalizeObservation(envs)
    >>> S, info = envs.reset(seed=13)
    >>> envs.normalizer.count, envs.single_observation_space
    (4, Box(-10.0, 10.0, (3,), float32))
    """

    def __init__(self, env: gymnasium.vector.VectorEnv, normalizer: ObservationNormalizer | None = None, **kwargs: Any):
        self._normalizer = fitting_normalizer(env, normalizer, **kwargs)
        super().__init__(env)
        declare(self, self._normalizer.normalized_space)

    @property
    def normalizer(self) -> ObservationNormalizer:
        """What has the statistics."""
        return self._normalizer

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all, or those in ``options['reset_mask']``. The other observations stay as they were."""
        rows = np.ones(self.num_envs, bool) & (options or {}).get("reset_mask", True)
        last = self._last
        S, info = super().reset(seed=seed, options=options)
        (S,) = self._normalizer._take_in((S, rows))
        if last and not rows.all():
            S = jax.tree.map(lambda x, old: np.where(_like(rows, x), x, old), S, last[0])
        self._last = (S,)
        return S, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in each."""
        over = self.over
        S, R, terminated, truncated, info = super().step(actions)
        rows = ~over if self.autoreset_mode is AutoresetMode.DISABLED else np.ones(self.num_envs, bool)
        ended = np.logical_or(terminated, truncated)
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            ended = np.zeros_like(ended)
        S, info = after_step(self._normalizer, S, rows, info, ended)
        self._last = (S,)
        return S, R, terminated, truncated, info


class DeviceNormalizeObservation(Stateful, gymnasium.vector.VectorWrapper):
    """Give observations of environments inside JAX zero mean and unit variance, as :class:`NormalizeObservation` does.

    It works in a compiled loop and in a Python loop.

    Parameters
    ----------
    env : JaxVectorEnv
        The environments.
    normalizer : ObservationNormalizer, optional
        By default a new one.
    **kwargs
        `clip` and `epsilon` of a new one.

    Attributes
    ----------
    normalizer : ObservationNormalizer
        Has the statistics. It is one of the :attr:`children`.

    Raises
    ------
    TypeError, ValueError
        As :class:`NormalizeObservation`.

    Notes
    -----
    The state says only whether the present observations are counted already: those of fresh episodes are not, and are
    so with the first step.

    Examples
    --------
    >>> env = coax.envs.JaxVectorEnv(coax.envs.Pendulum(), num_envs=4, random_seed=13)
    >>> env = coax.wrappers.NormalizeObservation(env)
    >>> def step():
    ...     return coax.envs.transition(env, jnp.zeros((4, 1))).R
    >>> coax.scan(step, length=10, over=env).shape
    (10, 4)
    >>> env.normalizer.count  # 4 at the beginning, and 4 in each step
    44
    """

    def __init__(self, env: Any, normalizer: ObservationNormalizer | None = None, **kwargs: Any):
        self._normalizer = fitting_normalizer(env, normalizer, **kwargs)
        gymnasium.vector.VectorWrapper.__init__(self, env)
        declare(self, self._normalizer.normalized_space)
        self._write(self.init(None))

    def init(self, key: Any) -> dict[str, Any]:
        """The state around fresh episodes."""
        return {"counted": np.zeros((), bool)}

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The environments, and the normaliser."""
        return (self.env, self._normalizer)  # type: ignore[return-value]

    @property
    def normalizer(self) -> ObservationNormalizer:
        """What has the statistics."""
        return self._normalizer

    def __copy__(self) -> DeviceNormalizeObservation:
        new = super().__copy__()
        new.env, new._normalizer = self.env.copy(), self._normalizer.copy()  # type: ignore[attr-defined]
        return new

    @property
    def observation(self) -> Any:
        """What the next actions are to be chosen from: leaves [N, *obs]."""
        return self._normalizer._as_if_counted(self.env.observation, self._new_rows())  # type: ignore[attr-defined]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all, or those in ``options['reset_mask']``."""
        S, info = self.env.reset(seed=seed, options=options)
        rows = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        rows = rows if isinstance(rows, jax.Array) else np.asarray(rows, bool)
        (S,) = self._normalizer._take_in((S, rows | self._new_rows()))
        self._write({"counted": np.ones((), bool)})
        return S, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in each."""
        self._count_first()
        S, R, terminated, truncated, info = self.env.step(actions)
        S, info = after_step(self._normalizer, S, np.ones(self.num_envs, bool), info, terminated | truncated)
        return S, R, terminated, truncated, info

    def transition(self, actions: Any) -> Any:
        """The same step, as :func:`coax.envs.transition` gives it."""
        self._count_first()
        S = self._normalizer.norm(self.env.observation)  # type: ignore[attr-defined]
        row = self.env.transition(actions)  # type: ignore[attr-defined]
        blocks = [(row.S_next, row.mask)]
        ended = row.terminated | row.truncated
        if is_tracing() or ended.any():
            blocks.append((self.env.observation, ended))  # type: ignore[attr-defined]
        return row._replace(S=S, S_next=self._normalizer._take_in(*blocks)[0])

    def _new_rows(self) -> Any:
        """Which of the present observations are not counted yet: all, or none."""
        counted = self._peek()["counted"]
        return ~(counted if is_tracing() else np.asarray(counted)) & np.ones(self.num_envs, bool)

    def _count_first(self) -> None:
        rows = self._new_rows()
        if is_tracing() or rows.any():
            self._normalizer._take_in((self.env.observation, rows))  # type: ignore[attr-defined]
            self._write({"counted": np.ones((), bool)})


# --- what they have in common -----------------------------------------------------------------------------------------


def fitting_normalizer(env: Any, normalizer: Any, **kwargs: Any) -> ObservationNormalizer:
    """The normaliser of the observations of an environment: a given one, or a new one."""
    if not isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv):
        raise TypeError(
            f"NormalizeObservation: expected an environment, got {type(env).__name__}. "
            "Fix: pass a gymnasium.Env or VectorEnv, or a coax.envs.JaxVectorEnv."
        )
    space = single_space(env, "observation_space")
    if normalizer is None:
        normalizer = ObservationNormalizer(space, **kwargs)
    elif not isinstance(normalizer, ObservationNormalizer) or kwargs:
        raise TypeError(
            f"NormalizeObservation: expected a coax.ObservationNormalizer and nothing else, or arguments of a new one, "
            f"got {type(normalizer).__name__} and {kwargs}. Fix: leave one of them out."
        )
    if normalizer.observation_space != space:
        raise ValueError(
            f"NormalizeObservation: expected a normaliser of {space}, got one of {normalizer.observation_space}. "
            "Fix: pass one that was made for such observations."
        )
    _check_mask(env, space)
    return normalizer


def _check_mask(env: Any, space: gymnasium.Space) -> None:
    """Whether a mask of allowed actions in the observations stays a mask."""
    for owner in (env, space):
        mask = get_env_attr(owner, "action_mask", None)
        if isinstance(mask, ActionMask) and not callable(mask.where):
            for part in mask.where if isinstance(mask.where, tuple) else (mask.where,):
                space = space[part] if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple) else space
            if isinstance(space, gymnasium.spaces.Box):
                raise ValueError(
                    f"NormalizeObservation: expected the mask at {mask} in a discrete part, which is left alone, got "
                    f"{space}. Fix: say MultiBinary in the observation space, or put the ActionMasking around this."
                )
            return


def declare(env: gymnasium.vector.VectorWrapper, space: gymnasium.Space) -> None:
    """Say that the observations of each environment are in this space."""
    env.single_observation_space = space
    env.observation_space = batch_space(space, env.num_envs)


def after_step(normalizer: ObservationNormalizer, S: Any, rows: Any, info: dict[str, Any], ended: Any) -> tuple:
    """Observations and info of a step, normalised; the last ones of episodes are in the info."""
    final = info.get("final_obs")
    if is_tracing():
        S, final = normalizer._take_in((S, rows), (final, ended))
        return S, {**info, "final_obs": final}
    if final is None or not ended.any():
        return normalizer._take_in((S, rows))[0], info
    cast = make_cast(normalizer.observation_space, "final_obs")
    last = jax.tree.map(np.array, make_cast(normalizer.observation_space, "S")(S)[0])
    for i in np.flatnonzero(ended):
        jax.tree.map(lambda xs, x, i=i: operator.setitem(xs, i, x), last, cast(final[i])[0])
    S, last = normalizer._take_in((S, rows), (last, ended))
    final = np.full(len(ended), None, object)
    for i in np.flatnonzero(ended):
        final[i] = jax.tree.map(lambda x, i=i: x[i], last)
    return S, {**info, "final_obs": final}


def _like(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rows [N] with as many axes as an array [N, ...]."""
    return rows.reshape(-1, *(1,) * (x.ndim - 1))
