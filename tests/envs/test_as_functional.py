"""What is told from what, without the other packages."""

import dataclasses
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.envs import CartPole, FunctionalEnv, JaxVectorEnv, as_functional, transition
from tests.envs.test_adapters import Drift


@dataclasses.dataclass(frozen=True)
class Params:
    goal: int = 4
    max_steps_in_episode: int = 3

    def replace(self, **changes):
        return dataclasses.replace(self, **changes)


class State(NamedTuple):
    x: int
    time: int


class Discrete:
    def __init__(self, n):
        self.n, self.shape, self.dtype = n, (), jnp.int32


class Box:
    low, high, shape, dtype = 0, np.array([1.0, 9.0]), (2,), jnp.float32


class Tuple:
    spaces = (Discrete(3), Box())


class Dict:
    def __init__(self, **spaces):
        self.spaces = spaces


class Environment:
    """Looks like an environment of gymnax before 1.0: `done` is also the time limit."""

    name = "Steps"
    default_params = Params()

    def observation_space(self, params):
        return Dict(a=Tuple(), b=Discrete(params.goal + 1))

    def action_space(self, params):
        return Discrete(2)

    def seen(self, state):
        return {"a": (state.x % 3, jnp.stack((state.x / 9, state.x))), "b": state.x}

    def reset_env(self, key, params):
        state = State(0, 0)
        return self.seen(state), state

    def step_env(self, key, state, action, params):
        state = State(state.x + action, state.time + 1)
        done = (state.x >= params.goal) | (state.time >= params.max_steps_in_episode)
        return self.seen(state), state, 1.0 * action, done, {}


Environment.__module__ = "gymnax.environments.environment"


class Steps(Environment):
    """Of a package of a user's own."""


class FlagsApart(Steps):
    """As since gymnax 1.0."""

    def step_env(self, key, state, action, params):
        return super().step_env(key, state, action, params.replace(max_steps_in_episode=99))

    def is_truncated(self, state, params):
        return (state.time >= params.max_steps_in_episode) | (state.x == 2)


class GymnaxWrapper:
    __module__ = "gymnax.wrappers.purerl"


class BraxState(NamedTuple):
    obs: dict
    reward: float
    done: float
    metrics: dict


class Env:
    """Looks like an environment of brax, and writes into the state that it is given, as many there do."""

    action_size = 2

    def reset(self, rng):
        return BraxState({"x": jnp.zeros(3)}, jnp.zeros(()), jnp.zeros(()), {"cost": jnp.zeros(())})

    def step(self, state, action):
        state.metrics.update(cost=1.0)
        x = state.obs["x"] + action.sum()
        return state._replace(obs={"x": x}, reward=-x[0], done=jnp.where(x[0] > 2, 1.0, 0.0))


Env.__module__ = "brax.envs.base"


class EpisodeWrapper(Env):
    def __init__(self, env):
        self.env = env


class Own(EpisodeWrapper):
    """A wrapper of a user's own around it."""


def test_brax():
    env = as_functional(Env())
    assert repr(env) == "FromBrax(Env)"
    assert env.max_episode_steps == 1000
    assert env.observation_space == gymnasium.spaces.Dict({"x": gymnasium.spaces.Box(-np.inf, np.inf, (3,))})
    assert env.action_space == gymnasium.spaces.Box(-1, 1, (2,))
    state, _ = env.reset(jax.random.key(0))
    env.step(state, jnp.ones(2))
    assert state.metrics["cost"] == 0
    vector = JaxVectorEnv(env, 1, max_episode_steps=2, random_seed=0)
    seen = [transition(vector, np.full((1, 2), a, np.float32)) for a in (0.5, 1, 0.25, 0.25, 1, 1)]
    # the sum of what was done since the episode began: 1, 3; 0.5, 1; 2, 4
    assert [t.S_next["x"].tolist() for t in seen] == [[[x] * 3] for x in (1, 3, 0.5, 1, 2, 4)]
    assert [t.R.tolist() for t in seen] == [[-x] for x in (1, 3, 0.5, 1, 2, 4)]
    assert [bool(t.terminated[0]) for t in seen] == [False, True, False, False, False, True]
    assert [bool(t.truncated[0]) for t in seen] == [False, True] * 3


@pytest.mark.parametrize("kind", [EpisodeWrapper, Own])
def test_a_wrapper_of_brax_that_has_to_go(kind):
    with pytest.raises(TypeError, match=r"brax without EpisodeWrapper, which counts time .* Fix: .*get_environment"):
        as_functional(kind(Env()))


def test_gymnax_before_its_flags_came_apart():
    env = as_functional(Steps())
    assert repr(env) == "FromGymnax(Steps)"
    assert env.max_episode_steps == 3
    box = gymnasium.spaces.Box(np.zeros(2, np.float32), np.array([1, 9], np.float32))
    pair = gymnasium.spaces.Tuple((gymnasium.spaces.Discrete(3), box))
    assert env.observation_space == gymnasium.spaces.Dict({"a": pair, "b": gymnasium.spaces.Discrete(5)})
    assert env.action_space == gymnasium.spaces.Discrete(2)
    vector = JaxVectorEnv(Steps(), 2, random_seed=0)
    seen = [transition(vector, np.array([1, 0])) for _ in range(6)]
    assert not np.any([t.terminated for t in seen])  # goal 4 is out of reach in 3 steps
    assert [t.truncated.tolist() for t in seen] == [[i % 3 == 2] * 2 for i in range(6)]
    assert [t.S_next["b"].tolist() for t in seen] == [[i % 3 + 1, 0] for i in range(6)]


@pytest.mark.parametrize(
    ("limit", "ends"),
    [({}, "--*--*--*"), ({"max_episode_steps": 5}, "----*----"), ({"max_episode_steps": None}, "---------")],
)
@pytest.mark.parametrize("kind", [Steps, FlagsApart])
def test_another_limit_than_that_of_gymnax(kind, limit, ends):
    env = JaxVectorEnv(kind(), 1, **limit, random_seed=0)
    seen = [transition(env, np.array([0])) for _ in ends]
    assert "".join("*" if t.truncated[0] else "-" for t in seen) == ends
    assert not any(t.terminated[0] for t in seen)


def test_what_the_environment_itself_cuts_off():
    env = JaxVectorEnv(FlagsApart(), 1, max_episode_steps=None, random_seed=0)
    seen = [transition(env, np.array([1])) for _ in range(4)]
    assert [(bool(t.terminated[0]), bool(t.truncated[0])) for t in seen] == [(False, False), (False, True)] * 2


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ((Steps(), Params(goal=2)), [(False, False), (True, False)]),
        ((Steps(), Params(goal=3)), [(False, False), (False, False), (True, True)]),
        ((Steps(), None), [(False, False), (False, False), (False, True)]),
    ],
)
def test_a_pair(given, flags):
    for env in (as_functional(given), as_functional(*given), given):
        env = JaxVectorEnv(env, 1, random_seed=0)
        seen = [transition(env, np.array([1])) for _ in flags]
        assert [(bool(t.terminated[0]), bool(t.truncated[0])) for t in seen] == flags


def test_parameters_of_gymnasiums():
    class Scaled(Drift):
        def get_default_params(self):
            return 2.0

        def reward(self, state, action, next_state, rng, params=None):
            return params

    key = jax.random.key(0)
    for env, reward in ((as_functional(Scaled()), 2), (as_functional(Scaled(), 3.0), 3)):
        assert env.step(env.reset(key)[0], 1, key).reward == reward
    assert repr(env) == "FromGymnasium(Scaled)"


def test_a_functional_environment_stays_as_it_is():
    env = CartPole()
    assert as_functional(env) is env
    assert isinstance(as_functional(Drift()), FunctionalEnv)


class HalfOnTheHost(gymnasium.Env):
    func_env = None


@pytest.mark.parametrize(
    ("env", "text"),
    [
        (
            gymnasium.make("CartPole-v1"),
            r"got TimeLimit, which lives on the host. Fix: run it in a Python loop with gymnasium.make_vec\(id, num_e"
            r"nvs\), or use coax.envs.CartPole\(\), ",
        ),
        (
            gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync"),
            "got SyncVectorEnv, which lives on the host. Fix",
        ),
        (HalfOnTheHost(), r"got HalfOnTheHost, which keeps .* Fix: pass gymnasium.make\(id\).unwrapped.func_env."),
        (
            "CartPole-v1",
            r"got the id 'CartPole-v1', .* Fix: use coax.envs.CartPole\(\), .*make_vec\('CartPole-v1', num",
        ),
        (GymnaxWrapper(), "got GymnaxWrapper, a wrapper of gymnax. Fix: pass the environment inside"),
        (3, r"got int. Fix: pass coax.envs.CartPole\(\), .* an environment of gymnax, brax or pgx, or a subclass"),
        (CartPole, "got ABCMeta. Fix: pass coax.envs.CartPole"),
    ],
)
def test_what_does_not_run_inside_jax(env, text):
    with pytest.raises(TypeError, match="env: expected an environment that runs inside JAX, " + text):
        as_functional(env)
    with pytest.raises(TypeError, match=text):
        JaxVectorEnv(env, 2)


def test_several_already():
    with pytest.raises(TypeError, match=r"got JaxVectorEnv, which holds several of one. Fix: pass env.functional_env"):
        as_functional(JaxVectorEnv(CartPole(), 2, random_seed=0))


def test_parameters_for_what_takes_none():
    with pytest.raises(TypeError, match=r"params: expected none for CartPole, got int. Fix: give them"):
        as_functional(CartPole(), 3)


def test_a_space_that_gymnasium_has_not():
    class Odd(Steps):
        def action_space(self, params):
            return Params()

    with pytest.raises(TypeError, match=r"expected spaces that are Discrete, Box, Dict or Tuple, got Params\(goal=4"):
        as_functional(Odd())
