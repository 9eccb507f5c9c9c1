"""TQC. The skeleton: put in an environment and functions of your own."""

import os

import gymnasium
import haiku as hk
import jax.numpy as jnp
import optax

import coax

STEPS = int(os.environ.get("COAX_STEPS", 10_000))
SEED = int(os.environ.get("SEED", 13))
env = gymnasium.make("Pendulum-v1")  # your environment


def func_pi(S, is_training):
    """Your network: mean and log-variance of the action, f32[B, ...]."""
    mu, logvar = jnp.split(hk.Linear(2 * env.action_space.shape[0])(S), 2, axis=-1)
    return {"mu": mu, "logvar": logvar}


def func_q(S, A, is_training):
    """Your network: quantiles, f32[B, K], at the middles of equal parts of (0, 1)."""
    values = hk.Linear(25)(jnp.concatenate([S, A], axis=-1))
    return {"values": values, "quantile_fractions": jnp.broadcast_to((jnp.arange(25) + 0.5) / 25, values.shape)}


pi = coax.Policy(func_pi, env, proba_dist=coax.proba_dists.SquashedNormalDist(env.action_space), random_seed=SEED)
qs = coax.Ensemble(coax.StochasticQ(func_q, env, num_bins=25), members=2, random_seed=SEED)
qs_targ = qs.copy()
tracer = coax.reward_tracing.NStep(n=1, gamma=0.99)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=100_000, random_seed=SEED)
temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(0.001))
entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
critic = coax.td_learning.TruncatedQuantileLearning(
    qs, [pi], qs_targ, optimizer=optax.adam(0.001), policy_regularizer=entropy, drop=2
)
soft_pg = coax.policy_objectives.SoftPG(pi, qs, optimizer=optax.adam(0.001), regularizer=entropy)

s, info = env.reset(seed=SEED)
for _ in range(STEPS):
    a = pi(s)
    s_next, r, terminated, truncated, info = env.step(a)

    tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
    while tracer:
        buffer.add(tracer.pop())

    if len(buffer) >= 128:
        batch = buffer.sample(batch_size=128)
        critic.update(batch)
        soft_pg.update(batch)
        temperature.update(batch)
        qs_targ.soft_update(qs, tau=0.005)

    s = s_next
    if terminated or truncated:
        s, info = env.reset()
