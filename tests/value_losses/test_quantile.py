import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.value_losses import quantile_huber, quantile_huber_each

HOW = pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])


@HOW
def test_by_hand(how):
    # targets 0, 1; predictions 0 (tau 1/4), 2 (tau 3/4); d = y - y_hat
    # i=0: d = 0, 1   : |1/4| * (0 + 1/2)                 = 1/8
    # i=1: d = -2, -1 : |3/4 - 1| * (2 - 1/2 + 1/2)       = 1/2
    # mean over i: 5/16
    y_true, y_pred, quantiles = jnp.array([[0.0, 1.0]]), jnp.array([[0.0, 2.0]]), jnp.array([[0.25, 0.75]])
    np.testing.assert_allclose(how(quantile_huber_each)(y_true, y_pred, quantiles), [0.3125])


def test_weighted_mean_over_samples():
    # each sample as above; (2 * 0.3125 + 0.3125) / 2
    y_true, y_pred, tau = np.array([[0.0, 1.0]] * 2), np.array([[0.0, 2.0]] * 2), np.array([[0.25, 0.75]] * 2)
    np.testing.assert_allclose(quantile_huber(y_true, y_pred, tau, np.array([2.0, 1.0])), 0.46875)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([(1, 1, 1), (3, 2, 2), (2, 4, 3)]), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 1000))
def test_against_a_slow_reference(sizes, delta, seed):
    m, n, b = sizes
    rng = np.random.default_rng(seed)
    y_true, y_pred, tau, w = (
        rng.normal(size=(b, m)),
        rng.normal(size=(b, n)),
        rng.uniform(size=(b, n)),
        rng.uniform(size=b),
    )
    total = 0.0
    for k in range(b):
        for i in range(n):
            for j in range(m):
                d = y_true[k, j] - y_pred[k, i]
                h = d * d / 2 if abs(d) <= delta else delta * (abs(d) - delta / 2)
                total += w[k] * abs(tau[k, i] - (d < 0)) * h / delta / n / b
    np.testing.assert_allclose(quantile_huber(y_true, y_pred, tau, w, delta), total, rtol=1e-4, atol=1e-6)


def test_the_minimum_is_at_the_quantile():
    # of the targets 0..99, the fraction 0.9 lies below 89.5; delta small, so the loss is nearly the pinball loss
    y_true, tau = jnp.arange(100.0)[None], jnp.array([[0.9]])
    slope = jax.grad(lambda y: quantile_huber(y_true, y[None, None], tau, delta=0.01))
    assert slope(85.0) < 0 < slope(95.0)


def test_rows_of_weight_zero_count_for_nothing():
    y_true, y_pred = jnp.array([[0.0, 1.0], [np.nan, 1.0]]), jnp.array([[0.0, 2.0], [np.inf, np.nan]])
    tau, w = jnp.array([[0.25, 0.75], [np.nan, 0.75]]), jnp.array([1.0, 0.0])
    value, grad = jax.value_and_grad(lambda y: quantile_huber(y_true, y, tau, w))(y_pred)
    np.testing.assert_allclose(value, 0.3125 / 2)
    assert np.isfinite(grad).all()
    assert (grad[1] == 0).all()


def test_shapes_that_disagree():
    with pytest.raises(ValueError, match=r"y_pred \(3, 2\), quantiles \(2,\)\. Fix: reshape"):
        quantile_huber(np.zeros((3, 4)), np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(ValueError, match=r"equal leading axes, got y_true \(1, 4\), y_pred \(3, 2\)\. Fix: reshape"):
        quantile_huber(np.zeros((1, 4)), np.zeros((3, 2)), np.zeros((3, 2)))
