"""Behaviour cloning on CartPole: learn from what a rule did, and play what was learned (Pomerleau, 1991)."""

import os

import gymnasium
import haiku as hk
import jax
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 5_000))
SEED = int(os.environ.get("SEED", 13))
DATA = 1_000
BATCH_SIZE = 32

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.wrappers.TrainMonitor(gymnasium.make("CartPole-v1"))


# --- functions
def expert(s):
    """Push the cart to where the pole will lean: the angle, and its speed for a moment."""
    return int(s[2] + 0.3 * s[3] > 0)


def func(S, is_training):
    """Logits of the two actions."""
    hidden = hk.Sequential([hk.Linear(32), jax.nn.tanh])(S)
    return {"logits": hk.Linear(env.action_space.n)(hidden)}


pi = coax.Policy(func, env, random_seed=SEED)

# --- data: what the expert saw and did
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=DATA, random_seed=SEED)
tracer = coax.reward_tracing.NStep(n=1, gamma=0.99)
expert_env = gymnasium.make("CartPole-v1")
s, info = expert_env.reset(seed=SEED)
for _ in range(DATA):
    a = expert(s)
    s_next, r, terminated, truncated, info = expert_env.step(a)
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())
    s = s_next
    if terminated or truncated:
        s, info = expert_env.reset()

# --- updaters
cloning = coax.policy_objectives.CrossEntropy(pi, optimizer=optax.adam(1e-3))

# --- loop: it plays only to be watched, and learns from the data alone
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    s, r, terminated, truncated, info = env.step(pi(s))
    env.record_metrics(cloning.update(buffer.sample(BATCH_SIZE)))
    if terminated or truncated:
        s, info = env.reset()

# --- result: the most likely actions, in an environment of their own
test_env = gymnasium.make("CartPole-v1")
s, info = test_env.reset(seed=SEED)
steps, terminated, truncated = 0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    steps += 1
print(f"The pole stays up for {steps} of 500 steps.")
