"""The shell that all TD updaters share: keeps the optimizer state, checks batches, calls the rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .._entries import Entry, Fixed, Rng, draw_key
from .._metrics import Metrics
from .._stateful import Stateful, collect, is_tracing, states_of
from .._updater import FINITE, OptimizerAttribute, as_optimizer, call_step, raise_not_finite
from ..approximators import Function, Plan, host_only, prepare
from ..reward_tracing import TransitionBatch, check_batch, needs_a_next, require_a_next
from ..typing import AbstractStochastic, AbstractV
from ._checks import as_bounds, as_loss, check_regularizer, check_same_spaces
from ._fields import field_check
from ._heads import SCALAR
from ._rule import Batch, TDRule, Wiring

__all__ = ("TDLearning",)


class TDLearning(Stateful):
    """Base of the TD updaters: target + loss + optimizer.

    Parameters
    ----------
    q, v : coax.Q or coax.V
        What learns.
    q_targ, v_targ : same class, optional
        What the target looks at, e.g. ``q.copy()``. Default: what learns, without gradient.
    optimizer : optax.GradientTransformation, optional
        Default: ``optax.adam(0.001)``.
    loss_function : callable, optional
        ``loss_function(y_true, y_pred, w=None) -> f32[]``, the mean over the batch. Default: `coax.value_losses.huber`.
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

    _uses_a = True
    _uses_a_next = False
    _reports_targ = False
    _not_finite_hint = ""

    optimizer = OptimizerAttribute()
    optimizer_state = Entry("The state of the optimizer.")
    loss_function = Fixed(
        "_loss_function", "The loss, ``loss_function(y_true, y_pred, w=None) -> f32[]``: compiled in."
    )
    policy_regularizer = Fixed(
        "_policy_regularizer", "The regularizer of the value that is bootstrapped from, or None: compiled in."
    )
    clip_weights = Fixed("_clip_weights", "The bounds ``(low, high)`` of the sample weights, or None: compiled in.")
    rule = Fixed("_rule", "The pure functions that it compiles.")

    def _set_up(
        self,
        main: Any,
        targ: Any,
        backup: Callable,
        optimizer: Any,
        loss_function: Callable | None,
        policy_regularizer: Any,
        clip_weights: tuple[float, float] | None,
        pi_targ: Any = None,
        numbers: dict[str, Any] | None = None,
    ) -> None:
        name = type(self).__name__
        if not isinstance(main, Function) or isinstance(main, AbstractStochastic):
            raise TypeError(
                f"{name}: expected what learns to be a coax.Q or a coax.V, got {type(main).__name__}. "
                "Fix: pass a function with one number as output."
            )
        self._main, self._targ, self._pi_targ = main, main if targ is None else targ, pi_targ
        self._backup = backup
        self._optimizer = as_optimizer(optimizer, name)
        self._loss_function = as_loss(loss_function, name)
        check_regularizer(policy_regularizer, name)
        self._policy_regularizer = policy_regularizer
        self._clip_weights = as_bounds(clip_weights, name)
        check_same_spaces(self, "v_targ" if isinstance(main, AbstractV) else "q_targ", self._targ, main)
        if pi_targ is not None:
            check_same_spaces(self, "pi_targ", pi_targ, main)
        self._drops_rows = self._clip_weights is None or self._clip_weights[0] == 0
        self._mask = getattr(main, "action_mask", None)
        spaces = {"S": main.observation_space, "S_next": main.observation_space}
        if self._uses_a:
            spaces |= {"A": main.action_space, "A_next": main.action_space}
        self._fields = {field: field_check(space, field, name) for field, space in spaces.items()}
        if not jax.tree.leaves(main._peek()["params"]):
            raise TypeError(
                f"{name}: expected a function with parameters, got one without. Fix: use e.g. hk.Linear in it."
            )
        self._wire()
        self._write(
            {
                "optimizer_state": self._init_optimizer(main._peek()["params"]),
                "not_finite": FINITE,
                "rng": Rng.seeded(main._child_seed()),
                **(numbers or {}),
            }
        )

    def _wire(self) -> None:
        """Find the rule for the present ingredients."""
        objs = collect(self)
        self._others = objs[:-1]
        plans = {
            role: None if obj is None else Plan.of(obj, objs)
            for role, obj in (
                ("main", self._main),
                ("targ", self._targ),
                ("pi", self._pi_targ),
                ("regularizer", self._policy_regularizer),
            )
        }
        self._wiring = Wiring(
            name=type(self).__name__,
            backup=self._backup,
            head=SCALAR,
            own=len(objs) - 1,
            loss_function=self._loss_function,
            optimizer=self._optimizer,
            clip_weights=self._clip_weights,
            reports_targ=self._reports_targ,
            **plans,  # type: ignore[arg-type]
        )
        self._rule = TDRule.shared(self._wiring)
        rules = [obj.rule for obj in objs if isinstance(obj, Function)]
        self._observers = host_only(rule.observe for rule in rules)
        self._actors = host_only(rule.act for rule in rules)

    @property
    def _objs(self) -> tuple[Stateful, ...]:
        """All that take part in an update, itself last; a copy of an updater is itself, too."""
        return (*self._others, self)

    def _init_optimizer(self, params: Any) -> Any:
        return jax.jit(self._optimizer.init)(params)

    @property
    def children(self) -> tuple[Stateful, ...]:
        """What learns, what the target looks at, the policy and the regularizer: those that there are."""
        found = (self._main, self._targ, self._pi_targ, self._policy_regularizer)
        return tuple(obj for obj in found if obj is not None)

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh optimizer state for the present parameters of what learns, and a fresh random stream."""
        fresh = {
            "optimizer_state": self._optimizer.init(self._main._peek()["params"]),
            "not_finite": FINITE,
            "rng": Rng.seeded(key),
        }
        return {**self._state, **fresh}

    # --- what a user calls

    def update(
        self, transition_batch: TransitionBatch, return_td_error: bool = False, *, wait: bool = False
    ) -> Metrics | tuple[Metrics, Any]:
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
        self._poll()
        batch = self._batch(transition_batch)
        step = self._rule.step_with_td_error if return_td_error else self._rule.step
        result = call_step(self._objs, self._wiring.mutable, step, batch)
        if wait:
            self._poll(wait=True)
        return result if return_td_error else result[0]

    def td_error(self, transition_batch: TransitionBatch) -> jax.Array:
        """The TD errors of a batch, f32[B], without learning from it.

        They are minus the gradient of the unweighted loss per sample: target minus prediction for the squared loss, the
        same clipped to [-1, 1] for Huber's.
        """
        self._poll()
        return self._rule.td_error(states_of(self._objs), self._batch(transition_batch))

    def grads_and_metrics(self, transition_batch: TransitionBatch) -> tuple[Any, Any, Metrics, jax.Array]:
        """``(grads, function_state, metrics, td_error)`` of a batch, without applying them."""
        self._poll()
        return self._rule.gradients(states_of(self._objs), self._batch(transition_batch))

    def apply_grads(self, grads: Any, function_state: Any) -> None:
        """Step the optimizer with given gradients, and keep a given function state.

        Gradients that are not finite leave everything as it was, and raise at the next call.
        """
        self._poll()
        call_step(self._objs, self._wiring.mutable, self._rule.apply, grads, function_state)

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

    @property
    def rng(self) -> jax.Array:
        """A fresh key. Every read gives another one; nothing inside coax reads it."""
        return draw_key(self)

    # --- inside

    def _poll(self, wait: bool = False) -> None:
        if is_tracing():
            return
        flag = self._state["not_finite"]
        if flag is FINITE or not (wait or isinstance(flag, np.ndarray) or flag.is_ready()) or np.asarray(flag) < 0:
            return
        self._write({**self._state, "not_finite": FINITE}, self._owned)
        raise_not_finite(type(self).__name__, flag, self._main._peek()["params"], self._not_finite_hint)

    def _inspect(self, state: dict[str, Any]) -> None:
        flag = np.asarray(state["not_finite"])
        raise_not_finite(type(self).__name__, flag, self._main._state["params"], self._not_finite_hint)

    def _batch(self, tb: TransitionBatch) -> Batch:
        """Check a batch, leave out what the update does not need, and run host-only preprocessors."""
        check_batch(tb)
        Rn, In, W = tb.Rn, tb.In, tb.W
        if not (np.ndim(Rn) == np.ndim(In) == np.ndim(W) == 1 and len(W)):
            raise self._bad_scalars(tb)
        live, fields = W if self._drops_rows else np.ones(len(W)), self._fields
        S, S_next = fields["S"](tb.S, live), fields["S_next"](tb.S_next, live)
        A = fields["A"](tb.A, live) if self._uses_a else None
        A_next = logP_next = None
        if self._uses_a_next:
            self._require_a_next(tb, live)
            A_next, logP_next = fields["A_next"](tb.A_next, live), tb.logP_next
        if self._mask is not None and isinstance(In, np.ndarray):
            # nothing is bootstrapped from a terminal state, where there may be nothing left to do
            self._mask.check_values(S_next, self._main.action_space, rows=(np.asarray(live) != 0) & (In != 0))
        if self._observers:
            S, S_next = prepare(S, self._observers), prepare(S_next, self._observers)
        if self._actors:
            A, A_next = (x if x is None else prepare(x, self._actors) for x in (A, A_next))
        extra_info = None if self._policy_regularizer is None else tb.extra_info
        return Batch(S, A, Rn, In, S_next, A_next, logP_next, W, extra_info)

    def _bad_scalars(self, tb: TransitionBatch) -> ValueError:
        name = type(self).__name__
        for field in ("Rn", "In", "W"):
            value = getattr(tb, field)
            if np.ndim(value) != 1:
                return ValueError(
                    f"{name}: expected one {field} per transition, got shape {np.shape(value)}. "
                    f"Fix: pass {field} with shape [B]."
                )
        return ValueError(
            f"{name}: expected at least one transition, got a batch of size 0. "
            "Fix: skip the update while there is nothing to learn from."
        )

    def _require_a_next(self, tb: TransitionBatch, live: Any) -> None:
        try:
            require_a_next(tb, type(self).__name__)
        except ValueError:
            if tb.A_next is None or not isinstance(live, np.ndarray) or (needs_a_next(tb) & (live != 0)).any():
                raise
