"""Evaluation in normalised environments: by the statistics of the training, which stay as they are."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import coax
from coax.envs import JaxVectorEnv, Pendulum, transition
from coax.training import evaluate
from coax.wrappers import DeviceTrainMonitor, NormalizeObservation, NormalizeReward
from tests.envs.schedule import Make, make

N = 3


def state_of(*objs):
    def leaf(x):
        return np.array(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    return jax.tree.map(leaf, [obj.state for obj in objs])


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def pendulum():
    return JaxVectorEnv(Pendulum(), N, max_episode_steps=20, random_seed=1)


def policy(S):
    return jnp.clip(jnp.asarray(S)[..., 2:], -2, 2)  # the speed


def trained():
    env = NormalizeReward(NormalizeObservation(pendulum()))
    coax.scan(lambda: transition(env, policy(env.observation)).R, 30, over=env)
    return env


@pytest.mark.gate
def test_inside_jax():
    env = trained()
    objs = coax._stateful.collect(env)
    before = state_of(*objs)
    found = evaluate(env, policy, episodes=6, seed=5)
    assert_same(before, state_of(*objs))
    # by hand: with the statistics as they are
    raw, normalizer = pendulum(), env.env.normalizer
    by_hand = evaluate(raw, lambda S: policy(normalizer.norm(S)), episodes=6, seed=5, over=normalizer)
    np.testing.assert_allclose(found.returns, by_hand.returns / np.sqrt(env.normalizer.std**2 + 1e-8), rtol=1e-4)
    # the rewards themselves
    np.testing.assert_allclose(evaluate(env.env, policy, 6, seed=5).returns, by_hand.returns, rtol=1e-4)
    other = evaluate(raw, policy, episodes=6, seed=5)
    assert not np.allclose(other.returns, by_hand.returns, rtol=1e-2)
    assert not env.normalizer.frozen


@pytest.mark.gate
def test_inside_a_compiled_loop():
    env, lone = trained(), trained()

    def step():
        transition(env, policy(env.observation))
        return evaluate(env.env, policy, episodes=N, seed=7).returns

    returns = coax.scan(step, 3, over=env)
    coax.scan(lambda: transition(lone, policy(lone.observation)).R, 3, over=lone)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
        state_of(env.normalizer, env.env.normalizer),
        state_of(lone.normalizer, lone.env.normalizer),
    )
    np.testing.assert_allclose(returns[-1], evaluate(lone.env, policy, N, seed=7).returns, rtol=1e-3)


@pytest.mark.parametrize("several", [False, True])
def test_on_the_host(several):
    env = NormalizeObservation(make(1))
    env.reset()
    for _ in range(20):
        transition(env, 0)
    normalizer, seen = env.normalizer, []

    def spy(S):
        seen.append(np.array(S))
        return np.zeros(np.shape(S)[:-1], int)

    fresh = SyncVectorEnv([Make(i) for i in range(N)]) if several else make(2)
    raw = SyncVectorEnv([Make(i) for i in range(N)]) if several else make(2)
    before = state_of(normalizer)
    evaluate(gymnasium_layer(NormalizeReward(NormalizeObservation(fresh, normalizer))), spy, episodes=4, seed=0)
    assert_same(before, state_of(normalizer))
    normed, seen = seen, []
    evaluate(raw, spy, episodes=4, seed=0)
    np.testing.assert_allclose(np.stack(normed), normalizer.norm(np.stack(seen)), rtol=1e-6)
    assert not normalizer.frozen


def gymnasium_layer(env):
    """A wrapper around it that knows nothing of normalisers."""
    if isinstance(env, gymnasium.vector.VectorEnv):
        return gymnasium.vector.VectorWrapper(env)
    return gymnasium.Wrapper(env)


def test_a_monitor_in_between():
    monitor = DeviceTrainMonitor(NormalizeObservation(pendulum()))
    env = NormalizeReward(monitor)
    with pytest.raises(ValueError, match=r"counted by a DeviceTrainMonitor\. Fix: pass what is inside of the monitor"):
        evaluate(env, policy, 2, seed=1)
    assert evaluate(monitor, policy, 2, seed=1).returns.tolist() == evaluate(monitor.env, policy, 2, 1).returns.tolist()


def test_an_error_gives_everything_back():
    env = NormalizeObservation(make(1))
    env.reset()

    def broken(s):
        raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="the lights went out"):
        evaluate(NormalizeObservation(make(2), env.normalizer), broken)
    assert not env.normalizer.frozen
    assert env.normalizer.count == 1
