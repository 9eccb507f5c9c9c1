"""DQN with prioritised replay. The skeleton: put in an environment and functions of your own."""

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
q_targ = q.copy()
pi = coax.EpsilonGreedy(q, epsilon=1.0)
epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (10_000, 0.05))
tracer = coax.reward_tracing.NStep(n=1, gamma=0.99)
buffer = coax.experience_replay.PrioritizedReplayBuffer(capacity=100_000, alpha=0.6, beta=0.4, random_seed=SEED)
beta = coax.utils.StepwiseLinearFunction((0, 0.4), (STEPS, 1.0))
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.0005))

s, info = env.reset(seed=SEED)
for t in range(STEPS):
    pi.epsilon = epsilon(t)
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= 128:
        buffer.beta = beta(t)
        batch = buffer.sample(batch_size=32)
        metrics, td_error = qlearning.update(batch, return_td_error=True)
        buffer.update(batch.idx, td_error)
    if t % 500 == 0:
        q_targ.soft_update(q, tau=1.0)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()
