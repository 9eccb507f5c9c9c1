"""A bonus for the entropy at several states of a transition."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Fixed, Number
from .._stateful import collect
from ..approximators import Function, host_only, prepare
from ._base import BoundRegularizer, Regularizer, mean_of_live
from ._learned_temperature import LearnedTemperature

__all__ = ("NStepEntropyRegularizer",)


class NStepEntropyRegularizer(Regularizer):
    r"""The term :math:`-\beta \sum_{k} \gamma^{n_k}\,\mathcal{H}[f(S_{t+n_k})]`, over the offsets :math:`n_k`.

    States beyond the end of the episode contribute nothing. The terminal state is beyond it, for nothing is chosen
    there; the last observation of a truncated episode is not. The states come with the batch: trace it with
    ``NStep(n, gamma, record_extra_info=True)``, where n is at least the largest offset.

    The term belongs to the whole transition, whose discounts it contains. In a loss it is added as it is, so that the
    offsets ``range(n)`` make a policy keep its entropy all along. In a TD target it is taken off the partial return,
    as if the bonuses were rewards: it is not discounted again, and the states before a termination count also where
    nothing is bootstrapped from. The soft n-step return of a q-function, whose first action is given, has the offsets
    ``range(1, n + 1)``; that of a state value ``range(n)`` if the value that is bootstrapped from contains the bonus of
    its own state.

    Parameters
    ----------
    f : policy, or another stochastic function of the state
    n : list, tuple, range or array of int
        The offsets, each once, 0 for the start of the transition.
    beta : float or LearnedTemperature, optional
        How much a nat of entropy is worth. May be set at any time; nothing is compiled again.
    gamma : float, optional
        Discount factor, in [0, 1]. May be set at any time.

    Raises
    ------
    TypeError
        If `f` is not a stochastic function of the state, `n` is no sequence of integers, or `beta` is no number; at the
        update, if the batch has no such `extra_info`.
    ValueError
        If `n` is empty, or holds negative numbers or one twice; at the update, if an offset is larger than the n of the
        tracer.

    Notes
    -----
    It reports ``EntropyRegularizer/beta`` and ``EntropyRegularizer/entropy``: the mean entropy, without discounts, over
    all states that contribute. In the metrics of an updater these stand behind its name.
    """

    gamma = Number(0, 1)
    n = Fixed("_n", "The offsets.", "regularizer")

    def __init__(self, f: Any, n: Any, beta: float | LearnedTemperature = 0.001, gamma: float = 0.99):
        self._n = _as_offsets(n)
        super().__init__(f, beta=beta, gamma=gamma)
        if self.takes_action:
            raise TypeError(
                f"NStepEntropyRegularizer: expected a function of the state, got a {type(f).__name__}. "
                "Fix: pass a policy."
            )

    def function(self, dist_params: Any, dones: Any, beta: Any, gamma: Any) -> jax.Array:  # type: ignore[override]
        """The term per row, f32[B].

        Parameters
        ----------
        dist_params : pytree of arrays [K, B, ...]
            One entry per offset.
        dones : bool[T, B]
            Whether the episode was over after each of the steps 0, 1, ..., up to the last offset or beyond.
        beta, gamma : f32[]
        """
        return self._term(self.f.proba_dist.entropy(dist_params), self._valid(dones), beta, gamma)

    def metrics_func(  # type: ignore[override]
        self, dist_params: Any, dones: Any, beta: Any, gamma: Any
    ) -> dict[str, jax.Array]:
        """``beta``, and the mean entropy in nats over the states that contribute. Arguments as above."""
        return self._report(beta, self.f.proba_dist.entropy(dist_params), self._valid(dones) > 0)

    @staticmethod
    def valid_from_done(dones: Any) -> jax.Array:
        """Which steps are part of the episode, f32[T, B]: 1 up to the first that is done, which is one too, then 0.

        Parameters
        ----------
        dones : bool[T, B]
        """
        over = jnp.cumsum(jnp.asarray(dones, jnp.float32), axis=0)
        before = jnp.concatenate([jnp.zeros_like(over[:1]), over[:-1]])
        return 1 - jnp.minimum(before, 1)

    def batch_eval(
        self, params: Any, hyperparams: dict[str, Any], state: Any, rng: jax.Array, transition_batch: Any
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The term per row f32[B], and what to report, as a pure function: see :meth:`Regularizer.batch_eval`."""
        dist_params, dones = self._along(
            functools.partial(self._dist_params, params, state, rng), transition_batch.extra_info
        )
        return self.function(dist_params, dones, **hyperparams), self.metrics_func(dist_params, dones, **hyperparams)

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> BoundRegularizer:
        """The regularizer with the states of itself, its function and a learned temperature filled in."""
        return BoundAlong(*super().bind(state, parts, key))

    # --- inside

    def extra_info(self, transition_batch: Any) -> Any:
        """The states and the ends along the transitions."""
        states, dones = self._steps(transition_batch.extra_info)
        functions = [obj for obj in collect(self._f) if isinstance(obj, Function)]
        observers = host_only(function.rule.observe for function in functions)
        return {"states": [prepare(S, observers) for S in states], "dones": dones}

    def _valid(self, dones: Any) -> jax.Array:
        return self.valid_from_done(dones)[np.array(self._n)]

    def _term(self, entropy: jax.Array, valid: jax.Array, beta: Any, gamma: Any) -> jax.Array:
        discount = jnp.asarray(gamma, entropy.dtype) ** np.array(self._n)[:, None]
        # what lies beyond the end may be anything: it is left out, not multiplied with 0
        return -beta * jnp.sum(jnp.where(valid > 0, discount * entropy, 0.0), axis=0)

    @staticmethod
    def _report(beta: Any, entropy: jax.Array, counts: jax.Array) -> dict[str, Any]:
        mean = jnp.where(counts.any(), mean_of_live(entropy, counts), 0.0)
        return {"EntropyRegularizer/beta": beta, "EntropyRegularizer/entropy": mean}

    def _along(self, dist_params: Any, extra_info: Any) -> tuple[Any, jax.Array]:
        """Distribution parameters at the offsets, leaves [K, B, ...], and ``dones``, bool[T, B]."""
        states, dones = self._steps(extra_info)
        some = [states[i] for i in self._n]
        rows = jax.tree.map(lambda *xs: jnp.concatenate(xs), *some)  # one forward pass for all
        found = dist_params(rows)
        return jax.tree.map(lambda x: x.reshape(len(some), -1, *x.shape[1:]), found), jnp.stack(dones)

    def _steps(self, extra_info: Any) -> tuple[Any, Any]:
        fix = f"Fix: trace with NStep(n={max(max(self._n), 1)}, gamma=..., record_extra_info=True), or a larger n."
        if not isinstance(extra_info, dict) or not {"states", "dones"} <= extra_info.keys():
            got = f"the keys {sorted(extra_info)}" if isinstance(extra_info, dict) else type(extra_info).__name__
            raise TypeError(
                "NStepEntropyRegularizer: expected transition_batch.extra_info to be a dict with 'states' and 'dones', "
                f"got {got}. {fix}"
            )
        states, dones = extra_info["states"], extra_info["dones"]
        if not max(self._n) < len(states) == len(dones):
            raise ValueError(
                f"NStepEntropyRegularizer: expected at least {max(self._n) + 1} states in transition_batch.extra_info "
                f"for the offset {max(self._n)}, got {len(states)}. {fix}"
            )
        return states, dones


class BoundAlong(BoundRegularizer):
    """With its states filled in, inside a rule: it looks along the transition, wherever it is asked."""

    __slots__ = ()

    @property
    def is_a_return(self) -> bool:
        return True

    def at_the_start(self, batch: Any, live: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        dist_params, dones = self.regularizer._along(self.f.dist_params, batch.extra_info)
        entropy = self.regularizer.f.proba_dist.entropy(dist_params)
        valid, beta = self.regularizer._valid(dones), self.hyperparams["beta"]
        term = self.regularizer._term(entropy, valid, beta, self.hyperparams["gamma"])
        return term, self.regularizer._report(beta, entropy, (valid > 0) & live)

    at_the_end = at_the_start


def _as_offsets(n: Any) -> tuple[int, ...]:
    """The offsets as integers.

    Raises
    ------
    TypeError, ValueError
        If they are none.
    """
    known = isinstance(n, list | tuple | range | np.ndarray | jax.Array) and np.ndim(n) == 1
    if not known or (len(n) and np.asarray(n).dtype.kind not in "iu"):
        raise TypeError(
            f"n: expected a list, tuple, range or array of integers, got {n!r}. Fix: pass the offsets, such as n=[5]."
        )
    offsets = tuple(int(i) for i in n)
    if not offsets or min(offsets) < 0 or len(set(offsets)) < len(offsets):
        raise ValueError(
            f"n: expected at least one offset, none negative and each once, got {offsets}. Fix: pass such as n=[5]."
        )
    return offsets
