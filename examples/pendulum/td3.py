"""TD3 on Pendulum: DDPG with two critics, smoothed targets and a policy that lags (Fujimoto et al., 2018)."""

import os

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax

# --- settings
STEPS = int(os.environ.get("COAX_STEPS", 15_000))
SEED = int(os.environ.get("SEED", 13))
GAMMA = 0.99
BATCH_SIZE = 256
NOISE = 0.2  # standard deviation of what is added to the action while learning
LEARNING_STARTS = max(BATCH_SIZE, STEPS // 15)  # until then any actions: it sees more than how a fresh policy hangs

# --- environment: swing a pendulum up; a reward from -16 to 0 for each of 200 steps, one action from -2 to 2
env = coax.wrappers.TrainMonitor(gymnasium.make("Pendulum-v1"))


# --- functions
def hidden(X):
    """Two layers, for each function its own."""
    return hk.Sequential([hk.Linear(256), jax.nn.relu, hk.Linear(256), jax.nn.relu])(X)


def policy(S, is_training):
    """What matters is the mode: the deviation is a formality."""
    mu = hk.Linear(1, w_init=hk.initializers.RandomNormal(0.003))(hidden(S))
    return {"mu": mu, "logvar": jnp.full_like(mu, -10.0)}


def value(S, A, is_training):
    """One value for each state and action."""
    return hk.Linear(1)(hidden(jnp.concatenate([S, A], axis=-1))).ravel()


pi = coax.Policy(policy, env, random_seed=SEED)
qs = coax.Ensemble(coax.Q(value, env), members=2, random_seed=SEED)
pi_targ, qs_targ = pi.copy(), qs.copy()

# --- updaters
tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=STEPS, random_seed=SEED)
critic = coax.td_learning.ClippedDoubleQLearning(
    qs, [pi_targ], qs_targ, optimizer=optax.adam(1e-3), loss_function=coax.value_losses.mse, target_noise=0.2
)
deterministic_pg = coax.policy_objectives.DeterministicPG(pi, qs, optimizer=optax.adam(1e-3))


@coax.jit(over=critic)
def learn_values(batch):
    """What every step learns."""
    return critic.update(batch)


@coax.jit(over=(critic, deterministic_pg, qs_targ, pi_targ))
def learn_all(batch):
    """What every other step learns, in one call to the device."""
    metrics = {**critic.update(batch), **deterministic_pg.update(batch)}
    qs_targ.soft_update(qs, tau=0.005)
    pi_targ.soft_update(pi, tau=0.005)
    return metrics


# --- loop
rng = np.random.default_rng(SEED)
s, info = env.reset(seed=SEED)
env.action_space.seed(SEED)
while env.T < STEPS:
    a = pi.mode(s) + rng.normal(scale=NOISE, size=1) if len(buffer) >= LEARNING_STARTS else env.action_space.sample()
    a = np.clip(a, -2, 2).astype(np.float32)
    s_next, r, terminated, truncated, info = env.step(a)

    # An episode ends only because time ran out: there is a future to value, in s_next.
    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= LEARNING_STARTS:
        env.record_metrics((learn_all if env.T % 2 == 0 else learn_values)(buffer.sample(BATCH_SIZE)))

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
