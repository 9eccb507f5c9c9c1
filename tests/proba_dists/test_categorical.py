import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from coax.proba_dists import CategoricalDist
from coax.proba_dists._categorical import log_proba_of_index, sample_index

from .laws import assert_law

DIST = CategoricalDist(gymnasium.spaces.Discrete(4))
SOME = np.random.default_rng(0).normal(0, 3, (2, 5, 4)).astype(np.float32)
OTHER = np.random.default_rng(1).normal(0, 3, (2, 5, 4)).astype(np.float32)

# Logits where a careless formula gives NaN: each row has at least one action of probability exactly 0.
EXTREME = np.array(
    [[1e4, -1e4, 0, 1e4], [-1e4, -1e4, -np.inf, 1e4], [0, -np.inf, -np.inf, 0], [-np.inf, -np.inf, 5, -np.inf]],
    np.float32,
)
P_EXTREME = np.array([[0.5, 0, 0, 0.5], [0, 0, 0, 1], [0.5, 0, 0, 0.5], [0, 0, 1, 0]])
H_EXTREME = np.log([2, 1, 2, 1])


def one_hot(index, n=4):
    return np.eye(n, dtype=np.float32)[index]


# --- against scipy ----------------------------------------------------------------------------------------------------


def test_by_hand():
    # p = (1/2, 1/4, 1/4, 0), q = (1/4, 1/4, 1/4, 1/4):
    # H = 1/2 log 2 + 2 * 1/4 log 4 = 3/2 log 2 ; CE = log 4 = 2 log 2 ; KL = CE - H = 1/2 log 2
    p = {"logits": np.log([[2, 1, 1, 1e-30]]).astype(np.float32)}
    q = DIST.default_priors
    log2 = 0.6931472
    np.testing.assert_allclose(DIST.mean(p), [[0.5, 0.25, 0.25, 0]], atol=1e-7)
    np.testing.assert_allclose(DIST.entropy(p), [1.5 * log2], rtol=1e-6)
    np.testing.assert_allclose(DIST.cross_entropy(p, q), [2 * log2], rtol=1e-6)
    np.testing.assert_allclose(DIST.kl_divergence(p, q), [0.5 * log2], rtol=1e-6)
    np.testing.assert_allclose(DIST.log_proba(p, one_hot([[0]])[0]), [-log2], rtol=1e-6)
    np.testing.assert_allclose(DIST.log_proba(p, one_hot([[1]])[0]), [-2 * log2], rtol=1e-6)
    # a soft variate: half of log 1/2 and half of log 1/4
    np.testing.assert_allclose(DIST.log_proba(p, [[0.5, 0.5, 0, 0]]), [-1.5 * log2], rtol=1e-6)


@settings(max_examples=30)
@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-20, 20, width=32)))
def test_against_scipy(logits):
    p, q = scipy.special.softmax(logits.astype(float), axis=-1)
    a, b = ({"logits": x} for x in logits)
    entropy = scipy.stats.entropy(p, axis=-1)
    relative = scipy.stats.entropy(p, q, axis=-1)
    np.testing.assert_allclose(DIST.mean(a), p, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(DIST.entropy(a), entropy, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(DIST.kl_divergence(a, b), relative, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(DIST.cross_entropy(a, b), entropy + relative, rtol=1e-4, atol=1e-4)
    for k in range(4):
        np.testing.assert_allclose(
            DIST.log_proba(a, one_hot(np.full(3, k))),
            scipy.special.log_softmax(logits[0].astype(float), axis=-1)[:, k],
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
def test_leading_axes(how):
    """Any number of leading axes gives what one row at a time gives."""
    a, b, x = {"logits": SOME}, {"logits": OTHER}, one_hot(np.arange(10).reshape(2, 5) % 4)

    def row(f, *args):
        rows = [f(*jax.tree.map(lambda v: v.reshape(10, 4)[i], args)) for i in range(10)]  # noqa: B023
        return np.reshape(rows, (2, 5, *np.shape(rows[0])))

    for f, args in (
        (DIST.mean, (a,)),
        (DIST.mode, (a,)),
        (DIST.entropy, (a,)),
        (DIST.cross_entropy, (a, b)),
        (DIST.kl_divergence, (a, b)),
        (DIST.log_proba, (a, x)),
    ):
        np.testing.assert_allclose(how(f)(*args), row(f, *args), rtol=1e-5, atol=1e-6)


# --- extremes ---------------------------------------------------------------------------------------------------------


def test_extremes():
    p = {"logits": EXTREME}
    np.testing.assert_array_equal(DIST.mean(p), P_EXTREME)
    np.testing.assert_allclose(DIST.entropy(p), H_EXTREME, atol=1e-7)
    np.testing.assert_allclose(DIST.cross_entropy(p, p), H_EXTREME, atol=1e-7)
    np.testing.assert_array_equal(DIST.kl_divergence(p, p), np.zeros(4))
    # against the uniform distribution: KL = log 4 - H
    np.testing.assert_allclose(DIST.kl_divergence(p, DIST.default_priors), np.log(4) - H_EXTREME, rtol=1e-6)
    log_proba = DIST.log_proba(p, one_hot([1, 2, 1, 0]))  # -1e4 - (1e4 + log 2), and what is excluded
    np.testing.assert_allclose(log_proba, [-2e4 - np.log(2), -np.inf, -np.inf, -np.inf], rtol=1e-6)
    np.testing.assert_allclose(DIST.log_proba(p, one_hot([0, 3, 3, 2])), [-np.log(2), 0, -np.log(2), 0], atol=1e-7)


def test_excluded_by_the_other_is_infinite():
    p, q = {"logits": np.zeros((1, 4), np.float32)}, {"logits": EXTREME[3:]}
    assert DIST.kl_divergence(p, q) == np.inf
    assert DIST.cross_entropy(p, q) == np.inf


@pytest.mark.parametrize("name", ["entropy", "kl_divergence", "cross_entropy", "log_proba", "mean", "mode", "sample"])
def test_gradients_at_extremes(name):
    """Finite everywhere, and 0 for what has probability 0."""

    def value(logits):
        p = {"logits": logits}
        extra = {
            "entropy": (),
            "mean": (),
            "mode": (),
            "sample": (jax.random.key(0),),
            "log_proba": (one_hot([0, 3, 0, 2]),),
        }.get(name, (DIST.default_priors,))
        out = getattr(DIST, name)(p, *extra)
        return (out * np.arange(1, 1 + np.size(out)).reshape(np.shape(out))).sum()

    slope = np.asarray(jax.grad(value)(EXTREME))
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(slope[P_EXTREME == 0], 0)


def test_gradient_of_the_entropy():
    # dH / dlogit_k = -p_k (log p_k + H)
    p = scipy.special.softmax(SOME.astype(float), axis=-1)
    want = -p * (np.log(p) + scipy.stats.entropy(p, axis=-1)[..., None])
    got = jax.grad(lambda x: DIST.entropy({"logits": x}).sum())(SOME)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logits", [SOME[0, 0] / 3, EXTREME[0], EXTREME[2], EXTREME[3]])
def test_the_law_of_samples(logits):
    n = 20000
    many = jnp.broadcast_to(logits, (n, 4))
    probs = np.array(scipy.special.softmax(logits.astype(float)))
    exact = np.asarray(jax.jit(sample_index)(many, jax.random.key(0)))
    soft = np.asarray(jax.jit(DIST.sample)({"logits": many}, jax.random.key(1)))
    np.testing.assert_allclose(soft.sum(axis=-1), 1, rtol=1e-5)
    assert_law(np.bincount(exact, minlength=4), probs)
    assert_law(np.bincount(soft.argmax(axis=-1), minlength=4), probs)


def test_soft_samples_by_hand():
    # softmax((g + log p) / tau) with the noise g of the same key
    key, tau = jax.random.key(3), 0.5
    g = np.asarray(jax.random.gumbel(key, SOME.shape, np.float32), float)
    want = scipy.special.softmax((g + scipy.special.log_softmax(SOME.astype(float), axis=-1)) / tau, axis=-1)
    got = CategoricalDist(DIST.space, gumbel_softmax_tau=tau).sample({"logits": SOME}, key)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_mode_by_hand():
    # p = (2/3, 1/3), tau = 1/2: p^2 normalised = (4/5, 1/5)
    dist = CategoricalDist(gymnasium.spaces.Discrete(2), gumbel_softmax_tau=0.5)
    np.testing.assert_allclose(dist.mode({"logits": np.log([[2.0, 1.0]])}), [[0.8, 0.2]], rtol=1e-6)


def test_log_proba_of_index():
    index = np.arange(10).reshape(2, 5) % 4
    np.testing.assert_allclose(
        log_proba_of_index(SOME, jnp.asarray(index)), DIST.log_proba({"logits": SOME}, one_hot(index)), rtol=1e-6
    )


# --- variates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 3, -2])
def test_clean_and_raw_variates(start):
    dist = CategoricalDist(gymnasium.spaces.Discrete(4, start=start))
    clean = np.array([0, 3, 1]) + start
    raw = dist.preprocess_variate(None, clean)
    np.testing.assert_array_equal(raw, one_hot([0, 3, 1]))
    assert raw.dtype == jnp.float32
    np.testing.assert_array_equal(dist.preprocess_variate(None, int(clean[1])), one_hot([3]))
    back = dist.postprocess_variate(jax.random.key(0), raw, batch_mode=True)
    np.testing.assert_array_equal(back, clean)
    assert back.dtype == dist.space.dtype
    single = dist.postprocess_variate(jax.random.key(0), raw, index=1)
    assert type(single) is int
    assert single == 3 + start
    assert dist.space.contains(single)
    traced = jax.jit(lambda key, X: dist.postprocess_variate(key, X, batch_mode=True))(jax.random.key(0), raw)
    np.testing.assert_array_equal(traced, clean)


def test_ties_are_broken_at_random():
    raw = np.broadcast_to(np.array([0.4, 0.2, 0.4, 0], np.float32), (10000, 4))
    clean = DIST.postprocess_variate(jax.random.key(0), raw, batch_mode=True)
    assert_law(np.bincount(clean, minlength=4), np.array([0.5, 0, 0.5, 0]))


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_what_it_says_of_itself():
    dist = CategoricalDist(gymnasium.spaces.Discrete(3, start=1), gumbel_softmax_tau=0.3)
    assert dist.space == gymnasium.spaces.Discrete(3, start=1)
    assert dist.gumbel_softmax_tau == 0.3
    assert dist.hyperparams == {"gumbel_softmax_tau": 0.3}
    assert dist.num_categories == 3
    np.testing.assert_array_equal(dist.default_priors["logits"], np.zeros((1, 3)))
    assert dist.dist_params_structure == jax.tree.structure({"logits": 0})
    with pytest.raises(AttributeError):
        dist.gumbel_softmax_tau = 1.0


@pytest.mark.parametrize("wrong", [gymnasium.spaces.Box(0, 1, (2,)), "Discrete", None])
def test_wrong_space(wrong):
    with pytest.raises(TypeError, match=r"space: expected gymnasium\.spaces\.Discrete, got .*Fix:"):
        CategoricalDist(wrong)


@pytest.mark.parametrize("tau", [0, -1.0, float("nan")])
def test_wrong_temperature(tau):
    with pytest.raises(ValueError, match=r"gumbel_softmax_tau: expected a positive number, got .*Fix:"):
        CategoricalDist(DIST.space, tau)


def test_wrong_logits():
    for shape in ((2, 3), ()):
        with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 4\), got .*Fix:"):
            DIST.mean({"logits": np.zeros(shape)})
    with pytest.raises(ValueError, match=r"X: expected one-hot vectors .* of shape \(\.\.\., 4\), got shape \(3,\)"):
        DIST.postprocess_variate(jax.random.key(0), np.zeros((2, 3)))


def test_wrong_variates():
    with pytest.raises(TypeError, match=r"X: expected integers for Discrete.*got float32.*Fix:"):
        DIST.preprocess_variate(None, np.zeros(2, np.float32))


def test_a_mask_with_other_leading_axes():
    for shape in ((3, 4), (1, 4)):
        with pytest.raises(ValueError, match=r"mask: expected the shape of the logits, \(2, 4\), or one mask.*Fix:"):
            DIST.masked({"logits": np.zeros((2, 4))}, np.ones(shape, bool))


def test_no_affine_transform():
    with pytest.raises(NotImplementedError, match="not numbers"):
        DIST.affine_transform(DIST.default_priors, 1, 0)


def test_what_is_not_a_number_is_not_hidden():
    logits = {"logits": jnp.array([[jnp.nan, 0.0, 0.0]])}
    dist = CategoricalDist(gymnasium.spaces.Discrete(3))
    assert np.isnan(dist.entropy(logits)).all()
    assert np.isnan(dist.kl_divergence(logits, {"logits": jnp.zeros((1, 3))})).all()
