import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import diff_transform, diff_transform_matrix


def test_matrix_of_four():
    expected = [[-1, 0, 0, 0], [3, 1, 0, 0], [-3, -2, -1, 0], [1, 1, 1, 1]]
    np.testing.assert_array_equal(diff_transform_matrix(4), expected)
    assert diff_transform_matrix(4).dtype == jnp.float32
    assert diff_transform_matrix(2, "int32").dtype == jnp.int32


@pytest.mark.parametrize("n", [0, -1, 2.0, "3", True])
def test_number_of_frames(n):
    with pytest.raises(AssertionError, match=r"num_frames: expected a positive int, got .* Fix: "):
        diff_transform_matrix(n)


@pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_against_repeated_differences(how, n):
    X = np.random.default_rng(0).integers(0, 256, (2, 3, n)).astype(np.uint8)
    wide = X.astype(float)
    # order n - 1 first, the latest frame last
    expected = np.stack([np.diff(wide, k, axis=-1)[..., -1] for k in reversed(range(n))], axis=-1)
    np.testing.assert_array_equal(how(diff_transform)(jnp.asarray(X)), expected)


def test_dtype_is_honoured():
    assert diff_transform(np.ones((2, 3), np.uint8)).dtype == jnp.float32
    assert diff_transform(np.ones((2, 3), np.uint8), "bfloat16").dtype == jnp.bfloat16
