"""The pure functions of one forward pass: fixed at construction, of states and arrays alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Rng, key_of_seed
from .._sharing import Rule
from ..utils import safe_sample
from ..value_transforms import ValueTransform
from ._action_mask import ActionMask
from ._checks import STATE, STATE_ACTION
from ._forward import as_forward
from ._preprocessing import Prepared, Preprocessor, prepare

__all__ = ("Bound", "FunctionRule")


class FunctionRule(Rule):
    """What a forward-pass function means, in pure functions of its state.

    Batches here have one leading axis B and hold raw elements of the spaces.

    Parameters
    ----------
    func : callable or pair
        ``func(S, is_training)`` or ``func(S, A, is_training)``: see :func:`as_forward` for its forms.
    names : tuple of str
        The names of its arguments.
    observation_space, action_space : gymnasium.Space
        ``action_space`` is None for functions of the state alone.
    observation_preprocessor, action_preprocessor : callable or None
        None for the default one of the space.
    value_transform : ValueTransform
        The output of the function lives in the transformed space.
    mask : ActionMask, optional
        Where the observations say which actions are allowed.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        names: tuple[str, ...],
        observation_space: gymnasium.Space,
        action_space: gymnasium.Space | None,
        observation_preprocessor: Callable[..., Any] | None,
        action_preprocessor: Callable[..., Any] | None,
        value_transform: ValueTransform,
        mask: ActionMask | None = None,
    ):
        self.func = func
        self.modeltype = {STATE: 2 if action_space is not None else None, STATE_ACTION: 1}[names]
        self.observation_space, self.action_space = observation_space, action_space
        self.value_transform, self.mask = value_transform, mask
        self.forward = as_forward(func)
        self.observe = Preprocessor(observation_preprocessor, observation_space, "observation_preprocessor")
        self.act = (
            None if action_space is None else Preprocessor(action_preprocessor, action_space, "action_preprocessor")
        )
        self._indexed = action_preprocessor is None and isinstance(action_space, gymnasium.spaces.Discrete)
        self.action_table = self._action_table()
        self.raw_example = _batch_of_one(observation_space)
        self.example = self._example()
        self.fresh = jax.jit(self._fresh)
        self.seeded = jax.jit(lambda seed: self.init(key_of_seed(seed)))
        self.output, self.uses_rng, self._meaning = self._trace()
        self.fault = self._fault_of_rows()
        self.call_at = jax.jit(self._call_at)
        self.call_all = jax.jit(self._call_all)
        self.function = jax.jit(self._function, static_argnums=len(names) + 2)

    # --- construction

    def _example(self) -> tuple:
        """Inputs S and A of batch size 1, host-only preprocessing done, to initialise and to check with."""
        S, A = self.raw_example, None
        if self.action_space is not None:
            A = prepare(_batch_of_one(self.action_space), (self.act,))  # type: ignore[arg-type]
        return prepare(S, (self.observe,)), A

    def _action_table(self) -> Any:
        """All actions, preprocessed: f32[A, ...]; None unless they are Discrete."""
        space = self.action_space
        if not isinstance(space, gymnasium.spaces.Discrete):
            return None
        actions = np.arange(space.start, space.start + space.n)
        return self.act.on_host(actions) if not self.act.traceable else actions  # type: ignore[union-attr]

    def observed(self, key: Any, S: Any) -> Any:
        """Preprocessed observations; the key is folded because the forward pass draws from the key itself."""
        return self.observe(jax.random.fold_in(_some_key(key), 1), S)

    def acted(self, key: Any, A: Any) -> Any:
        """Preprocessed actions."""
        return self.act(jax.random.fold_in(_some_key(key), 2), A)  # type: ignore[misc]

    def _inputs(self, key: Any, S: Any, A: Any) -> tuple:
        return (self.observed(key, S), self.acted(key, A)) if self.modeltype == 1 else (self.observed(key, S),)

    def _fresh(self, key: jax.Array) -> dict[str, Any]:
        params, function_state = self.forward.init(key, *self._inputs(key, *self.example), is_training=True)
        return {"params": params, "function_state": function_state}

    def is_current(self) -> bool:
        """Whether the function is still the same program: it may read globals, or attributes of an object."""
        return self._trace()[2] == self._meaning

    def _fault_of_rows(self) -> str | None:
        """What is wrong if a batch of two does not give two rows: a single row may hide that the batch axis is lost."""
        two = jax.tree.map(lambda x: np.concatenate([x, x]), self.example)

        def apply(key: jax.Array) -> Any:
            state = self._fresh(key)
            inputs = self._inputs(key, *two)
            return self.forward.apply(state["params"], state["function_state"], key, *inputs, is_training=False)[0]

        leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(apply, jax.random.key(0)))
        for (path, leaf), one in zip(leaves, jax.tree.leaves(self.output), strict=True):
            if getattr(one, "shape", ())[:1] == (1,) and getattr(leaf, "shape", ())[:1] != (2,):
                return (
                    f"func(...){jax.tree_util.keystr(path)}: expected one row per row of the input, got shape "
                    f"{leaf.shape} for a batch of 2. Fix: keep the batch axis; repeat what is the same for all rows, "
                    "e.g. with jnp.broadcast_to."
                )
        return None

    def _trace(self) -> tuple[Any, bool, list]:
        """The abstract output for a batch of one, whether the function draws random numbers, and what it means."""
        # a new function each time: jax remembers what it has traced
        closed, state = jax.make_jaxpr(lambda key: self._fresh(key), return_shape=True)(jax.random.key(0))
        used, out, meaning = False, None, [_meaning(closed)]
        for is_training in (True, False):

            def apply(key: jax.Array, state: dict, is_training: bool = is_training) -> Any:
                inputs = self._inputs(key, *self.example)
                return self.forward.apply(
                    state["params"], state["function_state"], key, *inputs, is_training=is_training
                )

            closed, shapes = jax.make_jaxpr(apply, return_shape=True)(jax.random.key(0), state)
            used = used or _is_used(closed.jaxpr, closed.jaxpr.invars[0])
            out = shapes[0]
            meaning.append(_meaning(closed))
        return out, used, meaning

    @property
    def same_in_training(self) -> bool:
        """Whether training and evaluation are the same program, without random numbers."""
        return not self.uses_rng and self._meaning[1] == self._meaning[2]

    # --- the function, on raw batches

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh state, rng included."""
        return {**self.fresh(jax.random.fold_in(key, 0)), "rng": self.stream(key)}

    def stream(self, key: Any) -> Rng:
        """The random stream of a fresh state, apart from the key of the parameters."""
        return Rng.seeded(jax.random.fold_in(key, 1))

    def at(
        self,
        params: Any,
        function_state: Any,
        key: Any,
        S: Any,
        A: Any = None,
        *,
        is_training: bool = False,
        live: Any = None,
    ) -> tuple[Any, Any]:
        """Raw output at S (and A), leaves [B, ...], and the new function state."""
        inputs = self._inputs(key, S, A)
        own = _some_key(key)
        out, new = self.forward.apply(params, function_state, own, *inputs, is_training=is_training, live=live)
        if self.modeltype == 2:
            out = self._pick(out, A, key)
        return out, new

    def _pick(self, out: Any, A: Any, key: Any) -> Any:
        if self._indexed:
            index = jnp.asarray(A) - int(self.action_space.start)  # type: ignore[union-attr]
            return jax.tree.map(lambda x: jnp.take_along_axis(x, _align(index, x), axis=1)[:, 0], out)
        return contract(out, self.acted(key, A))

    def all_actions(self, params: Any, function_state: Any, key: Any, S: Any) -> Any:
        """Raw output for every action, leaves [B, A, ...]."""
        if self.modeltype == 2:
            inputs = self._inputs(key, S, None)
            return self.forward.apply(params, function_state, _some_key(key), *inputs, is_training=False)[0]
        table = self.action_table
        if table is None:
            raise ValueError(
                f"all actions: expected a Discrete action space, got {self.action_space}. "
                "Fix: pass an action too: q(s, a)."
            )
        actions = self.acted(key, jnp.asarray(table)) if self.act.traceable else table  # type: ignore[union-attr]

        def plain(S: Any, A: Any) -> Any:
            return self.forward.apply(params, function_state, _some_key(key), S, A, is_training=False)[0]

        return spread(plain, self.observed(key, S), actions, int(self.action_space.n))  # type: ignore[union-attr]

    def on_inputs(self, params: Any, function_state: Any, key: Any, *inputs: Any) -> tuple[Any, Any]:
        """Raw output at preprocessed inputs, and the function state."""
        return self.forward.apply(params, function_state, _some_key(key), *inputs, is_training=False)

    def allowed(self, S: Any) -> Any:
        """The mask of the actions at raw observations, leaves [B, A]; None without one."""
        return None if self.mask is None else self.mask(S.raw if isinstance(S, Prepared) else S)

    def expected(self, out: Any) -> jax.Array:
        """Values in the original space, of raw outputs."""
        return self.value_transform.inverse_func(out)

    def preferences(self, out: Any) -> jax.Array:
        """What value-based policies compare, of raw outputs [..., A]: the outputs, as Boltzmann always did."""
        return out

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> Bound:
        """The function with a state filled in."""
        return Bound(self, state, key if self.uses_rng else None)

    # --- compiled entry points of the shells: one dispatch each

    def _call_at(self, params: Any, function_state: Any, rng: Rng | None, S: Any, A: Any = None) -> Any:
        return self.expected(self.at(params, function_state, None if rng is None else rng.next_key, S, A)[0])

    def _call_all(self, params: Any, function_state: Any, rng: Rng | None, S: Any) -> Any:
        return self.expected(self.all_actions(params, function_state, None if rng is None else rng.next_key, S))

    def _function(self, params: Any, function_state: Any, rng: Any, *inputs_and_flag: Any) -> tuple[Any, Any]:
        *inputs, is_training = inputs_and_flag
        return self.forward.apply(params, function_state, rng, *inputs, is_training=is_training)


class Bound(NamedTuple):
    """A value function with its state filled in: its values are in the original space, not the transformed."""

    rule: FunctionRule
    state: dict[str, Any]
    key: Any

    def value(self, S: Any, A: Any = None) -> jax.Array:
        """f32[B]."""
        out, _ = self.rule.at(self.state["params"], self.state["function_state"], self.key, S, A)
        return self.rule.expected(out)

    def values(self, S: Any) -> jax.Array:
        """f32[B, A]."""
        return self.rule.expected(self._all(S))

    def outcome(self, S: Any, A: Any = None) -> Any:
        """What TD targets bootstrap from: a number f32[B] here, the law of one where the output is a distribution."""
        return self.value(S, A)

    def outcomes(self, S: Any) -> Any:
        """The same for every action, f32[B, A]."""
        return self.values(S)

    def preferences(self, S: Any) -> jax.Array:
        """What value-based policies compare, f32[B, A]."""
        return self.rule.preferences(self._all(S))

    def allowed(self, S: Any) -> Any:
        """The mask of the actions, bool[B, A], or None."""
        return self.rule.allowed(S)

    def value_of_inputs(self, X: Any) -> jax.Array:
        """f32[B], at preprocessed observations."""
        out, _ = self.rule.on_inputs(self.state["params"], self.state["function_state"], self.key, X)
        return self.rule.expected(out)

    def _all(self, S: Any) -> jax.Array:
        return self.rule.all_actions(self.state["params"], self.state["function_state"], self.key, S)


# --- between the two types of functions of state and action -----------------------------------------------------------


def contract(out: Any, weights: jax.Array) -> Any:
    """Leaves [B, A, ...] at one action per row, given one-hot (or any weights) f32[B, A]: leaves [B, ...]."""

    def at_weights(x: jax.Array) -> jax.Array:
        if jnp.shape(weights) != x.shape[:2]:
            raise ValueError(
                f"actions: expected one weight per action, shape {x.shape[:2]}, got {jnp.shape(weights)}. "
                "Fix: let action_preprocessor return a one-hot encoding."
            )
        return jnp.einsum("ba,ba...->b...", weights, x)

    return jax.tree.map(at_weights, out)


def spread(func: Callable[..., Any], observations: Any, actions: Any, n: int) -> Any:
    """``func(S, A)`` for all n actions at each observation, in one batch of B * n: leaves [B, A, ...]."""
    batch = jax.tree.leaves(observations)[0].shape[0]
    S = jax.tree.map(lambda x: jnp.repeat(x, n, axis=0), observations)
    A = jax.tree.map(lambda x: jnp.tile(x, (batch, *(1,) * (x.ndim - 1))), actions)
    return jax.tree.map(lambda x: x.reshape(batch, n, *x.shape[1:]), func(S, A))


def _batch_of_one(space: gymnasium.Space) -> Any:
    return jax.tree.map(lambda x: np.asarray(x)[None], safe_sample(space, seed=0))


def _some_key(key: Any) -> jax.Array:
    """A key also for a function whose output does not depend on it: it may ask for one all the same."""
    return jax.random.key(0) if key is None else key


def _align(index: jax.Array, x: jax.Array) -> jax.Array:
    return index.reshape(-1, *(1,) * (x.ndim - 1))


def _meaning(closed: Any) -> tuple:
    """A program as text, with the values of its constants; equal for equal programs."""
    constants = tuple((x.shape, str(x.dtype), x.tobytes()) for x in map(np.asarray, closed.consts))
    return re.sub(r"0x[0-9a-f]+", "", str(closed)), constants


def _is_used(jaxpr: Any, var: Any) -> bool:
    """Whether any output of a program depends on an input."""
    live = {id(v) for v in jaxpr.outvars}
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or any(id(v) in live for v in eqn.outvars):
            live.update(map(id, eqn.invars))
    return id(var) in live
