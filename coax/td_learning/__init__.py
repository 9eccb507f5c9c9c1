"""TD learning: updaters of value functions, and their targets as plain functions."""

from ._base import TDLearning
from ._clipped import ClippedDoubleQLearning, SoftClippedDoubleQLearning, TruncatedQuantileLearning
from ._q_learning import DoubleQLearning, ExpectedSarsa, QLearning, Sarsa, SoftQLearning
from ._targets import (
    best_action,
    bootstrap,
    double_value,
    expected_value,
    greedy_value,
    soft_value,
    truncated_quantiles,
)
from ._v_learning import SimpleTD

__all__ = (
    "ClippedDoubleQLearning",
    "DoubleQLearning",
    "ExpectedSarsa",
    "QLearning",
    "Sarsa",
    "SimpleTD",
    "SoftClippedDoubleQLearning",
    "SoftQLearning",
    "TDLearning",
    "TruncatedQuantileLearning",
    "best_action",
    "bootstrap",
    "double_value",
    "expected_value",
    "greedy_value",
    "soft_value",
    "truncated_quantiles",
)
