"""SAC on Pendulum: a soft actor, two soft critics, and a temperature that learns (Haarnoja et al., 2018)."""

import os

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 15_000))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.99
BATCH_SIZE = 256
LEARNING_STARTS = max(BATCH_SIZE, STEPS // 20)

# --- environment: swing a pendulum up; a reward from -16 to 0 for each of 200 steps, one action from -2 to 2
env = coax.wrappers.TrainMonitor(gymnasium.make("Pendulum-v1"))


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


pi = coax.Policy(policy, env, proba_dist=coax.proba_dists.SquashedNormalDist(env.action_space), random_seed=SEED)
qs = coax.Ensemble(coax.Q(value, env), members=2, random_seed=SEED)
qs_targ = qs.copy()

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=STEPS, random_seed=SEED)
temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(1e-3))
entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
critic = coax.td_learning.SoftClippedDoubleQLearning(
    qs, [pi], qs_targ, optimizer=optax.adam(1e-3), loss_function=coax.value_losses.mse, policy_regularizer=entropy
)
soft_pg = coax.policy_objectives.SoftPG(pi, qs, optimizer=optax.adam(1e-3), regularizer=entropy)


@coax.jit(over=(critic, soft_pg, temperature, qs_targ))
def learn(batch):
    """All of it, in one call to the device."""
    metrics = {**critic.update(batch), **soft_pg.update(batch), **temperature.update(batch)}
    qs_targ.soft_update(qs, tau=0.005)
    return metrics


# --- loop
env.action_space.seed(SEED)
s, info = env.reset(seed=SEED)
while env.T < STEPS:
    a = pi(s) if len(buffer) >= LEARNING_STARTS else env.action_space.sample()
    s_next, r, terminated, truncated, info = env.step(a)

    # An episode ends only because time ran out: there is a future to value, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= LEARNING_STARTS:
        env.record_metrics(learn(buffer.sample(BATCH_SIZE)))

    s = s_next
    if terminated or truncated:
        s, info = env.reset()

# --- result: the mode of the policy in an environment of its own
test_env = gymnasium.make("Pendulum-v1")
s, info = test_env.reset(seed=SEED)
total, terminated, truncated = 0.0, False, False
while not (terminated or truncated):
    s, r, terminated, truncated, info = test_env.step(pi.mode(s))
    total += float(r)
print(f"The return is {total:.0f}; above -200 is good.")
