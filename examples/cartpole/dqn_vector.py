"""DQN on eight CartPoles at once: one call of the policy and one update for eight steps (Mnih et al., 2015)."""

import os

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 50_000))  # of all environments together
SEED = int(os.environ.get("SEED", 13))
NUM_ENVS = 8
GAMMA = 0.99
BATCH_SIZE = 128
LEARNING_STARTS = max(BATCH_SIZE, STEPS // 50)
UPDATES = 8  # for each step of the eight
SYNC_EVERY = 32

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.wrappers.TrainMonitor(gymnasium.make_vec("CartPole-v1", num_envs=NUM_ENVS, vectorization_mode="sync"))
LARGE = jnp.array([2.4, 2.0, 0.21, 2.0])  # for a position (m), speed, angle (rad) and angular speed


# --- functions
def func(S, is_training):
    """One value for each action."""
    hidden = hk.Sequential([hk.Linear(120), jax.nn.relu, hk.Linear(84), jax.nn.relu])(S / LARGE)
    return hk.Linear(env.single_action_space.n)(hidden)


q = coax.Q(func, env, random_seed=SEED)
q_targ = q.copy()
pi = coax.EpsilonGreedy(q, epsilon=1.0)
epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (10_000, 0.1))

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA, num_envs=NUM_ENVS)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=50_000, random_seed=SEED)
learning_rate = optax.linear_schedule(2e-3, 0, STEPS // NUM_ENVS * UPDATES)  # slower and slower: the end is stable
# Falls are rare among the transitions. The square counts a large error in full; the Huber loss, by default, would not,
# and the values of the states just before a fall would stay too high.
loss = coax.value_losses.mse
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(learning_rate), loss_function=loss)

# --- loop
env.reset(seed=SEED)
t = 0
while env.T < STEPS:
    t += 1
    pi.epsilon = epsilon(env.T)
    A = pi(env.observation)
    # S_next is what each action led to, also where an episode ended; the next one begins by itself.
    S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)

    # Only where a pole fell is there no future to value; where time ran out there is one, in S_next.
    tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask)
    if tracer:
        buffer.add(tracer.flush())

    if len(buffer) >= LEARNING_STARTS:
        for _ in range(UPDATES):
            env.record_metrics(qlearning.update(buffer.sample(BATCH_SIZE)))
    if t % SYNC_EVERY == 0:
        q_targ.soft_update(q, tau=1.0)
env.close()

# --- result: the greedy policy in an environment of its own
test_env = gymnasium.make("CartPole-v1")
s, info = test_env.reset(seed=SEED)
steps, terminated, truncated = 0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    steps += 1
print(f"The pole stays up for {steps} of 500 steps.")
