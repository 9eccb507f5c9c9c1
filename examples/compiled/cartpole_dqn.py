"""DQN on eight CartPoles, with the whole loop compiled: environments, replay and updates (Mnih et al., 2015)."""

import os

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
UPDATES = 4  # for each step of the eight
SYNC_EVERY = 32

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), NUM_ENVS, random_seed=SEED)
env = coax.wrappers.DeviceTrainMonitor(env, every=5_000, metrics=["QLearning/loss"])
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

# --- updaters: windows of three steps bring news of a fall back faster (Hessel et al., 2018), and values stay stable
tracer = coax.reward_tracing.DeviceNStep(n=3, gamma=GAMMA, env=env)
buffer = coax.experience_replay.DeviceReplayBuffer(capacity=50_000, example=env, random_seed=SEED)
learning_rate = optax.linear_schedule(2e-3, 0, STEPS // NUM_ENVS * UPDATES)  # slower and slower: the end is stable
# Falls are rare among the transitions. The square counts a large error in full; the Huber loss, by default, would not,
# and the values of the states just before a fall would stay too high.
loss = coax.value_losses.mse
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(learning_rate), loss_function=loss)


# --- loop
def act():
    """One step in each environment."""
    pi.epsilon = epsilon(env.T)
    A = pi(env.observation)
    S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)

    # Only where the pole fell is there no future to value; where time ran out there is one, in S_next.
    buffer.add(*tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask))


def learn():
    """One update."""
    env.record_metrics(qlearning.update(buffer.sample(BATCH_SIZE)))


def step(t):
    """One turn of the loop."""
    act()
    coax.scan(learn, UPDATES, over=(env, buffer, qlearning))
    # What goes through a cond is copied: here the parameters of the target network, and nothing else.
    coax.cond(t % SYNC_EVERY == 0, lambda: q_targ.soft_update(q, tau=1.0), lambda: None, over=q_targ)


objects = (env, pi, tracer, buffer, qlearning)
first = LEARNING_STARTS // NUM_ENVS
coax.scan(act, first, over=objects)
coax.scan(step, over=objects, xs=jnp.arange(first, STEPS // NUM_ENVS))
env.close()

# --- result: the greedy policy in Gymnasium's own CartPole
returns, lengths = coax.training.evaluate("CartPole-v1", pi.mode, episodes=1, seed=SEED)
print(f"The pole stays up for {lengths[0]} of 500 steps.")
