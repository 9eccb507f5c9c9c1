import functools
import re

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.proba_dists import CategoricalDist, DiscretizedIntervalDist, NormalDist, ProbaDist, SquashedNormalDist
from coax.value_transforms import LogTransform

from .laws import assert_law

Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple = (
    getattr(spaces, name) for name in ("Box", "Dict", "Discrete", "MultiBinary", "MultiDiscrete", "Tuple")
)

# Leaves, row by row: hand (3 Boxes in one), arm 2, 3, 4, 2 choices, go 3 choices, flags 2, 2.
NESTED = Dict(
    hand=Box(-1, 2, (3,)),
    arm=Tuple([MultiDiscrete([[2, 3], [4, 2]], start=[[0, -1], [5, 0]]), Discrete(3, start=1)]),
    flags=MultiBinary(2),
)
DIST = ProbaDist(NESTED)


# --- a slow reference: what the leaves are, found without the code under test -----------------------------------------


def entries(space):
    """The parts of a space by the key under which tuples and dicts hold them; None for a leaf."""
    if isinstance(space, Dict):
        return dict(space.spaces)
    if isinstance(space, Tuple):
        return dict(enumerate(space.spaces))
    if isinstance(space, MultiDiscrete):
        pairs = zip(space.nvec.ravel(), np.ravel(space.start), strict=True)
        return {i: Discrete(int(n), start=int(start)) for i, (n, start) in enumerate(pairs)}
    if isinstance(space, MultiBinary):
        return {i: Discrete(2) for i in range(int(np.prod(space.shape)))}
    return None


def build(space, leaf):
    """Tuples and dicts with something for each leaf."""
    parts = entries(space)
    if parts is None:
        return leaf(space)
    built = {key: build(part, leaf) for key, part in parts.items()}
    return built if isinstance(space, Dict) else tuple(built.values())


def leaves(space, *trees):
    """For each leaf the space, and what the trees hold for it."""
    parts = entries(space)
    if parts is None:
        yield space, *trees
    else:
        for key, part in parts.items():
            yield from leaves(part, *(tree[key] for tree in trees))


def random_params(space, seed, batch=()):
    rng = np.random.default_rng(seed)

    def leaf(part):
        if isinstance(part, Discrete):
            return {"logits": rng.normal(0, 2, (*batch, int(part.n))).astype(np.float32)}
        draw = lambda: rng.normal(0, 1, (*batch, *part.shape)).astype(np.float32)
        return {"mu": draw(), "logvar": draw()}

    return build(space, leaf)


def log_p(part, p, X):
    """What scipy says: f64[B]."""
    if isinstance(part, Discrete):
        return np.sum(X * scipy.special.log_softmax(p["logits"].astype(float), axis=-1), axis=-1)
    each = scipy.stats.norm(p["mu"].astype(float), np.exp(p["logvar"].astype(float) / 2)).logpdf(X)
    return each.reshape(len(each), -1).sum(-1)


def entropy(part, p):
    if isinstance(part, Discrete):
        return scipy.stats.entropy(scipy.special.softmax(p["logits"].astype(float), axis=-1), axis=-1)
    each = scipy.stats.norm(0, np.exp(p["logvar"].astype(float) / 2)).entropy()
    return each.reshape(len(each), -1).sum(-1)


def kl(part, p, q):
    if isinstance(part, Discrete):
        p, q = (scipy.special.softmax(x["logits"].astype(float), axis=-1) for x in (p, q))
        return scipy.stats.entropy(p, q, axis=-1)
    m, n, v, w = (x.astype(float) for x in (p["mu"], q["mu"], np.exp(p["logvar"]), np.exp(q["logvar"])))
    each = (np.log(w / v) + (v + (m - n) ** 2) / w - 1) / 2
    return each.reshape(len(each), -1).sum(-1)


def assert_close(space, x, y):
    """Two elements, or batches of them: equal integers, and floats up to rounding."""
    if isinstance(space, Dict | Tuple):
        for key, part in entries(space).items():
            assert_close(part, x[key], y[key])
    else:
        width = float(np.max(space.high - space.low)) if isinstance(space, Box) and space.dtype.kind == "f" else 0
        np.testing.assert_allclose(np.asarray(x, float), np.asarray(y, float), rtol=0, atol=2e-6 * width)


# --- over random spaces -----------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.builds(lambda n, start: Discrete(n, start=start), st.sampled_from([1, 3, 4]), st.integers(-2, 3)),
    st.sampled_from(
        [
            MultiDiscrete([3, 4]),
            MultiDiscrete([[2, 3], [1, 2]], start=[[1, 0], [-4, 9]]),
            MultiDiscrete([[[2], [3]]]),
            MultiBinary(3),
            MultiBinary((2, 2)),
            Box(-1, 1, ()),
            Box(np.float32([-1, 0]), np.float32([0, 10])),
            Box(2, 3, (2, 1)),
            Box(0, 255, (2,), np.uint8),
        ]
    ),
)


def nest(inner):
    parts = st.lists(inner, min_size=1, max_size=2)
    names = st.sampled_from(["a", "b", "z"])
    return st.one_of(inner, parts.map(Tuple), st.dictionaries(names, inner, min_size=1, max_size=2).map(Dict))


SPACES = nest(nest(nest(LEAVES)))


@pytest.mark.full
@settings(max_examples=200)
@given(SPACES, st.integers(0, 2**31 - 1))
def test_any_space(space, seed):
    dist, p = ProbaDist(space), random_params(space, seed, (2,))
    space.seed(seed)
    key, pairs = jax.random.key(seed), list(leaves(space, p))

    X = dist.sample(p, key)
    sampled = jax.device_get(dist.to_element(X, key))
    with jax.disable_jit():  # compiling so many small programs would take minutes
        singles = [dist.postprocess_variate(key, X, index=i) for i in range(2)]
        own = space.sample()
        assert_close(space, own, dist.postprocess_variate(key, dist.preprocess_variate(None, own)))
    for i in range(2):
        assert space.contains(singles[i])
        assert_close(space, singles[i], jax.tree.map(lambda x: x[i], sampled))  # noqa: B023

    there = dist.preprocess_variate(None, sampled)
    assert_close(space, sampled, dist.to_element(there, key))
    want = sum(log_p(*jax.device_get(x)) for x in leaves(space, p, there))
    np.testing.assert_allclose(dist.log_proba(p, there), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dist.entropy(p), sum(entropy(*pair) for pair in pairs), rtol=1e-5, atol=1e-5)
    p1, X1 = jax.tree.map(lambda x: x[1], (p, there))
    np.testing.assert_allclose(dist.log_proba(p1, X1), want[1], rtol=1e-5, atol=1e-5)


# --- sums over the leaves ---------------------------------------------------------------------------------------------


def test_by_hand():
    # Tuple of a fair coin, a 1-in-4 choice and a standard normal at its mean, sigmoid(0) = 1/2 of the way:
    # log p = log 1/2 + log 1/4 - log(2 pi) / 2 ; H = log 2 + log 4 + (log(2 pi) + 1) / 2
    dist = ProbaDist(Tuple([Discrete(2), Discrete(4), Box(0, 10, ())]))
    p = dist.default_priors
    X = dist.preprocess_variate(None, (1, 3, 5.0))
    half = 0.9189385  # log(2 pi) / 2
    np.testing.assert_allclose(dist.log_proba(p, X), [-3 * 0.6931472 - half], rtol=1e-6)
    np.testing.assert_allclose(dist.entropy(p), [3 * 0.6931472 + half + 0.5], rtol=1e-6)
    # against a normal one further: KL = 1/2
    q = (*p[:2], {"mu": np.ones(1), "logvar": np.zeros(1)})
    np.testing.assert_allclose(dist.kl_divergence(p, q), [0.5], rtol=1e-6)
    np.testing.assert_allclose(dist.cross_entropy(p, q), [3 * 0.6931472 + half + 1], rtol=1e-6)


@pytest.mark.gate
def test_against_scipy():
    p, q = random_params(NESTED, 0, (7,)), random_params(NESTED, 1, (7,))
    h, d = sum(entropy(*x) for x in leaves(NESTED, p)), sum(kl(*x) for x in leaves(NESTED, p, q))
    np.testing.assert_allclose(DIST.entropy(p), h, rtol=1e-5)
    np.testing.assert_allclose(DIST.kl_divergence(p, q), d, rtol=1e-5)
    np.testing.assert_allclose(DIST.cross_entropy(p, q), h + d, rtol=1e-5)
    X, logp = DIST.sample_and_log_proba(p, jax.random.key(0))
    hard = DIST.preprocess_variate(None, DIST.postprocess_variate(jax.random.key(0), X, batch_mode=True))
    want = sum(log_p(*map(jax.device_get, x)) for x in leaves(NESTED, p, {**hard, "hand": X["hand"]}))
    np.testing.assert_allclose(logp, want, rtol=1e-5)
    for (part, a), x in zip(leaves(NESTED, DIST.mean(p)), leaves(NESTED, p), strict=True):
        want = scipy.special.softmax(x[1]["logits"], axis=-1) if isinstance(part, Discrete) else x[1]["mu"]
        np.testing.assert_allclose(a, want, rtol=1e-5)
    for (part, a), x in zip(leaves(NESTED, DIST.mode(p)), leaves(NESTED, p), strict=True):
        best = a.argmax(-1) == x[1]["logits"].argmax(-1) if isinstance(part, Discrete) else a == x[1]["mu"]
        assert best.all()


@pytest.mark.full
@pytest.mark.parametrize("how", [jax.jit, jax.vmap], ids=["jit", "vmap"])
def test_transforms_of_functions(how):
    p, q = random_params(NESTED, 2, (2, 3)), random_params(NESTED, 3, (2, 3))
    key = jax.random.key(0)
    X = DIST.sample(p, key)
    x = DIST.sample_element(p, key)
    keys = jax.random.split(key, 2)
    for f, args in (
        (DIST.mean, (p,)),
        (DIST.mode, (p,)),
        (DIST.entropy, (p,)),
        (DIST.kl_divergence, (p, q)),
        (DIST.cross_entropy, (p, q)),
        (DIST.log_proba, (p, X)),
        (DIST.from_element, (x,)),
        (DIST.masked, (p, {"flags": np.broadcast_to([True, False, True, True], (2, 3, 4))})),
    ):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), how(f)(*args), f(*args))
    for f in (DIST.sample, DIST.sample_element, DIST.sample_and_log_proba):
        got = how(f)(p, key) if how is jax.jit else how(f)(p, keys)
        want = f(p, key)
        if how is jax.vmap:
            rows = [f(jax.tree.map(lambda v: v[i], p), keys[i]) for i in range(2)]  # noqa: B023
            want = jax.tree.map(lambda *v: np.stack(v), *rows)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), got, want)


@pytest.mark.gate
def test_logits_far_apart():
    space = Tuple([Discrete(3), MultiBinary(1)])
    p = ({"logits": np.float32([[1e4, -1e4, 1e4]])}, ({"logits": np.float32([[-1e4, 1e4]])},))
    dist, key = ProbaDist(space), jax.random.key(0)
    np.testing.assert_allclose(dist.entropy(p), [np.log(2)], rtol=1e-6)
    np.testing.assert_array_equal(dist.kl_divergence(p, p), [0])
    for f in (dist.entropy, lambda p: dist.kl_divergence(p, dist.default_priors), lambda p: dist.sample(p, key)[0]):
        slope = jax.grad(lambda p: (f(p) ** 2).sum())(p)  # noqa: B023
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


# --- samples ----------------------------------------------------------------------------------------------------------


def test_a_single_leaf_gets_the_key_itself():
    p, key = random_params(Discrete(4), 0, (5,)), jax.random.key(7)
    simple = CategoricalDist(Discrete(4))
    np.testing.assert_array_equal(ProbaDist(Discrete(4)).sample(p, key), simple.sample(p, key))
    np.testing.assert_array_equal(ProbaDist(Discrete(4)).sample_element(p, key), simple.sample_element(p, key))
    (nested,) = ProbaDist(Tuple([Discrete(4)])).sample((p,), key)
    np.testing.assert_array_equal(nested, simple.sample(p, key))
    p = random_params(Box(0, 1, (2,)), 0, (5,))
    np.testing.assert_array_equal(ProbaDist(Box(0, 1, (2,))).sample(p, key), NormalDist(Box(0, 1, (2,))).sample(p, key))


def test_the_law_of_samples():
    """Jointly: each pair of entries is as frequent as the product of their probabilities, though from one key."""
    dist = ProbaDist(MultiDiscrete([2, 3], start=[4, 0]))
    p = ({"logits": np.log(np.float32([0.3, 0.7]))}, {"logits": np.log(np.float32([0.2, 0.2, 0.6]))})
    many = jax.tree.map(lambda x: np.broadcast_to(x, (20000, *x.shape)), p)
    probs = np.outer([0.3, 0.7], [0.2, 0.2, 0.6]).ravel()
    exact = np.asarray(dist.sample_element(many, jax.random.key(0)))
    soft = dist.postprocess_variate(jax.random.key(2), dist.sample(many, jax.random.key(1)), batch_mode=True)
    for x in (exact, soft):
        assert_law(np.bincount(3 * (x[:, 0] - 4) + x[:, 1], minlength=6), probs)


def test_the_law_of_equal_leaves():
    dist = ProbaDist(MultiBinary(2))
    many = jax.tree.map(lambda x: np.broadcast_to(x, (20000, 2)), dist.default_priors)
    x = np.asarray(dist.sample_element(many, jax.random.key(3)))
    assert_law(np.bincount(2 * x[:, 0] + x[:, 1], minlength=4), np.full(4, 0.25))


# --- structure --------------------------------------------------------------------------------------------------------


def test_the_structure_of_parameters_and_variates():
    p = DIST.default_priors
    assert jax.tree.map(np.shape, p, is_leaf=lambda x: hasattr(x, "shape")) == {
        "arm": (({"logits": (1, 2)}, {"logits": (1, 3)}, {"logits": (1, 4)}, {"logits": (1, 2)}), {"logits": (1, 3)}),
        "flags": ({"logits": (1, 2)}, {"logits": (1, 2)}),
        "hand": {"mu": (1, 3), "logvar": (1, 3)},
    }
    assert DIST.dist_params_structure == jax.tree.structure(p)
    lists = jax.tree.structure({"arm": [[0, 0, 0, 0], 0], "flags": [0, 0], "hand": 0})
    for X in (
        DIST.sample(p, jax.random.key(0)),
        DIST.mean(p),
        DIST.mode(p),
        DIST.preprocess_variate(None, NESTED.sample()),
    ):
        assert jax.tree.structure(X) == lists
    assert jax.tree.structure(DIST.masked(p, None)) == DIST.dist_params_structure


@pytest.mark.gate
def test_lists_and_tuples_are_equally_good():
    p = random_params(NESTED, 0, (2,))
    as_lists = {**p, "arm": [list(p["arm"][0]), p["arm"][1]], "flags": list(p["flags"])}
    X = DIST.sample(p, jax.random.key(0))
    as_tuples = {**X, "arm": (tuple(X["arm"][0]), X["arm"][1])}
    np.testing.assert_array_equal(DIST.log_proba(as_lists, as_tuples), DIST.log_proba(p, X))
    np.testing.assert_array_equal(DIST.entropy(as_lists), DIST.entropy(p))


def test_elements():
    x = DIST.postprocess_variate(jax.random.key(0), DIST.sample(DIST.default_priors, jax.random.key(1)))
    assert NESTED.contains(x)
    assert list(x) == list(NESTED.spaces)
    assert type(x["arm"]) is tuple
    assert type(x["arm"][1]) is int
    assert (x["arm"][0].dtype, x["flags"].dtype, x["hand"].dtype) == (np.int64, np.int8, np.float32)


def test_rows_of_a_multidiscrete():
    """Entries are numbered row by row, from their own starts."""
    dist = ProbaDist(MultiDiscrete([[2, 3], [4, 2]], start=[[0, -1], [5, 0]]))
    X = dist.preprocess_variate(None, [[1, 0], [8, 1]])
    for got, (index, n) in zip(X, [(1, 2), (1, 3), (3, 4), (1, 2)], strict=True):
        np.testing.assert_array_equal(got, np.eye(n)[[index]])
    np.testing.assert_array_equal(dist.postprocess_variate(jax.random.key(0), X), [[1, 0], [8, 1]])


def test_hyperparameters_of_the_leaves():
    dist = ProbaDist(
        Dict(a=Tuple([Discrete(2), Box(-1, 1, (2,))]), b=MultiBinary(2)),
        discrete=functools.partial(CategoricalDist, gumbel_softmax_tau=0.7),
        box=functools.partial(NormalDist, clip_logvar=(-3.0, 3.0)),
    )
    assert dist.hyperparams["a"][0] == {"gumbel_softmax_tau": 0.7}
    assert dist.hyperparams["a"][1]["clip_logvar"] == (-3.0, 3.0)
    assert dist.hyperparams["b"] == ({"gumbel_softmax_tau": 0.7},) * 2
    assert isinstance(dist.hyperparams["b"], tuple)
    logits, key = np.float32([[0.3, -0.2]]), jax.random.key(0)
    want = CategoricalDist(Discrete(2), 0.7).sample({"logits": logits}, key)
    got = ProbaDist(Discrete(2), discrete=functools.partial(CategoricalDist, gumbel_softmax_tau=0.7))
    np.testing.assert_array_equal(got.sample({"logits": logits}, key), want)


def test_other_distributions_for_the_leaves():
    space = Tuple([Discrete(2), Box(-1, 3, ())])
    dist = ProbaDist(space, box=functools.partial(DiscretizedIntervalDist, num_bins=4))
    assert dist.default_priors[1]["logits"].shape == (1, 4)
    x = dist.postprocess_variate(jax.random.key(0), dist.preprocess_variate(None, (1, 1.2)))
    assert x == (1, 1.5)  # the centre of [1, 2)
    assert space.contains(x)
    np.testing.assert_allclose(dist.entropy(dist.default_priors), [np.log(2) + np.log(4)], rtol=1e-6)
    squashed = ProbaDist(space, box=SquashedNormalDist)
    assert space.contains(squashed.postprocess_variate(jax.random.key(0), squashed.mode(squashed.default_priors)))


def test_the_distributions_of_a_user_are_not_changed():
    mine = CategoricalDist(Discrete(2))
    dist = ProbaDist(Tuple([Discrete(2), Discrete(2)]), discrete=lambda space: mine)
    for i in (0, 1):
        p = [{"logits": np.zeros((1, 2))}, {"logits": np.zeros((1, 2))}]
        p[i] = {"logits": np.zeros((1, 3))}
        with pytest.raises(ValueError, match=rf"dist_params\[{i}\]\['logits'\]: expected shape"):
            dist.entropy(p)
    with pytest.raises(ValueError, match=r"dist_params\['logits'\]: expected shape"):
        mine.entropy({"logits": np.zeros((1, 3))})


def test_equality():
    other = ProbaDist(NESTED, discrete=functools.partial(CategoricalDist, gumbel_softmax_tau=0.3))
    assert ProbaDist(NESTED) == DIST
    assert hash(ProbaDist(NESTED)) == hash(DIST)
    assert other != DIST
    assert other == ProbaDist(NESTED, discrete=lambda space: CategoricalDist(space, 0.3))
    assert ProbaDist(Discrete(2)) != ProbaDist(Discrete(2, start=1))
    assert ProbaDist(Discrete(2)) != CategoricalDist(Discrete(2))


# --- affine transforms ------------------------------------------------------------------------------------------------

BOXES = Dict(a=Box(-1, 1, (2,)), b=Tuple([Box(-1, 1, ()), Box(0, 1, (1,))]))


def test_affine_transform_by_hand():
    dist, p = ProbaDist(BOXES), random_params(BOXES, 0, (3,))
    a, b, c = p["a"]["mu"], p["b"][0]["mu"], p["b"][1]["mu"]
    one = np.float32([1, 2, 3])
    for scale, shift, want in (
        (2.0, -1.0, (2 * a - 1, 2 * b - 1, 2 * c - 1)),
        (one, 0.5, (one[:, None] * a + 0.5, one * b + 0.5, one[:, None] * c + 0.5)),
        ({"a": 2.0, "b": (one, 4.0)}, {"a": -1.0, "b": [0.0, one]}, (2 * a - 1, one * b, 4 * c + one[:, None])),
        ({"a": 2.0, "b": 3.0}, 0.0, (2 * a, 3 * b, 3 * c)),
    ):
        got = dist.affine_transform(p, scale, shift)
        assert jax.tree.structure(got) == dist.dist_params_structure
        for x, y in zip((got["a"], *got["b"]), want, strict=True):
            np.testing.assert_allclose(x["mu"], y, rtol=1e-5, atol=1e-6)
    moved = dist.affine_transform(p, 2.0, -1.0)["a"]["logvar"]  # the variance is multiplied by 4
    np.testing.assert_allclose(moved, p["a"]["logvar"] + np.log(4), rtol=1e-5, atol=1e-6)


def test_affine_transform_with_value_transforms():
    dist, p, log = ProbaDist(BOXES), random_params(BOXES, 0, (3,)), LogTransform()
    f = lambda x: np.sign(x) * np.log1p(np.abs(x))
    x = p["a"]["mu"].astype(float)
    want = f(0.5 * np.sign(x) * np.expm1(np.abs(x)) + 2)
    for transform in (log, tuple(log), {"a": log, "b": None}, {"a": tuple(log), "b": (None, log)}):
        np.testing.assert_allclose(dist.affine_transform(p, 0.5, 2.0, transform)["a"]["mu"], want, rtol=1e-5)
    got = dist.affine_transform(p, 0.5, 2.0, {"a": log, "b": None})["b"][0]["mu"]
    np.testing.assert_allclose(got, 0.5 * p["b"][0]["mu"] + 2, rtol=1e-5)


def test_affine_transform_errors():
    dist, p = ProbaDist(BOXES), random_params(BOXES, 0, (3,))
    with pytest.raises(ValueError, match=r"scale\['b'\]: expected a tuple of 2 for Tuple.*, got tuple of length 3"):
        dist.affine_transform(p, {"a": 1.0, "b": (1.0, 1.0, 1.0)}, 0.0)
    with pytest.raises(
        ValueError, match=r"shift: expected a dict with keys \['a', 'b'\] for Dict.*got the keys \['a'\]"
    ):
        dist.affine_transform(p, 1.0, {"a": 1.0})
    with pytest.raises(NotImplementedError, match="not numbers"):
        DIST.affine_transform(DIST.default_priors, 1.0, 0.0)


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.gate
def test_masked():
    """What is excluded has probability and gradient exactly 0 and is never sampled, whatever its logit."""
    p = random_params(NESTED, 5, (2000,))
    p["arm"][1]["logits"][:, 0] = 1e4
    mask = {
        "arm": (np.bool_([1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1]), np.bool_([0, 1, 1])),
        "flags": (np.bool_([0, 1]), np.bool_([1, 1])),
    }
    masked = DIST.masked(p, mask)
    x = DIST.sample_element(masked, jax.random.key(0))
    soft = DIST.postprocess_variate(jax.random.key(1), DIST.sample(masked, jax.random.key(2)), batch_mode=True)
    for found in (x, soft):
        arm, go, flags = (np.asarray(part) for part in (*found["arm"], found["flags"]))
        # starts 0, -1, 5, 0, and 1
        seen = [set(arm[:, i, j].tolist()) for i in (0, 1) for j in (0, 1)]
        assert seen == [{0}, {-1, 0}, {6, 8}, {0, 1}]
        assert set(go.tolist()) == {2, 3}
        assert [set(flags[:, i].tolist()) for i in (0, 1)] == [{1}, {0, 1}]
    mean = DIST.mean(masked)
    np.testing.assert_array_equal(mean["arm"][0][2][:, [0, 2]], 0)
    np.testing.assert_array_equal(mean["arm"][1][:, 0], 0)
    # 1 - softmax over the others
    others = scipy.special.softmax(p["arm"][1]["logits"][:, 1:].astype(float), axis=-1)
    np.testing.assert_allclose(mean["arm"][1][:, 1:], others, rtol=1e-5)
    np.testing.assert_array_equal(masked["hand"]["mu"], p["hand"]["mu"])


@pytest.mark.gate
@pytest.mark.parametrize(
    "what", ["entropy", "log_proba", "kl_divergence", "cross_entropy", "sample_and_log_proba", "mean"]
)
def test_gradients_under_a_mask(what):
    space = Tuple([Discrete(3), MultiBinary(1)])
    dist, key = ProbaDist(space), jax.random.key(0)
    mask = (np.bool_([1, 0, 1]), np.bool_([0, 1]))
    X = dist.preprocess_variate(None, [(2), [1]])

    def value(p):
        masked = dist.masked(p, mask)
        extra = {"log_proba": (X,), "sample_and_log_proba": (key,), "entropy": (), "mean": ()}.get(what, (masked,))
        out = getattr(dist, what)(masked, *extra)
        return sum((x**2 * np.arange(1.0, 1 + x.size).reshape(x.shape)).sum() for x in jax.tree.leaves(out))

    p = ({"logits": np.float32([[0.3, 1e4, -2]])}, ({"logits": np.float32([[1e4, -1e4]])},))
    slope = jax.grad(value)(p)
    assert slope[0]["logits"][0, 1] == 0
    assert slope[1][0]["logits"][0, 0] == 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


def test_no_mask():
    p = random_params(NESTED, 0, (2,))
    for mask in (None, {}, {"arm": None}, {"arm": (None, None), "flags": None, "hand": None}):
        jax.tree.map(np.testing.assert_array_equal, DIST.masked(p, mask), p)


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (
            {"arm": (None, np.ones(4, bool))},
            r"expected a mask of shape \(\.\.\., 3\), one entry per choice, got \(4,\)",
        ),
        ({"arm": (None, np.zeros(3, bool))}, r"expected at least one allowed choice in every row"),
        (
            {"arm": (np.ones(7, bool), None)},
            r"mask\['arm'\]\[0\]: expected a mask per entry, of lengths \[2, 3, 4, 2\]",
        ),
        ({"arm": np.ones(3, bool)}, r"mask\['arm'\]: expected a tuple of 2 masks, got ndarray"),
        ({"leg": np.ones(3, bool)}, r"mask: expected a dict of masks with keys from \['hand', 'arm', 'flags'\], got"),
        ({"hand": np.ones(3, bool)}, r"mask: expected None for Box.*which has no choices to exclude"),
    ],
)
def test_wrong_masks(mask, text):
    with pytest.raises(ValueError, match=text):
        DIST.masked(DIST.default_priors, mask)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (spaces.Text(3), r"space: expected Discrete, Box, .* got Text\(.*Fix:"),
        (Dict(a=Discrete(2), b=Tuple([Discrete(2), spaces.Text(3)])), r"space\['b'\]\[1\]: expected .* got Text\("),
        (Tuple([spaces.Sequence(Discrete(2))]), r"space\[0\]: expected .* got Sequence\("),
        (Dict(g=spaces.Graph(Box(0, 1, (2,)), None)), r"space\['g'\]: expected .* got Graph\("),
        ("Discrete", r"space: expected .* got 'Discrete'"),
        (None, r"space: expected .* got None"),
        (Tuple([]), r"space: expected a space with at least one leaf, got Tuple\(\)"),
    ],
)
def test_wrong_space(space, text):
    with pytest.raises(TypeError, match=text):
        ProbaDist(space)


@pytest.mark.parametrize(("name", "space"), [("discrete", Discrete(2)), ("box", Box(0, 1, ()))])
def test_wrong_maker(name, space):
    with pytest.raises(
        TypeError, match=rf"{name}: expected a function that returns a distribution, got str for .*Fix:"
    ):
        ProbaDist(space, **{name: lambda space: "normal"})


def pattern(text):
    """A regular expression for a text, where ~ stands for anything."""
    return "(?s)" + ".*".join(map(re.escape, text.split("~")))


def change(tree, path, new):
    """A copy of nested tuples and dicts with another thing at `path`."""
    if not path:
        return new
    key, *rest = path
    done = dict(tree) if isinstance(tree, dict) else dict(enumerate(tree))
    done[key] = change(done[key], rest, new)
    return done if isinstance(tree, dict) else tuple(done.values())


@pytest.mark.parametrize(
    ("path", "new", "text"),
    [
        (["arm", 1, "logits"], np.zeros((1, 4)), "['arm'][1]['logits']: expected shape (..., 3), got (1, 4)"),
        (["arm", 0, 2], {"x": 0}, "['arm'][0][2]: expected a dict with the keys ['logits'], got the keys ['x']"),
        (["arm"], (), "['arm']: expected a tuple of 2 for Tuple~got tuple of length 0. Fix:"),
        (["arm", 0], np.zeros((1, 4)), "['arm'][0]: expected a tuple of 4 for MultiDiscrete~got ndarray"),
        (["flags"], {"x": 0}, "['flags']: expected a tuple of 2 for MultiBinary(2), got the keys ['x']"),
        (["hand", "mu"], np.zeros((1, 2)), "['hand']['mu']: expected shape (..., 3), got (1, 2)"),
        (["hand", "logvar"], np.zeros((2, 3)), "['hand']['logvar']: expected shape (1, 3), got (2, 3)"),
        ([], {"arm": 0}, ": expected a dict with keys ['hand', 'arm', 'flags'] for Dict~got the keys ['arm']"),
        ([], None, ": expected a dict~got NoneType"),
        (
            ["arm", 1, "logits"],
            np.zeros((5, 3)),
            ": expected the same leading axes on all parts, got (1,) in dist_params['hand'] and (5,) in "
            "dist_params['arm'][1]. Fix:",
        ),
    ],
)
def test_wrong_parameters(path, new, text):
    p = change(DIST.default_priors, path, new)
    text = pattern("dist_params" + text)
    for f in (DIST.entropy, DIST.mean, lambda p: DIST.sample(p, jax.random.key(0)), lambda p: DIST.masked(p, None)):
        with pytest.raises(ValueError, match=text):
            f(p)
    with pytest.raises(ValueError, match=text):
        DIST.kl_divergence(DIST.default_priors, p)


def test_wrong_elements():
    arm = [[0, 0], [5, 0]]
    good = {"hand": np.zeros(3), "arm": (arm, 1), "flags": [0, 1]}
    DIST.preprocess_variate(None, good)
    for wrong, error, text in (
        ({"arm": (arm, 0)}, ValueError, "X['arm'][1]: expected elements of Discrete(3, start=1)"),
        ({"arm": (arm, 1.5)}, TypeError, "X['arm'][1]: expected integers for Discrete(3, start=1), got float64"),
        ({"flags": [0, 2]}, ValueError, "X['flags']: expected elements of MultiBinary(2), got values from 0 to 2"),
        ({"hand": np.zeros(2)}, ValueError, "X['hand']: expected shape [..., 3], got shape (2,)"),
        ({"leg": 0}, ValueError, "X: expected a mapping with the keys ['hand', 'arm', 'flags'], got the keys"),
    ):
        with pytest.raises(error, match=pattern(text)):
            DIST.preprocess_variate(None, {**good, **wrong})


def test_wrong_variates():
    p = DIST.default_priors
    X = DIST.mode(p)
    with pytest.raises(ValueError, match=r"X: expected one-hot vectors .* got values from 0.0 to 7.0"):
        DIST.log_proba(p, {**X, "flags": [np.float32([[0, 7]]), X["flags"][1]]})
    with pytest.raises(ValueError, match=pattern("X['arm']: expected a tuple of 2 for Tuple~got ndarray")):
        DIST.log_proba(p, {**X, "arm": np.zeros(2)})
    with pytest.raises(ValueError, match=r"X: expected variates of shape \(\.\.\., 3\), got shape \(1, 2\)"):
        DIST.log_proba(p, {**X, "hand": np.zeros((1, 2))})


def test_frozen():
    assert isinstance(DIST.space, gymnasium.Space)
    with pytest.raises(AttributeError):
        DIST.space = Discrete(2)
    with pytest.raises(AttributeError):
        DIST.default_priors = jnp.zeros(2)
