import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import coax.envs
from coax.wrappers import LastObservation, TrainMonitor


class Walk(gymnasium.Env):
    """Goes from 0 up by what the action says; ends at 3; episodes begin at 0, 10, 20, ..."""

    observation_space = Discrete(1000)
    action_space = Discrete(3)

    def __init__(self):
        self.start, self.position = -10, None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start += 10
        self.position = self.start
        return self.position, {}

    def step(self, action):
        if action == 2:
            raise RuntimeError("the motor is broken")
        self.position += action
        return self.position, np.float32(0.5 * action), self.position - self.start >= 3, False, {}


@pytest.mark.parametrize("wrap", [LastObservation, TrainMonitor])
def test_the_true_next_observation_and_the_next_episode(wrap):
    env = wrap(Walk())
    env.reset()
    rows = [coax.envs.transition(env, A) for A in (1, 0, 1, 1, 1)]
    assert rows == [
        (0, 1, 0.5, False, False, True),
        (1, 1, 0.0, False, False, True),
        (1, 2, 0.5, False, False, True),
        (2, 3, 0.5, True, False, True),  # 3 ends it, and is the next observation: not 10
        (10, 11, 0.5, False, False, True),
    ]
    assert env.observation == 11
    assert rows[0].S_next == 1
    assert type(rows[0].R) is float


def test_truncation_is_not_termination():
    env = LastObservation(gymnasium.wrappers.TimeLimit(Walk(), 2))
    env.reset()
    coax.envs.transition(env, 1)
    row = coax.envs.transition(env, 1)
    assert row == (1, 2, 0.5, False, True, True)
    assert env.observation == 10


def test_the_observation_may_be_remembered_below_other_wrappers():
    env = gymnasium.wrappers.TimeLimit(TrainMonitor(Walk()), 2)
    env.reset()
    assert coax.envs.transition(env, 1)[:2] == (0, 1)
    assert coax.envs.transition(env, 1).truncated
    assert coax.envs.transition(env, 1)[:2] == (10, 11)


def test_the_episodes_are_counted():
    env = TrainMonitor(Walk())
    env.reset()
    for _ in range(7):
        coax.envs.transition(env, 1)
    # two episodes of three steps, and one step of the third: T = 7 steps + 3 resets
    assert (env.ep, env.T, env.t) == (3, 10, 1)


def test_an_error_of_the_environment_changes_nothing():
    env = TrainMonitor(Walk())
    env.reset()
    coax.envs.transition(env, 1)
    with pytest.raises(RuntimeError, match="the motor is broken"):
        coax.envs.transition(env, 2)
    assert (env.observation, env.T, env.t, env.G) == (1, 2, 1, 0.5)


def test_never_reset():
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"before the first reset. Fix: call env.reset\(\) once"):
        coax.envs.transition(LastObservation(Walk()), 0)


def test_without_a_memory():
    env = Walk()
    env.reset()
    with pytest.raises(TypeError, match=r"does not remember its last observation. Fix: wrap it in coax.wrappers"):
        coax.envs.transition(env, 0)


def test_no_environment():
    with pytest.raises(TypeError, match=r"expected a gymnasium.Env or VectorEnv, got int. Fix: "):
        coax.envs.transition(3, 0)


def test_box_observations_are_handed_on_unchanged():
    class Noise(gymnasium.Env):
        observation_space = Box(-1, 1, (2,))
        action_space = Discrete(1)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.np_random.random(2).astype(np.float32), {}

        def step(self, action):
            return self.np_random.random(2).astype(np.float32), 0.0, False, False, {}

    env = LastObservation(Noise())
    first, _ = env.reset(seed=1)
    row = coax.envs.transition(env, 0)
    assert row.S is first
    assert row.S_next is env.observation


class Doubled(gymnasium.ObservationWrapper):
    def observation(self, observation):
        return 2 * observation


def test_a_wrapper_outside_that_changes_observations():
    env = Doubled(TrainMonitor(Walk()))
    env.reset()
    with pytest.raises(ValueError, match=r"to be the one that TrainMonitor remembers, got another one\. Fix: put that"):
        coax.envs.transition(env, 1)
    env = LastObservation(Doubled(Walk()))  # inside it may
    env.reset()
    assert coax.envs.transition(env, 1)[:2] == (0, 2)


def test_a_method_of_that_name_remembers_nothing():
    env = Doubled(Walk())
    env.reset()
    with pytest.raises(TypeError, match=r"does not remember its last observation\. Fix: wrap it in"):
        coax.envs.transition(env, 1)
