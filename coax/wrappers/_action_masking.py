"""An environment that says which of its actions are allowed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ..approximators import ActionMask

__all__ = ("ActionMasking",)


class ActionMasking(gymnasium.Wrapper):
    """Say once where the mask of allowed actions lies.

    Every function and policy that is made from the wrapped environment then leaves out the other actions: they have
    probability 0, and are not among those that a maximum or an expectation is taken over.

    Parameters
    ----------
    env : gymnasium.Env
        The environment. Wrappers that change observations go inside of this one. Vector environments are made of
        environments in this wrapper.
    info : key, optional
        The mask is ``info[key]`` of ``reset`` and ``step``. It becomes a part of the observation, so that it goes
        wherever the observation goes: observations are then ``{'observation': ..., 'action_mask': i8[A]}``.
    observation : key, index, tuple of these, or callable, optional
        The mask is a part of the observation already: see :class:`coax.ActionMask`. Observations stay as they are.

    Raises
    ------
    TypeError
        If not exactly one of `info` and `observation` is given, or with `info` the actions are not Discrete,
        MultiDiscrete or MultiBinary; or if `env` is no single environment.
    ValueError
        From ``reset`` and ``step``, if there is no mask in the info, or one that does not fit. After a step that
        terminated an episode there need not be one.

    Notes
    -----
    The mask of MultiDiscrete or MultiBinary actions has the masks of all entries side by side.

    Examples
    --------
    >>> env = coax.wrappers.ActionMasking(gymnasium.make("Taxi-v4"), info="action_mask")
    >>> s, info = env.reset(seed=13)
    >>> sorted(s)
    ['action_mask', 'observation']
    """

    def __init__(
        self,
        env: gymnasium.Env,
        *,
        info: Hashable = None,
        observation: Hashable | Callable[[Any], Any] = None,
    ):
        if (info is None) == (observation is None):
            raise TypeError(
                f"ActionMasking: expected one of info and observation, got info={info!r}, observation={observation!r}. "
                "Fix: say where the mask lies, e.g. info='action_mask'."
            )
        if not isinstance(env, gymnasium.Env):
            raise TypeError(
                f"env: expected a single gymnasium.Env, got {type(env).__name__}. "
                "Fix: wrap the single environments, before they are put into a vector environment."
            )
        super().__init__(env)
        self._key = info
        self._action_mask = ActionMask("action_mask" if observation is None else observation)
        if info is not None:
            self._n = _count(env.action_space)
            parts = {"observation": env.observation_space, "action_mask": spaces.MultiBinary(self._n)}
            self.observation_space = spaces.Dict(parts)
        else:
            self.observation_space = copy.copy(env.observation_space)
        # A vector environment has no such attribute, but the very spaces of the environments that it is made of.
        self.observation_space.action_mask = self._action_mask  # type: ignore

    @property
    def action_mask(self) -> ActionMask:
        """Where the observations say which actions are allowed."""
        return self._action_mask

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        s, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(s, info), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        s_next, r, terminated, truncated, info = self.env.step(action)
        return self._with_mask(s_next, info, bool(terminated)), r, terminated, truncated, info

    def _with_mask(self, s: Any, info: Mapping[str, Any], terminated: bool = False) -> Any:
        if self._key is None:
            return s
        if self._key in info:
            mask = info[self._key]  # type: ignore[index]
        elif terminated:  # nothing is left to do, and no learner looks at what could be done
            mask = np.ones(self._n, np.int8)
        else:
            raise ValueError(
                f"ActionMasking: expected info[{self._key!r}], got the keys {list(info)}. "
                "Fix: name the key under which the environment gives its mask."
            )
        if isinstance(mask, tuple | list) and any(np.ndim(part) for part in mask):
            mask = np.concatenate([np.ravel(part) for part in mask])
        mask = np.ravel(mask)
        if mask.shape != (self._n,):
            raise ValueError(
                f"ActionMasking: expected info[{self._key!r}] to have {self._n} entries, one per action of "
                f"{self.action_space}, got {mask.size}. Fix: give one boolean per action, of all entries side by side."
            )
        if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"ActionMasking: expected info[{self._key!r}] to hold True and False, or 1 and 0, got values from "
                f"{mask.min()} to {mask.max()}. Fix: turn it into booleans, True for allowed actions."
            )
        if terminated and not mask.any():
            mask = np.ones(self._n, np.int8)
        return {"observation": s, "action_mask": mask.astype(np.int8)}


def _count(space: gymnasium.Space) -> int:
    """How many entries a mask has."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.MultiBinary):
        return 2 * int(np.prod(space.shape))
    raise TypeError(
        "ActionMasking: expected Discrete, MultiDiscrete or MultiBinary actions for a mask from the info, "
        f"got {space}. Fix: put the mask into the observation, and pass observation=..."
    )
