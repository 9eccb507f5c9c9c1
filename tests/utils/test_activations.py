import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import clipped_logit, double_relu

HOW = pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])


@HOW
def test_clipped_logit(how):
    # log(0.75 / 0.25) = log 3; log(0.2 / 0.8) = -log 4; log(1e-15) = -34.5388
    x = jnp.array([0.75, 0.2, 0.0, 1.0])
    expected = [np.log(3), -np.log(4), -34.5388, 34.5388]
    np.testing.assert_allclose(how(clipped_logit)(x), expected, rtol=1e-5)


def test_clipped_logit_epsilon():
    # log 0.1 - log 1
    np.testing.assert_allclose(clipped_logit(jnp.array([0.0, 1.0]), 0.1), [np.log(0.1), -np.log(0.1)], rtol=1e-5)


@HOW
def test_double_relu(how):
    x = jnp.array([[1.0, -2.0], [0.0, 3.0]])
    np.testing.assert_array_equal(how(double_relu)(x), [[0, -2, 1, 0], [0, 0, 0, 3]])
