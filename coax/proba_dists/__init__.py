"""Probability distributions over the elements of gymnasium spaces: pure functions, bundled."""

from ._base import BaseProbaDist
from ._categorical import CategoricalDist
from ._discretized_interval import DiscretizedIntervalDist, project
from ._empirical_quantile import EmpiricalQuantileDist
from ._masks import check_mask, mask_parts
from ._normal import NormalDist
from ._particles import Particles
from ._proba_dist import ProbaDist
from ._squashed_normal import SquashedNormalDist

__all__ = (
    "BaseProbaDist",
    "CategoricalDist",
    "DiscretizedIntervalDist",
    "EmpiricalQuantileDist",
    "NormalDist",
    "Particles",
    "ProbaDist",
    "SquashedNormalDist",
    "check_mask",
    "mask_parts",
    "project",
)
