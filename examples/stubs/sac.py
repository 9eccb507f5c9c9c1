"""SAC. The skeleton: put in an environment and functions of your own."""

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
    """Your network: a value, f32[B]."""
    return hk.Linear(1)(jnp.concatenate([S, A], axis=-1)).ravel()


pi = coax.Policy(func_pi, env, proba_dist=coax.proba_dists.SquashedNormalDist(env.action_space), random_seed=SEED)
qs = coax.Ensemble(coax.Q(func_q, env), members=2, random_seed=SEED)
qs_targ = qs.copy()
tracer = coax.reward_tracing.NStep(n=1, gamma=0.99)
buffer = coax.experience_replay.SimpleReplayBuffer(capacity=100_000, random_seed=SEED)
temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(0.001))
entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
critic = coax.td_learning.SoftClippedDoubleQLearning(
    qs, [pi], qs_targ, optimizer=optax.adam(0.001), policy_regularizer=entropy
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
