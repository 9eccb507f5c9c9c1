import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import quantile_cos_embedding, quantiles, quantiles_uniform


def test_quantiles_start_at_zero():
    np.testing.assert_allclose(quantiles(2, 4), [[0, 0.25, 0.5, 0.75]] * 2)
    assert quantiles(3).shape == (3, 200)


@pytest.mark.parametrize("how", [lambda f: f, lambda f: jax.jit(f, static_argnums=(1, 2))], ids=["plain", "jit"])
def test_quantiles_uniform(how):
    out = np.asarray(how(quantiles_uniform)(jax.random.key(0), 1000, 32))
    assert out.shape == (1000, 32)
    assert (np.diff(out, axis=1) >= 0).all()
    assert (out[:, 0] > 0).all()
    np.testing.assert_allclose(out[:, -1], 1, rtol=1e-6)
    # by symmetry the k-th of K running sums is k / K on average
    np.testing.assert_allclose(out.mean(axis=0), np.arange(1, 33) / 32, atol=0.01)


@pytest.mark.parametrize("how", [lambda f: f, lambda f: jax.jit(f, static_argnums=1)], ids=["plain", "jit"])
def test_cos_embedding(how):
    # cos(pi k tau) for k = 1, 2, 3: tau = 0: 1, 1, 1; tau = 1/2: 0, -1, 0; tau = 1/3: 1/2, -1/2, -1
    out = how(quantile_cos_embedding)(jnp.array([[0, 1 / 2, 1 / 3]]), 3)
    np.testing.assert_allclose(out, [[[1, 1, 1], [0, -1, 0], [0.5, -0.5, -1]]], atol=1e-6)
    assert quantile_cos_embedding(jnp.zeros((2, 5))).shape == (2, 5, 64)
