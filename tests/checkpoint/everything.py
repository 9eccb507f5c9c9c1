"""One of each stateful class of coax, by name, with what makes it go on.

``EVERYTHING[name](seed)`` gives the objects by name, children too, and ``use(k)``: the k-th thing done with them,
which changes their state and returns what came out.
"""

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax
from coax import envs, experience_replay, model_updaters, policy_objectives, regularizers, reward_tracing, td_learning
from coax.proba_dists import SquashedNormalDist
from tests import learners

DISCRETE, BOX = learners.spaces(learners.DISCRETE), learners.spaces(learners.BOX)
BATCH, BOX_BATCH = learners.batches_of(DISCRETE), learners.batches_of(BOX)
OPTIMIZER = optax.adam(0.01)


def values(S, is_training):
    return learners.network(3)(hk.dropout(hk.next_rng_key(), 0.2, S) if is_training else S, is_training)


def value(S, is_training):
    return learners.normalised(S, is_training)[..., 0]


def value_of_both(S, A, is_training):
    return learners.network(1)(jnp.concatenate([S, A], axis=-1), is_training).ravel()


def bins(S, is_training):
    return {"logits": learners.network(5)(S, is_training)}


def bins_of_actions(S, is_training):
    return {"logits": learners.network(15)(S, is_training).reshape(-1, 3, 5)}


def quantiles(S, A, is_training):
    fractions = coax.utils.quantiles_uniform(hk.next_rng_key(), S.shape[0], 4)
    values = learners.network(4)(jnp.concatenate([S, A], axis=-1), is_training)
    return {"values": values + fractions, "quantile_fractions": fractions}


def logits(S, is_training):
    return {"logits": learners.network(3)(S, is_training)}


def law(S, is_training):
    mu, logvar = jnp.split(learners.network(4)(S, is_training), 2, axis=-1)
    return {"mu": mu, "logvar": logvar}


def next_observation(S, is_training):
    return learners.network(9)(S, is_training).reshape(-1, 3, 3)


def next_law(S, is_training):
    both = learners.network(18)(S, is_training).reshape(-1, 3, 2, 3)
    return {"mu": both[:, :, 0], "logvar": both[:, :, 1]}


# --- functions and policies -------------------------------------------------------------------------------------------


def S_of(k):
    return BATCH(3 * k + 2).S


def function(make, *args, env=DISCRETE, **kwargs):
    def build(seed):
        f = make(*args, env, random_seed=seed, **kwargs)

        def use(k):
            other = f.copy()
            other.params = jax.tree.map(lambda x: x + k, f.params)
            f.soft_update(other, tau=0.1)
            return f(S_of(k)), f.rng

        return {"f": f}, use

    return build


def model(make, *args):
    def build(seed):
        f = make(*args, DISCRETE, random_seed=seed)
        return {"f": f}, lambda k: (f(S_of(k), BATCH(3 * k + 2).A), f.rng)

    return build


def policy(make):
    def build(seed):
        q = coax.Q(values, DISCRETE, random_seed=seed)
        pi = make(q)

        def use(k):
            for name in {"epsilon", "temperature"} & pi.state.keys():
                setattr(pi, name, 0.5 / (k + 1))
            return pi(S_of(k)), q.rng

        return {"q": q, "pi": pi}, use

    return build


def random_policy(seed):
    pi = coax.RandomPolicy(DISCRETE, random_seed=seed)
    return {"pi": pi}, lambda k: pi(S_of(k))


def ensemble(seed):
    qs = coax.Ensemble(coax.Q(value_of_both, BOX), members=2, random_seed=seed)
    return {"qs": qs}, lambda k: (qs(BOX_BATCH(3 * k + 2).S, BOX_BATCH(3 * k + 2).A), qs.rng)


def successor(seed):
    p = coax.TransitionModel(next_observation, DISCRETE, random_seed=seed)
    see = {"observation_preprocessor": p.observation_preprocessor, "random_seed": seed}
    parts = {"v": coax.V(value, DISCRETE, **see), "p": p, "r": coax.RewardFunction(values, DISCRETE, **see)}
    q = coax.SuccessorStateQ(*parts.values())

    def use(k):
        q.gamma = 0.5 + 0.1 * (k % 4)
        return q(S_of(k))

    return {**parts, "q": q}, use


# --- updaters and regularizers ----------------------------------------------------------------------------------------


def updater(make, batch=BATCH):
    def build(seed):
        objects = make(seed)
        return objects, lambda k: dict(objects["updater"].update(batch(k)))

    return build


def of_q(make, env=DISCRETE, func=values, **kwargs):
    def build(seed):
        q = coax.Q(func, env, random_seed=seed)
        q_targ = q.copy()
        return {"q": q, "q_targ": q_targ, "updater": make(q, q_targ=q_targ, optimizer=OPTIMIZER, **kwargs)}

    return build


def of_q_and_pi(make):
    def build(seed):
        q = coax.Q(values, DISCRETE, random_seed=seed)
        pi = coax.Policy(logits, DISCRETE, random_seed=seed)
        return {"q": q, "pi": pi, "updater": make(q, pi, optimizer=OPTIMIZER)}

    return build


def of_v(seed):
    v = coax.V(value, DISCRETE, random_seed=seed)
    return {"v": v, "updater": td_learning.SimpleTD(v, optimizer=OPTIMIZER)}


def of_several(make):
    def build(seed):
        pi = coax.Policy(law, BOX, proba_dist=SquashedNormalDist(learners.BOX), random_seed=seed)
        qs = coax.Ensemble(coax.Q(value_of_both, BOX), members=2, random_seed=seed)
        qs_targ = qs.copy()
        return {"pi": pi, "qs": qs, "qs_targ": qs_targ, "updater": make(qs, [pi], qs_targ, optimizer=OPTIMIZER)}

    return build


def of_quantiles(seed):
    pi = coax.Policy(law, BOX, proba_dist=SquashedNormalDist(learners.BOX), random_seed=seed)
    q = coax.StochasticQ(quantiles, BOX, num_bins=4, random_seed=seed)
    qs = [q, coax.StochasticQ(quantiles, BOX, num_bins=4, random_seed=seed + 1)]
    make = td_learning.TruncatedQuantileLearning
    return {"pi": pi, "q": q, "q2": qs[1], "updater": make(q, [pi], qs, optimizer=OPTIMIZER, drop=1)}


def of_pi(make, **kwargs):
    def build(seed):
        pi = coax.Policy(logits, DISCRETE, random_seed=seed)
        return {"pi": pi, "updater": make(pi, optimizer=OPTIMIZER, **kwargs)}

    return build


def of_pi_and_q(make):
    def build(seed):
        pi = coax.Policy(law, BOX, proba_dist=SquashedNormalDist(learners.BOX), random_seed=seed)
        q = coax.Q(value_of_both, BOX, random_seed=seed)
        return {"pi": pi, "q": q, "updater": make(pi, [q] if make is policy_objectives.SoftPG else q, OPTIMIZER)}

    return build


def of_model(seed):
    p = coax.StochasticTransitionModel(next_law, DISCRETE, random_seed=seed)
    return {"p": p, "updater": model_updaters.ModelUpdater(p, optimizer=OPTIMIZER)}


def regularizer(make, *args):
    def build(seed):
        pi = coax.Policy(logits, DISCRETE, random_seed=seed)
        reg = make(pi, *args, beta=0.1)
        vanilla = policy_objectives.VanillaPG(pi, optimizer=OPTIMIZER, regularizer=reg)
        objects = {"pi": pi, "regularizer": reg, "updater": vanilla}

        def use(k):
            reg.beta = 0.1 / (k + 1)
            return dict(vanilla.update(BATCH(k)))

        return objects, use

    return build


def nstep_entropy(seed):
    pi = coax.Policy(logits, DISCRETE, random_seed=seed)
    reg = regularizers.NStepEntropyRegularizer(pi, [0, 1], beta=0.1)

    def use(k):
        reg.beta = 0.1 / (k + 1)
        return reg.beta

    return {"pi": pi, "regularizer": reg}, use


def temperature(seed):
    pi = coax.Policy(logits, DISCRETE, random_seed=seed)
    learned = regularizers.LearnedTemperature(pi, optimizer=OPTIMIZER)
    return {"pi": pi, "temperature": learned}, lambda k: dict(learned.update(BATCH(k)))


# --- data -------------------------------------------------------------------------------------------------------------


def tracer(make):
    def build(seed):
        tracer = make()

        def use(k):
            rng = np.random.default_rng(k)
            tracer.add(rng.random(3, np.float32), k % 3, rng.random(), k % 5 == 4, logp=-rng.random(), w=1 + k)
            popped = []
            while tracer and k % 2:
                popped.append(tracer.pop())
            if k % 5 == 4:
                popped += [tracer.flush()] if tracer else []
            return popped

        return {"tracer": tracer}, use

    return build


def buffer(make):
    def build(seed):
        buffer = make(seed)

        def use(k):
            batch = coax.utils.get_transition_batch(DISCRETE, batch_size=5, random_seed=k)
            batch.logP_next = batch.A_next = None
            buffer.add(batch, *([np.arange(5.0) - k] if "Prioritized" in type(buffer).__name__ else []))
            drawn = buffer.sample(3)
            if "Prioritized" in type(buffer).__name__:
                buffer.update(drawn.idx, np.arange(3.0))
            return drawn, len(buffer)

        return {"buffer": buffer}, use

    return build


def device_nstep(seed):
    tracer = reward_tracing.DeviceNStep(n=3, gamma=0.9, env=envs.JaxVectorEnv(envs.CartPole(), 2, random_seed=0))

    def use(k):
        rng = np.random.default_rng(k)
        S, S_next = rng.random((2, 2, 4), np.float32)
        return tracer.add(S, np.array([0, 1]), np.ones(2), np.array([False, k % 3 == 2]), s_next=S_next)

    return {"tracer": tracer}, use


def noise(seed):
    noise = coax.utils.OrnsteinUhlenbeckNoise(random_seed=seed)

    def use(k):
        noise.sigma = 1 / (k + 1)
        return noise(np.zeros(2))

    return {"noise": noise}, use


def observations(seed):
    norm = coax.ObservationNormalizer(DISCRETE)

    def use(k):
        norm.update(S_of(k))
        return norm.norm(S_of(k + 1))

    return {"norm": norm}, use


def rewards(seed):
    norm = coax.RewardNormalizer(num_envs=2)

    def use(k):
        R = np.array([k, 1.0], np.float32)
        norm.update(R, np.array([k % 3 == 0, False]), np.array([False, k % 4 == 0]))
        return norm.norm(R)

    return {"norm": norm}, use


# --- environments -----------------------------------------------------------------------------------------------------


def jax_env(wrap=lambda env: env):
    def build(seed):
        env = wrap(envs.JaxVectorEnv(envs.CartPole(), 2, max_episode_steps=7, random_seed=seed))
        started = []

        def use(k):
            if not started:
                started.append(env.reset() if k == 0 else None)
            if hasattr(env, "record_metrics"):
                env.record_metrics({"loss": float(k)})
            return tuple(envs.transition(env, np.array([k % 2, 1]))), getattr(env, "avg_G", 0)

        return {"env": env}, use

    return build


def gym_env(make, wrap=lambda env: env, action=lambda k: k % 2):
    def build(seed):
        env = wrap(make())
        started = []

        def use(k):
            if not started:
                started.append(env.reset(seed=seed) if k == 0 else None)
            S, R, terminated, truncated, _ = env.step(action(k))
            if hasattr(env, "record_metrics"):
                env.record_metrics({"loss": float(k)})
                env.period("something", T_period=2)
            if np.ndim(terminated) == 0 and (terminated or truncated):
                env.reset()
            return S, R, terminated, truncated, getattr(env, "avg_G", 0), getattr(env, "T", 0)

        return {"env": env}, use

    return build


def cart_poles():
    return gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")


EVERYTHING = {
    "V": function(coax.V, value),
    "Q": function(coax.Q, values),
    "Policy": function(coax.Policy, logits),
    "StochasticV": function(coax.StochasticV, bins, value_range=(-1, 1), num_bins=5),
    "StochasticQ": function(coax.StochasticQ, bins_of_actions, value_range=(-1, 1), num_bins=5),
    "TransitionModel": model(coax.TransitionModel, next_observation),
    "StochasticTransitionModel": model(coax.StochasticTransitionModel, next_law),
    "RewardFunction": model(coax.RewardFunction, values),
    "StochasticRewardFunction": model(
        lambda *args, **kwargs: coax.StochasticRewardFunction(*args, value_range=(-1, 1), num_bins=5, **kwargs),
        bins_of_actions,
    ),
    "EpsilonGreedy": policy(lambda q: coax.EpsilonGreedy(q, epsilon=0.9)),
    "BoltzmannPolicy": policy(lambda q: coax.BoltzmannPolicy(q, temperature=0.9)),
    "RandomPolicy": random_policy,
    "Ensemble": ensemble,
    "SuccessorStateQ": successor,
    "QLearning": updater(of_q(td_learning.QLearning)),
    "DoubleQLearning": updater(of_q(td_learning.DoubleQLearning)),
    "SoftQLearning": updater(of_q(td_learning.SoftQLearning, temperature=0.3)),
    "ExpectedSarsa": updater(of_q_and_pi(td_learning.ExpectedSarsa)),
    "Sarsa": updater(of_q(td_learning.Sarsa), lambda k: with_next_actions(BATCH(k))),
    "SimpleTD": updater(of_v),
    "ClippedDoubleQLearning": updater(of_several(td_learning.ClippedDoubleQLearning), BOX_BATCH),
    "SoftClippedDoubleQLearning": updater(of_several(td_learning.SoftClippedDoubleQLearning), BOX_BATCH),
    "TruncatedQuantileLearning": updater(of_quantiles, BOX_BATCH),
    "VanillaPG": updater(of_pi(policy_objectives.VanillaPG)),
    "PPOClip": updater(of_pi(policy_objectives.PPOClip)),
    "CrossEntropy": updater(of_pi(policy_objectives.CrossEntropy, temperature=1.0)),
    "DeterministicPG": updater(of_pi_and_q(policy_objectives.DeterministicPG), BOX_BATCH),
    "SoftPG": updater(of_pi_and_q(policy_objectives.SoftPG), BOX_BATCH),
    "ModelUpdater": updater(of_model),
    "EntropyRegularizer": regularizer(regularizers.EntropyRegularizer),
    "KLDivRegularizer": regularizer(regularizers.KLDivRegularizer),
    "NStepEntropyRegularizer": nstep_entropy,
    "LearnedTemperature": temperature,
    "NStep": tracer(lambda: reward_tracing.NStep(n=3, gamma=0.9)),
    "LambdaReturn": tracer(lambda: reward_tracing.LambdaReturn(4, 0.9, 0.8, lambda S: np.sum(S, axis=-1))),
    "MonteCarlo": tracer(lambda: reward_tracing.MonteCarlo(gamma=0.9)),
    "DeviceNStep": device_nstep,
    "SimpleReplayBuffer": buffer(lambda seed: experience_replay.SimpleReplayBuffer(12, random_seed=seed)),
    "PrioritizedReplayBuffer": buffer(lambda seed: experience_replay.PrioritizedReplayBuffer(12, random_seed=seed)),
    "DeviceReplayBuffer": buffer(lambda seed: experience_replay.DeviceReplayBuffer(12, DISCRETE, random_seed=seed)),
    "DevicePrioritizedReplayBuffer": buffer(
        lambda seed: experience_replay.DevicePrioritizedReplayBuffer(12, DISCRETE, random_seed=seed)
    ),
    "OrnsteinUhlenbeckNoise": noise,
    "ObservationNormalizer": observations,
    "RewardNormalizer": rewards,
    "JaxVectorEnv": jax_env(),
    "DeviceTrainMonitor": jax_env(lambda env: coax.wrappers.DeviceTrainMonitor(env, metrics=["loss"])),
    "DeviceNormalizeObservation": jax_env(lambda env: coax.wrappers.NormalizeObservation(env)),
    "DeviceNormalizeReward": jax_env(lambda env: coax.wrappers.NormalizeReward(env)),
    "TrainMonitor": gym_env(lambda: gymnasium.make("CartPole-v1"), coax.wrappers.TrainMonitor),
    "VectorTrainMonitor": gym_env(cart_poles, coax.wrappers.TrainMonitor, lambda k: np.array([k % 2, 1])),
}


def with_next_actions(batch):
    batch.A_next, batch.logP_next = batch.A[::-1], batch.logP
    return batch


# --- comparing --------------------------------------------------------------------------------------------------------


def numbers(tree):
    """Everything in a tree of arrays, keys as what they are made of."""
    leaves = jax.tree.leaves(tree)
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in leaves]


def is_key(x):
    return hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for x, y in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_array_equal(x, y, strict=True)
