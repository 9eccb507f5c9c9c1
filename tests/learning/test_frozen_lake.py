"""Q-learning on FrozenLake, plain and slippery. What is reached is computed from the environment's own table."""

import logging
import pathlib
import runpy

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from tests.dynamic_programming import best_return, return_of

INTRODUCTION = pathlib.Path(__file__).parents[2] / "examples" / "frozen_lake" / "qlearning.py"


# --- the tool itself


def test_dynamic_programming_by_hand():
    # State 0: action 0 wins with 1/2 or stays; action 1 wins with 1/4 or goes to state 1. State 1: both actions win.
    P = {
        0: {0: [(0.5, 2, 1, True), (0.5, 0, 0, False)], 1: [(0.25, 2, 1, True), (0.75, 1, 0, False)]},
        1: {0: [(1.0, 2, 1, True)], 1: [(1.0, 2, 1, True)]},
        2: {0: [(1.0, 2, 0, True)], 1: [(1.0, 2, 0, True)]},
    }
    # One step: max(1/2, 1/4). Two: max(1/2 + 1/2 * 1/2, 1/4 + 3/4 * 1) = 1, which must choose action 1 first.
    np.testing.assert_allclose(best_return(P, 1), [0.5, 1, 0])
    np.testing.assert_allclose(best_return(P, 2), [1, 1, 0])
    # Action 0 for three steps: 1 - 1/8.
    np.testing.assert_allclose(return_of(P, [0, 0, 0], 3), [0.875, 1, 0])
    np.testing.assert_allclose(return_of(P, [1, 0, 0], 1), [0.25, 1, 0])


# --- the introductory program


@pytest.fixture
def restored_logging():
    """The program sets up logging, as programs do; here it must not outlive the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def run_the_introduction(seed, monkeypatch):
    monkeypatch.setenv("SEED", str(seed))
    monkeypatch.delenv("COAX_STEPS", raising=False)
    program = runpy.run_path(str(INTRODUCTION), run_name="__main__")
    actions = program["q"](np.arange(16)).argmax(axis=-1)
    model = gymnasium.make("FrozenLakeNonSlippery-v0").unwrapped.P
    return program["env"].ep, return_of(model, actions, n_steps=20)[0]


@pytest.mark.gate
@pytest.mark.parametrize("seed", range(3))
def test_introduction_reaches_the_goal_on_3_seeds(seed, monkeypatch, restored_logging):
    episodes, success = run_the_introduction(seed, monkeypatch)
    assert episodes <= 500
    assert success == 1


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_introduction_reaches_the_goal_on_10_seeds(seed, monkeypatch, restored_logging):
    episodes, success = run_the_introduction(seed, monkeypatch)
    assert episodes <= 500
    assert success == 1


# --- the slippery lake


def test_optimum_of_the_slippery_lake():
    model = gymnasium.make("FrozenLake-v1").unwrapped.P
    assert 0.74 < best_return(model, n_steps=100)[0] < 0.75


def learn_the_slippery_lake(seed, n_steps):
    """The chance that the learned greedy policy reaches the goal within the limit of 100 steps."""
    env = gymnasium.make("FrozenLake-v1")

    def func(S, is_training):
        return hk.Linear(4, with_bias=False, w_init=jnp.ones)(S)

    q = coax.Q(func, env, random_seed=seed)
    pi = coax.EpsilonGreedy(q, epsilon=0.1)
    learning_rate = optax.exponential_decay(0.2, transition_steps=n_steps, decay_rate=0.005)
    qlearning = coax.td_learning.QLearning(q, optimizer=optax.sgd(learning_rate))
    tracer = coax.reward_tracing.NStep(n=1, gamma=0.99)

    s, _ = env.reset(seed=seed)
    for _ in range(n_steps):
        a = pi(s)
        s_next, r, terminated, truncated, _ = env.step(a)
        tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
        while tracer:
            qlearning.update(tracer.pop())
        s = env.reset()[0] if terminated or truncated else s_next

    return return_of(env.unwrapped.P, q(np.arange(16)).argmax(axis=-1), n_steps=100)[0]


@pytest.mark.gate
def test_slippery_lake_on_1_seed_in_40_000_steps():
    assert learn_the_slippery_lake(seed=0, n_steps=40_000) >= 0.72


@pytest.mark.full
@pytest.mark.parametrize("seed", range(5))
def test_slippery_lake_on_5_seeds_in_200_000_steps(seed):
    assert learn_the_slippery_lake(seed, n_steps=200_000) >= 0.72
