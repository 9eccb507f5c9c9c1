"""State-action value functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..typing import AbstractQ
from ._checks import check_array_output
from ._example_data import ModelTypes, array_output, state_action_examples
from ._function import Function, like_input
from ._rule import FunctionRule
from ._state_action import StateAction, state_action_rule

__all__ = ("Q",)


class Q(Function, StateAction, AbstractQ):
    r"""A state-action value function :math:`q_\theta(s, a)`.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        Type 1: ``func(S, A, is_training) -> f32[B]``. Type 2, for Discrete actions: ``func(S, is_training) ->
        f32[B, A]``. A Haiku function of preprocessed observations and actions; or one of the other forms that
        :class:`coax.V` takes, with the same arguments. See :meth:`example_data`.
    env : gymnasium.Env, or anything with ``observation_space`` and ``action_space``
        Where observations and actions come from. If it says where a mask of allowed actions lies
        (:class:`coax.wrappers.ActionMasking`), what is made of q leaves out the others; ``q(s)`` itself does not.
    observation_preprocessor, action_preprocessor : callable, optional
        ``func(rng, X)`` from raw elements to what `func` sees. Default: those of the spaces (Discrete: one-hot).
    value_transform : ValueTransform or pair of callables, optional
        The output of `func` lives in the transformed space; ``q(s, a)`` transforms back.
    random_seed : int or key[], optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If a space is not a gymnasium space, `func` has another signature, output shape or dtype, or is of type 2 while
        the actions are not Discrete.
    ValueError
        If the mask of the environment does not fit the actions.

    Examples
    --------
    >>> def func(S, is_training):
    ...     return hk.Linear(env.action_space.n, w_init=jnp.zeros)(S)
    >>> q = coax.Q(func, env)
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
        self._set_up(scalar_rule("Q", func, env, *preprocessors, value_transform), random_seed)

    def __call__(self, s: Any, a: Any = None) -> np.ndarray:
        """The value of an action, or of all actions; for one observation or a batch with any leading axes.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        a : action, or pytree of arrays [..., *act], optional
            With the leading axes of `s`. Left out (Discrete actions only): all of them.

        Returns
        -------
        f32[...] with `a`, f32[..., A] without
            A NumPy array; inside a trace a jax array.

        Raises
        ------
        ValueError
            If the actions are not Discrete and `a` is left out, or shapes do not fit the spaces.
        """
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


def scalar_rule(
    owner: str,
    func: Any,
    env: Any,
    observation_preprocessor: Callable[..., Any] | None,
    action_preprocessor: Callable[..., Any] | None,
    value_transform: Any,
) -> FunctionRule:
    """The rule of a function of state and action with one number as output."""
    rule = state_action_rule(owner, func, env, observation_preprocessor, action_preprocessor, value_transform)
    shape = (1,) if rule.modeltype == 1 else (1, int(rule.action_space.n))  # type: ignore[union-attr]
    fix = "return one number per row" if rule.modeltype == 1 else "return one number per row and action"
    check_array_output(rule.output, shape, owner, fix)
    return rule


def call_scalar(function: Any, s: Any, a: Any) -> np.ndarray:
    """The output at observations (and actions, or at all actions), back in the original space."""
    state = function._peek()
    everywhere, batches, lead = function._inputs(s, a, "q(s)")
    compiled = function._forward.call_all if everywhere else function._forward.call_at
    return like_input(compiled(state["params"], state["function_state"], function._draw(state), *batches), lead)
