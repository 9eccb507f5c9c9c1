"""The shell that all policy objectives share."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from .._entries import Fixed
from .._metrics import Metrics
from .._stateful import Stateful
from .._updater import Core, Updater, poll, present
from ..approximators import Policy
from ..regularizers import Regularizer, check_regularizer
from ..reward_tracing import TransitionBatch
from ._objectives import Objective
from ._rule import Parts, PolicyRule

__all__ = ("PolicyObjective",)


class PolicyObjective(Updater):
    r"""Base of the updaters of policies: objective + regularizer + optimizer.

    The loss is minus the objective plus the regularizer, each the mean over the batch, weighted with ``W``.

    Parameters
    ----------
    pi : coax.Policy
        What learns.
    optimizer : optax.GradientTransformation, optional
        Default: ``optax.adam(0.001)``.
    regularizer : Regularizer, optional
        One of the policy itself. It is differentiated, too.
    clip_weights : (float, float), optional
        Clip the sample weights; ``(0.1, 10)`` is what coax did up to 0.1.13.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If the regularizer was made from another kind of function.

    Notes
    -----
    The state has the entries ``optimizer_state``, ``not_finite`` (i32[]: position of the first parameter whose gradient
    was not finite, -1 while all is fine), ``rng``, and the numbers that an objective lets one set.
    """

    REQUIRES_PROPENSITIES: bool | None = None

    _looks_at_advantages = False
    _not_finite_hint = (
        " An action that the policy excludes has no gradient: is the mask of the batch the one that it was chosen "
        "with? And a ratio to the probability in logP may be too large for a float."
    )
    _qs: tuple = ()
    _objective: Objective

    pi = Fixed("_main", "The policy that learns.")
    regularizer = Fixed("_regularizer", "The regularizer, or None: compiled in.")

    @abc.abstractmethod
    def __init__(
        self, pi: Policy, optimizer: optax.GradientTransformation | None = None, regularizer: Regularizer | None = None
    ):
        """A subclass names its parts, and calls :meth:`_set_up`."""

    def _set_up(
        self,
        pi: Policy,
        objective: Objective,
        optimizer: Any,
        regularizer: Any,
        clip_weights: tuple[float, float] | None,
        numbers: dict[str, Any] | None = None,
    ) -> None:
        self._check_pi(pi)
        self._check_regularizer(pi, regularizer)
        self._main, self._objective, self._regularizer = pi, objective, regularizer
        self._numbers = tuple(numbers or ())
        self._start(pi, optimizer, clip_weights, numbers)

    def _check_pi(self, pi: Any) -> None:
        if not isinstance(pi, Policy):
            raise TypeError(
                f"{type(self).__name__}: expected pi to be a coax.Policy, got {type(pi).__name__}. "
                "Fix: pass a policy with parameters of its own."
            )

    def _check_regularizer(self, pi: Policy, regularizer: Any) -> None:
        name = type(self).__name__
        check_regularizer(regularizer, name)
        if regularizer is not None and regularizer.f.rule is not pi.rule:
            raise ValueError(
                f"{name}: expected a regularizer of pi itself, got one of another {type(regularizer.f).__name__}. "
                f"Fix: make it from the policy that learns: {type(regularizer).__name__}(pi)."
            )

    def _make_rule(self, core: Core, plan: Callable[[Any], Any]) -> PolicyRule:
        parts = Parts(objective=self._objective, qs=plan(self._qs), regularizer=plan(self._regularizer))
        return PolicyRule.shared(core, parts)

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The policy, the q-functions and the regularizer: those that there are."""
        return present((self._main, *self._qs, self._regularizer))

    @property
    def hyperparams(self) -> dict[str, Any]:
        """The numbers that it uses at present, f32[] by name; those of the regularizer under ``regularizer``."""
        state = self._peek()
        own = {name: state[name] for name in self._numbers}
        return own | {"regularizer": {} if self._regularizer is None else self._regularizer.hyperparams}

    # --- what a user calls

    def update(self, transition_batch: TransitionBatch, Adv: Any = None, *, wait: bool = False) -> Metrics:
        """Learn from a batch of transitions, in one compiled call that nobody waits for.

        Parameters
        ----------
        transition_batch : TransitionBatch
            B transitions. Rows with ``W == 0`` count for nothing.
        Adv : f32[B], optional
            The advantages of the actions. Default: ``extra_info['Adv']`` of the batch, which
            :class:`coax.reward_tracing.LambdaReturn` puts there. Objectives that look at values instead ignore it.
        wait : bool, optional
            Wait for the result, so that gradients that are not finite raise here and not at a later call.

        Returns
        -------
        metrics : Metrics
            ``<class>/loss``, ``/loss_bare`` (without the regularizer), ``/grads_max``, ``/grads_norm``, what the
            objective itself says, and what a regularizer reports.

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
        return self._update(self._prepared(transition_batch, Adv), False, wait)[0]

    def grads_and_metrics(self, transition_batch: TransitionBatch, Adv: Any = None) -> tuple[Any, Any, Metrics]:
        """``(grads, function_state, metrics)`` of a batch, without applying them."""
        poll(self)
        return self._gradients(self._prepared(transition_batch, Adv))[:3]

    # --- inside

    def _prepared(self, tb: TransitionBatch, Adv: Any) -> Any:
        if not self._looks_at_advantages:
            return self._batch(tb)
        if Adv is None and isinstance(getattr(tb, "extra_info", None), dict):
            Adv = tb.extra_info.get("Adv")
        batch = self._batch(tb)
        if not isinstance(Adv, jax.Array | np.ndarray):
            Adv = np.asarray(np.nan if Adv is None else Adv, float)
        if np.shape(Adv) != np.shape(batch.W) or Adv.dtype.kind not in "fiu":
            raise ValueError(
                f"{type(self).__name__}: expected one advantage per transition, Adv with shape {np.shape(batch.W)}, "
                f"got {f'shape {np.shape(Adv)}' if np.ndim(Adv) else 'none'}. Fix: pass Adv, e.g. the TD errors "
                "of a state value, or trace with coax.reward_tracing.LambdaReturn, which keeps them in extra_info."
            )
        return batch._replace(Adv=Adv)

    def _check_more(self, tb: TransitionBatch, live: Any, found: dict[str, Any]) -> None:
        if self._regularizer is not None:
            found["extra_info"] = self._regularizer.extra_info(tb)
