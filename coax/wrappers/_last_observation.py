"""An environment that remembers its last observation."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from .._stateful import refuse_on_host

__all__ = ("LastObservation", "VectorLastObservation", "autoreset_mode", "only_item")


class LastObservation(gymnasium.Wrapper):
    """Remember the last observation, for :func:`coax.envs.transition`.

    :class:`coax.wrappers.TrainMonitor` does this too. This one does nothing else.

    Parameters
    ----------
    env : gymnasium.Env or gymnasium.vector.VectorEnv
        The environment. Around a vector environment this is a :class:`VectorLastObservation`.

    Examples
    --------
    >>> env = coax.wrappers.LastObservation(gymnasium.make("CartPole-v1"))
    >>> s, info = env.reset(seed=13)
    >>> env.observation is s
    True
    """

    def __new__(cls, env: Any = None) -> Any:
        """Around a vector environment, the one for those."""
        return VectorLastObservation(env) if isinstance(env, gymnasium.vector.VectorEnv) else super().__new__(cls)

    def __init__(self, env: gymnasium.Env | gymnasium.vector.VectorEnv):
        super().__init__(env)  # type: ignore[arg-type]  # __new__ has made it a gymnasium.Env
        self._last: tuple = ()  # empty before the first reset: None could be an observation

    @property
    def observation(self) -> Any:
        """What the last ``reset`` or ``step`` returned.

        Raises
        ------
        gymnasium.error.ResetNeeded
            Before the first ``reset``.
        """
        return only_item(self, self._last)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        refuse_on_host(self)
        s, info = self.env.reset(seed=seed, options=options)
        self._last = (s,)
        return s, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        refuse_on_host(self)
        only_item(self, self._last)
        s_next, r, terminated, truncated, info = self.env.step(action)
        self._last = (s_next,)
        return s_next, r, terminated, truncated, info


class VectorLastObservation(gymnasium.vector.VectorWrapper):
    """Remember the last observations, for :func:`coax.envs.transition`, and which episodes are over.

    Parameters
    ----------
    env : gymnasium.vector.VectorEnv
        The environments.

    Attributes
    ----------
    over : bool[N]
        Which episodes ended with the last step, and were not begun anew by then.
    """

    over: np.ndarray

    def __init__(self, env: gymnasium.vector.VectorEnv):
        super().__init__(env)
        self.autoreset_mode = autoreset_mode(env)
        self._last: tuple = ()
        self.over = np.zeros(env.num_envs, bool)

    @property
    def observation(self) -> Any:
        """What the last ``reset`` or ``step`` returned.

        Raises
        ------
        gymnasium.error.ResetNeeded
            Before the first ``reset``.
        """
        return only_item(self, self._last)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all, or those in ``options['reset_mask']``."""
        refuse_on_host(self)
        begun = (options or {}).get("reset_mask", True)
        S, info = self.env.reset(seed=seed, options=None if options is None else dict(options))
        self._last = (S,)
        self.over = self.over & ~np.asarray(begun)
        return S, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step in each."""
        refuse_on_host(self)
        only_item(self, self._last)
        S, R, terminated, truncated, info = self.env.step(actions)
        self._last = (S,)
        same = self.autoreset_mode is gymnasium.vector.AutoresetMode.SAME_STEP
        self.over = np.zeros(self.num_envs, bool) if same else np.logical_or(terminated, truncated)
        return S, R, terminated, truncated, info


def autoreset_mode(env: gymnasium.vector.VectorEnv) -> gymnasium.vector.AutoresetMode:
    """What vector environments do at the end of an episode.

    Raises
    ------
    ValueError
        If they do not say so, or something unknown.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, gymnasium.vector.AutoresetMode):
        known = ", ".join(str(each) for each in gymnasium.vector.AutoresetMode)
        raise ValueError(
            f"{env}: expected one of {known} in env.metadata['autoreset_mode'], got {mode!r}. "
            "Fix: say there what the environments do at the end of an episode."
        )
    return mode


def only_item(env: Any, last: tuple) -> Any:
    """The observation in `last`, or the error that there is none yet."""
    if not last:
        raise gymnasium.error.ResetNeeded(
            f"{type(env).__name__}.observation: there is none before the first reset. Fix: call env.reset() once."
        )
    return last[0]
