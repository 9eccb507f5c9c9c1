"""A fixed number of episodes, the first of each environment, and a training that does not notice."""

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import coax
from coax.envs import FunctionalEnv, JaxVectorEnv, Outcome
from coax.training import evaluate
from coax.wrappers import TrainMonitor
from tests.compilations import compilations
from tests.envs.schedule import LIMIT, Make, make


def length_of(number, episode):
    """See schedule.py: how many steps that episode has, before the time limit."""
    return min([2, 9, 1, 4, 9, 3][(number + 2 * episode) % 6], LIMIT)


def return_of(number, episode):
    """The reward at step t is number + 10 * episode + 0.5 * t + 100 * action, the action 0."""
    n = length_of(number, episode)
    return n * (number + 10 * episode) + 0.5 * n * (n - 1) / 2


def test_one_environment():
    returns, lengths = evaluate(make(2), lambda s: 0, episodes=4)
    assert lengths.tolist() == [length_of(2, e) for e in range(4)]
    assert returns.tolist() == [return_of(2, e) for e in range(4)]
    assert (returns.dtype, lengths.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize("mode", gymnasium.vector.AutoresetMode)
def test_the_first_episodes_of_each(mode):
    # 8 episodes of 3 environments: three of the first two, two of the last, however long they are
    env = gymnasium.vector.SyncVectorEnv([Make(i) for i in range(3)], autoreset_mode=mode)
    returns, lengths = evaluate(env, lambda S: np.zeros(3, int), episodes=8)
    which = [(i, e) for e in range(3) for i in range(3)][:8]
    assert lengths.tolist() == [length_of(i, e) for i, e in which]
    assert returns.tolist() == [return_of(i, e) for i, e in which]


class Counted(FunctionalEnv):
    """Episode lengths are drawn; the reward is 1 + the length that the observation announces."""

    observation_space = Box(0, 100, (2,), np.float32)
    action_space = Discrete(2)
    max_episode_steps = 50

    def reset(self, key):
        state = {"length": jax.random.randint(key, (), 1, 30), "t": 0}
        return state, jnp.stack([state["length"], state["t"]])

    def step(self, state, action, key):
        state = {**state, "t": state["t"] + 1}
        S = jnp.stack([state["length"], state["t"]])
        return Outcome(state, S, 1 + state["length"], state["t"] == state["length"])


COUNTED = Counted()


def action_values():
    return coax.Q(lambda S, is_training: hk.Linear(2)(S), gymnasium.make("CartPole-v1"))


def law_of_values():
    def func(S, is_training):
        return {"logits": hk.Linear(2 * 5)(S).reshape(-1, 2, 5)}

    return coax.StochasticQ(func, gymnasium.make("CartPole-v1"), value_range=(0, 1), num_bins=5)


def policy(S):
    return (S[..., 0] * 0).astype(int)


@pytest.mark.gate
def test_inside_jax():
    env = JaxVectorEnv(COUNTED, 4, random_seed=1)
    state = jax.tree.map(np.asarray, {name: env.state[name] for name in ("observation", "simulator", "t")})
    returns, lengths = evaluate(env, policy, episodes=10, seed=5)
    np.testing.assert_array_equal(returns, lengths * (1 + lengths))
    assert (returns.dtype, lengths.dtype) == (np.float64, np.int64)
    after = jax.tree.map(np.asarray, {name: env.state[name] for name in state})
    jax.tree.map(np.testing.assert_array_equal, state, after)
    # by hand: 3, 3, 2, 2 episodes of each
    other, found = JaxVectorEnv(COUNTED, 4, random_seed=1), [[] for _ in range(4)]
    other.state = other.init(jax.random.fold_in(jax.random.key(5), 0))
    while min(map(len, found)) < 3:
        row = coax.envs.transition(other, np.zeros(4, int))
        for i in np.flatnonzero(row.terminated):
            found[i].append(row.S[i, 0])
    assert lengths.tolist() == [found[i][e] for e in range(3) for i in range(4)][:10]


@pytest.mark.gate
def test_fewer_episodes_than_environments():
    _, lengths = evaluate(JaxVectorEnv(COUNTED, 8, random_seed=1), policy, episodes=3, seed=5)
    _, more = evaluate(JaxVectorEnv(COUNTED, 8, random_seed=2), policy, episodes=8, seed=5)
    assert lengths.tolist() == more[:3].tolist()


def func(S, is_training):
    return hk.Linear(2)(S)


def learner():
    env = JaxVectorEnv(coax.envs.CartPole(), 2, max_episode_steps=30, random_seed=1)
    pi = coax.EpsilonGreedy(coax.Q(func, env, random_seed=1), epsilon=0.5)
    return env, pi


@pytest.mark.parametrize("where", ["jax", "host", "id"])
def test_the_training_does_not_notice(where):
    env, pi = learner()
    pi(env.observation)
    played = {"jax": env, "host": gymnasium.make("CartPole-v1"), "id": "CartPole-v1"}[where]
    count = int(pi.state["rng"].count)
    first = evaluate(played, pi, episodes=3, seed=7)
    assert int(pi.state["rng"].count) == count
    again = evaluate(played, pi, episodes=3, seed=7)
    assert first.returns.tolist() == again.returns.tolist()
    others = [evaluate(played, pi, episodes=3, seed=s).returns.tolist() for s in range(3)]
    assert any(other != first.returns.tolist() for other in others)


def test_inside_a_compiled_loop():
    env, pi = learner()

    def step():
        coax.envs.transition(env, pi(env.observation))
        return evaluate(env, pi, episodes=3, seed=7)

    found = coax.scan(step, 4, over=(env, pi))
    true = evaluate(env, pi, episodes=3, seed=7)
    for i in range(4):
        np.testing.assert_array_equal(found.returns[i], true.returns)
    other, pi_other = learner()
    for _ in range(4):
        coax.envs.transition(other, pi_other(other.observation))
    np.testing.assert_allclose(env.observation, other.observation, rtol=1e-5, atol=1e-6)


def test_another_number_of_episodes():
    env = JaxVectorEnv(COUNTED, 4, random_seed=1)
    three, ten = evaluate(env, policy, 3, seed=5), evaluate(env, policy, 10, seed=5)
    assert (three.lengths.shape, ten.lengths.shape) == ((3,), (10,))
    assert three.lengths.tolist() == ten.lengths[:3].tolist()


def test_long_episodes_lose_nothing_to_rounding():
    class Long(Counted):
        max_episode_steps = 200_000

        def step(self, state, action, key):
            return super().step(state, action, key)._replace(reward=0.1, terminated=False)

    returns, lengths = evaluate(JaxVectorEnv(Long(), 1), policy, 1, seed=0)
    # 200,000 times what float32 makes of 0.1, which is 0.100000001490116; added up one by one it is 19,959.49
    assert lengths.tolist() == [200_000]
    assert returns[0] == pytest.approx(20_000.0003, abs=0.01)


def test_objects_have_streams_of_their_own():
    env = gymnasium.make("CartPole-v1")
    one, other = (coax.RandomPolicy(env, random_seed=i) for i in range(2))
    drawn = []

    def both(s):
        drawn.append((one(s), other(s)))
        return drawn[-1][0]

    evaluate("CartPole-v1", both, 10, seed=3, over=(one, other))
    assert 0.2 < np.mean([a == b for a, b in drawn]) < 0.8


def test_what_was_made_is_closed(monkeypatch):
    closed, make_env = [], gymnasium.make

    class Closing(gymnasium.Wrapper):
        def close(self):
            closed.append(True)
            super().close()

    monkeypatch.setattr(gymnasium, "make", lambda env_id: Closing(make_env(env_id)))
    evaluate("CartPole-v1", lambda s: 0, 1)
    assert closed == [True]


@pytest.mark.gate
def test_a_compiled_function_must_be_told_the_seed():
    env, pi = learner()
    with pytest.raises(ValueError, match=r"expected a seed in a compiled function, .* got None\. Fix: pass seed=0"):
        coax.jit(lambda: evaluate(env, pi.mode, 2), over=(env, pi))()
    counted = JaxVectorEnv(COUNTED, 4, random_seed=1)
    found = coax.scan(lambda t: evaluate(counted, policy, 4, seed=t).lengths, over=counted, xs=jnp.arange(3))
    for t in range(3):
        np.testing.assert_array_equal(found[t], evaluate(counted, policy, 4, seed=t).lengths)
    assert len(np.unique(found, axis=0)) == 3


@pytest.mark.usefixtures("caches_are_on")
def test_compiled_once():
    env, pi = learner()
    evaluate(env, pi.mode, episodes=3, seed=7)
    with compilations() as found:
        evaluate(env, pi.mode, episodes=3, seed=8)
    assert found == []


def test_around_a_device_monitor():
    env, pi = learner()
    monitor = coax.wrappers.DeviceTrainMonitor(env, every=1)
    T = monitor.T
    assert evaluate(monitor, pi, 3, seed=7).returns.tolist() == evaluate(env, pi, 3, seed=7).returns.tolist()
    assert monitor.T == T


def test_inside_a_monitor():
    env = TrainMonitor(gymnasium.make("CartPole-v1"))
    with pytest.raises(ValueError, match=r"whose episodes are counted by a TrainMonitor\. Fix: pass its id"):
        evaluate(env, lambda s: 0)


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((3, policy), TypeError, "expected an environment or the id of one, got int"),
        ((COUNTED, policy), TypeError, r"the id of one, got Counted\. Fix: make a coax\.envs\.JaxVectorEnv of it"),
        (("CartPole-v1", policy, 1, "x"), TypeError, r"seed: expected an integer or a key, got 'x'"),
        (("CartPole-v1", 3), TypeError, "policy: expected a policy or a function of observations, got int"),
        (("CartPole-v1", law_of_values()), TypeError, "got a StochasticQ, which gives no actions"),  # but has a mode
        (("CartPole-v1", action_values()), TypeError, "got a Q, which gives no actions. Fix: pass pi, .*EpsilonGreedy"),
        (("CartPole-v1", policy, 0), ValueError, "episodes: expected at least 1, got 0"),
        (("CartPole-v1", policy, 1.5), TypeError, r"episodes: expected an integer, got 1\.5"),
    ],
)
def test_errors(args, error, text):
    with pytest.raises(error, match=text):
        evaluate(*args)


def test_an_error_gives_everything_back():
    _, pi = learner()
    count = int(pi.state["rng"].count)

    def broken(s):
        pi(s)
        raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="the lights went out"):
        evaluate("CartPole-v1", broken, over=pi)
    assert int(pi.state["rng"].count) == count
