import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import argmax, argmin

KEY = jax.random.key(0)


@pytest.mark.parametrize(("func", "ref"), [(argmax, np.argmax), (argmin, np.argmin)])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_without_ties_it_is_numpys(func, ref, axis):
    arr = np.random.default_rng(0).normal(size=(4, 5, 6))
    np.testing.assert_array_equal(func(KEY, arr, axis=axis), ref(arr, axis=axis))
    np.testing.assert_array_equal(jax.jit(func, static_argnames="axis")(KEY, arr, axis=axis), ref(arr, axis=axis))


@pytest.mark.parametrize("how", [lambda f: f, jax.jit, lambda f: jax.vmap(f, (None, 0))], ids=["plain", "jit", "vmap"])
def test_rows(how):
    # largest: index 1 and index 0; smallest: index 2 and index 2
    arr = jnp.array([[1.0, 5.0, -2.0], [3.0, 2.0, 0.0]])
    np.testing.assert_array_equal(how(argmax)(KEY, arr), [1, 0])
    np.testing.assert_array_equal(how(argmin)(KEY, arr), [2, 2])


@pytest.mark.parametrize(("func", "sign"), [(argmax, 1), (argmin, -1)])
def test_ties_are_broken_evenly(func, sign):
    # winners: 1, 2 and 4, so each in a third of the draws; standard error sqrt(2/9/6000) = 0.006
    row = sign * jnp.array([0.0, 7.0, 7.0, 3.0, 7.0])
    drawn = np.asarray(func(KEY, jnp.tile(row, (6000, 1))))
    np.testing.assert_allclose(np.bincount(drawn, minlength=5) / 6000, [0, 1 / 3, 1 / 3, 0, 1 / 3], atol=0.025)


def test_infinite_entries():
    assert argmax(KEY, jnp.array([-jnp.inf, -jnp.inf, 0.0])) == 2
    assert argmin(KEY, jnp.array([jnp.inf, 0.0, jnp.inf])) == 1
