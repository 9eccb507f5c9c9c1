import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from coax.utils import make_element

BOX = spaces.Box(np.float32([-1, 0]), np.float32([1, 10]))


def test_a_single_discrete_element_is_an_int():
    element = make_element(spaces.Discrete(5, start=-2))
    for x in (jnp.array(3), np.int32(3), 3):
        assert type(element(x)) is int
        assert element(x) == 3
    batch = element(jnp.array([[-2, 2]]))
    np.testing.assert_array_equal(batch, [[-2, 2]])
    assert (type(batch), batch.dtype) == (np.ndarray, np.int64)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiDiscrete([[4, 4], [4, 4]]),
        spaces.MultiBinary((2, 2)),
        spaces.Box(0, 255, (2, 2), np.uint8),
        spaces.Box(-9, 9, (2, 2), np.float64),
    ],
)
def test_arrays_get_the_dtype_of_the_space(space, leading):
    x = np.ones((*leading, 2, 2), np.int32)
    got = make_element(space)(jnp.asarray(x))
    assert (type(got), got.dtype) == (np.ndarray, space.dtype)
    np.testing.assert_array_equal(got, x)
    assert space.contains(got[(0,) * len(leading)])


def test_what_rounding_put_outside_of_a_box_is_put_on_its_bounds():
    x = np.float32([[-1.0000001, 10.000001], [0.5, -1e-7], [1, 10]])
    got = make_element(BOX)(jnp.asarray(x))
    np.testing.assert_array_equal(got, np.float32([[-1, 10], [0.5, 0], [1, 10]]))
    assert all(BOX.contains(row) for row in got)
    single = make_element(spaces.Box(-1, 1, ()))(jnp.array(1.5))
    assert (type(single), single.shape, float(single)) == (np.ndarray, (), 1.0)


def test_a_double_beyond_the_bounds_of_a_float_box():
    """The bound is compared with what the element has become: the float32 next to 0.1 is larger than 0.1."""
    space = spaces.Box(-0.1, 0.1, (1,))
    assert space.contains(make_element(space)(np.array([0.1])))
    assert space.contains(make_element(space)(np.array([-0.1])))


def test_nested_spaces():
    space = spaces.Dict(b=spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(2)]), a=BOX)
    got = make_element(space)({"a": jnp.zeros(2), "b": [jnp.array(2), jnp.array([0, 1])]})
    assert space.contains(got)
    assert list(got) == list(space.spaces)
    assert type(got["b"]) is tuple
    assert type(got["b"][0]) is int
    batch = make_element(space)({"a": np.zeros((4, 2)), "b": (np.zeros(4), np.ones((4, 2)))})
    assert jax.tree.map(np.shape, batch) == {"a": (4, 2), "b": ((4,), (4, 2))}
    assert [x.dtype for x in jax.tree.leaves(batch)] == [np.float32, np.int64, np.int8]


def test_another_number_of_parts():
    with pytest.raises(ValueError, match="zip"):
        make_element(spaces.Tuple([BOX, BOX]))([np.zeros(2)])
    with pytest.raises(KeyError, match="a"):
        make_element(spaces.Dict(a=BOX))({"b": np.zeros(2)})


@pytest.mark.parametrize("space", [spaces.Sequence(BOX), spaces.Tuple([spaces.Graph(BOX, None)])])
def test_elements_that_are_no_arrays(space):
    with pytest.raises(TypeError, match=r"space: expected Discrete, Box, .* got .*Fix:"):
        make_element(space)
    with pytest.raises(TypeError, match=r"space: expected a gymnasium\.Space, got str\. Fix:"):
        make_element("Box")
