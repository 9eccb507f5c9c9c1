"""Small learners for tests that run the same steps in several ways: DQN, PPO, SAC, and a network with batch statistics.

All are deterministic, in float64 where that is enabled, and made of what one writes in a loop.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax

import coax
from coax.reward_tracing import TransitionBatch

B = 8  # rows of a batch
DISCRETE, BOX = gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(-1, 1, (2,), np.float32)


class Learner(NamedTuple):
    learn: Callable  # learn(batch) -> (gradients, metrics), of one update of all there is
    over: tuple  # what it changes
    batch: Callable  # batch(seed) -> TransitionBatch


def spaces(action_space):
    """What functions are made for; observations are in the precision of the parameters that come of them."""
    dtype = jnp.zeros(()).dtype
    return SimpleNamespace(observation_space=gymnasium.spaces.Box(-1, 1, (3,), dtype), action_space=action_space)


def batches_of(env):
    """Batches whose rows do not count on, in turns: half of the first half, the whole of it, none.

    What does not count is not a number.
    """

    def batch(seed):
        rng, dtype = np.random.default_rng(seed), env.observation_space.dtype
        S, S_next = rng.uniform(-1, 1, (2, B, 3)).astype(dtype)
        A = rng.integers(0, 3, B) if env.action_space is DISCRETE else rng.uniform(-1, 1, (B, 2)).astype(np.float32)
        logP, Rn, Adv = rng.normal(size=(3, B)).astype(dtype)
        W = rng.uniform(0.5, 2, B).astype(dtype)
        W[: (B // 4, B // 2, 0)[seed % 3]] = 0
        S[W == 0] = Rn[W == 0] = Adv[W == 0] = np.nan
        In = np.where(rng.uniform(size=B) < 0.2, 0, 0.9).astype(dtype)
        return TransitionBatch(S, A, logP - 1, Rn, In, S_next, W=W, extra_info={"Adv": Adv})

    return batch


def network(n):
    return lambda S, is_training: hk.Sequential([hk.Linear(8), jnp.tanh, hk.Linear(n)])(S)


def normalised(S, is_training):
    S = hk.BatchNorm(True, True, decay_rate=0.9)(S, is_training)
    return network(3)(S, is_training)


def dqn(func=None):
    env = spaces(DISCRETE)
    q = coax.Q(func or network(3), env, random_seed=1)
    q_targ = q.copy()
    qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.01))

    def learn(batch):
        grads = qlearning.grads_and_metrics(batch)[0]
        metrics = qlearning.update(batch)
        q_targ.soft_update(q, tau=0.1)
        return grads, metrics

    return Learner(learn, (qlearning, q_targ), batches_of(env))


def batch_norm():
    return dqn(normalised)


def ppo():
    env = spaces(DISCRETE)
    pi = coax.Policy(lambda S, is_training: {"logits": network(3)(S, is_training)}, env, random_seed=1)
    v = coax.V(lambda S, is_training: network(1)(S, is_training).ravel(), env, random_seed=2)
    simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.adam(0.01))
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.01)
    ppo_clip = coax.policy_objectives.PPOClip(
        pi, optimizer=optax.adam(0.01), regularizer=entropy, normalize_advantage=True
    )

    def learn(batch):
        grads = simple_td.grads_and_metrics(batch)[0], ppo_clip.grads_and_metrics(batch)[0]
        return grads, simple_td.update(batch) | ppo_clip.update(batch)

    return Learner(learn, (simple_td, ppo_clip), batches_of(env))


def sac():
    env = spaces(BOX)

    def law(S, is_training):
        mu, logvar = jnp.split(network(4)(S, is_training), 2, axis=-1)
        return {"mu": mu, "logvar": logvar}

    def value(S, A, is_training):
        return network(1)(jnp.concatenate([S, A], axis=-1), is_training).ravel()

    pi = coax.Policy(law, env, proba_dist=coax.proba_dists.SquashedNormalDist(BOX), random_seed=1)
    qs = coax.Ensemble(coax.Q(value, env), members=2, random_seed=2)
    qs_targ = qs.copy()
    temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(0.01))
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
    critic = coax.td_learning.SoftClippedDoubleQLearning(
        qs, [pi], qs_targ, optimizer=optax.adam(0.01), policy_regularizer=entropy
    )
    soft_pg = coax.policy_objectives.SoftPG(pi, qs, optimizer=optax.adam(0.01), regularizer=entropy)

    def learn(batch):
        grads = critic.grads_and_metrics(batch)[0], soft_pg.grads_and_metrics(batch)[0]
        metrics = critic.update(batch) | soft_pg.update(batch) | temperature.update(batch)
        qs_targ.soft_update(qs, tau=0.1)
        return grads, metrics

    return Learner(learn, (critic, soft_pg, temperature, qs_targ), batches_of(env))


LEARNERS = {"dqn": dqn, "batch_norm": batch_norm, "ppo": ppo, "sac": sac}
