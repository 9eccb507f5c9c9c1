"""Supervised learning of models of the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optax

from .._entries import Fixed
from .._metrics import Metrics
from .._stateful import Stateful
from .._updater import Core, Updater, as_loss, poll, present
from ..approximators import Function
from ..regularizers import Regularizer, check_regularizer
from ..reward_tracing import TransitionBatch
from ..typing import AbstractRewardFunction, AbstractStochastic, AbstractTransitionModel
from ._losses import (
    compare_directly,
    compare_likelihood,
    compare_sample,
    compare_sampled_number,
    next_input,
    next_variate,
    reward,
)
from ._rule import ModelRule, Parts

__all__ = ("ModelUpdater",)


class ModelUpdater(Updater):
    r"""Learns a model of the next state or of the reward from transitions.

    What is minimised, as a mean over the batch:

    ================================ ==================================================================================
    :class:`TransitionModel`         the loss between ``S_next``, preprocessed as the model preprocesses observations,
                                     and the output of the model; summed over the parts of a composite observation
    :class:`RewardFunction`          the loss between the transformed reward and the output of the model
    stochastic models                minus the log-probability of the next observation, or of the bin that the
                                     (transformed) reward falls into
    stochastic models with a         the loss between the same and a reparametrised sample
    `loss_function`
    ================================ ==================================================================================

    A model looks one step ahead, so trace with n=1. With a larger n the rewards are partial returns and the next states
    lie n steps on: what is then learned is how things go on after an action, by the policy that was played.
    ``MonteCarlo`` has no next states at all.

    Rows without a next state are left out where next states are learned. Those are the rows with ``In == 0`` whose
    ``S_next`` equals ``S``: at a termination a tracer puts the true last observation there if it was told,
    ``tracer.add(..., done, s_next=s_next)``, and else the present one, which says nothing. A true transition from a
    state into the same one, that is terminal, cannot be told from these. Nor can any transition into the same state in
    a batch of ``LambdaReturn``, where ``In`` is 0 everywhere: trace with ``NStep``.

    Parameters
    ----------
    model : coax.TransitionModel, StochasticTransitionModel, RewardFunction or StochasticRewardFunction
        What learns.
    optimizer : optax.GradientTransformation, optional
        Default: ``optax.adam(0.001)``.
    loss_function : callable, optional
        ``loss_function(y_true, y_pred, w=None) -> f32[]``, the mean over the batch, of arrays f32[B, ...]. Default:
        `coax.value_losses.huber` for deterministic models, the likelihood for stochastic ones.
    regularizer : Regularizer, optional
        One of a stochastic model, made from the model itself. It is added to the loss.
    clip_weights : (float, float), optional
        Clip the sample weights; ``(0.1, 10)`` is what coax did up to 0.1.13.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or there is a regularizer but the model is deterministic.
    ValueError
        If the regularizer was made from another function.

    Notes
    -----
    The state has the entries ``optimizer_state``, ``not_finite`` (i32[]: position of the first parameter whose gradient
    was not finite, -1 while all is fine) and ``rng``.

    References
    ----------
    Sutton and Barto (2018), sections 8.1 and 8.2; Chua et al. (2018), Deep reinforcement learning in a handful of
    trials, section 4 (likelihood of probabilistic models).
    """

    model = Fixed("_main", "The model.")
    loss_function = Fixed("_loss_function", "The loss, or None for the likelihood: compiled in.")
    regularizer = Fixed("_regularizer", "The regularizer, or None: compiled in.")

    def __init__(
        self,
        model: Function,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        regularizer: Regularizer | None = None,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        name = type(self).__name__
        if not (isinstance(model, Function) and isinstance(model, AbstractTransitionModel | AbstractRewardFunction)):
            raise TypeError(
                f"{name}: expected a transition model or a reward function, got {type(model).__name__}. "
                "Fix: pass e.g. a coax.TransitionModel."
            )
        self._main, self._is_stochastic = model, isinstance(model, AbstractStochastic)
        self._predicts_states = isinstance(model, AbstractTransitionModel)
        self._uses = ("S", "A", "In", "S_next") if self._predicts_states else ("S", "A", "Rn")
        likelihood = self._is_stochastic and loss_function is None
        self._loss_function = None if likelihood else as_loss(loss_function, name)
        self._draws = self._is_stochastic and not likelihood
        self._regularizer = self._checked(regularizer)
        self._start(model, optimizer, clip_weights)

    def _checked(self, regularizer: Any) -> Any:
        name = type(self).__name__
        check_regularizer(regularizer, name)
        if regularizer is None:
            return None
        if not self._is_stochastic:
            raise TypeError(
                f"{name}: expected no regularizer for a {type(self._main).__name__}, which has no distribution, got "
                f"{type(regularizer).__name__}. Fix: leave it out, or use a stochastic model."
            )
        if regularizer.f is not self._main:
            raise ValueError(
                f"{name}: expected a regularizer of the model itself, got one of another "
                f"{type(regularizer.f).__name__}, which this updater does not change. "
                f"Fix: make it from the model: {type(regularizer).__name__}(model)."
            )
        return regularizer

    def _make_rule(self, core: Core, plan: Callable[[Any], Any]) -> ModelRule:
        parts = Parts(
            goal=self._goal(),
            compare=self._comparison(),
            loss_function=self._loss_function,
            regularizer=plan(self._regularizer),
            needs_next=self._predicts_states,
        )
        return ModelRule.shared(core, parts)

    def _goal(self) -> Callable[..., Any]:
        if not self._predicts_states:
            return reward
        return next_variate if self._is_stochastic else next_input

    def _comparison(self) -> Callable[..., Any]:
        if not self._is_stochastic:
            return compare_directly
        if self._loss_function is None:
            return compare_likelihood
        return compare_sample if self._predicts_states else compare_sampled_number

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The model, and the regularizer if there is one."""
        return present((self._main, self._regularizer))

    @property
    def hyperparams(self) -> dict[str, Any]:
        """Those of the regularizer, at present."""
        return {} if self._regularizer is None else self._regularizer.hyperparams

    # --- what a user calls

    def update(self, transition_batch: TransitionBatch, *, wait: bool = False) -> Metrics:
        """Learn from a batch of transitions, in one compiled call that nobody waits for.

        Parameters
        ----------
        transition_batch : TransitionBatch
            B transitions. Rows with ``W == 0`` count for nothing.
        wait : bool, optional
            Wait for the result, so that gradients that are not finite raise here and not at a later call.

        Returns
        -------
        metrics : Metrics
            ``ModelUpdater/loss``, ``/loss_bare`` (without the regularizer), ``/grads_max``, ``/grads_norm``, and what a
            regularizer reports.

        Raises
        ------
        RuntimeError
            If the gradients of an earlier call (with `wait`: of this one) were not finite. The parameters were kept.
        ValueError
            If the fields of the batch disagree in length, lack what the update needs, or hold what is not an element
            of the spaces; or if the batch is empty.
        TypeError
            If a field holds floats where its space is discrete.
        """
        poll(self)
        return self._update(self._batch(transition_batch), False, wait)[0]

    def grads_and_metrics(self, transition_batch: TransitionBatch) -> tuple[Any, Any, Metrics]:
        """``(grads, function_state, metrics)`` of a batch, without applying them."""
        poll(self)
        return self._gradients(self._batch(transition_batch))[:3]
