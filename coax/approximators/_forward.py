"""From a user's forward pass to a pair of pure functions. The only file that knows Haiku."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from ._networks import is_network, pure_functions

__all__ = ("Forward", "as_forward")


class Forward(NamedTuple):
    """A forward pass as pure functions.

    Attributes
    ----------
    init : callable
        ``init(key, *inputs, is_training) -> (params, function_state)``.
    apply : callable
        ``apply(params, function_state, key, *inputs, is_training, live=None) -> (output, function_state)``. With
        ``live`` (bool[B]) the batch statistics are those of the live rows alone.
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]


def as_forward(func: Any) -> Forward:
    """The pure form of a forward pass with the arguments ``*inputs, is_training``.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        One of

        - a function that may use Haiku's parameters, state and random keys;
        - a pair ``(init, apply)``: a ``haiku.Transformed``, a ``haiku.TransformedWithState``, or two functions of
          one's own. `init` takes a key and the arguments. What `apply` takes in front of the arguments decides:

          ====================================  ==========================  =======================
          ``apply``                             returns                     ``init`` returns
          ====================================  ==========================  =======================
          ``apply(params, ...)``                the output                  ``params``
          ``apply(params, rng, ...)``           the output                  ``params``
          ``apply(params, state, ...)``         ``(output, new_state)``     ``(params, state)``
          ``apply(params, state, rng, ...)``    ``(output, new_state)``     ``(params, state)``
          ====================================  ==========================  =======================

          Of two arguments in front, the second is a state if its name says so;
        - an instance of a Flax (linen) module. The collection 'params' is the parameters, all others are the function
          state, which changes in training only. There are random streams 'params' and 'dropout', in evaluation too; a
          stream with another name draws from 'params'.

        ``is_training`` is a Python bool, given by position: static, if there is ``jax.jit`` around `init` or `apply`.

    Returns
    -------
    Forward

    Notes
    -----
    The moments of ``haiku.BatchNorm`` are those of the live rows in every form that uses it. Of other networks the
    layers are unknown: their batch statistics are those of the whole batch, whose dead rows the updaters fill with
    copies of a live one.
    """
    init_with, apply_with = pure_functions(func) if is_network(func) else hk.transform_with_state(func)

    def init(key: jax.Array, *inputs: Any, is_training: bool) -> tuple[Any, Any]:
        return init_with(key, *inputs, is_training)

    def apply(
        params: Any, function_state: Any, key: Any, *inputs: Any, is_training: bool, live: jax.Array | None = None
    ) -> tuple[Any, Any]:
        masks = live is not None and jax.tree.leaves(function_state)
        with _only_live_rows(live) if masks else contextlib.nullcontext():  # type: ignore[arg-type]
            return apply_with(params, function_state, key, *inputs, is_training)

    return Forward(init, apply)


@contextlib.contextmanager
def _only_live_rows(live: jax.Array) -> Iterator[None]:
    """Take the moments of every ``hk.BatchNorm`` over the live rows of its input."""

    def intercept(next_f: Callable[..., Any], args: tuple, kwargs: dict, context: Any) -> Any:
        if not (isinstance(context.module, hk.BatchNorm) and context.method_name == "__call__"):
            return next_f(*args, **kwargs)
        inputs, is_training = _batch_norm_inputs(*args, **kwargs)
        moments = _live_moments(context.module, inputs, live) if is_training else None
        if moments is None:
            return next_f(*args, **kwargs)
        rest = {**kwargs, **dict(zip(("inputs", "is_training", "test_local_stats", "scale", "offset"), args))}  # noqa: B905
        return _normalised_with(context.module, moments, next_f, {**rest, "is_training": False})

    with hk.intercept_methods(intercept):
        yield


def _batch_norm_inputs(inputs: jax.Array, is_training: bool, *args: Any, **kwargs: Any) -> tuple[jax.Array, bool]:
    return inputs, is_training


def _live_moments(layer: hk.BatchNorm, inputs: jax.Array, live: jax.Array) -> tuple[jax.Array, jax.Array] | None:
    """Mean and variance over the live rows; None where the layer does not average over the rows of the batch."""
    channel = layer.channel_index % inputs.ndim
    axis = (
        [i for i in range(inputs.ndim) if i != channel] if layer.axis is None else [i % inputs.ndim for i in layer.axis]
    )
    if 0 not in axis or layer.cross_replica_axis or inputs.shape[0] != live.shape[0]:
        return None
    rows = (live | ~live.any()).reshape(-1, *(1,) * (inputs.ndim - 1))  # moments of no rows at all would be NaN
    mean = jnp.mean(inputs, axis, keepdims=True, where=rows)
    return mean, jnp.mean(jnp.square(inputs), axis, keepdims=True, where=rows) - jnp.square(mean)


class _Fixed(NamedTuple):
    """Stands in for a moving average whose value is known."""

    average: jax.Array


def _normalised_with(
    layer: hk.BatchNorm, moments: tuple[jax.Array, jax.Array], next_f: Callable[..., Any], kwargs: dict
) -> Any:
    """Feed given moments to the layer's moving averages, and let it normalise with them."""
    averages = layer.mean_ema, layer.var_ema
    for average, moment in zip(averages, moments, strict=True):
        average(moment)
    try:
        layer.mean_ema, layer.var_ema = map(_Fixed, moments)  # type: ignore[assignment]
        return next_f(**kwargs)
    finally:
        layer.mean_ema, layer.var_ema = averages
