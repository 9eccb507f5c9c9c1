"""On the cliff walk, Q-learning learns the shortest path and Sarsa a safer one (Sutton and Barto 2018, example 6.6)."""

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from tests.dynamic_programming import visited

N_EPISODES = 500
EPSILON = 0.1
START = 36  # states are numbered row by row, twelve a row; the start, the cliff and the goal are in row 3
GOAL = 47


def make_q(env, seed):
    def func(S, is_training):
        return hk.Linear(4, with_bias=False, w_init=jnp.zeros)(S)

    return coax.Q(func, env, random_seed=seed)


def learn(make_updater, seed):
    """The cells (row, column) on the greedy path after learning with a fixed epsilon, without discount."""
    env = gymnasium.make("CliffWalking-v1")
    q = make_q(env, seed)
    pi = coax.EpsilonGreedy(q, epsilon=EPSILON)
    updater = make_updater(q)
    tracer = coax.reward_tracing.NStep(n=1, gamma=1.0)

    for ep in range(N_EPISODES):
        s, _ = env.reset(seed=seed if ep == 0 else None)
        terminated = False
        while not terminated:
            a = pi(s)
            s_next, r, terminated, _, _ = env.step(a)
            tracer.add(s, a, r, terminated)
            while tracer:
                updater.update(tracer.pop())
            s = s_next

    states = visited(env.unwrapped.P, q(np.arange(48)).argmax(axis=-1), START, n_steps=100)
    assert states[-1] == GOAL
    return [divmod(s, 12) for s in states]


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.gate), pytest.param(1, marks=pytest.mark.full)])
def test_q_learning_walks_along_the_cliff(seed):
    def make(q):
        return coax.td_learning.QLearning(q, optimizer=optax.sgd(0.5), loss_function=coax.value_losses.mse)

    path = learn(make, seed)
    # One up, eleven to the right, one down: 13 steps, and no way around the cliff is shorter.
    assert path == [(3, 0), *((2, column) for column in range(12)), (3, 11)]


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.gate), pytest.param(1, marks=pytest.mark.full)])
def test_sarsa_keeps_away_from_the_cliff(seed):
    def make(q):
        # A smaller step, decaying, because the values of a policy that explores are means over its slips.
        schedule = optax.exponential_decay(0.5, transition_steps=10_000, decay_rate=0.2)
        return coax.td_learning.Sarsa(q, optimizer=optax.sgd(schedule), loss_function=coax.value_losses.mse)

    path = learn(make, seed)
    assert len(path) - 1 >= 15  # two steps longer at least: one row up, and down again
    # Q-learning crosses in row 2. One row further away, at least, wherever there is a cliff below.
    assert all(row <= 1 for row, column in path if 1 <= column <= 10)
