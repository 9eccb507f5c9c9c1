"""An environment whose observations are the latest frames."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium

__all__ = ("FrameStacking",)


class FrameStacking(gymnasium.Wrapper):
    """Observe the latest frames, as a tuple with the oldest first.

    Nothing is copied or stacked here: the frames of one observation are those of the next one, too, and a replay buffer
    stores each of them once. A preprocessor stacks them on the device, where they are few::

        def func(S, is_training):
            S = jnp.stack(S, axis=-1) / 255  # [B, height, width, frames]

    After a reset the first frame stands in for those that are missing.

    Parameters
    ----------
    env : gymnasium.Env
        The environment. Its observations are the frames.
    num_frames : int
        How many frames there are, at least 1.

    Raises
    ------
    TypeError
        If `env` is a vector environment, or `num_frames` not a positive int.

    References
    ----------
    Mnih et al. (2015), Human-level control through deep reinforcement learning, Methods, "Preprocessing".

    Examples
    --------
    >>> env = coax.wrappers.FrameStacking(gymnasium.make("CartPole-v1"), num_frames=3)
    >>> s, info = env.reset(seed=13)
    >>> len(s), s[0] is s[2]
    (3, True)
    """

    def __init__(self, env: gymnasium.Env, num_frames: int):
        if not isinstance(env, gymnasium.Env):
            raise TypeError(
                f"env: expected a single gymnasium.Env, got {type(env).__name__}. "
                "Fix: wrap the single environments, before they are put into a vector environment."
            )
        if not isinstance(num_frames, int) or isinstance(num_frames, bool) or num_frames < 1:
            raise TypeError(f"num_frames: expected a positive int, got {num_frames!r}. Fix: pass for instance 4.")
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Tuple((env.observation_space,) * num_frames)
        self._frames: deque[Any] = deque(maxlen=num_frames)

    @property
    def num_frames(self) -> int:
        """How many frames there are."""
        return len(self.observation_space.spaces)  # type: ignore[attr-defined]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[tuple, dict[str, Any]]:
        """Begin an episode, with the first frame in all places."""
        frame, info = self.env.reset(seed=seed, options=options)
        self._frames.extend([frame] * self.num_frames)
        return tuple(self._frames), info

    def step(self, action: Any) -> tuple[tuple, Any, bool, bool, dict[str, Any]]:
        """Take one step: its frame comes last, and the first one goes."""
        frame, r, terminated, truncated, info = self.env.step(action)
        self._frames.append(frame)
        return tuple(self._frames), r, terminated, truncated, info
