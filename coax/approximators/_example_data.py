"""Examples of what a forward-pass function receives, and of what it must return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from .._entries import generator_of_seed
from ..utils import pretty_repr, safe_sample
from ._checks import check_space
from ._preprocessing import Preprocessor

__all__ = (
    "ArgsType1",
    "ArgsType2",
    "ExampleData",
    "Inputs",
    "ModelTypes",
    "array_output",
    "like_params",
    "state_action_examples",
    "state_examples",
)


class ArgsType1(NamedTuple):
    """The arguments of ``func(S, A, is_training)``: preprocessed batches, leaves [B, ...], and a bool."""

    S: Any
    A: Any
    is_training: bool

    def __repr__(self) -> str:
        return pretty_repr(self)


class ArgsType2(NamedTuple):
    """The arguments of ``func(S, is_training)``: a preprocessed batch, leaves [B, ...], and a bool."""

    S: Any
    is_training: bool

    def __repr__(self) -> str:
        return pretty_repr(self)


class Inputs(NamedTuple):
    """The arguments of a forward pass, and the positions of those that are no arrays."""

    args: ArgsType1 | ArgsType2
    static_argnums: tuple[int, ...]

    def __repr__(self) -> str:
        return pretty_repr(self)


class ExampleData(NamedTuple):
    """What a forward-pass function receives, and what it must return: structure, shapes and dtypes.

    The inputs are elements of the spaces after preprocessing, the output random numbers. A network can be tried on it
    before there is a function approximator: ``hk.transform(func).init(rng, *data.inputs.args)``.

    Attributes
    ----------
    inputs : Inputs
        ``inputs.args`` are the arguments.
    output : pytree of f32[B, ...]
    """

    inputs: Inputs
    output: Any

    def __repr__(self) -> str:
        return pretty_repr(self)


class ModelTypes(NamedTuple):
    """Examples for the two forms of a function of state and action.

    Attributes
    ----------
    type1 : ExampleData
        For ``func(S, A, is_training)``, leaves of the output [B, ...].
    type2 : ExampleData or None
        For ``func(S, is_training)``, leaves of the output [B, A, ...]; None if the actions are not Discrete.
    """

    type1: ExampleData
    type2: ExampleData | None

    def __repr__(self) -> str:
        return pretty_repr(self)


Output = Callable[[np.random.Generator, tuple[int, ...]], Any]


def array_output(rng: np.random.Generator, lead: tuple[int, ...]) -> jax.Array:
    """One number per row."""
    return jnp.asarray(rng.normal(size=lead), jnp.float32)


def like_params(example: Any) -> Output:
    """Outputs with the leaves of an example of batch size 1, e.g. of the priors of a distribution."""

    def output(rng: np.random.Generator, lead: tuple[int, ...]) -> Any:
        return jax.tree.map(lambda leaf: array_output(rng, (*lead, *np.shape(leaf)[1:])), example)

    return output


def state_examples(
    owner: type, env: Any, observation_preprocessor: Any, output: Output, batch_size: int, random_seed: Any
) -> ExampleData:
    """For functions of the state alone."""
    rng = generator_of_seed(random_seed)
    S = _preprocessed(owner, env, "observation", observation_preprocessor, rng, batch_size)
    return ExampleData(Inputs(ArgsType2(S, True), (1,)), output(rng, (batch_size,)))


def state_action_examples(
    owner: type,
    env: Any,
    observation_preprocessor: Any,
    action_preprocessor: Any,
    output: Output,
    batch_size: int,
    random_seed: Any,
) -> ModelTypes:
    """For functions of state and action, of both types."""
    rng = generator_of_seed(random_seed)
    S = _preprocessed(owner, env, "observation", observation_preprocessor, rng, batch_size)
    A = _preprocessed(owner, env, "action", action_preprocessor, rng, batch_size)
    type1, type2 = ExampleData(Inputs(ArgsType1(S, A, True), (2,)), output(rng, (batch_size,))), None
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        lead = batch_size, int(env.action_space.n)
        type2 = ExampleData(Inputs(ArgsType2(S, True), (1,)), output(rng, lead))
    return ModelTypes(type1, type2)


def _preprocessed(
    owner: type, env: Any, what: str, preprocessor: Any, rng: np.random.Generator, batch_size: int
) -> Any:
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size: expected a positive integer, got {batch_size!r}. Fix: pass 1 or more.")
    space = check_space(env, f"{what}_space", owner.__name__)
    rows = [safe_sample(space, rng) for _ in range(batch_size)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    return Preprocessor(preprocessor, space, f"{what}_preprocessor").on_host(batch)
