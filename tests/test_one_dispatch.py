"""An update is one program that is compiled once, whatever the algorithm; so is a step that lifts several."""

from types import SimpleNamespace

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.reward_tracing import TransitionBatch
from tests.compilations import compilations

pytestmark = pytest.mark.gate  # every case compiles anew

B = 4
OBSERVATIONS = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
DISCRETE = SimpleNamespace(observation_space=OBSERVATIONS, action_space=gymnasium.spaces.Discrete(2))
BOX = SimpleNamespace(observation_space=OBSERVATIONS, action_space=gymnasium.spaces.Box(-1, 1, (2,), np.float32))
ADAM = {"optimizer": optax.adam(0.01)}


pytestmark = pytest.mark.usefixtures("caches_are_on")


def batch(env, seed):
    rng = np.random.default_rng(seed)
    S, S_next = rng.uniform(-1, 1, (2, B, 3)).astype(np.float32)
    A = rng.integers(0, 2, B) if env is DISCRETE else rng.uniform(-1, 1, (B, 2)).astype(np.float32)
    Adv, V, logP, Rn = rng.normal(size=(4, B)).astype(np.float32)
    tracer = {"states": [S, S_next], "dones": [np.zeros(B, bool)] * 2}
    return TransitionBatch(
        S, A, logP, Rn, np.full(B, 0.9, np.float32), S_next, A, logP, extra_info={"Adv": Adv, "V": V, **tracer}
    )


def linear(n):
    return lambda S, is_training: hk.Linear(n)(S)


def value(S, *A_and_flag):
    return hk.Linear(1)(jnp.concatenate([S, *A_and_flag[:-1]], axis=-1)).ravel()


def v_func(S, is_training):
    return value(S, is_training)


def q_func(S, A, is_training):
    return value(S, A, is_training)


def law(S, is_training):
    return {"logits": hk.Linear(2 * 5)(S).reshape(-1, 2, 5)}


def next_observations(S, is_training):
    return hk.Linear(2 * 3)(S).reshape(-1, 2, 3)


def quantiles(S, A, is_training):
    x = hk.Linear(5)(jnp.concatenate([S, A], axis=-1))
    return {"values": x, "quantile_fractions": jnp.broadcast_to((jnp.arange(5) + 0.5) / 5, x.shape)}


def policy(env):
    if env is DISCRETE:
        return coax.Policy(lambda S, is_training: {"logits": hk.Linear(2)(S)}, env, random_seed=1)
    return coax.Policy(
        lambda S, is_training: {"mu": hk.Linear(2)(S), "logvar": hk.Linear(2)(S)},
        env,
        proba_dist=coax.proba_dists.SquashedNormalDist(env.action_space),
        random_seed=1,
    )


def q_of(env):
    return coax.Q(linear(2) if env is DISCRETE else q_func, env, random_seed=1)


def ensemble(env, q=q_of):
    return coax.Ensemble(q(env), 2, random_seed=1)


def laws(env):
    func, value_range = (law, (-1, 1)) if env is DISCRETE else (quantiles, None)
    return coax.StochasticQ(func, env, value_range=value_range, num_bins=5, random_seed=1)


def model(kind, func, **kwargs):
    return lambda env: coax.model_updaters.ModelUpdater(kind(func, env, random_seed=1, **kwargs), **ADAM)


def several(name, q=q_of, **kwargs):
    def make(env):
        qs = ensemble(env, q)
        pis = None if env is DISCRETE else [policy(env)]
        return getattr(coax.td_learning, name)(qs, pis, qs.copy(), **ADAM, **kwargs)

    return make


def with_policy(name, *args, **kwargs):
    def make(env):
        pi = policy(env)
        regularizer = coax.regularizers.EntropyRegularizer(pi, beta=coax.regularizers.LearnedTemperature(pi))
        return getattr(coax.policy_objectives, name)(
            pi, *(arg(env) for arg in args), regularizer=regularizer, **ADAM, **kwargs
        )

    return make


td = coax.td_learning
CASES = {
    "SimpleTD": (DISCRETE, lambda env: td.SimpleTD(coax.V(v_func, env), clip_change=0.2, **ADAM)),
    "QLearning": (DISCRETE, lambda env: td.QLearning(q_of(env), q_targ=q_of(env), **ADAM)),
    "QLearning, pi_targ": (BOX, lambda env: td.QLearning(q_of(env), policy(env), **ADAM)),
    "QLearning, bins": (DISCRETE, lambda env: td.QLearning(laws(env), **ADAM)),
    "DoubleQLearning": (DISCRETE, lambda env: td.DoubleQLearning(q_of(env), q_targ=q_of(env), **ADAM)),
    "SoftQLearning": (DISCRETE, lambda env: td.SoftQLearning(q_of(env), **ADAM)),
    "Sarsa": (BOX, lambda env: td.Sarsa(q_of(env), **ADAM)),
    "ExpectedSarsa": (DISCRETE, lambda env: td.ExpectedSarsa(q_of(env), policy(env), **ADAM)),
    "ClippedDoubleQLearning": (BOX, several("ClippedDoubleQLearning", target_noise=0.2)),
    "ClippedDoubleQLearning, Discrete": (DISCRETE, several("ClippedDoubleQLearning", subset=1)),
    "SoftClippedDoubleQLearning": (BOX, several("SoftClippedDoubleQLearning", reduction="mean")),
    "TruncatedQuantileLearning": (BOX, several("TruncatedQuantileLearning", laws, drop=1)),
    "VanillaPG": (DISCRETE, with_policy("VanillaPG")),
    "PPOClip": (BOX, with_policy("PPOClip", normalize_advantage=True, dual_clip=3.0)),
    "CrossEntropy": (DISCRETE, with_policy("CrossEntropy", temperature=1.0)),
    "DeterministicPG": (BOX, with_policy("DeterministicPG", q_of)),
    "SoftPG": (BOX, with_policy("SoftPG", ensemble)),
    "SoftPG, Discrete": (DISCRETE, with_policy("SoftPG", ensemble, subset=1)),
    "LearnedTemperature": (BOX, lambda env: coax.regularizers.LearnedTemperature(policy(env), **ADAM)),
    "transitions": (DISCRETE, model(coax.TransitionModel, next_observations)),
    "rewards": (BOX, model(coax.RewardFunction, q_func)),
    "random rewards": (DISCRETE, model(coax.StochasticRewardFunction, law, value_range=(-1, 1), num_bins=5)),
}


@pytest.mark.parametrize("name", CASES)
def test_an_update_is_one_program(name):
    env, make = CASES[name]
    updater = make(env)
    batches = [batch(env, seed) for seed in range(4)]
    jax.clear_caches()  # so that also the smallest program would be compiled again, and be seen
    with compilations() as found:
        updater.update(batches[0])
    assert len(found) == 1, found
    updater.update(batches[1])  # what the first call left is on the device now
    with compilations() as found:
        updater.update(batches[2])
        updater.update(batches[3])
    assert found == []


@pytest.mark.gate
def test_a_step_of_soft_actor_critic_is_one_program():
    pi, qs = policy(BOX), ensemble(BOX)
    qs_targ, pi_targ = qs.copy(), pi.copy()
    temperature = coax.regularizers.LearnedTemperature(pi, **ADAM)
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
    critic = td.SoftClippedDoubleQLearning(qs, [pi], qs_targ, policy_regularizer=entropy, **ADAM)
    actor = coax.policy_objectives.SoftPG(pi, qs, regularizer=entropy, **ADAM)

    @coax.jit(over=(critic, actor, temperature, qs_targ, pi_targ))
    def learn(batch):
        metrics = {**critic.update(batch), **actor.update(batch), **temperature.update(batch)}
        qs_targ.soft_update(qs, tau=0.1)
        pi_targ.soft_update(pi, tau=0.1)
        return metrics

    batches = [batch(BOX, seed) for seed in range(4)]
    jax.clear_caches()
    with compilations() as found:
        metrics = learn(batches[0])
    assert len(found) == 1, found
    learn(batches[1])
    with compilations() as found:
        learn(batches[2]), learn(batches[3])
    assert found == []
    assert {name.split("/")[0] for name in metrics} == {
        "SoftClippedDoubleQLearning",
        "SoftPG",
        "LearnedTemperature",
    }
