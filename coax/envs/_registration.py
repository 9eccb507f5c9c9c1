"""The environments that coax adds to Gymnasium's registry."""

from __future__ import annotations

from typing import Any

import gymnasium

__all__ = ("register_envs",)

_ENVS: dict[str, dict[str, Any]] = {
    "ConnectFour-v0": {"entry_point": "coax.envs:ConnectFourEnv"},
    "FrozenLakeNonSlippery-v0": {
        "entry_point": "gymnasium.envs.toy_text:FrozenLakeEnv",
        "kwargs": {"map_name": "4x4", "is_slippery": False},
        "max_episode_steps": 20,
        "reward_threshold": 0.99,
    },
}


def register_envs() -> None:
    """Register the environments of coax. Doing it again changes nothing and warns of nothing."""
    for env_id, spec in _ENVS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, **spec)
