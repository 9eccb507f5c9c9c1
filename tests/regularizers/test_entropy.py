"""Bonuses for entropy, and prices for leaving a prior: values, masks, weights, and their place in targets."""

import math
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
from coax.regularizers import EntropyRegularizer, KLDivRegularizer
from coax.td_learning import QLearning, SimpleTD
from coax.value_losses import mse
from tests.compilations import compilations

from ..policy_objectives import reference as ref
from ..policy_objectives.reference import replace

SGD = optax.sgd(0.0)
P, LOGITS = [0.5, 0.25, 0.25], {"logits": jnp.log(jnp.array([[0.5, 0.25, 0.25]]))}
H = 1.5 * math.log(2)  # 1/2 log 2 + 2 * 1/4 log 4
THREE = types.SimpleNamespace(observation_space=ref.DISCRETE.observation_space, action_space=spaces.Discrete(3))


def three():
    return coax.Policy(lambda S, is_training: {"logits": hk.Linear(3)(S)}, THREE, random_seed=1)


def policy(discrete=True, seed=3):
    func, env = (ref.categorical, ref.DISCRETE) if discrete else (ref.gaussian, ref.BOX)
    return coax.Policy(func, env, random_seed=seed)


def batch_eval(regularizer, tb):
    pi = regularizer.f
    return regularizer.batch_eval(pi.params, regularizer.hyperparams, pi.function_state, jax.random.key(0), tb)


# --- values -----------------------------------------------------------------------------------------------------------


def test_entropy_by_hand():
    regularizer = EntropyRegularizer(three(), beta=0.2)
    np.testing.assert_allclose(regularizer.function(LOGITS, 0.2), [-0.2 * H], rtol=1e-6)
    metrics = regularizer.metrics_func(LOGITS, 0.2)
    assert metrics["EntropyRegularizer/beta"] == 0.2
    np.testing.assert_allclose(metrics["EntropyRegularizer/entropy"], H, rtol=1e-6)
    assert EntropyRegularizer(three()).beta == pytest.approx(0.001)


def test_kl_divergence_by_hand():
    # from the uniform law: log 3 - H
    regularizer = KLDivRegularizer(three(), beta=0.2)
    uniform = regularizer.hyperparams["priors"]
    np.testing.assert_allclose(regularizer.function(LOGITS, 0.2, uniform), [0.2 * (math.log(3) - H)], rtol=1e-5)
    metrics = regularizer.metrics_func(LOGITS, 0.2, uniform)
    np.testing.assert_allclose(metrics["KLDivRegularizer/kl_div"], math.log(3) - H, rtol=1e-5)
    # from another one, and not the other way around
    prior = [0.25, 0.5, 0.25]
    regularizer = KLDivRegularizer(three(), beta=1.0, priors={"logits": np.log(prior)})
    want = scipy.stats.entropy(P, prior)
    np.testing.assert_allclose(regularizer.function(LOGITS, **regularizer.hyperparams), [want], rtol=1e-5)
    skew = [0.1, 0.2, 0.7]
    regularizer.priors = {"logits": np.log([skew])}
    want, reverse = scipy.stats.entropy(P, skew), scipy.stats.entropy(skew, P)
    assert abs(want - reverse) > 0.05
    np.testing.assert_allclose(regularizer.function(LOGITS, **regularizer.hyperparams), [want], rtol=1e-5)


def test_numbers_of_a_box():
    pi = policy(discrete=False)
    dist_params = {"mu": jnp.array([[1.0, -2.0]]), "logvar": jnp.log(jnp.array([[4.0, 0.25]]))}
    entropy = scipy.stats.norm(scale=[2, 0.5]).entropy().sum()
    np.testing.assert_allclose(EntropyRegularizer(pi).function(dist_params, 3.0), [-3 * entropy], rtol=1e-5)
    # KL of a normal law from the standard one: (variance + mu^2 - 1 - log variance) / 2
    want = (4 + 1 - 1 - math.log(4)) / 2 + (0.25 + 4 - 1 - math.log(0.25)) / 2
    regularizer = KLDivRegularizer(pi, beta=2.0)
    np.testing.assert_allclose(regularizer.function(dist_params, **regularizer.hyperparams), [2 * want], rtol=1e-5)


@pytest.mark.parametrize("discrete", [True, False])
def test_at_the_states_of_a_batch(discrete):
    pi, tb = policy(discrete), ref.batch(discrete=discrete)
    entropies = [ref.entropy(ref.params_of(pi), s) for s in tb.S.astype(float)]
    values, metrics = batch_eval(EntropyRegularizer(pi, beta=0.3), tb)
    np.testing.assert_allclose(values, -0.3 * np.array(entropies), rtol=1e-5)
    np.testing.assert_allclose(metrics["EntropyRegularizer/entropy"], np.mean(entropies), rtol=1e-5)
    if discrete:
        values, _ = batch_eval(KLDivRegularizer(pi, beta=0.3), tb)
        np.testing.assert_allclose(values, 0.3 * (math.log(ref.N) - np.array(entropies)), rtol=1e-4)


def test_masked_actions_are_not_part_of_it():
    env = types.SimpleNamespace(
        observation_space=spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "legal": spaces.MultiBinary(4)}),
        action_space=spaces.Discrete(4),
        action_mask=coax.ActionMask("legal"),
    )
    pi = coax.Policy(lambda S, is_training: {"logits": hk.Linear(4, w_init=jnp.zeros)(S["x"])}, env, random_seed=1)
    S = {"x": np.zeros((2, 2), np.float32), "legal": np.int8([[1, 1, 1, 1], [0, 1, 1, 0]])}
    zeros = np.zeros(2, np.float32)
    tb = coax.reward_tracing.TransitionBatch(S, np.array([1, 1]), zeros, zeros, zeros, S)
    values, metrics = batch_eval(EntropyRegularizer(pi, beta=1.0), tb)
    np.testing.assert_allclose(values, [-math.log(4), -math.log(2)], rtol=1e-6)
    np.testing.assert_allclose(metrics["EntropyRegularizer/entropy"], 1.5 * math.log(2), rtol=1e-6)
    soft = coax.BoltzmannPolicy(coax.Q(lambda S, is_training: hk.Linear(4, w_init=jnp.zeros)(S["x"]), env))
    values, _ = batch_eval(EntropyRegularizer(soft, beta=1.0), tb)
    np.testing.assert_allclose(values, [-math.log(4), -math.log(2)], rtol=1e-6)
    # what is excluded costs nothing: the divergence of two halves from four quarters is log 2
    values, _ = batch_eval(KLDivRegularizer(pi, beta=1.0), tb)
    np.testing.assert_allclose(values, [0, math.log(2)], atol=1e-6)


# --- in a target ------------------------------------------------------------------------------------------------------


def state_value(S, is_training):
    return S @ hk.get_parameter("w", (ref.OBS,), init=hk.initializers.RandomNormal(0.7))


def flowing(tb, seed=1, **fields):
    """The batch with rewards, next states, and a termination in row 2."""
    rng = np.random.default_rng(seed)
    In = np.full(ref.B, 0.9, np.float32)
    In[2] = 0
    Rn = rng.normal(size=ref.B).astype(np.float32)
    return replace(tb, Rn=Rn, In=In, S_next=rng.normal(size=(ref.B, ref.OBS)).astype(np.float32), **fields)


@pytest.mark.parametrize("make", [EntropyRegularizer, KLDivRegularizer])
def test_a_target_has_the_term_of_the_state_it_bootstraps_from(make):
    pi, v, tb = policy(), coax.V(state_value, ref.DISCRETE, random_seed=2), flowing(ref.batch())
    w, params = ref.params_of(v)["w"], ref.params_of(pi)
    entropies = np.array([ref.entropy(params, s) for s in tb.S_next.astype(float)])
    bonus = entropies if make is EntropyRegularizer else entropies - math.log(ref.N)
    want = tb.Rn + tb.In * (tb.S_next @ w + 0.3 * bonus) - tb.S @ w
    updater = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=make(pi, beta=0.3))
    np.testing.assert_allclose(updater.td_error(tb), want, atol=1e-5)


def test_only_what_is_bootstrapped_from_is_reported():
    pi, v, tb = policy(), coax.V(state_value, ref.DISCRETE, random_seed=2), flowing(ref.batch())
    dead = np.arange(ref.B) % 2 == 1
    tb = replace(tb, S_next=np.where(dead[:, None], np.float32(np.nan), tb.S_next), W=np.where(dead, 0, tb.W))
    counts = ~dead & (tb.In != 0)
    assert counts.sum() < (~dead).sum() < ref.B
    entropies = [ref.entropy(ref.params_of(pi), s) for s in tb.S_next[counts].astype(float)]
    metrics = SimpleTD(v, optimizer=SGD, policy_regularizer=EntropyRegularizer(pi)).update(tb)
    np.testing.assert_allclose(metrics["SimpleTD/EntropyRegularizer/entropy"], np.mean(entropies), rtol=1e-5)
    metrics = SimpleTD(v, optimizer=SGD, policy_regularizer=KLDivRegularizer(pi)).update(tb)
    want = math.log(ref.N) - np.mean(entropies)
    np.testing.assert_allclose(metrics["SimpleTD/KLDivRegularizer/kl_div"], want, rtol=1e-4)


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_take_effect_at_once_and_compile_nothing(request):
    pi, v, tb = policy(), coax.V(state_value, ref.DISCRETE, random_seed=2), flowing(ref.batch())
    regularizer = KLDivRegularizer(pi, beta=0.5)
    updater = SimpleTD(v, optimizer=SGD, policy_regularizer=regularizer)
    plain = np.asarray(SimpleTD(v, optimizer=SGD, loss_function=mse).td_error(tb))
    judge = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=regularizer)
    errors = lambda: np.asarray(judge.td_error(tb))
    first = errors()
    updater.update(tb), updater.update(tb)
    with compilations() as found:
        regularizer.beta = 1.0
        regularizer.priors = jax.tree.map(jnp.zeros_like, regularizer.priors)
        updater.update(tb)
        second = errors()
    np.testing.assert_allclose(second - plain, 2 * (first - plain), atol=1e-5)
    if not request.config.getoption("checking_leaks"):
        assert found == []
    assert float(updater.update(tb)["SimpleTD/KLDivRegularizer/beta"]) == 1.0
    # half of the mass on the first action
    prior = np.log([0.5, *[0.5 / (ref.N - 1)] * (ref.N - 1)])
    regularizer.priors = {"logits": prior[None]}
    params = ref.params_of(pi)
    kl = [scipy.stats.entropy(ref.softmax(s @ params["w"]), np.exp(prior)) for s in tb.S_next.astype(float)]
    np.testing.assert_allclose(errors() - plain, -tb.In * np.array(kl), atol=1e-5)


def test_priors_that_do_not_fit():
    pi = three()
    with pytest.raises(ValueError, match="priors: expected the structure"):
        KLDivRegularizer(pi, priors=[0.1, 0.2])
    with pytest.raises(ValueError, match=r"priors\['logits'\]: expected numbers of shape \(1, 3\), got shape \(2,\)"):
        KLDivRegularizer(pi, priors={"logits": np.zeros(2)})
    with pytest.raises(ValueError, match="got NaN"):
        KLDivRegularizer(pi, priors={"logits": np.array([0, np.nan, 0])})
    given = np.zeros(3)
    regularizer = KLDivRegularizer(pi, priors={"logits": given})
    given += 1  # the caller's array stays the caller's
    np.testing.assert_array_equal(regularizer.priors["logits"], np.zeros((1, 3)))


def test_arguments_of_the_wrong_kind():
    q = coax.Q(ref.q_type2, ref.DISCRETE, random_seed=1)
    for make in (EntropyRegularizer, KLDivRegularizer):
        with pytest.raises(
            TypeError, match=rf"{make.__name__}: expected a function with distribution parameters, got Q"
        ):
            make(q)
        with pytest.raises(TypeError, match="beta: expected a number"):
            make(three(), beta="much")
    with pytest.raises(AttributeError, match="is learned, so it cannot be set"):
        EntropyRegularizer(three(), beta=coax.regularizers.LearnedTemperature(three())).beta = 1.0


def test_value_based_policies():
    q = coax.Q(ref.q_type2, ref.DISCRETE, random_seed=1)
    pi, tb = coax.BoltzmannPolicy(q, temperature=0.5), flowing(ref.batch())
    w = ref.params_of(q)["w"]
    tables = [np.tanh(s @ w) for s in tb.S_next.astype(float)]
    bonus = np.array([scipy.stats.entropy(ref.softmax(row / 0.5)) for row in tables])
    want = tb.Rn + tb.In * (np.max(tables, axis=1) + 0.3 * bonus)
    want -= np.tanh(tb.S @ w)[np.arange(ref.B), tb.A]
    updater = QLearning(q, optimizer=SGD, loss_function=mse, policy_regularizer=EntropyRegularizer(pi, beta=0.3))
    np.testing.assert_allclose(updater.td_error(tb), want, atol=1e-5)


def test_priors_in_the_right_dtype_are_kept_apart_too():
    given = np.zeros((1, 3), np.float32)
    regularizer = KLDivRegularizer(three(), priors={"logits": given})
    given += 1
    np.testing.assert_array_equal(regularizer.priors["logits"], np.zeros((1, 3)))


def test_a_batch_without_a_row_that_counts():
    pi, v, tb = policy(), coax.V(state_value, ref.DISCRETE, random_seed=2), flowing(ref.batch())
    updater = SimpleTD(v, optimizer=SGD, policy_regularizer=EntropyRegularizer(pi))
    entropies = [ref.entropy(ref.params_of(pi), s) for s in tb.S_next.astype(float)]
    metrics = updater.update(replace(tb, In=np.zeros(ref.B, np.float32)))  # there is only what lies beyond the end
    np.testing.assert_allclose(metrics["SimpleTD/EntropyRegularizer/entropy"], np.mean(entropies), rtol=1e-5)
    spoilt = replace(tb, S_next=np.full_like(tb.S_next, np.nan), W=np.zeros(ref.B, np.float32))
    assert np.isfinite(list(updater.update(spoilt, wait=True).values())).all()


# --- functions of state and action ------------------------------------------------------------------------------------


def test_a_function_of_state_and_action():
    env = ref.DISCRETE
    law = lambda S, A, is_training: {"logits": 2 * A[:, :3] * hk.get_parameter("one", (), init=jnp.ones)}
    model = coax.StochasticRewardFunction(law, env, value_range=(0, 1), num_bins=3, random_seed=1)
    regularizer = EntropyRegularizer(model, beta=0.5)
    # one of three logits is 2, or none is, where the action is the fourth
    known = [scipy.stats.entropy(ref.softmax(np.array([2.0, 0.0, 0.0])))] * 3 + [math.log(3)]
    tb = flowing(ref.batch(), A_next=np.arange(ref.B) % 4, logP_next=np.zeros(ref.B, np.float32))
    assert not np.array_equal(tb.A, tb.A_next)
    values, _ = batch_eval(regularizer, tb)
    np.testing.assert_allclose(values, [-0.5 * known[a] for a in tb.A], rtol=1e-5)
    q = coax.Q(ref.q_type2, env, random_seed=1)
    plain = coax.td_learning.Sarsa(q, loss_function=mse).td_error(tb)
    with_bonus = coax.td_learning.Sarsa(q, loss_function=mse, policy_regularizer=regularizer).td_error(tb)
    want = tb.In * [0.5 * known[a] for a in tb.A_next]
    np.testing.assert_allclose(np.asarray(with_bonus) - np.asarray(plain), want, atol=1e-5)
    v = coax.V(state_value, env, random_seed=2)
    with pytest.raises(
        TypeError,
        match=r"EntropyRegularizer: expected a function of the state, .* got a StochasticReward.*Fix: pass a p",
    ):
        SimpleTD(v, policy_regularizer=regularizer).update(tb)
