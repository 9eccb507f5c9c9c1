"""SAC on eight pendulums, with the whole loop compiled: environments, replay and updates (Haarnoja et al., 2018)."""

import os

import haiku as hk
import jax
import jax.numpy as jnp
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 15_000))  # of all environments together
SEED = int(os.environ.get("SEED", 13))
NUM_ENVS = 8
GAMMA = 0.99
BATCH_SIZE = 256
LEARNING_STARTS = max(BATCH_SIZE, STEPS // 20)
UPDATES = 8  # for each step of the eight

# --- environment: swing a pendulum up; a reward from -16 to 0 for each of 200 steps, one action from -2 to 2
env = coax.envs.JaxVectorEnv(coax.envs.Pendulum(), NUM_ENVS, random_seed=SEED)
env = coax.wrappers.DeviceTrainMonitor(env, every=3_200, metrics=["SoftClippedDoubleQLearning/loss", "SoftPG/loss"])


# --- functions
def hidden(X):
    """Two layers, for each function its own."""
    return hk.Sequential([hk.Linear(256), jax.nn.relu, hk.Linear(256), jax.nn.relu])(X)


def policy(S, is_training):
    """A normal distribution, which a squashed one makes of it."""
    mu, logvar = jnp.split(hk.Linear(2)(hidden(S)), 2, axis=-1)
    return {"mu": mu, "logvar": logvar}


def value(S, A, is_training):
    """One value for each state and action."""
    return hk.Linear(1)(hidden(jnp.concatenate([S, A], axis=-1))).ravel()


pi = coax.Policy(policy, env, proba_dist=coax.proba_dists.SquashedNormalDist(env.single_action_space), random_seed=SEED)
uniform = coax.RandomPolicy(env, random_seed=SEED)
qs = coax.Ensemble(coax.Q(value, env), members=2, random_seed=SEED)
qs_targ = qs.copy()

# --- updaters
tracer = coax.reward_tracing.DeviceNStep(n=1, gamma=GAMMA, env=env)
buffer = coax.experience_replay.DeviceReplayBuffer(capacity=STEPS, example=env, random_seed=SEED)
temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(1e-3))
entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
critic = coax.td_learning.SoftClippedDoubleQLearning(
    qs, [pi], qs_targ, optimizer=optax.adam(1e-3), loss_function=coax.value_losses.mse, policy_regularizer=entropy
)
soft_pg = coax.policy_objectives.SoftPG(pi, qs, optimizer=optax.adam(1e-3), regularizer=entropy)


# --- loop
def act(policy):
    """One step in each environment."""
    A = policy(env.observation)
    S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)

    # An episode ends only because time ran out: there is a future to value, in S_next.
    buffer.add(*tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask))


def learn():
    """One update of everything."""
    batch = buffer.sample(BATCH_SIZE)
    env.record_metrics(critic.update(batch) | soft_pg.update(batch) | temperature.update(batch))
    qs_targ.soft_update(qs, tau=0.005)


def explore():
    """One turn of the loop before there is enough to learn from."""
    act(uniform)


def step():
    """One turn of the loop."""
    act(pi)
    coax.scan(learn, UPDATES, over=(env, buffer, *learners))


learners = (critic, soft_pg, temperature, qs_targ)
objects = (env, uniform, tracer, buffer, *learners)
coax.scan(explore, LEARNING_STARTS // NUM_ENVS, over=objects)
coax.scan(step, (STEPS - LEARNING_STARTS) // NUM_ENVS, over=objects)
env.close()

# --- result: the mode of the policy in Gymnasium's own Pendulum
returns, lengths = coax.training.evaluate("Pendulum-v1", pi.mode, episodes=1, seed=SEED)
print(f"The return is {returns[0]:.0f}; above -200 is good.")
