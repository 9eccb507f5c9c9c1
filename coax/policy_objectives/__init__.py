"""Policy objectives: what a policy is made to maximise, given advantages or q-functions."""

from ._base import PolicyObjective
from ._cross_entropy import CrossEntropy
from ._deterministic_pg import DeterministicPG
from ._ppo_clip import PPOClip
from ._soft_pg import SoftPG
from ._vanilla_pg import VanillaPG

__all__ = (
    "CrossEntropy",
    "DeterministicPG",
    "PPOClip",
    "PolicyObjective",
    "SoftPG",
    "VanillaPG",
)
