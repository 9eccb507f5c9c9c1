"""Environments of gymnasium go on from a file within the episode; those that hide it, with the next one."""

import collections
import copy
import enum
import functools
import os
import warnings

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces, wrappers

import coax
from coax.checkpoint import CheckpointError
from tests.counter import Counter

SINGLE = [
    "CartPole-v1",
    "Pendulum-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Acrobot-v1",
    "FrozenLake-v1",
    "Taxi-v4",
    "CliffWalking-v1",
    "Blackjack-v1",
]


def plain(x):
    """What can be compared: nested, without the time that has passed, and all the frames of an emulator so far."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items() if key not in ("t", "_t", "frame_number")}
    if isinstance(x, tuple | list) or (isinstance(x, np.ndarray) and x.dtype == object):
        return [plain(each) for each in x]
    return np.asarray("nothing" if x is None else x)


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for x, y in zip(one, other, strict=True):
            assert_same(x, y)
    else:
        np.testing.assert_array_equal(one, other, strict=True)


def steps(env, n):
    """What comes out of so many steps with random actions, and of the resets in between."""
    found = []
    for _ in range(n):
        action = env.action_space.sample()
        out = env.step(action)
        found.append(plain([action, *out]))
        if np.ndim(out[2]) == 0 and (out[2] or out[3]):
            found.append(plain(env.reset()))
    return found


def check(make, path, before=37, after=50):
    env, other = make(), make()
    env.action_space.seed(2)
    env.reset(seed=1)
    steps(env, before)
    coax.save(path, env=env)
    assert coax.load(path, env=other)["env"] is other
    assert_same(steps(env, after), steps(other, after))
    env.close()
    other.close()


# --- what goes on within the episode ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SINGLE)
def test_goes_on_within_the_episode(name, tmp_path):
    check(lambda: gymnasium.make(name, max_episode_steps=30), tmp_path / "file")


@pytest.mark.parametrize("before", [0, 29, 30])
def test_right_after_a_reset_and_around_the_end_of_time(before, tmp_path):
    check(lambda: gymnasium.make("Pendulum-v1", max_episode_steps=30), tmp_path / "file", before)


def test_masks_of_actions(tmp_path):
    check(lambda: coax.wrappers.ActionMasking(gymnasium.make("Taxi-v4"), info="action_mask"), tmp_path / "file")


def test_one_that_was_used_before(tmp_path):
    env, other = (gymnasium.make("CartPole-v1") for _ in range(2))
    env.reset(seed=1)
    env.action_space.seed(2)
    steps(env, 20)
    coax.save(tmp_path / "file", env=env)
    other.reset(seed=5)
    steps(other, 33)
    coax.load(tmp_path / "file", env=other)
    assert_same(steps(env, 50), steps(other, 50))


def test_one_that_was_never_reset(tmp_path):
    env, other = (gymnasium.make("CartPole-v1") for _ in range(2))
    coax.save(tmp_path / "file", env=env)
    coax.load(tmp_path / "file", env=other)
    with pytest.raises(gymnasium.error.ResetNeeded):
        other.step(0)
    other.reset()


MODES = list(gymnasium.vector.AutoresetMode)[:2]


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Blackjack-v1", "FrozenLake-v1"])
@pytest.mark.parametrize("mode", MODES)
def test_several_at_once(name, mode, tmp_path):
    make = lambda: gymnasium.make_vec(
        name, num_envs=3, vectorization_mode="sync", max_episode_steps=15, vector_kwargs={"autoreset_mode": mode}
    )
    check(make, tmp_path / "file")


def test_several_in_one_program(tmp_path):
    make = lambda: gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point")
    check(make, tmp_path / "file")


WRAPPERS = {
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "NormalizeObservation": wrappers.NormalizeObservation,
    "NormalizeReward": wrappers.NormalizeReward,
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(env, 4),
    "DelayObservation": lambda env: wrappers.DelayObservation(env, 2),
    "TimeAwareObservation": wrappers.TimeAwareObservation,
    "RescaleAction": lambda env: wrappers.RescaleAction(env, np.float32(-1), np.float32(1)),
    "RescaleObservation": lambda env: wrappers.RescaleObservation(
        wrappers.TransformObservation(env, lambda s: np.clip(s, -1, 1), spaces.Box(-1, 1, (3,), np.float32)),
        np.float32(0),
        np.float32(1),
    ),
    "TransformReward": lambda env: wrappers.TransformReward(env, lambda r: 2 * r),
    "StickyAction": lambda env: wrappers.StickyAction(env, 0.5),
    "Autoreset": wrappers.Autoreset,
    "coax.FrameStacking": lambda env: coax.wrappers.FrameStacking(env, 3),
    "coax.LastObservation": coax.wrappers.LastObservation,
    "coax.NormalizeObservation": coax.wrappers.NormalizeObservation,
    "coax.NormalizeReward": coax.wrappers.NormalizeReward,
    "coax.TrainMonitor": lambda env: coax.wrappers.TrainMonitor(env),
    "several": lambda env: coax.wrappers.TrainMonitor(
        wrappers.NormalizeReward(wrappers.FrameStackObservation(coax.wrappers.NormalizeObservation(env), 2))
    ),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers(name, tmp_path):
    check(lambda: WRAPPERS[name](gymnasium.make("Pendulum-v1", max_episode_steps=30)), tmp_path / "file")


VECTOR_WRAPPERS = {
    "RecordEpisodeStatistics": wrappers.vector.RecordEpisodeStatistics,
    "NormalizeObservation": wrappers.vector.NormalizeObservation,
    "NormalizeReward": wrappers.vector.NormalizeReward,
    "coax.LastObservation": coax.wrappers.LastObservation,
    "coax.NormalizeObservation": coax.wrappers.NormalizeObservation,
    "coax.NormalizeReward": coax.wrappers.NormalizeReward,
    "coax.TrainMonitor": lambda env: coax.wrappers.TrainMonitor(env),
}


@pytest.mark.parametrize("name", VECTOR_WRAPPERS)
def test_vector_wrappers(name, tmp_path):
    def make():
        env = gymnasium.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync", max_episode_steps=15)
        return VECTOR_WRAPPERS[name](env)

    check(make, tmp_path / "file")


# --- environments of one's own ----------------------------------------------------------------------------------------


class Phase(enum.Enum):
    BID = 1
    PLAY = 2


class Game(gymnasium.Env):
    """Holds what is data in many ways; its spaces belong to the class."""

    observation_space = spaces.Box(-100, 100, (8,), np.float64)
    action_space = spaces.Discrete(5)

    def __init__(self, size=3):
        self.board = np.full((size, size), ".", "<U1")
        self.codes = np.full(size, b"ab", "S2")
        self.phase, self.mood, self.memory = Phase.BID, "calm", b""
        self.moves = collections.deque(maxlen=4)
        self.scores = {"one": [0, 0.5], 2: (np.float32(0), None)}
        self.visited = np.zeros(0, np.int64)  # grows
        self.rules = [len, Phase]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.board[:], self.phase, self.mood, self.memory = ".", Phase.BID, "calm", b""
        self.moves.clear()
        self.scores, self.visited = {"one": [0, 0.5], 2: (np.float32(0), None)}, np.zeros(0, np.int64)
        return self.look(), {}

    def step(self, action):
        i = int(self.np_random.integers(self.board.size))
        self.board.flat[i] = self.mood[0] if self.phase is Phase.BID else "x"
        self.codes[i % 3] = b"cd"
        self.phase = Phase.PLAY if self.phase is Phase.BID else Phase.BID
        self.mood, self.memory = self.mood[1:] + self.mood[0], bytes([action]) + self.memory
        self.moves.append(int(action))
        self.scores["one"][0] += action
        self.scores[2] = (self.scores[2][0] + np.float32(1), self.scores["one"][0])
        self.visited = np.append(self.visited, i)
        return self.look(), float(i), False, len(self.memory) > 20, {}

    def look(self):
        board = "".join(self.board.flat)
        numbers = [board.count("c"), board.count("x"), len(board.strip("."))]
        numbers += [self.phase.value, sum(self.memory), sum(self.moves), self.scores["one"][0], len(self.visited)]
        return np.array(numbers, float)


def game():
    """One whose class is its own, as in another process."""

    class Own(Game):
        action_space = spaces.Discrete(5)

    return Own()


def test_what_one_may_hold(tmp_path):
    check(game, tmp_path / "file")
    env, other = game(), game()
    env.reset(seed=3)
    steps(env, 7)
    coax.save(tmp_path / "file", env=env)
    coax.load(tmp_path / "file", env=other)
    assert (other.phase, other.mood, other.memory) == (env.phase, env.mood, env.memory)
    assert other.board.dtype == env.board.dtype
    assert (other.board == env.board).all()
    assert other.codes.tolist() == env.codes.tolist()
    assert other.scores == env.scores
    assert type(other.scores[2][0]) is np.float32
    assert other.moves == env.moves
    assert other.moves.maxlen == 4


class Chess(gymnasium.Env):
    """What is first there after a reset, what names no file although it looks like it, and what shares."""

    __slots__ = ("turn",)
    observation_space, action_space = spaces.Box(-100, 100, (4,), np.float64), spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.moves = "rnbqkbnr/pppp/8 w: KQkq -", collections.deque(["e2/e4"], maxlen=3)
        self.water, self.memory = ["~~.", "~.~"], bytes([47, 126, 92])
        self.rng = np.random.Generator(np.random.SFC64(3))
        self.said, self.turn = ["white: to move"], 0
        self.all_said = self.said
        self.dice = self.np_random
        self.field = jnp.zeros(3)
        return self.look(), {}

    def step(self, action):
        self.position = self.position[1:] + self.position[0]
        self.moves.append(f"{action}/{self.dice.integers(9)}")
        self.said.append(f"{self.np_random.integers(9)}: said")
        self.turn += 1
        self.field = self.field.at[action % 3].add(1)  # NumPy knows nothing of this
        return self.look(), 0.0, False, self.turn > 25, {}

    def look(self):
        numbers = [len(self.all_said), sum(map(ord, self.moves[-1] + self.all_said[-1])), self.turn, self.field[0]]
        return np.array([ord(self.position[0]), *numbers], float)


@pytest.mark.parametrize("is_begun", [False, True])
def test_what_looks_like_something_else(is_begun, tmp_path):
    env, other = Chess(), Chess()
    env.reset(seed=1)
    env.action_space.seed(2)
    steps(env, 37)
    coax.save(tmp_path / "file", env=env)
    if is_begun:
        other.reset(seed=5)
    coax.load(tmp_path / "file", env=other)
    assert (other.position, other.said, other.moves) == (env.position, env.said, env.moves)
    assert other.all_said is other.said
    assert other.dice is other.np_random
    assert (other.moves.maxlen, other.turn, other.water, other.memory) == (3, env.turn, env.water, env.memory)
    assert other.rng.random() == env.rng.random()
    other.action_space = copy.deepcopy(env.action_space)  # that of the class is one for both
    assert_same(steps(env, 50), steps(other, 50))


class Aware(gymnasium.Wrapper):
    """Draws from the generator of what it wraps."""

    def reset(self, **kwargs):
        found = super().reset(**kwargs)
        self.dice = self.unwrapped.np_random
        return found

    def step(self, action):
        s, *others = super().step(action)
        return s + self.dice.random(), *others


def test_a_generator_that_layers_share(tmp_path):
    check(lambda: Aware(gymnasium.make("Pendulum-v1", max_episode_steps=30)), tmp_path / "file")


class Color(enum.Flag):
    RED, GREEN, BLUE = 1, 2, 4


def test_members_of_enumerations(tmp_path):
    env, other, third = Game(), Game(), Game()
    for each in (env, other, third):
        each.reset(seed=1)
        each.color = Color.RED
    env.color, env.phase = Color.RED | Color.BLUE, Phase.PLAY
    coax.save(tmp_path / "file", env=env)
    coax.load(tmp_path / "file", env=other)
    assert (other.color, other.phase) == (Color.RED | Color.BLUE, Phase.PLAY)
    third.color = None  # only later it is one
    coax.load(tmp_path / "file", env=third)
    assert (third.color, third.phase) == (Color.RED | Color.BLUE, Phase.PLAY)

    class Local(enum.Enum):
        X = 1

    env.color, third.color, third.phase = Local.X, None, Phase.BID
    coax.save(tmp_path / "file", env=env)
    with pytest.raises(
        CheckpointError, match=r"env.color: expected nothing.*Fix: begin an episode with reset\(\), then"
    ):
        coax.load(tmp_path / "file", env=third)
    assert third.phase is Phase.BID


class Choosy(Game):
    """Takes no high level."""

    level = property(lambda self: self.__dict__["level"])

    @level.setter
    def level(self, value):
        if value > 3:
            raise ValueError("too high")
        self.__dict__["level"] = value


def test_one_that_refuses_is_as_before(tmp_path):
    env, other = Choosy(), Choosy()
    counter, saved_counter = Counter(), Counter()
    for each in (env, other):
        each.reset(seed=1)
        each.level = 1
    saved_counter.step()
    steps(env, 7)
    env.__dict__["level"] = 4
    coax.save(tmp_path / "file", counter=saved_counter, env=env)
    before = copy.deepcopy(vars(other))
    with pytest.raises(
        CheckpointError, match=r"refused what the file has \(ValueError: too high\). Nothing was changed"
    ):
        coax.load(tmp_path / "file", counter=counter, env=other)
    assert counter.n == 0
    assert_same(
        plain({k: v for k, v in before.items() if k in ("memory", "mood", "visited", "scores")}),
        plain({k: v for k, v in vars(other).items() if k in ("memory", "mood", "visited", "scores")}),
    )
    assert other.moves == before["moves"]
    assert other.np_random.bit_generator.state == before["_np_random"].bit_generator.state


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("masked", np.ma.masked_array([1.0, 2.0], [True, False])),
        ("draw", np.random.default_rng(1).random),
        ("partial", functools.partial(max, [1])),
        ("append", [].append),
        ("look", "the name of a method"),
        ("said", "/3"),
        ("said", ["/nowhere/at/all"]),
        ("records", np.rec.array([(1, 2.0)])),
    ],
)
def test_what_would_be_lost_is_said(name, value, tmp_path):
    env = Game()
    env.reset(seed=1)
    setattr(env, name, value)
    with pytest.warns(UserWarning, match=rf"hides what it holds in {name} \({type(value).__name__}\)"):
        coax.save(tmp_path / "file", env=env)


def test_what_moves_on_a_screen_is_not_lost(tmp_path):
    pygame = pytest.importorskip("pygame")
    env = Game()
    env.reset(seed=1)
    env.surface = pygame.Surface((2, 2))
    coax.save(tmp_path / "file", env=env)
    env.player = pygame.Rect(0, 0, 2, 2)
    with pytest.warns(UserWarning, match=r"hides what it holds in player \(Rect\)"):
        coax.save(tmp_path / "file", env=env)


def test_spaces_in_spaces(tmp_path):
    env, other = Game(), Game()
    for seed, each in enumerate((env, other)):
        each.reset(seed=1)
        part = spaces.Dict({"a": spaces.Sequence(spaces.Box(0, 1, (2,))), "b": spaces.OneOf([spaces.Discrete(9)] * 2)})
        each.action_space = spaces.Tuple([part, spaces.Graph(spaces.Box(0, 1, ()), spaces.Discrete(3))])
        each.action_space.seed(seed)
    coax.save(tmp_path / "file", env=env)
    coax.load(tmp_path / "file", env=other)
    for _ in range(5):
        assert str(env.action_space.sample()) == str(other.action_space.sample())


def test_one_that_refers_to_what_is_around_it(tmp_path):
    inner = Game()
    env = coax.wrappers.LastObservation(inner)
    inner.outer = env
    with pytest.raises(CheckpointError, match=r"an environment refers to itself.*Fix: "):
        coax.save(tmp_path / "file", env=env)


def test_functions_are_not_lost(tmp_path):
    env = Game()
    env.reset(seed=1)
    env.functions = [np.sin, jax.jit(jnp.sin), functools.partial(max, 3), env.look, spaces.Discrete(3).sample, len]
    env.folder = os.fspath(tmp_path)  # where to write is for the user to say
    env.options = {"folder": os.fspath(tmp_path), "n": 3}
    coax.save(tmp_path / "file", env=env)
    other = Game()
    other.folder, other.options = os.fspath(tmp_path / "b"), {"folder": os.fspath(tmp_path), "n": 0}
    coax.load(tmp_path / "file", env=other)
    assert (other.folder, other.options) == (os.fspath(tmp_path / "b"), env.options)
    other.options["folder"] = "elsewhere"
    with pytest.raises(CheckpointError, match=r"env.options: the file has the name of another file.*Fix: "):
        coax.load(tmp_path / "file", env=other)


def test_how_it_is_watched_may_change(tmp_path):
    env = gymnasium.make("CartPole-v1")
    env.reset(seed=1)
    coax.save(tmp_path / "file", env=env)
    other = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    coax.load(tmp_path / "file", env=other)
    assert other.render_mode == other.unwrapped.render_mode == "rgb_array"


def lake(map_name):
    return gymnasium.make("FrozenLake-v1", map_name=map_name)


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (
            lambda: lake("4x4"),
            lambda: lake("8x8"),
            r"observation_space: expected Discrete\(64\), the file has Discrete",
        ),
        (lambda: gymnasium.make("CartPole-v1"), lambda: gymnasium.make("Acrobot-v1"), "expected a .*AcrobotEnv, the"),
        (lambda: Game(), lambda: coax.wrappers.LastObservation(Game()), "expected a .*LastObservation, the file has a"),
        (
            lambda: gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
            lambda: gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync"),
            "the file has",
        ),
        (lambda: coax.wrappers.NormalizeReward(Game()), Game, "Fix: build the environment as it was when saved"),
    ],
)
def test_another_environment(one, other, text, tmp_path):
    env = one()
    env.reset(seed=1)
    coax.save(tmp_path / "file", env=env)
    other = other()
    other.reset(seed=2)
    with pytest.raises(CheckpointError, match=text):
        coax.load(tmp_path / "file", env=other)
    steps(other, 3)


# --- what hides its simulator -----------------------------------------------------------------------------------------


class Hidden:
    """Nothing that can be looked into."""

    __slots__ = ("x",)


class Sealed(gymnasium.Env):
    def __init__(self):
        self.observation_space, self.action_space = spaces.Box(0, 1, (), np.float64), spaces.Discrete(2)
        self.simulator, self.count, self.key = Hidden(), 0, jax.random.key(1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.key = jax.random.split(self.key)[0]
        self.simulator.x, self.count = self.np_random.random() + float(jax.random.uniform(self.key)), 0
        return self.simulator.x, {}

    def step(self, action):
        self.simulator.x, self.count = self.np_random.random(), self.count + 1
        return self.simulator.x, float(action), False, self.count == 9, {}


def check_next_episode(make, path, names, before=23, after=50):
    """Both go on from the next reset; before that the one that was loaded refuses to."""
    env, other = make(), make()
    env.reset(seed=1)
    env.action_space.seed(2)
    steps(env, before)
    with pytest.warns(UserWarning, match=rf"hides what it holds in .*{names}.*begin one with reset\(\)"):
        coax.save(path, env=env)
    other.reset(seed=5)
    coax.load(path, env=other)
    assert_same(plain(env.reset()), plain(other.reset()))
    assert_same(steps(env, after), steps(other, after))
    env.close()
    other.close()


def check_refuses(make, path):
    env = make()
    env.reset(seed=1)
    with pytest.warns(UserWarning, match="hides what it holds"):
        coax.save(path, env=env)
    other = make()
    other.reset(seed=1)  # also if there is an episode: it is not the one that was saved
    coax.load(path, env=other)
    with pytest.raises(gymnasium.error.ResetNeeded):
        other.step(other.action_space.sample())
    other.close()
    env.close()


def sealed(wrap=lambda env: env):
    return wrap(wrappers.OrderEnforcing(Sealed()))


@pytest.mark.parametrize("wrap", [coax.wrappers.LastObservation, coax.wrappers.TrainMonitor])
def test_hidden_without_a_wrapper_that_keeps_the_order(wrap, tmp_path):
    check_refuses(lambda: wrap(Sealed()), tmp_path / "file")
    check_refuses(lambda: wrap(gymnasium.vector.SyncVectorEnv([Sealed] * 2)), tmp_path / "file")


@pytest.mark.parametrize("wrap", [lambda env: env, coax.wrappers.LastObservation, wrappers.NormalizeReward])
def test_hidden(wrap, tmp_path):
    check_next_episode(lambda: sealed(wrap), tmp_path / "file", r"simulator \(Hidden\)")
    check_refuses(lambda: sealed(wrap), tmp_path / "file")


def test_what_outlives_an_episode_is_restored_all_the_same(tmp_path):
    env, other = (wrappers.NormalizeReward(coax.wrappers.TrainMonitor(sealed())) for _ in range(2))
    env.reset(seed=1)
    steps(env, 23)
    with pytest.warns(UserWarning, match="hides what it holds"):
        coax.save(tmp_path / "file", env=env)
    coax.load(tmp_path / "file", env=other)
    assert other.return_rms.count == env.return_rms.count
    assert (other.env.T, other.env.ep) == (env.env.T, env.env.ep)
    with pytest.raises(gymnasium.error.ResetNeeded):
        _ = other.env.observation
    other.reset()
    assert (other.env.T, other.env.ep) == (env.env.T + 1, env.env.ep + 1)


def test_several_that_are_hidden(tmp_path):
    make = lambda: gymnasium.vector.SyncVectorEnv([sealed] * 3)
    check_next_episode(make, tmp_path / "file", r"envs.env.simulator \(Hidden\)")
    check_refuses(make, tmp_path / "file")


@pytest.mark.gate
@pytest.mark.parametrize(
    ("name", "is_exact"),
    [
        ("LunarLander-v3", True),
        ("LunarLanderContinuous-v3", True),
        ("BipedalWalker-v3", False),  # its world is never built anew: what was in it leaves its traces
    ],
)
def test_box2d(name, is_exact, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Box2D itself
        pytest.importorskip("Box2D")
    make = lambda: gymnasium.make(name, max_episode_steps=60)
    if is_exact:
        check_next_episode(make, tmp_path / "file", r"world \(b2World\)", 100, 100)
    check_refuses(make, tmp_path / "file")


@pytest.mark.gate
@pytest.mark.parametrize("probability", [0.0, 0.25])
def test_atari(probability, tmp_path):
    gymnasium.register_envs(pytest.importorskip("ale_py"))

    def make():
        game = gymnasium.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=probability, obs_type="grayscale")
        return coax.wrappers.FrameStacking(coax.wrappers.AtariPreprocessing(game), num_frames=2)

    if probability == 0:
        check_next_episode(make, tmp_path / "file", r"ale \(ALEInterface\)", 60, 60)
    check_refuses(make, tmp_path / "file")


@pytest.mark.gate
def test_several_in_processes_of_their_own(tmp_path):
    def make():
        return gymnasium.make_vec(
            "CartPole-v1", num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"}
        )

    check_next_episode(make, tmp_path / "file", r"processes \(list\)")
