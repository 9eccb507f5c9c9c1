"""How much entropy a policy is asked to have by default."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..proba_dists import CategoricalDist, DiscretizedIntervalDist, NormalDist, ProbaDist, SquashedNormalDist

__all__ = ("default_target_entropy",)

ALMOST_UNIFORM = 0.98


def default_target_entropy(dist: Any) -> float:
    """The entropy in nats that a policy of this distribution is asked to have.

    Raises
    ------
    TypeError
        If the distribution is of another kind than those of policies.

    References
    ----------
    Haarnoja et al. (2018), Soft actor-critic algorithms and applications, appendix D; Christodoulou (2019), Soft
    actor-critic for discrete action settings, section 4.
    """
    if isinstance(dist, ProbaDist):
        return sum(map(default_target_entropy, dist._leaves))
    if isinstance(dist, CategoricalDist | DiscretizedIntervalDist):
        return ALMOST_UNIFORM * math.log(dist.space.n)
    if isinstance(dist, SquashedNormalDist):
        # densities over the Box grow as it shrinks: -1 per dimension is meant for a Box from -1 to 1
        return float(np.sum(np.log((dist._high - dist._low) / 2) - 1))
    if isinstance(dist, NormalDist):
        # x = 2 sigmoid(z) - 1 has slope 1/2 at 0, so that a narrow law has log 2 more entropy in z than in x
        return math.prod(dist.space.shape) * (math.log(2) - 1)
    raise TypeError(
        f"target_entropy: expected a number, because there is no default for {type(dist).__name__}, got None. "
        "Fix: pass the entropy that the policy shall have, in nats."
    )
