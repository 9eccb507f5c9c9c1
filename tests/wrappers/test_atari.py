import gymnasium
import numpy as np
import pytest

import coax
from coax.wrappers import AtariPreprocessing, FrameStacking, LastObservation, TrainMonitor

rng = np.random.default_rng(1)
PICTURES = rng.integers(0, 256, (200, 10, 7), np.uint8)


class Game(gymnasium.Env):
    """Shows known pictures, one after the other; the reward is the number of the step."""

    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, pictures=PICTURES, losses=(), end=150):
        self.pictures, self.losses, self.end, self.resets = pictures, losses, end, 0
        self.observation_space = gymnasium.spaces.Box(0, 255, pictures.shape[1:], np.uint8)

    def observe(self):
        return self.pictures[self.t], {"lives": 3 - sum(self.t >= t for t in self.losses), "t": self.t}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.resets = 0, self.resets + 1
        return self.observe()

    def step(self, action):
        self.t += 1
        frame, info = self.observe()
        return frame, float(self.t), self.t == self.end, False, info


def averaged(picture, size):
    """Means over areas: each row and column is repeated until the new ones are whole numbers of them."""
    rows = picture.astype(float).repeat(size, axis=0).reshape(size, picture.shape[0], -1).mean(axis=1)
    return rows.repeat(size, axis=1).reshape(size, size, picture.shape[1]).mean(axis=2)


def assert_pictures(got, exact):
    assert got.dtype == np.uint8
    assert np.abs(got - exact).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("size", [1, 3, 5, 7, 10, 12])
def test_skipped_frames_and_pictures(size):
    env = AtariPreprocessing(Game(), size=size, noop_max=0)
    s, _ = env.reset(seed=3)
    assert s.shape == env.observation_space.shape == (size, size)
    assert_pictures(s, averaged(PICTURES[0], size))
    for last in (4, 8, 12):
        s, r, terminated, truncated, info = env.step(1)
        assert_pictures(s, averaged(np.maximum(PICTURES[last - 1], PICTURES[last]), size))
        assert (r, terminated, truncated, info["t"]) == (sum(range(last - 3, last + 1)), False, False, last)


def test_colour():
    pictures = rng.integers(0, 256, (20, 10, 7, 3), np.uint8)
    env = AtariPreprocessing(Game(pictures), size=5, noop_max=0, frame_skip=2)
    env.reset()
    s, *_ = env.step(0)
    brightest = np.maximum(pictures[1], pictures[2])
    assert_pictures(s, averaged(brightest @ [0.299, 0.587, 0.114], 5))


def test_without_skipping():
    env = AtariPreprocessing(Game(), size=7, frame_skip=1, noop_max=0)
    env.reset()
    s, r, *_ = env.step(0)
    assert_pictures(s, averaged(PICTURES[1], 7))  # there is no frame before it in this step
    assert r == 1


def test_the_end_of_an_episode_comes_between():
    env = AtariPreprocessing(Game(end=6), size=7, noop_max=0)
    env.reset()
    env.step(0)
    s, r, terminated, truncated, _ = env.step(0)
    assert_pictures(s, averaged(np.maximum(PICTURES[5], PICTURES[6]), 7))
    assert (r, terminated, truncated) == (5 + 6, True, False)


def test_the_loss_of_a_life():
    game = Game(losses=(6, 9))
    env = AtariPreprocessing(game, size=7, noop_max=0, terminal_on_life_loss=True)
    env.reset()
    assert env.step(0)[1:3] == (1 + 2 + 3 + 4, False)
    assert env.step(0)[1:3] == (5 + 6, True)  # in the middle of the four frames
    _, info = env.reset()
    assert (info["t"], game.resets) == (7, 1)  # the game goes on, by one frame without an action
    assert env.step(0)[1:3] == (8 + 9, True)
    _, info = env.reset(seed=1)
    assert (info["t"], game.resets) == (0, 2)
    plain = AtariPreprocessing(Game(losses=(6, 9)), noop_max=0)
    plain.reset()
    assert [plain.step(0)[2] for _ in range(3)] == [False] * 3


def test_frames_before_an_episode():
    env = AtariPreprocessing(Game(), noop_max=5)
    started = [env.reset(seed=0 if i == 0 else None)[1]["t"] for i in range(600)]
    counts = np.bincount(started, minlength=6)
    assert len(counts) == 6
    assert np.all(np.abs(counts - 100) < 5 * np.sqrt(100 * 5 / 6))  # 0 to 5, each as often
    again = [env.reset(seed=0 if i == 0 else None)[1]["t"] for i in range(20)]
    assert again == started[:20]


@pytest.mark.parametrize("name", ["frame_skip", "size", "noop_max"])
@pytest.mark.parametrize("number", [-1, 1.5, True, None])
def test_bad_numbers(name, number):
    with pytest.raises(ValueError, match=rf"{name}: expected an int of at least \d, got {number}"):
        AtariPreprocessing(Game(), **{name: number})


def test_no_frames():
    with pytest.raises(TypeError, match=r"expected frames u8\[height, width\].* Fix: gymnasium\.make\(\"ALE/Pong-v5\""):
        AtariPreprocessing(gymnasium.make("CartPole-v1"))


def test_a_game_that_skips_frames():
    game = Game()
    game._frameskip = 4
    with pytest.raises(ValueError, match=r"expected a game that skips no frames, got frameskip=4\. Fix: frameskip=1"):
        AtariPreprocessing(game)


# --- the games themselves, where they are installed


@pytest.fixture
def pong():
    gymnasium.register_envs(pytest.importorskip("ale_py"))
    game = gymnasium.make("ALE/Pong-v5", frameskip=1, obs_type="grayscale", repeat_action_probability=0.0)
    return FrameStacking(AtariPreprocessing(game), num_frames=4)


def test_a_game_of_pong(pong):
    env = TrainMonitor(pong)
    env.reset(seed=1)
    total, over = 0.0, False
    while not over:
        S, S_next, r, over, truncated, _ = coax.envs.transition(env, 0)
        assert not truncated
        total += r
    assert total == -21  # who does nothing loses each point
    assert [frame.shape for frame in S_next] == [(84, 84)] * 4
    assert all(x is y for x, y in zip(S[1:], S_next[:-1], strict=True))


def test_pong_keeps_what_matters(pong):
    # the right paddle, which the action moves, is seen where it is: action 2 goes up, 3 goes down
    pong.reset(seed=1)
    where = []
    for action in (2, 3):
        for _ in range(20):
            s, *_ = pong.step(action)
        column = s[-1][14:77, 74].astype(int)  # between the white walls
        where.append(14 + np.flatnonzero(column != np.median(column)).mean())
    assert where == pytest.approx([15, 75], abs=2)


def test_several_games_of_pong(pong):
    envs = LastObservation(gymnasium.make_vec("ALE/Pong-v5", num_envs=2))
    envs.reset(seed=1)
    tracer = coax.reward_tracing.NStep(3, 0.99, num_envs=2)
    buffer = coax.experience_replay.SimpleReplayBuffer(5000, frame_axis=0)
    before = None
    for _ in range(60):
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(envs, np.array([2, 3]))
        if before is not None:
            np.testing.assert_array_equal(S, before)
        np.testing.assert_array_equal(S[:, 1:], S_next[:, :-1])
        before = S_next
        tracer.add(S, np.array([2, 3]), R, terminated, truncated=truncated, s_next=S_next, mask=mask)
        if tracer:
            buffer.add(tracer.flush())
    batch = buffer.sample(100)
    assert batch.S.shape == (100, 4, 84, 84)
    assert batch.S.dtype == np.uint8
