"""Episodes end alike in every environment inside JAX: as when its own raw step is called by hand."""

from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv

import coax
from coax.approximators._action_mask import find_mask
from coax.envs import CartPole, FrozenLake, FunctionalEnv, JaxVectorEnv, Outcome, Pendulum, as_functional, transition

N = 3


class Drift(FuncEnv):
    """A noisy walk, and noisy sights of it. It is over outside of [-1, 1]."""

    observation_space = spaces.Box(-9, 9, (), np.float32)
    action_space = spaces.Discrete(3)

    def initial(self, rng, params=None):
        return jax.random.uniform(rng, minval=-0.5, maxval=0.5)

    def transition(self, state, action, rng, params=None):
        return state + 0.3 * (action - 1.0) + 0.1 * jax.random.normal(rng)

    def observation(self, state, rng, params=None):
        return state + 0.01 * jax.random.normal(rng)

    def reward(self, state, action, next_state, rng, params=None):
        return next_state**2 - state + 10 * action + jax.random.normal(rng)

    def terminal(self, state, rng, params=None):
        return jnp.abs(state) > 1


class Keyed(FunctionalEnv):
    """Its state has a key, from which all that is random comes."""

    observation_space = spaces.Box(0, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, key):
        return {"key": key, "n": 0}, jax.random.uniform(key, (2,))

    def step(self, state, action, key):
        keys = jax.random.split(state["key"])
        x = jax.random.uniform(keys[0], (2,))
        return Outcome({"key": keys[1], "n": state["n"] + 1}, x, x.sum() + action, x[0] > 0.8)


class Raw(NamedTuple):
    """An environment, and its raw step called by hand."""

    env: object
    reset: object  # key -> (state, observation)
    step: object  # (state, action, key) -> (state, observation, reward, terminated)


def own(env):
    return lambda: Raw(env, env.reset, lambda s, a, key: env.step(s, a, key)[:4])


def gymnasiums(make):
    def case():
        env = make()

        def reset(key):
            first, second = jax.random.split(key)
            s = env.initial(first)
            return s, env.observation(s, second)

        def step(s, a, key):
            keys = jax.random.split(key, 4)
            s_next = env.transition(s, a, keys[0])
            r = env.reward(s, a, s_next, keys[2])
            return s_next, env.observation(s_next, keys[1]), r, env.terminal(s_next, keys[3])

        return Raw(env, reset, step)

    return case


def functional_part(name):
    def make():
        pytest.importorskip("flax")
        return gymnasium.make(name, disable_env_checker=True).unwrapped.func_env

    return gymnasiums(make)


def gymnaxs(name):
    def case():
        env, params = pytest.importorskip("gymnax").make(name)

        def step(s, a, key):
            observation, s, r, terminated, _ = env.step_env(key, s, a, params)
            return s, observation, r, terminated

        return Raw((env, params), lambda key: env.reset_env(key, params)[::-1], step)

    return case


def braxs(name, **kwargs):
    def case():
        pytest.importorskip("brax")
        brax_envs = pytest.importorskip("brax.envs")
        if "obs_mode" in kwargs:
            kwargs["obs_mode"] = pytest.importorskip("brax.envs.fast").ObservationMode(kwargs["obs_mode"])
        env = brax_envs.get_environment(name, **kwargs)

        def step(s, a, key):
            s = env.step(s, a)
            return s, s.obs, s.reward, s.done

        def reset(key):
            s = env.reset(key)
            return s, s.obs

        return Raw(env, reset, step)

    return case


def pgxs(name):
    def case():
        env = pytest.importorskip("pgx").make(name)
        masked = not name.startswith("minatar")

        def seen(s):
            return {"observation": s.observation, "action_mask": s.legal_action_mask} if masked else s.observation

        def step(s, a, key):
            player, s = s.current_player, env.step(s, a, key)
            return s, seen(s), s.rewards[player], s.terminated

        def reset(key):
            s = env.init(key)
            return s, seen(s)

        return Raw(env, reset, step)

    return case


# the environment, its limit, how many steps, and which ends there must be
CASES = {
    "CartPole": (own(CartPole()), 15, 60, "both"),
    "Pendulum": (own(Pendulum()), 7, 20, "truncated"),
    "FrozenLake": (own(FrozenLake()), 9, 60, "both"),
    "keys in the state": (own(Keyed()), 5, 30, "both"),
    "gymnasium, one of our own": (gymnasiums(Drift), 4, 40, "both"),
    "gymnasium, phys2d/CartPole": (functional_part("phys2d/CartPole-v1"), 15, 60, "both"),
    "gymnasium, phys2d/Pendulum": (functional_part("phys2d/Pendulum-v0"), 7, 20, "truncated"),
    "gymnax, CartPole": (gymnaxs("CartPole-v1"), 15, 60, "both"),
    "gymnax, Pendulum": (gymnaxs("Pendulum-v1"), 7, 20, "truncated"),
    "gymnax, FrozenLake": (gymnaxs("FrozenLake-misc"), 9, 60, "both"),
    "gymnax, Catch": (gymnaxs("Catch-bsuite"), 9, 40, "at once"),  # every episode has nine steps
    "gymnax, Catch cut off": (gymnaxs("Catch-bsuite"), 8, 20, "truncated"),
    "gymnax, Breakout": (gymnaxs("Breakout-MinAtar"), 10, 60, "both"),
    "brax, pendulum": (braxs("inverted_pendulum", backend="generalized"), 9, 60, "both"),
    "brax, fast": (braxs("fast"), 7, 20, "truncated"),
    "brax, fast, a dict": (braxs("fast", obs_mode="dict_state"), 7, 20, "truncated"),
    "pgx, tic_tac_toe": (pgxs("tic_tac_toe"), 4, 40, "both"),
    "pgx, 2048": (pgxs("2048"), 20, 60, "both"),
    "pgx, Breakout": (pgxs("minatar-breakout"), 10, 60, "both"),
}


def assert_close(found, expected, i=None):
    """Whether (row `i` of) an observation is the expected one."""
    row = found if i is None else jax.tree.map(lambda x: x[i], found)
    assert jax.tree.structure(row) == jax.tree.structure(expected)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, np.asarray(y, x.dtype), 1e-4, 1e-4), row, expected)


def are_equal(x, y):
    return all(map(np.array_equal, jax.tree.leaves(x), jax.tree.leaves(y)))


@pytest.mark.gate
@pytest.mark.filterwarnings("ignore:Brax System", "ignore:Accessing `ncon`:DeprecationWarning")
@pytest.mark.parametrize("case", CASES)
def test_ends_of_episodes(case):
    make, limit, steps, kinds = CASES[case]
    raw, reset, step = make()
    reset, step = jax.jit(reset), jax.jit(step)
    env = JaxVectorEnv(raw, N, max_episode_steps=limit, random_seed=11)
    twin = JaxVectorEnv(raw, N, max_episode_steps=limit, random_seed=11)
    env.single_action_space.seed(4)
    seeded = coax._entries.Rng.seeded(jax.random.key(11))
    now = [reset(key) for key in env._rule._keys(seeded, 0)]
    t, ends, told_apart, actions, past = np.zeros(N, int), set(), 0, [], []
    for _ in range(steps):
        keys = [env._rule._keys(env.state["rng"], family) for family in range(2)]
        actions.append(np.stack([env.single_action_space.sample() for _ in range(N)]))
        past.append(transition(env, actions[-1]))
        S, S_next, R, terminated, truncated, mask = past[-1]
        t += 1
        for i in range(N):
            assert_close(S, now[i][1], i)  # the one before was no other than the one to act on: no row in between
            state, observation, r, over = step(now[i][0], actions[-1][i], keys[1][i])
            assert_close(S_next, observation, i)
            np.testing.assert_allclose(R[i], r, 1e-4, 1e-4)
            assert (terminated[i], truncated[i], mask[i]) == (bool(over), t[i] == limit, True)
            now[i] = (state, observation)
            if over or t[i] == limit:
                t[i], now[i] = 0, reset(keys[0][i])
                assert_close(env.observation, now[i][1], i)
                told_apart += not are_equal(observation, now[i][1])
                ends.add(("terminated" if over else "") + ("truncated" if truncated[i] else ""))
    assert told_apart > 3
    assert ends >= {"both": {"terminated", "truncated"}, "at once": {"terminatedtruncated"}}.get(kinds, {kinds})
    found = coax.scan(lambda A: transition(twin, A), over=twin, xs=jnp.asarray(np.stack(actions)))
    for name, column in found._asdict().items():
        expected = jax.tree.map(lambda *x: np.stack(x), *(getattr(p, name) for p in past))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y.astype(x.dtype), 1e-4, 1e-4), column, expected)


@pytest.mark.parametrize(
    ("case", "observations", "actions", "limit"),
    [
        ("gymnax, CartPole", None, spaces.Discrete(2), 500),
        ("gymnax, Pendulum", None, spaces.Box(-2, 2, (1,), np.float32), 200),
        ("gymnax, FrozenLake", spaces.Discrete(16), spaces.Discrete(4), 100),
        ("gymnax, Catch", spaces.Box(0, 1, (10, 5), np.int32), spaces.Discrete(3), 1000),
        ("brax, fast", spaces.Box(-np.inf, np.inf, (2,), np.float32), None, 1000),
        (
            "brax, fast, a dict",
            spaces.Dict({"state": spaces.Box(-np.inf, np.inf, (2,), np.float32)}),
            spaces.Box(-1, 1, (1,), np.float32),
            1000,
        ),
        (
            "pgx, tic_tac_toe",
            spaces.Dict({"observation": spaces.MultiBinary((3, 3, 2)), "action_mask": spaces.MultiBinary(9)}),
            spaces.Discrete(9),
            None,
        ),
        ("pgx, Breakout", spaces.MultiBinary((10, 10, 4)), spaces.Discrete(3), None),
        ("gymnasium, one of our own", Drift.observation_space, Drift.action_space, None),
    ],
)
def test_spaces_and_limits(case, observations, actions, limit):
    env = as_functional(CASES[case][0]().env)
    assert observations is None or env.observation_space == observations
    assert actions is None or env.action_space == actions
    assert env.max_episode_steps == limit
    key = jax.random.key(0)
    state, _ = env.reset(key)
    out = env.step(state, env.action_space.sample(), key)
    assert (out.reward.dtype, out.terminated.dtype, out.truncated.dtype) == (np.float32, bool, bool)
    assert {x.shape for x in out[2:]} == {()}


def test_gymnax_bounds():
    pytest.importorskip("gymnax")
    space = as_functional(CASES["gymnax, CartPole"][0]().env).observation_space
    np.testing.assert_allclose(
        space.high, [4.8, np.finfo(np.float32).max, 24 * np.pi / 180, np.finfo(np.float32).max], rtol=1e-6
    )
    np.testing.assert_allclose(space.low, -space.high)


def test_the_limit_of_gymnax_is_no_terminal_state():
    env, params = pytest.importorskip("gymnax").make("Pendulum-v1")
    env = JaxVectorEnv((env, params.replace(max_steps_in_episode=3)), 2, random_seed=0)
    flags = [transition(env, np.zeros((2, 1), np.float32))[3:5] for _ in range(6)]
    assert not np.any([terminated for terminated, _ in flags])
    assert [truncated.tolist() for _, truncated in flags] == [[i % 3 == 2] * 2 for i in range(6)]


def test_moves_that_are_not_allowed():
    pgx = pytest.importorskip("pgx")
    env = JaxVectorEnv(pgx.make("tic_tac_toe"), 8, random_seed=2)
    assert find_mask(env) == coax.ActionMask("action_mask")
    assert find_mask(JaxVectorEnv(pgx.make("minatar-breakout"), 2, random_seed=2)) is None
    pi = coax.RandomPolicy(env, random_seed=3)
    past = [transition(env, pi(env.observation)) for _ in range(50)]
    # Who moves wins or does not. Only a move that is not allowed has the reward -1.
    assert {r for row in past for r in row.R.tolist()} == {0, 1}
    for row in past:
        assert (row.S_next["action_mask"][row.terminated] == 1).all()
        free = ~row.S_next["observation"].any(-1).reshape(8, 9)
        assert (row.S_next["action_mask"].astype(bool) == free)[~row.terminated].all()
    S = env.observation
    taken = np.argmin(S["action_mask"], -1)
    assert (S["action_mask"].min(-1) == 0).any()
    out = transition(env, taken)
    wrong = S["action_mask"].min(-1) == 0
    assert (out.R[wrong] == -1).all()
    assert out.terminated[wrong].all()


@pytest.mark.filterwarnings("ignore:Brax System", "ignore:Accessing `ncon`:DeprecationWarning")
@pytest.mark.parametrize(
    ("kwargs", "wrapper"),
    [
        ({}, "AutoResetWrapper"),
        ({"auto_reset": False}, "EpisodeWrapper"),
        ({"episode_length": None}, "AutoResetWrapper"),
        ({"episode_length": None, "auto_reset": False, "batch_size": 2}, "VmapWrapper"),
    ],
)
def test_wrappers_of_brax_that_have_to_go(kwargs, wrapper):
    pytest.importorskip("brax")
    envs = pytest.importorskip("brax.envs")
    with pytest.raises(TypeError, match=rf"brax without {wrapper}, which .* Fix: .*get_environment"):
        as_functional(envs.create("fast", **kwargs))
    assert as_functional(envs.create("fast", episode_length=None, auto_reset=False)).max_episode_steps == 1000


def test_a_wrapper_of_gymnax():
    env, _ = pytest.importorskip("gymnax").make("CartPole-v1")
    wrappers = pytest.importorskip("gymnax.wrappers")
    with pytest.raises(TypeError, match=r"got LogWrapper, a wrapper of gymnax. Fix: pass the environment inside"):
        as_functional(wrappers.LogWrapper(env))


def test_equal_adapters():
    for case in ("gymnax, CartPole", "brax, fast", "pgx, tic_tac_toe", "gymnasium, one of our own"):
        try:
            raw, other = (CASES[case][0]().env for _ in range(2))
        except pytest.skip.Exception:
            continue
        assert as_functional(raw) == as_functional(raw)
        assert hash(as_functional(raw)) == hash(as_functional(raw))
        assert as_functional(raw) != as_functional(other)
