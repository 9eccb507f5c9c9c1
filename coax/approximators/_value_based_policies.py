"""Policies that act on the values of a q-function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Fixed, Number, Rng, draw_key
from .._sharing import Rule
from .._stateful import Stateful, check_like, collect, is_tracing
from ..proba_dists import CategoricalDist
from ..proba_dists._categorical import log_proba_of_index, mask_logits, sample_index
from ..typing import AbstractPolicy
from ..utils import argmax, is_qfunction
from ._action_mask import ActionMask
from ._function import like_input
from ._plan import Plan

__all__ = ("BoltzmannPolicy", "EpsilonGreedy", "boltzmann_logits", "epsilon_greedy_logits")


# --- pure functions ---------------------------------------------------------------------------------------------------


def epsilon_greedy_logits(q: jax.Array, epsilon: Any, mask: Any = None) -> jax.Array:
    """Log-probabilities f32[..., A] of acting greedily, and with probability epsilon at random.

    Tied best actions share the greedy mass equally. Only actions that the mask bool[..., A] allows count.

    References
    ----------
    Sutton and Barto (2018), section 2.2.
    """
    allowed = jnp.ones_like(q) if mask is None else mask.astype(q.dtype)
    q = q if mask is None else mask_logits(q, mask)
    best = (q == q.max(axis=-1, keepdims=True)).astype(q.dtype) * allowed
    greedy = best / best.sum(axis=-1, keepdims=True)
    random = allowed / allowed.sum(axis=-1, keepdims=True)
    logits = jnp.log((1 - epsilon) * greedy + epsilon * random + 1e-15)
    return logits if mask is None else mask_logits(logits, mask)


def boltzmann_logits(q: jax.Array, temperature: Any, mask: Any = None) -> jax.Array:
    """Unnormalised log-probabilities f32[..., A], proportional to the values; -inf where a mask bool[..., A] says so.

    References
    ----------
    Sutton and Barto (2018), section 13.1, equation 13.2 with preferences q / temperature.
    """
    return q / temperature if mask is None else mask_logits(q / temperature, mask)


# --- rule -------------------------------------------------------------------------------------------------------------


class ValueBasedRule(Rule):
    """How to act on the values of one kind of q-function.

    Parameters
    ----------
    logits : callable
        ``logits(q, number, mask) -> f32[B, A]``.
    number : str
        The entry of the state that holds the settable number.
    q : Plan
        How to put the q-function together from its states.
    start : int
        The first action.
    """

    def __init__(self, logits: Callable[..., Any], number: str, q: Plan, start: int):
        self.logits, self.number, self.q, self.start = logits, number, q, start
        self.uses_rng = q.rule.uses_rng
        self.sample = jax.jit(self._sample)
        self.sample_with_logp = jax.jit(self._sample_with_logp)
        self.greedy = jax.jit(self._greedy)
        self.describe = jax.jit(self._describe)

    def dist_params(self, number: Any, q: Any, S: Any) -> jax.Array:
        """Logits f32[B, A] for raw observations, of a q-function with its states filled in."""
        return self.logits(q.preferences(S), number, q.allowed(S))

    def _describe(self, number: Any, rng: Rng, q_states: Any, S: Any) -> jax.Array:
        own = jax.random.fold_in(rng.next_key, 1) if self.uses_rng else None
        return self.dist_params(number, self.q.bind(q_states, own), S)

    def _sample_with_logp(self, number: Any, rng: Rng, q_states: Any, S: Any) -> tuple[jax.Array, jax.Array]:
        logits = self._describe(number, rng, q_states, S)
        index = sample_index(logits, rng.next_key)
        return index + self.start, log_proba_of_index(logits, index)

    def _sample(self, *args: Any) -> jax.Array:
        return self._sample_with_logp(*args)[0]

    def _greedy(self, number: Any, rng: Rng, q_states: Any, S: Any) -> jax.Array:
        return argmax(rng.next_key, self._describe(number, rng, q_states, S)) + self.start

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> BoundPolicy:
        """The policy with the states of itself and its q-function filled in."""
        return BoundPolicy(self, state, parts[0])


class BoundPolicy(NamedTuple):
    """A value-based policy with its states filled in, inside a rule."""

    rule: ValueBasedRule
    state: dict[str, Any]
    q: Any

    def dist_params(self, S: Any) -> dict[str, jax.Array]:
        """``{'logits': f32[B, A]}``."""
        return {"logits": self.rule.dist_params(self.state[self.rule.number], self.q, S)}

    def probs(self, S: Any) -> jax.Array:
        """f32[B, A]."""
        return jax.nn.softmax(self.dist_params(S)["logits"])

    def allowed(self, S: Any) -> Any:
        """The mask of the actions, bool[B, A], or None."""
        return self.q.allowed(S)


# --- shells -----------------------------------------------------------------------------------------------------------


class ValueBasedPolicy(Stateful, AbstractPolicy):
    """Base of the policies that act on the values of a q-function, which they hold by reference."""

    rule = Fixed("_rule", "The pure functions that it compiles.", "policy")
    proba_dist = Fixed("_proba_dist", "The distribution of the actions.", "policy")
    q = Fixed("_q", "The q-function whose values it acts on.", "policy")

    def _set_up(self, q: Any, logits: Callable[..., Any], name: str, value: Any) -> None:
        owner = type(self).__name__
        if not is_qfunction(q):
            raise TypeError(f"{owner}: expected a q-function, got {type(q).__name__}. Fix: pass a coax.Q.")
        self._q = q
        space = q.action_space
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise TypeError(f"{owner}: expected a q-function of Discrete actions, got {space}. Fix: use a coax.Policy.")
        self._q_parts = collect(q)
        self._rule: ValueBasedRule = ValueBasedRule.shared(logits, name, Plan.of(q, self._q_parts), int(space.start))
        self._proba_dist = CategoricalDist(space)
        self._write({name: getattr(type(self), name).leaf(value, owner), "rng": Rng.seeded(q._child_seed())})

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The q-function."""
        return (self._q,)

    @property
    def observation_space(self) -> gymnasium.Space:
        """Where the observations come from."""
        return self._q.observation_space

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Where the actions come from."""
        return self._q.action_space

    @property
    def action_mask(self) -> ActionMask | None:
        """Where the observations say which actions are allowed, if the environment said so."""
        return self._q.action_mask

    @property
    def observation_preprocessor(self) -> Callable[..., Any]:
        """That of the q-function."""
        return self._q.observation_preprocessor

    @property
    def action_preprocessor(self) -> Callable[..., Any]:
        """That of the q-function."""
        return self._q.action_preprocessor

    def init(self, key: jax.Array) -> dict[str, Any]:
        """The present number, and a fresh random stream."""
        return {**self._peek_own(), "rng": Rng.seeded(key)}

    def _peek_own(self) -> dict[str, Any]:
        return {name: value for name, value in self._state.items() if name != "rng"}

    def __call__(self, s: Any, return_logp: bool = False) -> Any:
        """Sample an action for one observation, or for each in a batch with any leading axes.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        return_logp : bool, optional
            Return the log-probability of the action too.

        Returns
        -------
        a : int, or i64[...]
            A Python int for a single observation, else a NumPy array; inside a trace a jax array.
        logp : f32[...]
            Only with `return_logp`.
        """
        args, lead = self._inputs(s)
        if return_logp:
            action, logp = self._rule.sample_with_logp(*args)
            return self._clean(action, lead), like_input(logp, lead)
        return self._clean(self._rule.sample(*args), lead)

    def mode(self, s: Any) -> Any:
        """The most likely action, ties broken at random. Shapes as for a call."""
        args, lead = self._inputs(s)
        return self._clean(self._rule.greedy(*args), lead)

    def mean(self, s: Any) -> Any:
        """The same as :meth:`mode`: actions have no mean."""
        return self.mode(s)

    def dist_params(self, s: Any) -> dict[str, Any]:
        """The logits of the actions, ``{'logits': f32[..., A]}``."""
        args, lead = self._inputs(s)
        return {"logits": like_input(self._rule.describe(*args), lead)}

    def _inputs(self, s: Any) -> tuple[tuple, tuple[int, ...]]:
        S, lead = self._q._observations(s)
        mask = self.action_mask
        if mask is not None:
            mask.check_batch(S, self.action_space)
        state = self._draw_rng()
        # the keys of all come from this stream: an input that nothing uses still costs time
        parts = [{name: x for name, x in part._peek().items() if name != "rng"} for part in self._q_parts]
        return (state[self._rule.number], state["rng"], parts, S), lead

    def _clean(self, action: jax.Array, lead: tuple[int, ...]) -> Any:
        if is_tracing():
            return action.reshape(lead)
        host = np.asarray(action)
        return host.item() if lead == () else host.astype(self.action_space.dtype).reshape(lead)

    # --- what scripts for 0.1.13 use; the pure functions see preprocessed observations, so they know no mask

    @property
    def rng(self) -> jax.Array:
        """A fresh key. Every read gives another one; nothing inside coax reads it."""
        return draw_key(self)

    @property
    def params(self) -> dict[str, Any]:
        """The settable number and the parameters of the q-function, ``{number: f32[], 'q': params}``."""
        return {self._rule.number: self._peek()[self._rule.number], "q": self._q.params}

    @params.setter
    def params(self, new: Any) -> None:
        state = self._peek()
        old = {self._rule.number: state[self._rule.number], "q": self._q._peek()["params"]}
        new = check_like(f"{type(self).__name__}.params", old, dict(new))
        self._q.params = new["q"]
        self._write({**state, self._rule.number: new[self._rule.number]})

    @property
    def function_state(self) -> Any:
        """That of the q-function."""
        return self._q.function_state

    @function_state.setter
    def function_state(self, new: Any) -> None:
        self._q.function_state = new

    @property
    def function(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S, is_training) -> ({'logits': f32[B, A]}, None)``, preprocessed S.

        A mask lies in raw observations: this function, and those below, leave it out.
        """
        apply, rule, q_rule = self._q.function_type2, self._rule, self._q.rule

        def function(params: Any, function_state: Any, rng: Any, S: Any, is_training: bool) -> tuple[dict, None]:
            out, _ = apply(params["q"], function_state, rng, S, is_training)
            return {"logits": rule.logits(q_rule.preferences(out), params[rule.number])}, None

        return function

    @property
    def sample_func(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> (X, logP)``: one-hot f32[B, A] and f32[B], preprocessed S."""
        function, n = self.function, int(self.action_space.n)

        def sample_func(params: Any, function_state: Any, rng: Any, S: Any) -> tuple[jax.Array, jax.Array]:
            own, draw = jax.random.split(rng)
            logits = function(params, function_state, own, S, False)[0]["logits"]
            index = sample_index(logits, draw)
            return jax.nn.one_hot(index, n), log_proba_of_index(logits, index)

        return sample_func

    @property
    def mean_func(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> f32[B, A]``: probabilities, preprocessed S."""
        return self._through(self.proba_dist.mean)

    @property
    def mode_func(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> f32[B, A]``: a soft one-hot, preprocessed S."""
        return self._through(self.proba_dist.mode)

    def _through(self, statistic: Callable[..., Any]) -> Callable[..., Any]:
        function = self.function
        return lambda params, function_state, rng, S: statistic(function(params, function_state, rng, S, False)[0])


class EpsilonGreedy(ValueBasedPolicy):
    """Act greedily on the values of a q-function; with probability epsilon at random.

    Parameters
    ----------
    q : coax.Q
        Held by reference: what it learns changes the policy at once. Its actions are Discrete.
        The random stream of the policy follows from its seed; another policy on it has another stream.
    epsilon : float, optional
        Probability of a random action. May be set at any time (``pi.epsilon = 0.05``); nothing is compiled again.

    Raises
    ------
    TypeError
        If `q` is not a q-function of Discrete actions.

    References
    ----------
    Sutton and Barto (2018), section 2.2.
    """

    epsilon = Number(0, 1)

    def __init__(self, q: Any, epsilon: float = 0.1):
        self._set_up(q, epsilon_greedy_logits, "epsilon", epsilon)


class BoltzmannPolicy(ValueBasedPolicy):
    """Act with probabilities proportional to the exponential of the values of a q-function.

    Parameters
    ----------
    q : coax.Q
        Held by reference: what it learns changes the policy at once. Its actions are Discrete.
        The random stream of the policy follows from its seed; another policy on it has another stream.
    temperature : float, optional
        In the units of the raw output of `q`: small is greedy, large is random. May be set at any time
        (``pi.temperature = 0.1``); nothing is compiled again.

    Raises
    ------
    TypeError
        If `q` is not a q-function of Discrete actions.

    References
    ----------
    Sutton and Barto (2018), section 13.1.
    """

    temperature = Number(0, exclusive=True)

    def __init__(self, q: Any, temperature: float = 0.02):
        self._set_up(q, boltzmann_logits, "temperature", temperature)
