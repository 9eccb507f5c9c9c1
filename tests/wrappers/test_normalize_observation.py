"""Normalised environments: each observation counts once, in every mode of beginning episodes and in every gear."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import coax
from coax import ObservationNormalizer
from coax.envs import FunctionalEnv, JaxVectorEnv, Outcome, transition
from coax.wrappers import (
    DeviceNormalizeObservation,
    DeviceTrainMonitor,
    FrameStacking,
    LastObservation,
    NormalizeObservation,
    TrainMonitor,
    VectorNormalizeObservation,
)
from tests.envs.schedule import Make, make, numbers_in

N = 3
A = np.zeros(N, int)


class Drawn(FunctionalEnv):
    """Episodes of 1 to 9 steps, with observations far from zero; the reward is the length of the episode."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Discrete(2)
    max_episode_steps = 7

    def reset(self, key):
        state = {"length": jax.random.randint(key, (), 1, 10), "t": jnp.int32(0)}
        return state, self.observed(state)

    def observed(self, state):
        return 50 + jnp.stack([state["length"], 3.0 * state["t"]])

    def step(self, state, action, key):
        state = {**state, "t": state["t"] + 1}
        return Outcome(state, self.observed(state), state["length"] + action, state["t"] == state["length"])


DRAWN = Drawn()


def device(cls=NormalizeObservation, seed=4, **kwargs):
    return cls(JaxVectorEnv(DRAWN, N, random_seed=seed), **kwargs)


class Reference:
    """All that was seen, in float64, and observations normalised by that."""

    def __init__(self):
        self.seen = []

    def add(self, S, rows=None):
        S = numbers_in(S).reshape(-1, numbers_in(S).shape[-1])
        self.seen += list(S if rows is None else S[rows])

    def norm(self, S):
        seen = np.array(self.seen)
        scale = np.where(seen.std(axis=0) > 0, np.sqrt(seen.var(axis=0) + 1e-8), 1)
        return np.clip((numbers_in(S) - seen.mean(axis=0)) / scale, -10, 10)

    def check(self, normalizer):
        assert normalizer.count == len(self.seen)
        mean, std = normalizer.mean, normalizer.std
        np.testing.assert_allclose(numbers_in(mean), np.mean(self.seen, axis=0), rtol=1e-6)
        np.testing.assert_allclose(numbers_in(std), np.std(self.seen, axis=0), rtol=1e-5)


def close(x, y):
    np.testing.assert_allclose(numbers_in(x), numbers_in(y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["box", "dict", "tuple"])
def test_one_environment(kind):
    env, raw, reference = NormalizeObservation(make(1, kind)), LastObservation(make(1, kind)), Reference()
    s, _ = env.reset()
    raw.reset()
    reference.add(raw.observation)
    close(s, np.zeros(3))
    for _ in range(30):
        S, S_next, R, terminated, truncated, mask = transition(env, 0)
        row = transition(raw, 0)
        close(S, s)
        assert (R, terminated, truncated, mask) == (row.R, row.terminated, row.truncated, True)
        reference.add(row.S_next)
        close(S_next, reference.norm(row.S_next))
        if terminated or truncated:
            reference.add(raw.observation)
        s = env.observation
        close(s, reference.norm(raw.observation))
        assert s in env.observation_space
    reference.check(env.normalizer)


@pytest.mark.parametrize("kind", ["box", "dict"])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_several_environments(mode, kind):
    env, raw = (SyncVectorEnv([Make(i, kind) for i in range(N)], autoreset_mode=mode) for _ in range(2))
    env, raw, reference = NormalizeObservation(env), LastObservation(raw), Reference()
    assert isinstance(env, VectorNormalizeObservation)
    S0, _ = env.reset()
    raw.reset()
    reference.add(raw.observation)
    close(S0, reference.norm(raw.observation))
    for _ in range(30):
        S, S_next, R, terminated, truncated, mask = transition(env, A)
        row = transition(raw, A)
        ended = terminated | truncated
        close(S, S0)
        for x, y in zip((R, terminated, truncated, mask), row[2:], strict=True):
            np.testing.assert_array_equal(x, y)
        if mode is AutoresetMode.SAME_STEP:  # what the step returns has the first observations of the next episodes
            reference.add(raw.observation, ended)
        # a row that is no transition brings the first observation of an episode
        reference.add(row.S_next)
        close(S_next, reference.norm(row.S_next))
        if mode is AutoresetMode.DISABLED:
            reference.add(raw.observation, ended)
        S0 = env.observation
        # where no episode ended, what is remembered is what the step gave
        close(S0, np.where(ended[:, None], reference.norm(raw.observation), numbers_in(S_next)))
    reference.check(env.normalizer)
    assert S0 in env.observation_space


def test_all_modes_count_the_same():
    # 30 steps, but with NEXT_STEP some of these only begin an episode: take as many episodes
    found = []
    for mode in AutoresetMode:
        env = NormalizeObservation(SyncVectorEnv([Make(1)], autoreset_mode=mode))
        env.reset()
        episodes = 0
        while episodes < 6:
            row = transition(env, A[:1])
            episodes += int((row.terminated | row.truncated)[0])
        if mode is AutoresetMode.NEXT_STEP:
            env.step(A[:1])  # begins the seventh, as the others have done
        found.append((env.normalizer.count, env.normalizer.mean.tolist(), env.normalizer.std.tolist()))
    for other in found[1:]:
        np.testing.assert_allclose(np.hstack(other), np.hstack(found[0]), rtol=1e-5)


def test_final_observations_in_the_info():
    env = NormalizeObservation(
        SyncVectorEnv([Make(i, "dict") for i in range(N)], autoreset_mode=AutoresetMode.SAME_STEP)
    )
    raw = SyncVectorEnv([Make(i, "dict") for i in range(N)], autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset()
    raw.reset()
    for _ in range(20):
        *_, info = env.step(A)
        *_, info_raw = raw.step(A)
        assert info.keys() == info_raw.keys()
        for i, final in enumerate(info_raw.get("final_obs", ())):
            if final is None:
                assert info["final_obs"][i] is None
                continue
            close(info["final_obs"][i]["all"], env.normalizer.norm(final)["all"])
            assert info["final_obs"][i]["step"] == final["step"]
            assert info["final_obs"][i] in env.single_observation_space


def test_inside_jax():
    env, raw, reference = device(), JaxVectorEnv(DRAWN, N, random_seed=4), Reference()
    assert isinstance(env, DeviceNormalizeObservation)
    reference.add(raw.observation)
    close(env.observation, reference.norm(raw.observation))
    assert env.normalizer.count == 0  # reading changes nothing
    for _ in range(30):
        S_was = env.observation
        S, S_next, R, terminated, truncated, mask = transition(env, A)
        row = transition(raw, A)
        close(S, S_was)
        for x, y in zip((R, terminated, truncated, mask), row[2:], strict=True):
            np.testing.assert_array_equal(x, y)
        reference.add(row.S_next)
        reference.add(raw.observation, terminated | truncated)
        close(S_next, reference.norm(row.S_next))
        close(env.observation, reference.norm(raw.observation))
        reference.check(env.normalizer)
    S, _ = env.reset(options={"reset_mask": np.array([True, False, False])})
    raw.reset(options={"reset_mask": np.array([True, False, False])})
    reference.add(raw.observation[:1])
    reference.check(env.normalizer)
    close(S, env.observation)
    S, _ = env.reset(seed=3)
    raw.reset(seed=3)
    reference.add(raw.observation)
    reference.check(env.normalizer)
    close(S, reference.norm(raw.observation))


def test_a_reset_before_the_first_step():
    env, raw, reference = device(), JaxVectorEnv(DRAWN, N, random_seed=4), Reference()
    mask = {"reset_mask": np.array([True, False, False])}
    S, _ = env.reset(options=mask)
    raw.reset(options=mask)
    reference.add(raw.observation)  # nothing was counted before
    reference.check(env.normalizer)
    close(S, reference.norm(raw.observation))


@pytest.mark.gate
def test_steps_of_the_one_inside_jax():
    env, host = device(), device(VectorNormalizeObservation)
    host.reset(seed=1)
    env.reset(seed=1)
    for _ in range(20):
        *found, info = env.step(A)
        *true, info_true = host.step(A)
        for x, y in zip(found, true, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
        assert info.keys() == info_true.keys()
        for x, y in zip(info.get("final_obs", ()), info_true.get("final_obs", ()), strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    assert env.normalizer.count == host.normalizer.count
    compiled = coax.jit(lambda: env.step(jnp.asarray(A)), over=env)
    other = env.copy()
    S, *_, info = compiled()
    row = transition(other, A)
    ended = np.asarray(info["_final_obs"])
    np.testing.assert_allclose(info["final_obs"], row.S_next, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(S, other.observation, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ended, row.terminated | row.truncated)


def numbers(obj):
    leaves = jax.tree.leaves([x.state for x in coax._stateful.collect(obj)])
    return [
        np.asarray(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x) for x in leaves
    ]


@pytest.mark.gate
def test_python_is_scan_is_one_of_several_seeds():
    env = device()

    def step():
        S = env.observation
        row = transition(env, (jnp.asarray(S)[:, 0] > 0).astype(int))
        return row._replace(S=S)

    init, apply = coax.transform(lambda: coax.scan(step, 30, over=env), over=env)
    keys = jax.random.split(jax.random.key(7), 3)
    rows, states = jax.jit(jax.vmap(apply))(jax.vmap(init)(keys))
    fresh = jax.jit(init)(keys[1])
    found = []
    for loop in ("scan", "python"):
        for obj in fresh:
            obj.state = fresh[obj]
        if loop == "scan":
            out = coax.scan(step, 30, over=env)
        else:
            turns = [step() for _ in range(30)]
            out = jax.tree.map(lambda *xs: np.stack(xs), *turns)
        found.append((jax.tree.map(np.asarray, out), numbers(env)))
    for out, state in found:
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x[1], y, rtol=1e-4, atol=1e-4), rows, out)
        assert env.normalizer.count > 30 * N
        one = jax.tree.map(lambda x: x[1], [states[obj] for obj in fresh])
        for x, y in zip(jax.tree.leaves(one), state, strict=True):
            x = jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    assert not np.allclose(rows.S[0], rows.S[1])


@pytest.mark.gate
def test_around_a_device_monitor_and_in_one():
    inside = NormalizeObservation(DeviceTrainMonitor(JaxVectorEnv(DRAWN, N, random_seed=4)))
    around = DeviceTrainMonitor(device())
    for _ in range(10):
        x, y = transition(inside, A), transition(around, A)
        np.testing.assert_allclose(x.S_next, y.S_next, rtol=1e-6)
    assert inside.env.T == around.T > 10 * N
    rows = coax.scan(lambda: transition(around, jnp.asarray(A)).R, 5, over=around)
    assert rows.shape == (5, N)


def test_a_training_monitor_around_it():
    env = TrainMonitor(NormalizeObservation(make(1)))
    s, _ = env.reset()
    for _ in range(10):
        row = transition(env, 0)
        np.testing.assert_array_equal(row.S, s)
        s = env.observation
    assert env.T > 10


def test_frozen_in_every_gear():
    for env, action in (
        (NormalizeObservation(make(1)), 0),
        (NormalizeObservation(SyncVectorEnv([Make(i) for i in range(N)])), A),
        (device(), A),
    ):
        env.reset()
        transition(env, action)
        env.normalizer.frozen = True
        before = jax.tree.map(np.asarray, env.normalizer.state)
        env.reset()
        for _ in range(8):
            transition(env, action)
        jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.asarray, env.normalizer.state))


def test_two_environments_may_share_one():
    env = NormalizeObservation(make(1))
    other = NormalizeObservation(make(2), env.normalizer)
    env.reset()
    other.reset()
    assert env.normalizer is other.normalizer
    assert env.normalizer.count == 2


def test_a_copy_goes_its_own_way():
    env = device()
    transition(env, A)
    other = env.copy()
    transition(other, A)
    assert other.normalizer.count > env.normalizer.count == N + N + (env.env.t == 0).sum()
    transition(env, A)
    assert other.normalizer.count == env.normalizer.count
    np.testing.assert_array_equal(env.observation, other.observation)


def test_state_goes_into_new_ones():
    env, other = device(), device(seed=9)
    for _ in range(5):
        transition(env, A)
    for x, y in zip(*(coax._stateful.collect(e) for e in (env, other)), strict=True):
        y.state = jax.tree.map(lambda leaf: leaf, x.state)
    for _ in range(5):
        x, y = transition(env, A), transition(other, A)
        jax.tree.map(np.testing.assert_array_equal, x, y)


def test_spaces():
    env = NormalizeObservation(SyncVectorEnv([Make(i, "tuple") for i in range(N)]), clip=3.0)
    assert env.single_observation_space == Tuple((Discrete(1000), Box(-3, 3, (3,), np.float32)))
    assert env.env.single_observation_space == Tuple((Discrete(1000), Box(-1, 1000, (3,), np.float32)))
    assert env.num_envs == N
    assert device(clip=2.0).observation_space == Box(-2, 2, (N, 2), np.float32)
    # functions are made for the normalised space
    q = coax.Q(lambda S, is_training: jnp.zeros((len(S), 2)), device(), random_seed=1)
    assert q.observation_space == Box(-10, 10, (2,), np.float32)


class Masked(gymnasium.Env):
    """The mask of allowed actions is a part of the observation."""

    action_space = Discrete(2)

    def __init__(self, mask_space):
        self.observation_space = Dict({"x": Box(0, 9, (1,)), "allowed": mask_space})

    def reset(self, *, seed=None, options=None):
        return {"x": np.ones(1, np.float32), "allowed": np.array([0, 1], np.int8)}, {}


def test_a_mask_of_actions_stays_one():
    env = NormalizeObservation(coax.wrappers.ActionMasking(Masked(MultiBinary(2)), observation="allowed"))
    s, _ = env.reset()
    np.testing.assert_array_equal(s["allowed"], [0, 1])
    assert env.observation_space.action_mask == coax.ActionMask("allowed")
    with pytest.raises(
        ValueError, match=r"expected the mask at ActionMask\('allowed'\) in a discrete part.* MultiBinary"
    ):
        NormalizeObservation(coax.wrappers.ActionMasking(Masked(Box(0, 1, (2,))), observation="allowed"))


def test_pictures_and_frames():
    space = Box(0, 255, (2, 2), np.uint8)

    class Film(gymnasium.Env):
        observation_space, action_space = space, Discrete(2)
        frame = 0

        def reset(self, *, seed=None, options=None):
            return np.full((2, 2), 0, np.uint8), {}

        def step(self, action):
            self.frame += 100
            return np.full((2, 2), self.frame, np.uint8), 0.0, False, False, {}

    env = NormalizeObservation(FrameStacking(Film(), 2))
    env.reset()
    for _ in range(2):
        s, *_ = env.step(0)
    # the older frame was 0, 0, 100 and the newer 0, 100, 200
    np.testing.assert_allclose(s[0], np.full((2, 2), (100 - 100 / 3) / np.std([0, 0, 100])), rtol=1e-5)
    np.testing.assert_allclose(s[1], np.full((2, 2), 100 / np.std([0, 100, 200])), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: NormalizeObservation(3), TypeError, r"NormalizeObservation: expected an environment, got int"),
        (
            lambda: NormalizeObservation(gymnasium.make("FrozenLake-v1")),
            ValueError,
            r"expected a space with a Box in it",
        ),
        (lambda: NormalizeObservation(make(1), 3.0), TypeError, r"expected a coax\.ObservationNormalizer and nothing"),
        (
            lambda: NormalizeObservation(make(1), ObservationNormalizer(make(1)), clip=3.0),
            TypeError,
            r"got ObservationNormalizer and \{'clip': 3\.0\}\. Fix: leave one of them out",
        ),
        (
            lambda: device(normalizer=ObservationNormalizer(make(1))),
            ValueError,
            r"expected a normaliser of Box\(-inf, inf, \(2,\), float32\), got one of Box\(-1\.0, 1000\.0, \(3,\)",
        ),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_before_the_first_reset_and_inside_a_compiled_function():
    env = NormalizeObservation(make(1))
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"NormalizeObservation\.observation: there is none before"):
        _ = env.observation
    env.reset()
    with pytest.raises(coax.errors.StateError, match=r"lives in host memory and cannot be used inside a compiled"):
        coax.jit(lambda: transition(env, 0), over=env.normalizer)()
