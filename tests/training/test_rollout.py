"""Rollouts in all gears: of one environment, of several, and compiled."""

import gc
import weakref

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coax
from coax.errors import StateError
from coax.wrappers import LastObservation, TrainMonitor
from tests.compilations import compilations
from tests.envs.schedule import Make, act, make

T, N = 12, 3


def cart_poles(limit=6):
    return coax.envs.JaxVectorEnv(CART_POLE, N, max_episode_steps=limit, random_seed=2)


CART_POLE = coax.envs.CartPole()


def func(S, is_training):
    return {"logits": hk.Linear(2)(S)}


def test_one_environment():
    env = LastObservation(make(0))
    env.reset()
    rows = coax.training.rollout(env, lambda s: act(s)[0], T)
    # lengths by episode: (0 + 2 * episode) % 6 -> 0, 2, 4, 0, ... -> 2, 1, 9 (cut off after 5), 2, 1, 9
    episode = np.array([0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 4, 5])
    t = np.array([0, 1, 0, 0, 1, 2, 3, 4, 0, 1, 0, 0])
    np.testing.assert_array_equal(rows.S, np.stack([np.zeros(T), episode, t], axis=-1))
    np.testing.assert_array_equal(rows.S_next, np.stack([np.zeros(T), episode, t + 1], axis=-1))
    np.testing.assert_array_equal(rows.terminated, [0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0])
    np.testing.assert_array_equal(rows.truncated, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    A = (3 * episode + t) % 7
    np.testing.assert_array_equal(rows.A, A)
    np.testing.assert_array_equal(rows.R, 10 * episode + 0.5 * t + 100 * A)
    assert rows.mask.all()
    assert (rows.logP == 0).all()
    again = coax.training.rollout(env, lambda s: act(s)[0], 2)  # goes on where it was
    np.testing.assert_array_equal(again.S[:, 1:], [[5, 1], [5, 2]])


@pytest.mark.parametrize("mode", gymnasium.vector.AutoresetMode)
def test_several_environments_in_all_modes(mode):
    env = gymnasium.vector.SyncVectorEnv([Make(i) for i in range(N)], autoreset_mode=mode)
    env = LastObservation(env)
    env.reset()
    rows = coax.training.rollout(env, lambda S: act(S)[0], T)
    for i in range(N):
        alone = LastObservation(make(i))
        alone.reset()
        there = rows.mask[:, i]
        true = coax.training.rollout(alone, lambda s: act(s)[0], int(there.sum()))
        for name in ("S", "A", "R", "terminated", "truncated", "S_next"):
            np.testing.assert_array_equal(getattr(rows, name)[:, i][there], getattr(true, name), err_msg=name)
    assert rows.mask.all() == (mode is not gymnasium.vector.AutoresetMode.NEXT_STEP)


def test_an_environment_that_writes_over_its_observations():
    class Same(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 100, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        S = np.zeros(1, np.float32)

        def reset(self, *, seed=None, options=None):
            self.S[:] = 0
            return self.S, {}

        def step(self, action):
            self.S = self.S.copy() if self.S[0] % 2 else self.S
            self.S[:] += 1
            return self.S, 0.0, False, False, {}

    env = LastObservation(Same())
    env.reset()
    rows = coax.training.rollout(env, lambda s: 0, 5)
    assert rows.S_next.ravel().tolist() == [1, 2, 3, 4, 5]


def test_compiled_is_the_python_loop():
    env, pi = cart_poles(), coax.Policy(func, cart_poles(), random_seed=1)
    other, pi_other = env.copy(), pi.copy()
    rows = coax.training.rollout(env, pi, T)
    assert isinstance(rows.R, jax.Array)
    for t in range(T):
        A, logP = pi_other(other.observation, return_logp=True)
        row = coax.envs.transition(other, A)
        np.testing.assert_array_equal(rows.A[t], A)
        np.testing.assert_allclose(rows.logP[t], logP, rtol=1e-6)
        for name, x in row._asdict().items():
            np.testing.assert_allclose(getattr(rows, name)[t], x, rtol=1e-5, atol=1e-6, err_msg=name)
    assert rows.truncated.sum() > 0
    np.testing.assert_allclose(env.observation, other.observation, rtol=1e-5, atol=1e-6)
    assert pi.state["rng"].count == pi_other.state["rng"].count


def test_inside_a_compiled_function():
    env, pi = cart_poles(), coax.Policy(func, cart_poles(), random_seed=1)
    inside = coax.jit(lambda: coax.training.rollout(env, pi, 4), over=(env, pi))
    other, pi_other = env.copy(), pi.copy()
    rows = [inside(), inside()]
    true = coax.training.rollout(other, pi_other, 8)
    found = jax.tree.map(lambda x, y: np.concatenate([x, y]), *rows)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), found, true)


@pytest.mark.gate
def test_functions_and_methods_as_policies():
    env, pi = cart_poles(), coax.Policy(func, cart_poles(), random_seed=1)
    rows = coax.training.rollout(env, pi.mode, 3)
    np.testing.assert_array_equal(rows.A, pi.mode(rows.S))
    assert (rows.logP == 0).all()
    rows = coax.training.rollout(env, lambda S: jnp.where(S[:, 2] > 0, 1, 0), 3)
    np.testing.assert_array_equal(rows.A, rows.S[..., 2] > 0)
    rows = coax.training.rollout(env, lambda S: pi(S), 3, over=pi)
    assert rows.A.shape == (3, N)
    uniform = coax.RandomPolicy(env, random_seed=0)
    rows = coax.training.rollout(env, uniform, 3)
    np.testing.assert_allclose(rows.logP, np.log(0.5), rtol=1e-6)


@pytest.mark.gate
@pytest.mark.usefixtures("caches_are_on")
def test_compiled_once_and_let_go():
    env, pi = cart_poles(), coax.Policy(func, cart_poles(), random_seed=1)
    coax.training.rollout(env, pi, 3)
    coax.training.rollout(env, pi.mode, 3)
    with compilations() as found:
        for _ in range(2):
            coax.training.rollout(env, pi, 3)
            coax.training.rollout(env, pi.mode, 3)
    assert found == []
    refs = weakref.ref(env), weakref.ref(pi)
    del env, pi
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


# --- errors -----------------------------------------------------------------------------------------------------------


def test_what_a_function_hides():
    env, pi = cart_poles(), coax.Policy(func, cart_poles(), random_seed=1)
    before = env.observation
    with pytest.raises(
        StateError, match=r"Policy is used inside a lifted function that does not cover it.*over=.*outside"
    ):
        coax.training.rollout(env, lambda S: pi(S), 3)
    np.testing.assert_array_equal(env.observation, before)


def test_a_host_environment_in_a_compiled_function():
    env = TrainMonitor(gymnasium.make("CartPole-v1"))
    env.reset(seed=1)
    with pytest.raises(StateError, match="lives in host memory and cannot be used inside a compiled function"):
        coax.jit(lambda: coax.training.rollout(env, lambda s: 0, 3), over=())()


@pytest.mark.parametrize(
    ("length", "error", "text"),
    [(0, ValueError, "length: expected at least 1, got 0"), (2.0, TypeError, "length: expected an integer, got 2.0")],
)
def test_length(length, error, text):
    with pytest.raises(error, match=text):
        coax.training.rollout(cart_poles(), lambda S: S, length)


def test_no_policy():
    with pytest.raises(TypeError, match=r"policy: expected a policy or a function of observations, got int\. Fix: "):
        coax.training.rollout(cart_poles(), 3, 2)


def test_policies_without_a_hash():
    class Still:
        __slots__ = ()

        def __eq__(self, other):
            return isinstance(other, Still)

        def __call__(self, S):
            return jnp.zeros(N, jnp.int32)

    assert (coax.training.rollout(cart_poles(), Still(), 3).A == 0).all()


def test_no_environment():
    with pytest.raises(TypeError, match=r"expected a gymnasium\.Env or VectorEnv, got str"):
        coax.training.rollout("CartPole-v1", lambda s: 0, 2)


def test_without_a_memory():
    env = gymnasium.make("CartPole-v1")
    env.reset(seed=1)
    with pytest.raises(TypeError, match="does not remember its last observation"):
        coax.training.rollout(env, lambda s: 0, 2)
