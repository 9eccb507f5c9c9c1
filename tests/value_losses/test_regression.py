import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.value_losses import huber, huber_each, mse, mse_each

HOW = pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])


@HOW
def test_mse_each(how):
    # (3 - 1)^2 / 2 = 2 ; (0 - 1)^2 / 2 = 0.5
    np.testing.assert_allclose(how(mse_each)(jnp.array([1.0, 1.0]), jnp.array([3.0, 0.0])), [2.0, 0.5])


@HOW
def test_huber_each(how):
    # 0.5^2 / 2 ; 1^2 / 2 ; 1 * (3 - 1/2), for both signs of the error
    y_pred = jnp.array([0.5, 1.0, 3.0, -3.0])
    np.testing.assert_allclose(how(huber_each)(jnp.zeros(4), y_pred), [0.125, 0.5, 2.5, 2.5])


def test_huber_with_another_delta():
    # linear beyond 2: 2 * (3 - 1) = 4 ; quadratic below: 1.5^2 / 2 = 1.125
    np.testing.assert_allclose(huber_each(np.zeros(2), np.array([3.0, 1.5]), delta=2.0), [4.0, 1.125])


def test_mean_over_all_elements_is_not_divided_by_the_weights():
    # element losses [[2, .5], [8, 0]]; times w = [1, 3]: [[2, .5], [24, 0]]; their mean over 4 elements: 26.5 / 4
    y_pred = np.array([[2.0, 1.0], [4.0, 0.0]])
    np.testing.assert_allclose(mse(np.zeros((2, 2)), y_pred, np.array([1.0, 3.0])), 6.625)
    np.testing.assert_allclose(mse(np.zeros((2, 2)), y_pred), 10.5 / 4)


@pytest.mark.parametrize(("loss", "slopes"), [(mse, [0.0, 0.5, -3.0]), (huber, [0.0, 0.5, -1.0])])
def test_gradient(loss, slopes):
    # d/dy_pred of e^2/2 is e, of the linear part the sign of e; the mean over 3 divides by 3
    grad = jax.grad(lambda y: 3 * loss(jnp.zeros(3), y))(jnp.array([0.0, 0.5, -3.0]))
    np.testing.assert_allclose(grad, slopes, rtol=1e-6)


@pytest.mark.parametrize("loss", [mse, huber])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("jit", [False, True])
def test_rows_of_weight_zero_count_for_nothing(loss, bad, jit):
    y_true = jnp.array([[1.0, 2.0], [bad, bad], [0.0, 1.0]])
    y_pred = jnp.array([[1.5, 0.0], [bad, 1.0], [3.0, 1.0]])
    w = jnp.array([2.0, 0.0, 0.5])
    fun = jax.value_and_grad(lambda y: loss(y_true, y, w))
    value, grad = (jax.jit(fun) if jit else fun)(y_pred)
    clean = jnp.array([0, 2])
    # the mean is still over all three rows, hence 2 / 3
    want, want_grad = jax.value_and_grad(lambda y: loss(y_true[clean], y, w[clean]) * 2 / 3)(y_pred[clean])
    np.testing.assert_allclose(value, want, rtol=1e-6)
    np.testing.assert_allclose(grad[clean], want_grad, rtol=1e-6)
    assert (grad[1] == 0).all()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-100, 100, width=32)] * 3), min_size=1, max_size=6), st.floats(0.125, 5, width=32)
)
def test_huber_against_a_slow_reference(rows, delta):
    total = 0.0
    for y, y_hat, w in rows:
        e = abs(y_hat - y)
        total += w * (e * e / 2 if e <= delta else delta * (e - delta / 2))
    y, y_hat, w = np.array(rows, np.float32).T
    np.testing.assert_allclose(huber(y, y_hat, w, delta), total / len(rows), rtol=1e-4, atol=1e-2)


def test_leading_axes():
    y_true, y_pred = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    w = np.random.default_rng(1).uniform(size=(5, 4)).astype(np.float32)
    want = np.mean([w[i, j] * (y_pred[i, j] - y_true[i, j]) ** 2 / 2 for i in range(5) for j in range(4)])
    np.testing.assert_allclose(mse(y_true, y_pred, w), want, rtol=1e-5)


def test_integers_and_a_weight_of_another_dtype():
    # (2 - 0)^2 / 2 = 2, times 3
    assert mse(np.array([0]), np.array([2]), np.array([3])) == 6


@pytest.mark.parametrize("loss", [mse, huber, mse_each, huber_each])
def test_nothing_is_broadcast(loss):
    with pytest.raises(ValueError, match=r"equal shapes, got y_true \(3,\), y_pred \(3, 1\)\. Fix: reshape them"):
        loss(np.zeros(3), np.zeros((3, 1)))


@pytest.mark.parametrize(("shape", "w"), [((3, 2), (2,)), ((3,), (3, 1)), ((3,), ()), ((3,), (1,))])
def test_weights_of_the_wrong_shape(shape, w):
    with pytest.raises(ValueError, match=r"w: expected one weight per row.*Fix: pass w of shape \(3,\)"):
        mse(np.zeros(shape), np.zeros(shape), np.ones(w))


@pytest.mark.parametrize("delta", [0, -1.0, float("nan")])
def test_delta_out_of_range(delta):
    with pytest.raises(ValueError, match="delta: expected a positive number"):
        huber(np.zeros(3), np.zeros(3), delta=delta)
