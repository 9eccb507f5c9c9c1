"""What is learned from badly scaled observations and rewards, with normalisers and without."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium.spaces import Box

import coax
from coax.envs import CartPole, FunctionalEnv, JaxVectorEnv
from coax.wrappers import NormalizeObservation, NormalizeReward

N, LENGTH = 16, 64


class FarFromZero(FunctionalEnv):
    """A pole on a cart in other units, far from their zero: positions around 300, rewards of 1000."""

    inner = CartPole()
    observation_space = Box(-np.inf, np.inf, (4,), np.float32)
    action_space = inner.action_space
    max_episode_steps = 500

    def observed(self, S):
        return 300 + 30 * S

    def reset(self, key):
        state, S = self.inner.reset(key)
        return state, self.observed(S)

    def step(self, state, action, key):
        found = self.inner.step(state, action, key)
        return found._replace(observation=self.observed(found.observation), reward=1000 * found.reward)


def func(n):
    return lambda S: hk.Sequential([hk.Linear(64), jnp.tanh, hk.Linear(64), jnp.tanh, hk.Linear(n)])(S)


def trained(env, inner, iterations):
    """The mean length of episodes after a PPO."""
    pi = coax.Policy(lambda S, is_training: {"logits": func(2)(S)}, env, random_seed=1)
    v = coax.V(lambda S, is_training: func(1)(S).ravel(), env, random_seed=1)
    ppo = coax.policy_objectives.PPOClip(pi, optimizer=optax.adam(1e-3), normalize_advantage=True)
    simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.adam(1e-3))

    def learn(batch):
        return ppo.update(batch) | simple_td.update(batch)

    def iteration():
        rows = coax.training.rollout(env, pi, LENGTH)
        batch = coax.reward_tracing.lambda_transitions(rows, 0.99, 0.95, v(rows.S), v(rows.S_next))
        order = jnp.concatenate([jax.random.permutation(k, N * LENGTH) for k in jax.random.split(pi.rng, 4)])
        coax.scan(learn, xs=jax.tree.map(lambda x: x[order.reshape(-1, 128)], batch), over=(ppo, simple_td))

    coax.scan(iteration, iterations, over=(env, ppo, simple_td))
    return coax.training.evaluate(inner, pi.mode, episodes=N, seed=5).lengths.mean()


@pytest.mark.full
def test_a_pole_far_from_zero():
    raw = JaxVectorEnv(FarFromZero(), N, random_seed=1)
    without = trained(raw, raw, 30)
    inner = NormalizeObservation(JaxVectorEnv(FarFromZero(), N, random_seed=1))
    assert trained(NormalizeReward(inner), inner, 30) > 300
    assert without < 100
