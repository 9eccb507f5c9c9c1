"""CartPole, Pendulum and FrozenLake in JAX, beside Gymnasium's own."""

import functools
import pickle

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from gymnasium.envs.classic_control import CartPoleEnv, PendulumEnv
from gymnasium.envs.toy_text import FrozenLakeEnv
from gymnasium.envs.toy_text.frozen_lake import generate_random_map
from gymnasium.wrappers import TimeLimit

from coax.envs import CartPole, FrozenLake, JaxVectorEnv, Pendulum, transition

N = 8
WIDE = ["SFFHF", "FSFFG", "HFFFF"]  # no square, and two places to start from

# ours, theirs, with which parameters, steps, limit
BESIDE = {
    "CartPole": (CartPole, CartPoleEnv, {}, 600, 25),
    "CartPole, reward of 1983": (CartPole, CartPoleEnv, {"sutton_barto_reward": True}, 300, 25),
    "Pendulum": (Pendulum, PendulumEnv, {}, 600, 200),
    "Pendulum on the moon": (Pendulum, PendulumEnv, {"g": 1.62}, 250, 40),
    "FrozenLake": (FrozenLake, FrozenLakeEnv, {"is_slippery": False}, 300, 9),
    "FrozenLake, 8x8": (FrozenLake, FrozenLakeEnv, {"is_slippery": False, "map_name": "8x8"}, 300, 30),
    "FrozenLake, wide": (
        FrozenLake,
        FrozenLakeEnv,
        {"is_slippery": False, "desc": WIDE, "reward_schedule": (2, -3, -0.5)},
        300,
        9,
    ),
}


def set_state(env, state):
    """Let Gymnasium's environment begin an episode where ours does."""
    env.reset()
    if isinstance(env.unwrapped, FrozenLakeEnv):
        env.unwrapped.s = int(state)
    else:
        env.unwrapped.state = np.asarray(state, np.float64)


@pytest.mark.gate
@pytest.mark.parametrize(
    ("case", "x64"), [*((case, False) for case in BESIDE), *((case, True) for case in BESIDE if "Lake" not in case)]
)
def test_step_by_step(case, x64):
    ours, theirs, kwargs, steps, limit = BESIDE[case]
    rtol = 1e-6 if x64 else 2e-3 if ours is Pendulum else 2e-5  # two hundred steps of a chaotic system
    with jax.enable_x64(x64):
        env = JaxVectorEnv(ours(**kwargs), N, max_episode_steps=limit, random_seed=13)
        beside = [TimeLimit(theirs(**kwargs), limit) for _ in range(N)]
        env.single_action_space.seed(7)
        ended, found, expected = np.ones(N, bool), [], []
        for _ in range(steps):
            if ended.any():
                states = np.asarray(env.state["simulator"])
                for i in np.flatnonzero(ended):
                    set_state(beside[i], states[i])
            A = np.stack([env.single_action_space.sample() for _ in range(N)])
            found.append(transition(env, A)[1:5])
            expected += [beside[i].step(A[i])[:4] for i in range(N)]
            ended = found[-1][2] | found[-1][3]
    S_next, R, terminated, truncated = (np.concatenate(column) for column in zip(*found, strict=True))
    s, r, term, trunc = (np.array(column) for column in zip(*expected, strict=True))
    np.testing.assert_allclose(S_next, s, rtol, rtol)
    np.testing.assert_allclose(R, r, rtol, 16 * rtol)
    np.testing.assert_array_equal(terminated, term)
    np.testing.assert_array_equal(truncated, trunc)
    assert truncated.sum() >= 20
    assert (terminated.sum() >= 20) == (ours is not Pendulum)


@pytest.mark.parametrize(
    ("env", "theirs", "high", "actions"),
    [
        (CartPole(sutton_barto_reward=True), CartPoleEnv(sutton_barto_reward=True), [2.6, 9, 0.25, 9], [0, 1]),
        (Pendulum(), PendulumEnv(), [30, 8], np.array([[-9], [-1], [0], [1.5], [9]], np.float32)),
    ],
)
def test_one_step_from_anywhere(env, theirs, high, actions):
    n = 400
    rng = np.random.default_rng(17)
    S, A = rng.uniform(-np.array(high), high, (n, len(high))), np.array([actions[i % len(actions)] for i in range(n)])
    out = jax.jit(jax.vmap(functools.partial(env.step, key=None)))(S.astype(np.float32), A)
    expected = []
    for i in range(n):
        set_state(theirs, S[i])
        expected.append(theirs.step(A[i])[:3])
    s, r, terminated = (np.array(column) for column in zip(*expected, strict=True))
    np.testing.assert_allclose(out.observation, s, 1e-4, 1e-4)
    np.testing.assert_allclose(out.reward, r, 1e-4, 1e-4)
    np.testing.assert_array_equal(out.terminated, terminated)
    if isinstance(env, CartPole):
        beyond = np.array([s[:, 0] > 2.4, s[:, 0] < -2.4, s[:, 2] > np.pi / 15, s[:, 2] < -np.pi / 15])
        assert (beyond[:, beyond.sum(0) == 1].sum(1) > 3).all()  # each bound alone ended some


@pytest.mark.parametrize(
    ("env", "name", "kwargs"),
    [
        (CartPole(), "CartPole-v1", {}),
        (Pendulum(), "Pendulum-v1", {}),
        (FrozenLake(), "FrozenLake-v1", {}),
        (FrozenLake(map_name="8x8"), "FrozenLake8x8-v1", {}),
        (FrozenLake(WIDE), "FrozenLake-v1", {"desc": WIDE}),
    ],
)
def test_spaces_and_limits_are_gymnasiums(env, name, kwargs):
    theirs = gymnasium.make(name, **kwargs)
    assert env.observation_space == theirs.observation_space
    assert env.action_space == theirs.action_space
    assert env.max_episode_steps == theirs.spec.max_episode_steps


@pytest.mark.gate
@pytest.mark.parametrize("kwargs", [{}, {"map_name": "8x8", "success_rate": 0.7}, {"desc": WIDE, "success_rate": 0.0}])
def test_slippery_ice(kwargs):
    kwargs = {"reward_schedule": (1, -1, 0.25), **kwargs}
    env, P = FrozenLake(**kwargs), FrozenLakeEnv(**kwargs).P
    n, K = len(P), 4000
    S, A = (x.ravel().astype(np.int32) for x in np.meshgrid(np.arange(n), np.arange(4), indexing="ij"))
    step = jax.jit(jax.vmap(jax.vmap(env.step, (None, None, 0)), (0, 0, None)))
    out = jax.tree.map(np.asarray, step(S, A, jax.random.split(jax.random.key(5), K)))
    assert not out.truncated.any()
    for row, (s, a) in enumerate(zip(S, A, strict=True)):
        expected = {}
        for p, *what in P[s][a]:
            expected[tuple(what)] = expected.get(tuple(what), 0) + p
        places, first, counts = np.unique(out.state[row], return_index=True, return_counts=True)
        assert sum(p > 0 for p in expected.values()) == len(places)
        for i, count in zip(first, counts, strict=True):
            p = expected[int(out.state[row, i]), out.reward[row, i], bool(out.terminated[row, i])]
            assert abs(count / K - p) <= 5 * np.sqrt(p * (1 - p) / K)
        where = out.state[row]
        for place in places:  # reward and end depend on nothing but the place
            assert len({*zip(out.reward[row][where == place], out.terminated[row][where == place], strict=True)}) == 1


@pytest.mark.parametrize("kwargs", [{}, {"map_name": "8x8"}, {"desc": WIDE}])
def test_firm_ice(kwargs):
    kwargs = {"is_slippery": False, "reward_schedule": (1, -1, 0.25), **kwargs}
    env, P = FrozenLake(**kwargs), FrozenLakeEnv(**kwargs).P
    n = len(P)
    step = jax.vmap(jax.vmap(functools.partial(env.step, key=None), (None, 0)), (0, None))
    out = step(jnp.arange(n), jnp.arange(4))
    for s in range(n):
        for a in range(4):
            assert P[s][a] == [(1.0, out.state[s, a], out.reward[s, a], out.terminated[s, a])]


def first_states(env, K=4096):
    state, observation = jax.vmap(env.reset)(jax.random.split(jax.random.key(3), K))
    return np.asarray(state), np.asarray(observation)


@pytest.mark.parametrize(("env", "high"), [(CartPole(), [0.05] * 4), (Pendulum(), [np.pi, 1])])
def test_first_states_are_uniform(env, high):
    state, observation = first_states(env)
    for x, top in zip(state.T, high, strict=True):
        assert scipy.stats.kstest(x, "uniform", (-top, 2 * top)).pvalue > 0.01
    pairs = np.corrcoef(state.T) - np.eye(len(high))
    assert np.abs(pairs).max() < 4 / np.sqrt(len(state))
    if isinstance(env, Pendulum):
        state = np.stack((np.cos(state[:, 0]), np.sin(state[:, 0]), state[:, 1]), -1)
    np.testing.assert_allclose(observation, state, rtol=1e-6, atol=1e-6)


def test_each_start_is_as_likely():
    state, observation = first_states(FrozenLake(WIDE))
    assert (state == observation).all()
    places, counts = np.unique(state, return_counts=True)
    assert places.tolist() == [0, 6]  # row 0, column 0; and row 1, column 1 of five columns
    assert abs(counts[0] / len(state) - 0.5) < 4 * 0.5 / np.sqrt(len(state))


@pytest.mark.gate
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("env", [CartPole(), Pendulum(), FrozenLake()])
def test_precision(env, x64):
    with jax.enable_x64(x64):
        key = jax.random.key(0)
        state, observation = env.reset(key)
        out = env.step(state, jnp.asarray(env.action_space.sample()), key)
    kind = jnp.issubdtype(state.dtype, jnp.floating)
    assert state.dtype == out.state.dtype
    assert state.dtype.itemsize == (8 if x64 else 4)
    assert observation.dtype == out.observation.dtype == (np.float32 if kind else state.dtype)
    assert (out.reward.dtype, out.terminated.dtype, out.truncated.dtype) == (np.float32, bool, bool)
    assert {x.shape for x in out[2:]} == {()}


def test_equal_environments():
    same = [
        [CartPole(), CartPole(False), CartPole(max_episode_steps=500)],
        [CartPole(True)],
        [CartPole(max_episode_steps=None)],
        [Pendulum(), Pendulum(g=10.0)],
        [Pendulum(9.8)],
        [FrozenLake(), FrozenLake(["SFFF", "FHFH", "FFFH", "HFFG"]), FrozenLake(FrozenLakeEnv().desc)],
        [FrozenLake(is_slippery=False), FrozenLake(is_slippery=False, map_name="4x4")],
        [FrozenLake(map_name="8x8")],
        [FrozenLake(reward_schedule=[1, -1, 0])],
    ]
    for i, kind in enumerate(same):
        for j, other in enumerate(same):
            assert {x == y for x in kind for y in other} == {i == j}
        assert len({hash(x) for x in kind}) == 1
        assert len({repr(x) for x in kind}) == 1
        assert all(pickle.loads(pickle.dumps(x)) == x for x in kind)


def test_repr():
    assert repr(CartPole()) == "CartPole(sutton_barto_reward=False, max_episode_steps=500)"


def test_equal_environments_share_their_programs():
    one, other = (JaxVectorEnv(FrozenLake(WIDE, max_episode_steps=17), 2, random_seed=0) for _ in range(2))
    assert one._rule is other._rule
    one.single_action_space.seed(3)  # what they do not share is a random generator
    assert one.single_action_space is not other.single_action_space


def test_a_generated_map():
    desc = generate_random_map(5, seed=3)
    assert FrozenLake(desc).desc == tuple(desc)


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"desc": "SFG"}, TypeError, "desc: expected a sequence of str, got 'SFG'. Fix: pass one string per row"),
        ({"desc": 3}, TypeError, "desc: expected a sequence of str, got 3"),
        ({"desc": ["SF", "FFG"]}, ValueError, r"rows of one length, got the lengths \[2, 3\]. Fix"),
        ({"desc": []}, ValueError, r"got the lengths \[\]"),
        ({"desc": ["", ""]}, ValueError, r"got the lengths \[0, 0\]"),
        ({"desc": ["SFX", "FGh"]}, ValueError, "the letters S, F, H and G, got 'Xh'. Fix"),
        ({"desc": ["FF", "FG"]}, ValueError, "expected a place to start from, got none .* Fix: put an S into the map"),
        ({"map_name": "5x5"}, ValueError, r"map_name: expected one of \['4x4', '8x8'\], got '5x5'. Fix"),
        ({"map_name": None}, ValueError, r"got None. .*generate_random_map\(seed=13\)"),
        ({"success_rate": 1.5}, ValueError, "success_rate: expected a probability, got 1.5. Fix"),
        ({"reward_schedule": (1, 0)}, ValueError, r"reward_schedule: expected three numbers, got \(1, 0\). Fix"),
        ({"reward_schedule": (1, 0, "x")}, ValueError, "reward_schedule: expected three numbers"),
    ],
)
def test_what_a_lake_cannot_be(kwargs, error, text):
    with pytest.raises(error, match=text):
        FrozenLake(**kwargs)
