import warnings

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from coax.proba_dists import NormalDist
from coax.value_transforms import LogTransform, ValueTransform

from .laws import slopes, sum_last

BOXES = {
    "rank 0": gymnasium.spaces.Box(-1, 3, ()),
    "rank 1": gymnasium.spaces.Box(np.float32([-1, 0, -2]), np.float32([1, 5, 7])),
    "rank 2": gymnasium.spaces.Box(-2, 3, (2, 3)),
}
BOX = pytest.mark.parametrize("space", BOXES.values(), ids=BOXES)
DIST = NormalDist(BOXES["rank 1"])
KEY = jax.random.key(0)
LOG2, LOG3, LOG2PI = 0.6931472, 1.0986123, 1.8378771


def some(shape, seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {"mu": rng.normal(0, 3, shape).astype(dtype), "logvar": rng.normal(0, 2, shape).astype(dtype)}


def law(p):
    """Of scipy, in float64."""
    return scipy.stats.norm(p["mu"].astype(float), np.exp(p["logvar"].astype(float) / 2))


# --- against scipy ----------------------------------------------------------------------------------------------------


def test_by_hand():
    # p: means (0, 1), variances (1, 4); q: standard normal. With log 4 = 2 log 2:
    # log p(0, 3) = -(2 log 2pi + log 4 + 0 + 2^2 / 4) / 2 = -log 2pi - log 2 - 1/2
    # H = (2 log 2pi + log 4 + 2) / 2 = log 2pi + log 2 + 1
    # KL = (1 - 1 - 0 + 0) / 2 + (4 - 1 - log 4 + 1) / 2 = 2 - log 2
    # CE = (2 log 2pi + (1 + 0) + (4 + 1)) / 2 = log 2pi + 3 = H + KL
    dist = NormalDist(gymnasium.spaces.Box(-1, 1, (2,)))
    p, q = {"mu": np.float32([[0, 1]]), "logvar": np.log(np.float32([[1, 4]]))}, dist.default_priors
    np.testing.assert_allclose(dist.log_proba(p, [[0.0, 3.0]]), [-LOG2PI - LOG2 - 0.5], rtol=1e-6)
    np.testing.assert_allclose(dist.entropy(p), [LOG2PI + LOG2 + 1], rtol=1e-6)
    np.testing.assert_allclose(dist.kl_divergence(p, q), [2 - LOG2], rtol=1e-6)
    np.testing.assert_allclose(dist.cross_entropy(p, q), [LOG2PI + 3], rtol=1e-6)
    # and the other way round: KL = (1/1 - 1) / 2 + (1/4 - 1 + log 4 + 1/4) / 2 = log 2 - 1/4
    # CE = (2 log 2pi + 1 + log 4 + (1 + 1) / 4) / 2 = log 2pi + log 2 + 3/4
    np.testing.assert_allclose(dist.kl_divergence(q, p), [LOG2 - 0.25], rtol=1e-6)
    np.testing.assert_allclose(dist.cross_entropy(q, p), [LOG2PI + LOG2 + 0.75], rtol=1e-6)
    np.testing.assert_array_equal(dist.mean(p), p["mu"])
    np.testing.assert_array_equal(dist.mode(p), p["mu"])


@BOX
@pytest.mark.parametrize("leading", [(), (4,), (2, 5)])
def test_against_scipy(space, leading):
    dist, rank, shape = NormalDist(space), len(space.shape), (*leading, *space.shape)
    a, b = some(shape, 0), some(shape, 1)
    X = np.random.default_rng(2).normal(0, 4, shape).astype(np.float32)
    p, q = law(a), law(b)
    kl = np.log(q.std() / p.std()) + (p.var() + (p.mean() - q.mean()) ** 2) / (2 * q.var()) - 0.5
    for got, want in (
        (dist.log_proba(a, X), p.logpdf(X)),
        (dist.entropy(a), p.entropy()),
        (dist.kl_divergence(a, b), kl),
        (dist.cross_entropy(a, b), kl + p.entropy()),
        (dist.kl_divergence(a, a), np.zeros(shape)),
    ):
        assert got.shape == leading
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, sum_last(want, rank), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
@BOX
@pytest.mark.gate
def test_batches_and_rows(space, how):
    """Two leading axes, plain or transformed, give what one row at a time gives."""
    dist, n = NormalDist(space), len(space.shape)
    shape = (2, 1, *space.shape)
    a, b, X = some(shape, 0), some(shape, 1), some(shape, 2)["mu"]

    for f, args in (
        (dist.mean, (a,)),
        (dist.mode, (a,)),
        (dist.entropy, (a,)),
        (dist.cross_entropy, (a, b)),
        (dist.kl_divergence, (a, b)),
        (dist.log_proba, (a, X)),
        (lambda p, x: dist.to_element(x, KEY), (a, X)),
        (lambda p, x: dist.from_element(x), (a, X)),
        (lambda p: dist.affine_transform(p, 2.0, 1.0, LogTransform())["logvar"], (a,)),
    ):
        rows = [f(*jax.tree.map(lambda v: v[i, 0], args)) for i in range(2)]  # noqa: B023
        want = np.reshape(rows, (2, 1, *np.shape(rows[0])))
        assert np.ndim(rows[0]) in (0, n)
        np.testing.assert_allclose(how(f)(*args), want, rtol=1e-5, atol=1e-5)


def test_gaps_of_near_equals():
    # KL of N(0, v) and N(0, 1), log v = d small: (e^d - 1 - d) / 2 = d^2 / 4 + d^3 / 12 + ...; d = 1/1024: 2.3849e-7
    dist = NormalDist(BOXES["rank 0"])
    p, q = {"mu": np.zeros(1), "logvar": np.full(1, 2.0**-10)}, dist.default_priors
    np.testing.assert_allclose(dist.kl_divergence(p, q), 2.0**-22 + 2.0**-30 / 12, rtol=1e-3)


# --- extremes ---------------------------------------------------------------------------------------------------------


def test_logvar_is_clipped_wherever_it_is_read():
    dist = NormalDist(BOXES["rank 1"], clip_logvar=(-3, 2))
    wild = {"mu": np.zeros((1, 3), np.float32), "logvar": np.float32([[-1e6, 1, 1e6]])}
    tame = {"mu": wild["mu"], "logvar": np.float32([[-3, 1, 2]])}
    X, other = np.ones((1, 3), np.float32), some((1, 3), 0)
    for f in (
        dist.entropy,
        lambda p: dist.log_proba(p, X),
        lambda p: dist.kl_divergence(p, other),
        lambda p: dist.kl_divergence(other, p),
        lambda p: dist.cross_entropy(p, other),
        lambda p: dist.cross_entropy(other, p),
        lambda p: dist.sample(p, KEY),
        lambda p: dist.sample_and_log_proba(p, KEY)[1],
        lambda p: dist.affine_transform(p, 0.9, 0)["logvar"].clip(-3, 2),
    ):
        np.testing.assert_array_equal(f(wild), f(tame))
    np.testing.assert_allclose(dist.entropy(wild), 1.5 * (1 + LOG2PI), rtol=1e-6)  # (-3 + 1 + 2) / 2 = 0


def test_finite_at_extremes():
    mu, logvar = np.meshgrid(np.float32([0, -1e4, 1e4]), np.float32([-1e4, -20, 0, 20, 1e4]))
    p = {"mu": mu[..., None] * np.ones(3, np.float32), "logvar": logvar[..., None] * np.ones(3, np.float32)}
    q = {"mu": -p["mu"], "logvar": -p["logvar"]}
    edges = DIST.from_element(np.stack([DIST.space.low, DIST.space.high]))[:, None, None]
    functions = (
        DIST.mean,
        DIST.entropy,
        lambda p: DIST.log_proba(p, edges),
        lambda p: DIST.kl_divergence(p, q),
        lambda p: DIST.kl_divergence(q, p),
        lambda p: DIST.cross_entropy(p, q),
        lambda p: DIST.sample(p, KEY),
        lambda p: DIST.sample_and_log_proba(p, KEY)[1],
        lambda p: DIST.sample_element(p, KEY),
        lambda p: DIST.affine_transform(p, 0.0, 1.0)["logvar"],
    )
    values = jax.jit(lambda p: [f(p) for f in functions])(p)
    slopes = jax.jit(lambda p: [jax.grad(lambda p: f(p).sum())(p) for f in functions])(p)  # noqa: B023
    for leaf in jax.tree.leaves((values, slopes)):
        assert np.isfinite(leaf).all()


# --- samples ----------------------------------------------------------------------------------------------------------


@BOX
def test_the_law_of_samples(space):
    dist, n = NormalDist(space), 4000
    one = some(space.shape, 5)
    many = {name: np.broadcast_to(x, (n, *space.shape)) for name, x in one.items()}
    X = np.asarray(dist.sample(many, KEY))
    assert X.dtype == np.float32
    cdf = law(one).cdf(X.reshape(n, *space.shape)).reshape(n, -1)
    for column in cdf.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3
    if cdf.shape[1] > 1:  # each dimension has noise of its own: correlations of order 1 / sqrt(4000)
        assert np.abs(np.corrcoef(cdf.T) - np.eye(cdf.shape[1])).max() < 0.07
    assert abs(np.corrcoef(cdf[:-1, 0], cdf[1:, 0])[0, 1]) < 0.07


def test_sample_and_log_proba():
    p = some((7, 3), 0)
    X, logp = DIST.sample_and_log_proba(p, KEY)
    np.testing.assert_array_equal(X, DIST.sample(p, KEY))
    noise = np.asarray(jax.random.normal(KEY, (7, 3)), float)
    np.testing.assert_allclose(X, p["mu"] + np.exp(p["logvar"] / 2) * noise, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logp, law(p).logpdf(np.asarray(X, float)).sum(axis=-1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(logp, DIST.log_proba(p, X))  # so that a ratio of PPO starts at exactly 1


def test_gradients_through_samples():
    """Against central differences, in float64."""
    with jax.enable_x64(True):
        p = some((2, 3), 0, np.float64)

        def of_sample(p):
            return jnp.sum(jnp.sin(DIST.sample(p, KEY)))

        def of_log_proba(p):
            X, logp = DIST.sample_and_log_proba(p, KEY)
            return jnp.sum(logp * jnp.arange(1, 3)) + jnp.sum(DIST.log_proba(p, X / 2))

        for f in (of_sample, of_log_proba):
            got, plain = jax.jit(jax.grad(f))(p), jax.jit(f)
            for name in p:
                assert got[name].dtype == jnp.float64
                want = slopes(lambda x: float(plain({**p, name: x})), p[name])  # noqa: B023
                np.testing.assert_allclose(got[name], want, rtol=1e-6, atol=1e-8)


def test_gradients_of_closed_forms():
    # dH/dlogvar = 1/2 ; dKL/dmu_p = (mu_p - mu_q) / var_q ; dKL/dlogvar_p = (var_p / var_q - 1) / 2
    p, q = some((4, 3), 0), some((4, 3), 1)
    slope = jax.grad(lambda p: DIST.entropy(p).sum())(p)
    np.testing.assert_array_equal(slope["mu"], np.zeros((4, 3)))
    np.testing.assert_allclose(slope["logvar"], np.full((4, 3), 0.5))
    slope = jax.grad(lambda p: DIST.kl_divergence(p, q).sum())(p)
    np.testing.assert_allclose(slope["mu"], (p["mu"] - q["mu"]) / np.exp(q["logvar"]), rtol=1e-5)
    np.testing.assert_allclose(slope["logvar"], (np.exp(p["logvar"] - q["logvar"]) - 1) / 2, rtol=1e-4)


@pytest.mark.gate
def test_double_precision_is_kept():
    with jax.enable_x64(True):
        p = some((2, 3), 0, np.float64)
        X = DIST.sample(p, KEY)
        out = (X, DIST.mean(p), DIST.log_proba(p, X), *DIST.sample_and_log_proba(p, KEY))
        out += (DIST.entropy(p), DIST.kl_divergence(p, p), DIST.cross_entropy(p, p))
        out += tuple(DIST.affine_transform(p, np.float32(2), 1, LogTransform()).values())
        assert {x.dtype for x in out} == {jnp.dtype("float64")}
        single = some((2, 3), 0)
        out = (DIST.sample(single, KEY), DIST.log_proba(single, single["mu"]), DIST.entropy(single))
        out += tuple(DIST.affine_transform(single, np.float64(2), 1.0, LogTransform()).values())
        assert {x.dtype for x in out} == {jnp.dtype("float32")}
        assert DIST.sample_element(p, KEY).dtype == jnp.float32  # the dtype of the space


# --- elements and variates --------------------------------------------------------------------------------------------


def test_logits_by_hand():
    # Box(-1, 3): x = 0 is a quarter of the way: log(1/4 / 3/4) = -log 3. Bounds: log(2**-24 / (1 - 2**-24)) = -16.63553
    dist = NormalDist(BOXES["rank 0"])
    got = dist.preprocess_variate(None, np.float32([0, 1, 2, -1, 3, -5, 1e9]))
    np.testing.assert_allclose(got, [-LOG3, 0, LOG3, -16.63553, 16.63553, -16.63553, 16.63553], rtol=1e-6, atol=1e-7)
    assert got.dtype == jnp.float32
    back = dist.postprocess_variate(KEY, np.float32([-LOG3, 0, LOG3, -1e9, 1e9]), batch_mode=True)
    np.testing.assert_allclose(back, [0, 1, 2, -1, 3], rtol=1e-6, atol=1e-7)
    with jax.enable_x64(True):  # float64: 53 log 2 = 36.7368
        np.testing.assert_allclose(dist.from_element(np.float64([-1, 3])), [-36.7368, 36.7368], rtol=1e-6)


def test_clip_reals_by_hand():
    # Box(-1, 3), variates clipped to (-log 3, log 3): elements from -1 + 4/4 = 0 to -1 + 4 * 3/4 = 2
    dist = NormalDist(BOXES["rank 0"], clip_reals=(-LOG3, LOG3))
    got = dist.postprocess_variate(KEY, np.float32([-50, 0, 50]), batch_mode=True)
    np.testing.assert_allclose(got, [0, 1, 2], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@BOX
def test_round_trips(space, dtype):
    space = gymnasium.spaces.Box(space.low.astype(dtype), space.high.astype(dtype), dtype=dtype)
    dist = NormalDist(space)
    space.seed(0)
    x = np.stack([*(space.sample() for _ in range(200)), space.low, space.high])
    X = dist.preprocess_variate(None, x)
    back = dist.postprocess_variate(KEY, X, batch_mode=True)
    assert X.shape == back.shape == x.shape
    assert back.dtype == dtype
    np.testing.assert_allclose(back, x, rtol=0, atol=2e-3 if dtype == "float16" else 2e-6)
    assert all(space.contains(np.asarray(one)) for one in back)
    again = dist.preprocess_variate(None, back)
    near = np.abs(X) < 5
    np.testing.assert_allclose(np.asarray(again)[near], np.asarray(X)[near], atol=0.2 if dtype == "float16" else 1e-3)
    single = dist.preprocess_variate(None, x[0])  # becomes a batch of one
    np.testing.assert_allclose(single, X[:1], rtol=1e-5)
    np.testing.assert_allclose(dist.postprocess_variate(KEY, X, index=3), back[3], rtol=1e-5)


def test_digits_near_both_bounds():
    # Box(-3, 1): x = 1 - 13 * 2**-24 is a float32, x - low = 4 - 13 * 2**-24 is none. With d = 13 * 2**-26 above x:
    # logit = log((1 - d) / d) = 26 log 2 - log 13 = 15.456878 ; the mirror image has the opposite sign
    for low, high, x, want in ((-3, 1, 1 - 13 * 2**-24, 15.456878), (-1, 3, -1 + 13 * 2**-24, -15.456878)):
        dist = NormalDist(gymnasium.spaces.Box(low, high, ()))
        np.testing.assert_allclose(dist.from_element(np.float32(x)), want, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("int8", -128, 127), ("int64", -3, 4)])
def test_integer_boxes_round_trip_exactly(dtype, low, high):
    space = gymnasium.spaces.Box(low, high, (2,), dtype)
    dist = NormalDist(space)
    x = np.stack([np.arange(low, high + 1), np.arange(high, low - 1, -1)], axis=-1).astype(dtype)
    X = dist.preprocess_variate(None, x)
    assert X.dtype == jnp.float32
    back = dist.postprocess_variate(KEY, X, batch_mode=True)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, x)
    assert all(map(space.contains, back))


def test_integers_are_rounded():
    # Box(0, 3): 3 sigmoid(-log 5) = 1/2 lies between 0 and 1: a little less is 0, a little more is 1
    dist = NormalDist(gymnasium.spaces.Box(0, 3, (), np.int32))
    got = dist.to_element(-np.log(np.float32(5)) + np.float32([-0.01, 0.01]), KEY)
    np.testing.assert_array_equal(got, [0, 1])
    assert got.dtype == jnp.int32


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64", "bool"])
def test_sampled_elements_lie_in_the_space(dtype):
    high = 1 if dtype == "bool" else 5
    space = gymnasium.spaces.Box(0, high, (2,), dtype)
    dist = NormalDist(space)
    p = {"mu": np.linspace(-50, 50, 100).reshape(50, 2).astype(np.float32), "logvar": np.full((50, 2), 4, np.float32)}
    got = dist.sample_element(p, KEY)
    assert got.dtype == jax.dtypes.canonicalize_dtype(dtype)
    np.testing.assert_array_equal(got, dist.to_element(dist.sample(p, KEY), KEY))
    assert all(map(space.contains, np.asarray(got).astype(dtype)))
    assert len(np.unique(np.asarray(got))) >= 2


def test_elements_stay_in_an_awkward_box():
    """Also where low + (high - low) rounds past the upper bound."""
    rng = np.random.default_rng(0)
    low = rng.uniform(-250, -100, 500).astype(np.float32)
    high = rng.uniform(0, 1, 500).astype(np.float32)
    assert (low + (high - low) > high).any()
    dist = NormalDist(gymnasium.spaces.Box(low, high))
    top = np.asarray(dist.to_element(np.full(500, 99, np.float32), KEY))
    assert dist.space.contains(top)
    np.testing.assert_allclose(top, high, atol=2e-5)


def test_unbounded_boxes_are_clipped_with_a_warning():
    space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    with pytest.warns(
        UserWarning, match=r"space: the bounds of Box.* are clipped to clip_box=\(-256\.0, 256\.0\).*Fix:"
    ):
        dist = NormalDist(space)
    # -256 + 512 * 3/4 = 128 has the logit log 3; what lies outside is put on the bounds
    np.testing.assert_allclose(dist.from_element(np.float32([0, 128])), [0, LOG3], rtol=1e-6, atol=1e-6)
    X = dist.preprocess_variate(None, np.float32([[-1e30, 1000]]))
    np.testing.assert_allclose(dist.postprocess_variate(KEY, X), [-256, 256], rtol=1e-6)
    with pytest.warns(UserWarning, match=r"clip_box=\(0\.0, 10\.0\)"):
        dist = NormalDist(gymnasium.spaces.Box(-1, 10, ()), clip_box=(0, 10))
    np.testing.assert_allclose(dist.to_element(np.float32([-99, 0, 99]), KEY), [0, 5, 10], atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NormalDist(gymnasium.spaces.Box(-256, 256, (2,)))


def test_clip_box_of_integers():
    with pytest.warns(UserWarning, match="clip_box"):
        dist = NormalDist(gymnasium.spaces.Box(-9, 9, (), np.int32), clip_box=(-1.7, 2.7))
    np.testing.assert_array_equal(dist.to_element(np.float32([-99, 99]), KEY), [-1, 2])


# --- affine transforms ------------------------------------------------------------------------------------------------


def test_affine_transform_by_hand():
    # mu = 0.5, var = 2: 2 * 0.5 + 1 = 2 and 4 * 2 = 8; a negative scale turns the mean only
    p = {"mu": np.full((1, 3), 0.5, np.float32), "logvar": np.full((1, 3), LOG2, np.float32)}
    for scale, mean in ((2, 2.0), (-2, 0.0)):
        got = DIST.affine_transform(p, scale, 1)
        np.testing.assert_allclose(got["mu"], np.full((1, 3), mean), atol=1e-7)
        np.testing.assert_allclose(got["logvar"], np.full((1, 3), 3 * LOG2), rtol=1e-6)


@pytest.mark.gate
@BOX
def test_shapes_of_scale_and_shift(space):
    dist, shape = NormalDist(space), (4, 5, *space.shape)
    p, rng = some(shape, 0), np.random.default_rng(1)
    for of_scale in ((), (4, 5), shape):
        for of_shift in ((), (4, 5), shape):
            scale, shift = rng.normal(0, 1, of_scale), rng.normal(0, 1, of_shift)
            rows = (4, 5) + (1,) * len(space.shape)
            a, b = (x.reshape(rows) if x.shape == (4, 5) else x for x in (scale, shift))
            got = dist.affine_transform(p, scale, shift)
            assert got["mu"].shape == got["logvar"].shape == shape
            np.testing.assert_allclose(got["mu"], a * p["mu"] + b, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(got["logvar"], p["logvar"] + np.log(a**2), rtol=1e-4, atol=1e-4)


@pytest.mark.gate
def test_the_end_of_an_episode():
    """A scale of 0 leaves the narrowest Gaussian around the shift, and finite gradients, also of the scale."""
    p = some((4, 3), 0)
    got = DIST.affine_transform(p, np.zeros(4), np.arange(4.0))
    np.testing.assert_array_equal(got["mu"], np.arange(4)[:, None] * np.ones(3))
    np.testing.assert_array_equal(got["logvar"], np.full((4, 3), -20))
    slope = jax.grad(lambda scale: DIST.affine_transform(p, scale, 0.0)["logvar"].sum())(jnp.zeros(4))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("as_pair", [False, True])
def test_delta_method(as_pair):
    # f(x) = x^3, mu = 8, scale 1/2, shift 4: f(2/2 + 4) = 125.
    # slope: f'(5) * 1/2 * (f^-1)'(8) = 75 * 1/2 * 1/12 = 3.125
    f, f_inverse = (lambda x: x**3), (lambda y: y ** (1 / 3))
    p = {"mu": np.full((1, 3), 8, np.float32), "logvar": np.full((1, 3), -2, np.float32)}
    transform = (f, f_inverse) if as_pair else ValueTransform(f, f_inverse)
    got = DIST.affine_transform(p, 0.5, np.full(1, 4), transform)
    np.testing.assert_allclose(got["mu"], np.full((1, 3), 125), rtol=1e-5)
    np.testing.assert_allclose(got["logvar"], np.full((1, 3), -2 + 2 * np.log(3.125)), rtol=1e-4)


def test_delta_method_against_samples():
    # where the Gaussian is narrow, the law of the transformed samples is the one that is returned
    p = {"mu": np.float32([-2, 0.3, 4]), "logvar": np.float32([-9, -8, -7])}
    transform = LogTransform(1.5)
    f, f_inverse = transform
    X = np.asarray(DIST.sample({name: np.broadcast_to(x, (20000, 3)) for name, x in p.items()}, KEY))
    Y = np.asarray(f(-0.8 * f_inverse(X) + 1.5))
    got = DIST.affine_transform(p, -0.8, 1.5, transform)
    np.testing.assert_allclose(got["mu"], Y.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(np.exp(got["logvar"] / 2), Y.std(axis=0), rtol=0.03)


def test_wrong_scale_and_shift():
    p = some((4, 3), 0)
    with pytest.raises(ValueError, match=r"scale: expected a number, or an array of shape \(4,\) .* got \(3,\).*Fix:"):
        DIST.affine_transform(p, np.ones(3), 0)
    with pytest.raises(ValueError, match=r"shift: expected a number, .* or \(4, 3\), got \(4, 1\)"):
        DIST.affine_transform(p, 1, np.ones((4, 1)))
    with pytest.raises(TypeError, match="value_transform: expected a ValueTransform"):
        DIST.affine_transform(p, 1, 0, LogTransform)


# --- the rest ---------------------------------------------------------------------------------------------------------


@BOX
def test_what_it_says_of_itself(space):
    dist = NormalDist(space, (-9, 9), (-20, 20), (-8, 8))
    assert (dist.clip_box, dist.clip_reals, dist.clip_logvar) == ((-9, 9), (-20, 20), (-8, 8))
    assert dist.hyperparams == {"clip_box": (-9, 9), "clip_reals": (-20, 20), "clip_logvar": (-8, 8)}
    assert dist.space is space
    assert dist == NormalDist(space, [-9, 9], [-20, 20], [-8, 8])
    assert hash(dist) == hash(NormalDist(space, (-9, 9), (-20, 20), (-8, 8)))
    assert dist != NormalDist(space)
    priors = dist.default_priors
    np.testing.assert_array_equal(priors["mu"], np.zeros((1, *space.shape)))
    np.testing.assert_array_equal(priors["logvar"], np.zeros((1, *space.shape)))
    assert dist.dist_params_structure == jax.tree.structure({"mu": 0, "logvar": 0})
    default = NormalDist(space)
    assert (default.clip_box, default.clip_reals, default.clip_logvar) == ((-256, 256), (-30, 30), (-20, 20))
    with pytest.raises(AttributeError):
        dist.clip_logvar = (0, 1)


def test_masks():
    p = some((2, 3), 0)
    assert DIST.masked(p, None) is p
    with pytest.raises(ValueError, match=r"mask: expected None for Box.*which has no choices to exclude, got ndarray"):
        DIST.masked(p, np.ones(3, bool))


@pytest.mark.parametrize("wrong", [gymnasium.spaces.Discrete(3), "Box", None])
def test_wrong_space(wrong):
    with pytest.raises(TypeError, match=r"space: expected gymnasium\.spaces\.Box, got .*Fix:"):
        NormalDist(wrong)


@pytest.mark.parametrize("name", ["clip_box", "clip_reals", "clip_logvar"])
@pytest.mark.parametrize("wrong", [None, 3, (1, 0), (0, 0), (0, 1, 2), ("a", "b"), (float("nan"), 1)])
def test_wrong_clips(name, wrong):
    with pytest.raises(
        ValueError, match=rf"{name}: expected a pair of numbers \(low, high\) with low < high, got .*Fix:"
    ):
        NormalDist(DIST.space, **{name: wrong})


def test_wrong_bounds():
    text = r"space: expected finite bounds with low < high everywhere, as float32, got low=\[{}\] and high=\[{}\]"
    flat = gymnasium.spaces.Box(np.float32([0, 1]), np.float32([1, 1]))
    with pytest.raises(ValueError, match=text.format(r"1\.", r"1\.")):
        NormalDist(flat)
    far = gymnasium.spaces.Box(np.float32([300, 0]), np.float32([400, 1]))
    with (
        pytest.warns(UserWarning, match="are clipped"),
        pytest.raises(ValueError, match=text.format(r"300\.", r"256\.")),
    ):
        NormalDist(far)
    with pytest.raises(ValueError, match=text.format("-inf", "inf")):
        NormalDist(gymnasium.spaces.Box(-np.inf, np.inf, (1,)), clip_box=(-np.inf, np.inf))
    thin = gymnasium.spaces.Box(100, 100 + 1e-9, (1,), np.float64)  # no room in float32
    with pytest.raises(ValueError, match=text.format(r"100\.", r"100\.")):
        NormalDist(thin)
    with jax.enable_x64(True):
        NormalDist(thin)


def test_wrong_params_and_variates():
    p = some((2, 3), 0)
    with pytest.raises(ValueError, match=r"dist_params: expected a dict with the keys \['logvar', 'mu'\], got .*Fix:"):
        DIST.sample({"mu": p["mu"]}, KEY)
    with pytest.raises(ValueError, match=r"dist_params\['logvar'\]: expected shape \(2, 3\), got \(3,\).*Fix:"):
        DIST.entropy({"mu": p["mu"], "logvar": p["logvar"][0]})
    with pytest.raises(ValueError, match=r"X: expected variates of shape \(\.\.\., 3\), got shape \(2,\)"):
        DIST.log_proba(p, np.zeros(2))
    with pytest.raises(ValueError, match=r"X: expected variates of shape \(\.\.\., 3\), got shape \(4,\)"):
        DIST.postprocess_variate(KEY, np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"X: expected shape \[\.\.\., 3\], got shape \(2,\)"):
        DIST.preprocess_variate(None, np.zeros(2))
