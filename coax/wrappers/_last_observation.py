"""An environment that remembers its last observation."""

from __future__ import annotations

from typing import Any

import gymnasium

__all__ = ("LastObservation", "only_item")


class LastObservation(gymnasium.Wrapper):
    """Remember the last observation, for :func:`coax.envs.transition`.

    :class:`coax.wrappers.TrainMonitor` does this too. This one does nothing else.

    Parameters
    ----------
    env : gymnasium.Env
        The environment.

    Examples
    --------
    >>> env = coax.wrappers.LastObservation(gymnasium.make("CartPole-v1"))
    >>> s, info = env.reset(seed=13)
    >>> env.observation is s
    True
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
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
        s, info = self.env.reset(seed=seed, options=options)
        self._last = (s,)
        return s, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        s_next, r, terminated, truncated, info = self.env.step(action)
        self._last = (s_next,)
        return s_next, r, terminated, truncated, info


def only_item(env: gymnasium.Env, last: tuple) -> Any:
    """The observation in `last`, or the error that there is none yet."""
    if not last:
        raise gymnasium.error.ResetNeeded(
            f"{type(env).__name__}.observation: there is none before the first reset. Fix: call env.reset() once."
        )
    return last[0]
