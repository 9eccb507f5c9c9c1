"""TD learning with a policy that says the next action, with several target networks, and with ensembles."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.reward_tracing import TransitionBatch
from coax.td_learning import (
    ClippedDoubleQLearning,
    QLearning,
    SimpleTD,
    SoftClippedDoubleQLearning,
    TruncatedQuantileLearning,
    truncated_quantiles,
)
from coax.value_losses import mse

from . import distributions as ds
from . import reference as ref

SGD = optax.sgd(1.0)
LOW, HIGH = -2.0, 6.0
B = 5


def gaussian(S, is_training):
    mu = hk.Linear(2, w_init=hk.initializers.RandomNormal(0.7), name="mu")(S)
    return {"mu": mu, "logvar": jnp.full_like(mu, -3.0)}


def q_box(S, A, is_training):
    return jnp.tanh(jnp.einsum("bs,s->b", S, ref._weights(ref.OBS))) + jnp.sum(jnp.tanh(0.3 * A), axis=1)


def value_by_hand(q, s, a):
    return np.tanh(s @ ref.weights_of(q)) + np.tanh(0.3 * a).sum()


def mode_by_hand(pi, s):
    layer = pi.params["mu"]
    z = s @ np.array(layer["w"], float) + np.array(layer["b"], float)
    return LOW + (HIGH - LOW) / (1 + np.exp(-z))


def box_batch(seed=0, **fields):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return TransitionBatch(
        **{
            "S": normal(B, ref.OBS),
            "A": rng.uniform(LOW, HIGH, (B, 2)).astype(np.float32),
            "logP": np.zeros(B, np.float32),
            "Rn": 2 * normal(B),
            "In": np.float32([0.9, 0, 0.81, 0.9, 0.9]),
            "S_next": normal(B, ref.OBS),
            **fields,
        }
    )


def errors_of(q, tb, v_next):
    """Target minus prediction: what td_error is for the squared loss."""
    y = [value_by_hand(q, s, a) for s, a in zip(tb.S.astype(float), tb.A.astype(float), strict=True)]
    return tb.Rn + np.where(tb.In == 0, 0, tb.In * np.array(v_next)) - y


def functions(*seeds):
    return [coax.Q(q_box, ds.BOX_ENV, random_seed=seed) for seed in seeds]


def policies(*seeds):
    return [coax.Policy(gaussian, ds.BOX_ENV, random_seed=seed) for seed in seeds]


# --- a policy that says the next action -------------------------------------------------------------------------------


def test_the_mode_of_the_policy_is_the_next_action():
    (q, q_targ), (pi,), tb = functions(1, 2), policies(3), box_batch()
    v_next = [value_by_hand(q_targ, s, mode_by_hand(pi, s)) for s in tb.S_next.astype(float)]
    error = QLearning(q, pi, q_targ, loss_function=mse).td_error(tb)
    np.testing.assert_allclose(error, errors_of(q, tb, v_next), atol=1e-5)


def test_the_policy_speaks_the_language_of_q():
    # preprocessed with the policy's own preprocess_variate, q sees logits z, also where the action is on the bound
    (pi,) = policies(3)
    pi.params = jax.tree.map(lambda x: 3 * x, pi.params)
    func = lambda S, A, is_training: jnp.sum(A, axis=1) * hk.get_parameter("one", (), init=jnp.ones)
    q = coax.Q(func, ds.BOX_ENV, action_preprocessor=pi.proba_dist.preprocess_variate)
    tb = box_batch(Rn=np.zeros(B, np.float32), In=np.ones(B, np.float32), S_next=np.full((B, ref.OBS), 9, np.float32))
    layer = pi.params["mu"]
    z = tb.S_next @ np.array(layer["w"]) + np.array(layer["b"])
    assert abs(z).max() > 20  # an action that float32 cannot tell from the bound
    logit = np.log((tb.A - LOW) / (HIGH - tb.A))
    error = QLearning(q, pi, loss_function=mse).td_error(tb)
    np.testing.assert_allclose(error, z.sum(axis=1) - logit.sum(axis=1), rtol=1e-4)


def test_the_lowest_of_all_pairs():
    (q, *targs), pis, tb = functions(1, 2, 4), policies(3, 5), box_batch()
    v_next = [
        min(value_by_hand(targ, s, mode_by_hand(pi, s)) for targ in targs for pi in pis)
        for s in tb.S_next.astype(float)
    ]
    error = ClippedDoubleQLearning(q, pis, targs, loss_function=mse).td_error(tb)
    np.testing.assert_allclose(error, errors_of(q, tb, v_next), atol=1e-5)
    v_next = [
        np.mean([value_by_hand(targ, s, mode_by_hand(pi, s)) for targ in targs for pi in pis])
        for s in tb.S_next.astype(float)
    ]
    error = ClippedDoubleQLearning(q, pis, targs, loss_function=mse, reduction="mean").td_error(tb)
    np.testing.assert_allclose(error, errors_of(q, tb, v_next), atol=1e-5)


def test_discrete_actions_select_and_evaluate_in_all_pairs():
    q, *targs = (coax.Q(ref.type1, ref.ENV, random_seed=seed) for seed in (1, 2, 3))
    tb = ref.batch(seed=1)
    v_next = []
    for s in tb.S_next.astype(float):
        tables = [np.tanh(s @ ref.weights_of(targ)) for targ in targs]
        v_next.append(min(evaluate[np.argmax(select)] for select in tables for evaluate in tables))
    expected = ref.update(ref.weights_of(q), tb, np.array(v_next), "huber")
    updater = ClippedDoubleQLearning(q, q_targ_list=targs, optimizer=optax.sgd(0.1))
    np.testing.assert_allclose(updater.update(tb, return_td_error=True)[1], expected["td_error"], atol=1e-5)
    np.testing.assert_allclose(ref.weights_of(q), expected["w"], atol=1e-5)


# --- randomness -------------------------------------------------------------------------------------------------------


def identity_q():
    """A q-function whose value is the sum of the actions, so that an error shows the next action."""
    func = lambda S, A, is_training: jnp.sum(A, axis=1) * hk.get_parameter("one", (), init=jnp.ones)
    return coax.Q(func, ds.BOX_ENV, random_seed=1)


def next_actions(updater, n=400):
    """Sums of next actions, f64[n * B], where S_next is zero: of one law."""
    zeros = np.zeros((B, ref.OBS), np.float32)
    tb = box_batch(Rn=np.zeros(B, np.float32), In=np.ones(B, np.float32), S_next=zeros, A=np.zeros((B, 2), np.float32))
    found = []
    for _ in range(n):
        found.append(np.asarray(updater.update(tb, return_td_error=True)[1]))
    return np.concatenate(found)


def test_policies_draw_their_actions_independently():
    # The mean over two equal policies: its standard deviation is that of one policy over the square root of 2. Of 2000
    # draws a deviation is known to 1 / sqrt(4000), less than 2 %.
    q, (pi,) = identity_q(), policies(3)
    deviations = []
    for pis in ([pi], [pi, pi.copy()]):
        updater = SoftClippedDoubleQLearning(
            q, pis, [q, q.copy()], optimizer=optax.sgd(0.0), loss_function=mse, reduction="mean"
        )
        deviations.append(next_actions(updater).std())
    assert deviations[1] / deviations[0] == pytest.approx(2**-0.5, rel=0.08)


def test_target_noise():
    # The mode at zero is the middle, 2, of a Box of half width 4. Noise of deviation 0.2 * 4 = 0.8 on each of the two
    # entries, cut off at 0.5 * 4 = 2, which is 2.5 deviations.
    q, (pi,) = identity_q(), policies(3)
    pi.params = jax.tree.map(jnp.zeros_like, pi.params)
    still = optax.sgd(0.0)
    args = q, [pi], [q, q.copy()]
    updater = ClippedDoubleQLearning(*args, optimizer=still, loss_function=mse, target_noise=0.2)
    sums = next_actions(updater)
    z = np.random.default_rng(0).normal(size=10**6).clip(-2.5, 2.5)
    np.testing.assert_allclose(sums.mean(), 4.0, atol=0.08)
    np.testing.assert_allclose(sums.std(), 0.8 * z.std() * np.sqrt(2), rtol=0.05)
    updater.target_noise_clip = 0.05  # 0.2 on each entry, in the units of the Box
    assert abs(next_actions(updater, 20) - 4).max() <= 0.4 + 1e-5
    updater.target_noise = 0.0
    np.testing.assert_allclose(next_actions(updater, 3), 4.0, atol=1e-5)
    updater.target_noise, updater.target_noise_clip = 50.0, 50.0
    wild = next_actions(updater, 20)
    assert (wild.min(), wild.max()) == (2 * LOW, 2 * HIGH)  # on the bounds, not beyond


def test_a_soft_target_samples_the_next_action():
    # logits of the action are normal with mean 0 and deviation exp(-3/2): the action is 2 + 8 (sigmoid(z) - 1/2)
    q, (pi,) = identity_q(), policies(3)
    pi.params = jax.tree.map(jnp.zeros_like, pi.params)
    updater = SoftClippedDoubleQLearning(q, [pi], [q, q.copy()], optimizer=optax.sgd(0.0), loss_function=mse)
    sums = next_actions(updater)
    z = np.exp(-1.5) * np.random.default_rng(0).normal(size=10**6)
    np.testing.assert_allclose(sums.mean(), 4.0, atol=0.05)
    np.testing.assert_allclose(sums.std(), np.sqrt(2) * (8 / (1 + np.exp(-z))).std(), rtol=0.05)


def test_a_random_subset_of_the_networks():
    # Values 0, 1, 2 of three networks: the lowest of a random pair is 0 with probability 2/3, else 1.
    func = lambda S, A, is_training: jnp.full(S.shape[:1], 1.0) * hk.get_parameter("c", (), init=jnp.zeros)
    q, *targs = (coax.Q(func, ds.BOX_ENV, random_seed=i) for i in range(4))
    for value, targ in enumerate(targs):
        targ.params = {"~": {"c": jnp.float32(value)}}
    tb = box_batch(Rn=np.zeros(B, np.float32), In=np.ones(B, np.float32))
    updater = ClippedDoubleQLearning(q, policies(3), targs, optimizer=optax.sgd(0.0), loss_function=mse, subset=2)
    found = [float(updater.update(tb, return_td_error=True)[1][0]) for _ in range(600)]
    assert set(found) == {0.0, 1.0}
    np.testing.assert_allclose(np.mean(found), 1 / 3, atol=0.06)


# --- truncated quantiles ----------------------------------------------------------------------------------------------


def test_truncated_quantiles_by_hand():
    np.testing.assert_array_equal(truncated_quantiles(np.float32([[5, 1, 4, 2, 3]]), 2), [[1, 2, 3]])
    np.testing.assert_array_equal(truncated_quantiles(np.float32([3, 1, 2]), 0), [1, 2, 3])
    with pytest.raises(ValueError, match="drop: expected a number of quantiles from 0 to 2, got 3"):
        truncated_quantiles(np.float32([3, 1, 2]), 3)


def test_truncated_quantile_learning():
    kind = "quantiles"
    q, *targs = (ds.q_of(kind, seed) for seed in (1, 2, 3))
    table = lambda q: np.array(q.params["~"]["w"], float)
    tb, w = ref.batch(seed=2), np.array(q.params["~"]["w"], float)
    laws = []
    for s, rn, in_ in zip(tb.S_next.astype(float), tb.Rn, tb.In, strict=True):
        rows = [s @ table(targ).transpose(1, 0, 2) for targ in targs]  # [A, K] each
        # every network selects, every network is asked: four rows of K quantiles, of which 4 * 2 of the highest go
        pool = np.concatenate([b[np.argmax(a.mean(axis=1))] for a in rows for b in rows])
        kept = np.sort(pool)[: len(pool) - 4 * 2]
        laws.append(ds.backed_up([(x, 1 / len(kept)) for x in kept], rn, in_))

    def loss(w):
        rows = [ds.loss_of(kind, law, s @ w[:, a]) for law, s, a in zip(laws, tb.S.astype(float), tb.A, strict=True)]
        return np.mean(rows)

    metrics = TruncatedQuantileLearning(q, None, targs, optimizer=SGD, drop=2).update(tb)
    np.testing.assert_allclose(metrics["TruncatedQuantileLearning/loss"], loss(w), rtol=1e-5)
    np.testing.assert_allclose(table(q), w - ds.gradient(loss, w), atol=2e-5)


# --- ensembles --------------------------------------------------------------------------------------------------------


@pytest.mark.gate
@pytest.mark.parametrize("kind", ["scalar", "bins", "quantiles"])
def test_an_ensemble_is_a_list(kind):
    # each member learns what it would learn alone, towards the same target
    single = coax.Q(ref.type2, ref.ENV, random_seed=0) if kind == "scalar" else ds.q_of(kind, 0)
    qs, targs = coax.Ensemble(single, 3, random_seed=1), coax.Ensemble(single, 2, random_seed=2)
    tb = ref.batch(seed=3, W=np.float32([1, 0.3, 2, 0, 1, 0.1, 5]))
    alone = [qs[i] for i in range(3)]
    many = ClippedDoubleQLearning(qs, q_targ_list=targs, optimizer=optax.adam(0.1))
    losses, errors = [], []
    for q in alone:
        one = ClippedDoubleQLearning(q, q_targ_list=[targs[0], targs[1]], optimizer=optax.adam(0.1))
        metrics, error = one.update(tb, return_td_error=True)
        losses.append(metrics["ClippedDoubleQLearning/loss"])
        errors.append(error)
    metrics, error = many.update(tb, return_td_error=True)
    for i, q in enumerate(alone):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), qs[i].params, q.params)
    np.testing.assert_allclose(metrics["ClippedDoubleQLearning/loss"], sum(losses), rtol=1e-5)
    np.testing.assert_allclose(error, np.mean(errors, axis=0), atol=1e-5)


# --- the clipped value loss of PPO ------------------------------------------------------------------------------------


def test_the_change_of_values_is_clipped():
    # v = w, old values 0, clip 0.2, squared loss / 2, targets 1. Rows: v = 0.5 is beyond the clip and away from the old
    # value towards the target: clipped 0.2, losses 0.125 and 0.32: the larger one has no slope. v = -0.5: clipped to
    # -0.2, losses 1.125 and 0.72: the larger one is the plain one.
    func = lambda S, is_training: S[:, 0] * hk.get_parameter("w", (), init=jnp.ones)
    v = coax.V(func, ref.ENV)
    S = np.zeros((2, ref.OBS), np.float32)
    S[:, 0] = 0.5, -0.5
    zeros = np.zeros(2, np.float32)
    tb = TransitionBatch(S, zeros.astype(int), zeros, np.ones(2, np.float32), zeros, S, extra_info={"V": zeros})
    updater = SimpleTD(v, loss_function=mse, optimizer=SGD, clip_change=0.2)
    metrics = updater.update(tb)
    np.testing.assert_allclose(metrics["SimpleTD/loss"], (0.32 + 1.125) / 2, rtol=1e-6)
    # slope by w: row 2 alone: (v - 1) dv/dw / 2 = -1.5 * -0.5 / 2 = 0.375
    np.testing.assert_allclose(v.params["~"]["w"], 1 - 0.375, rtol=1e-6)
    updater.clip_change = 10.0
    v.params = {"~": {"w": jnp.float32(1)}}
    np.testing.assert_allclose(updater.update(tb)["SimpleTD/loss"], (0.125 + 1.125) / 2, rtol=1e-6)
    updater.clip_change = 0.2
    v.params = {"~": {"w": jnp.float32(1)}}
    tb.W = np.array([3.0, 0.5], np.float32)
    np.testing.assert_allclose(updater.update(tb)["SimpleTD/loss"], (3 * 0.32 + 0.5 * 1.125) / 2, rtol=1e-6)
    tb.extra_info = None
    with pytest.raises(ValueError, match=r"expected extra_info\['V'\], the value of each transition"):
        updater.update(tb)
    with pytest.raises(AttributeError, match="SimpleTD was made without clip_change"):
        SimpleTD(v).clip_change  # noqa: B018


def test_the_change_of_transformed_values_is_clipped():
    # f(v) = 2 v. The output is f(v) = 0.5, the old value 0.2 gives 0.4, so that 0.45 is as near as it may go; the
    # target is f(0.5) = 1. Losses 0.125 and 0.55^2 / 2 = 0.15125.
    func = lambda S, is_training: hk.get_parameter("w", (), init=hk.initializers.Constant(0.5)) + 0 * S[:, 0]
    v = coax.V(func, ref.ENV, value_transform=(lambda x: 2 * x, lambda x: x / 2))
    zeros, S = np.zeros(1, np.float32), np.zeros((1, ref.OBS), np.float32)
    old = {"V": np.array([0.2], np.float32)}
    tb = TransitionBatch(S, zeros.astype(int), zeros, np.array([0.5], np.float32), zeros, S, extra_info=old)
    updater = SimpleTD(v, loss_function=mse, optimizer=SGD, clip_change=0.05)
    np.testing.assert_allclose(updater.update(tb)["SimpleTD/loss"], 0.15125, rtol=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------------

Q, V, Q_BOX, PI = coax.Q(ref.type2, ref.ENV), coax.V(ref.state_value, ref.ENV), *functions(1), *policies(1)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: ClippedDoubleQLearning(Q), TypeError, "expected q_targ_list to be a list, got NoneType"),
        (lambda: ClippedDoubleQLearning(Q, q_targ_list=[]), ValueError, "got an empty list"),
        (lambda: ClippedDoubleQLearning(Q, q_targ_list=[Q, V]), TypeError, "got a V in it"),
        (lambda: ClippedDoubleQLearning(Q, q_targ_list=[Q]), ValueError, "at least 2 values to choose from, got 1"),
        (lambda: ClippedDoubleQLearning(V, q_targ_list=[Q, Q]), TypeError, "expected q to be a Q, got V"),
        (lambda: ClippedDoubleQLearning(Q_BOX, None, [Q_BOX] * 2), TypeError, "expected pi_targ_list to be a list"),
        (lambda: ClippedDoubleQLearning(Q_BOX, [], [Q_BOX] * 2), ValueError, "expected pi_targ_list to hold something"),
        (lambda: ClippedDoubleQLearning(Q_BOX, [Q_BOX], [Q_BOX] * 2), TypeError, "got a Q in it"),
        (lambda: ClippedDoubleQLearning(Q_BOX, [PI], [Q_BOX]), ValueError, "got 1 q-functions and 1 policies"),
        (lambda: ClippedDoubleQLearning(Q, None, [Q, Q], reduction="max"), ValueError, "expected 'min' or 'mean'"),
        (lambda: ClippedDoubleQLearning(Q, None, [Q, Q], subset=3), ValueError, "subset: expected an int from 1 to 2"),
        (
            lambda: ClippedDoubleQLearning(Q_BOX, [PI], [Q_BOX] * 2, target_noise=-1.0),
            ValueError,
            "ClippedDoubleQLearning.target_noise: expected a number in [0, inf), got -1.0",
        ),
        (
            lambda: TruncatedQuantileLearning(Q, None, [Q, Q]),
            TypeError,
            "expected q to have quantiles as output, got Q",
        ),
        (
            lambda: TruncatedQuantileLearning(ds.q_of("quantiles", 1), None, [ds.q_of("quantiles", 1)], drop=6),
            ValueError,
            "expected drop to be an int from 0 to 5, got 6",
        ),
        (lambda: coax.Ensemble(V), TypeError, "Ensemble: expected a coax.Q or coax.StochasticQ, got V"),
        (lambda: coax.Ensemble(Q, 0), ValueError, "members: expected a positive int, got 0"),
        (lambda: coax.Ensemble(Q, 2)[2], IndexError, "Ensemble: expected an index below 2, got 2"),
    ],
)
def test_wrong_arguments(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)


def test_policies_for_discrete_actions_are_not_used():
    pi = coax.Policy(lambda S, is_training: {"logits": hk.Linear(ref.N)(S)}, ref.ENV)
    with pytest.warns(UserWarning, match="pi_targ_list is not used for Discrete actions"):
        ClippedDoubleQLearning(Q, [pi], [Q, Q])


# --- laws and noise that do not fit -----------------------------------------------------------------------------------


def laws(n):
    def func(S, is_training):
        values = hk.Linear(ref.N * n)(S).reshape(-1, ref.N, n)
        return {"values": values, "quantile_fractions": jnp.broadcast_to((jnp.arange(n) + 0.5) / n, values.shape)}

    return coax.StochasticQ(func, ref.ENV, num_bins=n, random_seed=n)


def test_laws_of_other_sizes_are_refused():
    bins = ds.q_of("bins", 1)
    with pytest.raises(TypeError, match=r"expected q_targ_list to have 5 quantiles each, as q has, got Discretized"):
        TruncatedQuantileLearning(laws(5), None, [bins])
    with pytest.raises(TypeError, match=r"expected q_targ_list to have 7 quantiles each"):
        TruncatedQuantileLearning(laws(7), None, [laws(5)], drop=6)
    with pytest.raises(
        ValueError, match=r"expected all of q_targ_list to have as many bins or quantiles, got \[5, 7\]"
    ):
        ClippedDoubleQLearning(laws(5), None, [laws(5), laws(7)])
    with pytest.raises(TypeError, match="ClippedDoubleQLearning: expected q_targ_list to have the kind of output"):
        ClippedDoubleQLearning(laws(5), None, [coax.Q(ref.type2, ref.ENV), coax.Q(ref.type2, ref.ENV)])
    with pytest.raises(ValueError, match="drop"):
        TruncatedQuantileLearning(laws(5), None, [laws(5)], drop=True)


def test_noise_that_has_no_place():
    qs, (pi,) = functions(1, 2), policies(3)
    for make in (ClippedDoubleQLearning, SoftClippedDoubleQLearning):
        with pytest.raises(AttributeError, match="was made without target_noise"):
            make(qs[0], [pi], qs).target_noise = 0.5
    table = [coax.Q(ref.type2, ref.ENV, random_seed=i) for i in (1, 2)]
    with pytest.raises(TypeError, match="expected a Box of floats with bounds for target_noise, got Discrete"):
        ClippedDoubleQLearning(table[0], None, table, target_noise=0.2)
    assert ClippedDoubleQLearning(qs[0], [pi], qs).q_targ is qs[0]  # as scripts know it


def test_numpy_integers_count():
    ensemble = coax.Ensemble(coax.Q(ref.type2, ref.ENV, random_seed=1), np.int64(3), random_seed=1)
    assert len(ensemble) == 3
    ClippedDoubleQLearning(ensemble, None, ensemble.copy(), subset=np.int64(2))
    with pytest.raises(TypeError, match="expected an int as index"):
        ensemble[:1]


# --- what is added to a law, and what counts for nothing in it --------------------------------------------------------


def atoms_at(*values):
    """Quantiles that are the same everywhere, for every action; of some actions they may be others."""

    def func(S, is_training):
        one = hk.get_parameter("one", (), init=jnp.ones)
        x = jnp.broadcast_to(one * jnp.array(values), (S.shape[0], ref.N, 2))
        return {"values": x, "quantile_fractions": jnp.broadcast_to(jnp.array([0.25, 0.75]), x.shape)}

    return coax.StochasticQ(func, ref.ENV, num_bins=2, random_seed=1)


def test_a_bonus_moves_a_law_upwards():
    # all actions are equally likely, so that the entropy is log 4; the law has the mean 2 before and after
    q, tb = atoms_at(1.0, 3.0), ref.batch(In=np.full(ref.B, 0.5, np.float32), Rn=np.zeros(ref.B, np.float32))
    pi = coax.Policy(lambda S, is_training: {"logits": hk.Linear(ref.N, w_init=jnp.zeros)(S)}, ref.ENV)
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=2.0)
    error = QLearning(q, loss_function=mse, policy_regularizer=entropy).td_error(tb)
    np.testing.assert_allclose(error, 0.5 * (2 + 2 * np.log(4)) - 2, rtol=1e-5)


def test_a_law_of_probability_0_may_be_anything():
    # the last action is never taken, and its values are infinite
    values = [[1.0, 3.0]] * (ref.N - 1) + [[np.inf, np.inf]]
    excluding = lambda S, is_training: {"logits": hk.Linear(ref.N, w_init=jnp.zeros)(S).at[:, -1].set(-jnp.inf)}
    pi, q_targ, q = coax.Policy(excluding, ref.ENV), atoms_at(*values), atoms_at(1.0, 3.0)
    tb = ref.batch(In=np.full(ref.B, 0.5, np.float32), Rn=np.zeros(ref.B, np.float32))
    updater = coax.td_learning.ExpectedSarsa(q, pi, q_targ, loss_function=mse)
    np.testing.assert_allclose(updater.td_error(tb), 0.5 * 2 - 2, rtol=1e-5)
    updater.update(tb, wait=True)


def test_noisy_actions_stay_in_the_box():
    # The mode is within 1e-6 of the upper bound, and the noise goes up as often as down. By default q clips as well, so
    # here it has a preprocessor that does not.
    func = lambda S, A, is_training: jnp.sum(A, axis=1) * hk.get_parameter("one", (), init=jnp.ones)
    q = coax.Q(func, ds.BOX_ENV, action_preprocessor=lambda rng, A: jnp.asarray(A, jnp.float32), random_seed=1)
    (pi,) = policies(3)
    pi.params = {"mu": {"w": jnp.zeros_like(pi.params["mu"]["w"]), "b": jnp.full((2,), 16.0)}}
    tb = box_batch(Rn=np.zeros(B, np.float32), In=np.ones(B, np.float32))
    tb = ref.rows_of(tb, np.arange(100) % B)
    updater = ClippedDoubleQLearning(q, [pi], [q, q.copy()], loss_function=mse, target_noise=0.5)
    sums = np.asarray(updater.td_error(tb)) + tb.A.sum(axis=1)
    assert sums.max() <= 2 * HIGH + 1e-4
    assert sums.min() < 2 * HIGH - 0.1
