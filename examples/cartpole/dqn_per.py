"""DQN on CartPole with prioritised replay: what surprised is replayed more often (Schaul et al., 2016)."""

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

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.wrappers.TrainMonitor(gymnasium.make("CartPole-v1"))
LARGE = jnp.array([2.4, 2.0, 0.21, 2.0])  # for a position (m), speed, angle (rad) and angular speed


# --- functions
def func(S, is_training):
    """One value for each action."""
    hidden = hk.Sequential([hk.Linear(120), jax.nn.relu, hk.Linear(84), jax.nn.relu])(S / LARGE)
    return hk.Linear(env.action_space.n)(hidden)


q = coax.Q(func, env, random_seed=SEED)
q_targ = q.copy()
pi = coax.EpsilonGreedy(q, epsilon=1.0)
epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (10_000, 0.1))

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
buffer = coax.experience_replay.PrioritizedReplayBuffer(capacity=50_000, alpha=0.6, beta=0.4, random_seed=SEED)
beta = coax.utils.StepwiseLinearFunction((0, 0.4), (STEPS, 1.0))  # at the end no transition counts for more than it is
# A quarter of what DQN takes (section 4), since large errors are drawn more often. It falls, so that the end is stable.
learning_rate = optax.linear_schedule(5e-4, 0, STEPS // LEARN_EVERY)
# Falls are rare among the transitions. The square counts a large error in full; the Huber loss, by default, would not,
# and the values of the states just before a fall would stay too high. Clipped TD errors would be poor priorities, too.
loss = coax.value_losses.mse
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(learning_rate), loss_function=loss)

# --- loop
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    pi.epsilon = epsilon(env.T)
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    # Only where the pole fell is there no future to value; where time ran out there is one, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= LEARNING_STARTS and env.T % LEARN_EVERY == 0:
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
test_env = gymnasium.make("CartPole-v1")
s, info = test_env.reset(seed=SEED)
steps, terminated, truncated = 0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    steps += 1
print(f"The pole stays up for {steps} of 500 steps.")
