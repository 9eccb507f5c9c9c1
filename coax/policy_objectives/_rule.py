"""The pure part of the policy objectives."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from .._updater import Batch, Core, GradientRule, Loss, Weights
from ..approximators import Plan
from ._objectives import Objective, View

__all__ = ("Parts", "PolicyRule")


class Parts(NamedTuple):
    """What makes a policy objective what it is.

    Attributes
    ----------
    objective : Objective
    qs : tuple of Plan
    regularizer : Plan or None
        Its first part is the function it looks at.
    """

    objective: Objective
    qs: tuple[Plan, ...]
    regularizer: Plan | None


class PolicyRule(GradientRule):
    """Pure functions of the states of a policy objective and of all that it refers to."""

    def __init__(self, core: Core, parts: Parts):
        super().__init__(core)
        self.parts = parts

    def loss(self, states: list, batch: Batch, weights: Weights, key: Any) -> Loss:
        """Minus the objective, and the regularizer."""
        core, parts = self.core, self.parts
        qs = tuple(plan.bind(states, key) for plan in parts.qs)
        own = None if key is None else jax.random.fold_in(key, core.own + 1)

        def cost(params: Any) -> tuple[jax.Array, tuple]:
            out, function_state = self.predict(params, states, batch, weights, key)
            rule = core.main.rule
            view = View(rule.dist, rule.excluding(out, batch.S), qs, states[core.own], own)
            each, report = parts.objective(view, batch, weights)
            bare = -weights.mean(each)
            term, more = self._regularizer(params, states, batch, weights, key, view.dist_params)
            return bare + term, (function_state, {"loss_bare": bare, **report, **more})

        return Loss(cost, lambda report: (report, None))

    def _regularizer(
        self, params: Any, states: list, batch: Batch, weights: Weights, key: Any, dist_params: Any
    ) -> tuple[Any, dict]:
        """The weighted mean of the term where the transitions start, of the parameters that are differentiated.

        Distribution parameters, leaves [B, ...], are what the policy says in training.
        """
        plan = self.parts.regularizer
        if plan is None:
            return 0.0, {}
        now = list(states)
        now[plan.parts[0].at] = {**self.main(states), "params": params}
        bound = plan.bind(now, key)
        if plan.parts[0] == self.core.main and self.core.main.rule.same_in_training:
            # the compiler would find that the two passes forward are one, but not the two back
            bound = bound._replace(f=bound.f._replace(known=(batch.S, dist_params)))
        each, report = bound.at_the_start(batch, weights.live)
        return weights.mean(each), report
