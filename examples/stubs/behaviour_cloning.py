"""Behaviour cloning. The skeleton: put in an environment, a policy to learn from and functions of your own."""

import os

import gymnasium
import haiku as hk
import optax

import coax

STEPS = int(os.environ.get("COAX_STEPS", 10_000))
SEED = int(os.environ.get("SEED", 13))
env = gymnasium.make("CartPole-v1")  # your environment


def expert(s):
    """Your data: here a rule, which pushes the cart to where the pole leans."""
    return int(s[2] + 0.3 * s[3] > 0)


def func(S, is_training):
    """Your network: logits of the actions, f32[B, A]."""
    return {"logits": hk.Linear(env.action_space.n)(S)}


pi = coax.Policy(func, env, random_seed=SEED)
tracer = coax.reward_tracing.NStep(n=1, gamma=0.99)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=100_000, random_seed=SEED)
# with a temperature, better actions would count more: cloning.update(batch, Adv=...)
cloning = coax.policy_objectives.CrossEntropy(pi, optimizer=optax.adam(0.001))

s, info = env.reset(seed=SEED)
for _ in range(STEPS):
    a = expert(s)
    s_next, r, terminated, truncated, info = env.step(a)

    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= 128:
        cloning.update(buffer.sample(batch_size=128))

    s = s_next
    if terminated or truncated:
        s, info = env.reset()
