import cloudpickle
import gymnasium
import pytest

from coax.wrappers import LastObservation


def test_it_remembers():
    env = LastObservation(gymnasium.make("FrozenLake-v1", is_slippery=False))
    s, info = env.reset(seed=3)
    assert (env.observation, s) == (0, 0)
    assert "prob" in info
    s, r, terminated, truncated, _ = env.step(2)  # right
    assert (s, r, terminated, truncated) == (1, 0, False, False)
    assert env.observation == 1
    assert cloudpickle.loads(cloudpickle.dumps(env)).observation == 1


def test_before_the_first_reset():
    env = LastObservation(gymnasium.make("FrozenLake-v1"))
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"before the first reset. Fix: call env.reset\(\) once"):
        _ = env.observation


def test_seed_and_options_are_passed_on():
    class Spy(gymnasium.Env):
        def reset(self, *, seed=None, options=None):
            return (seed, options), {}

    assert LastObservation(Spy()).reset(seed=3, options={"a": 1})[0] == (3, {"a": 1})
