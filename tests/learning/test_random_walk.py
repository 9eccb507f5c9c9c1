"""n-step TD of state values on the random walk of 19 states, beside the book's own loop in NumPy."""

import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from tests.environments import RandomWalk

N_EPISODES = 10  # Sutton and Barto (2018), figure 7.2


def record_episodes(seed):
    """Each episode as its states S_0, ..., S_{T-1} and its rewards R_1, ..., R_T."""
    env, episodes = RandomWalk(), []
    for i in range(N_EPISODES):
        s, _ = env.reset(seed=seed if i == 0 else None)
        states, rewards, terminated = [], [], False
        while not terminated:
            states.append(s)
            s, r, terminated, _, _ = env.step(0)
            rewards.append(r)
        episodes.append((states, rewards))
    return episodes


def td_of_the_book(episodes, n, step_size, gamma):
    """Sutton and Barto (2018), section 7.1, the box "n-step TD for estimating V", in its own letters."""
    V = np.zeros(RandomWalk.n_states)
    for states, rewards in episodes:
        T, t, tau = len(states), 0, -1
        while tau != T - 1:
            tau = t - n + 1  # the time whose state's estimate is updated; it lags behind the time of acting
            if tau >= 0:
                G = sum(gamma ** (i - tau - 1) * rewards[i - 1] for i in range(tau + 1, min(tau + n, T) + 1))
                if tau + n < T:
                    G += gamma**n * V[states[tau + n]]
                V[states[tau]] += step_size * (G - V[states[tau]])
            t += 1
    return V


def td_of_coax(episodes, n, step_size, gamma):
    def func(S, is_training):
        return hk.Linear(1, with_bias=False, w_init=jnp.zeros)(S).ravel()

    v = coax.V(func, RandomWalk(), random_seed=0)
    loss = coax.value_losses.mse  # half the square, so that a step of sgd is step_size * (G - v)
    simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.sgd(step_size), loss_function=loss)
    tracer = coax.reward_tracing.NStep(n, gamma)
    for states, rewards in episodes:
        for t, (s, r) in enumerate(zip(states, rewards, strict=True)):
            tracer.add(s, 0, r, t == len(states) - 1)
            while tracer:
                simple_td.update(tracer.pop())
    return v(np.arange(RandomWalk.n_states))


def rms_error(values):
    return np.sqrt(np.mean((values - RandomWalk.true_values) ** 2))


@pytest.mark.gate
@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize(("n", "step_size"), [(1, 0.8), (4, 0.4), (16, 0.2)])
def test_simple_td_is_n_step_td_of_the_book(n, step_size, gamma):
    episodes = record_episodes(seed=n)
    expected = td_of_the_book(episodes, n, step_size, gamma)
    values = td_of_coax(episodes, n, step_size, gamma)
    assert np.abs(expected).max() > 0.3  # it has learned something to compare
    np.testing.assert_allclose(values, expected, atol=1e-4)
    np.testing.assert_allclose(rms_error(values), rms_error(expected), atol=1e-4)


def test_n_step_td_of_the_book_by_hand():
    # From the middle (9) to 10, 11, ..., 18 and out. With n = 16 > T = 10 all ten states get the return 1, so 0.5 * 1.
    walk = [(list(range(9, 19)), [0.0] * 9 + [1.0])]
    np.testing.assert_allclose(td_of_the_book(walk, 16, 0.5, 1.0), [0] * 9 + [0.5] * 10)
    # With n = 1 only the last state sees the reward; the second time its neighbour sees 0.5 * 0.5, and it 0.5 + 0.25.
    np.testing.assert_allclose(td_of_the_book(walk * 2, 1, 0.5, 1.0), [0] * 17 + [0.25, 0.75])
