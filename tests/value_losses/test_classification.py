import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.value_losses import logloss, logloss_each, logloss_sign, logloss_sign_each

HOW = pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])


@HOW
def test_logloss_each(how):
    # -log 0.25 = 1.386294 ; -log(1 - 0.25) = 0.287682
    np.testing.assert_allclose(
        how(logloss_each)(jnp.array([1.0, 0.0]), jnp.array([0.25, 0.25])), [1.386294, 0.287682], rtol=1e-6
    )


@HOW
def test_logloss_sign_each(how):
    # log(1 + e^-2) = 0.126928 ; log(1 + e^2) = 2.126928
    np.testing.assert_allclose(
        how(logloss_sign_each)(jnp.array([1.0, -1.0]), jnp.array([2.0, 2.0])), [0.126928, 2.126928], rtol=1e-5
    )


def test_weighted_mean_of_each():
    # (2 * 1.386294 + 0.5 * 0.287682) / 2
    y, p, w = np.array([1, 0]), np.array([0.25, 0.25]), np.array([2.0, 0.5])
    np.testing.assert_allclose(logloss(y, p, w), 1.458215, rtol=1e-6)
    # the same through logits log(p / (1 - p)) = log(1/3)
    np.testing.assert_allclose(logloss_sign(2 * y - 1, np.log([1 / 3, 1 / 3]), w), 1.458215, rtol=1e-6)


@pytest.mark.parametrize(("y", "p", "slope"), [(1.0, 1.0, -1.0), (0.0, 0.0, 1.0), (1.0, 0.5, -2.0), (0.0, 0.5, 2.0)])
def test_gradient_of_logloss(y, p, slope):
    # -y / p + (1 - y) / (1 - p)
    np.testing.assert_allclose(jax.grad(lambda q: logloss(jnp.array([y]), jnp.array([q])))(p), slope)


@pytest.mark.parametrize(("y", "p"), [(1.0, 0.0), (0.0, 1.0)])
def test_logloss_of_a_certain_mistake_is_finite(y, p):
    value, grad = jax.value_and_grad(lambda q: logloss(jnp.array([y]), jnp.array([q])))(p)
    # -log of the smallest normal number: 2^-126 in float32, 2^-1022 in float64
    bits = {"float32": 126, "float64": 1022}[str(value.dtype)]
    np.testing.assert_allclose(value, bits * np.log(2), rtol=1e-6)
    assert np.isfinite(grad)
    assert np.sign(grad) == np.sign(p - y)


@pytest.mark.parametrize(("y", "z", "value", "slope"), [(1, 1e4, 0, 0), (1, -1e4, 1e4, -1), (-1, 1e30, 1e30, 1)])
def test_logloss_sign_of_large_logits(y, z, value, slope):
    got = jax.value_and_grad(lambda z: logloss_sign(jnp.array([y], float), jnp.array([z])))(z)
    np.testing.assert_allclose(got, (value, slope), rtol=1e-6)


@pytest.mark.parametrize("loss", [logloss, logloss_sign])
def test_rows_of_weight_zero_count_for_nothing(loss):
    y, p, w = jnp.array([1.0, np.nan, 1.0]), jnp.array([0.3, np.nan, 0.9]), jnp.array([1.0, 0.0, 2.0])
    value, grad = jax.value_and_grad(lambda p: loss(y, p, w))(p)
    want = (loss(y[:1], p[:1]) + 2 * loss(y[2:], p[2:])) / 3
    np.testing.assert_allclose(value, want, rtol=1e-6)
    assert np.isfinite(grad).all()
    assert grad[1] == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.floats(-8, 8, width=32)), min_size=1, max_size=6))
def test_both_losses_against_a_slow_reference(rows):
    y, z = np.array(rows, np.float64).T
    want = np.mean([np.log1p(np.exp(-z_i if y_i else z_i)) for y_i, z_i in zip(y, z, strict=True)])
    np.testing.assert_allclose(logloss(y, 1 / (1 + np.exp(-z))), want, rtol=1e-3)
    np.testing.assert_allclose(logloss_sign(2 * y - 1, z), want, rtol=1e-5)


def test_nothing_is_broadcast():
    with pytest.raises(ValueError, match=r"logloss: expected equal shapes, got y_true \(2,\), y_pred \(2, 1\)"):
        logloss(np.zeros(2), np.full((2, 1), 0.5))
    with pytest.raises(ValueError, match=r"logloss_sign: expected equal shapes, got y_true_sign \(2,\), logits \(1,\)"):
        logloss_sign(np.zeros(2), np.zeros(1))
