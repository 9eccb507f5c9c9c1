"""Every updater reaches the known values of every probe environment that it applies to."""

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium.utils.env_checker import check_env

import coax
from tests.probes import CONTINUOUS, DISCRETE, DistanceAtTheSecondStep, OnlyTruncated, RewardOfBoth, TwoSteps, play

pytestmark = pytest.mark.gate  # some 200 little trainings

# One lesson is the gradient step over all transitions at once, hence there is no noise but that of what was played.
FIT = {"optimizer": optax.adam(optax.cosine_decay_schedule(0.1, 200)), "loss_function": coax.value_losses.mse}
N_UPDATES = 200
TEMPERATURE = 0.5


# --- functions that can represent the values of all probes


def v_of(env):
    def func(S, is_training):
        return hk.Linear(1, with_bias=False, w_init=jnp.zeros)(S).ravel()

    return coax.V(func, env, random_seed=0)


def q_of(env):
    def table(S, is_training):
        return hk.Linear(2, with_bias=False, w_init=jnp.zeros)(S)

    def parabola_per_state(S, A, is_training):
        weights = hk.Linear(3, with_bias=False, w_init=jnp.zeros)(S)
        return jnp.sum(weights * jnp.concatenate([jnp.ones_like(A), A, A**2], axis=-1), axis=-1)

    # The actions of a Box come as the numbers they are.
    return coax.Q(table if is_discrete(env) else parabola_per_state, env, random_seed=0)


def laws_of(env, value_range=None):
    """The same with a law as output: 5 quantiles, or 51 bins."""
    quantiles = lambda x: {"values": x, "quantile_fractions": jnp.broadcast_to((jnp.arange(5) + 0.5) / 5, x.shape)}

    def table(S, is_training):
        x = hk.Linear(2 * (51 if value_range else 5), with_bias=False, w_init=jnp.zeros)(S).reshape(len(S), 2, -1)
        return {"logits": x} if value_range else quantiles(x)

    def parabola_per_state(S, A, is_training):
        weights = hk.Linear(3 * 5, with_bias=False, w_init=jnp.zeros)(S).reshape(len(S), 3, 5)
        return quantiles(jnp.einsum("bpk,bp->bk", weights, jnp.concatenate([jnp.ones_like(A), A, A**2], axis=-1)))

    func = table if is_discrete(env) else parabola_per_state
    return coax.StochasticQ(func, env, value_range=value_range, num_bins=51 if value_range else 5, random_seed=0)


def best_policy(env):
    """The policy whose mode is the best action, where it matters; in the space before squashing to the Box."""
    squashed = (np.nan_to_num(env.best_action) + 1) / 2
    best = jnp.log(squashed / (1 - squashed))[:, None]

    def func(S, is_training):
        return {"mu": S @ best, "logvar": jnp.zeros((S.shape[0], 1))}

    return coax.Policy(func, env, random_seed=0)


def is_discrete(env):
    return isinstance(env.action_space, gymnasium.spaces.Discrete)


def values_of(f, env):
    """The values of all states [S], or of the actions that the probe lists in all states [S, A]; means of laws."""
    if isinstance(f, coax.Ensemble):
        return np.mean([values_of(f[i], env) for i in range(len(f))], axis=0)
    states = np.arange(env.observation_space.n)
    if coax.utils.is_stochastic(f):
        return f.mean(states)
    if coax.utils.is_vfunction(f):
        return f(states)
    if is_discrete(env):
        return f(states)
    S, A = np.meshgrid(states, env.actions, indexing="ij")
    return f(S, A[..., None].astype(np.float32))


# --- what reaches which values


def td(name):
    return getattr(coax.td_learning, name)


def with_q(name, **more):
    return lambda env: td(name)(q_of(env), **more, **FIT)


def expected_sarsa(epsilon):
    def make(env):
        q = q_of(env)
        return td("ExpectedSarsa")(q, coax.EpsilonGreedy(q, epsilon=epsilon), **FIT)

    return make


def with_law(name, value_range=None, **more):
    return lambda env: td(name)(laws_of(env, value_range), **more, **FIT)


def with_several(name, make_q=q_of, members=0, **more):
    """Two functions of which one learns, or an ensemble that does."""

    def make(env):
        q = coax.Ensemble(make_q(env), members) if members else make_q(env)
        q_targs = [q, make_q(env)] if not members else q
        if not members:
            q_targs[1].params = jax.tree.map(lambda x: x + 3.0, q.params)  # never the lowest, at first
        pis = None if is_discrete(env) else [best_policy(env)]
        return td(name)(q, pis, q_targs, **more, **FIT)

    return make


def trailing(name, **more):
    def make(env):
        q = q_of(env)
        return td(name)(q, q_targ=q.copy(), **more, **FIT)

    return make


# A name, how to make the updater for a probe, the values that it reaches there, and the probes that it applies to.
UPDATERS = [
    ("SimpleTD", lambda env: td("SimpleTD")(v_of(env), **FIT), lambda env: env.v_uniform, DISCRETE + CONTINUOUS),
    ("Sarsa", with_q("Sarsa"), lambda env: env.q_uniform, DISCRETE + CONTINUOUS),
    ("ExpectedSarsa, uniform", expected_sarsa(1.0), lambda env: env.q_uniform, DISCRETE),
    ("ExpectedSarsa, greedy", expected_sarsa(0.0), lambda env: env.q_best, DISCRETE),
    ("QLearning", with_q("QLearning"), lambda env: env.q_best, DISCRETE),
    ("QLearning, q_targ", trailing("QLearning"), lambda env: env.q_best, DISCRETE),
    (
        "QLearning, pi_targ",
        lambda env: td("QLearning")(q_of(env), pi_targ=best_policy(env), **FIT),
        lambda env: env.q_best,
        CONTINUOUS,
    ),
    ("DoubleQLearning", trailing("DoubleQLearning"), lambda env: env.q_best, DISCRETE),
    ("DoubleQLearning, q", trailing("DoubleQLearning", select_with="q"), lambda env: env.q_best, DISCRETE),
    (
        "SoftQLearning",
        with_q("SoftQLearning", temperature=TEMPERATURE),
        lambda env: env.q_soft(TEMPERATURE),
        DISCRETE,
    ),
    ("QLearning, bins", with_law("QLearning", (-3, 3)), lambda env: env.q_best, DISCRETE),
    ("QLearning, quantiles", with_law("QLearning"), lambda env: env.q_best, DISCRETE),
    ("DoubleQLearning, quantiles", with_law("DoubleQLearning"), lambda env: env.q_best, DISCRETE),
    ("Sarsa, bins", with_law("Sarsa", (-3, 3)), lambda env: env.q_uniform, DISCRETE),
    ("ClippedDoubleQLearning", with_several("ClippedDoubleQLearning"), lambda env: env.q_best, DISCRETE + CONTINUOUS),
    (
        "ClippedDoubleQLearning, ensemble",
        with_several("ClippedDoubleQLearning", members=3, subset=2),
        lambda env: env.q_best,
        DISCRETE + CONTINUOUS,
    ),
    (
        "SoftClippedDoubleQLearning",
        with_several("SoftClippedDoubleQLearning", members=2, reduction="mean"),
        lambda env: env.q_best,
        DISCRETE,
    ),
    (
        "TruncatedQuantileLearning",
        with_several("TruncatedQuantileLearning", laws_of, members=2, drop=0),
        lambda env: env.q_best,
        DISCRETE,
    ),
]
LESSONS = [
    pytest.param(make, known, probe, id=f"{name}-{probe.__name__}")
    for name, make, known, probes in UPDATERS
    for probe in probes
]


def learn(updater, batch):
    """Repeat the update; a target network trails behind."""
    f = updater.v if hasattr(updater, "v") else updater.q
    f_targ = getattr(updater, "v_targ" if hasattr(updater, "v") else "q_targ", None)

    def step():
        updater.update(batch)
        if f_targ is not None and f_targ is not f:
            f_targ.soft_update(f, tau=0.2)

    jax.block_until_ready(jax.tree.leaves(coax.scan(step, length=N_UPDATES, over=(updater,))))
    return f


@pytest.mark.parametrize(("make", "known", "probe"), LESSONS)
def test_updater_reaches_the_known_values(make, known, probe):
    env = probe()
    # A parabola needs more transitions than a table to come as close at the ends of a Box.
    f = learn(make(env), play(env, n_steps=2_000 if is_discrete(env) else 10_000, seed=2))
    np.testing.assert_allclose(values_of(f, env), known(env), atol=0.05)


# --- policies


WITH_A_CHOICE = [probe for probe in DISCRETE + CONTINUOUS if not np.isnan(probe.best_action).all()]
CHOICE_DISCRETE = [probe for probe in WITH_A_CHOICE if probe in DISCRETE]


def policy_of(env, logvar=-3.0):
    """A table of logits, or of means; at first it does not know where to go."""

    def func(S, is_training):
        if is_discrete(env):
            return {"logits": hk.Linear(2, with_bias=False, w_init=jnp.zeros)(S)}
        mu = hk.Linear(1, with_bias=False, w_init=jnp.zeros)(S)
        return {"mu": mu, "logvar": jnp.full_like(mu, logvar)}

    return coax.Policy(func, env, random_seed=0)


def assert_best(pi, env, atol):
    """Whether the mode is the best action, where it matters; a Box reaches from -1 to 1."""
    for s in np.flatnonzero(~np.isnan(env.best_action)):
        np.testing.assert_allclose(pi.mode(int(s)), env.best_action[s], atol=atol)


ON_POLICY = {
    "VanillaPG": lambda pi: coax.policy_objectives.VanillaPG(pi, optax.adam(0.1)),
    "PPOClip": lambda pi: coax.policy_objectives.PPOClip(pi, optax.adam(0.1), normalize_advantage=True, dual_clip=3),
}


@pytest.mark.parametrize("probe", WITH_A_CHOICE)
@pytest.mark.parametrize("name", ON_POLICY)
def test_policies_that_learn_from_what_they_do(name, probe):
    env = probe()
    pi, v = policy_of(env), v_of(env)
    objective = ON_POLICY[name](pi)
    simple_td = td("SimpleTD")(v, optimizer=optax.adam(0.1), loss_function=coax.value_losses.mse)
    for seed in range(60):
        batch = play(env, 128, seed=seed, pi=pi)
        objective.update(batch, simple_td.update(batch, return_td_error=True)[1])
    assert_best(pi, env, atol=0.1)
    if is_discrete(env):
        where = np.flatnonzero(~np.isnan(env.best_action))
        probs = [np.exp(pi.log_proba(int(s), int(env.best_action[s]))) for s in where]
        assert min(probs) > 0.9


OFF_POLICY = {
    "DeterministicPG": lambda pi, q, reg: coax.policy_objectives.DeterministicPG(pi, q, FIT["optimizer"], reg),
    "SoftPG": lambda pi, q, reg: coax.policy_objectives.SoftPG(pi, [q], FIT["optimizer"], reg),
    "SoftPG, ensemble": lambda pi, q, reg: coax.policy_objectives.SoftPG(pi, q, FIT["optimizer"], reg),
}


def learn_both(name, env, regularizer=lambda pi: None):
    """An actor and a critic learn side by side from what a policy that draws uniformly did."""
    pi = policy_of(env, logvar=-6.0)
    q = coax.Ensemble(q_of(env), 2) if "ensemble" in name else q_of(env)
    pis, qs = None if is_discrete(env) else [pi], q if "ensemble" in name else [q, q]
    critic = td("ClippedDoubleQLearning")(q, pis, qs, **FIT)
    actor = OFF_POLICY[name](pi, q, regularizer(pi))
    batch = play(env, n_steps=2_000)

    def step():
        critic.update(batch)
        actor.update(batch)

    jax.block_until_ready(jax.tree.leaves(coax.scan(step, length=2 * N_UPDATES, over=(critic, actor))))
    return pi


@pytest.mark.parametrize("probe", WITH_A_CHOICE)
@pytest.mark.parametrize("name", OFF_POLICY)
def test_policies_that_follow_a_critic(name, probe):
    env = probe()
    assert_best(learn_both(name, env), env, atol=0.05)


@pytest.mark.parametrize("probe", CHOICE_DISCRETE)
def test_a_soft_policy_is_the_soft_maximum(probe):
    # what maximises p @ q + temperature * entropy(p) is proportional to exp(q / temperature)
    env = probe()
    pi = learn_both("SoftPG", env, lambda pi: coax.regularizers.EntropyRegularizer(pi, beta=TEMPERATURE))
    for s, row in enumerate(env.q_best):
        known = np.exp(row / TEMPERATURE) / np.exp(row / TEMPERATURE).sum()
        got = [float(np.exp(pi.log_proba(s, a))) for a in range(2)]
        np.testing.assert_allclose(got, known, atol=0.02)


@pytest.mark.parametrize("probe", CHOICE_DISCRETE)
def test_imitation_of_what_is_better(probe):
    # of actions drawn uniformly, weighted with exp(Adv / temperature): proportional to these weights
    env = probe()
    pi, batch = policy_of(env), play(env, n_steps=4_000)
    cloning = coax.policy_objectives.CrossEntropy(pi, FIT["optimizer"], temperature=TEMPERATURE)
    adv = batch.Rn - env.v_uniform[batch.S]
    jax.block_until_ready(jax.tree.leaves(coax.scan(lambda: cloning.update(batch, adv), length=200, over=cloning)))
    for s, row in enumerate(env.q_uniform):
        known = np.exp(row / TEMPERATURE) / np.exp(row / TEMPERATURE).sum()
        np.testing.assert_allclose([float(np.exp(pi.log_proba(s, a))) for a in range(2)], known, atol=0.02)


# --- n steps


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("probe", [TwoSteps, OnlyTruncated, DistanceAtTheSecondStep])
def test_values_do_not_depend_on_n(probe, n):
    env = probe()
    v = learn(td("SimpleTD")(v_of(env), **FIT), play(env, n_steps=2_000, n=n))
    np.testing.assert_allclose(values_of(v, env), env.v_uniform, atol=0.05)


# --- the probes themselves


@pytest.mark.parametrize("probe", DISCRETE + CONTINUOUS)
def test_known_values_are_what_is_played(probe):
    # Whole returns from each state, weighted by nothing: averages of about 1000 numbers within [-2.25, 2].
    env = probe()
    batch = play(env, n_steps=4_000, n=60)
    returns = batch.Rn + batch.In * env.v_uniform[batch.S_next]
    for s, value in enumerate(env.v_uniform):
        assert np.sum(s == batch.S) > 500
        np.testing.assert_allclose(returns[s == batch.S].mean(), value, atol=0.05)


@pytest.mark.parametrize("probe", DISCRETE + CONTINUOUS)
def test_known_values_agree_with_each_other(probe):
    env = probe()
    where = ~np.isnan(env.best_action)
    np.testing.assert_allclose(env.q_best.max(axis=-1), env.v_best)
    np.testing.assert_allclose(env.actions[env.q_best.argmax(axis=-1)][where], env.best_action[where])
    assert np.all(np.ptp(env.q_best[~where], axis=-1) == 0)
    if is_discrete(env):
        np.testing.assert_allclose(env.q_uniform.mean(axis=-1), env.v_uniform)
        np.testing.assert_allclose(env.q_soft(1e-9), env.q_best, atol=1e-6)


@pytest.mark.parametrize("probe", DISCRETE + CONTINUOUS)
def test_probe_is_an_environment_and_deterministic_given_a_seed(probe):
    check_env(probe(), skip_render_check=True)
    assert play(probe(), 50, seed=1) == play(probe(), 50, seed=1)
    if probe is RewardOfBoth:
        assert not np.array_equal(play(probe(), 50, seed=1).S, play(probe(), 50, seed=2).S)


def test_what_is_played_on_two_steps():
    # Two steps an episode: (0, 0.9) and then (1, 0), the reward and the bootstrap factor; log(1/2) for each action.
    batch = play(TwoSteps(), 4)
    assert batch.S.tolist() == [0, 1, 0, 1]
    assert batch.Rn.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(batch.In, [0.9, 0, 0.9, 0])
    np.testing.assert_allclose(batch.logP, [-0.693147] * 4, rtol=1e-6)


def test_what_is_played_until_a_truncation():
    # Five steps an episode, and none ends it. All next actions are known.
    batch = play(OnlyTruncated(), 10)
    assert batch.In.tolist() == [0.5] * 10
    assert batch.A_next[:4].tolist() == batch.A[1:5].tolist()
    assert batch.A_next[5:9].tolist() == batch.A[6:].tolist()
    assert not coax.reward_tracing.needs_a_next(batch).any()


# --- bonuses for entropy, and models


def uniform_policy(env):
    return coax.Policy(lambda S, is_training: {"logits": hk.Linear(2, w_init=jnp.zeros)(S)}, env, random_seed=0)


@pytest.mark.parametrize("probe", DISCRETE)
def test_values_with_a_bonus_for_entropy(probe):
    # Each state that one comes to is worth temperature * log(2) more. With a soft maximum it is the same: the actions
    # differ only where nothing follows.
    env = probe()
    entropy = coax.regularizers.EntropyRegularizer(uniform_policy(env), beta=TEMPERATURE)
    v = learn(td("SimpleTD")(v_of(env), policy_regularizer=entropy, **FIT), play(env, n_steps=2_000, seed=2))
    np.testing.assert_allclose(values_of(v, env), env.q_soft(TEMPERATURE).mean(axis=-1), atol=0.05)


def models_of(env, stochastic):
    """A table of next observations and one of rewards."""
    n = env.observation_space.n
    table = lambda S, k: hk.Linear(2 * k, with_bias=False, w_init=jnp.zeros)(S).reshape(len(S), 2, k)
    if not stochastic:
        p = coax.TransitionModel(lambda S, is_training: table(S, n), env, random_seed=0)
        return p, coax.RewardFunction(lambda S, is_training: table(S, 1)[..., 0], env, random_seed=0)
    p = coax.StochasticTransitionModel(lambda S, is_training: {"logits": table(S, n)}, env, random_seed=0)
    logits = lambda S, is_training: {"logits": table(S, 5)}
    # the centres of the bins are -1, -1/2, 0, 1/2 and 1
    return p, coax.StochasticRewardFunction(logits, env, value_range=(-1.25, 1.25), num_bins=5, random_seed=0)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("probe", DISCRETE)
def test_what_a_learned_model_says(probe, stochastic):
    env, gamma = probe(), probe.gamma
    p, r = models_of(env, stochastic)
    optimizer, batch = FIT["optimizer"], play(env, n_steps=2_000, seed=2)
    models = [coax.model_updaters.ModelUpdater(f, optimizer) for f in (p, r)]
    simple_td = td("SimpleTD")(v_of(env), **FIT)
    updaters = (*models, simple_td)

    def step():
        for updater in updaters:
            updater.update(batch)

    jax.block_until_ready(jax.tree.leaves(coax.scan(step, length=N_UPDATES, over=updaters)))
    goes_on = np.array([np.any((s == batch.S) & (batch.In != 0)) for s in range(env.observation_space.n)])
    states, rewards = np.arange(len(goes_on)), r.mean if stochastic else r
    # an end pays all there is; before it, rewards are what is missing to the value of what follows
    v_next = np.where(goes_on, env.v_uniform[-1], 0)
    np.testing.assert_allclose(rewards(states), env.q_uniform - gamma * v_next[:, None], atol=0.05)
    q = coax.SuccessorStateQ(simple_td.v, p, r, gamma)
    np.testing.assert_allclose(q(states)[goes_on], env.q_uniform[goes_on], atol=0.05)
