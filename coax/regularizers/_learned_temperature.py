"""A temperature that keeps the entropy of a policy at a target."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Entry, Fixed, Number, Rng
from .._metrics import Metrics
from .._stateful import Stateful, collect, is_tracing
from .._updater import (
    FINITE,
    Batch,
    Core,
    GradientRule,
    Loss,
    Weights,
    as_optimizer,
    call_step,
    field_check,
    poll,
    raise_not_finite,
)
from ..approximators import Function, Plan, host_only, prepare
from ..reward_tracing import TransitionBatch, check_batch
from ..typing import AbstractPolicy
from ._target_entropy import default_target_entropy

__all__ = ("LearnedTemperature",)


# --- the pure part ----------------------------------------------------------------------------------------------------


class TemperatureCore(Core):
    """What learns is a part of the updater's own state."""

    __slots__ = ()

    @property
    def mutable(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        return ((self.own, ("log_temperature", "optimizer_state")),)


class TemperatureRule(GradientRule):
    """Pure functions of the states of a learned temperature and its policy.

    Parameters
    ----------
    core : TemperatureCore
        Its `main` is the policy.
    dist : BaseProbaDist
        The distribution of the actions.
    """

    def __init__(self, core: TemperatureCore, dist: Any):
        super().__init__(core)
        self.dist = dist
        self.uses_rng = False  # to read the temperature draws nothing

    def main(self, states: list) -> dict[str, Any]:
        own = states[self.core.own]
        return {"params": {"log_temperature": own["log_temperature"]}, "function_state": {}}

    def loss(self, states: list, batch: Batch, weights: Weights, key: Any) -> Loss:
        """``temperature * (entropy - target)``, the weighted mean."""
        own = states[self.core.own]
        entropy = self.dist.entropy(self.core.main.bind(states, key).dist_params(batch.S))
        excess = weights.mean(entropy - own["target_entropy"])

        def cost(params: dict[str, jax.Array]) -> tuple[jax.Array, tuple]:
            temperature = jnp.exp(params["log_temperature"])
            return temperature * excess, ({}, temperature)

        def finish(temperature: jax.Array) -> tuple[dict[str, jax.Array], None]:
            some = weights.live | ~weights.live.any()
            return {"temperature": temperature, "entropy": jnp.mean(entropy, where=some)}, None

        return Loss(cost, finish)

    def _advance(self, states: list, grads: Any, function_state: Any, some: Any = True) -> list[dict[str, Any]]:
        own, main = super()._advance(states, grads, function_state, some)
        return [{**own, **main["params"]}]

    def bind(self, state: dict[str, Any], parts: tuple, key: Any) -> BoundTemperature:
        """The temperature with a state filled in."""
        return BoundTemperature(jnp.exp(state["log_temperature"]))


class BoundTemperature(NamedTuple):
    """A learned temperature with its state filled in, inside a rule."""

    value: jax.Array


# --- the shell --------------------------------------------------------------------------------------------------------


class LearnedTemperature(Stateful):
    r"""A temperature :math:`\alpha` that is learned, so that the entropy of a policy stays at a target.

    Pass it as `beta` to a regularizer: it is then read, as it is at that time, by every update that the regularizer
    takes part in. Each :meth:`update` is a step of the optimizer with respect to :math:`\log\alpha` on

    .. math::

        J(\alpha) = \alpha\,\left(\mathbb{E}_S\,\mathcal{H}[\pi(\cdot|S)] - \bar{\mathcal{H}}\right)

    the loss of the paper below, with the exact entropy in place of minus the log-probability of a sample. Its gradient
    is :math:`\alpha` times the difference: the temperature falls while there is more entropy than the target asks for.

    Parameters
    ----------
    pi : policy
        Held by reference.
    target_entropy : float, optional
        In nats, in the units of ``pi.proba_dist.entropy``. It may be set at any time. Default: a sum over the parts of
        the action,

        ============================ ===============================================================================
        Discrete, n actions          0.98 log n, almost uniform (masked actions count as actions)
        Box, SquashedNormalDist      -1 per dimension in units in which the Box reaches from -1 to 1, so that for a Box
                                     from l to h it is -1 + log((h - l) / 2)
        Box, NormalDist              -1 + log 2 per dimension, in logit space, where its entropies are: as narrow as
                                     the other, if both are in the middle of the Box
        ============================ ===============================================================================
    initial : float, optional
        The temperature to start from.
    optimizer : optax.GradientTransformation, optional
        Of the logarithm of the temperature. Default: ``optax.adam(0.001)``.

    Raises
    ------
    TypeError
        If `pi` is no policy, or there is no default target for its actions.
    ValueError
        If `initial` is not positive.

    Notes
    -----
    The state has the entries ``log_temperature`` and ``target_entropy`` (f32[]), ``optimizer_state``, ``not_finite``
    (i32[]: 0 if the gradient was not finite, -1 while all is fine) and ``rng``.

    References
    ----------
    Haarnoja et al. (2018), Soft actor-critic algorithms and applications, section 5, equation 18 and appendix D;
    Christodoulou (2019), Soft actor-critic for discrete action settings.

    Examples
    --------
    >>> temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(3e-4))
    >>> regularizer = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
    >>> metrics = temperature.update(batch)
    """

    target_entropy = Number()
    log_temperature = Entry("The logarithm of the temperature, f32[].")
    optimizer_state = Entry("The state of the optimizer.")
    pi = Fixed("_pi", "The policy.", "temperature")
    optimizer = Fixed("_optimizer", "The optimizer: compiled in.", "temperature")
    rule = Fixed("_rule", "The pure functions that it compiles.", "temperature")

    def __init__(self, pi: Any, target_entropy: float | None = None, initial: float = 1.0, optimizer: Any = None):
        name = type(self).__name__
        _check_policy(pi, name)
        self._pi, dist = pi, pi.proba_dist
        self._optimizer = as_optimizer(optimizer, name)
        self._initial = _log_of(initial, f"{name}: expected initial")
        target = default_target_entropy(dist) if target_entropy is None else target_entropy
        objs = collect(self)
        self._others = objs[:-1]
        functions = [obj for obj in self._others if isinstance(obj, Function)]
        self._observers = host_only(function.rule.observe for function in functions)
        self._check = field_check(pi.observation_space, "S", name)
        core = TemperatureCore(name, Plan.of(pi, objs), len(objs) - 1, self._optimizer, None, pi.rule.uses_rng)
        self._rule: TemperatureRule = TemperatureRule.shared(core, dist)
        target = type(self).target_entropy.leaf(target, name)
        self._write({**self._fresh(functions[0]._child_seed()), "target_entropy": target})

    def _fresh(self, seed: int | jax.Array) -> dict[str, Any]:
        return {
            "log_temperature": self._initial,
            "optimizer_state": self._optimizer.init({"log_temperature": self._initial}),
            "not_finite": FINITE,
            "rng": Rng.seeded(seed),
        }

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The policy."""
        return (self._pi,)

    def init(self, key: jax.Array) -> dict[str, Any]:
        """The temperature to start from, fresh optimizer state and random stream, and the present target."""
        return {**self._state, **self._fresh(key)}

    @property
    def value(self) -> Any:
        """The temperature: a float, inside a trace f32[]. May be set; the optimizer state stays."""
        return self.leaf if is_tracing() else float(np.exp(np.asarray(self._peek()["log_temperature"])))

    @value.setter
    def value(self, new: float | jax.Array) -> None:
        traced = isinstance(new, jax.core.Tracer)
        log: Any = jnp.log(new) if traced else _log_of(new, f"{type(self).__name__}.value: expected it")
        state = self._peek()
        log = log.astype(state["log_temperature"].dtype)
        self._write({**state, "log_temperature": log}, self._owned - {"log_temperature"})

    @property
    def leaf(self) -> jax.Array:
        """The temperature as an array f32[], where it is."""
        return jnp.exp(self._peek()["log_temperature"])

    def update(self, transition_batch: TransitionBatch, *, wait: bool = False) -> Metrics:
        """Take a step towards the target entropy, in one compiled call that nobody waits for.

        Parameters
        ----------
        transition_batch : TransitionBatch
            B transitions, of which the observations ``S`` and the weights ``W`` are used. Rows with ``W == 0`` count
            for nothing.
        wait : bool, optional
            Wait for the result, so that a gradient that is not finite raises here and not at a later call.

        Returns
        -------
        metrics : Metrics
            ``<class>/loss``, ``/temperature`` (that of the loss, before the step), ``/entropy`` (mean over the rows
            that count), ``/grads_max``, ``/grads_norm``.

        Raises
        ------
        RuntimeError
            If the gradient of an earlier call (with `wait`: of this one) was not finite. The temperature was kept.
        ValueError
            If the observations are not elements of the space, or the batch is empty.
        """
        poll(self)
        check_batch(transition_batch)
        W = transition_batch.W
        if np.ndim(W) != 1 or not len(W):
            raise ValueError(
                f"{type(self).__name__}: expected W with shape [B] and at least one row, got shape {np.shape(W)}. "
                "Fix: pass what a tracer's pop() or a buffer's sample() returned."
            )
        S = prepare(self._check(transition_batch.S, W), self._observers)
        mutable = self._rule.core.mutable
        (metrics,) = call_step((*self._others, self), mutable, self._rule.step, Batch(S=S, W=W))
        if wait:
            poll(self, wait=True)
        return metrics

    def _poll(self) -> None:
        poll(self)

    def _inspect(self, state: dict[str, Any]) -> None:
        hint = " Look at the entropy of the policy: a law over numbers has none where it excludes all but one."
        raise_not_finite(type(self).__name__, np.asarray(state["not_finite"]), {"log_temperature": 0.0}, hint)


def _check_policy(pi: Any, owner: str) -> None:
    if not isinstance(pi, AbstractPolicy):
        raise TypeError(f"{owner}: expected a policy, got {type(pi).__name__}. Fix: pass a coax.Policy.")


def _log_of(temperature: Any, text: str) -> np.ndarray:
    """The logarithm of a positive number, as a state leaf."""
    number = np.ndim(temperature) == 0 and np.asarray(temperature).dtype.kind in "fiu"
    if not number or not 0 < float(temperature) < np.inf:
        raise ValueError(f"{text} to be a positive number, got {temperature!r}. Fix: 1.0 is customary.")
    return np.asarray(np.log(float(temperature)), jax.dtypes.canonicalize_dtype(float))
