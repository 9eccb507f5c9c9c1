"""IQN on CartPole: quantiles of the return, at random fractions (Dabney et al., 2018)."""

import os

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 50_000))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.99
BATCH_SIZE = 128
LEARNING_STARTS = max(BATCH_SIZE, STEPS // 50)
LEARN_EVERY = 2
SYNC_EVERY = 250
NUM_QUANTILES = 8
REWARD_SCALE = 0.02  # a return of 100 becomes 2; the loss is only linear in errors above 1

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.wrappers.TrainMonitor(gymnasium.make("CartPole-v1"))
LARGE = jnp.array([2.4, 2.0, 0.21, 2.0])  # for a position (m), speed, angle (rad) and angular speed


# --- functions
def func(S, is_training):
    """Quantiles at fractions that are drawn anew for each state, for each action."""
    hidden = hk.Sequential([hk.Linear(120), jax.nn.relu, hk.Linear(84), jax.nn.relu])(S / LARGE)
    fractions = jax.random.uniform(hk.next_rng_key(), (S.shape[0], NUM_QUANTILES))
    embedding = jax.nn.relu(hk.Linear(84)(coax.utils.quantile_cos_embedding(fractions, n=16)))
    values = hk.Linear(env.action_space.n)(hidden[:, None] * embedding).swapaxes(1, 2)
    return {"values": values, "quantile_fractions": jnp.broadcast_to(fractions[:, None], values.shape)}


q = coax.StochasticQ(func, env, num_bins=NUM_QUANTILES, random_seed=SEED)
q_targ = q.copy()
pi = coax.EpsilonGreedy(q, epsilon=1.0)  # greedy with respect to the expectation
epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (10_000, 0.1))

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=50_000, random_seed=SEED)
learning_rate = optax.linear_schedule(1e-3, 0, STEPS // LEARN_EVERY)  # slower and slower, so that the end is stable
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(learning_rate))

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    pi.epsilon = epsilon(env.T)
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # Only where the pole fell is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, r * REWARD_SCALE, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= LEARNING_STARTS and env.T % LEARN_EVERY == 0:
        env.record_metrics(qlearning.update(buffer.sample(BATCH_SIZE)))
    if env.T % SYNC_EVERY == 0:
        q_targ.soft_update(q, tau=1.0)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the greedy policy in an environment of its own
test_env = gymnasium.make("CartPole-v1")
s, info = test_env.reset(seed=SEED)
steps, terminated, truncated = 0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    steps += 1
print(f"The pole stays up for {steps} of 500 steps.")
