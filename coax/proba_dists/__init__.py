"""Probability distributions over the elements of gymnasium spaces: pure functions, bundled."""

from ._base import BaseProbaDist
from ._categorical import CategoricalDist
from ._discretized_interval import DiscretizedIntervalDist
from ._empirical_quantile import EmpiricalQuantileDist
from ._proba_dist import ProbaDist

__all__ = (
    "BaseProbaDist",
    "CategoricalDist",
    "DiscretizedIntervalDist",
    "EmpiricalQuantileDist",
    "ProbaDist",
)
