"""Environments, and one way to step any of them.

Importing this package registers ``ConnectFour-v0`` and ``FrozenLakeNonSlippery-v0`` with Gymnasium.
"""

from ._connect_four import ConnectFourEnv
from ._functional import FunctionalEnv, Outcome
from ._jax_vector_env import JaxVectorEnv
from ._registration import register_envs
from ._transition import Transition, transition

__all__ = ("ConnectFourEnv", "FunctionalEnv", "JaxVectorEnv", "Outcome", "Transition", "transition")

register_envs()
