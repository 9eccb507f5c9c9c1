import cloudpickle
import gymnasium
import numpy as np
import pytest

from coax.experience_replay import SimpleReplayBuffer
from coax.reward_tracing import NStep
from coax.wrappers import FrameStacking


class Counter(gymnasium.Env):
    """Observes how many steps it has taken in all."""

    observation_space = gymnasium.spaces.Box(0, 255, (2, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    n = 0

    def reset(self, *, seed=None, options=None):
        return np.full((2, 3), self.n, np.uint8), {"seed": seed}

    def step(self, action):
        self.n += 1
        return np.full((2, 3), self.n, np.uint8), 1.0, self.n % 5 == 0, False, {}


def numbers(frames):
    return [int(frame[0, 0]) for frame in frames]


def test_the_latest_frames_with_the_oldest_first():
    env = FrameStacking(Counter(), num_frames=3)
    s, info = env.reset(seed=7)
    assert (type(s), numbers(s), info) == (tuple, [0, 0, 0], {"seed": 7})
    seen = []
    for _ in range(5):
        s, *_ = env.step(0)
        seen.append(numbers(s))
    assert seen == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    s, _ = env.reset()
    assert numbers(s) == [5, 5, 5]  # nothing is left of the episode before
    assert s in env.observation_space
    assert env.num_frames == 3


def test_frames_are_not_copied():
    env = FrameStacking(Counter(), num_frames=2)
    s, _ = env.reset()
    s_next, *_ = env.step(0)
    assert s_next[0] is s[1] is s[0]


def test_one_frame():
    env = FrameStacking(Counter(), num_frames=1)
    env.reset()
    assert numbers(env.step(0)[0]) == [1]


def test_through_tracer_and_buffer():
    env, tracer, buffer = FrameStacking(Counter(), num_frames=3), NStep(2, 0.5), SimpleReplayBuffer(100)
    for _ in range(4):
        s, _ = env.reset()
        terminated = False
        while not terminated:
            s_next, r, terminated, truncated, _ = env.step(0)
            tracer.add(s, 0, r, terminated, truncated=truncated, s_next=s_next)
            while tracer:
                buffer.add(tracer.pop())
            s = s_next
    assert len(buffer) == 20
    for i, batch in enumerate(buffer):
        start = 5 * (i // 5)  # of the episode
        stack = [max(i - back, start) for back in (2, 1, 0)]
        after = [max(min(i + 2, start + 5) - back, start) for back in (2, 1, 0)]
        assert [int(frame[0, 0, 0]) for frame in batch.S] == stack
        assert [int(frame[0, 0, 0]) for frame in batch.S_next] == after
        assert batch.S[0].dtype == np.uint8
        assert batch.In[0] == (0.25 if i % 5 < 3 else 0)


def test_it_can_be_pickled():
    env = FrameStacking(Counter(), num_frames=2)
    env.reset()
    env.step(0)
    assert numbers(cloudpickle.loads(cloudpickle.dumps(env)).step(0)[0]) == [1, 2]


@pytest.mark.parametrize("num_frames", [0, -1, 2.0, True, None])
def test_a_bad_number_of_frames(num_frames):
    with pytest.raises(TypeError, match=rf"num_frames: expected a positive int, got {num_frames}"):
        FrameStacking(Counter(), num_frames)


def test_a_vector_environment():
    with pytest.raises(TypeError, match=r"expected a single gymnasium\.Env, got SyncVectorEnv\. Fix: wrap the single"):
        FrameStacking(gymnasium.vector.SyncVectorEnv([Counter]), 2)
