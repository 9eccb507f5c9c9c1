"""Function approximators: value functions, and policies built on them."""

from ._plan import Plan
from ._q import Q
from ._random_policy import RandomPolicy
from ._v import V
from ._value_based_policies import BoltzmannPolicy, EpsilonGreedy

__all__ = ("BoltzmannPolicy", "EpsilonGreedy", "Plan", "Q", "RandomPolicy", "V")
