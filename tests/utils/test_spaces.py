import copy

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.utils import cast_to_space, default_preprocessor, leading_axes, make_cast, safe_sample, space_key

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64", "uint16")


@st.composite
def boxes(draw):
    shape = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    dtype = np.dtype(draw(st.sampled_from(FLOATS + INTEGERS)))
    if dtype.kind == "f":
        ends = st.sampled_from([-np.inf, -1e4, -5.0, -0.1, 0.0, 0.3, 7.0, 1e4, np.inf])
    else:
        info = np.iinfo(dtype)
        most = min(info.max, 2**63 - 2)
        ends = st.sampled_from([info.min, max(info.min, -3), 0, 5, most // 2, most])
    low, high = sorted((draw(ends), draw(ends)))
    if low == high and np.isinf(low):
        low, high = -np.inf, np.inf
    return Box(np.full(shape, low, dtype), np.full(shape, high, dtype), shape, dtype)


discretes = st.builds(lambda n, start: Discrete(n, start=start), st.integers(1, 9), st.integers(-3, 3))
multi_discretes = st.lists(st.integers(1, 4), min_size=1, max_size=4).flatmap(
    lambda nvec: st.sampled_from([MultiDiscrete(nvec), MultiDiscrete([nvec, nvec]), MultiDiscrete(nvec, start=nvec)])
)
multi_binaries = st.sampled_from([MultiBinary(1), MultiBinary(4), MultiBinary((2, 3))])
leaves = st.one_of(boxes(), discretes, multi_discretes, multi_binaries)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(Tuple),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(Dict),
    ),
    max_leaves=5,
)
thorough = settings(max_examples=60, deadline=None)


def batch_of(space, lead, seed=0):
    rng = np.random.default_rng(seed)
    rows = [safe_sample(space, rng) for _ in range(int(np.prod(lead)))]
    return jax.tree.map(lambda *xs: np.stack(xs).reshape(*lead, *np.shape(xs[0])), *rows)


@thorough
@given(nested, st.integers(0, 2**31))
def test_a_sample_is_an_element_in_the_dtype_of_the_space(space, seed):
    x = safe_sample(space, seed)
    assert space.contains(x)
    jax.tree.map(np.testing.assert_array_equal, x, safe_sample(space, seed))
    parts = {"x": x} if not isinstance(x, dict) else x
    for key, part in parts.items():
        child = space[key] if isinstance(space, Dict) else space
        if isinstance(child, Box | MultiDiscrete | MultiBinary):
            assert part.dtype == child.dtype


@thorough
@given(nested, st.sampled_from([(), (1,), (4,), (3, 2)]))
def test_leading_axes_are_found_and_kept(space, lead):
    x = safe_sample(space, 0) if lead == () else batch_of(space, lead)
    assert leading_axes(space, x) == lead
    casted, found = make_cast(space)(x)
    assert found == lead
    assert leading_axes(space, casted) == lead
    jax.tree.map(np.testing.assert_array_equal, x, casted)
    assert leading_axes(space, jax.tree.map(jnp.asarray, casted)) == lead
    assert jax.eval_shape(lambda x: jnp.zeros(leading_axes(space, x)), x).shape == lead


@thorough
@given(nested)
def test_cast_restores_the_dtype_from_lists(space):
    x = safe_sample(space, 1)
    as_lists = jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), x)
    casted = cast_to_space(space, as_lists if not isinstance(x, list) else x)
    jax.tree.map(np.testing.assert_array_equal, x, casted)
    for leaf, was in zip(jax.tree.leaves(casted), jax.tree.leaves(x), strict=True):
        assert isinstance(leaf, np.ndarray)
        assert leaf.dtype == (np.int64 if isinstance(was, int) else was.dtype)


@thorough
@given(nested)
def test_equal_spaces_have_equal_keys(space):
    twin = copy.deepcopy(space)
    twin.seed(7)
    twin.sample()
    assert twin == space
    assert space_key(twin) == space_key(space)
    assert hash(space_key(twin)) == hash(space_key(space))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Discrete(3), Discrete(4)),
        (Discrete(3), Discrete(3, start=1)),
        (Box(0, 1, (2,)), Box(0, 1, (3,))),
        (Box(0, 1, (2,)), Box(0, 2, (2,))),
        (Box(0, 1, (2,)), Box(-1, 1, (2,))),
        (Box(0, 1, (2,)), Box(0, 1, (2,), np.float64)),
        (MultiDiscrete([2, 3]), MultiDiscrete([3, 2])),
        (MultiDiscrete([2, 3]), MultiDiscrete([[2, 3]])),
        (MultiDiscrete([2, 3]), MultiDiscrete([2, 3], start=[1, 0])),
        (MultiBinary(4), MultiBinary((2, 2))),
        (Tuple([Discrete(2)]), Discrete(2)),
        (Tuple([Discrete(2), Discrete(3)]), Tuple([Discrete(3), Discrete(2)])),
        (Dict(a=Discrete(2)), Dict(b=Discrete(2))),
        (Text(3), Text(3)),
    ],
)
def test_different_spaces_have_different_keys(a, b):
    assert space_key(a) != space_key(b)
    assert space_key(a) == space_key(a)


def test_a_dict_has_one_key_whatever_its_order():
    a, b = Dict({"x": Discrete(2), "y": Discrete(3)}), Dict([("y", Discrete(3)), ("x", Discrete(2))])
    assert space_key(a) == space_key(b)


def test_a_subclass_is_only_equal_to_itself():
    class Odd(Discrete):
        pass

    odd = Odd(3)
    assert space_key(odd) == space_key(odd)
    assert space_key(odd) != space_key(Odd(3))
    assert space_key(odd) != space_key(Discrete(3))


# --- casting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [3, np.int64(3), np.int32(3), np.uint8(3), np.array(3), np.array(3, np.int16)])
def test_all_ways_to_write_an_action_are_the_same_array(x):
    casted, lead = make_cast(Discrete(16))(x)
    assert type(casted) is np.ndarray
    assert casted.dtype == np.int64
    assert casted.shape == lead == ()
    assert casted == 3


def test_discrete_batch_from_a_list():
    casted, lead = make_cast(Discrete(16))([[3, 4, 5], [0, 15, 1]])
    assert lead == (2, 3)
    assert casted.dtype == np.int64


def test_a_box_in_its_dtype_is_not_copied():
    x = np.zeros(4, np.float32)
    assert make_cast(Box(-1, 1, (4,)))(x)[0] is x


def test_float64_observations_become_float32():
    casted, lead = make_cast(Box(-1, 1, (4,)))(np.full((7, 4), 0.25))
    assert casted.dtype == np.float32
    assert lead == (7,)
    np.testing.assert_array_equal(casted, np.full((7, 4), 0.25))


def test_start_counts():
    cast = make_cast(Discrete(3, start=5))
    assert [int(cast(a)[0]) for a in (5, 6, 7)] == [5, 6, 7]
    for bad in (4, 8, 0, np.array([5, 8])):
        with pytest.raises(ValueError, match="counted from its start"):
            cast(bad)


def test_jax_arrays_stay_on_the_device():
    for space, x in [(Discrete(4), jnp.int32(9)), (Box(0, 1, (2,)), jnp.ones((3, 2)))]:
        casted, lead = make_cast(space)(x)
        assert casted is x  # 9 is outside, and stays unread
        assert lead == x.shape[: x.ndim - len(space.shape)]
    casted, _ = make_cast(Box(0, 255, (2,), np.uint8))(jnp.ones((3, 2), jnp.float32))
    assert casted.dtype == jnp.uint8


def test_lists_of_tracers():
    space = MultiDiscrete([2, 3])
    out = jax.jit(lambda a, b: make_cast(space)([a, b])[0])(1, 2)
    np.testing.assert_array_equal(out, [1, 2])


def test_tuple_spaces_take_tuples_and_lists():
    space = Tuple([Discrete(3), Box(0, 1, (2,))])
    for kind in (tuple, list):
        casted, lead = make_cast(space)(kind([[1, 2], np.zeros((2, 2))]))
        assert type(casted) is tuple
        assert lead == (2,)


@pytest.mark.parametrize(
    ("space", "x", "error", "text"),
    [
        (Discrete(3), 3, ValueError, r"x: expected elements of Discrete\(3\), got values from 3 to 3. Fix: "),
        (Discrete(3), -1, ValueError, "got values from -1 to -1"),
        (Discrete(3), 1.0, TypeError, r"x: expected integers for Discrete\(3\), got float64 of shape \(\). Fix: "),
        (Discrete(3), jnp.ones(3), TypeError, "got float32 of shape"),
        (Discrete(3), None, TypeError, "x: expected numbers, got NoneType"),
        (Discrete(3), "1", TypeError, "x: expected numbers, got str"),
        (MultiDiscrete([2, 3]), [1, 3], ValueError, "got values from 1 to 3"),
        (MultiDiscrete([2, 3]), [1, 1, 1], ValueError, r"expected shape \[..., 2\], got shape \(3,\)"),
        (MultiBinary(2), [0, 2], ValueError, "got values from 0 to 2"),
        (Box(0, 1, (3, 2)), np.ones((2, 3)), ValueError, r"expected shape \[..., 3, 2\], got shape \(2, 3\). Fix: "),
        (Box(0, 1, (3,)), 0.5, ValueError, r"expected shape \[..., 3\], got shape \(\), which has too few axes"),
        (Box(0, 1, (3,)), [[1, 2, 3], [1, 2]], ValueError, "got a ragged list"),
        (
            Box(0, 255, (2,), np.uint8),
            [0.5, 1.0],
            ValueError,
            "values that uint8 can hold, got float64 from 0.5 to 1.0",
        ),
        (Box(0, 255, (2,), np.uint8), [256, 1], ValueError, "values that uint8 can hold"),
        (Tuple([Discrete(2)]), [0, 0], ValueError, "a tuple or list of 1 parts .* got list of length 2. Fix: "),
        (Tuple([Discrete(2)]), np.zeros(1), ValueError, "a tuple or list of 1 parts .* got ndarray. Fix: "),
        (Dict(a=Discrete(2)), {"b": 0}, ValueError, r"the keys \['a'\], got the keys \['b'\]. Fix: "),
        (Dict(a=Discrete(2)), 0, ValueError, r"the keys \['a'\], got int"),
        (Dict(a=Tuple([Discrete(2), Discrete(2)])), {"a": (0, 5)}, ValueError, r"^x\['a'\]\[1\]: expected elements"),
    ],
)
def test_cast_errors(space, x, error, text):
    with pytest.raises(error, match=text):
        cast_to_space(space, x)


@pytest.mark.parametrize("func", [leading_axes, cast_to_space])
def test_leaves_that_disagree(func):
    space = Tuple([Box(0, 1, (3,)), Discrete(2)])
    text = r"x\[0\] of shape \(5, 3\) \(leading axes \(5,\)\) and x\[1\] of shape \(4,\) \(leading axes \(4,\)\). Fix: "
    with pytest.raises(ValueError, match=text):
        func(space, (np.zeros((5, 3)), np.zeros(4, int)))


def test_leading_axes_too_few():
    with pytest.raises(ValueError, match=r"S: expected shape \[..., 3, 2\], got shape \(2,\), which has too few axes"):
        leading_axes(Box(0, 1, (3, 2)), np.zeros(2), "S")


@pytest.mark.parametrize("func", [make_cast, default_preprocessor])
def test_unsupported_spaces(func):
    with pytest.raises(TypeError, match=r"expected Discrete, Box, .* got Text.* Fix: "):
        func(Text(3))
    with pytest.raises(TypeError, match=r"expected a gymnasium.Space, got int. Fix: "):
        func(3)


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_samples_leave_the_generator_of_the_space_alone():
    for space in (Discrete(10**6), Box(0, 1, (3,)), Text(20)):
        space.seed(3)
        safe_sample(space, 0)
        after = space.sample()
        space.seed(3)
        np.testing.assert_array_equal(after, space.sample())


def test_samples_leave_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    safe_sample(Box(-np.inf, np.inf, (3,)))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_a_box_that_holds_no_small_values():
    # The old sampler drew log(1 + 100.5) = 4.6 here, which is outside.
    x = np.array([safe_sample(Box(100, 101, ()), i) for i in range(200)])
    assert x.min() >= 100
    assert x.max() <= 101
    assert x.std() > 0.2  # uniform: 1 / sqrt(12) = 0.29


def test_samples_cover_a_narrow_box_and_stay_small_in_a_wide_one():
    pixels = safe_sample(Box(0, 255, (100, 100), np.uint8), 0)
    assert (pixels.min(), pixels.max()) == (0, 255)
    wide = safe_sample(Box(-np.inf, np.inf, (1000,)), 0)
    assert -10 <= wide.min() < -9
    assert 9 < wide.max() <= 10
    whole = safe_sample(Box(-(2**63), 2**63 - 2, (1000,), np.int64), 0)
    assert (whole.min(), whole.max()) == (-10, 10)
    far = safe_sample(Box(5000, np.inf, (1000,)), 0)
    assert far.min() >= 5000
    assert far.max() <= 5010


def test_discrete_samples_are_uniform_ints_from_start():
    rng = np.random.default_rng(0)
    drawn = [safe_sample(Discrete(3, start=-1), rng) for _ in range(3000)]
    assert all(type(a) is int for a in drawn)
    np.testing.assert_allclose(np.bincount(np.add(drawn, 1)) / 3000, [1 / 3] * 3, atol=0.04)


def test_random_state_and_generators_are_advanced():
    for rng in (np.random.default_rng(0), np.random.RandomState(0)):
        assert safe_sample(Discrete(10**9), rng) != safe_sample(Discrete(10**9), rng)


def test_safe_sample_wants_a_space():
    with pytest.raises(TypeError, match=r"space: expected a gymnasium.Space, got int. Fix: "):
        safe_sample(3)


def test_bool_box():
    space = Box(0, 1, (50,), np.bool_)
    x = safe_sample(space, 0)
    assert space.contains(x)
    assert 0 < x.sum() < 50
    np.testing.assert_array_equal(default_preprocessor(space)(None, x), x[None])


def test_vector_env_observations():
    env = gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="sync")
    obs, _ = env.reset(seed=0)
    casted, lead = make_cast(env.single_observation_space)(obs)
    assert casted is obs or np.array_equal(casted, obs)
    assert lead == (3,)
    env.close()
