"""Heads: what a value function outputs, and how that is backed up and compared. Decided once, at construction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ._targets import bootstrap, double_value, expected_value, greedy_value, soft_value

__all__ = ("SCALAR", "Head")


class Head(NamedTuple):
    """The functions that an updater needs for one kind of output. An algorithm names them and never asks for the kind.

    Attributes
    ----------
    greedy, double, expected, soft : callable
        What to bootstrap from, of outputs for all actions (and a mask of those that are allowed, or None): the
        functions of the same names in ``_targets.py``.
    bootstrap : callable
        ``bootstrap(rn, in_, out_next, value_transform) -> target``.
    shift : callable
        ``shift(out, amount) -> out``: add f32[B] to the value.
    loss : callable
        ``loss(loss_function, target, out, w) -> f32[]``: mean over the batch.
    """

    greedy: Callable
    double: Callable
    expected: Callable
    soft: Callable
    bootstrap: Callable
    shift: Callable
    loss: Callable


def _scalar_loss(loss_function: Callable, target: jax.Array, out: jax.Array, w: Any = None) -> jax.Array:
    return loss_function(target, out) if w is None else loss_function(target, out, w)


SCALAR = Head(greedy_value, double_value, expected_value, soft_value, bootstrap, jnp.add, _scalar_loss)
