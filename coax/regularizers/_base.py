"""What all regularizers share."""

from __future__ import annotations

import abc
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._entries import Number
from .._stateful import Stateful
from ..approximators import prepare
from ..typing import AbstractPolicy, AbstractStochastic
from ._learned_temperature import LearnedTemperature

__all__ = ("Regularizer", "check_regularizer", "mean_of_live")


class Coefficient(Number):
    """Descriptor of ``beta``: a number that a user may set, or what a learned temperature is at present."""

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        learned = None if obj is None else obj._learned
        return super().__get__(obj, owner) if learned is None else learned.value

    def __set__(self, obj: Any, value: Any) -> None:
        if obj._learned is not None:
            raise AttributeError(
                f"{type(obj).__name__}.{self._name} is learned, so it cannot be set. Fix: set the value of the "
                f"LearnedTemperature it was made with, or make a regularizer with a number, {self._name}={value!r}."
            )
        if self._name not in obj._peek() and self._name in inspect.signature(obj.function).parameters:
            # a class of one's own may set it after super().__init__(f)
            obj._write({**obj._peek(), self._name: self.leaf(value, type(obj).__name__)})
        else:
            super().__set__(obj, value)


class Regularizer(Stateful):
    r"""Base of the terms that are added to a loss, or subtracted from a value that a TD target bootstraps from.

    A subclass defines :meth:`function`, one number per row, and :meth:`metrics_func`. Both are pure: the numbers they
    use arrive as keyword arguments, so that setting one (``regularizer.beta = 0.01``) takes effect at once and compiles
    nothing again.

    Parameters
    ----------
    f : function with distribution parameters
        A policy, or another stochastic function of the state, or of state and action.
    **hyperparams : float
        The numbers that a user may set. They are the state. Any but ``beta`` is declared in the class, as
        ``alpha = coax.Number()``. In place of a number, ``beta`` may be a :class:`LearnedTemperature`.

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

    _learned: LearnedTemperature | None = None  # what beta is, if it is not a number of one's own

    beta = Coefficient()

    def __init__(self, f: Any, **hyperparams: Any):
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
        if isinstance(hyperparams.get("beta"), LearnedTemperature):
            self._learned = hyperparams.pop("beta")
        owner = type(self)
        self._write({name: getattr(owner, name).leaf(value, owner.__name__) for name, value in hyperparams.items()})

    @property
    def f(self) -> Any:
        """The function whose distributions are looked at."""
        return self._f

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The function, and the learned temperature if there is one."""
        return (self._f,) if self._learned is None else (self._f, self._learned)

    @property
    def hyperparams(self) -> dict[str, Any]:
        """What :meth:`function` is given besides distribution parameters, at present: scalars f32[], and arrays."""
        return self._with_learned(self._peek(), None if self._learned is None else self._learned.leaf)

    def _with_learned(self, state: dict[str, Any], learned: Any) -> dict[str, Any]:
        return dict(state) if learned is None else {"beta": learned, **state}

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
        """The term per row f32[B] where the transitions start, and what to report, as a pure function.

        Parameters
        ----------
        params, state : pytrees
            The parameters and the function state of :attr:`f`.
        hyperparams : dict
            Like :attr:`hyperparams`.
        rng : key[]
        transition_batch : TransitionBatch
            Observations ``S``; of a function of state and action the actions ``A``, too.
        """
        A = transition_batch.A if self.takes_action else None
        dist_params = self._dist_params(params, state, rng, transition_batch.S, A)
        return self.function(dist_params, **hyperparams), self.metrics_func(dist_params, **hyperparams)

    def _dist_params(self, params: Any, state: Any, rng: jax.Array, S: Any, A: Any = None) -> Any:
        """Distribution parameters, leaves [B, ...], at raw observations (and actions); what is masked is excluded."""
        rule = self._f.rule
        if hasattr(rule, "forward"):
            S = prepare(S, (rule.observe,))
            return rule.dist_params(params, state, rng, S, A if A is None else prepare(A, (rule.act,)))
        dist_params, _ = self._f.function(params, state, rng, self._f.observation_preprocessor(rng, S), False)
        mask = self._f.action_mask
        return dist_params if mask is None else self._f.proba_dist.masked(dist_params, mask(S))

    # --- how an updater takes it into its own compiled function

    def extra_info(self, transition_batch: Any) -> Any:
        """What of the extra info of a batch it looks at, ready for a compiled function; None if nothing."""
        return None

    @property
    def rule(self) -> Regularizer:
        """Itself: a subclass may keep anything, so an updater shares its rule only with the same object."""
        return self

    @property
    def uses_rng(self) -> bool:
        """Whether the function draws random numbers."""
        return bool(getattr(self._f.rule, "uses_rng", True))

    @property
    def takes_action(self) -> bool:
        """Whether the function is one of state and action."""
        return getattr(self._f, "modeltype", None) is not None

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> BoundRegularizer:
        """The regularizer with the states of itself, its function and a learned temperature filled in."""
        learned = None if self._learned is None else parts[1].value
        return BoundRegularizer(self, self._with_learned(state, learned), parts[0])

    def _evaluate(
        self, dist_params: Any, live: jax.Array, hyperparams: dict[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B], and what to report: means over the rows that count, bool[B]."""

        def report(row: Any) -> dict[str, jax.Array]:
            return self.metrics_func(jax.tree.map(lambda x: x[None], row), **hyperparams)

        value = self.function(dist_params, **hyperparams)
        return value, {name: mean_of_live(x, live) for name, x in jax.vmap(report)(dist_params).items()}


def mean_of_live(x: jax.Array, live: jax.Array) -> jax.Array:
    """The mean f32[] of numbers f32[...] over those that count, bool[...]; over all, if none does."""
    return jnp.mean(x, where=live | ~live.any())


def check_regularizer(regularizer: Any, owner: str) -> None:
    """Refuse what is no regularizer."""
    if regularizer is not None and not isinstance(regularizer, Regularizer):
        raise TypeError(
            f"{owner}: expected a coax.regularizers.Regularizer, got {type(regularizer).__name__}. "
            "Fix: pass e.g. coax.regularizers.EntropyRegularizer(pi)."
        )


class BoundRegularizer(NamedTuple):
    """A regularizer with its states filled in, inside a rule."""

    regularizer: Any
    hyperparams: dict[str, Any]
    f: Any

    @property
    def is_a_return(self) -> bool:
        """Whether :meth:`at_the_end` gives discounted terms of the transition itself, as its rewards are."""
        return False

    def at_the_start(self, batch: Any, live: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B] where a transition starts, for a loss; and what to report."""
        return self.evaluate(batch.S, live, batch.A)

    def at_the_end(self, batch: Any, live: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B] where a transition ends, for a value to bootstrap from; and what to report."""
        # at the end of an episode S_next may be anything, and nothing is bootstrapped from it
        return self.evaluate(batch.S_next, live & (batch.In != 0), batch.A_next)

    def evaluate(self, S: Any, live: jax.Array, A: Any = None) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B] at raw observations, and what to report: means over the rows that count, bool[B].

        Actions are looked at by functions of state and action only.
        """
        if not self.regularizer.takes_action:
            return self.regularizer._evaluate(self.f.dist_params(S), live, self.hyperparams)
        if A is None:
            raise TypeError(
                f"{type(self.regularizer).__name__}: expected a function of the state, because this updater does not "
                f"look at actions here, got a {type(self.regularizer.f).__name__}. Fix: pass a policy."
            )
        return self.regularizer._evaluate(self.f.dist_params(S, A), live, self.hyperparams)
