import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.proba_dists import DiscretizedIntervalDist
from coax.proba_dists._discretized_interval import project
from coax.value_transforms import LogTransform

from .laws import assert_law

Box = gymnasium.spaces.Box
DIST = DiscretizedIntervalDist(Box(-1, 3, ()), num_bins=4)  # centres -0.5, 0.5, 1.5, 2.5
WIDE = DiscretizedIntervalDist(Box(-10, 10, ()), num_bins=201)
RNG = np.random.default_rng(0)
SOME = RNG.normal(0, 2, (2, 3, 4)).astype(np.float32)
OTHER = RNG.normal(0, 2, (2, 3, 4)).astype(np.float32)


def one_hot(index, n=4):
    return np.eye(n, dtype=np.float32)[index]


def probs_of(dist_params):
    return scipy.special.softmax(np.asarray(dist_params["logits"], float), axis=-1)


def c51(probs, atoms, scale, shift, f=lambda x: x, f_inverse=lambda x: x):
    """Bellemare et al. (2017), algorithm 1, in loops and float64."""
    K, width = len(atoms), (atoms[-1] - atoms[0]) / (len(atoms) - 1)
    out = np.zeros(K)
    for j in range(K):
        z = min(max(f(scale * f_inverse(atoms[j]) + shift), atoms[0]), atoms[-1])
        b = (z - atoms[0]) / width
        if abs(b - round(b)) < 1e-9:  # exactly on an atom
            out[round(b)] += probs[j]
        else:
            lower, upper = int(np.floor(b)), int(np.ceil(b))
            out[lower] += probs[j] * (upper - b)
            out[upper] += probs[j] * (b - lower)
    return out


AFFINE = [jax.jit(lambda p, a, b, f=f: DIST.affine_transform(p, a, b, f)) for f in (None, LogTransform())]


def log_transform(x):
    return np.sign(x) * np.log1p(np.abs(x))


def exp_transform(y):
    return np.sign(y) * np.expm1(np.abs(y))


# --- the projection ---------------------------------------------------------------------------------------------------


def test_projection_by_hand():
    atoms = [0.0, 1.0, 2.0]
    # 0.25 is 3/4 atom 0 and 1/4 atom 1; 1 is atom 1; 5 goes to atom 2, -7 to atom 0
    np.testing.assert_array_equal(project([1.0, 0.0, 0.0], [0.25, 1.0, 5.0], atoms), [0.75, 0.25, 0])
    np.testing.assert_array_equal(project([0.0, 1.0, 0.0], [0.25, 1.0, 5.0], atoms), [0, 1, 0])
    np.testing.assert_array_equal(project([0.5, 0.0, 0.5], [-7.0, 1.0, 5.0], atoms), [0.5, 0, 0.5])
    # another number of atoms, not of equal distance: 3 is 1/3 of the way from 2 to 5
    np.testing.assert_allclose(
        project([[1.0], [0.5]], [[3.0], [6.0]], [1.0, 2.0, 5.0]), [[0, 2 / 3, 1 / 3], [0, 0, 0.5]]
    )
    np.testing.assert_array_equal(project([0.5, 0.5], [0.5, 2.0], [0.0, 1.0]), [0.25, 0.75])  # two atoms
    np.testing.assert_array_equal(project([0.5, 0.5], [-np.inf, np.inf], atoms), [0.5, 0, 0.5])


@settings(max_examples=100)
@given(st.floats(-2, 2), st.floats(-4, 4), st.integers(0, 10**6), st.booleans())
def test_affine_transform_against_loops(scale, shift, seed, transformed):
    logits = np.random.default_rng(seed).normal(0, 2, (1, 4)).astype(np.float32)
    pair = (log_transform, exp_transform) if transformed else ()
    want = c51(probs_of({"logits": logits})[0], [-0.5, 0.5, 1.5, 2.5], np.float32(scale), np.float32(shift), *pair)
    got = AFFINE[transformed]({"logits": logits}, np.float32(scale), np.float32(shift))
    np.testing.assert_allclose(probs_of(got)[0], want, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "shift", "want"),
    [
        (1.0, 0.0, [0.1, 0.2, 0.3, 0.4]),  # exact hits
        (1.0, 1.0, [0, 0.1, 0.2, 0.7]),  # shifted by one bin, the last one is clipped
        (0.0, 0.5, [0, 1, 0, 0]),  # the end of an episode: all mass on the reward
        (0.0, 0.75, [0, 0.75, 0.25, 0]),
        (0.0, -9.0, [1, 0, 0, 0]),
        (-1.0, 1.0, [0.7, 0.2, 0.1, 0]),  # the centres go to 1.5, 0.5, -0.5, -1.5; the last is clipped: 0.3 + 0.4
    ],
)
def test_affine_transform_by_hand(scale, shift, want):
    p = {"logits": np.log([[0.1, 0.2, 0.3, 0.4]]).astype(np.float32)}
    got = DIST.affine_transform(p, scale, shift)["logits"]
    np.testing.assert_allclose(np.exp(got), [want], atol=1e-6)
    assert np.asarray(got).min() >= np.log(1e-16) - 1e-4


def test_no_mass_is_lost():
    """In float32, with many bins, much of it beyond the ends."""
    logits = {"logits": RNG.normal(0, 3, (50, 201)).astype(np.float32)}
    for scale, shift in ((0.99, RNG.normal(0, 1, 50)), (3.0, RNG.normal(0, 5, 50)), (1.0, 0.1), (0.0, 20.0)):
        moved = WIDE.affine_transform(logits, scale, np.asarray(shift, np.float32))
        np.testing.assert_allclose(np.exp(np.asarray(moved["logits"], float)).sum(-1), 1, atol=1e-6)


def test_the_mean_moves_with_the_numbers():
    """Without clipping: mean' = scale * mean + shift."""
    logits = RNG.normal(0, 1, (50, 201)).astype(np.float32)
    logits[:, :60] = logits[:, -60:] = -np.inf  # mass on [-4, 4]
    scale, shift = RNG.uniform(-1.5, 1.5, (2, 50)).astype(np.float32)
    before = (probs_of({"logits": logits}) * WIDE.atoms).sum(-1)
    moved = WIDE.affine_transform({"logits": logits}, scale, shift)
    np.testing.assert_allclose((probs_of(moved) * WIDE.atoms).sum(-1), scale * before + shift, atol=2e-5)
    np.testing.assert_allclose(WIDE.expectation(moved), scale * before + shift, atol=2e-5)


def test_a_pair_of_functions_is_a_transform():
    want = DIST.affine_transform({"logits": SOME}, 0.5, 1.0, LogTransform())["logits"]
    got = DIST.affine_transform({"logits": SOME}, 0.5, 1.0, tuple(LogTransform()))["logits"]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_doubles(dtype, atol):
    """With 64 bits the dtype of the parameters stays, and doubles are exact to doubles."""
    logits = RNG.normal(0, 3, (5, 201)).astype(dtype)
    with jax.enable_x64(True):
        moved = WIDE.affine_transform({"logits": logits}, 0.3, 1.0)["logits"]
        assert moved.dtype == dtype
        np.testing.assert_allclose(np.exp(np.asarray(moved, float)).sum(-1), 1, atol=atol)
        want = 0.3 * np.asarray(WIDE.expectation({"logits": logits})) + 1
        np.testing.assert_allclose(WIDE.expectation({"logits": moved}), want, atol=5 * atol)
        assert WIDE.sample_element({"logits": logits}, jax.random.key(0)).dtype == dtype


def test_gradient_of_the_projection():
    # d/dx of the mean is 1 for an atom in between, 0 for one that is clipped
    atoms = jnp.array([0.0, 1.0, 2.0])
    slope = jax.grad(lambda x: project(jnp.array([0.5, 0.5]), x, atoms) @ atoms)(jnp.array([0.25, 7.0]))
    np.testing.assert_allclose(slope, [0.5, 0])


# --- against scipy ----------------------------------------------------------------------------------------------------


def test_against_scipy():
    p, q, (a, b) = probs_of({"logits": SOME}), probs_of({"logits": OTHER}), ({"logits": SOME}, {"logits": OTHER})
    entropy, relative = scipy.stats.entropy(p, axis=-1), scipy.stats.entropy(p, q, axis=-1)
    np.testing.assert_allclose(DIST.mean(a), p, rtol=1e-5)
    np.testing.assert_allclose(DIST.entropy(a), entropy, rtol=1e-5)
    np.testing.assert_allclose(DIST.kl_divergence(a, b), relative, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(DIST.cross_entropy(a, b), entropy + relative, rtol=1e-5)
    np.testing.assert_allclose(DIST.log_proba(a, one_hot(np.full((2, 3), 2))), np.log(p[..., 2]), rtol=1e-5)
    np.testing.assert_allclose(DIST.expectation(a), p @ [-0.5, 0.5, 1.5, 2.5], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(DIST.expectation(a, jnp.square), p @ [0.25, 0.25, 2.25, 6.25], rtol=1e-5)
    np.testing.assert_allclose(
        DIST.expectation(a, LogTransform().inverse_func), p @ exp_transform(DIST.atoms), rtol=1e-5
    )
    np.testing.assert_array_equal(DIST.mode(a), np.eye(np.shape(p)[-1])[np.argmax(p, axis=-1)])


@pytest.mark.gate
@pytest.mark.parametrize("how", [jax.jit, jax.vmap], ids=["jit", "vmap"])
def test_transforms_of_functions(how):
    a, b, x = {"logits": SOME}, {"logits": OTHER}, one_hot(np.arange(6).reshape(2, 3) % 4)
    shift = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    for f, args in (
        (DIST.mean, (a,)),
        (DIST.mode, (a,)),
        (DIST.expectation, (a,)),
        (DIST.entropy, (a,)),
        (DIST.kl_divergence, (a, b)),
        (DIST.cross_entropy, (a, b)),
        (DIST.log_proba, (a, x)),
        (lambda p, s: DIST.affine_transform(p, 0.5, s)["logits"], (a, shift)),
        (lambda p, s: DIST.affine_transform(p, s, s, LogTransform())["logits"], (a, shift)),
        (DIST.from_element, (shift,)),
        (lambda X: DIST.to_element(X, None), (x,)),
    ):
        np.testing.assert_allclose(how(f)(*args), f(*args), rtol=1e-5, atol=1e-6)


def test_one_by_one():
    """A batch is its rows."""
    shift = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    whole = DIST.affine_transform({"logits": SOME}, 0.5, shift)["logits"]
    for i, j in np.ndindex(2, 3):
        row = DIST.affine_transform({"logits": SOME[i, j]}, 0.5, shift[i, j])["logits"]
        np.testing.assert_allclose(whole[i, j], row, rtol=1e-5, atol=1e-5)


def test_extremes():
    p = {"logits": np.array([[1e4, -1e4, 0, 1e4], [-1e4, -1e4, -np.inf, 1e4]], np.float32)}
    np.testing.assert_allclose(DIST.entropy(p), [np.log(2), 0], atol=1e-7)
    np.testing.assert_allclose(DIST.expectation(p), [1.0, 2.5])  # (-0.5 + 2.5) / 2
    np.testing.assert_array_equal(DIST.kl_divergence(p, p), [0, 0])
    moved = DIST.affine_transform(p, 1.0, 0.0)
    np.testing.assert_allclose(np.exp(moved["logits"]), [[0.5, 0, 0, 0.5], [0, 0, 0, 1]], atol=1e-7)
    slope = jax.grad(lambda x: (DIST.affine_transform({"logits": x}, 0.9, 0.1)["logits"] * SOME[0, :2]).sum())(
        p["logits"]
    )
    assert np.isfinite(slope).all()


# --- samples ----------------------------------------------------------------------------------------------------------


def test_the_law_of_samples():
    many, probs = {"logits": np.broadcast_to(SOME[0, 0], (20000, 4))}, probs_of({"logits": SOME[0, 0]})
    exact = np.asarray(DIST.sample_element(many, jax.random.key(0)))
    assert set(exact.tolist()) <= {-0.5, 0.5, 1.5, 2.5}
    assert_law([(exact == z).sum() for z in (-0.5, 0.5, 1.5, 2.5)], probs)
    soft = np.asarray(DIST.sample(many, jax.random.key(1)))
    np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-5)
    assert_law(np.bincount(soft.argmax(-1), minlength=4), probs)


def test_the_log_probability_of_a_sample():
    X, logp = DIST.sample_and_log_proba({"logits": SOME}, jax.random.key(2))
    np.testing.assert_array_equal(X, DIST.sample({"logits": SOME}, jax.random.key(2)))
    bins = np.asarray(X).argmax(-1)
    want = np.take_along_axis(np.log(probs_of({"logits": SOME})), bins[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(logp, want, rtol=1e-5)


# --- elements ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [np.float32, int], ids=["floats", "ints"])
def test_the_bin_of_a_number(x):
    # bins [-1, 0), [0, 1), [1, 2), [2, 3]; outside: the first and the last
    numbers = np.array([-7, -1, 0, 1, 2, 3, 9]).astype(x)
    np.testing.assert_array_equal(DIST.preprocess_variate(None, numbers), one_hot([0, 0, 1, 2, 3, 3, 3]))


def test_the_bin_of_a_number_in_between():
    numbers = [-0.001, 0.999, 2.999, 3.0]
    np.testing.assert_array_equal(DIST.preprocess_variate(None, numbers), one_hot([0, 1, 3, 3]))
    np.testing.assert_array_equal(DIST.preprocess_variate(None, 0.25), one_hot([1]))
    assert np.isnan(DIST.preprocess_variate(None, np.nan)).all()  # and not silently some bin


def test_an_element_is_a_mix_of_centres():
    X = np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 1]], np.float32)  # (-0.5 + 0.5) / 2 = 0
    back = DIST.postprocess_variate(jax.random.key(0), X, batch_mode=True)
    np.testing.assert_allclose(back, [0, 2.5])
    assert back.dtype == np.float32
    single = DIST.postprocess_variate(jax.random.key(0), X, index=1)
    assert single == 2.5
    assert DIST.space_orig.contains(single)


def test_there_and_back():
    dist = DiscretizedIntervalDist(Box(-3, 11, (1,)), num_bins=17)
    element = dist.postprocess_variate(None, one_hot(np.arange(17), 17), batch_mode=True)
    assert element.shape == (17, 1)
    np.testing.assert_allclose(element[:, 0], dist.atoms, rtol=1e-6)
    np.testing.assert_array_equal(dist.preprocess_variate(None, element), one_hot(np.arange(17), 17))
    assert dist.sample_element(dist.default_priors, jax.random.key(0)).shape == (1, 1)


def test_integers():
    dist = DiscretizedIntervalDist(Box(0, 12, (), np.int32), num_bins=4)  # centres 1.5, 4.5, 7.5, 10.5
    x = dist.postprocess_variate(None, one_hot([0, 3]), batch_mode=True)
    np.testing.assert_array_equal(x, [2, 10])  # rounded, halves to even
    assert x.dtype == np.int32
    np.testing.assert_array_equal(dist.preprocess_variate(None, x), one_hot([0, 3]))


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_what_it_says_of_itself():
    box = Box(-1, 3, (1,))
    dist = DiscretizedIntervalDist(box, num_bins=4, gumbel_softmax_tau=0.5)
    assert dist.space == gymnasium.spaces.Discrete(4)
    assert dist.space_orig is box
    assert (dist.low, dist.high, dist.num_bins, dist.gumbel_softmax_tau) == (-1, 3, 4, 0.5)
    assert dist.hyperparams == {"num_bins": 4, "gumbel_softmax_tau": 0.5}
    np.testing.assert_array_equal(dist.atoms, [-0.5, 0.5, 1.5, 2.5])
    dist.atoms[:] = 0  # a copy
    np.testing.assert_array_equal(dist.atoms, [-0.5, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(dist.default_priors["logits"], np.zeros((1, 4)))
    same, other = (DiscretizedIntervalDist(Box(-1, high, (1,)), 4, 0.5) for high in (3, 4))
    assert (same, hash(same)) == (dist, hash(dist))
    assert other != dist


@pytest.mark.parametrize("wrong", [Box(0, 1, (2,)), Box(0, 1, (0,)), gymnasium.spaces.Discrete(3), None])
def test_wrong_space(wrong):
    with pytest.raises(TypeError, match=r"space: expected gymnasium\.spaces\.Box of one number.*got .*Fix:"):
        DiscretizedIntervalDist(wrong)


@pytest.mark.parametrize(("low", "high"), [(0, np.inf), (-np.inf, 0), (2, 2)])
def test_wrong_bounds(low, high):
    with pytest.raises(ValueError, match=r"space: expected finite bounds low < high, got \[.*\].*Fix:"):
        DiscretizedIntervalDist(Box(low, high, ()))


@pytest.mark.parametrize("num_bins", [1, 0, -3, 2.0, True, None])
def test_wrong_number_of_bins(num_bins):
    with pytest.raises(ValueError, match=r"num_bins: expected an int of at least 2, got .*Fix:"):
        DiscretizedIntervalDist(Box(0, 1, ()), num_bins)


def test_bins_that_are_too_small():
    with pytest.raises(ValueError, match=r"num_bins: expected bins .* that float32 can tell apart, got 51\. Fix:"):
        DiscretizedIntervalDist(Box(1e6, 1e6 + 1, ()), 51)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"gumbel_softmax_tau: expected a positive number, got 0"):
        DiscretizedIntervalDist(Box(0, 1, ()), 4, 0)
    with pytest.raises(ValueError, match=r"dist_params\['logits'\]: expected shape \(\.\.\., 4\), got \(2, 3\)"):
        DIST.mean({"logits": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"dist_params: expected a dict with the keys \['logits'\], got the keys"):
        DIST.mean({"logit": SOME})
    with pytest.raises(ValueError, match=r"scale: expected a number or shape \(2, 3\), .* got shape \(3,\)"):
        DIST.affine_transform({"logits": SOME}, np.ones(3), 0)
    with pytest.raises(ValueError, match=r"shift: expected a number or shape \(2, 3\), .* got shape \(2, 3, 1\)"):
        DIST.affine_transform({"logits": SOME}, 1, np.ones((2, 3, 1)))
    with pytest.raises(TypeError, match=r"value_transform: expected a ValueTransform"):
        DIST.affine_transform({"logits": SOME}, 1, 1, "log")
    with pytest.raises(ValueError, match=r"X: expected one-hot vectors .* got values from 0.0 to 5.0"):
        DIST.log_proba({"logits": SOME[0, 0]}, [0.0, 0, 5, 0])
    with pytest.raises(ValueError, match=r"mask: expected None for Box.*got ndarray"):
        DIST.masked({"logits": SOME}, np.ones(4, bool))
    assert DIST.masked(DIST.default_priors, None).keys() == {"logits"}
