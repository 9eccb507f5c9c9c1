"""From a user's Haiku function to a pair of pure functions. The only file that knows Haiku."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

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

    init: Callable
    apply: Callable


def as_forward(func: Callable) -> Forward:
    """The pure form of ``func(*inputs, is_training)``, which may use Haiku's parameters, state and random keys."""
    transformed = hk.transform_with_state(func)

    def init(key: jax.Array, *inputs: Any, is_training: bool) -> tuple[Any, Any]:
        return transformed.init(key, *inputs, is_training)

    def apply(
        params: Any, function_state: Any, key: Any, *inputs: Any, is_training: bool, live: jax.Array | None = None
    ) -> tuple[Any, Any]:
        with _only_live_rows(live) if live is not None and function_state else contextlib.nullcontext():
            return transformed.apply(params, function_state, key, *inputs, is_training)

    return Forward(init, apply)


@contextlib.contextmanager
def _only_live_rows(live: jax.Array) -> Iterator[None]:
    """Take the moments of every ``hk.BatchNorm`` over the live rows of its input."""

    def intercept(next_f: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
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


def _normalised_with(layer: hk.BatchNorm, moments: tuple[jax.Array, jax.Array], next_f: Callable, kwargs: dict) -> Any:
    """Feed given moments to the layer's moving averages, and let it normalise with them."""
    averages = layer.mean_ema, layer.var_ema
    for average, moment in zip(averages, moments, strict=True):
        average(moment)
    try:
        layer.mean_ema, layer.var_ema = map(_Fixed, moments)  # type: ignore[assignment]
        return next_f(**kwargs)
    finally:
        layer.mean_ema, layer.var_ema = averages
