"""What functions of state and action have in common: two forms of forward pass, and all actions at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np

from ..value_transforms import as_value_transform
from ._action_mask import find_mask
from ._checks import STATE, STATE_ACTION, check_signature, check_space
from ._function import action_batch
from ._rule import FunctionRule, contract, spread

__all__ = ("StateAction", "state_action_rule")


def state_action_rule(
    owner: str,
    func: Any,
    env: Any,
    observation_preprocessor: Callable[..., Any] | None,
    action_preprocessor: Callable[..., Any] | None,
    value_transform: Any = None,
) -> FunctionRule:
    """The pure part of a function of state and action, of either type.

    Raises
    ------
    TypeError
        If a space is not a gymnasium space, `func` has another signature, or is of type 2 while the actions are not
        Discrete.
    ValueError
        If the mask of the environment does not fit the actions.
    """
    space = check_space(env, "observation_space", owner)
    actions = check_space(env, "action_space", owner)
    names = check_signature(func, (STATE_ACTION, STATE), owner)
    if names == STATE and not isinstance(actions, gymnasium.spaces.Discrete):
        raise TypeError(
            f"{owner}: expected a Discrete action space for func(S, is_training), got {actions}. "
            "Fix: use func(S, A, is_training)."
        )
    transform = as_value_transform(value_transform)
    mask = find_mask(env)
    rule = FunctionRule.shared(
        func, names, space, actions, observation_preprocessor, action_preprocessor, transform, mask
    )
    if mask is not None:
        mask.check_spaces(rule.raw_example, actions, owner)
    return rule


class StateAction:
    """Mixin of the functions of state and action; it has no state."""

    _forward: FunctionRule

    @property
    def action_space(self) -> gymnasium.Space:
        """Where the actions come from."""
        return self._forward.action_space  # type: ignore[return-value]

    @property
    def action_preprocessor(self) -> Callable[..., Any]:
        """``func(rng, A)`` on batches of actions."""
        return self._forward.act.func  # type: ignore[union-attr]

    @property
    def modeltype(self) -> int:
        """1 for a function of state and action, 2 for a function of the state with an output per action."""
        return self._forward.modeltype  # type: ignore[return-value]

    @property
    def function_type1(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S, A, is_training) -> (output, function_state)``, preprocessed inputs.

        Leaves of the output are [B, ...]. Of a type-2 function it takes actions as one-hot (or any weights) f32[B, A].
        """
        if self.modeltype == 1:
            return self._forward.function
        apply = self._forward.forward.apply

        def function(params: Any, function_state: Any, rng: Any, S: Any, A: jax.Array, is_training: bool) -> tuple:
            out, new = apply(params, function_state, rng, S, is_training=is_training)
            return contract(out, A), new

        return function

    @property
    def function_type2(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S, is_training) -> (output, function_state)``, preprocessed inputs.

        Leaves of the output are [B, A, ...].

        Raises
        ------
        ValueError
            If the actions are not Discrete.
        """
        self._require_discrete("function_type2")
        if self.modeltype == 2:
            return self._forward.function
        rule = self._forward
        apply = rule.forward.apply

        def function(params: Any, function_state: Any, rng: Any, S: Any, is_training: bool) -> tuple:
            table = rule.acted(rng, np.asarray(rule.action_table)) if rule.act.traceable else rule.action_table  # type: ignore[union-attr]
            new = function_state

            def one_batch(S: Any, A: Any) -> Any:
                nonlocal new
                out, new = apply(params, function_state, rng, S, A, is_training=is_training)
                return out

            return spread(one_batch, S, table, int(rule.action_space.n)), new  # type: ignore[union-attr]

        return function

    def _inputs(self, s: Any, a: Any, call: str) -> tuple[bool, tuple, tuple[int, ...]]:
        """Whether all actions are asked for, the batches S (and A), and the leading axes that came in."""
        S, lead = self._observations(s)  # type: ignore[attr-defined]
        if a is None:
            self._require_discrete(call)
            return True, (S,), lead
        return False, (S, action_batch(self, a, lead)), lead

    def _require_discrete(self, what: str) -> None:
        if not isinstance(self.action_space, gymnasium.spaces.Discrete):
            raise ValueError(
                f"{what}: expected a Discrete action space, got {self.action_space}. Fix: pass an action too: q(s, a)."
            )
