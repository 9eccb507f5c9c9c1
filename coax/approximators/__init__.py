"""Function approximators: value functions, policies, models of the environment, and policies built on values."""

from ._action_mask import ActionMask
from ._dist_rule import choose_action, takes_variates
from ._ensemble import Ensemble
from ._example_data import ArgsType1, ArgsType2, ExampleData, Inputs, ModelTypes
from ._function import Function
from ._plan import Plan
from ._policy import Policy
from ._preprocessing import host_only, prepare
from ._q import Q
from ._random_policy import RandomPolicy
from ._reward_function import RewardFunction
from ._stochastic_q import StochasticQ
from ._stochastic_reward_function import StochasticRewardFunction
from ._stochastic_transition_model import StochasticTransitionModel
from ._stochastic_v import StochasticV
from ._successor_state_q import SuccessorStateQ
from ._transition_model import TransitionModel
from ._v import V
from ._value_based_policies import BoltzmannPolicy, EpsilonGreedy

__all__ = (
    "ActionMask",
    "ArgsType1",
    "ArgsType2",
    "BoltzmannPolicy",
    "Ensemble",
    "EpsilonGreedy",
    "ExampleData",
    "Function",
    "Inputs",
    "ModelTypes",
    "Plan",
    "Policy",
    "Q",
    "RandomPolicy",
    "RewardFunction",
    "StochasticQ",
    "StochasticRewardFunction",
    "StochasticTransitionModel",
    "StochasticV",
    "SuccessorStateQ",
    "TransitionModel",
    "V",
    "choose_action",
    "host_only",
    "prepare",
    "takes_variates",
)
