"""The shell that all updaters share: keeps the optimizer state, checks batches, calls the rule."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from .._entries import Fixed, Rng, draw_key
from .._metrics import Metrics
from .._stateful import Stateful, collect, states_of
from ..approximators import Function, Plan, host_only, prepare
from ..reward_tracing import TransitionBatch, check_batch
from ._checks import as_bounds
from ._fields import field_check
from ._in_place import FINITE, call_step, poll, raise_not_finite
from ._optimizer import OptimizerAttribute, OptimizerState, as_optimizer
from ._packing import Packing
from ._rule import Batch, Core, GradientRule

__all__ = ("Updater", "present")


class Updater(Stateful):
    """What every updater is: something that learns, what its loss looks at, and an optimizer.

    A subclass calls :meth:`_start` when it knows its parts, and defines :attr:`children` and :meth:`_make_rule`. The
    state has the entries ``optimizer_state`` (as long as it is small, packed into one vector for each dtype),
    ``not_finite`` (i32[]: position of the first parameter whose gradient was not finite, -1 while all is fine),
    ``rng``, and the numbers that an updater lets one set.
    """

    _uses: tuple[str, ...] = ()  # the fields of a batch that the loss looks at, besides W
    _draws = False  # whether the loss draws random numbers of its own
    _not_finite_hint = ""
    _main: Any
    _rule: Any

    optimizer = OptimizerAttribute()
    optimizer_state = OptimizerState("The state of the optimizer.")
    clip_weights = Fixed("_clip_weights", "The bounds ``(low, high)`` of the sample weights, or None: compiled in.")
    rule = Fixed("_rule", "The pure functions that it compiles.")

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in ("target_func", "objective_func"):  # what a class could override up to 0.1.13
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{name}: expected no such method, because nothing calls it: an updater is compiled "
                    "from plain functions. Fix: differentiate a loss of your own, with the targets in "
                    "coax.td_learning, and hand the gradients to updater.apply_grads."
                )

    def _start(
        self,
        main: Any,
        optimizer: Any,
        clip_weights: tuple[float, float] | None,
        numbers: dict[str, Any] | None = None,
    ) -> None:
        """Keep what learns and how, and find a state; `numbers` are the leaves of the numbers one may set."""
        name = type(self).__name__
        self._main: Any = main
        self._optimizer = Packing(as_optimizer(optimizer, name))
        self._clip_weights = as_bounds(clip_weights, name)
        self._drops_rows = self._clip_weights is None or self._clip_weights[0] == 0
        self._mask = getattr(main, "action_mask", None)
        spaces = {"S": main.observation_space, "S_next": main.observation_space}
        if getattr(main, "action_space", None) is not None:
            spaces |= {"A": main.action_space, "A_next": main.action_space}
        self._fields: dict[str, Callable[..., Any]] = {
            field: field_check(space, field, name) for field, space in spaces.items() if field in self._uses
        }
        if not jax.tree.leaves(main._peek()["params"]):
            raise TypeError(f"{name}: expected a function with parameters, got one without. Fix: use hk.Linear in it.")
        self._wire()
        self._write(
            {
                "optimizer_state": self._optimizer.init(main._peek()["params"]),
                "not_finite": FINITE,
                "rng": Rng.seeded(main._child_seed()),
                **(numbers or {}),
            }
        )

    @abc.abstractmethod
    def _make_rule(self, core: Core, plan: Callable[[Any], Any]) -> GradientRule:
        """The rule of the present parts; ``plan(obj)`` is how a rule refers to one of them, or to a tuple of them."""

    def _wire(self) -> None:
        """Find the rule for the present ingredients."""
        objs = collect(self)
        self._others = objs[:-1]

        def plan(part: Any) -> Any:
            if isinstance(part, tuple):
                return tuple(map(plan, part))
            return None if part is None else Plan.of(part, objs)

        core = Core(
            name=type(self).__name__,
            main=plan(self._main),
            own=len(objs) - 1,
            optimizer=self._optimizer,
            clip_weights=self._clip_weights,
            uses_rng=self._draws or any(obj.rule.uses_rng for obj in self.children),  # type: ignore[attr-defined]
        )
        self._rule = self._make_rule(core, plan)
        rules = [obj.rule for obj in objs if isinstance(obj, Function)]
        self._observers = host_only(rule.observe for rule in rules)
        self._actors = host_only(rule.act for rule in rules)

    @property
    def _objs(self) -> tuple[Stateful, ...]:
        """All that take part in an update, itself last; a copy of an updater is itself, too."""
        return (*self._others, self)

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh optimizer state for the present parameters of what learns, and a fresh random stream."""
        fresh = {
            "optimizer_state": self._optimizer.init(self._main._peek()["params"]),
            "not_finite": FINITE,
            "rng": Rng.seeded(key),
        }
        return {**self._state, **fresh}

    # --- what a user calls

    def _update(self, batch: Batch, with_each: bool, wait: bool) -> tuple:
        """One step: ``(metrics,)``, or ``(metrics, each)``."""
        step = self._rule.step_with_each if with_each else self._rule.step
        result = call_step(self._objs, self._rule.core.mutable, step, batch)
        if wait:
            poll(self, wait=True)
        return result

    def _gradients(self, batch: Batch) -> tuple[Any, Any, Metrics, Any]:
        return self._rule.gradients(states_of(self._objs), batch)

    def apply_grads(self, grads: Any, function_state: Any) -> None:
        """Step the optimizer with given gradients, and keep a given function state.

        Gradients that are not finite leave everything as it was, and raise at the next call.
        """
        poll(self)
        call_step(self._objs, self._rule.core.mutable, self._rule.apply, grads, function_state)

    @property
    def rng(self) -> jax.Array:
        """A fresh key. Every read gives another one; nothing inside coax reads it."""
        return draw_key(self)

    # --- inside

    def _poll(self) -> None:
        poll(self)

    def _inspect(self, state: dict[str, Any]) -> None:
        flag = np.asarray(state["not_finite"])
        raise_not_finite(type(self).__name__, flag, self._main._state["params"], self._not_finite_hint)

    def _batch(self, tb: TransitionBatch, **more: Any) -> Batch:
        """Check a batch, leave out what the update does not need, and run host-only preprocessors."""
        check_batch(tb)
        scalars = [field for field in ("Rn", "In", "logP", "W") if field in self._uses or field == "W"]
        rows: dict[str, Any] = {field: getattr(tb, field) for field in scalars}
        if not (all(np.ndim(x) == 1 for x in rows.values()) and len(tb.W)):
            raise self._bad_scalars(rows)
        live = tb.W if self._drops_rows else np.ones(len(tb.W))
        found = {field: check(getattr(tb, field), live) for field, check in self._fields.items()}
        self._check_more(tb, live, found)
        for fields, preprocessors in ((("S", "S_next"), self._observers), (("A", "A_next"), self._actors)):
            if preprocessors:
                found |= {field: prepare(found[field], preprocessors) for field in fields if field in found}
        return Batch(**rows, **found, **more)

    def _check_more(self, tb: TransitionBatch, live: Any, found: dict[str, Any]) -> None:
        """What else a subclass checks of a batch, or adds to it."""

    def _bad_scalars(self, rows: dict[str, Any]) -> ValueError:
        name = type(self).__name__
        for field, value in rows.items():
            if np.ndim(value) != 1:
                return ValueError(
                    f"{name}: expected one {field} per transition, got shape {np.shape(value)}. "
                    f"Fix: pass {field} with shape [B]."
                )
        return ValueError(
            f"{name}: expected at least one transition, got a batch of size 0. "
            "Fix: skip the update while there is nothing to learn from."
        )


def present(parts: Iterable[Any]) -> tuple[Stateful, ...]:
    """Those that are not None."""
    return tuple(part for part in parts if part is not None)
