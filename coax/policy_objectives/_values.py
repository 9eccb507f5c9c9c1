"""The objectives that are values of actions: what they check, and what fits the space of the actions."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from .._updater import check_reduction, check_same_spaces, count_networks
from ..approximators import takes_variates
from ..proba_dists import NormalDist, ProbaDist, SquashedNormalDist
from ._objectives import Objective, expected_value, value_of_action

__all__ = ("objective_of_values",)


def objective_of_values(
    updater: Any, pi: Any, argument: str, qs: tuple, reduction: str, subset: int | None, sampled: bool
) -> tuple[Objective, bool]:
    """The objective for the actions of a policy, and whether it draws random numbers.

    Raises
    ------
    TypeError
        If no gradient would get through the actions.
    ValueError
        If a q-function is one of other spaces, or an option is not one.
    """
    check_reduction(reduction, subset, count_networks(qs))
    for q in qs:
        check_same_spaces(updater, argument, q, pi)
    if isinstance(pi.action_space, gymnasium.spaces.Discrete):
        return Objective(expected_value, (reduction, subset)), subset is not None
    _check_slopes(type(updater).__name__, pi.proba_dist, argument, qs)
    return Objective(value_of_action, (reduction, subset, sampled)), sampled or subset is not None


def _check_slopes(owner: str, dist: Any, argument: str, qs: tuple) -> None:
    for leaf in dist._leaves if isinstance(dist, ProbaDist) else (dist,):
        if isinstance(leaf, NormalDist | SquashedNormalDist) and np.issubdtype(leaf.space.dtype, np.floating):
            continue
        raise TypeError(
            f"{owner}: expected actions that are Discrete, or made of Boxes of floats with a normal distribution, "
            f"got {type(leaf).__name__} over {leaf.space}, which has no gradient. Fix: use VanillaPG or PPOClip."
        )
    for q in qs:
        act = getattr(q.rule, "act", None)
        if not (act is None or act.traceable or takes_variates(q.rule, dist)):
            raise TypeError(
                f"{owner}: expected the action_preprocessor of {argument} to be a function that jax can trace, got "
                f"{q.action_preprocessor!r}, which no gradient gets through. Fix: write it with jax.numpy, or pass "
                "action_preprocessor=pi.proba_dist.preprocess_variate."
            )
