"""Objectives that are values of actions: deterministic policy gradient, soft actor-critic."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.policy_objectives import DeterministicPG, SoftPG

from . import reference as ref
from .reference import replace

SGD = optax.sgd(1.0)


def policy(func=ref.categorical, env=ref.DISCRETE, seed=3, **kwargs):
    return coax.Policy(func, env, random_seed=seed, **kwargs)


def critics(*seeds, func=ref.q_type1, env=ref.DISCRETE, **kwargs):
    return [coax.Q(func, env, random_seed=seed, **kwargs) for seed in seeds]


def expectation(pi_params, q_tables, s, reduce):
    """``sum_a p(a) reduce_i q_i(s, a)``, for tables of all actions."""
    p = ref.softmax(s @ pi_params["w"])
    return sum(p[a] * reduce([q[a] for q in q_tables]) for a in range(ref.N))


# --- Discrete actions: the exact expectation --------------------------------------------------------------------------


@pytest.mark.parametrize("func", [ref.q_type1, ref.q_type2])
def test_the_expectation_over_discrete_actions(func):
    pi, (q,), tb = policy(), critics(1, func=func), ref.batch()
    w = ref.params_of(q)["w"]

    def objective(params):
        rows = ref.rows_of(tb)
        return ref.mean(tb, [expectation(params, [np.tanh(s @ w)], s, min) for s, _, _, _ in rows])

    for updater in (DeterministicPG(pi, q, SGD), SoftPG(pi, [q], SGD)):
        grads, _, metrics = updater.grads_and_metrics(tb)
        ref.assert_grads(grads, objective, ref.params_of(pi))
        name = type(updater).__name__
        np.testing.assert_allclose(metrics[f"{name}/loss"], -objective(ref.params_of(pi)), rtol=1e-5)
        np.testing.assert_allclose(metrics[f"{name}/loss_bare"], metrics[f"{name}/loss"])
        assert not updater.rule.core.uses_rng  # nothing is drawn


@pytest.mark.parametrize(("reduction", "reduce"), [("min", min), ("mean", np.mean)])
@pytest.mark.parametrize("as_list", [True, False])
def test_several_networks_over_discrete_actions(reduction, reduce, as_list):
    pi, qs, tb = policy(), critics(1, 2, 4), ref.batch()
    ensemble = coax.Ensemble(qs[0], members=3, random_seed=0)
    ensemble.params = jax.tree.map(lambda *xs: jnp.stack(xs), *(q.params for q in qs))
    tables = [ref.params_of(q)["w"] for q in qs]

    def objective(params):
        rows = ref.rows_of(tb)
        return ref.mean(tb, [expectation(params, [np.tanh(s @ w) for w in tables], s, reduce) for s, _, _, _ in rows])

    updaters = [SoftPG(pi, qs if as_list else ensemble, SGD, reduction=reduction)]
    if not as_list:
        updaters.append(DeterministicPG(pi, ensemble, SGD, reduction=reduction))
        updaters.append(SoftPG(pi, [ensemble], SGD, reduction=reduction))
    for updater in updaters:
        ref.assert_grads(updater.grads_and_metrics(tb)[0], objective, ref.params_of(pi))


def test_what_has_probability_0_does_not_matter():
    def known(S, is_training):
        w = hk.get_parameter("w", (), init=jnp.ones)
        return w * jnp.array([[1.0, 2.0, jnp.inf, jnp.nan]]) + 0 * S[:, :1]

    def excluding(S, is_training):
        logits = hk.get_parameter("logits", (ref.N,), init=jnp.zeros)
        return {"logits": jnp.where(jnp.array([True, True, False, False]), logits, -jnp.inf) + 0 * S[:, :1]}

    pi, (q,) = policy(excluding), critics(1, func=known)
    grads, _, metrics = DeterministicPG(pi, q, SGD).grads_and_metrics(ref.batch(W=np.ones(ref.B, np.float32)))
    np.testing.assert_allclose(metrics["DeterministicPG/loss"], -1.5)
    # d/dl_1 of p_0 + 2 p_1 is p_1 (2 - 1.5) = 0.25
    np.testing.assert_allclose(grads["~"]["logits"], [0.25, -0.25, 0, 0], atol=1e-7)


@pytest.mark.gate
@pytest.mark.parametrize("value_range", [(-3, 3), None], ids=["bins", "quantiles"])
def test_the_expectation_of_a_law(value_range):
    def values(S, is_training):
        table = hk.get_parameter("w", (ref.OBS, ref.N, 5), init=hk.initializers.RandomNormal(0.7))
        x = jnp.einsum("bs,sak->bak", S, table)
        if value_range:
            return {"logits": x}
        return {"values": x, "quantile_fractions": jnp.broadcast_to((jnp.arange(5) + 0.5) / 5, x.shape)}

    pi, tb = policy(), ref.batch()
    q = coax.StochasticQ(values, ref.DISCRETE, value_range=value_range, num_bins=5, random_seed=1)
    w, atoms = ref.params_of(q)["w"], np.array([-2.4, -1.2, 0, 1.2, 2.4])

    def value(s, a):
        row = s @ w[:, a]
        return ref.softmax(row) @ atoms if value_range else np.mean(row)

    def objective(params):
        rows = ref.rows_of(tb)
        tables = [[value(s, a) for a in range(ref.N)] for s, _, _, _ in rows]
        pairs = zip(rows, tables, strict=True)
        return ref.mean(tb, [expectation(params, [table], s, min) for (s, _, _, _), table in pairs])

    ref.assert_grads(DeterministicPG(pi, q, SGD).grads_and_metrics(tb)[0], objective, ref.params_of(pi))


# --- a Box: the gradient gets through the action ----------------------------------------------------------------------


def box_objective(tb, q_params, reduce=min):
    def objective(params):
        rows = ref.rows_of(tb)
        return ref.mean(tb, [reduce([ref.q_of_box(q, s, ref.mode(params, s)) for q in q_params]) for s, *_ in rows])

    return objective


def test_the_gradient_gets_through_the_action():
    pi, (q,), tb = policy(ref.gaussian, ref.BOX), critics(1, func=ref.q_box, env=ref.BOX), ref.batch(discrete=False)
    objective = box_objective(tb, [ref.params_of(q)])
    grads, _, metrics = DeterministicPG(pi, q, SGD).grads_and_metrics(tb)
    ref.assert_grads(grads, objective, ref.params_of(pi))
    np.testing.assert_allclose(metrics["DeterministicPG/loss"], -objective(ref.params_of(pi)), rtol=1e-5)
    np.testing.assert_array_equal(grads["~"]["logvar"], 0)


@pytest.mark.gate
@pytest.mark.parametrize(("reduction", "reduce"), [("min", min), ("mean", np.mean)])
def test_a_sample_without_noise_is_the_mode(reduction, reduce):
    pi, qs, tb = policy(ref.narrow, ref.BOX), critics(1, 2, func=ref.q_box, env=ref.BOX), ref.batch(discrete=False)
    objective = box_objective(tb, [ref.params_of(q) for q in qs], reduce)
    grads = SoftPG(pi, qs, SGD, reduction=reduction).grads_and_metrics(tb)[0]
    ref.assert_grads(grads, objective, ref.params_of(pi), atol=1e-4)
    ensemble = coax.Ensemble(qs[0], members=2, random_seed=0)
    ensemble.params = jax.tree.map(lambda *xs: jnp.stack(xs), *(q.params for q in qs))
    for updater in (
        SoftPG(pi, ensemble, SGD, reduction=reduction),
        DeterministicPG(pi, ensemble, SGD, reduction=reduction),
    ):
        ref.assert_grads(updater.grads_and_metrics(tb)[0], objective, ref.params_of(pi), atol=1e-4)


def one_box(low=-1.0, high=1.0):
    spaces = ref.gymnasium.spaces
    return type(
        "Env", (), {"observation_space": spaces.Box(-10, 10, (ref.OBS,)), "action_space": spaces.Box(low, high, (1,))}
    )


def known_normal(S, is_training):
    """Mean 0.5 and variance e^-1 in logit space."""
    parameter = lambda name, x: (
        jnp.zeros((S.shape[0], 1)) + hk.get_parameter(name, (), init=hk.initializers.Constant(x))
    )
    return {"mu": parameter("mu", 0.5), "logvar": parameter("logvar", -1.0)}


def origin(n):
    """A batch of n rows, all of zeros."""
    zeros, zero_states = np.zeros(n, np.float32), np.zeros((n, ref.OBS), np.float32)
    return coax.reward_tracing.TransitionBatch(zero_states, np.zeros((n, 1), np.float32), *(zeros,) * 3, zero_states)


def test_a_sample_is_reparametrised():
    # q sees z in logit space, and is z^2, whose expectation is mu^2 + e^logvar: slopes 2 mu = 1 and e^-1
    pi, n = policy(known_normal, one_box()), 100_000
    square = lambda S, A, is_training: jnp.sum(A**2, axis=-1) * hk.get_parameter("one", (), init=jnp.ones)
    q = coax.Q(square, one_box(), action_preprocessor=pi.proba_dist.preprocess_variate, random_seed=1)
    tb = origin(n)
    grads, _, metrics = SoftPG(pi, [q], SGD).grads_and_metrics(tb)
    # 1 % is some 3 standard deviations
    np.testing.assert_allclose(-grads["~"]["mu"], 1.0, rtol=0.013)
    np.testing.assert_allclose(-grads["~"]["logvar"], np.exp(-1), rtol=0.015)
    np.testing.assert_allclose(metrics["SoftPG/loss"], -(0.25 + np.exp(-1)), rtol=0.01)
    # without noise: only mu^2
    grads, _, metrics = DeterministicPG(pi, q, SGD).grads_and_metrics(tb)
    np.testing.assert_allclose(metrics["DeterministicPG/loss"], -0.25, rtol=1e-5)
    np.testing.assert_allclose(-grads["~"]["mu"], 1.0, rtol=1e-5)


def test_rows_are_sampled_independently_and_anew():
    pi = policy(known_normal, one_box())
    itself = lambda S, A, is_training: A[:, 0] * hk.get_parameter("one", (), init=jnp.ones)
    q = coax.Q(itself, one_box(), action_preprocessor=pi.proba_dist.preprocess_variate, random_seed=1)
    n = 4000
    tb = origin(n)
    updater = SoftPG(pi, [q], optax.sgd(0.0))
    losses = np.array([float(updater.update(tb)["SoftPG/loss"]) for _ in range(30)])
    # the mean of n independent samples has deviation e^-0.5 / sqrt(n); one of the 30 is four away once in 500 runs
    deviation = np.exp(-0.5) / np.sqrt(n)
    assert abs(losses + 0.5).max() < 4 * deviation
    assert 0.6 * deviation < losses.std() < 1.5 * deviation


@pytest.mark.gate
@pytest.mark.parametrize("discrete", [True, False])
def test_a_random_subset(discrete):
    def scaled(S, A, is_training):
        return hk.get_parameter("c", (), init=jnp.ones) + 0 * jnp.sum(A, axis=-1)

    func, env = (ref.categorical, ref.DISCRETE) if discrete else (ref.narrow, ref.BOX)
    pi, (q,) = policy(func, env), critics(1, func=scaled, env=env)
    ensemble = coax.Ensemble(q, members=3, random_seed=0)
    ensemble.params = {"~": {"c": jnp.array([1.0, 2.0, 4.0])}}
    tb = ref.batch(discrete=discrete, W=np.ones(ref.B, np.float32))
    # mean of two of the three: 1.5, 2.5 or 3; the lower one: 1 two times out of three, else 2
    for make, reduction, share in [
        (SoftPG, "mean", {-1.5: 1 / 3, -2.5: 1 / 3, -3.0: 1 / 3}),
        (SoftPG, "min", {-1.0: 2 / 3, -2.0: 1 / 3}),
        (DeterministicPG, "mean", {-1.5: 1 / 3, -2.5: 1 / 3, -3.0: 1 / 3}),
    ]:
        updater = make(pi, ensemble, optax.sgd(0.0), reduction=reduction, subset=2)
        found = [round(float(updater.update(tb)[f"{make.__name__}/loss"]), 5) for _ in range(90)]
        assert set(found) == set(share)
        for value, p in share.items():
            assert abs(found.count(value) / 90 - p) < 0.2  # four deviations


# --- what takes part --------------------------------------------------------------------------------------------------


def test_the_critic_is_read_as_it_is_and_stays():
    pi, (q,), tb = policy(), critics(1), ref.batch()
    updater = DeterministicPG(pi, q, optax.sgd(0.1))
    before = ref.params_of(q)["w"]
    first = float(updater.update(tb)["DeterministicPG/loss"])
    np.testing.assert_array_equal(ref.params_of(q)["w"], before)
    q.params = jax.tree.map(jnp.zeros_like, q.params)
    assert abs(first) > 0.01
    assert float(updater.update(tb)["DeterministicPG/loss"]) == 0
    assert updater.q_targ is q
    assert SoftPG(pi, [q]).q_targ_list == (q,)


@pytest.mark.parametrize("make", [lambda pi, q: DeterministicPG(pi, q, SGD), lambda pi, q: SoftPG(pi, [q], SGD)])
def test_rows_of_weight_0_count_for_nothing(make):
    pi, (q,), tb = policy(ref.narrow, ref.BOX), critics(1, func=ref.q_box, env=ref.BOX), ref.batch(discrete=False)
    dead = np.arange(ref.B) % 3 == 1
    few = coax.reward_tracing.TransitionBatch(
        **{name: getattr(tb, name)[~dead] for name in ("S", "A", "logP", "Rn", "In", "S_next", "W", "idx")}
    )
    spoilt = replace(tb, S=np.where(dead[:, None], np.float32(np.nan), tb.S), W=np.where(dead, np.float32(0), tb.W))
    updater = make(pi, q)
    expected, _, expected_metrics = updater.grads_and_metrics(few)
    got, _, metrics = updater.grads_and_metrics(spoilt)
    np.testing.assert_allclose(got["~"]["mu"], expected["~"]["mu"], atol=1e-4)  # a sample differs a little
    np.testing.assert_allclose(list(metrics.values()), list(expected_metrics.values()), rtol=1e-3)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_arguments_of_the_wrong_kind():
    pi, (q,) = policy(), critics(1)
    with pytest.raises(TypeError, match="DeterministicPG: expected q_targ to be a Q, got list"):
        DeterministicPG(pi, [q])
    with pytest.raises(TypeError, match="DeterministicPG: expected q_targ to be a Q, got Policy"):
        DeterministicPG(pi, pi)
    with pytest.raises(TypeError, match="SoftPG: expected q_targ_list to be a list, got Q"):
        SoftPG(pi, q)
    with pytest.raises(ValueError, match="SoftPG: expected q_targ_list to hold something, got an empty list"):
        SoftPG(pi, [])
    with pytest.raises(TypeError, match="got a Policy in it"):
        SoftPG(pi, [q, pi])
    with pytest.raises(TypeError, match=r"expected pi to be a coax.Policy, got EpsilonGreedy"):
        SoftPG(coax.EpsilonGreedy(q), [q])
    with pytest.raises(ValueError, match="SoftPG: expected q_targ_list to have the action_space of what learns"):
        SoftPG(pi, critics(1, func=ref.q_box, env=ref.BOX))
    with pytest.raises(ValueError, match="reduction: expected 'min' or 'mean', got 'max'"):
        SoftPG(pi, [q], reduction="max")
    for subset in (0, 2, True, 1.0):
        with pytest.raises(ValueError, match="subset: expected an int from 1 to 1"):
            DeterministicPG(pi, q, subset=subset)


def test_actions_without_a_gradient():
    spaces = ref.gymnasium.spaces
    env = type(
        "Env", (), {"observation_space": ref.BOX.observation_space, "action_space": spaces.MultiDiscrete([2, 3])}
    )
    pi = coax.Policy(lambda S, is_training: (_logits(S, 2), _logits(S, 3)), env)
    q = coax.Q(lambda S, A, is_training: hk.Linear(1)(S)[:, 0], env)
    with pytest.raises(TypeError, match=r"DeterministicPG: expected actions that are Discrete, or made of Boxes"):
        DeterministicPG(pi, q)
    pi = policy(ref.gaussian, ref.BOX)
    on_host = lambda rng, A: np.asarray(A, np.float32).reshape(len(A), -1)
    (q,) = critics(1, func=ref.q_box, env=ref.BOX, action_preprocessor=on_host)
    with pytest.raises(TypeError, match=r"SoftPG: expected the action_preprocessor of q_targ_list .* jax can trace"):
        SoftPG(pi, [q])


def _logits(S, n):
    return {"logits": hk.Linear(n)(S)}


def test_actions_in_a_dict():
    spaces = ref.gymnasium.spaces
    env = type("Env", (), {"observation_space": ref.BOX.observation_space})
    env.action_space = spaces.Dict({"arm": spaces.Box(-1, 1, (1,)), "leg": spaces.Box(0, 4, (2,))})
    flat = lambda S, n, name: {"mu": S @ hk.get_parameter(name, (ref.OBS, n), init=hk.initializers.RandomNormal(0.5))}
    narrow = lambda out: {**out, "logvar": jnp.full_like(out["mu"], -40.0)}
    pi = coax.Policy(
        lambda S, is_training: {"arm": narrow(flat(S, 1, "arm")), "leg": narrow(flat(S, 2, "leg"))}, env, random_seed=1
    )
    one = lambda: hk.get_parameter("one", (), init=jnp.ones)
    q = coax.Q(
        lambda S, A, is_training: one() * jnp.sin(A["arm"][:, 0]) * jnp.sum(A["leg"], axis=-1), env, random_seed=1
    )
    tb = ref.batch(discrete=False)
    tb = replace(tb, A={"arm": tb.A[:, :1] * 0, "leg": tb.A * 0})
    sigmoid = lambda z: 1 / (1 + np.exp(-z))

    def objective(params):
        rows = ref.rows_of(replace(tb, A=np.zeros(ref.B)))
        each = [
            np.sin(2 * sigmoid(s @ params["arm"])[0] - 1) * (4 * sigmoid(s @ params["leg"])).sum() for s, *_ in rows
        ]
        return ref.mean(replace(tb, A=np.zeros(ref.B)), each)

    for updater in (DeterministicPG(pi, q, SGD), SoftPG(pi, [q], SGD)):
        ref.assert_grads(updater.grads_and_metrics(tb)[0], objective, ref.params_of(pi), atol=1e-4)
