import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import check_array, isscalar

ARR = jnp.zeros((2, 3), jnp.float32)


@pytest.mark.parametrize("x", [1, 1.5, True, np.float32(1), np.ones(()), np.ones((1, 1)), jnp.ones(()), jnp.ones(1)])
def test_scalars(x):
    assert isscalar(x)


@pytest.mark.parametrize("x", [[1], "1", None, np.ones(2), jnp.ones((1, 2)), np.ones(0), np.str_("1")])
def test_not_scalars(x):
    assert not isscalar(x)


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"ndim": 2},
        {"ndim": [1, 2]},
        {"ndim_min": 2, "ndim_max": 2},
        {"dtype": "float32"},
        {"dtype": {jnp.float16, jnp.float32}},
        {"shape": (2, 3)},
        {"axis_size": 3, "axis": -1},
        {"axis_size": (2, 5), "axis": 0},
    ],
)
def test_as_expected(good):
    check_array(ARR, **good)
    jax.jit(lambda x: check_array(x, **good))(ARR)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"ndim": 1}, r"ndim: expected 1, got an array of shape \(2, 3\) and dtype float32. Fix: "),
        ({"ndim": (1, 3)}, r"ndim: expected \(1, 3\)"),
        ({"ndim_min": 3}, "ndim: expected at least 3"),
        ({"ndim_max": 1}, "ndim: expected at most 1"),
        ({"dtype": "int32"}, "dtype: expected int32"),
        ({"dtype": ("int32", "int8")}, "dtype: expected"),
        ({"shape": (3, 2)}, r"shape: expected \(3, 2\)"),
        ({"axis_size": 2, "axis": 1}, "size of axis 1: expected 2"),
        ({"axis_size": 2, "axis": 2}, "size of axis 2: expected 2"),
        ({"axis_size": 2}, "axis: expected an int together with axis_size"),
    ],
)
def test_not_as_expected(bad, text):
    with pytest.raises(TypeError, match=text):
        check_array(ARR, **bad)


def test_numpy_only_on_request():
    check_array(np.ones(2), except_np=True)
    with pytest.raises(TypeError, match=r"expected a jax array, got ndarray. Fix: "):
        check_array(np.ones(2))
    with pytest.raises(TypeError, match="expected a jax array, got list"):
        check_array([1], except_np=True)
