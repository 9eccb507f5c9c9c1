"""State-action value functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np

from ..typing import AbstractQ
from ..value_transforms import as_value_transform
from ._checks import STATE, STATE_ACTION, check_array_output, check_signature, check_space
from ._function import Function, action_batch, like_input
from ._rule import FunctionRule, contract, spread

__all__ = ("Q",)


class Q(Function, AbstractQ):
    r"""A state-action value function :math:`q_\theta(s, a)`.

    Parameters
    ----------
    func : callable
        Type 1: ``func(S, A, is_training) -> f32[B]``. Type 2, for Discrete actions: ``func(S, is_training) ->
        f32[B, A]``. A Haiku function of preprocessed observations and actions.
    env : gymnasium.Env, or anything with ``observation_space`` and ``action_space``
        Where observations and actions come from.
    observation_preprocessor, action_preprocessor : callable, optional
        ``func(rng, X)`` from raw elements to what `func` sees. Default: those of the spaces (Discrete: one-hot).
    value_transform : ValueTransform or pair of callables, optional
        The output of `func` lives in the transformed space; ``q(s, a)`` transforms back.
    random_seed : int, optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If a space is not a gymnasium space, `func` has another signature, output shape or dtype, or is of type 2 while
        the actions are not Discrete.

    Examples
    --------
    >>> def func(S, is_training):
    ...     return hk.Linear(env.action_space.n, w_init=jnp.zeros)(S)
    >>> q = coax.Q(func, env)
    """

    def __init__(
        self,
        func: Callable,
        env: Any,
        observation_preprocessor: Callable | None = None,
        action_preprocessor: Callable | None = None,
        value_transform: Any = None,
        random_seed: int | None = None,
    ):
        space = check_space(env, "observation_space", "Q")
        actions = check_space(env, "action_space", "Q")
        names = check_signature(func, (STATE_ACTION, STATE), "Q")
        if names == STATE and not isinstance(actions, gymnasium.spaces.Discrete):
            raise TypeError(
                f"Q: expected a Discrete action space for func(S, is_training), got {actions}. "
                "Fix: use func(S, A, is_training)."
            )
        rule = FunctionRule.shared(
            func,
            names,
            space,
            actions,
            observation_preprocessor,
            action_preprocessor,
            as_value_transform(value_transform),
        )
        shape = (1,) if rule.modeltype == 1 else (1, int(actions.n))  # type: ignore[attr-defined]
        fix = "return one number per row" if rule.modeltype == 1 else "return one number per row and action"
        check_array_output(rule.output, shape, "Q", fix)
        self._set_up(rule, random_seed)

    @property
    def action_space(self) -> gymnasium.Space:
        """Where the actions come from."""
        return self.rule.action_space  # type: ignore[return-value]

    @property
    def action_preprocessor(self) -> Callable:
        """``func(rng, A)`` on batches of actions."""
        return self.rule.act.func  # type: ignore[union-attr]

    @property
    def modeltype(self) -> int:
        """1 for a function of state and action, 2 for a function of the state with an output per action."""
        return self.rule.modeltype  # type: ignore[return-value]

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
        state = self._peek()
        S, lead = self._observations(s)
        if a is None:
            self._check_discrete("q(s)")
            out = self.rule.call_all(state["params"], state["function_state"], self._draw(state), S)
        else:
            A = action_batch(self, a, lead)
            out = self.rule.call_at(state["params"], state["function_state"], self._draw(state), S, A)
        return like_input(out, lead)

    @property
    def function_type1(self) -> Callable:
        """``(params, function_state, rng, S, A, is_training) -> (f32[B], function_state)``, preprocessed inputs.

        Of a type-2 function it takes actions as one-hot (or any weights) f32[B, A].
        """
        if self.modeltype == 1:
            return self.function
        apply = self.rule.forward.apply

        def function(params: Any, function_state: Any, rng: Any, S: Any, A: jax.Array, is_training: bool) -> tuple:
            out, new = apply(params, function_state, rng, S, is_training=is_training)
            return contract(out, A), new

        return function

    @property
    def function_type2(self) -> Callable:
        """``(params, function_state, rng, S, is_training) -> (f32[B, A], function_state)``, preprocessed inputs.

        Raises
        ------
        ValueError
            If the actions are not Discrete.
        """
        self._check_discrete("function_type2")
        if self.modeltype == 2:
            return self.function
        apply, rule = self.rule.forward.apply, self.rule

        def function(params: Any, function_state: Any, rng: Any, S: Any, is_training: bool) -> tuple:
            table = rule.acted(rng, np.asarray(rule.action_table)) if rule.act.traceable else rule.action_table  # type: ignore[union-attr]
            new = function_state

            def one_batch(S: Any, A: Any) -> Any:
                nonlocal new
                out, new = apply(params, function_state, rng, S, A, is_training=is_training)
                return out

            return spread(one_batch, S, table, int(rule.action_space.n)), new  # type: ignore[union-attr]

        return function

    def _check_discrete(self, what: str) -> None:
        if not isinstance(self.action_space, gymnasium.spaces.Discrete):
            raise ValueError(
                f"{what}: expected a Discrete action space, got {self.action_space}. Fix: pass an action too: q(s, a)."
            )
