"""Several functions of one forward pass, as one object."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from .._entries import Rng
from .._sharing import Rule
from .._stateful import is_tracing
from ..typing import AbstractQ
from ._dist_rule import DistRule
from ._function import Function
from ._state_action import StateAction

__all__ = ("Ensemble",)


class EnsembleRule(Rule):
    """The pure functions of a q-function, over a leading axis of members.

    Parameters
    ----------
    single : FunctionRule or DistRule
        Of one member.
    members : int
    """

    def __init__(self, single: Any, members: int):
        self.single, self.members = single, members
        self.uses_rng, self.value_transform = single.uses_rng, single.value_transform
        self.observe, self.act = single.observe, single.act
        self.dist = getattr(single, "dist", None)
        self.call = jax.jit(self._call)

    def fresh(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters and function states, leaves [M, ...]."""
        forward = self.single.forward if isinstance(self.single, DistRule) else self.single
        return jax.vmap(forward.fresh)(jax.random.split(key, self.members))

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
        """Raw outputs of all members, leaves [M, B, ...], and their new function states."""

        def one(params: Any, function_state: Any, key: Any) -> tuple[Any, Any]:
            return self.single.at(params, function_state, key, S, A, is_training=is_training, live=live)

        return jax.vmap(one)(params, function_state, self._keys(key))

    def allowed(self, S: Any) -> Any:
        """The mask of the actions at raw observations, leaves [B, A]; None without one."""
        return self.single.allowed(S)

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> BoundEnsemble:
        """The functions with their states filled in."""
        return BoundEnsemble(self, state, key)

    def _keys(self, key: Any) -> Any:
        return None if key is None else jax.random.split(key, self.members)

    def _call(self, params: Any, function_state: Any, rng: Rng | None, S: Any, A: Any = None) -> jax.Array:
        key = None if rng is None else rng.next_key
        bound = self.bind({"params": params, "function_state": function_state}, (), key)
        return bound.values(S) if A is None else bound.value(S, A)


class BoundEnsemble(NamedTuple):
    """The functions with their states filled in: what each of them says, with a leading axis M."""

    rule: EnsembleRule
    state: dict[str, Any]
    key: Any

    def value(self, S: Any, A: Any = None) -> jax.Array:
        """f32[M, B], in the original space."""
        return self._each("value", S, A)

    def values(self, S: Any) -> jax.Array:
        """f32[M, B, A], in the original space."""
        return self._each("values", S)

    def outcome(self, S: Any, A: Any = None) -> Any:
        """What targets bootstrap from, leaves [M, B, ...]."""
        return self._each("outcome", S, A)

    def outcomes(self, S: Any) -> Any:
        """The same for every action, leaves [M, B, A, ...]."""
        return self._each("outcomes", S)

    def allowed(self, S: Any) -> Any:
        """The mask of the actions, leaves [B, A], or None."""
        return self.rule.allowed(S)

    def _each(self, method: str, *args: Any) -> Any:
        def one(params: Any, function_state: Any, key: Any) -> Any:
            state = {"params": params, "function_state": function_state}
            return getattr(self.rule.single.bind(state, (), key), method)(*args)

        return jax.vmap(one)(self.state["params"], self.state["function_state"], self.rule._keys(self.key))


class Ensemble(Function, StateAction):
    r"""Several q-functions of one forward pass, which learn side by side in one program.

    Wherever an updater or an objective takes a list of q-functions, it takes an ensemble.

    Parameters
    ----------
    q : coax.Q or coax.StochasticQ
        Whose forward pass, spaces and preprocessors to use. Its parameters are not used: each member draws its own.
    members : int, optional
        M, how many.
    random_seed : int or key[], optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If `q` is no q-function with parameters.
    ValueError
        If `members` is not a positive int.

    Notes
    -----
    The leaves of ``params`` and ``function_state`` have a leading axis M.

    Examples
    --------
    >>> def func(S, is_training):
    ...     return hk.Linear(env.action_space.n, w_init=jnp.zeros)(S)
    >>> qs = coax.Ensemble(coax.Q(func, env), members=5)
    >>> qs(env.observation_space.sample()).shape == (5, env.action_space.n)
    True
    """

    def __init__(self, q: Any, members: int = 2, random_seed: Any = None):
        if not isinstance(q, Function) or not isinstance(q, AbstractQ):
            raise TypeError(
                f"Ensemble: expected a coax.Q or coax.StochasticQ, got {type(q).__name__}. "
                "Fix: pass one with the forward pass that all members share."
            )
        if not isinstance(members, int | np.integer) or isinstance(members, bool) or members < 1:
            raise ValueError(f"members: expected a positive int, got {members!r}. Fix: 2 is what SAC and TD3 have.")
        rule = EnsembleRule.shared(q.rule, int(members))
        self._single = q
        self._set_up(q._forward, random_seed, rule, self.init)

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters and function states of all members, and a fresh random stream."""
        return {**self.rule.fresh(jax.random.fold_in(key, 0)), "rng": self._forward.stream(key)}

    def __len__(self) -> int:
        return self.rule.members

    def __getitem__(self, index: int) -> Any:
        """A q-function with the present parameters of a member; later updates of either do not reach the other."""
        if not hasattr(index, "__index__"):
            raise TypeError(
                f"Ensemble: expected an int as index, got {index!r}. Fix: one after the other, qs[0], qs[1]."
            )
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"Ensemble: expected an index below {len(self)}, got {index}. Fix: count from 0.")
        state = self._peek()
        found = self._single.copy()
        rng = Rng(jax.random.fold_in(state["rng"].key, index), state["rng"].count)  # from the seed of the ensemble
        parts = {name: jax.tree.map(lambda x: x[index], state[name]) for name in ("params", "function_state")}
        found._write({**found._peek(), **parts, "rng": rng})
        return found

    @property
    def members(self) -> int:
        """M, how many functions there are."""
        return self.rule.members

    @property
    def function(self) -> Callable[..., Any]:
        """``(params, function_state, rng, *inputs, is_training) -> (output, function_state)``, leaves [M, B, ...]."""
        single, keys = self._forward.function, self.rule._keys

        def function(params: Any, function_state: Any, rng: Any, *inputs_and_flag: Any) -> tuple[Any, Any]:
            return jax.vmap(lambda p, f, k: single(p, f, k, *inputs_and_flag))(params, function_state, keys(rng))

        return function

    def __call__(self, s: Any, a: Any = None) -> np.ndarray:
        """The value by each member of an action, or of all actions; of laws the expectation.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        a : action, or pytree of arrays [..., *act], optional
            With the leading axes of `s`. Left out (Discrete actions only): all of them.

        Returns
        -------
        f32[M, ...] with `a`, f32[M, ..., A] without
            A NumPy array; inside a trace a jax array.

        Raises
        ------
        ValueError
            If the actions are not Discrete and `a` is left out, or shapes do not fit the spaces.
        """
        state = self._peek()
        _, batches, lead = self._inputs(s, a, "q(s)")
        out: Any = self.rule.call(state["params"], state["function_state"], self._draw(state), *batches)
        out = out if is_tracing() else np.asarray(out)
        return out.reshape((out.shape[0], *lead, *out.shape[2:]))
