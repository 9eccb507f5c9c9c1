"""DQN on Pong, replaying what surprised most (Schaul et al., 2016)."""

import os

import ale_py
import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 1_000_000))  # of four frames each
SEED = int(os.environ.get("SEED", 13))
CAPACITY = min(200_000, STEPS // 2)  # transitions of about 7 kB each: frames of a stack are stored once
N, GAMMA = 3, 0.99
BATCH_SIZE = 32
LEARNING_STARTS = max(BATCH_SIZE, min(10_000, STEPS // 10))
UPDATE_EVERY = 4
SYNC_EVERY = 4_000

# --- environment: 1 for each point, -1 for each one lost, until one side has 21; needs the extra coax[atari]
gymnasium.register_envs(ale_py)


def make():
    """Grey pictures u8[84, 84], the last four in a tuple."""
    game = gymnasium.make("ALE/Pong-v5", frameskip=1, obs_type="grayscale", repeat_action_probability=0.0)
    return coax.wrappers.FrameStacking(coax.wrappers.AtariPreprocessing(game), num_frames=4)


env = coax.wrappers.TrainMonitor(make())


# --- functions
def func(S, is_training):
    """One value for each action. The pictures are bytes until they are here, on the device."""
    X = jnp.stack(S, axis=-1) / 255.0
    layers = [hk.Conv2D(16, 8, 4, padding="VALID"), jax.nn.relu, hk.Conv2D(32, 4, 2, padding="VALID"), jax.nn.relu]
    return hk.Sequential([*layers, hk.Flatten(), hk.Linear(256), jax.nn.relu, hk.Linear(env.action_space.n)])(X)


q = coax.Q(func, env, random_seed=SEED)
q_targ = q.copy()
pi = coax.EpsilonGreedy(q, epsilon=1.0)
epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (STEPS // 10, 0.05), (STEPS, 0.01))

# --- updaters
tracer = coax.reward_tracing.NStep(n=N, gamma=GAMMA)
buffer = coax.experience_replay.PrioritizedReplayBuffer(CAPACITY, alpha=0.6, beta=0.4, random_seed=SEED)
beta = coax.utils.StepwiseLinearFunction((0, 0.4), (STEPS, 1.0))  # the bias is put right little by little
learning_rate = optax.linear_schedule(2e-4, 0, STEPS // UPDATE_EVERY)  # slower and slower, so that the end is stable
adam = optax.adam(learning_rate, eps=1.5e-4)
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=adam)

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    pi.epsilon = epsilon(env.T)
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())  # without a TD error: as if it were the highest so far, until it was drawn

    if len(buffer) >= LEARNING_STARTS and env.T % UPDATE_EVERY == 0:
        buffer.beta = beta(env.T)
        batch = buffer.sample(BATCH_SIZE)
        metrics, td_error = qlearning.update(batch, return_td_error=True)
        buffer.update(batch.idx, td_error)
        env.record_metrics(metrics)
    if env.T % SYNC_EVERY == 0:
        q_targ.soft_update(q, tau=1.0)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the greedy policy in an environment of its own
test_env = make()
s, info = test_env.reset(seed=SEED)
total, terminated, truncated = 0.0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    total += r
print(f"The return is {total:.0f}, from -21 to 21; above 0 the game is won.")
