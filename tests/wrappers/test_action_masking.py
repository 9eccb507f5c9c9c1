import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import coax
from coax.wrappers import ActionMasking


class Corridor(gymnasium.Env):
    """Five cells; the mask in the info excludes walking into the walls. The episode ends on the right."""

    observation_space = spaces.Discrete(5)

    def __init__(self, actions=None, mask=None, silent_end=True):
        self.action_space = spaces.Discrete(2) if actions is None else actions
        self.mask, self.silent_end = mask, silent_end

    def info(self):
        return {"legal": np.int8([self.s > 0, self.s < 4]) if self.mask is None else self.mask}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.s = 0
        return self.s, self.info()

    def step(self, action):
        self.s += 1 if action == 1 else -1
        assert 0 <= self.s <= 4, "a forbidden action"
        over = self.s == 4
        return self.s, float(over), over, False, {} if over and self.silent_end else self.info()


def test_the_mask_becomes_a_part_of_the_observation():
    env = ActionMasking(Corridor(), info="legal")
    s, info = env.reset()
    assert env.observation_space.contains(s)
    assert s["observation"] == 0
    np.testing.assert_array_equal(s["action_mask"], [0, 1])
    s, *_, info = env.step(1)
    np.testing.assert_array_equal(s["action_mask"], [1, 1])
    np.testing.assert_array_equal(info["legal"], [1, 1])
    for _ in range(3):
        s, _, terminated, _, info = env.step(1)
    assert terminated
    assert info == {}
    np.testing.assert_array_equal(s["action_mask"], [1, 1])  # there was none, and nothing is left to do
    assert env.observation_space.contains(s)


def test_a_terminal_state_where_nothing_is_left():
    env = ActionMasking(Corridor(silent_end=False, mask=np.int8([0, 0])), info="legal")
    s, _ = env.reset()
    np.testing.assert_array_equal(s["action_mask"], [0, 0])
    for _ in range(4):
        s, _, terminated, _, _ = env.step(1)
    assert terminated
    np.testing.assert_array_equal(s["action_mask"], [1, 1])


def test_a_whole_loop_never_takes_what_is_forbidden():
    env = coax.wrappers.TrainMonitor(ActionMasking(Corridor(), info="legal"))

    def func(S, is_training):
        return hk.Linear(2, w_init=jnp.zeros)(S["observation"])

    q = coax.Q(func, env, random_seed=0)
    pi = coax.EpsilonGreedy(q, epsilon=0.5)
    tracer = coax.reward_tracing.NStep(n=1, gamma=0.5)
    updater = coax.td_learning.QLearning(q, q_targ=q.copy(), optimizer=None)
    s, _ = env.reset(seed=0)
    for _ in range(60):
        a = pi(s)
        s_next, r, terminated, truncated, _ = env.step(a)
        tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
        while tracer:
            updater.update(tracer.pop())
        s = env.reset()[0] if terminated else s_next
    updater.update(updater_batch(tracer, env, s), wait=True)


def updater_batch(tracer, env, s):
    """One more transition, into the terminal state."""
    row = {"observation": 3, "action_mask": np.int8([1, 1])}
    tracer.reset()
    tracer.add(row, 1, 1.0, True)
    return tracer.flush()


def test_taxi():
    env = ActionMasking(gymnasium.make("Taxi-v4"), info="action_mask")
    pi = coax.RandomPolicy(env, random_seed=0)
    s, info = env.reset(seed=3)
    for _ in range(100):
        a = pi(s)
        assert info["action_mask"][a]
        before = s["observation"]
        s, r, terminated, truncated, info = env.step(a)
        assert r != -10  # an illegal pick-up or drop-off
        assert s["observation"] != before  # nobody drove into a wall
        if terminated or truncated:
            s, info = env.reset()


@pytest.mark.full
def test_masks_of_many_entries():
    both = (np.int8([1, 0]), np.int8([0, 1, 1]))
    for mask in (both, np.concatenate(both)):
        env = ActionMasking(Corridor(spaces.MultiDiscrete([2, 3]), mask), info="legal")
        s, _ = env.reset()
        np.testing.assert_array_equal(s["action_mask"], [1, 0, 0, 1, 1])
        assert {tuple(coax.RandomPolicy(env, random_seed=i)(s)) for i in range(20)} == {(0, 1), (0, 2)}
    env = ActionMasking(Corridor(spaces.MultiBinary(2), np.int8([[1, 0], [1, 1]])), info="legal")
    s, _ = env.reset()
    np.testing.assert_array_equal(s["action_mask"], [1, 0, 1, 1])
    assert {tuple(coax.RandomPolicy(env, random_seed=i)(s)) for i in range(20)} == {(0, 0), (0, 1)}


def test_the_mask_is_in_the_observation_already():
    env = ActionMasking(ActionMasking(Corridor(), info="legal"), observation="action_mask")
    s, _ = env.reset()
    assert set(s) == {"observation", "action_mask"}
    assert env.action_mask == coax.ActionMask("action_mask")
    assert coax.RandomPolicy(coax.wrappers.TrainMonitor(env))(s) == 1


def test_errors():
    for kwargs in ({}, {"info": "a", "observation": "b"}):
        with pytest.raises(TypeError, match=r"expected one of info and observation.*Fix:"):
            ActionMasking(Corridor(), **kwargs)
    with pytest.raises(TypeError, match=r"expected Discrete, MultiDiscrete or MultiBinary actions.*Box.*Fix:"):
        ActionMasking(Corridor(spaces.Box(0, 1)), info="legal")
    with pytest.raises(ValueError, match=r"expected info\['other'\], got the keys \['legal'\].*Fix:"):
        ActionMasking(Corridor(), info="other").reset()
    for mask in ([0.5, 1.0], [0.0, -np.inf], [256, 1]):
        with pytest.raises(ValueError, match=r"to hold True and False, or 1 and 0, got values from .*Fix:"):
            ActionMasking(Corridor(mask=np.array(mask)), info="legal").reset()
    with pytest.raises(ValueError, match=r"to have 2 entries.*got 3\. Fix:"):
        ActionMasking(Corridor(mask=np.ones(3)), info="legal").reset()


@pytest.mark.parametrize("mode", list(gymnasium.vector.AutoresetMode))
@pytest.mark.parametrize("where", ["info", "observation"])
@pytest.mark.gate
def test_several_environments(mode, where):
    def make():
        env = ActionMasking(Corridor(), info="legal")
        return env if where == "info" else ActionMasking(env, observation="action_mask")

    envs = coax.wrappers.TrainMonitor(gymnasium.vector.SyncVectorEnv([make] * 3, autoreset_mode=mode))
    envs.reset(seed=1)

    def func(S, is_training):
        return hk.Linear(2)(S["observation"])

    q = coax.Q(func, envs, random_seed=1)
    policies = [coax.EpsilonGreedy(q, epsilon=1.0), coax.RandomPolicy(envs, random_seed=1)]
    tracer = coax.reward_tracing.NStep(1, 0.9, num_envs=3)
    qlearning = coax.td_learning.QLearning(q)
    for i in range(60):  # the environment itself objects to a forbidden action
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(envs, A := policies[i % 2](envs.observation))
        tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask)
        if tracer:
            batch = tracer.flush()
            assert np.isfinite(qlearning.update(batch)["QLearning/loss"])
    assert envs.ep > 3


def test_a_vector_environment():
    with pytest.raises(TypeError, match=r"expected a single gymnasium\.Env, got SyncVectorEnv\. Fix: wrap the single"):
        ActionMasking(gymnasium.vector.SyncVectorEnv([Corridor]), info="legal")
