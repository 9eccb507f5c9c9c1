"""A law of finitely many weighted numbers: what all distributions of returns come down to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ("Particles",)


class Particles(NamedTuple):
    """Weighted numbers.

    Attributes
    ----------
    values : f32[..., K]
    weights : f32[..., K]
        Probabilities.
    """

    values: jax.Array
    weights: jax.Array

    @property
    def mean(self) -> jax.Array:
        """f32[...]; a number of probability 0 does not matter, whatever it is."""
        return jnp.sum(self.weights * jnp.where(self.weights > 0, self.values, 0.0), axis=-1)

    def map(self, func: Callable[[Any], Any]) -> Particles:
        """The law of a function of the number."""
        return Particles(func(self.values), self.weights)
