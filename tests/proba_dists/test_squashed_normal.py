import warnings

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from coax.proba_dists import NormalDist, SquashedNormalDist
from coax.proba_dists._squashed_normal import log_slope, mean_log_slope
from coax.value_transforms import LogTransform

from .laws import slopes, sum_last

BOXES = {
    "rank 0": gymnasium.spaces.Box(-1, 3, ()),
    "rank 1": gymnasium.spaces.Box(np.float32([-1, 0, -2]), np.float32([1, 5, 7])),
    "rank 2": gymnasium.spaces.Box(-2, 3, (2, 3)),
}
BOX = pytest.mark.parametrize("space", BOXES.values(), ids=BOXES)
DIST = SquashedNormalDist(BOXES["rank 1"])
LINE = SquashedNormalDist(BOXES["rank 0"])
KEY = jax.random.key(0)
LOG2, LOG3, LOG2PI = 0.6931472, 1.0986123, 1.8378771


def some(shape, seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {"mu": rng.normal(0, 0.8, shape).astype(dtype), "logvar": rng.normal(-1, 1, shape).astype(dtype)}


def full(shape, mu, logvar, dtype=np.float32):
    return {"mu": np.full(shape, mu, dtype), "logvar": np.full(shape, logvar, dtype)}


def half_and_middle(space):
    low, high = space.low.astype(float), space.high.astype(float)
    return (high - low) / 2, (high + low) / 2


def log_density(p, X, space):
    """In each dimension, in float64: the Gaussian density of Y over dX/dY."""
    half, middle = half_and_middle(space)
    u = (np.asarray(X, float) - middle) / half
    gauss = scipy.stats.norm(p["mu"].astype(float), np.exp(p["logvar"].astype(float) / 2))
    return gauss.logpdf(np.arctanh(u)) - np.log(half * (1 - u**2))


def mean_over(mu, logvar, f):
    """The mean of f(Y), Y ~ N(mu, exp(logvar)), in float64: a dense sum over 12 standard deviations each way."""
    u, step = np.linspace(-12, 12, 40001, retstep=True)
    weights = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) * step
    at = np.asarray(mu, float)[..., None] + np.exp(np.asarray(logvar, float) / 2)[..., None] * u
    return (weights * f(at)).sum(axis=-1)


def log_one_minus_tanh2(y):
    # 1 - tanh(y)^2 = 4 exp(-2|y|) / (1 + exp(-2|y|))^2
    return 2 * (np.log(2) - np.abs(y) - np.log1p(np.exp(-2 * np.abs(y))))


# --- densities --------------------------------------------------------------------------------------------------------


def test_log_proba_by_hand():
    # Box(-1, 3): half = 2, middle = 1. Y standard normal.
    # X = 1: Y = 0, dX/dY = 2: log p = -log(2 pi) / 2 - log 2
    # X = 2: tanh Y = 1/2, Y = log(3) / 2, dX/dY = 2 * 3/4: log p = -log(2 pi) / 2 - log(3)^2 / 8 - log(3/2)
    want = [-LOG2PI / 2 - LOG2, -LOG2PI / 2 - LOG3**2 / 8 - (LOG3 - LOG2)]
    np.testing.assert_allclose(LINE.log_proba(LINE.default_priors, np.float32([1, 2])), want, rtol=1e-6)
    # Y ~ N(log(3)/2, 4): the same X = 2 in the middle: log p = -log(2 pi) / 2 - log 2 - log(3/2) = ... - log 3
    p = full((1,), LOG3 / 2, 2 * LOG2)
    np.testing.assert_allclose(LINE.log_proba(p, np.float32([2])), [-LOG2PI / 2 - LOG3], rtol=1e-6)


def test_log_slope_by_hand():
    # 1 - tanh(0)^2 = 1 ; tanh(log(3)/2) = 1/2: log(3/4) ; 1 - tanh(100)^2 = 4 exp(-200) / (1 + ...)^2
    got = log_slope(jnp.float32([0, LOG3 / 2, -LOG3 / 2, 100, -100]))
    np.testing.assert_allclose(
        got, [0, LOG3 - 2 * LOG2, LOG3 - 2 * LOG2, 2 * LOG2 - 200, 2 * LOG2 - 200], rtol=1e-6, atol=1e-6
    )


@BOX
@pytest.mark.parametrize("leading", [(), (4,), (2, 5)])
def test_log_proba_against_scipy(space, leading):
    dist, shape = SquashedNormalDist(space), (*leading, *space.shape)
    half, middle = half_and_middle(space)
    p = some(shape, 0)
    X = (middle + half * np.random.default_rng(1).uniform(-0.999, 0.999, shape)).astype(np.float32)
    got = dist.log_proba(p, X)
    assert got.shape == leading
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, sum_last(log_density(p, X, space), len(space.shape)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-1, 3), (0, 0.1), (200, 256)])
@pytest.mark.parametrize(("mu", "logvar"), [(0, 0), (0.7, -3), (-1.5, 1), (2, -8)])
def test_the_density_integrates_to_one(low, high, mu, logvar):
    with jax.enable_x64(True):
        dist = SquashedNormalDist(gymnasium.spaces.Box(low, high, (), np.float64))
        # substituting X = low + (high - low) t^3 (10 - 15 t + 6 t^2) puts many nodes near the bounds
        t = np.linspace(0, 1, 20001)
        X = low + (high - low) * t**3 * (10 - 15 * t + 6 * t**2)
        slope = (high - low) * 30 * t**2 * (1 - t) ** 2
        density = np.exp(jax.jit(dist.log_proba)(full((), mu, logvar, np.float64), X))
        np.testing.assert_allclose(scipy.integrate.simpson(density * slope, x=t), 1, rtol=1e-6)


@pytest.mark.gate
def test_the_density_integrates_to_one_over_more_dimensions():
    with jax.enable_x64(True):
        for shape in ((2,), (1, 2)):
            space = gymnasium.spaces.Box(np.reshape([-1.0, 0], shape), np.reshape([3.0, 5], shape), shape, np.float64)
            p = {"mu": np.reshape([0.3, -0.5], shape), "logvar": np.reshape([-2.0, -1], shape)}
            x, y = np.linspace(-1, 3, 801), np.linspace(0, 5, 801)
            X = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(801, 801, *shape)
            density = np.exp(SquashedNormalDist(space).log_proba(p, X))
            inner = scipy.integrate.simpson(density, x=y, axis=1)
            np.testing.assert_allclose(scipy.integrate.simpson(inner, x=x), 1, rtol=1e-5)


@BOX
def test_the_law_of_samples(space):
    """Each dimension has the law whose distribution function is that of the Gaussian at arctanh."""
    dist, n = SquashedNormalDist(space), 4000
    one = some(space.shape, 5)
    many = {name: np.broadcast_to(x, (n, *space.shape)) for name, x in one.items()}
    X = np.asarray(dist.sample(many, KEY))
    assert X.dtype == np.float32
    half, middle = half_and_middle(space)
    gauss = scipy.stats.norm(one["mu"].astype(float), np.exp(one["logvar"].astype(float) / 2))
    cdf = gauss.cdf(np.arctanh((X - middle) / half)).reshape(n, -1)
    for column in cdf.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3
    if cdf.shape[1] > 1:  # each dimension has noise of its own: correlations of order 1 / sqrt(4000)
        assert np.abs(np.corrcoef(cdf.T) - np.eye(cdf.shape[1])).max() < 0.07


@BOX
def test_sample_and_log_proba(space):
    dist, rank = SquashedNormalDist(space), len(space.shape)
    p = some((50, *space.shape), 0)
    X, logp = dist.sample_and_log_proba(p, KEY)
    assert logp.shape == (50,)
    np.testing.assert_array_equal(X, dist.sample(p, KEY))
    near = np.abs(dist.from_element(X) - half_and_middle(space)[1]) < 0.99 * half_and_middle(space)[0]
    rows = near.reshape(50, -1).all(axis=-1)
    assert rows.sum() > 10
    want = sum_last(log_density(p, X, space), rank)
    np.testing.assert_allclose(logp[rows], want[rows], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dist.log_proba(p, X)[rows], want[rows], rtol=1e-4, atol=1e-4)


@pytest.mark.gate
def test_the_mean_of_minus_log_proba_is_the_entropy():
    n = 20000
    p = some((3,), 3)
    many = {name: np.broadcast_to(x, (n, 3)) for name, x in p.items()}
    logp = np.asarray(DIST.sample_and_log_proba(many, KEY)[1], float)
    assert abs(-logp.mean() - float(DIST.entropy(p))) < 4 * logp.std() / np.sqrt(n)
    other = {"mu": np.float32([0.5, -1, 0]), "logvar": np.float32([0, -1, 1])}
    logq = np.asarray(DIST.log_proba(other, DIST.sample(many, KEY)), float)
    assert abs(-logq.mean() - float(DIST.cross_entropy(p, other))) < 4 * logq.std() / np.sqrt(n)


# --- entropies --------------------------------------------------------------------------------------------------------

MU, LOGVAR = np.meshgrid(
    [-20, -8.5, -3, -1, -0.3, 0, 0.01, 0.5, 1, 2, 3.3, 5, 12, 20],
    [-10, -7, -4, -2, -1, -0.1, -1e-6, 0, 1e-6, 0.1, 0.5, 1, 2, 3, 4],
    indexing="ij",
)


@pytest.mark.gate
def test_entropy_over_a_grid():
    # Box(-1, 3): H = (1 + log 2pi + logvar) / 2 + log 2 + E log(1 - tanh^2)
    want = (1 + np.log(2 * np.pi) + LOGVAR) / 2 + np.log(2) + mean_over(MU, LOGVAR, log_one_minus_tanh2)
    entropy = jax.jit(LINE.entropy)
    got = entropy({"mu": np.float32(MU), "logvar": np.float32(LOGVAR)})
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    with jax.enable_x64(True):
        got = entropy({"mu": MU, "logvar": LOGVAR})
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-7)


@pytest.mark.gate
def test_quadrature_beyond_the_default_clips():
    mu, logvar = np.meshgrid([-20.0, -1, 0, 3, 20], [-20.0, -15, 6, 10], indexing="ij")
    with jax.enable_x64(True):
        got = mean_log_slope(jnp.asarray(mu), jnp.asarray(logvar))
    # a sum over so wide a Gaussian is coarse itself: hence relative to E|Y|
    np.testing.assert_allclose(got, mean_over(mu, logvar, log_one_minus_tanh2), rtol=1e-6, atol=1e-6)


@pytest.mark.gate
def test_each_rule_of_quadrature_leaves_the_gradient_of_the_other_alone():
    # Variances for which the rule that is not taken overflows in float32. Narrow: dE/dmu = -2 tanh(mu), dE/dlogvar = 0.
    # Wide: E = 2 log 2 - 2 E|Y| with E|Y| = sd sqrt(2/pi), so dE/dmu = 0 and dE/dlogvar = -sd sqrt(2/pi).
    mu, logvar = jnp.float32([1e4, -1e4, 0, 1]), jnp.float32([-174, -174, 174, 174])
    got = jax.grad(lambda *p: mean_log_slope(*p).sum(), argnums=(0, 1))(mu, logvar)
    np.testing.assert_allclose(got[0], [-2, 2, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(got[1], [0, 0, *[-np.exp(87) * np.sqrt(2 / np.pi)] * 2], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("mu", "logvar"), [(0, 0), (0.7, -3), (-1.5, 1)])
def test_entropy_is_that_of_the_density(mu, logvar):
    """By scipy's quadrature over the Box, not over Y."""
    p = full((), mu, logvar, np.float64)

    def integrand(X):
        logp = float(log_density(p, X, LINE.space))
        return -np.exp(logp) * logp

    want = sum(scipy.integrate.quad(integrand, *ends, limit=200)[0] for ends in ((-1 + 1e-13, 1), (1, 3 - 1e-13)))
    np.testing.assert_allclose(LINE.entropy(full((1,), mu, logvar)), [want], atol=2e-5)


@pytest.mark.gate
def test_a_nearly_uniform_one():
    # Y with the logistic law gives a uniform X; a Gaussian comes close to it with variance pi^2 / 12 (that of the
    # logistic law of Y): then H is a little below log(4), the entropy of the uniform law on Box(-1, 3), and never above
    with jax.enable_x64(True):
        entropy = np.asarray(LINE.entropy({"mu": np.zeros(99), "logvar": np.linspace(-3, 3, 99)}))
    assert entropy.max() < 2 * LOG2
    np.testing.assert_allclose(LINE.entropy(full((1,), 0, np.log(np.pi**2 / 12))), [2 * LOG2], atol=0.02)


@pytest.mark.gate
@BOX
def test_entropies_sum_over_dimensions(space):
    dist, rank = SquashedNormalDist(space), len(space.shape)
    shape = (2, 5, *space.shape)
    a, b = some(shape, 0), some(shape, 1)
    p, q = ({k: v.astype(float) for k, v in x.items()} for x in (a, b))
    half, _ = half_and_middle(space)
    slope = np.log(half) + mean_over(p["mu"], p["logvar"], log_one_minus_tanh2)
    kl = (np.exp(p["logvar"]) + (p["mu"] - q["mu"]) ** 2) / np.exp(q["logvar"]) / 2
    kl = kl + (q["logvar"] - p["logvar"] - 1) / 2
    entropy = (1 + np.log(2 * np.pi) + p["logvar"]) / 2 + slope
    for got, want in (
        (dist.entropy(a), entropy),
        (dist.kl_divergence(a, b), kl),
        (dist.cross_entropy(a, b), entropy + kl),
        (dist.kl_divergence(a, a), np.zeros(shape)),
    ):
        assert got.shape == (2, 5)
        np.testing.assert_allclose(got, sum_last(want, rank), rtol=1e-5, atol=2e-5)


@pytest.mark.gate
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cross_entropy_and_kl_over_the_box(seed):
    """By quadrature of the densities over the Box."""
    a, b = some((), seed), some((), seed + 10)

    def mean(f):
        return sum(
            scipy.integrate.quad(lambda X: np.exp(log_density(a, X, LINE.space)) * f(X), *ends, limit=200)[0]
            for ends in ((-1 + 1e-13, 1), (1, 3 - 1e-13))
        )

    cross = mean(lambda X: -log_density(b, X, LINE.space))
    relative = mean(lambda X: log_density(a, X, LINE.space) - log_density(b, X, LINE.space))
    np.testing.assert_allclose(LINE.cross_entropy(a, b), cross, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(LINE.kl_divergence(a, b), relative, rtol=1e-5, atol=1e-5)


def test_gradients_of_the_entropy():
    # dH/dmu = E[-2 tanh Y] ; dH/dlogvar = 1/2 + E[-2 tanh(Y) (Y - mu)] / 2
    def first(y):
        return -2 * np.tanh(y)

    def by_logvar(y):
        return -np.tanh(y) * (y - MU[..., None])

    wide = {"mu": np.float32(MU), "logvar": np.float32(LOGVAR)}
    slope = jax.jit(jax.grad(lambda p: LINE.entropy(p).sum()))(wide)
    np.testing.assert_allclose(slope["mu"], mean_over(MU, LOGVAR, first), atol=1e-5)
    want = 0.5 + mean_over(MU, LOGVAR, by_logvar)
    inside = (LOGVAR > -10) & (LOGVAR < 4)  # on a clip the gradient is half of it
    np.testing.assert_allclose(slope["logvar"][inside], want[inside], atol=1e-5)


# --- extremes ---------------------------------------------------------------------------------------------------------


def test_logvar_is_clipped_wherever_it_is_read():
    dist = SquashedNormalDist(BOXES["rank 1"], clip_logvar=(-3, 2))
    wild = {"mu": np.zeros((1, 3), np.float32), "logvar": np.float32([[-1e6, 1, 1e6]])}
    tame = {"mu": wild["mu"], "logvar": np.float32([[-3, 1, 2]])}
    X, other = np.ones((1, 3), np.float32) / 2, some((1, 3), 0)
    for f in (
        dist.entropy,
        lambda p: dist.log_proba(p, X),
        lambda p: dist.kl_divergence(p, other),
        lambda p: dist.kl_divergence(other, p),
        lambda p: dist.cross_entropy(p, other),
        lambda p: dist.cross_entropy(other, p),
        lambda p: dist.sample(p, KEY),
        lambda p: dist.sample_and_log_proba(p, KEY)[1],
    ):
        np.testing.assert_array_equal(f(wild), f(tame))


@pytest.mark.gate
def test_finite_at_extremes():
    mu, logvar = np.meshgrid(np.float32([0, -20, 20, -1e4, 1e4]), np.float32([-1e4, -10, 0, 4, 1e4]))
    p = {"mu": mu[..., None] * np.ones(3, np.float32), "logvar": logvar[..., None] * np.ones(3, np.float32)}
    q = {"mu": -p["mu"], "logvar": -p["logvar"]}
    edges = np.stack([DIST.space.low, DIST.space.high])[:, None, None]
    functions = (
        DIST.mean,
        DIST.entropy,
        lambda p: DIST.log_proba(p, edges),
        lambda p: DIST.kl_divergence(p, q),
        lambda p: DIST.cross_entropy(q, p),
        lambda p: DIST.sample(p, KEY),
        lambda p: DIST.sample_and_log_proba(p, KEY)[1],
        lambda p: DIST.sample_element(p, KEY),
    )
    values = jax.jit(lambda p: [f(p) for f in functions])(p)
    slopes = jax.jit(lambda p: [jax.grad(lambda p: f(p).sum())(p) for f in functions])(p)  # noqa: B023
    for leaf in jax.tree.leaves((values, slopes)):
        assert np.isfinite(leaf).all()
    slope = jax.jit(jax.grad(lambda X: DIST.log_proba(p, X).sum()))(jnp.asarray(edges))
    assert np.isfinite(slope).all()


def test_log_proba_on_the_bounds():
    # proportion 2**-24: Y = -log(2**24 - 1) / 2 = -8.317766 and dX/dY = 2 * 4 * 2**-24 (1 - 2**-24) = 2**-21
    want = -LOG2PI / 2 - 8.317766**2 / 2 + 21 * LOG2
    got = LINE.log_proba(LINE.default_priors, np.float32([-1, 3, -1 - 1e-6, 3 + 1e-6]))
    np.testing.assert_allclose(got, np.full(4, want), rtol=1e-5)


@pytest.mark.gate
def test_saturated_samples():
    """Where tanh rounds to 1, log p = log N(noise) - logvar / 2 - log(dX/dY), and d log p / dmu = 2 tanh Y = 2."""
    p = full((5, 3), 30, -2)
    X, logp = DIST.sample_and_log_proba(p, KEY)
    np.testing.assert_array_equal(X, np.broadcast_to(DIST.space.high, (5, 3)))
    noise = np.asarray(jax.random.normal(KEY, (5, 3)), float)
    Y = 30 + np.exp(-1) * noise
    half, _ = half_and_middle(DIST.space)
    want = scipy.stats.norm.logpdf(noise) + 1 - np.log(half) - (2 * np.log(2) - 2 * Y)
    np.testing.assert_allclose(logp, want.sum(axis=-1), rtol=1e-6)
    slope = jax.jit(jax.grad(lambda p: DIST.sample_and_log_proba(p, KEY)[1].sum()))(p)
    np.testing.assert_allclose(slope["mu"], np.full((5, 3), 2), rtol=1e-6)
    np.testing.assert_allclose(slope["logvar"], -0.5 + np.exp(-1) * noise, rtol=1e-4, atol=1e-5)  # -1/2 + 2 dY/dlogvar


@pytest.mark.gate
def test_gradients_through_samples():
    """Against central differences, in float64."""
    with jax.enable_x64(True):
        p = some((2, 3), 0, np.float64)

        def of_sample(p):
            return jnp.sum(jnp.sin(DIST.sample(p, KEY)))

        def of_log_proba(p):
            X, logp = DIST.sample_and_log_proba(p, KEY)
            return jnp.sum(logp * jnp.arange(1, 3)) + jnp.sum(DIST.log_proba(p, X / 2 + 1))

        def of_entropies(p):
            other = full((2, 3), 0.3, 0.2, np.float64)
            return jnp.sum(DIST.entropy(p) + DIST.cross_entropy(p, other) + 2 * DIST.cross_entropy(other, p))

        for f in (of_sample, of_log_proba, of_entropies):
            got, plain = jax.jit(jax.grad(f))(p), jax.jit(f)
            for name in p:
                assert got[name].dtype == jnp.float64
                want = slopes(lambda x: float(plain({**p, name: x})), p[name])  # noqa: B023
                np.testing.assert_allclose(got[name], want, rtol=1e-6, atol=1e-8)


@pytest.mark.full
def test_dtypes():
    with jax.enable_x64(True):
        for dtype in ("float32", "float64"):
            p = some((2, 3), 0, dtype)
            X = DIST.sample(p, KEY)
            out = (X, DIST.mean(p), DIST.log_proba(p, X), *DIST.sample_and_log_proba(p, KEY))
            out += (DIST.entropy(p), DIST.kl_divergence(p, p), DIST.cross_entropy(p, p))
            out += tuple(DIST.affine_transform(p, np.float64(2), 1, LogTransform()).values())
            assert {x.dtype for x in out} == {jnp.dtype(dtype)}
            assert DIST.sample_element(p, KEY).dtype == jnp.float32  # the dtype of the space


@pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
@BOX
@pytest.mark.full
def test_batches_and_rows(space, how):
    """Two leading axes, plain or transformed, give what one row at a time gives."""
    dist, n = SquashedNormalDist(space), len(space.shape)
    half, middle = half_and_middle(space)
    shape = (2, 1, *space.shape)
    a, b = some(shape, 0), some(shape, 1)
    X = (middle + half * np.tanh(some(shape, 2)["mu"])).astype(np.float32)

    for f, args in (
        (dist.mean, (a,)),
        (dist.mode, (a,)),
        (dist.entropy, (a,)),
        (dist.cross_entropy, (a, b)),
        (dist.kl_divergence, (a, b)),
        (dist.log_proba, (a, X)),
        (lambda p, x: dist.to_element(x, KEY), (a, X)),
        (lambda p, x: dist.from_element(x), (a, X)),
    ):
        rows = [f(*jax.tree.map(lambda v: v[i, 0], args)) for i in range(2)]  # noqa: B023
        want = np.reshape(rows, (2, 1, *np.shape(rows[0])))
        assert np.ndim(rows[0]) in (0, n)
        np.testing.assert_allclose(how(f)(*args), want, rtol=1e-5, atol=1e-5)


# --- elements and variates --------------------------------------------------------------------------------------------


def test_squashing_by_hand():
    # tanh(log(3)/2) = 1/2: on Box(-1, 3) 1 + 2/2 = 2 ; on Box(0, 5) 2.5 + 1.25 = 3.75 ; tanh(-50) = -1
    p = full((1,), LOG3 / 2, 0)
    np.testing.assert_allclose(LINE.mean(p), [2], rtol=1e-6)
    np.testing.assert_allclose(LINE.mode(p), [2], rtol=1e-6)
    np.testing.assert_allclose(DIST.mean(full((3,), LOG3 / 2, 0)), [0.5, 3.75, 4.75], rtol=1e-6)
    np.testing.assert_array_equal(DIST.mode(full((3,), -50, 0)), DIST.space.low)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@BOX
def test_variates_are_elements(space, dtype):
    space = gymnasium.spaces.Box(space.low.astype(dtype), space.high.astype(dtype), dtype=dtype)
    dist = SquashedNormalDist(space)
    space.seed(0)
    x = np.stack([*(space.sample() for _ in range(20)), space.low, space.high])
    X = dist.preprocess_variate(None, x)
    np.testing.assert_array_equal(X, x.astype(np.float32))
    assert X.dtype == jnp.float32
    back = dist.postprocess_variate(KEY, X, batch_mode=True)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, x.astype(np.float32).astype(dtype))
    assert np.isfinite(dist.log_proba(some(X.shape, 0), X)).all()
    np.testing.assert_array_equal(dist.preprocess_variate(None, x[0]), X[:1])
    np.testing.assert_array_equal(dist.postprocess_variate(KEY, X, index=3), back[3])


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("int8", -128, 127), ("int64", -3, 4)])
def test_integer_boxes_round_trip_exactly(dtype, low, high):
    space = gymnasium.spaces.Box(low, high, (2,), dtype)
    dist = SquashedNormalDist(space)
    x = np.stack([np.arange(low, high + 1), np.arange(high, low - 1, -1)], axis=-1).astype(dtype)
    X = dist.preprocess_variate(None, x)
    assert X.dtype == jnp.float32
    back = dist.postprocess_variate(KEY, X, batch_mode=True)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(dist.to_element(np.float32([[low - 1, low + 0.6]]), KEY), [[low, low + 1]])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64", "bool"])
def test_sampled_elements_lie_in_the_space(dtype):
    space = gymnasium.spaces.Box(0, 1 if dtype == "bool" else 5, (2,), dtype)
    dist = SquashedNormalDist(space)
    p = {"mu": np.linspace(-9, 9, 100).reshape(50, 2).astype(np.float32), "logvar": np.full((50, 2), 4, np.float32)}
    got = dist.sample_element(p, KEY)
    assert got.dtype == jax.dtypes.canonicalize_dtype(dtype)
    np.testing.assert_array_equal(got, dist.to_element(dist.sample(p, KEY), KEY))
    assert all(map(space.contains, np.asarray(got).astype(dtype)))
    assert len(np.unique(np.asarray(got))) >= 2


def test_samples_stay_in_an_awkward_box():
    """Also where half * tanh + middle rounds past a bound."""
    rng = np.random.default_rng(0)
    low = rng.uniform(-250, -100, 500).astype(np.float32)
    space = gymnasium.spaces.Box(low, rng.uniform(0, 1, 500).astype(np.float32))
    dist = SquashedNormalDist(space)
    for mu in (-30, 30):
        assert space.contains(np.asarray(dist.sample(full((500,), mu, 0), KEY)))


def test_unbounded_boxes_are_clipped_with_a_warning():
    space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    with pytest.warns(
        UserWarning, match=r"space: the bounds of Box.* are clipped to clip_box=\(-256\.0, 256\.0\).*Fix:"
    ):
        dist = SquashedNormalDist(space)
    np.testing.assert_array_equal(dist.mean(full((2,), 99, 0)), [256, 256])
    X = dist.preprocess_variate(None, np.float32([[-1e30, 1000]]))
    np.testing.assert_array_equal(X, [[-256, 256]])
    assert np.isfinite(dist.log_proba(dist.default_priors, X)).all()
    with pytest.warns(UserWarning, match=r"clip_box=\(-4\.0, 10\.0\)"):
        dist = SquashedNormalDist(space, clip_box=(-4, 10))
    np.testing.assert_array_equal(dist.mean(full((2,), 0, 0)), [3, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SquashedNormalDist(gymnasium.spaces.Box(-256, 256, (2,)))


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_affine_transform_acts_before_squashing():
    # Y ~ N(0.5, 2): 2Y + 1 ~ N(2, 8). With f(y) = y^3, mu = 8, scale 1/2, shift 4: 125, slope 75 / 2 / 12 = 3.125
    got = DIST.affine_transform(full((1, 3), 0.5, LOG2), 2, np.ones(1))
    np.testing.assert_allclose(got["mu"], np.full((1, 3), 2), rtol=1e-6)
    np.testing.assert_allclose(got["logvar"], np.full((1, 3), 3 * LOG2), rtol=1e-6)
    got = DIST.affine_transform(full((1, 3), 8, -2), 0.5, 4, (lambda y: y**3, lambda x: x ** (1 / 3)))
    np.testing.assert_allclose(got["mu"], np.full((1, 3), 125), rtol=1e-5)
    np.testing.assert_allclose(got["logvar"], np.full((1, 3), -2 + 2 * np.log(3.125)), rtol=1e-4)
    np.testing.assert_array_equal(DIST.affine_transform(full((1, 3), 1, 1), 0, 0)["logvar"], np.full((1, 3), -10))
    with pytest.raises(ValueError, match=r"scale: expected a number, or an array of shape \(1,\) .*Fix:"):
        DIST.affine_transform(full((1, 3), 1, 1), np.ones(2), 0)


@BOX
def test_what_it_says_of_itself(space):
    dist = SquashedNormalDist(space, (-8, 2))
    assert dist.clip_logvar == (-8, 2)
    assert dist.clip_box == (-256, 256)
    assert dist.hyperparams == {"clip_logvar": (-8, 2), "clip_box": (-256, 256)}
    assert dist.space is space
    assert dist == SquashedNormalDist(space, clip_logvar=[-8, 2], clip_box=(-256, 256))
    assert hash(dist) == hash(SquashedNormalDist(space, (-8, 2)))
    assert dist != SquashedNormalDist(space)
    assert dist != NormalDist(space)
    assert SquashedNormalDist(space).clip_logvar == (-10, 4)
    priors = dist.default_priors
    np.testing.assert_array_equal(priors["mu"], np.zeros((1, *space.shape)))
    np.testing.assert_array_equal(priors["logvar"], np.zeros((1, *space.shape)))
    assert dist.dist_params_structure == jax.tree.structure({"mu": 0, "logvar": 0})
    with pytest.raises(AttributeError):
        dist.clip_logvar = (0, 1)
    with pytest.raises(TypeError, match="positional"):
        SquashedNormalDist(space, (-8, 2), (-1, 1))


def test_masks():
    p = some((2, 3), 0)
    assert DIST.masked(p, None) is p
    with pytest.raises(ValueError, match=r"mask: expected None for Box.*which has no choices to exclude, got ndarray"):
        DIST.masked(p, np.ones(3, bool))


@pytest.mark.parametrize("wrong", [gymnasium.spaces.Discrete(3), "Box", None])
def test_wrong_space(wrong):
    with pytest.raises(TypeError, match=r"space: expected gymnasium\.spaces\.Box, got .*Fix:"):
        SquashedNormalDist(wrong)


@pytest.mark.parametrize("name", ["clip_box", "clip_logvar"])
@pytest.mark.parametrize("wrong", [None, 3, (1, 0), (0, 0), (float("nan"), 1)])
def test_wrong_clips(name, wrong):
    with pytest.raises(
        ValueError, match=rf"{name}: expected a pair of numbers \(low, high\) with low < high, got .*Fix:"
    ):
        SquashedNormalDist(DIST.space, **{name: wrong})


def test_wrong_bounds():
    with pytest.raises(
        ValueError, match=r"space: expected finite bounds with low < high everywhere, .* got low=\[1\.\]"
    ):
        SquashedNormalDist(gymnasium.spaces.Box(np.float32([0, 1]), np.float32([1, 1])))


@pytest.mark.parametrize("wrong", [-1.001, 3.001, np.nan, np.inf])
def test_variates_outside_of_the_box(wrong):
    with pytest.raises(ValueError, match=r"X: expected elements of Box.*got values from .*Fix: preprocess_variate"):
        LINE.log_proba(full((1,), 0, 0), np.float32([wrong]))


def test_wrong_params_and_variates():
    p = some((2, 3), 0)
    with pytest.raises(ValueError, match=r"dist_params: expected a dict with the keys \['logvar', 'mu'\], got .*Fix:"):
        DIST.sample({"mu": p["mu"]}, KEY)
    with pytest.raises(ValueError, match=r"dist_params\['logvar'\]: expected shape \(2, 3\), got \(3,\).*Fix:"):
        DIST.entropy({"mu": p["mu"], "logvar": p["logvar"][0]})
    with pytest.raises(ValueError, match=r"X: expected elements of Box.* of shape \(\.\.\., 3\), got shape \(2,\)"):
        DIST.log_proba(p, np.zeros(2))
    with pytest.raises(ValueError, match=r"X: expected variates of shape \(\.\.\., 3\), got shape \(4,\)"):
        DIST.postprocess_variate(KEY, np.zeros((2, 4)))
