"""Normalised rewards: the returns of all episodes, in every mode of beginning them and in every gear."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import coax
from coax import RewardNormalizer
from coax.envs import JaxVectorEnv, Pendulum, transition
from coax.wrappers import (
    DeviceNormalizeReward,
    LastObservation,
    NormalizeObservation,
    NormalizeReward,
    TrainMonitor,
    VectorNormalizeReward,
)
from tests.envs.schedule import Make, make

N, GAMMA = 3, 0.9
A = np.zeros(N, int)


class Reference:
    """Returns in loops, in float64."""

    def __init__(self):
        self.seen, self.G = [], np.zeros(N)

    def add(self, R, over, mask):
        for i in np.flatnonzero(np.atleast_1d(mask)):
            self.G[i] = GAMMA * self.G[i] + np.atleast_1d(R)[i]
            self.seen.append(self.G[i])
            if np.atleast_1d(over)[i]:
                self.G[i] = 0

    def norm(self, R):
        std = np.std(self.seen)
        return np.clip(R / (np.sqrt(std**2 + 1e-8) if std else 1), -10, 10)


def check(env, raw, action, steps=40):
    reference = Reference()
    for _ in range(steps):
        found, true = transition(env, action), transition(raw, action)
        reference.add(true.R, np.logical_or(true.terminated, true.truncated), true.mask)
        np.testing.assert_allclose(np.where(found.mask, found.R, 0), reference.norm(true.R), rtol=1e-4)
        assert env.normalizer.count == len(reference.seen)
        for name in ("S", "S_next", "terminated", "truncated", "mask"):
            np.testing.assert_allclose(getattr(found, name), getattr(true, name), rtol=1e-6)
        np.testing.assert_array_equal(env.observation, raw.observation)
    assert env.normalizer.std == pytest.approx(np.std(reference.seen), rel=1e-5)
    return found


def test_one_environment():
    env, raw = NormalizeReward(make(1), gamma=GAMMA), LastObservation(make(1))
    env.reset()
    raw.reset()
    assert isinstance(check(env, raw, 0).R, float)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_several_environments(mode):
    env, raw = (SyncVectorEnv([Make(i) for i in range(N)], autoreset_mode=mode) for _ in range(2))
    env, raw = NormalizeReward(env, gamma=GAMMA), LastObservation(raw)
    assert isinstance(env, VectorNormalizeReward)
    env.reset()
    raw.reset()
    assert check(env, raw, A).R.dtype == np.float64


def jax_env():
    return JaxVectorEnv(Pendulum(), N, max_episode_steps=7, random_seed=1)


def test_inside_jax():
    env = NormalizeReward(jax_env(), gamma=GAMMA)
    assert isinstance(env, DeviceNormalizeReward)
    check(env, jax_env(), np.zeros((N, 1), np.float32))


@pytest.mark.gate
def test_python_is_scan_is_one_of_several_seeds():
    env = NormalizeReward(NormalizeObservation(jax_env()), gamma=GAMMA)

    def step():
        return transition(env, jnp.asarray(env.observation)[:, :1]).R

    init, apply = coax.transform(lambda: coax.scan(step, 30, over=env), over=env)
    keys = jax.random.split(jax.random.key(7), 3)
    R, _ = jax.jit(jax.vmap(apply))(jax.vmap(init)(keys))
    fresh = jax.jit(init)(keys[1])
    for loop in ("scan", "python"):
        for obj in fresh:
            obj.state = fresh[obj]
        found = coax.scan(step, 30, over=env) if loop == "scan" else np.stack([step() for _ in range(30)])
        np.testing.assert_allclose(found, R[1], rtol=1e-4)
        assert env.normalizer.count == 30 * N
    assert not np.allclose(R[0], R[1])


def test_reset_forgets_the_episodes():
    env = NormalizeReward(make(1), gamma=GAMMA)
    env.reset()
    env.step(0)
    assert env.normalizer.returns == 1  # the first reward of this environment
    env.reset()
    assert env.normalizer.returns == 0
    for envs in (SyncVectorEnv([Make(i) for i in (1, 3, 5)]), jax_env()):
        envs = NormalizeReward(envs, gamma=GAMMA)
        envs.reset()
        envs.step(A[:, None] if envs.single_action_space.shape else A)
        before = envs.normalizer.returns.copy()
        assert before.all()
        envs.reset(options={"reset_mask": np.array([False, True, True])})
        np.testing.assert_array_equal(envs.normalizer.returns, [before[0], 0, 0])


def test_a_monitor_inside_counts_the_rewards_themselves():
    inside, raw = TrainMonitor(make(1)), LastObservation(make(1))
    env = NormalizeReward(inside, gamma=GAMMA)
    env.reset()
    raw.reset()
    total = 0.0
    while True:
        found, true = transition(env, 0), transition(raw, 0)
        total += true.R
        if true.terminated or true.truncated:
            break
        assert total == inside.G
    assert inside.avg_G == total
    assert found.R != true.R


def test_steps_of_the_one_inside_jax():
    env, other = NormalizeReward(jax_env()), NormalizeReward(jax_env())
    action = np.zeros((N, 1), np.float32)
    for _ in range(9):
        np.testing.assert_allclose(env.step(action)[1], transition(other, action).R, rtol=1e-6)
    copy = env.copy()
    copy.step(action)
    assert copy.normalizer.count == env.normalizer.count + N


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: NormalizeReward("CartPole-v1"), TypeError, r"NormalizeReward: expected an environment, got str"),
        (
            lambda: NormalizeReward(make(1), RewardNormalizer(), gamma=0.5),
            TypeError,
            r"expected a coax\.RewardNormalizer and nothing else, .* got RewardNormalizer and \{'gamma': 0\.5\}",
        ),
        (
            lambda: NormalizeReward(jax_env(), RewardNormalizer(2)),
            ValueError,
            r"expected a normaliser with num_envs=3, got one with 2\. Fix: make it with that number",
        ),
        (lambda: NormalizeReward(gymnasium.make("CartPole-v1"), gamma=2), ValueError, r"gamma: expected a number in"),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()
