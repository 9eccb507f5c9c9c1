"""TD learning of distributions, beside NumPy: the target as a law, the loss row by row, the gradient numerically."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.td_learning import (
    ClippedDoubleQLearning,
    DoubleQLearning,
    ExpectedSarsa,
    QLearning,
    Sarsa,
    SimpleTD,
    SoftClippedDoubleQLearning,
    SoftQLearning,
)
from coax.value_losses import mse

from . import distributions as ds
from . import reference as ref

KINDS = ("bins", "quantiles")
SGD = optax.sgd(1.0)


def table(function):
    return np.array(function.params["~"]["w"], float)


def values(kind, s, w, f_inv=lambda y: y):
    """Expectations of all actions, in the original space."""
    return np.array([ds.mean(ds.law_of(kind, s @ w[:, a], f_inv)) for a in range(w.shape[1])])


def next_law(name, kind, s, a_next, w, w_targ, number=None):
    """What is bootstrapped from in a row."""
    law = lambda w, a: ds.law_of(kind, s @ w[:, a])
    q, q_targ = values(kind, s, w), values(kind, s, w_targ)
    if name == "Sarsa":
        return law(w_targ, a_next)
    if name == "ExpectedSarsa":
        p = np.full(ref.N, number / ref.N)
        p[np.argmax(q)] += 1 - number
        return [(x, p[a] * mass) for a in range(ref.N) for x, mass in law(w_targ, a)]
    if name == "QLearning":
        return law(w_targ, np.argmax(q_targ))
    if name == "DoubleQLearning":
        return law(w, np.argmax(q_targ))
    if name == "DoubleQLearning/q":
        return law(w_targ, np.argmax(q))
    pairs = [law(w, np.argmax(q)), law(w_targ, np.argmax(q)), law(w, np.argmax(q_targ)), law(w_targ, np.argmax(q_targ))]
    if name == "mean":
        return [(x, p / 4) for pair in pairs for x, p in pair]
    assert name == "min"
    return min(pairs, key=ds.mean)


MAKE = {
    "Sarsa": lambda q, q_targ, **k: Sarsa(q, q_targ, **k),
    "ExpectedSarsa": lambda q, q_targ, **k: ExpectedSarsa(q, coax.EpsilonGreedy(q, epsilon=0.3), q_targ, **k),
    "QLearning": lambda q, q_targ, **k: QLearning(q, None, q_targ, **k),
    "DoubleQLearning": lambda q, q_targ, **k: DoubleQLearning(q, None, q_targ, **k),
    "DoubleQLearning/q": lambda q, q_targ, **k: DoubleQLearning(q, None, q_targ, select_with="q", **k),
    "min": lambda q, q_targ, **k: ClippedDoubleQLearning(q, None, [q, q_targ], **k),
    "mean": lambda q, q_targ, **k: SoftClippedDoubleQLearning(q, None, [q, q_targ], reduction="mean", **k),
}


def expected_step(kind, w, tb, laws):
    """Parameters after a step of rate 1, loss, and the differences of the expectations, clipped as Huber's slope."""
    size = np.sum(tb.W != 0)

    def loss(w):
        rows = [ds.loss_of(kind, law, s @ w[:, a]) for law, s, a in zip(laws, tb.S.astype(float), tb.A, strict=True)]
        return np.dot(tb.W, rows) / size

    ys = [ds.mean(ds.law_of(kind, s @ w[:, a])) for s, a in zip(tb.S.astype(float), tb.A, strict=True)]
    errors = np.array([ds.mean(law) for law in laws]) - ys
    return w - ds.gradient(loss, w), loss(w), np.clip(errors, -1, 1) * (tb.W != 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MAKE)
def test_one_update(name, kind):
    q, q_targ = ds.q_of(kind, 1), ds.q_of(kind, 2)
    w, w_targ = table(q), table(q_targ)
    tb = ref.batch(seed=3, W=np.float32([1, 0.3, 2, 0, 1, 0.1, 5]))
    laws = [
        ds.backed_up(next_law(name, kind, s, a, w, w_targ, 0.3), rn, in_)
        for s, a, rn, in_ in zip(tb.S_next.astype(float), tb.A_next, tb.Rn, tb.In, strict=True)
    ]
    after, loss, errors = expected_step(kind, w, tb, laws)
    updater = MAKE[name](q, q_targ, optimizer=SGD)
    metrics, td_error = updater.update(tb, return_td_error=True)
    np.testing.assert_allclose(table(q), after, atol=2e-5)
    np.testing.assert_allclose(metrics[f"{type(updater).__name__}/loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(td_error, errors, atol=2e-5)


def test_state_values():
    kind = "bins"
    v = coax.StochasticV(ds.state(kind), ref.ENV, ds.RANGE, ds.K, random_seed=1)
    v_targ = coax.StochasticV(ds.state(kind), ref.ENV, ds.RANGE, ds.K, random_seed=2)
    w, tb = table(v), ref.batch(seed=4)
    tb.A = np.zeros(ref.B, int)
    laws = [
        ds.backed_up(ds.law_of(kind, s @ table(v_targ)[:, 0]), rn, in_)
        for s, rn, in_ in zip(tb.S_next.astype(float), tb.Rn, tb.In, strict=True)
    ]
    after, loss, _ = expected_step(kind, w, tb, laws)
    metrics = SimpleTD(v, v_targ, optimizer=SGD).update(tb)
    np.testing.assert_allclose(table(v), after, atol=2e-5)
    np.testing.assert_allclose(metrics["SimpleTD/loss"], loss, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_transform(kind):
    # f of the backed-up value, on the law in the transformed space; atoms are transformed values
    transform = coax.value_transforms.LogTransform(2.0)
    low, high = (float(ref.exp_transform(x)) for x in ds.RANGE)
    kwargs = {"value_range": (low, high)} if kind == "bins" else {}
    q, q_targ = (ds.q_of(kind, seed, value_transform=transform, **kwargs) for seed in (1, 2))
    w, w_targ, tb = table(q), table(q_targ), ref.batch(seed=5)
    laws = []
    for s, rn, in_ in zip(tb.S_next.astype(float), tb.Rn, tb.In, strict=True):
        a = np.argmax(values(kind, s, w_targ, ref.exp_transform))  # expectations in the original space
        law = ds.backed_up(ds.law_of(kind, s @ w_targ[:, a], ref.exp_transform), rn, in_)
        laws.append([(ref.log_transform(x), p) for x, p in law])
    after, loss, errors = expected_step(kind, w, tb, laws)
    metrics, td_error = QLearning(q, None, q_targ, optimizer=SGD).update(tb, return_td_error=True)
    np.testing.assert_allclose(table(q), after, atol=5e-5)
    np.testing.assert_allclose(metrics["QLearning/loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(td_error, errors, atol=5e-5)


def test_bins_by_hand():
    # All logits 0 but the first of the target's, which is so large that its law is the atom -2.5. Rn = 1.2, In = 1: the
    # target is -1.3, a part 0.8 on -1.5 and 0.2 on -0.5. The prediction is uniform: the loss is log 6.
    q, q_targ = ds.q_of("bins", 1), ds.q_of("bins", 2)
    q.params = jax.tree.map(jnp.zeros_like, q.params)
    sharp = np.zeros((ref.OBS, ref.N, ds.K), np.float32)
    sharp[0, :, 0] = 1000.0
    q_targ.params = {"~": {"w": jnp.asarray(sharp)}}
    one = np.float32([[1, 0, 0]])
    tb = ref.batch(size=1, S=one, S_next=one, A=np.array([2]), Rn=np.float32([1.2]), In=np.float32([1.0]))
    metrics = QLearning(q, None, q_targ, optimizer=SGD).update(tb)
    np.testing.assert_allclose(metrics["QLearning/loss"], np.log(6), rtol=1e-6)
    # minus the gradient by the logits is target minus prediction, of the action that was taken and of the state's entry
    expected = np.zeros((ref.OBS, ref.N, ds.K))
    expected[0, 2] = np.array([0, 0.8, 0.2, 0, 0, 0]) - 1 / 6
    np.testing.assert_allclose(table(q), expected, atol=1e-6)


def test_weights_of_rows():
    # a row of weight 0 may hold anything
    q, other = ds.q_of("quantiles", 1), ds.q_of("quantiles", 1)
    tb = ref.batch(seed=6, W=np.float32([1, 1, 1, 0, 1, 1, 1]))
    dirty = ref.batch(seed=6, W=tb.W)
    dirty.Rn, dirty.S_next = dirty.Rn.copy(), dirty.S_next.copy()
    dirty.Rn[3], dirty.S_next[3] = np.nan, np.inf
    QLearning(q, optimizer=SGD).update(tb)
    QLearning(other, optimizer=SGD).update(dirty)
    np.testing.assert_array_equal(table(q), table(other))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_function_says_what_the_td_error_is(kind):
    # of the squared loss it is the difference of the expectations, not clipped
    q, tb = ds.q_of(kind, 1), ref.batch(seed=7, Rn=np.full(ref.B, 9, np.float32), In=np.zeros(ref.B, np.float32))
    y = [ds.mean(ds.law_of(kind, s @ table(q)[:, a])) for s, a in zip(tb.S.astype(float), tb.A, strict=True)]
    np.testing.assert_allclose(QLearning(q, loss_function=mse).td_error(tb), 9 - np.array(y), rtol=1e-5)


def test_a_target_of_another_kind_is_refused():
    q, scalar = ds.q_of("bins", 1), coax.Q(ref.type2, ref.ENV)
    for main, targ, got in ((q, scalar, "Q"), (scalar, q, "StochasticQ")):
        with pytest.raises(
            TypeError, match=rf"expected q_targ to have the kind of output of what learns .* got {got}\."
        ):
            QLearning(main, q_targ=targ)
    with pytest.raises(NotImplementedError, match="laws have no soft maximum"):
        SoftQLearning(q)
