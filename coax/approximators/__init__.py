"""Function approximators: value functions, and policies built on them."""

from ._function import Function
from ._plan import Plan
from ._preprocessing import host_only, prepare
from ._q import Q
from ._reward_function import RewardFunction
from ._random_policy import RandomPolicy
from ._v import V
from ._value_based_policies import BoltzmannPolicy, EpsilonGreedy

__all__ = ("BoltzmannPolicy", "EpsilonGreedy", "Function", "Plan", "Q", "RandomPolicy", "RewardFunction", "V", "host_only", "prepare")
