"""Models of the reward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..typing import AbstractQ, AbstractRewardFunction
from ._example_data import ModelTypes, array_output, state_action_examples
from ._function import Function
from ._q import call_scalar, scalar_rule
from ._state_action import StateAction

__all__ = ("RewardFunction",)


class RewardFunction(Function, StateAction, AbstractQ, AbstractRewardFunction):
    r"""A model of the expected reward, :math:`r_\theta(s, a)`. It has the form of a :class:`coax.Q`.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        Type 1: ``func(S, A, is_training) -> f32[B]``. Type 2, for Discrete actions: ``func(S, is_training) ->
        f32[B, A]``. See :meth:`example_data`.
    env, observation_preprocessor, action_preprocessor, value_transform, random_seed
        As for :class:`coax.Q`.

    Raises
    ------
    TypeError
        As for :class:`coax.Q`.

    Examples
    --------
    >>> def func(S, is_training):
    ...     return hk.Linear(env.action_space.n, w_init=jnp.zeros)(S)
    >>> r = coax.RewardFunction(func, env)
    """

    def __init__(
        self,
        func: Any,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        action_preprocessor: Callable[..., Any] | None = None,
        value_transform: Any = None,
        random_seed: Any = None,
    ):
        preprocessors = observation_preprocessor, action_preprocessor
        self._set_up(scalar_rule("RewardFunction", func, env, *preprocessors, value_transform), random_seed)

    def __call__(self, s: Any, a: Any = None) -> np.ndarray:
        """The expected reward of an action, or of all (Discrete) actions: shapes as for :class:`coax.Q`."""
        return call_scalar(self, s, a)

    @classmethod
    def example_data(
        cls,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        action_preprocessor: Callable[..., Any] | None = None,
        batch_size: int = 1,
        random_seed: Any = None,
    ) -> ModelTypes:
        """What the two types of `func` receive and must return: see :class:`coax.approximators.ExampleData`."""
        preprocessors = observation_preprocessor, action_preprocessor
        return state_action_examples(cls, env, *preprocessors, array_output, batch_size, random_seed)
