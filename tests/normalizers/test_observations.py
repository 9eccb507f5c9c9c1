"""Running moments of observations: those of all that was seen, however it came in and however long it took."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.wrappers.utils import RunningMeanStd

import coax
from coax import ObservationNormalizer
from coax.errors import StateError
from tests.compilations import compilations

BOX = Box(-np.inf, np.inf, (3,), np.float32)


def rows(seed, *lead, offset=5.0, scale=(0.1, 1.0, 30.0)):
    return (offset + np.array(scale) * np.random.default_rng(seed).normal(size=(*lead, 3))).astype(np.float32)


def state_of(normalizer):
    return jax.tree.map(np.asarray, normalizer.state)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_by_hand():
    normalizer = ObservationNormalizer(Box(-100, 100, (2,)), clip=3.0)
    # nothing is known: only clipped
    np.testing.assert_array_equal(normalizer.norm([2.0, -50.0]), [2, -3])
    normalizer.update([10.0, 1.0])
    # one row: shifted by it, and not scaled
    np.testing.assert_array_equal(normalizer.norm([12.0, 0.0]), [2, -1])
    normalizer.update([[30.0, 1.0], [50.0, 1.0]])
    # 10, 30 and 50: mean 30, variance (400 + 0 + 400) / 3; the other never varied
    np.testing.assert_allclose(normalizer.mean, [30, 1], rtol=1e-12)
    np.testing.assert_allclose(normalizer.std, [np.sqrt(800 / 3), 0], rtol=1e-7)
    np.testing.assert_allclose(normalizer.norm([[10.0, 1.5], [90.0, 1.0]]), [[-20 / np.sqrt(800 / 3), 0.5], [3, 0]])
    assert (normalizer.count, normalizer.skipped) == (3, 0)
    assert (normalizer.mean.dtype, normalizer.norm([0.0, 0.0]).dtype) == (np.float64, np.float32)


def test_epsilon_is_added_to_the_variance():
    normalizer = ObservationNormalizer(Box(-100, 100, (1,)), epsilon=9.0)
    normalizer.update([[-4.0], [4.0]])
    # 10 / sqrt(16 + 9)
    np.testing.assert_allclose(normalizer.norm([10.0]), [2.0], rtol=1e-6)
    assert normalizer.std == 4.0


@pytest.mark.parametrize("lead", [(), (7,), (3, 4)])
def test_all_that_was_seen(lead):
    normalizer, seen, oracle = ObservationNormalizer(BOX), [], RunningMeanStd(epsilon=0, shape=(3,))
    rng = np.random.default_rng(0)
    for i in range(20):
        S, mask = rows(i, *lead), rng.random(lead) < 0.7 if i % 2 else None
        normalizer.update(S, mask)
        counted = S[np.ones(lead, bool) if mask is None else mask].reshape(-1, 3)
        seen.append(counted)
        if len(counted):
            oracle.update(counted.astype(np.float64))
        everything = np.concatenate(seen).astype(np.float64)
        np.testing.assert_allclose(normalizer.mean, everything.mean(axis=0), rtol=2e-6, atol=3e-6)
        np.testing.assert_allclose(normalizer.std, everything.std(axis=0), rtol=1e-5)
        np.testing.assert_allclose(normalizer.std**2, oracle.var, rtol=2e-5)
        assert normalizer.count == len(everything)
    S = rows(99, *lead)
    true = (S - everything.mean(axis=0)) / np.sqrt(everything.var(axis=0) + 1e-8)
    np.testing.assert_allclose(normalizer.norm(S), true, rtol=2e-4, atol=2e-5)
    assert normalizer.norm(S).shape == (*lead, 3)


def test_far_from_zero():
    # the spread is a hundredth of a thousandth of the mean, and float32 has seven digits
    S = rows(1, 300_000, offset=1e4, scale=(0.1, 0.3, 1.0))
    true = S.astype(np.float64)
    normalizer = ObservationNormalizer(BOX)
    coax.scan(normalizer.update, over=normalizer, xs=S)
    np.testing.assert_allclose(normalizer.mean, true.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(normalizer.std, true.std(axis=0), rtol=1e-4)
    at_once = ObservationNormalizer(BOX)
    at_once.update(S)
    np.testing.assert_allclose(at_once.mean, true.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(at_once.std, true.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(at_once.norm(S[:100]), (true[:100] - true.mean(axis=0)) / true.std(axis=0), atol=1e-3)


def test_a_feature_that_never_varies_is_zero():
    normalizer = ObservationNormalizer(BOX)
    S = np.full((7, 3), [0.1, 1e7, -3e-5], np.float32)
    for _ in range(10):
        normalizer.update(S)
    assert normalizer.std.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(normalizer.norm(S), np.zeros((7, 3)))


@pytest.mark.gate
def test_after_so_many_that_float32_would_stand_still():
    normalizer, n = ObservationNormalizer(BOX), 2**40
    moments = np.array([[1000.0] * 3, [0.0] * 3, [1.0] * 3, [0.0] * 3], np.float32)
    counts = np.array([[0, n >> 32], [0, 0]], np.uint32)
    normalizer.state = {**normalizer.state, "moments": moments, "counts": counts}
    S = np.full((1000, 3), 1001.0, np.float32)
    coax.scan(lambda: normalizer.update(S), 1000, over=normalizer)
    # a million ones more: neither 1000 + 9.1e-7 nor this count has a float32
    assert normalizer.count == n + 10**6
    np.testing.assert_allclose(normalizer.mean - 1000, 10**6 / (n + 10**6), rtol=1e-3)
    # the variance of a mixture, m of 1001 among n + m: (n / (n + m)) (1 + m / (n + m)), less than 1 by 1e-12
    assert abs(normalizer.std - 1).max() < 1e-9
    normalizer.state = {
        **normalizer.state,
        "moments": np.repeat(np.float32([[0], [0], [1], [0]]), 3, 1),
        "counts": counts,
    }
    S = np.repeat([[3.0], [-3.0]], 500, axis=0).repeat(3, axis=1).astype(np.float32)
    coax.scan(lambda: normalizer.update(S), 1000, over=normalizer)
    # the variance (n + 9 m) / (n + m) = 1 + 7.3e-6, in steps of 7e-9
    np.testing.assert_allclose(normalizer.std**2 - 1, 8 * 10**6 / (n + 10**6), rtol=1e-3)


def test_the_count_goes_on_beyond_32_bits():
    normalizer = ObservationNormalizer(BOX)
    normalizer.state = {**normalizer.state, "counts": np.array([[2**32 - 2, 0], [2**32 - 1, 5]], np.uint32)}
    normalizer.update(np.concatenate([rows(0, 5), np.full((2, 3), np.nan, np.float32)]))
    assert (normalizer.count, normalizer.skipped) == (2**32 + 3, 6 * 2**32 + 1)
    seen = coax.jit(lambda: (normalizer.count, normalizer.skipped), over=normalizer)()
    np.testing.assert_allclose(seen, (2**32 + 3, 6 * 2**32 + 1), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -3e38])
@pytest.mark.parametrize("when", [0, 1])
def test_what_is_not_finite_is_skipped(bad, when):
    normalizer, good = ObservationNormalizer(BOX), rows(0, 4)
    broken = rows(1, 2)
    broken[0, 1] = bad
    for S in (broken, good) if when == 0 else (good, broken):
        normalizer.update(S)
    assert (normalizer.count, normalizer.skipped) == (5, 1)
    seen = np.concatenate([good, broken[1:]]).astype(np.float64)
    np.testing.assert_allclose(normalizer.mean, seen.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(normalizer.std, seen.std(axis=0), rtol=1e-5)


def test_normalizing_what_is_not_finite():
    normalizer = ObservationNormalizer(BOX)
    normalizer.update(rows(0, 4))
    np.testing.assert_array_equal(normalizer.norm([np.nan, np.inf, -np.inf]), [np.nan, 10, -10])
    unbounded = ObservationNormalizer(BOX, clip=np.inf)
    np.testing.assert_array_equal(unbounded.norm([1e9, np.inf, -np.inf]), np.float32([1e9, np.inf, -np.inf]))


def test_dummy_rows_count_nothing_even_if_they_are_nan():
    normalizer, other = ObservationNormalizer(BOX), ObservationNormalizer(BOX)
    S = rows(0, 4)
    S[1] = np.nan
    normalizer.update(S, [True, False, True, True])
    other.update(S[[0, 2, 3]])
    assert (normalizer.count, normalizer.skipped) == (3, 0)
    np.testing.assert_allclose(normalizer.std, other.std, rtol=1e-6)
    before = state_of(normalizer)
    normalizer.update(S, np.zeros(4, bool))
    normalizer.update(np.full(3, np.nan), False)
    assert_same(before, state_of(normalizer))


SPACE = Dict(
    {
        "position": Box(-1, 1, (2, 2), np.float64),
        "pixels": Box(0, 255, (3,), np.uint8),
        "rest": Tuple((Discrete(5, start=2), Box(0, 1, ()), MultiBinary(3), MultiDiscrete([3, 4]))),
    }
)


def nested(seed, *lead):
    rng = np.random.default_rng(seed)
    rest = rng.integers(2, 7, lead), rng.random(lead, np.float32), rng.integers(0, 2, (*lead, 3)).astype(np.int8)
    return {
        "position": rng.normal(size=(*lead, 2, 2)),
        "pixels": rng.integers(0, 256, (*lead, 3)).astype(np.uint8),
        "rest": (*rest, rng.integers(0, 3, (*lead, 2))),
    }


def test_nested_observations():
    normalizer, S = ObservationNormalizer(SPACE), nested(0, 50)
    normalizer.update(S)
    for path in (("position",), ("pixels",), ("rest", 1)):
        given, mean, std, normed = S, normalizer.mean, normalizer.std, normalizer.norm(S)
        for step in path:
            given, mean, std, normed = given[step], mean[step], std[step], normed[step]
        np.testing.assert_allclose(mean, given.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(std, given.std(axis=0), rtol=1e-5)
        np.testing.assert_allclose(normed, (given - given.mean(axis=0)) / given.std(axis=0), rtol=1e-4, atol=1e-5)
        assert normed.dtype == np.float32
    normed = normalizer.norm(S)
    for i in (0, 2, 3):
        assert normalizer.mean["rest"][i] is None
        np.testing.assert_array_equal(normed["rest"][i], S["rest"][i])
    for i in range(5):
        assert jax.tree.map(lambda x, i=i: np.asarray(x[i]), normed) in normalizer.normalized_space
    space = normalizer.normalized_space
    assert space["pixels"] == Box(-10, 10, (3,), np.float32)
    assert space["rest"] == Tuple((Discrete(5, start=2), Box(-10, 10, ()), MultiBinary(3), MultiDiscrete([3, 4])))
    one = jax.tree.map(lambda x: x[3], S)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y[3], rtol=1e-6), normalizer.norm(one), normed)


def test_normalizing_changes_nothing():
    normalizer = ObservationNormalizer(BOX)
    normalizer.update(rows(0, 4))
    before = state_of(normalizer)
    normalizer.norm(rows(1, 9))
    assert_same(before, state_of(normalizer))


def test_frozen():
    normalizer = ObservationNormalizer(BOX)
    normalizer.update(rows(0, 4))
    normalizer.state = {**normalizer.state, "moments": np.arange(12, dtype=np.float32).reshape(4, 3)}
    normalizer.frozen = True
    before = state_of(normalizer)
    normalizer.update(rows(1, 9))
    coax.jit(lambda: normalizer.update(rows(1, 9)), over=normalizer)()
    assert_same(before, state_of(normalizer))
    assert normalizer.frozen is True
    normalizer.frozen = False
    normalizer.update(rows(1, 9))
    assert normalizer.count == 13
    thaw = coax.jit(lambda x: setattr(normalizer, "frozen", x > 3), over=normalizer)
    thaw(jnp.float32(5))
    assert normalizer.frozen is True
    with pytest.raises(TypeError, match=r"ObservationNormalizer\.frozen: expected a bool, got 1\. Fix: pass True or"):
        normalizer.frozen = 1


@pytest.mark.gate
def test_python_is_scan_is_one_of_several_seeds():
    normalizer, xs = ObservationNormalizer(BOX), rows(3, 40, 5)
    masks = np.random.default_rng(0).random((40, 5)) < 0.6

    def step(x):
        normalizer.update(x[0], x[1])
        return normalizer.norm(x[0]), normalizer.mean

    in_python = [step((S, mask)) for S, mask in zip(xs, masks, strict=True)]
    as_python = state_of(normalizer)
    normalizer.state = normalizer.init(jax.random.key(0))
    scanned = coax.scan(step, over=normalizer, xs=(xs, masks))
    as_scan = state_of(normalizer)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), as_python, as_scan)
    for i in range(2):
        np.testing.assert_allclose(scanned[i], np.stack([row[i] for row in in_python]), rtol=1e-4, atol=1e-5)
    init, apply = coax.transform(step, over=normalizer)
    states = jax.vmap(init)(jax.random.split(jax.random.key(0), 2))
    for S, mask in zip(xs, masks, strict=True):
        _, states = jax.vmap(apply)(states, (np.stack([S, 2 * S]), np.stack([mask, mask])))
    first, second = (jax.tree.map(lambda x, i=i: np.asarray(x[i]), states[normalizer]) for i in range(2))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), first, as_scan)
    np.testing.assert_allclose(second["moments"][2], 4 * first["moments"][2], rtol=1e-5)


def test_in_float64():
    with jax.enable_x64(True):
        normalizer, S = ObservationNormalizer(Box(-np.inf, np.inf, (3,), np.float64)), rows(0, 100).astype(np.float64)
        for i in range(10):
            normalizer.update(S[10 * i : 10 * i + 10])
        assert normalizer.state["moments"].dtype == np.float64
        np.testing.assert_allclose(normalizer.mean, S.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(normalizer.std, S.std(axis=0), rtol=1e-13)
        assert normalizer.norm(S).dtype == np.float32


def test_state_goes_into_a_new_one():
    normalizer = ObservationNormalizer(SPACE)
    normalizer.update(nested(0, 9))
    normalizer.frozen = True
    other = ObservationNormalizer(SPACE)
    other.state = jax.tree.map(np.asarray, normalizer.state)
    assert_same(other.norm(nested(1)), normalizer.norm(nested(1)))
    assert (other.count, other.frozen) == (9, True)
    assert all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(normalizer.state))
    with pytest.raises(TypeError, match=r"ObservationNormalizer\.state\['moments'\]: expected float32\[4, 3\], got"):
        ObservationNormalizer(BOX).state = normalizer.state


def test_copies_go_their_own_way():
    normalizer = ObservationNormalizer(BOX)
    normalizer.update(rows(0, 4))
    other = normalizer.copy()
    other.update(rows(1, 4))
    assert (normalizer.count, other.count) == (4, 8)
    assert other.rule is normalizer.rule


def test_kept_when_others_begin_anew():
    normalizer = ObservationNormalizer(BOX)
    normalizer.update(rows(0, 4))
    init, _ = coax.transform(lambda: None, over=normalizer)
    fresh, kept = init(jax.random.key(0)), init(jax.random.key(0), keep=normalizer)
    assert_same(jax.tree.map(np.asarray, fresh[normalizer]), state_of(ObservationNormalizer(BOX)))
    assert_same(jax.tree.map(np.asarray, kept[normalizer]), state_of(normalizer))


def test_compiled_once():
    normalizer = ObservationNormalizer(BOX)
    normalizer.update(rows(0, 6))
    normalizer.norm(rows(0, 6))
    with compilations() as found:
        normalizer.update(rows(1, 6))
        normalizer.norm(rows(1, 6))
        ObservationNormalizer(Box(-np.inf, np.inf, (3,), np.float32)).update(rows(1, 6))
    assert found == []


def test_of_an_environment():
    env = gymnasium.make("Pendulum-v1")
    assert ObservationNormalizer(env).observation_space == env.observation_space
    envs = coax.envs.JaxVectorEnv(coax.envs.Pendulum(), 4)
    assert ObservationNormalizer(envs).observation_space == envs.single_observation_space


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"env": 3}, TypeError, r"expected an environment or a space, got int\. Fix: pass env"),
        (
            {"env": Discrete(3)},
            ValueError,
            r"expected a space with a Box in it, got Discrete\(3\)\. Fix: leave discrete",
        ),
        ({"clip": 0}, ValueError, r"expected a positive number as clip, got 0"),
        ({"clip": np.nan}, ValueError, r"expected a positive number as clip, got nan"),
        ({"clip": True}, TypeError, r"expected a number as clip, got True"),
        ({"epsilon": -1.0}, ValueError, r"expected a positive number as epsilon, got -1\.0"),
        ({"epsilon": "x"}, TypeError, r"expected a number as epsilon, got 'x'\. Fix: pass a float"),
    ],
)
def test_errors_of_the_constructor(kwargs, error, text):
    with pytest.raises(error, match=text):
        ObservationNormalizer(**{"env": BOX, **kwargs})


def test_errors_of_calls():
    normalizer = ObservationNormalizer(BOX)
    before = state_of(normalizer)
    for call in (normalizer.norm, normalizer.update):
        with pytest.raises(ValueError, match=r"S: expected shape \[\.\.\., 3\], got shape \(4,\)"):
            call(np.zeros(4))
    with pytest.raises(ValueError, match=r"mask: expected shape \[5\], got \[4\]\. Fix: pass one bool for each row"):
        normalizer.update(np.zeros((5, 3)), np.ones(4, bool))
    with pytest.raises(TypeError, match=r"mask: expected bools, got float64"):
        normalizer.update(np.zeros((5, 3)), np.ones(5))
    with pytest.raises(AttributeError, match=r"ObservationNormalizer\.clip is fixed at construction"):
        normalizer.clip = 3.0
    with pytest.raises(StateError, match=r"ObservationNormalizer is used inside a lifted function that does not cover"):
        coax.jit(lambda: normalizer.update(np.zeros(3)), over=ObservationNormalizer(BOX))()
    assert_same(before, state_of(normalizer))
