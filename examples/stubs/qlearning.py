"""Q-learning. The skeleton: put in an environment and functions of your own."""

import os

import gymnasium
import haiku as hk
import optax

import coax

STEPS = int(os.environ.get("COAX_STEPS", 10_000))
SEED = int(os.environ.get("SEED", 13))
env = gymnasium.make("CartPole-v1")  # your environment


def func(S, is_training):
    """Your network: a value for each action, f32[B, A]."""
    return hk.Linear(env.action_space.n)(S)


q = coax.Q(func, env, random_seed=SEED)
pi = coax.EpsilonGreedy(q, epsilon=0.1)
tracer = coax.reward_tracing.NStep(n=1, gamma=0.9)
qlearning = coax.td_learning.QLearning(q, optimizer=optax.adam(0.001))

s, info = env.reset(seed=SEED)
for _ in range(STEPS):
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        qlearning.update(tracer.pop())

    s = s_next
    if terminated or truncated:
        s, info = env.reset()
