from collections import Counter

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from coax.proba_dists import EmpiricalQuantileDist
from coax.value_transforms import LogTransform

from .laws import assert_law

DIST = EmpiricalQuantileDist(5)
FEW = hnp.arrays(np.float32, (3, 5), elements=st.integers(-2, 2).map(float))  # many equal values


def params(values):
    values = np.asarray(values, np.float32)
    return {
        "values": values,
        "quantile_fractions": np.broadcast_to(np.float32([0.1, 0.3, 0.5, 0.7, 0.9]), values.shape),
    }


A = params([[1, 2, 2, 5, 5], [3, 3, 3, 3, 3], [1, 2, 3, 4, 9]])
B = params([[1, 1, 2, 2, 5], [3, 3, 3, 3, 0], [1, 2, 3, 4, 8]])


def law(row):
    """Values and their probabilities, counted in Python."""
    counts = Counter(map(float, row))
    return {x: n / len(row) for x, n in counts.items()}


def test_by_hand():
    # row 0: p = {1: 1/5, 2: 2/5, 5: 2/5}, q = {1: 2/5, 2: 2/5, 5: 1/5}
    # H = 1/5 log 5 + 4/5 log 5/2 ; CE = 3/5 log 5/2 + 2/5 log 5 ; KL = 1/5 log 1/2 + 2/5 log 2 = 1/5 log 2
    # row 1: p = {3: 1}, q = {3: 4/5, 0: 1/5}: H = 0, CE = KL = log 5/4 ; row 2: 9 is none of q's values
    log = np.log
    h = [0.2 * log(5) + 0.8 * log(2.5), 0, log(5)]
    np.testing.assert_allclose(DIST.entropy(A), h, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(DIST.cross_entropy(A, B), [0.6 * log(2.5) + 0.4 * log(5), log(1.25), np.inf], rtol=1e-6)
    np.testing.assert_allclose(DIST.kl_divergence(A, B), [0.2 * log(2), log(1.25), np.inf], rtol=1e-6)
    np.testing.assert_allclose(DIST.mean(A), [3, 3, 3.8], rtol=1e-6)
    np.testing.assert_allclose(DIST.expectation(A, jnp.square), [59 / 5, 9, 111 / 5], rtol=1e-6)
    np.testing.assert_allclose(DIST.log_proba(A, [2.0, 0.0, 9.0]), [log(0.4), -np.inf, log(0.2)], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([1, 2, 2, 5, 5], 2),  # 2 and 5 are equally frequent, 2 is the median
        ([5, 1, 5, 2, 1], 1),  # the median is 2: 1 is nearer than 5
        ([1, 2, 3, 4, 9], 3),  # all equally frequent: the median
        ([9, 0, 0, 0, 9], 0),
        ([0, 0, 2, 4, 4], 0),  # 0 and 4 are equally near to 2: the lower one
        ([4, 0, 2, 4, 0], 0),  # in whatever order
        ([7, 7, 7, 1, 2], 7),
    ],
)
def test_mode(values, want):
    assert DIST.mode(params(values)) == want
    np.testing.assert_array_equal(DIST.mode(params([values, [1, 1, 2, 2, 2]])), [want, 2])


def test_mode_of_an_even_number():
    dist = EmpiricalQuantileDist(4)  # the median of 4, 1, 3, 2 is 2.5; 2 and 3 are equally near
    assert dist.mode({"values": np.float32([4, 1, 3, 2]), "quantile_fractions": np.ones(4)}) == 2


@jax.jit
def everything(a, b, x):
    return {
        "entropy": DIST.entropy(a),
        "kl_divergence": DIST.kl_divergence(a, b),
        "cross_entropy": DIST.cross_entropy(a, b),
        "log_proba": DIST.log_proba(a, x),
        "mode": DIST.mode(a),
    }


@settings(max_examples=50)
@given(FEW, FEW)
def test_against_scipy(p, q):
    a, b, x = params(p), params(q), p[:, 0]
    got = everything(a, b, x)
    for i in range(3):
        P, Q = law(p[i]), law(q[i])
        support = sorted(P.keys() | Q.keys())
        pk, qk = ([probs.get(x, 0.0) for x in support] for probs in (P, Q))
        entropy, relative = scipy.stats.entropy(pk), scipy.stats.entropy(pk, qk)
        np.testing.assert_allclose(got["entropy"][i], entropy, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["kl_divergence"][i], relative, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["cross_entropy"][i], entropy + relative, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["log_proba"][i], np.log(P[float(p[i, 0])]), rtol=1e-5, atol=1e-6)
        best = [x for x in P if P[x] == max(P.values())]
        middle = sorted(p[i])[2]
        assert got["mode"][i] == min(best, key=lambda x: (abs(x - middle), x))


def test_the_law_of_samples():
    many = jax.tree.map(lambda x: np.broadcast_to(x[0], (20000, 5)), A)
    X = np.asarray(DIST.sample(many, jax.random.key(0)))
    assert set(X.tolist()) == {1, 2, 5}
    assert_law([np.sum(x == X) for x in (1, 2, 5)], [0.2, 0.4, 0.4])
    np.testing.assert_array_equal(DIST.sample_element(many, jax.random.key(0)), X)
    again, logp = DIST.sample_and_log_proba(many, jax.random.key(0))
    np.testing.assert_array_equal(again, X)
    np.testing.assert_allclose(logp, np.where(X == 1, np.log(0.2), np.log(0.4)), rtol=1e-6)


def test_each_value_is_as_likely():
    X = np.asarray(DIST.sample(params(np.broadcast_to(np.arange(5), (20000, 5))), jax.random.key(1)))
    assert_law(np.bincount(X.astype(int), minlength=5), np.full(5, 0.2))


def test_gradients():
    # a sample is one of the values: slope 1 there, 0 elsewhere; the mean has slope 1/5 everywhere
    values = jnp.arange(5.0)
    index = int(DIST.sample(params(values), jax.random.key(3)))
    slope = jax.grad(lambda x: DIST.sample({**params(values), "values": x}, jax.random.key(3)))(values)
    np.testing.assert_array_equal(slope, np.eye(5)[index])
    slope = jax.grad(lambda x: DIST.mean({**params(values), "values": x}))(values)
    np.testing.assert_allclose(slope, np.full(5, 0.2))


def test_affine_transform_by_hand():
    # 2 * (1, 2, 2, 5, 5) - 1 = (1, 3, 3, 9, 9)
    p = params([[1, 2, 2, 5, 5], [1, 2, 3, 4, 9]])
    moved = DIST.affine_transform(p, np.float32([2, 0]), np.float32([-1, 7]))
    np.testing.assert_array_equal(moved["values"], [[1, 3, 3, 9, 9], [7, 7, 7, 7, 7]])
    np.testing.assert_array_equal(moved["quantile_fractions"], p["quantile_fractions"])
    np.testing.assert_array_equal(DIST.affine_transform(p, 2, -1)["values"][0], [1, 3, 3, 9, 9])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_doubles(dtype):
    """With 64 bits the dtype of the parameters stays."""
    p = {"values": np.arange(5).astype(dtype) / 3, "quantile_fractions": np.ones(5, dtype)}
    with jax.enable_x64(True):
        moved = DIST.affine_transform(p, 0.1, 1.0)["values"]
        assert (moved.dtype, DIST.entropy(p).dtype, DIST.mode(p).dtype) == (dtype, dtype, dtype)
        np.testing.assert_allclose(moved, 0.1 * np.arange(5) / 3 + 1, rtol=np.finfo(dtype).eps * 4)


def test_affine_transform_with_a_value_transform():
    y = A["values"].astype(float) / 3
    x = 0.5 * np.expm1(y) + 2  # y >= 0, and so is x
    for transform in (LogTransform(), tuple(LogTransform())):
        got = DIST.affine_transform({**A, "values": A["values"] / 3}, 0.5, 2.0, transform)["values"]
        np.testing.assert_allclose(got, np.log1p(x), rtol=1e-5)
    # the mean in the original space
    got = DIST.expectation({**A, "values": A["values"] / 3}, LogTransform().inverse_func)
    np.testing.assert_allclose(got, np.expm1(y).mean(-1), rtol=1e-5)


@pytest.mark.parametrize("how", [jax.jit, jax.vmap], ids=["jit", "vmap"])
def test_transforms_of_functions(how):
    x = np.float32([2, 0, 9])
    for f, args in (
        (DIST.mean, (A,)),
        (DIST.mode, (A,)),
        (DIST.entropy, (A,)),
        (DIST.kl_divergence, (A, B)),
        (DIST.cross_entropy, (A, B)),
        (DIST.log_proba, (A, x)),
        (lambda p, s: DIST.affine_transform(p, s, s)["values"], (A, x)),
    ):
        np.testing.assert_allclose(how(f)(*args), f(*args), rtol=1e-6)


def test_more_leading_axes():
    deep = jax.tree.map(lambda x: np.stack([x, x + 1]), A)
    np.testing.assert_allclose(DIST.entropy(deep), np.stack([DIST.entropy(A)] * 2), rtol=1e-6)
    np.testing.assert_allclose(DIST.mode(deep)[1], np.asarray(DIST.mode(A)) + 1)
    assert DIST.sample(deep, jax.random.key(0)).shape == (2, 3)


def test_variates_are_numbers():
    X = DIST.preprocess_variate(None, [1.5, -2, 7])
    np.testing.assert_array_equal(X, np.float32([1.5, -2, 7]))
    np.testing.assert_array_equal(DIST.preprocess_variate(None, 3), [3])
    for i in range(3):
        assert DIST.postprocess_variate(jax.random.key(0), X, index=i) == [1.5, -2, 7][i]
    back = DIST.postprocess_variate(jax.random.key(0), X, batch_mode=True)
    np.testing.assert_array_equal(back, X)
    assert back.dtype == np.float32
    assert DIST.space.contains(DIST.postprocess_variate(jax.random.key(0), X))


def test_what_it_says_of_itself():
    assert DIST.num_quantiles == 5
    assert DIST.hyperparams == {"num_quantiles": 5}
    assert DIST.space == gymnasium.spaces.Box(-np.inf, np.inf, ())
    np.testing.assert_array_equal(DIST.default_priors["values"], np.zeros((1, 5)))
    np.testing.assert_array_equal(DIST.default_priors["quantile_fractions"], np.ones((1, 5)))
    assert DIST == EmpiricalQuantileDist(5) != EmpiricalQuantileDist(6)
    assert hash(DIST) == hash(EmpiricalQuantileDist(5))


@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, None])
def test_wrong_number(wrong):
    with pytest.raises(ValueError, match=r"num_quantiles: expected a positive int, got .*Fix:"):
        EmpiricalQuantileDist(wrong)


def test_wrong_arguments():
    with pytest.raises(
        ValueError, match=r"dist_params: expected a dict with the keys \['quantile_fractions', 'values'\]"
    ):
        DIST.mean({"values": np.zeros((1, 5))})
    with pytest.raises(ValueError, match=r"dist_params\['values'\]: expected shape \(\.\.\., 5\), got \(1, 4\)"):
        DIST.mean({"values": np.zeros((1, 4)), "quantile_fractions": np.zeros((1, 4))})
    with pytest.raises(ValueError, match=r"dist_params\['quantile_fractions'\]: expected shape \(2, 5\), got \(1, 5\)"):
        DIST.mean({"values": np.zeros((2, 5)), "quantile_fractions": np.zeros((1, 5))})
    with pytest.raises(ValueError, match=r"scale: expected a number or shape \(3,\), .* got shape \(2,\)"):
        DIST.affine_transform(A, np.ones(2), 0)
    with pytest.raises(ValueError, match=r"mask: expected None for Box"):
        DIST.masked(A, np.ones(5, bool))
    assert DIST.masked(A, None) is A
