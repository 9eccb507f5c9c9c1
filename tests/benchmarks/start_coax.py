"""From the start of the interpreter to the first update, with coax: the introductory example on FrozenLake."""

import time

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import optax

import coax
import coax.reward_tracing
import coax.td_learning
import coax.wrappers

print("import", time.monotonic())

env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))


def func(S, A, is_training):
    value = hk.Sequential([hk.Linear(1, w_init=jnp.zeros), jnp.ravel])
    return value(jax.vmap(jnp.kron)(S, A))


q = coax.Q(func, env, random_seed=1)
pi = coax.BoltzmannPolicy(q, temperature=0.1)
qlearning = coax.td_learning.QLearning(q, optimizer=optax.adam(0.02))
tracer = coax.reward_tracing.NStep(n=1, gamma=0.9)
print("construction", time.monotonic())

s, info = env.reset(seed=1)
a = pi(s)
print("first action", time.monotonic())

s_next, r, terminated, truncated, info = env.step(a)
tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
a = pi(s_next)
tracer.add(s_next, a, 0.0, True)
metrics = qlearning.update(tracer.pop())
float(metrics["QLearning/loss"])
print("first update", time.monotonic())
