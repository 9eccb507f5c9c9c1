"""Supervised learning of models: what each kind is compared with, weights, rows without a next state, errors."""

import types

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from gymnasium import spaces

import coax
from coax.model_updaters import ModelUpdater
from coax.regularizers import EntropyRegularizer
from coax.value_losses import huber, mse
from coax.value_transforms import LogTransform
from tests.compilations import compilations

from ..policy_objectives import reference as ref
from ..policy_objectives.reference import replace

SGD = optax.sgd(1.0)
N_BINS = 6
ENV = ref.DISCRETE  # observations from -10 to 10


def weights(name, *shape):
    return hk.get_parameter(name, shape, init=hk.initializers.RandomNormal(0.3))


def next_type1(S, A, is_training):
    return jnp.einsum("bs,ba,sat->bt", S, A, weights("w", ref.OBS, ref.N, ref.OBS))


def next_type2(S, is_training):
    return jnp.einsum("bs,sat->bat", S, weights("w", ref.OBS, ref.N, ref.OBS))


def next_law(S, is_training):
    mu = next_type2(S, is_training)
    return {"mu": mu, "logvar": jnp.einsum("bs,sat->bat", S, weights("u", ref.OBS, ref.N, ref.OBS))}


def certain(S, is_training):
    mu = next_type2(S, is_training)
    return {"mu": mu, "logvar": jnp.full_like(mu, -40.0)}


def reward_type2(S, is_training):
    return S @ weights("w", ref.OBS, ref.N)


def reward_law(S, is_training):
    return {"logits": jnp.einsum("bs,sak->bak", S, weights("w", ref.OBS, ref.N, N_BINS))}


def batch(seed=0, **fields):
    rng = np.random.default_rng(seed)
    Rn = rng.uniform(-2.9, 2.9, ref.B).astype(np.float32)
    S_next = rng.uniform(-6, 6, (ref.B, ref.OBS)).astype(np.float32)
    return ref.batch(seed, Rn=Rn, S_next=S_next, In=np.full(ref.B, 0.9, np.float32), **fields)


def logit(s):
    """A next observation as the model sees it."""
    return np.log((s + 10) / (10 - s))


def huber_of(error):
    return np.where(abs(error) < 1, error**2 / 2, abs(error) - 0.5)


def rows(tb):
    """(s, a, r, s_next, w) in double precision."""
    fields = (tb.S, tb.A, tb.Rn, tb.S_next, tb.W)
    return list(zip(*(x.astype(float) if x.dtype.kind == "f" else x for x in fields), strict=True))


def mean(tb, each):
    return np.mean([w * each(s, a, r, s_next) for s, a, r, s_next, w in rows(tb)])


def seen(model, s):
    """An observation as the function of the model sees it."""
    return np.asarray(model.observation_preprocessor(jax.random.key(0), np.asarray(s, np.float32)), float).ravel()


def assert_learns(updater, tb, loss):
    """Whether loss and gradients are those of a function of the parameters, and a step goes downhill."""
    params = ref.params_of(updater.model)
    grads, _, metrics = updater.grads_and_metrics(tb)
    np.testing.assert_allclose(metrics["ModelUpdater/loss"], loss(params), rtol=2e-5)
    ref.assert_grads(jax.tree.map(lambda x: -x, grads), loss, params, atol=1e-4)
    updater.update(tb)
    for key, x in ref.params_of(updater.model).items():
        np.testing.assert_allclose(x, params[key] - np.asarray(grads["~"][key]), rtol=1e-5, atol=1e-5)


# --- what each kind is compared with ----------------------------------------------------------------------------------


@pytest.mark.gate
@pytest.mark.parametrize("func", [next_type1, next_type2])
@pytest.mark.parametrize(("loss_function", "each"), [(None, huber_of), (huber, huber_of), (mse, lambda x: x**2 / 2)])
def test_next_observations(func, loss_function, each):
    model, tb = coax.TransitionModel(func, ENV, random_seed=1), batch()

    def loss(params):
        return mean(tb, lambda s, a, r, s_next: np.mean(each(logit(s_next) - seen(model, s) @ params["w"][:, a])))

    assert_learns(ModelUpdater(model, SGD, loss_function), tb, loss)


def test_rewards_are_compared_in_the_transformed_space():
    model = coax.RewardFunction(reward_type2, ENV, value_transform=LogTransform(2.0), random_seed=1)
    tb, transformed = batch(), lambda r: 2 * np.sign(r) * np.log1p(abs(r) / 2)

    def loss(params):
        return mean(tb, lambda s, a, r, s_next: (transformed(r) - (s @ params["w"])[a]) ** 2 / 2)

    assert_learns(ModelUpdater(model, SGD, mse), tb, loss)


@pytest.mark.gate
def test_the_likelihood_of_next_observations():
    model, tb = coax.StochasticTransitionModel(next_law, ENV, random_seed=1), batch()

    def loss(params):
        def each(s, a, r, s_next):
            x = seen(model, s)
            law = scipy.stats.norm(x @ params["w"][:, a], np.exp(x @ params["u"][:, a] / 2))
            return -law.logpdf(logit(s_next)).sum()

        return mean(tb, each)

    assert_learns(ModelUpdater(model, SGD), tb, loss)
    assert ModelUpdater(model).loss_function is None


def test_the_likelihood_of_rewards():
    model, tb = KINDS["random rewards"](), batch()

    def loss(params):  # six bins of width 1
        return mean(tb, lambda s, a, r, s_next: -np.log(ref.softmax(s @ params["w"][:, a])[int(np.floor(r + 3))]))

    assert_learns(ModelUpdater(model, SGD), tb, loss)


def test_a_sample_is_compared_where_a_loss_is_given():
    model, tb = coax.StochasticTransitionModel(certain, ENV, random_seed=1), batch()

    def loss(params):
        return mean(tb, lambda s, a, r, s_next: np.mean((logit(s_next) - seen(model, s) @ params["w"][:, a]) ** 2) / 2)

    grads, _, metrics = ModelUpdater(model, SGD, mse).grads_and_metrics(tb)
    np.testing.assert_allclose(metrics["ModelUpdater/loss"], loss(ref.params_of(model)), rtol=1e-4)
    ref.assert_grads(jax.tree.map(lambda x: -x, grads), loss, ref.params_of(model), atol=1e-3)


def test_a_sampled_reward_is_compared_where_a_loss_is_given():
    # sure of the bin from 1 to 2, whose centre is 1.5: what is compared is 1.5
    sure = lambda S, is_training: {"logits": 50 * jax.nn.one_hot(4, N_BINS) + 0 * reward_law(S, is_training)["logits"]}
    model = coax.StochasticRewardFunction(sure, ENV, value_range=(-3, 3), num_bins=N_BINS, random_seed=1)
    tb = batch(W=np.ones(ref.B, np.float32))
    metrics = ModelUpdater(model, SGD, mse).update(tb)
    np.testing.assert_allclose(metrics["ModelUpdater/loss"], np.mean((tb.Rn - 1.5) ** 2) / 2, rtol=1e-4)


def test_observations_in_a_dict():
    env = types.SimpleNamespace(
        observation_space=spaces.Dict({"x": spaces.Box(-10, 10, (2,)), "n": spaces.Discrete(3)}),
        action_space=spaces.Discrete(2),
    )

    def func(S, A, is_training):
        return {"x": S["x"] * weights("w", 2), "n": S["n"] @ weights("u", 3, 3)}

    def law(S, A, is_training):
        out = func(S, A, is_training)
        return {"x": {"mu": out["x"], "logvar": jnp.zeros_like(out["x"])}, "n": {"logits": out["n"]}}

    rng = np.random.default_rng(0)
    S, S_next = ({"x": rng.uniform(-6, 6, (4, 2)).astype(np.float32), "n": rng.integers(0, 3, 4)} for _ in range(2))
    ones = np.ones(4, np.float32)
    tb = coax.reward_tracing.TransitionBatch(S, np.array([0, 1, 0, 1]), ones, ones, ones, S_next)
    model = coax.TransitionModel(func, env, random_seed=1)
    params = ref.params_of(model)
    x = np.asarray(model.observation_preprocessor(jax.random.key(0), S)["x"], float) * params["w"]
    goal = np.asarray(model.observation_preprocessor(jax.random.key(0), S_next)["n"])
    assert goal.shape == (4, 3)
    # logits where the variate is discrete
    start = np.asarray(model.observation_preprocessor(jax.random.key(0), S)["n"], float)
    want = np.mean((logit(S_next["x"]) - x) ** 2) / 2 + np.mean((goal - start @ params["u"]) ** 2) / 2
    np.testing.assert_allclose(ModelUpdater(model, SGD, mse).update(tb)["ModelUpdater/loss"], want, rtol=1e-4)

    model = coax.StochasticTransitionModel(law, env, random_seed=1)
    params = ref.params_of(model)
    start = jax.tree.map(np.asarray, model.observation_preprocessor(jax.random.key(0), S))
    of_x = scipy.stats.norm(start["x"] * params["w"], 1).logpdf(logit(S_next["x"])).sum(axis=1)
    of_n = [np.log(ref.softmax(row @ params["u"])[j]) for row, j in zip(start["n"], S_next["n"], strict=True)]
    got = ModelUpdater(model, SGD).update(tb)["ModelUpdater/loss"]
    np.testing.assert_allclose(got, -np.mean(of_x + of_n), rtol=1e-4)


# --- which rows count -------------------------------------------------------------------------------------------------

KINDS = {
    "states": lambda: coax.TransitionModel(next_type2, ENV, random_seed=1),
    "random states": lambda: coax.StochasticTransitionModel(next_law, ENV, random_seed=1),
    "rewards": lambda: coax.RewardFunction(reward_type2, ENV, random_seed=1),
    "random rewards": lambda: coax.StochasticRewardFunction(
        reward_law, ENV, value_range=(-3, 3), num_bins=N_BINS, random_seed=1
    ),
}


def without(tb, dead):
    fields = ("S", "A", "logP", "Rn", "In", "S_next", "W", "idx")
    return coax.reward_tracing.TransitionBatch(**{name: getattr(tb, name)[~dead] for name in fields})


def assert_same(updater, a, b):
    (one, _, metrics), (other, _, more) = updater.grads_and_metrics(a), updater.grads_and_metrics(b)
    for name in one["~"]:
        np.testing.assert_allclose(one["~"][name], other["~"][name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(list(metrics.values()), list(more.values()), rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gate
def test_rows_of_weight_0_count_for_nothing(kind):
    tb, dead = batch(), np.arange(ref.B) % 3 == 1
    spoil = lambda x: np.where(dead.reshape(-1, *(1,) * (x.ndim - 1)), np.float32(np.nan), x)
    W = np.where(dead, np.float32(0), tb.W)
    spoilt = replace(tb, S=spoil(tb.S), S_next=spoil(tb.S_next), Rn=spoil(tb.Rn), W=W)
    assert_same(ModelUpdater(KINDS[kind](), SGD), spoilt, without(tb, dead))


@pytest.mark.parametrize("kind", ["states", "random states"])
def test_rows_without_a_next_observation_are_left_out(kind):
    tb, number = batch(), np.arange(ref.B)
    unknown, told, stayed = np.isin(number, [1, 4]), number == 2, number == 3
    # two that terminated without a word, one that terminated elsewhere, one that went on and stayed where it was
    tb = replace(tb, S_next=np.where((unknown | stayed)[:, None], tb.S, tb.S_next))
    ends = replace(tb, In=np.where(unknown | told, np.float32(0), tb.In))
    assert_same(ModelUpdater(KINDS[kind](), SGD), ends, without(tb, unknown))


def test_rows_that_look_as_if_they_had_none():
    # one stays where it was and goes on, one ends where it was, one ends elsewhere but has one number in common
    model, tb = KINDS["states"](), batch()
    S_next, In = tb.S_next.copy(), tb.In.copy()
    S_next[[0, 1]], S_next[2, 0], In[[1, 2]] = tb.S[[0, 1]], tb.S[2, 0], 0
    tb = replace(tb, S_next=S_next, In=In)
    w = ref.params_of(model)["w"]
    each = [
        weight * np.mean((logit(s_next) - seen(model, s) @ w[:, a]) ** 2) / 2 for s, a, _, s_next, weight in rows(tb)
    ]
    got = ModelUpdater(model, SGD, mse).update(tb)["ModelUpdater/loss"]
    np.testing.assert_allclose(got, np.mean(np.delete(each, 1)), rtol=1e-4)


def test_all_parts_say_whether_there_is_a_next_observation():
    env = types.SimpleNamespace(
        observation_space=spaces.Tuple([spaces.Box(-10, 10, (1,)), spaces.Discrete(3)]), action_space=spaces.Discrete(2)
    )
    # nowhere, at 0 in both parts; what is wrong is the square of x and the mean of one square, 1/3
    func = lambda S, is_training: (
        jnp.zeros((len(S[0]), 2, 1)) * hk.get_parameter("w", (), init=jnp.ones),
        jnp.zeros((len(S[0]), 2, 3)),
    )
    model = coax.TransitionModel(func, env, random_seed=1)
    x, n = np.float32([[1], [1], [1]]), np.array([0, 0, 0])
    x_next, n_next = np.float32([[5], [1], [1]]), np.array([0, 1, 0])  # all ends: another x, another n, the same
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    tb = coax.reward_tracing.TransitionBatch((x, n), n, ones, ones, zeros, (x_next, n_next))
    want = (np.log(15 / 5) ** 2 + np.log(11 / 9) ** 2) / 2 / 2 + 1 / 3 / 2
    np.testing.assert_allclose(ModelUpdater(model, SGD, mse).update(tb)["ModelUpdater/loss"], want, rtol=1e-4)


def test_rows_without_a_next_observation_may_have_no_gradient():
    # at 0 the slope of the root is infinite
    root = lambda S, is_training: jnp.sqrt(jnp.abs(next_type2(S, is_training)))
    tb = batch()
    S, S_next, In = tb.S.copy(), tb.S_next.copy(), tb.In.copy()
    S[1] = S_next[1] = In[1] = 0
    tb = replace(tb, S=S, S_next=S_next, In=In)
    updaters = [ModelUpdater(coax.TransitionModel(root, ENV, random_seed=1), SGD) for _ in range(2)]
    updaters[0].update(tb, wait=True)
    updaters[1].update(without(tb, np.arange(ref.B) == 1), wait=True)
    np.testing.assert_allclose(*(ref.params_of(updater.model)["w"] for updater in updaters), rtol=1e-4, atol=1e-5)


def test_all_rewards_count():
    tb = batch()
    ends = replace(tb, S_next=tb.S, In=np.zeros(ref.B, np.float32))
    assert_same(ModelUpdater(KINDS["rewards"](), SGD), ends, tb)


def test_a_batch_without_next_observations_changes_nothing():
    tb, model = batch(), KINDS["states"]()
    before, updater = ref.params_of(model)["w"], ModelUpdater(model, optax.adam(0.1))
    updater.update(tb)
    after = ref.params_of(model)["w"]
    assert abs(after - before).max() > 0.05
    updater.update(replace(tb, S_next=tb.S, In=np.zeros(ref.B, np.float32)), wait=True)
    np.testing.assert_array_equal(ref.params_of(model)["w"], after)


# --- regularizers -----------------------------------------------------------------------------------------------------


@pytest.mark.gate
def test_a_regularizer_of_the_model():
    model, tb = KINDS["random rewards"](), batch()

    def loss(params):
        def each(s, a, r, s_next):
            p = ref.softmax(s @ params["w"][:, a])
            return -np.log(p[int(np.floor(r + 3))]) - 0.4 * scipy.stats.entropy(p)

        return mean(tb, each)

    updater = ModelUpdater(model, SGD, regularizer=EntropyRegularizer(model, beta=0.4))
    params, metrics = ref.params_of(model), updater.grads_and_metrics(tb)[2]
    bare = ModelUpdater(model, SGD).grads_and_metrics(tb)[2]["ModelUpdater/loss"]
    np.testing.assert_allclose(metrics["ModelUpdater/loss_bare"], bare, rtol=1e-6)
    entropies = [scipy.stats.entropy(ref.softmax(s @ params["w"][:, a])) for s, a, *_ in rows(tb)]
    np.testing.assert_allclose(metrics["ModelUpdater/EntropyRegularizer/entropy"], np.mean(entropies), rtol=1e-5)
    assert updater.hyperparams["beta"] == np.float32(0.4)
    assert_learns(updater, tb, loss)


# --- learning ---------------------------------------------------------------------------------------------------------


def test_a_ring_is_learned():
    # four states in a ring: action 0 goes on, action 1 goes back with probability 1/4 and else stays; reward s - a
    env = types.SimpleNamespace(observation_space=spaces.Discrete(4), action_space=spaces.Discrete(2))
    rng, size = np.random.default_rng(0), 4096
    S, A = rng.integers(0, 4, size), rng.integers(0, 2, size)
    S_next = np.where(A == 0, (S + 1) % 4, np.where(rng.random(size) < 0.25, (S - 1) % 4, S))
    ones = np.ones(size, np.float32)
    tb = coax.reward_tracing.TransitionBatch(S, A, ones, (S - A).astype(np.float32), ones, S_next)
    table = lambda S, n: hk.Linear(2 * n, with_bias=False, w_init=jnp.zeros)(S).reshape(-1, 2, n)
    p = coax.StochasticTransitionModel(lambda S, is_training: {"logits": table(S, 4)}, env, random_seed=1)
    r = coax.RewardFunction(lambda S, is_training: table(S, 1)[..., 0], env, random_seed=1)
    states, rewards = ModelUpdater(p, optax.adam(0.2)), ModelUpdater(r, optax.adam(0.1), mse)

    def step():
        states.update(tb)
        rewards.update(tb)

    jax.block_until_ready(jax.tree.leaves(coax.scan(step, length=300, over=(states, rewards))))
    for s in range(4):
        np.testing.assert_allclose([r(s, a) for a in range(2)], [s, s - 1], atol=0.01)
        probs = [ref.softmax(np.asarray(p.dist_params(s, a)["logits"], float)) for a in range(2)]
        assert probs[0][(s + 1) % 4] > 0.99
        np.testing.assert_allclose(probs[1][[(s - 1) % 4, s]], [0.25, 0.75], atol=0.06)  # some 500 draws each


def test_inside_a_compiled_function():
    tb, one, other = batch(), KINDS["random states"](), KINDS["random states"]()
    eager, lifted = ModelUpdater(one, optax.adam(0.1)), ModelUpdater(other, optax.adam(0.1))
    update = coax.jit(lifted.update, over=lifted)
    for _ in range(3):
        np.testing.assert_allclose(list(eager.update(tb).values()), list(update(tb).values()), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ref.params_of(one)["w"], ref.params_of(other)["w"], rtol=1e-4, atol=1e-6)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_arguments_of_the_wrong_kind():
    with pytest.raises(TypeError, match="ModelUpdater: expected a transition model or a reward function, got Q"):
        ModelUpdater(coax.Q(reward_type2, ENV))
    with pytest.raises(TypeError, match="ModelUpdater: expected a transition model or a reward function, got NoneType"):
        ModelUpdater(None)
    model, law = KINDS["rewards"](), KINDS["random rewards"]()
    with pytest.raises(TypeError, match="expected no regularizer for a RewardFunction, which has no distribution"):
        ModelUpdater(model, regularizer=EntropyRegularizer(law))
    with pytest.raises(TypeError, match=r"ModelUpdater: expected a coax.regularizers.Regularizer, got float"):
        ModelUpdater(law, regularizer=0.1)
    with pytest.raises(ValueError, match="expected a regularizer of the model itself, got one of another"):
        ModelUpdater(law, regularizer=EntropyRegularizer(KINDS["random rewards"]()))
    with pytest.raises(TypeError, match="expected a loss function"):
        ModelUpdater(model, loss_function="mse")


def test_batches_that_do_not_fit():
    model, tb = KINDS["states"](), batch()
    updater, before = ModelUpdater(model, SGD), ref.params_of(model)["w"]
    with pytest.raises(ValueError, match=r"transition_batch.S_next"):
        updater.update(replace(tb, S_next=np.zeros((ref.B, 5), np.float32)))
    np.testing.assert_array_equal(ref.params_of(model)["w"], before)
    infinite = replace(tb, Rn=np.full(ref.B, np.inf, np.float32))
    with pytest.raises(RuntimeError, match=r"ModelUpdater.*'w'"):
        ModelUpdater(KINDS["rewards"](), SGD, mse).update(infinite, wait=True)


# --- samples ----------------------------------------------------------------------------------------------------------


def test_samples_are_as_wide_as_the_law():
    # the squared distance to a sample is that to the mean and the variance, 4 in each dimension
    def wide(S, is_training):
        mu = next_type2(S, is_training)
        return {"mu": mu, "logvar": jnp.full_like(mu, np.log(4))}

    model, tb = coax.StochasticTransitionModel(wide, ENV, random_seed=1), batch(W=np.ones(ref.B, np.float32))
    updater, w = ModelUpdater(model, optax.sgd(0.0), mse), ref.params_of(model)["w"]
    losses = np.array([float(updater.update(tb)["ModelUpdater/loss"]) for _ in range(400)])
    far = mean(tb, lambda s, a, r, s_next: np.mean((logit(s_next) - seen(model, s) @ w[:, a]) ** 2))
    np.testing.assert_allclose(losses.mean(), (far + 4) / 2, atol=4 * losses.std() / 20)


def test_samples_of_rewards_are_as_wide_as_the_law():
    # two bins with centres -2.5 and 2.5: with the difference d of two Gumbel variables, a logistic one, the relaxed
    # sample of temperature tau is 2.5 tanh(d / (2 tau))
    sides = jnp.array([0.0, -1e3, -1e3, -1e3, -1e3, 0.0])
    law = lambda S, is_training: {"logits": sides + 0 * reward_law(S, is_training)["logits"]}
    model = coax.StochasticRewardFunction(law, ENV, value_range=(-3, 3), num_bins=N_BINS, random_seed=1)
    tau = model.proba_dist.gumbel_softmax_tau
    square = scipy.stats.logistic.expect(lambda d: (2.5 * np.tanh(d / (2 * tau))) ** 2)
    tb = replace(batch(), Rn=np.full(ref.B, 0.5, np.float32), W=np.ones(ref.B, np.float32))
    updater = ModelUpdater(model, optax.sgd(0.0), mse)
    losses = np.array([float(updater.update(tb)["ModelUpdater/loss"]) for _ in range(400)])
    np.testing.assert_allclose(losses.mean(), (0.25 + square) / 2, atol=4 * losses.std() / 20)
    doubled = replace(tb, W=np.full(ref.B, 2, np.float32))
    more = np.array([float(updater.update(doubled)["ModelUpdater/loss"]) for _ in range(400)])
    np.testing.assert_allclose(more.mean(), 0.25 + square, atol=4 * more.std() / 20)


def too_low_is_worse(y_true, y_pred, w=None):
    """A loss whose arguments cannot be swapped."""
    each = jnp.exp(y_true - y_pred) - (y_true - y_pred) - 1
    return jnp.mean(each if w is None else (w * each.T).T)


@pytest.mark.parametrize("kind", ["states", "rewards", "random states", "random rewards"])
def test_the_loss_is_told_what_is_true(kind):
    linex = lambda e: np.exp(e) - e - 1
    funcs = {
        "states": (coax.TransitionModel, next_type2, {}),
        "rewards": (coax.RewardFunction, reward_type2, {}),
        "random states": (coax.StochasticTransitionModel, certain, {}),
        "random rewards": (
            coax.StochasticRewardFunction,
            lambda S, is_training: {
                "logits": 1e3 * jax.nn.one_hot(4, N_BINS) + 0 * reward_law(S, is_training)["logits"]
            },
            {"value_range": (-3, 3), "num_bins": N_BINS},
        ),
    }
    make, func, more = funcs[kind]
    model, tb = make(func, ENV, random_seed=1, **more), batch()
    w = ref.params_of(model)["w"]
    each = {
        "states": lambda s, a, r, s_next: np.mean(linex(logit(s_next) - seen(model, s) @ w[:, a])),
        "rewards": lambda s, a, r, s_next: linex(r - (s @ w)[a]),
        "random rewards": lambda s, a, r, s_next: linex(r - 1.5),
    }
    metrics = ModelUpdater(model, optax.sgd(0.0), too_low_is_worse).update(tb)
    np.testing.assert_allclose(
        metrics["ModelUpdater/loss"], mean(tb, each[kind.replace("random states", "states")]), rtol=1e-3
    )


# --- the object -------------------------------------------------------------------------------------------------------


def on_the_host(rng, X):
    assert not isinstance(X, jax.core.Tracer)
    return np.tanh(np.asarray(X))


@pytest.mark.gate
@pytest.mark.parametrize("kind", ["states", "random states", "rewards"])
def test_preprocessors_that_run_on_the_host(kind):
    make, func = {
        "states": (coax.TransitionModel, next_type2),
        "random states": (coax.StochasticTransitionModel, next_law),
        "rewards": (coax.RewardFunction, reward_type2),
    }[kind]
    tb, found = batch(), []
    tb = replace(tb, S_next=np.where(np.arange(ref.B)[:, None] < 2, tb.S, tb.S_next))
    tb = replace(tb, In=np.where(np.arange(ref.B) < 2, np.float32(0), tb.In))  # two rows without a next state
    for preprocessor in (on_the_host, lambda rng, X: jnp.tanh(X)):
        model = make(func, ENV, observation_preprocessor=preprocessor, random_seed=1)
        ModelUpdater(model, SGD).update(tb)
        found.append(ref.params_of(model)["w"])
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


def test_what_it_is_made_of():
    model = KINDS["random rewards"]()
    regularizer = EntropyRegularizer(model)
    updater = ModelUpdater(model, regularizer=regularizer)
    assert updater.model is model
    assert updater.regularizer is regularizer
    assert updater.children == (model, regularizer)
    assert ModelUpdater(KINDS["rewards"]()).loss_function is huber
    assert ModelUpdater(KINDS["rewards"]()).hyperparams == {}
    for name in ("model", "loss_function", "regularizer"):
        with pytest.raises(AttributeError, match=rf"ModelUpdater\.{name} is fixed at construction.*make a new updater"):
            setattr(updater, name, None)
    assert set(updater.update(batch())) == {
        f"ModelUpdater/{name}"
        for name in (
            *("loss", "loss_bare", "grads_max", "grads_norm"),
            *("EntropyRegularizer/beta", "EntropyRegularizer/entropy"),
        )
    }


def test_weights_may_be_clipped():
    tb, W = batch(), np.linspace(0, 20, ref.B).astype(np.float32)
    clipped = ModelUpdater(KINDS["rewards"](), SGD, clip_weights=(0.1, 10))
    by_hand = ModelUpdater(KINDS["rewards"](), SGD)
    assert_same_metrics = lambda a, b: np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-5)
    assert_same_metrics(clipped.update(replace(tb, W=W)), by_hand.update(replace(tb, W=np.clip(W, 0.1, 10))))


def test_it_goes_on_after_a_restart():
    model, tb = KINDS["random states"](), batch()
    updater = ModelUpdater(model, optax.adam(0.1), mse)  # it draws
    updater.update(tb)
    other = coax.utils.loads(coax.utils.dumps(updater))
    saved = coax.utils.loads(coax.utils.dumps((model.state, updater.state)))
    first = [float(updater.update(tb)["ModelUpdater/loss"]) for _ in range(3)]
    assert first == [float(other.update(tb)["ModelUpdater/loss"]) for _ in range(3)]
    model.state, updater.state = saved
    assert first == [float(updater.update(tb)["ModelUpdater/loss"]) for _ in range(3)]
    assert len(set(first)) == 3


def test_beta_takes_effect_at_once_and_compiles_nothing(request):
    model, tb = KINDS["random rewards"](), batch()
    regularizer = EntropyRegularizer(model, beta=1.0)
    updater = ModelUpdater(model, optax.sgd(0.0), regularizer=regularizer)
    updater.update(tb), updater.update(tb)
    w = ref.params_of(model)["w"]
    bonus = mean(tb, lambda s, a, r, s_next: scipy.stats.entropy(ref.softmax(s @ w[:, a])))
    with compilations() as found:
        for beta in (2.0, 0.0):
            regularizer.beta = beta
            metrics = updater.update(tb)
            term = metrics["ModelUpdater/loss"] - metrics["ModelUpdater/loss_bare"]
            np.testing.assert_allclose(term, -beta * bonus, rtol=1e-4)
    assert request.config.getoption("checking_leaks") or found == []
