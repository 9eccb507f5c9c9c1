"""What all regularizers share."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._entries import Number
from .._stateful import Stateful
from ..typing import AbstractPolicy, AbstractStochastic

__all__ = ("Regularizer", "check_regularizer")


class Regularizer(Stateful):
    r"""Base of the terms that are added to a loss, or subtracted from a value that a TD target bootstraps from.

    A subclass defines :meth:`function`, one number per row, and :meth:`metrics_func`. Both are pure: the numbers they
    use arrive as keyword arguments, so that setting one (``regularizer.beta = 0.01``) takes effect at once and compiles
    nothing again.

    Parameters
    ----------
    f : function with distribution parameters
        A policy, or another stochastic function of the state.
    **hyperparams : float
        The numbers that a user may set. They are the state. Any but ``beta`` is declared in the class, as
        ``alpha = coax.Number()``.

    Raises
    ------
    TypeError
        If `f` has no distribution parameters.

    Examples
    --------
    >>> class Entropy(coax.regularizers.Regularizer):
    ...     def __init__(self, f, beta=0.001):
    ...         super().__init__(f, beta=beta)
    ...     def function(self, dist_params, beta):
    ...         return -beta * self.f.proba_dist.entropy(dist_params)
    ...     def metrics_func(self, dist_params, beta):
    ...         return {"Entropy/entropy": self.f.proba_dist.entropy(dist_params).mean()}
    """

    beta = Number()

    def __init__(self, f: Any, **hyperparams: float):
        if not isinstance(f, AbstractPolicy | AbstractStochastic):
            raise TypeError(
                f"{type(self).__name__}: expected a function with distribution parameters, got {type(f).__name__}. "
                "Fix: pass a policy."
            )
        for name in hyperparams:
            if not isinstance(getattr(type(self), name, None), Number):
                raise TypeError(
                    f"{type(self).__name__}: expected {name} to be declared in the class, so that setting it takes "
                    f"effect. Fix: write {name} = coax.Number() into its body."
                )
        self._f: Any = f
        owner = type(self)
        self._write({name: getattr(owner, name).leaf(value, owner.__name__) for name, value in hyperparams.items()})

    @property
    def f(self) -> Any:
        """The function whose distributions are looked at."""
        return self._f

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The function."""
        return (self._f,)

    @property
    def hyperparams(self) -> dict[str, Any]:
        """The settable numbers, as they are passed to :meth:`function`."""
        return dict(self._peek())

    def init(self, key: jax.Array) -> dict[str, Any]:
        """The present numbers."""
        return self._state

    @abc.abstractmethod
    def function(self, dist_params: Any, **hyperparams: Any) -> jax.Array:
        """The term per row, f32[B], of distribution parameters with leaves [B, ...]."""

    @abc.abstractmethod
    def metrics_func(self, dist_params: Any, **hyperparams: Any) -> dict[str, jax.Array]:
        """What to report: scalars f32[], each a mean over the rows (an updater leaves out rows of weight 0)."""

    def batch_eval(
        self, params: Any, hyperparams: dict[str, Any], state: Any, rng: jax.Array, transition_batch: Any
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B] at ``transition_batch.S`` and what to report, as a pure function."""
        S = self._f.observation_preprocessor(rng, transition_batch.S)
        dist_params, _ = self._f.function(params, state, rng, S, False)
        return self.function(dist_params, **hyperparams), self.metrics_func(dist_params, **hyperparams)

    # --- how an updater takes it into its own compiled function

    @property
    def rule(self) -> Regularizer:
        """Itself: a subclass may keep anything, so an updater shares its rule only with the same object."""
        return self

    @property
    def uses_rng(self) -> bool:
        return bool(getattr(self._f.rule, "uses_rng", True))

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> BoundRegularizer:
        """The regularizer with the states of itself and its function filled in."""
        return BoundRegularizer(self, state, parts[0])


def check_regularizer(regularizer: Any, owner: str) -> None:
    """Refuse what is no regularizer."""
    if regularizer is not None and not isinstance(regularizer, Regularizer):
        raise TypeError(
            f"{owner}: expected a coax.regularizers.Regularizer, got {type(regularizer).__name__}. "
            "Fix: pass e.g. a subclass of it made from the policy."
        )


class BoundRegularizer(NamedTuple):
    """A regularizer with its states filled in, inside a rule."""

    regularizer: Regularizer
    hyperparams: dict[str, Any]
    f: Any

    def at_the_start(self, batch: Any, live: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B] where a transition starts, for a loss; and what to report."""
        return self.evaluate(batch.S, live)

    def at_the_end(self, batch: Any, live: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B] where a transition ends, for a value to bootstrap from; and what to report."""
        return self.evaluate(batch.S_next, live)

    def evaluate(self, S: Any, live: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B] at raw observations, and what to report: means over the rows that count, bool[B]."""
        dist_params = self.f.dist_params(S)
        value = self.regularizer.function(dist_params, **self.hyperparams)

        def report(row: Any) -> dict[str, jax.Array]:
            return self.regularizer.metrics_func(jax.tree.map(lambda x: x[None], row), **self.hyperparams)

        some = live | ~live.any()
        return value, {name: jnp.mean(x, where=some) for name, x in jax.vmap(report)(dist_params).items()}
