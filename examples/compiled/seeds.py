"""DQN on CartPole with 64 seeds at once: one compiled program, and one picture of what they reach."""

import os

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 50_000))  # of all environments of one seed
SEED = int(os.environ.get("SEED", 13))
SEEDS = int(os.environ.get("COAX_SEEDS", 64))
PICTURE = os.environ.get("COAX_PICTURE", "seeds.png")  # none, if empty
NUM_ENVS, POINTS = 8, 20
GAMMA = 0.99
BATCH_SIZE = 128
UPDATES = 4  # for each step of the eight
SYNC_EVERY = 32

# --- environment: a reward of 1 for each step that the pole stays up, at most 500 of them
env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), NUM_ENVS, random_seed=SEED)
LARGE = jnp.array([2.4, 2.0, 0.21, 2.0])  # for a position (m), speed, angle (rad) and angular speed


# --- functions
def func(S, is_training):
    """One value for each action."""
    hidden = hk.Sequential([hk.Linear(64), jax.nn.relu, hk.Linear(64), jax.nn.relu])(S / LARGE)
    return hk.Linear(env.single_action_space.n)(hidden)


q = coax.Q(func, env, random_seed=SEED)
q_targ = q.copy()
pi = coax.EpsilonGreedy(q, epsilon=1.0)
epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (10_000, 0.1))

# --- updaters: windows of three steps bring news of a fall back faster (Hessel et al., 2018), and values stay stable
buffer = coax.experience_replay.DeviceReplayBuffer(capacity=STEPS, example=env, random_seed=SEED)
tracer = coax.reward_tracing.DeviceNStep(n=3, gamma=GAMMA, env=env)
learning_rate = optax.linear_schedule(2e-3, 0, STEPS // NUM_ENVS * UPDATES)
loss = coax.value_losses.mse
qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(learning_rate), loss_function=loss)
objects = (env, pi, tracer, buffer, qlearning)


# --- loop: what one seed does
def act(t):
    """One step in each environment."""
    pi.epsilon = epsilon(t * NUM_ENVS)
    A = pi(env.observation)
    S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
    buffer.add(*tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask))


def learn():
    """One update."""
    qlearning.update(buffer.sample(BATCH_SIZE))


def step(t):
    """One turn of the loop."""
    act(t)
    coax.scan(learn, UPDATES, over=(buffer, qlearning))
    coax.cond(t % SYNC_EVERY == 0, lambda: q_targ.soft_update(q, tau=1.0), lambda: None, over=q_targ)


def train():
    """The whole training of one seed: the mean return of its greedy policy after each part."""

    def part(turns):
        coax.scan(step, over=objects, xs=turns)  # and then the same episodes for all
        return coax.training.evaluate(env, pi.mode, episodes=NUM_ENVS, seed=0).returns.mean()

    first = max(BATCH_SIZE, STEPS // 50) // NUM_ENVS
    turns = first + jnp.arange((STEPS // NUM_ENVS - first) // POINTS * POINTS).reshape(POINTS, -1)
    coax.scan(act, over=objects, xs=jnp.arange(first))
    return coax.scan(part, over=objects, xs=turns)


# --- all seeds: fresh states from a key for each, and the same function of all of them
init, apply = coax.transform(train, over=objects)
keys = jax.random.split(jax.random.key(SEED), SEEDS)
curves, states = jax.jit(jax.vmap(apply))(jax.vmap(init)(keys))
coax.check(states)  # that no seed met a number that is not finite

# --- result
steps = STEPS / POINTS * np.arange(1, POINTS + 1)
curves = np.asarray(curves)
low, high = coax.plotting.bootstrap_band(curves[:, -1], random_seed=SEED)
iqm = coax.plotting.interquartile_mean(curves[:, -1])
print(f"The greedy policies of {SEEDS} seeds reach {iqm:.0f} (95 % between {low:.0f} and {high:.0f}) of 500.")
if PICTURE:
    axes = coax.plotting.plot_seeds(steps, curves, label=f"DQN, {SEEDS} seeds")
    axes.set(xlabel="environment steps", ylabel="return", title="CartPole-v1")
    axes.figure.savefig(PICTURE, dpi=150)
