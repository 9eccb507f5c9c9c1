import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from hypothesis import given, settings

from coax.utils import check_preprocessors, default_preprocessor, safe_sample

from .test_spaces import batch_of, nested

KEY = jax.random.key(0)


def reference(space, x):
    """Batch of one, in plain NumPy loops."""
    if isinstance(space, Discrete):
        return np.array([[float(x == space.start + i) for i in range(space.n)]])
    if isinstance(space, MultiDiscrete):
        flat = zip(x.ravel(), space.nvec.ravel(), space.start.ravel(), strict=True)
        return [np.array([[float(v == start + i) for i in range(n)]]) for v, n, start in flat]
    if isinstance(space, MultiBinary | Box):
        return np.asarray(x)[None]
    if isinstance(space, Tuple):
        return tuple(reference(child, part) for child, part in zip(space.spaces, x, strict=True))
    return {key: reference(child, x[key]) for key, child in space.spaces.items()}


@settings(max_examples=30, deadline=None)
@given(nested)
@pytest.mark.gate
def test_against_reference_single_and_batched(space):
    func = default_preprocessor(space)
    single = safe_sample(space, 0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), func(KEY, single), reference(space, single))
    batch = batch_of(space, (3,))
    out = func(KEY, batch)
    for i in range(3):
        row = jax.tree.map(lambda x, i=i: x[i], batch)
        got = jax.tree.map(lambda x, i=i: x[i : i + 1], out)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, reference(space, row))


@settings(max_examples=8, deadline=None)
@given(nested)
def test_jitted_is_plain(space):
    func, batch = default_preprocessor(space), batch_of(space, (3,))
    jax.tree.map(np.testing.assert_array_equal, jax.jit(func)(KEY, batch), func(KEY, batch))


def test_discrete_counts_from_start():
    out = default_preprocessor(Discrete(3, start=5))(KEY, [5, 7])
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, [[1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("x", [2, np.int64(2), np.uint8(2), jnp.int32(2), [2], np.array([[2]])])
def test_single_actions(x):
    np.testing.assert_array_equal(default_preprocessor(Discrete(3))(None, x), [[0, 0, 1]])


def test_vmap():
    func = default_preprocessor(Discrete(3))
    out = jax.vmap(func, (None, 0))(KEY, jnp.arange(3))
    np.testing.assert_array_equal(out[:, 0], np.eye(3))


def test_box_clips_and_keeps_the_dtype():
    out = default_preprocessor(Box(np.float32([-1, 0]), np.float32([1, np.inf])))(KEY, [-3.0, 9.0])
    np.testing.assert_array_equal(out, [[-1, 9]])
    pixels = default_preprocessor(Box(0, 200, (2,), np.uint8))(KEY, np.array([[7, 250]], np.uint8))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, [[7, 200]])


def test_wide_dtypes_are_kept_under_x64_and_saturate_without():
    space = Box(-(2**40), 2**40, (1,), np.int64)
    np.testing.assert_array_equal(default_preprocessor(space)(KEY, jnp.array([-5])), [[-5]])
    with jax.enable_x64(True):
        out = default_preprocessor(space)(KEY, np.array([2**41]))
        assert out.dtype == np.int64
        assert out == 2**40
        assert default_preprocessor(Box(-1, 1, (1,), np.float64))(KEY, np.array([0.1])).item() == 0.1


def test_multi_discrete_of_rank_two_and_from_lists():
    func = default_preprocessor(MultiDiscrete([[2, 3], [2, 2]]))
    out = func(KEY, [[1, 0], [0, 1]])
    assert [x.tolist() for x in out] == [[[0, 1]], [[1, 0, 0]], [[1, 0]], [[0, 1]]]


def test_composite_structure():
    space = Dict(a=Tuple([Discrete(2), MultiBinary(3)]), b=Box(0, 1, (2, 2)))
    out = default_preprocessor(space)(KEY, {"a": (1, [0, 1, 1]), "b": np.zeros((2, 2))})
    assert type(out) is dict
    assert type(out["a"]) is tuple
    assert [x.shape for x in jax.tree.leaves(out)] == [(1, 2), (1, 3), (1, 2, 2)]


def test_more_leading_axes_are_flattened():
    assert default_preprocessor(Box(0, 1, (3,)))(KEY, np.zeros((4, 5, 3))).shape == (20, 3)
    assert default_preprocessor(Discrete(3))(KEY, np.zeros((4, 5), int)).shape == (20, 3)


def test_floats_for_integers():
    with pytest.raises(TypeError, match=r"X: expected integers, got float32\[2\]. Fix: "):
        default_preprocessor(Discrete(3))(KEY, jnp.ones(2))


def test_check_preprocessors():
    space = Discrete(3)
    same = [default_preprocessor(space), lambda rng, x: jax.nn.one_hot(jnp.ravel(jnp.asarray(x)), 3)]
    assert check_preprocessors(space, *same, random_seed=0)
    assert not check_preprocessors(space, same[0], lambda rng, x: 2 * same[1](rng, x), random_seed=0)
    assert not check_preprocessors(space, same[0], lambda rng, x: [same[1](rng, x)], random_seed=0)
    assert not check_preprocessors(space, same[0], lambda rng, x: np.asarray(same[1](rng, x)), random_seed=0)
    assert not check_preprocessors(space, *same, lambda rng, x: same[1](rng, x).astype(jnp.float16), random_seed=0)
    # differs at one element only, which 20 draws meet
    odd = lambda rng, x: same[1](rng, x) + (np.asarray(x) == 2) * 1e-2
    assert not check_preprocessors(space, same[0], odd, random_seed=0)


def test_check_preprocessors_wants_two():
    with pytest.raises(ValueError, match=r"at least two preprocessors, got 1. Fix: "):
        check_preprocessors(Discrete(3), default_preprocessor(Discrete(3)))
