"""TD learning: updaters of value functions, and their targets as plain functions."""

from ._base import TDLearning
from ._q_learning import DoubleQLearning, ExpectedSarsa, QLearning, Sarsa, SoftQLearning
from ._targets import bootstrap, double_value, expected_value, greedy_value, soft_value
from ._v_learning import SimpleTD

__all__ = (
    "DoubleQLearning",
    "ExpectedSarsa",
    "QLearning",
    "Sarsa",
    "SimpleTD",
    "SoftQLearning",
    "TDLearning",
    "bootstrap",
    "double_value",
    "expected_value",
    "greedy_value",
    "soft_value",
)
