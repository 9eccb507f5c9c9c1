"""Where an observation says which actions are allowed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import gymnasium
import jax

from .._stateful import is_tracing
from ..proba_dists import ProbaDist, check_mask
from ..utils import get_env_attr, single_space
from ._preprocessing import Prepared

__all__ = ("ActionMask", "find_mask")


class ActionMask:
    """Where the mask of allowed actions lies in an observation.

    An environment with one as its attribute ``action_mask``, such as :class:`coax.wrappers.ActionMasking`, says so to
    every function and policy that is made from it. From then on, actions that the mask excludes are never drawn, have
    probability 0 and are left out of maxima and expectations, and no call needs another argument.

    Parameters
    ----------
    where : key, index, tuple of these, or callable
        The way into the observation: ``"action_mask"`` for ``observation["action_mask"]``, ``(1, "legal")`` for
        ``observation[1]["legal"]``. Or a pure function of a batch of observations, leaves [B, *obs], written with
        ``jax.numpy``: it becomes a part of compiled functions.

    Notes
    -----
    The mask is a boolean (or 0 and 1) array [..., A], True for allowed actions. For MultiDiscrete and MultiBinary
    actions the masks of all entries lie side by side, [..., n_1 + n_2 + ...]; for Tuple and Dict actions it is a tuple
    or dict of masks, with None for parts without choices.

    Examples
    --------
    >>> mask = coax.ActionMask("action_mask")
    >>> mask({"observation": 3, "action_mask": np.array([True, False])})
    array([ True, False])
    """

    def __init__(self, where: Hashable | Callable[[Any], Any]):
        self._where = where
        self._path = None if callable(where) else where if isinstance(where, tuple) else (where,)

    @property
    def where(self) -> Any:
        """The way into the observation, or the function of it."""
        return self._where

    def __call__(self, S: Any) -> Any:
        """The mask of an observation, or of a batch of them."""
        if self._path is None:
            return self._where(S)  # type: ignore[operator]
        for i, step in enumerate(self._path):
            try:
                S = S[step]
            except (KeyError, IndexError, TypeError) as err:
                raise ValueError(
                    f"{self}: expected the observation to have a part {list(self._path[: i + 1])}, got {_kind(S)}. "
                    "Fix: name the way into the observations that the outermost wrapper returns."
                ) from err
        return S

    def check_spaces(self, observation: Any, action_space: gymnasium.Space, owner: str) -> None:
        """Whether the mask of (batches of) observations fits the actions.

        Raises
        ------
        ValueError
            If there is no mask, or it has another length or structure.
        """
        found = jax.eval_shape(self, observation)
        dist = ProbaDist(action_space)
        try:
            jax.eval_shape(dist.masked, dist.default_priors, found)
        except ValueError as err:
            raise ValueError(f"{owner}: the mask at {self} does not fit the actions {action_space}: {err}") from None

    def check_batch(self, batch: Any, action_space: gymnasium.Space) -> None:
        """Whether every observation of a batch that a policy is to act on allows an action."""
        if not is_tracing():
            self.check_values(batch.raw if isinstance(batch, Prepared) else batch, action_space)

    def check_values(self, observation: Any, action_space: gymnasium.Space, rows: Any = None) -> None:
        """Whether every observation (of those in `rows`, bool[B]) allows an action, as far as values are known.

        Raises
        ------
        ValueError
            If one does not.
        """
        check_mask("action_mask", self(observation), action_space, rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActionMask) and self._where == other._where

    def __hash__(self) -> int:
        return hash((ActionMask, self._where))

    def __repr__(self) -> str:
        return f"ActionMask({self._where!r})"


def find_mask(env: Any) -> ActionMask | None:
    """What an environment says about its mask, if anything."""
    for owner in (env, single_space(env, "observation_space")):  # a vector environment has the spaces of single ones
        found = get_env_attr(owner, "action_mask", None)
        if isinstance(found, ActionMask):  # other attributes of this name mean something else
            return found
    return None


def _kind(S: Any) -> str:
    return f"a dict with the keys {list(S)}" if isinstance(S, dict) else f"{type(S).__name__}"
