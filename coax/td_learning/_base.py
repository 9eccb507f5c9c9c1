"""The shell that all TD updaters share: keeps the optimizer state, checks batches, calls the rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

import jax
import numpy as np

from .._entries import Fixed
from .._metrics import Metrics
from .._stateful import Stateful, states_of
from .._updater import Core, Updater, as_loss, check_same_spaces, poll, present
from ..approximators import Function
from ..regularizers import check_regularizer
from ..reward_tracing import TransitionBatch, needs_a_next, require_a_next
from ..typing import AbstractV
from ._heads import SCALAR, head_of
from ._rule import Parts, TDRule

__all__ = ("First", "TDLearning")


class First(Fixed):
    """A read-only name for the first of a tuple of parts, or None."""

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        found = super().__get__(obj, owner)
        return found if obj is None else next(iter(found), None)


class TDLearning(Updater):
    """Base of the TD updaters: target + loss + optimizer.

    Parameters
    ----------
    q, v : coax.Q, coax.StochasticQ, coax.V or coax.StochasticV
        What learns.
    q_targ, v_targ : same class, optional
        What the target looks at, e.g. ``q.copy()``. Default: what learns, without gradient.
    optimizer : optax.GradientTransformation, optional
        Default: ``optax.adam(0.001)``.
    loss_function : callable, optional
        ``loss_function(y_true, y_pred, w=None) -> f32[]``, the mean over the batch. Default: `coax.value_losses.huber`.
        For distributions it defines the TD error alone: what they minimise is the cross-entropy with the target (bins),
        or the quantile Huber loss (quantiles).
    policy_regularizer : Regularizer, optional
        Subtracted from the value that the target bootstraps from, at the state it bootstraps from.
    clip_weights : (float, float), optional
        Clip the sample weights; ``(0.1, 10)`` is what coax did up to 0.1.13.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, or the loss does not take or return what it should.
    ValueError
        If the target or the policy was made for other spaces than what learns.

    Notes
    -----
    The state has the entries ``optimizer_state``, ``not_finite`` (i32[]: position of the first parameter whose gradient
    was not finite, -1 while all is fine), ``rng``, and the numbers that an updater lets one set.
    """

    _uses: tuple[str, ...] = ("S", "A", "Rn", "In", "S_next")
    _reports_targ = False
    _members: int | None = None
    _clips_change = False
    _targ_name = "q_targ"

    loss_function = Fixed(
        "_loss_function", "The loss, ``loss_function(y_true, y_pred, w=None) -> f32[]``: compiled in."
    )
    policy_regularizer = Fixed(
        "_policy_regularizer", "The regularizer of the value that is bootstrapped from, or None: compiled in."
    )

    def _set_up(
        self,
        main: Any,
        targs: Any,
        backup: Callable[..., Any],
        optimizer: Any,
        loss_function: Callable[..., Any] | None,
        policy_regularizer: Any,
        clip_weights: tuple[float, float] | None,
        pis: tuple = (),
        numbers: dict[str, Any] | None = None,
    ) -> None:
        name = type(self).__name__
        if not isinstance(main, Function):
            raise TypeError(
                f"{name}: expected what learns to be a value function with parameters, got {type(main).__name__}. "
                "Fix: pass a coax.Q, coax.StochasticQ, coax.V or coax.StochasticV."
            )
        self._main = main
        self._targs: tuple = tuple(targs) if isinstance(targs, tuple | list) else (main if targs is None else targs,)
        self._pis, self._backup, self._head = pis, backup, head_of(main)
        self._loss_function = as_loss(loss_function, name)
        check_regularizer(policy_regularizer, name)
        self._policy_regularizer = policy_regularizer
        if policy_regularizer is not None:
            check_same_spaces(self, "policy_regularizer", policy_regularizer.f, main)
        argument = "v_targ" if isinstance(main, AbstractV) else self._targ_name
        for targ in self._targs:
            check_same_spaces(self, argument, targ, main)
            self._check_same_head(argument, targ)
        for pi in pis:
            check_same_spaces(self, "pi_targ", pi, main)
        self._start(main, optimizer, clip_weights, numbers)

    def _check_same_head(self, argument: str, targ: Any) -> None:
        if (head_of(targ) is SCALAR) != (self._head is SCALAR):
            raise TypeError(
                f"{type(self).__name__}: expected {argument} to have the kind of output of what learns "
                f"({type(self._main).__name__}), got {type(targ).__name__}. Fix: pass e.g. a copy of what learns."
            )

    def _make_rule(self, core: Core, plan: Callable[[Any], Any]) -> TDRule:
        parts = Parts(
            backup=self._backup,
            head=self._head,
            targs=plan(self._targs),
            pis=plan(self._pis),
            regularizer=plan(self._policy_regularizer),
            loss_function=self._loss_function,
            members=self._members,
            clips_change=self._clips_change,
            reports_targ=self._reports_targ,
        )
        return TDRule.shared(core, parts)

    @property
    def children(self) -> tuple[Stateful, ...]:
        """What learns, what the target looks at, the policy and the regularizer: those that there are."""
        return present((self._main, *self._targs, *self._pis, self._policy_regularizer))

    # --- what a user calls

    @overload
    def update(
        self, transition_batch: TransitionBatch, return_td_error: Literal[False] = False, *, wait: bool = False
    ) -> Metrics: ...

    @overload
    def update(
        self, transition_batch: TransitionBatch, return_td_error: Literal[True], *, wait: bool = False
    ) -> tuple[Metrics, jax.Array]: ...

    @overload
    def update(
        self, transition_batch: TransitionBatch, return_td_error: bool, *, wait: bool = False
    ) -> Metrics | tuple[Metrics, jax.Array]: ...

    def update(
        self, transition_batch: TransitionBatch, return_td_error: bool = False, *, wait: bool = False
    ) -> Metrics | tuple[Metrics, jax.Array]:
        """Learn from a batch of transitions, in one compiled call that nobody waits for.

        Parameters
        ----------
        transition_batch : TransitionBatch
            B transitions. Rows with ``W == 0`` count for nothing.
        return_td_error : bool, optional
            Return the TD errors f32[B] too.
        wait : bool, optional
            Wait for the result, so that gradients that are not finite raise here and not at a later call.

        Returns
        -------
        metrics : Metrics
            ``<class>/loss``, ``/td_error`` (weighted mean), ``/grads_max``, ``/grads_norm``, what a regularizer
            reports, and ``/td_error_targ`` where :attr:`report_td_error_targ` asks for it.
        td_error : f32[B]
            Only with `return_td_error`.

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
        batch = self._batch(transition_batch)
        result = self._update(batch, return_td_error, wait)
        return result if return_td_error else result[0]

    def td_error(self, transition_batch: TransitionBatch) -> jax.Array:
        """The TD errors of a batch, f32[B], without learning from it.

        They are minus the gradient of the unweighted loss per sample: target minus prediction for the squared loss, the
        same clipped to [-1, 1] for Huber's.
        """
        poll(self)
        return self._rule.td_error(states_of(self._objs), self._batch(transition_batch))

    def grads_and_metrics(self, transition_batch: TransitionBatch) -> tuple[Any, Any, Metrics, jax.Array]:
        """``(grads, function_state, metrics, td_error)`` of a batch, without applying them."""
        poll(self)
        return self._gradients(self._batch(transition_batch))

    @property
    def report_td_error_targ(self) -> bool:
        """Whether the metrics hold ``<class>/td_error_targ``, by default not.

        It is the weighted mean of what the TD errors of the target network would be, in the scale and with the sign of
        ``td_error``, and takes one more forward pass of that network. Where the target looks at what learns, it is
        ``td_error`` and takes nothing.
        """
        return self._reports_targ

    @report_td_error_targ.setter
    def report_td_error_targ(self, new: bool) -> None:
        self._reports_targ = bool(new)
        self._version += 1
        self._wire()

    # --- inside

    def _check_more(self, tb: TransitionBatch, live: Any, found: dict[str, Any]) -> None:
        if "A_next" in self._uses:
            self._require_a_next(tb, live)
            found["logP_next"] = tb.logP_next
        if self._mask is not None and isinstance(tb.In, np.ndarray):
            # nothing is bootstrapped from a terminal state, where there may be nothing left to do
            rows = (np.asarray(live) != 0) & (tb.In != 0)
            self._mask.check_values(found["S_next"], self._main.action_space, rows=rows)
        if self._policy_regularizer is not None:
            found["extra_info"] = self._policy_regularizer.extra_info(tb)

    def _require_a_next(self, tb: TransitionBatch, live: Any) -> None:
        try:
            require_a_next(tb, type(self).__name__)
        except ValueError:
            if tb.A_next is None or not isinstance(live, np.ndarray) or (needs_a_next(tb) & (live != 0)).any():
                raise
