"""State-action values from a model of the environment and a state-value function."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np

from .._entries import Fixed, Number, Rng, draw_key
from .._sharing import Rule
from .._stateful import Stateful
from ..typing import AbstractQ, AbstractRewardFunction, AbstractTransitionModel, AbstractV
from ..utils import check_preprocessors, space_key
from ..value_transforms import ValueTransform
from ._action_mask import ActionMask
from ._function import Function, action_batch, flat_batch, like_input
from ._plan import Plan
from ._preprocessing import prepare

__all__ = ("SuccessorStateQ",)


class SuccessorRule(Rule):
    """How to look one step ahead, in pure functions of the states of all involved.

    Parameters
    ----------
    v, p, r : Plan
        How to put the three functions together from their states.
    transform : ValueTransform
        That of v.
    """

    def __init__(self, v: Plan, p: Plan, r: Plan, transform: ValueTransform):
        self.v, self.p, self.r, self.value_transform = v, p, r, transform
        self.uses_rng = any(plan.rule.uses_rng for plan in (v, p, r))
        self.call_at = jax.jit(self._call_at)
        self.call_all = jax.jit(self._call_all)

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> BoundSuccessor:
        """The function with the states of itself and of the three filled in."""
        return BoundSuccessor(self, state["gamma"], *parts)

    def bind_all(self, gamma: Any, states: Sequence[Any], key: Any) -> BoundSuccessor:
        """The same from the states of the three alone."""
        return BoundSuccessor(self, gamma, *(plan.bind(states, key) for plan in (self.v, self.p, self.r)))

    def preferences(self, out: jax.Array) -> jax.Array:
        """What value-based policies compare, of outputs [..., A]: the outputs."""
        return out

    def _call_at(self, gamma: Any, states: Sequence[Any], rng: Rng | None, S: Any, A: Any) -> jax.Array:
        return self.bind_all(gamma, states, None if rng is None else rng.next_key).value(S, A)

    def _call_all(self, gamma: Any, states: Sequence[Any], rng: Rng | None, S: Any) -> jax.Array:
        return self.bind_all(gamma, states, None if rng is None else rng.next_key).values(S)


class BoundSuccessor(NamedTuple):
    """The one-step look-ahead with all states filled in."""

    rule: SuccessorRule
    gamma: Any
    v: Any
    p: Any
    r: Any

    def value(self, S: Any, A: Any) -> jax.Array:
        """f32[B]."""
        return self.r.value(S, A) + self.gamma * self.v.value_of_inputs(self.p.center(S, A))

    def values(self, S: Any) -> jax.Array:
        """f32[B, A]."""
        reward, X = self.r.values(S), self.p.centers(S)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), X)
        return reward + self.gamma * self.v.value_of_inputs(flat).reshape(reward.shape)

    def outcome(self, S: Any, A: Any) -> Any:
        """What TD targets bootstrap from, f32[B]."""
        return self.value(S, A)

    def outcomes(self, S: Any) -> Any:
        """The same for every action, f32[B, A]."""
        return self.values(S)

    def preferences(self, S: Any) -> jax.Array:
        """What value-based policies compare, f32[B, A]: values in the transformed space, as of any q-function."""
        return self.rule.value_transform.transform_func(self.values(S))

    def allowed(self, S: Any) -> Any:
        """The mask of the actions, bool[B, A], or None."""
        return self.p.allowed(S)


class SuccessorStateQ(Stateful, AbstractQ):
    r"""A state-action value function that looks one step ahead: :math:`q(s, a) = r(s, a) + \gamma\,v(s')`.

    The next state is that of a transition model, :math:`s' = p(s, a)`. Of stochastic functions the mean is taken; the
    mean of next states is one of what v sees, so for Discrete observations v sees their probabilities.

    Parameters
    ----------
    v : coax.V or coax.StochasticV
        The value of the next state.
    p : coax.TransitionModel or coax.StochasticTransitionModel
        The next state.
    r : coax.RewardFunction or coax.StochasticRewardFunction
        The expected reward.
    gamma : float, optional
        The discount in [0, 1]. May be set at any time; nothing is compiled again.

    Raises
    ------
    TypeError
        If one of the three plays another role.
    ValueError
        If they were made for other spaces.

    Warns
    -----
    UserWarning
        If v or r sees observations in another way than p. Make all of them with
        ``observation_preprocessor=p.observation_preprocessor``.

    Notes
    -----
    It holds the three by reference: what they learn changes it at once. Its own state is ``gamma`` and ``rng``.

    Examples
    --------
    >>> p = coax.TransitionModel(func_p, env)
    >>> v = coax.V(func_v, env, observation_preprocessor=p.observation_preprocessor)
    >>> r = coax.RewardFunction(func_r, env, observation_preprocessor=p.observation_preprocessor)
    >>> q = coax.SuccessorStateQ(v, p, r, gamma=0.9)
    """

    gamma = Number(0, 1)
    rule = Fixed("_rule", "The pure functions that it compiles.", "SuccessorStateQ")
    v = Fixed("_v", "The value function of the next state.", "SuccessorStateQ")
    p = Fixed("_p", "The transition model.", "SuccessorStateQ")
    r = Fixed("_r", "The reward function.", "SuccessorStateQ")

    def __init__(self, v: Any, p: Any, r: Any, gamma: float = 0.9):
        roles = ((v, AbstractV, "v", "V"), (p, AbstractTransitionModel, "p", "TransitionModel"))
        for obj, role, name, noun in (*roles, (r, AbstractRewardFunction, "r", "RewardFunction")):
            if not (isinstance(obj, role) and isinstance(obj, Function)):
                raise TypeError(
                    f"SuccessorStateQ: expected {name} to be a coax.{noun} or its stochastic form, "
                    f"got {type(obj).__name__}. Fix: pass them in the order v, p, r."
                )
        self._v, self._p, self._r = v, p, r
        for name, obj in (("v", v), ("r", r)):
            for attribute in ("observation_space", "action_space"):
                want, got = getattr(p, attribute), getattr(obj, attribute, None)
                if got is not None and space_key(want) != space_key(got):
                    raise ValueError(
                        f"SuccessorStateQ: expected {name} to have the {attribute} of p, {want}, got {got}. "
                        "Fix: make all three from the same environment."
                    )
        if p.action_mask != r.action_mask:
            raise ValueError(
                f"SuccessorStateQ: expected r to have the action_mask of p, {p.action_mask}, got {r.action_mask}. "
                "Fix: make all three from the same environment."
            )
        views = v.observation_preprocessor, r.observation_preprocessor, p.observation_preprocessor
        if not check_preprocessors(p.observation_space, *views, random_seed=0):
            warnings.warn(
                "SuccessorStateQ: v, p and r preprocess observations in different ways, so v does not understand the "
                "next states of p. Fix: make v and r with observation_preprocessor=p.observation_preprocessor.",
                UserWarning,
                stacklevel=2,
            )
        objs = self.children
        plans = [Plan.of(obj, objs) for obj in objs]
        self._rule: SuccessorRule = SuccessorRule.shared(*plans, v.value_transform)
        self._write({"gamma": type(self).gamma.leaf(gamma, "SuccessorStateQ"), "rng": Rng.seeded(v._child_seed())})

    @property
    def children(self) -> tuple[Any, ...]:
        """v, p and r."""
        return self._v, self._p, self._r

    def init(self, key: jax.Array) -> dict[str, Any]:
        """The present discount, and a fresh random stream."""
        return {"gamma": self._state["gamma"], "rng": Rng.seeded(key)}

    def __call__(self, s: Any, a: Any = None) -> np.ndarray:
        """The value of an action, or of all (Discrete) actions: shapes as for :class:`coax.Q`."""
        S, lead = self._observations(s)
        draws = self._rule.uses_rng
        state = self._draw_rng() if draws else self._peek()
        rng = state["rng"] if draws else None
        states = [{name: x for name, x in obj._peek().items() if name != "rng"} for obj in self.children]
        if a is None:
            self._p._require_discrete("q(s)")
            return like_input(self._rule.call_all(state["gamma"], states, rng, S), lead)
        A = action_batch(self._p, a, lead, (self._p._forward.act, self._r._forward.act))
        return like_input(self._rule.call_at(state["gamma"], states, rng, S, A), lead)

    def _observations(self, s: Any) -> tuple[Any, tuple[int, ...]]:
        batch, lead = flat_batch(*self._p._cast_observation(s))
        return prepare(batch, (self._p._forward.observe, self._r._forward.observe)), lead

    def _child_seed(self) -> int:
        """Another seed each time, for an object that is built on it."""
        return self._v._child_seed()

    # --- views

    @property
    def observation_space(self) -> gymnasium.Space:
        """Where the observations come from."""
        return self._p.observation_space

    @property
    def action_space(self) -> gymnasium.Space:
        """Where the actions come from."""
        return self._p.action_space

    @property
    def action_mask(self) -> ActionMask | None:
        """Where the observations say which actions are allowed, if the environment said so."""
        return self._p.action_mask

    @property
    def observation_preprocessor(self) -> Callable[..., Any]:
        """That of p."""
        return self._p.observation_preprocessor

    @property
    def observation_postprocessor(self) -> Callable[..., Any]:
        """That of p."""
        return self._p.observation_postprocessor

    @property
    def action_preprocessor(self) -> Callable[..., Any]:
        """That of p."""
        return self._p.action_preprocessor

    @property
    def value_transform(self) -> ValueTransform:
        """That of v."""
        return self._v.value_transform

    @property
    def rng(self) -> jax.Array:
        """A fresh key. Every read gives another one; nothing inside coax reads it."""
        return draw_key(self)

    @property
    def params(self) -> dict[str, Any]:
        """``{'v', 'p', 'r': their parameters, 'gamma': f32[]}``; to be read, not set."""
        return {"v": self._v.params, "p": self._p.params, "r": self._r.params, "gamma": self._peek()["gamma"]}

    @property
    def function_state(self) -> dict[str, Any]:
        """``{'v', 'p', 'r': their function states}``; to be read, not set."""
        return {"v": self._v.function_state, "p": self._p.function_state, "r": self._r.function_state}

    @property
    def function_type1(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S, A, is_training) -> (f32[B], function_state)``, preprocessed inputs.

        The output is in the transformed space of v.
        """
        return self._look_ahead(self._p.function_type1, self._r.function_type1)

    @property
    def function_type2(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S, is_training) -> (f32[B, A], function_state)``, preprocessed inputs.

        The output is in the transformed space of v.

        Raises
        ------
        ValueError
            If the actions are not Discrete.
        """
        return self._look_ahead(self._p.function_type2, self._r.function_type2)

    def _look_ahead(self, p: Callable[..., Any], r: Callable[..., Any]) -> Callable[..., Any]:
        rule = self._rule
        v_rule, p_rule, r_rule = rule.v.rule, rule.p.rule, rule.r.rule
        v = self._v.function

        def function(params: Any, function_state: Any, rng: Any, *inputs: Any) -> tuple[jax.Array, Any]:
            reward = r_rule.expected(r(params["r"], function_state["r"], rng, *inputs)[0])
            X = p_rule.center(p(params["p"], function_state["p"], rng, *inputs)[0])
            n = reward.ndim
            flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[n:]), X)
            value = v_rule.expected(v(params["v"], function_state["v"], rng, flat, False)[0])
            total = reward + params["gamma"] * value.reshape(reward.shape)
            return rule.value_transform.transform_func(total), function_state

        return function
