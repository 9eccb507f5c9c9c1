"""What functions whose output is a distribution have in common."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp

from .._stateful import is_tracing
from ..proba_dists import BaseProbaDist, ProbaDist
from ..utils import space_key
from ._dist_rule import KEYLESS, DistRule
from ._function import like_input, with_leading

__all__ = ("Distributional", "StochasticState", "check_dist", "check_output_like", "default_dist", "per_action")

_DISTS: weakref.WeakValueDictionary[Any, ProbaDist] = weakref.WeakValueDictionary()


def default_dist(space: gymnasium.Space) -> ProbaDist:
    """The distribution over a space with default settings; the same object for equal spaces, as long as it is used."""
    key = space_key(space)
    found = _DISTS.get(key)
    if found is None:
        found = _DISTS[key] = ProbaDist(space)
    return found


def check_dist(owner: str, space: gymnasium.Space, proba_dist: Any) -> BaseProbaDist:
    """A distribution over a space: the given one, or that with default settings.

    Raises
    ------
    TypeError
        If it is no distribution.
    ValueError
        If it is one over another space.
    """
    if proba_dist is None:
        return default_dist(space)
    if not isinstance(proba_dist, BaseProbaDist):
        raise TypeError(
            f"{owner}: expected proba_dist to be a distribution of coax.proba_dists, got {type(proba_dist).__name__}. "
            "Fix: pass e.g. coax.proba_dists.ProbaDist(env.action_space)."
        )
    if space_key(proba_dist.element_space) != space_key(space):
        raise ValueError(
            f"{owner}: expected proba_dist over {space}, got one over {proba_dist.element_space}. "
            "Fix: make it from the space of the environment."
        )
    return proba_dist


class Distributional:
    """Mixin of the functions with a :class:`DistRule`; it has no state."""

    rule: DistRule

    @property
    def proba_dist(self) -> Any:
        """The distribution of the outcomes."""
        return self.rule.dist

    def _ask(self, what: str, everywhere: bool, *batches: Any) -> Any:
        """One compiled call, for all actions or for given ones."""
        draws = self.rule.uses_rng or what not in KEYLESS
        state = self._draw_rng() if draws else self._peek()  # type: ignore[attr-defined]
        rng = state["rng"] if draws else None
        return self.rule.call(what, everywhere, state["params"], state["function_state"], rng, *batches)

    def _elements(self, x: Any, lead: tuple[int, ...]) -> Any:
        """Elements of the space with the leading axes that came in."""
        found = with_leading(x, lead)
        return found if is_tracing() else self.rule.dist._element(found)

    def _outcome(self, x: Any, everywhere: bool, lead: tuple[int, ...]) -> Any:
        """Outcomes with the leading axes that came in: values [...] or [..., A], elements or a list of them."""
        if self.rule.kind == "values":
            return like_input(x, lead)
        if not everywhere:
            return self._elements(x, lead)
        found = with_leading(x, lead)
        parts = per_action(found, int(self.rule.forward.action_space.n), len(lead))  # type: ignore[union-attr]
        return parts if is_tracing() else [self.rule.dist._element(part) for part in parts]

    def _statistic(self, function: Callable[..., Any], statistic: Callable[..., Any]) -> Callable[..., Any]:
        """``(params, function_state, rng, *inputs) -> statistic``, of preprocessed inputs."""
        return lambda params, function_state, rng, *inputs: statistic(
            function(params, function_state, rng, *inputs, False)[0]
        )

    def _sampler(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``(params, function_state, rng, *inputs) -> (X, logP)``, of preprocessed inputs."""

        def sampler(params: Any, function_state: Any, rng: jax.Array, *inputs: Any) -> tuple[Any, jax.Array]:
            own, draw = jax.random.split(rng)
            dist_params, _ = function(params, function_state, own, *inputs, False)
            return self.rule.dist.sample_and_log_proba(dist_params, draw)

        return sampler


class StochasticState:
    """Mixin of the stochastic functions of the state alone; it has no state."""

    # from the classes that it is mixed with
    _sampler: Any
    _statistic: Any
    function: Any
    proba_dist: Any

    # --- pure functions of preprocessed observations, as scripts for 0.1.13 use them; they know no mask

    @property
    def sample_func(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> (X, logP)``: variates, and log-probabilities f32[B] of the actions."""
        return self._sampler(self.function)

    @property
    def mean_func(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> X``: variates."""
        return self._statistic(self.function, self.proba_dist.mean)

    @property
    def mode_func(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> X``: variates."""
        return self._statistic(self.function, self.proba_dist.mode)


def per_action(x: Any, n: int, axis: int) -> list[Any]:
    """Leaves [..., A, ...] as a list with an entry per action."""
    return [jax.tree.map(lambda leaf, i=i: leaf[(slice(None),) * axis + (i,)], x) for i in range(n)]


def check_output_like(out: Any, example: Any, lead: tuple[int, ...], owner: str, hint: str) -> None:
    """Whether an (abstract) output is like an example with a leading axis of length 1, with other leading axes.

    Raises
    ------
    TypeError
        If it differs in structure, is not made of floating-point arrays, or has other shapes.
    """
    want, got = _as_tuples(example), _as_tuples(out)
    structure: Any = jax.tree.structure(want)
    if structure != jax.tree.structure(got):
        raise TypeError(
            f"{owner}: expected func to return the structure {_describe(want, lead)}, got {_describe(got)}. "
            f"Fix: {hint}."
        )
    flat = jax.tree_util.tree_leaves_with_path(got)
    for (path, leaf), like in zip(flat, jax.tree.leaves(want), strict=True):
        name = f"{owner}: func(...){jax.tree_util.keystr(path)}"
        if not isinstance(leaf, jax.ShapeDtypeStruct | jax.Array) or not jnp.issubdtype(leaf.dtype, jnp.floating):
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise TypeError(f"{name}: expected a jax array of a floating dtype, got {kind}. Fix: {hint}.")
        shape = (*lead, *like.shape[1:])
        if leaf.shape != shape:
            raise TypeError(f"{name}: expected shape {shape} for a batch of {lead[0]}, got {leaf.shape}. Fix: {hint}.")


def _as_tuples(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _as_tuples(part) for key, part in x.items()}
    return tuple(map(_as_tuples, x)) if isinstance(x, tuple | list) else x


def _describe(x: Any, lead: tuple[int, ...] | None = None) -> Any:
    """A pytree of arrays as text: its structure, with shapes in place of the leaves."""

    def shape(leaf: Any) -> Any:
        if not hasattr(leaf, "shape"):
            return type(leaf).__name__
        return _Text(tuple(leaf.shape) if lead is None else (*lead, *leaf.shape[1:]))

    return jax.tree.map(shape, x)


class _Text:
    """Shows as a shape, and is a leaf."""

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape

    def __repr__(self) -> str:
        return f"f32{list(self._shape)}"
