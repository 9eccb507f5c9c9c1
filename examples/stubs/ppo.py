"""PPO. The skeleton: put in an environment and functions of your own."""

import os

import gymnasium
import haiku as hk
import optax

import coax

STEPS = int(os.environ.get("COAX_STEPS", 10_000))
SEED = int(os.environ.get("SEED", 13))
env = gymnasium.make("CartPole-v1")  # your environment


def func_pi(S, is_training):
    """Your network: logits of the actions, f32[B, A]."""
    return {"logits": hk.Linear(env.action_space.n)(S)}


def func_v(S, is_training):
    """Your network: a value, f32[B]."""
    return hk.Linear(1)(S).ravel()


pi = coax.Policy(func_pi, env, random_seed=SEED)
v = coax.V(func_v, env, random_seed=SEED)
tracer = coax.reward_tracing.LambdaReturn(n=128, gamma=0.99, lambda_=0.95, v=v)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=2_048, random_seed=SEED)
ppo = coax.policy_objectives.PPOClip(pi, optimizer=optax.adam(0.001), normalize_advantage=True)
simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.adam(0.001))

s, info = env.reset(seed=SEED)
for _ in range(STEPS):
    a, logp = pi(s, return_logp=True)
    s_next, r, terminated, truncated, info = env.step(a)

    tracer.add(s, a, r, terminated, logp, truncated=truncated, s_next=s_next)
    if tracer:
        buffer.add(tracer.flush())

    if len(buffer) >= 1_024:
        for _ in range(10 * 1_024 // 64):
            batch = buffer.sample(batch_size=64)
            simple_td.update(batch)
            ppo.update(batch)
        buffer.clear()

    s = s_next
    if terminated or truncated:
        s, info = env.reset()
