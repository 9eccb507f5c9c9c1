import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.value_losses import blank_rows, weighted_mean


def test_blank_rows_in_a_tree():
    tree = {"a": jnp.array([[1.0, 2.0], [np.nan, np.inf]]), "b": (np.array([3, 4], np.int32),)}
    got = blank_rows(np.array([0.5, 0.0]), tree)
    np.testing.assert_array_equal(got["a"], [[1.0, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(got["b"][0], [3, 0])
    assert got["b"][0].dtype == jnp.int32
    assert blank_rows(None, tree) is tree


def test_blanked_inputs_keep_nan_out_of_the_gradient_of_parameters():
    x, w = jnp.array([[2.0], [np.nan]]), jnp.array([1.0, 0.0])
    # mean of w * theta * x over two rows: slope 2 / 2
    grad = jax.grad(lambda theta: weighted_mean((blank_rows(w, x) * theta)[:, 0], w))(3.0)
    np.testing.assert_allclose(grad, 1.0)


def test_weighted_mean():
    # (2 * 1 + 3 * 5) / 2
    np.testing.assert_allclose(weighted_mean(np.array([1.0, 5.0]), np.array([2.0, 3.0])), 8.5)
    np.testing.assert_allclose(weighted_mean(np.array([1.0, np.nan]), np.array([2.0, 0.0])), 1.0)
    assert np.isnan(weighted_mean(np.array([1.0, np.nan]), np.array([2.0, 1.0])))


def test_under_vmap_weights_are_per_sample():
    got = jax.vmap(weighted_mean)(jnp.array([1.0, 5.0]), jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(got, [2.0, 15.0])


def test_weights_longer_than_the_batch():
    with pytest.raises(ValueError, match=r"starts the shape \(2, 3\), got shape \(3,\)\. Fix: pass w of shape \(2,\)"):
        weighted_mean(np.ones((2, 3)), np.ones(3))
