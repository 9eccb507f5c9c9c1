"""What a time limit does to values: nothing, if it is passed on as a truncation."""

import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from tests.environments import one_state

GAMMA = 0.9


def a_value_per_state(S, is_training):
    return hk.Linear(1, with_bias=False, w_init=jnp.zeros)(S).ravel()


def a_value_per_action(S, is_training):
    return hk.Linear(2, with_bias=False, w_init=jnp.zeros)(S)


def learned_value(time_out_is_terminal):
    """Of one state with reward 1 and a limit of 10 steps, learned episode by episode."""
    env = one_state(1.0, max_steps=10)
    v = coax.V(a_value_per_state, env, random_seed=0)
    simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.sgd(0.5), loss_function=coax.value_losses.mse)
    tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
    for _ in range(200):
        s, _ = env.reset()
        truncated = False
        while not truncated:
            s_next, r, terminated, truncated, _ = env.step(0)
            if time_out_is_terminal:
                tracer.add(s, 0, r, terminated or truncated)
            else:
                tracer.add(s, 0, r, terminated, truncated=truncated, s_next=s_next)
            s = s_next
        simple_td.update(tracer.flush())
    return v(0)


def test_truncation_leaves_the_value_alone():
    # v = 1 + 0.9 v, hence v = 1 / (1 - 0.9) = 10
    np.testing.assert_allclose(learned_value(time_out_is_terminal=False), 10, rtol=0.01)


def test_a_time_out_declared_terminal_halves_the_value():
    # Nine of ten steps have the target 1 + 0.9 v, the tenth has 1. On average v = 1 + 0.9 * 0.9 v, hence
    # v = 1 / (1 - 0.81) = 5.263
    np.testing.assert_allclose(learned_value(time_out_is_terminal=True), 5.263, rtol=0.01)


# --- Sarsa, which also needs the next action


def alternate(env, sarsa, n, give_a_next, n_episodes):
    """Take the actions 0, 1, 0, 1, ... from the start of each episode, and learn from each transition."""
    tracer = coax.reward_tracing.NStep(n, GAMMA)
    for _ in range(n_episodes):
        s, _ = env.reset()
        a, truncated = 0, False
        while not truncated:
            s_next, r, terminated, truncated, _ = env.step(a)
            a_next = 1 - a
            last_action = {"a_next": a_next} if truncated and give_a_next else {}
            tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next, **last_action)
            while tracer:
                sarsa.update(tracer.pop())
            s, a = s_next, a_next


def make_sarsa(max_steps):
    env = one_state(0.0, 1.0, max_steps=max_steps)
    q = coax.Q(a_value_per_action, env, random_seed=0)
    return env, coax.td_learning.Sarsa(q, optimizer=optax.sgd(0.5), loss_function=coax.value_losses.mse)


@pytest.mark.parametrize("max_steps", [4, 5])  # the episode ends after either action
@pytest.mark.parametrize("n", [1, 3])
def test_sarsa_across_a_truncation(n, max_steps):
    # The actions alternate and are worth 0 and 1, so q(1) = 1 + 0.9 q(0) and q(0) = 0 + 0.9 q(1). Put together,
    # q(1) = 1 + 0.81 q(1) = 1 / 0.19 = 5.263 and q(0) = 0.9 / 0.19 = 4.737. A limit of 4 or 5 steps changes nothing.
    env, sarsa = make_sarsa(max_steps)
    alternate(env, sarsa, n, give_a_next=True, n_episodes=60)
    np.testing.assert_allclose(sarsa.q(0), [4.737, 5.263], rtol=0.001)


@pytest.mark.parametrize("n", [1, 3])
def test_sarsa_without_the_next_action_raises(n):
    env, sarsa = make_sarsa(max_steps=5)
    with pytest.raises(
        ValueError, match=r"Sarsa: expected the next action .* an episode was truncated\. Fix: .*a_next=pi\(s_next\)"
    ):
        alternate(env, sarsa, n, give_a_next=False, n_episodes=1)
