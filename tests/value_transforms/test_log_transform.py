import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.value_transforms import LogTransform


@pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
def test_by_hand(how):
    f, f_inv = LogTransform(scale=2.0)
    # 2 * log(1 + 6 / 2) = 2.772589 ; odd in x
    x, y = jnp.array([6.0, -6.0, 0.0]), jnp.array([2.772589, -2.772589, 0.0])
    np.testing.assert_allclose(how(f)(x), y, rtol=1e-6)
    np.testing.assert_allclose(how(f_inv)(y), x, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), st.sampled_from([0.1, 1.0, 7.0]))
def test_against_numpy_and_back(x, scale):
    f, f_inv = LogTransform(scale)
    np.testing.assert_allclose(f(x), np.sign(x) * scale * np.log1p(abs(x) / scale), rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(f_inv(f(x)), x, rtol=1e-5, atol=1e-30)


def test_back_from_large_and_small_values():
    f, f_inv = LogTransform()
    for x in (1e-20, -1e-7, 1e7, -1e12, 1e30):
        np.testing.assert_allclose(f_inv(f(x)), x, rtol=2e-5)


def test_gradient():
    f, f_inv = LogTransform(scale=2.0)
    # f' = 1 / (1 + |x| / c): 1 at 0, 1/4 at +-6 ; the inverse has the slope e^(|y| / c): 1 at 0, e at 2
    np.testing.assert_allclose([jax.grad(f)(x) for x in (0.0, -0.0, 6.0, -6.0)], [1, 1, 0.25, 0.25])
    np.testing.assert_allclose([jax.grad(f_inv)(y) for y in (0.0, 2.0, -2.0)], [1, np.e, np.e], rtol=1e-6)


def test_integers():
    # log(1 + 1)
    np.testing.assert_allclose(LogTransform().transform_func(np.array([1, 0])), [0.693147, 0], rtol=1e-6)


def test_scale():
    assert LogTransform().scale == 1.0
    assert LogTransform(np.float32(0.5)).scale == 0.5
    for wrong in (0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="scale: expected a positive, finite number"):
            LogTransform(wrong)
    with pytest.raises(TypeError, match="scale: expected a positive number, got None"):
        LogTransform(None)
    with pytest.raises(AttributeError):
        LogTransform().scale = 3.0
