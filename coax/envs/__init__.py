"""Environments, and one way to step any of them.

Importing this package registers ``ConnectFour-v0`` and ``FrozenLakeNonSlippery-v0`` with Gymnasium.
"""

from ._as_functional import as_functional
from ._cart_pole import CartPole
from ._connect_four import ConnectFourEnv
from ._frozen_lake import FrozenLake
from ._functional import FunctionalEnv, Outcome
from ._jax_vector_env import JaxVectorEnv
from ._pendulum import Pendulum
from ._registration import register_envs
from ._transition import Transition, transition

__all__ = (
    "CartPole",
    "ConnectFourEnv",
    "FrozenLake",
    "FunctionalEnv",
    "JaxVectorEnv",
    "Outcome",
    "Pendulum",
    "Transition",
    "as_functional",
    "transition",
)

register_envs()
