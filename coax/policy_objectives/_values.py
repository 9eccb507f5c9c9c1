"""What the objectives that look at q-functions share."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from .._updater import check_reduction, check_same_spaces, count_networks
from ..approximators import takes_variates
from ..proba_dists import NormalDist, ProbaDist, SquashedNormalDist
from ._base import PolicyObjective
from ._objectives import Objective, expected_value, value_of_action

__all__ = ("ValueObjective",)


class ValueObjective(PolicyObjective):
    """Base of the objectives that are values of actions of the policy."""

    _uses = ("S",)

    def _set_up_values(
        self,
        pi: Any,
        argument: str,
        qs: tuple,
        reduction: str,
        subset: int | None,
        sampled: bool,
        optimizer: Any,
        regularizer: Any,
        clip_weights: tuple[float, float] | None,
    ) -> None:
        self._check_pi(pi)
        check_reduction(reduction, subset, count_networks(qs))
        for q in qs:
            check_same_spaces(self, argument, q, pi)
        self._qs = qs
        if isinstance(pi.action_space, gymnasium.spaces.Discrete):
            objective, sampled = Objective(expected_value, (reduction, subset)), False
        else:
            self._check_slopes(pi, argument, qs)
            objective = Objective(value_of_action, (reduction, subset, sampled))
        self._draws = sampled or subset is not None
        self._set_up(pi, objective, optimizer, regularizer, clip_weights)

    def _check_slopes(self, pi: Any, argument: str, qs: tuple) -> None:
        """Refuse what no gradient would get through."""
        name, dist = type(self).__name__, pi.proba_dist
        for leaf in dist._leaves if isinstance(dist, ProbaDist) else (dist,):
            if isinstance(leaf, NormalDist | SquashedNormalDist) and np.issubdtype(leaf.space.dtype, np.floating):
                continue
            raise TypeError(
                f"{name}: expected actions that are Discrete, or made of Boxes of floats with a normal distribution, "
                f"got {type(leaf).__name__} over {leaf.space}, which has no gradient. "
                "Fix: use VanillaPG or PPOClip."
            )
        for q in qs:
            act = getattr(q.rule, "act", None)
            if not (act is None or act.traceable or takes_variates(q.rule, dist)):
                raise TypeError(
                    f"{name}: expected the action_preprocessor of {argument} to be a function that jax can trace, got "
                    f"{q.action_preprocessor!r}, which no gradient gets through. Fix: write it with jax.numpy, or pass "
                    "action_preprocessor=pi.proba_dist.preprocess_variate."
                )
