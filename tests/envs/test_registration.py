import importlib

import gymnasium

import coax.envs


def test_frozen_lake():
    env = gymnasium.make("FrozenLakeNonSlippery-v0")
    assert env.spec.max_episode_steps == 20
    assert env.spec.reward_threshold == 0.99
    # right, right, down, down, down, right is a way around the holes of the 4x4 map; not slippery, so it always works
    env.reset(seed=0)
    assert [env.step(a)[0] for a in (2, 2, 1, 1, 1, 2)] == [1, 2, 6, 10, 14, 15]
    assert env.unwrapped.desc.shape == (4, 4)


def test_registering_again_keeps_what_is_there():
    spec = gymnasium.spec("ConnectFour-v0")
    coax.envs._registration.register_envs()
    importlib.reload(coax.envs._registration).register_envs()
    assert gymnasium.spec("ConnectFour-v0") is spec
