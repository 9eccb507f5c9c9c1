"""DQN on LunarLander: Q-learning with a replay buffer and a target network (Mnih et al., 2015)."""

import os

import gymnasium
import haiku as hk
import jax
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 250_000))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.99
BATCH_SIZE = 128
LEARNING_STARTS = max(BATCH_SIZE, STEPS // 50)
SYNC_EVERY = 250

# --- environment: land between two flags; needs the extra gymnasium[box2d]
env = coax.wrappers.TrainMonitor(gymnasium.make("LunarLander-v3"))


# --- functions
def func(S, is_training):
    """One value for each action."""
    return hk.Sequential([hk.Linear(256), jax.nn.relu, hk.Linear(256), jax.nn.relu, hk.Linear(env.action_space.n)])(S)


q = coax.Q(func, env, random_seed=SEED)
q_targ = q.copy()
pi = coax.EpsilonGreedy(q, epsilon=1.0)
epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (30_000, 0.1))

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=100_000, random_seed=SEED)
learning_rate = optax.linear_schedule(6e-4, 0, STEPS)  # slower and slower, so that the end is stable
# Landings and crashes are rare among the transitions. The square counts a large error in full; the Huber loss, by
# default, does not.
loss = coax.value_losses.mse
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(learning_rate), loss_function=loss)


# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    pi.epsilon = epsilon(env.T)
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # Only where it landed or crashed is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= LEARNING_STARTS:
        env.record_metrics(qlearning.update(buffer.sample(BATCH_SIZE)))
    if env.T % SYNC_EVERY == 0:
        q_targ.soft_update(q, tau=1.0)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the mode of the policy in an environment of its own
test_env = gymnasium.make("LunarLander-v3")
s, info = test_env.reset(seed=SEED)
total, terminated, truncated = 0.0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    total += float(r)
print(f"The return is {total:.0f}; above 200 the landing is safe.")
