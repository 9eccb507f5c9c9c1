"""The pure parts that all updaters share, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from coax._updater import FINITE, fill_dead_rows, gradient_step, raise_not_finite
from coax._updater._gradient_step import first_not_finite
from coax.utils import _trees

PARAMS = {"a": np.array([1.0, 2.0], np.float32), "b": np.float32(3)}
GRADS = {"a": np.array([1.0, -1.0], np.float32), "b": np.float32(2)}
HOW = pytest.mark.parametrize("how", [lambda f: f, jax.jit], ids=["plain", "jit"])


def spoil(name, value):
    return {**GRADS, name: np.full_like(GRADS[name], value)}


@pytest.fixture(params=["few numbers", "many numbers"])
def size(request, monkeypatch):
    """Trees of few numbers are looked at in another way."""
    monkeypatch.setattr(_trees, "_FEW_NUMBERS", 100 if request.param == "few numbers" else 0)


@HOW
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_first_not_finite(how, value, size):
    find = how(first_not_finite)
    assert find(GRADS) == -1
    assert find(spoil("a", value)) == 0
    assert find(spoil("b", value)) == 1
    assert find({**spoil("a", value), "b": np.float32(value)}) == 0
    assert find(GRADS).dtype == jnp.int32


def test_first_not_finite_mapped(size):
    grads = {"a": np.array([1, np.nan, 1], np.float32), "b": np.array([1, np.nan, np.inf], np.float32)}
    np.testing.assert_array_equal(jax.vmap(first_not_finite)(grads), [-1, 0, 1])


def test_a_step_by_hand():
    # momentum 0.5: m = 0.5 m + g ; p' = p - 0.1 m
    optimizer = optax.sgd(0.1, momentum=0.5)
    state = optimizer.init(PARAMS)
    params, state, flag, fine = gradient_step(optimizer, GRADS, PARAMS, state, jnp.asarray(FINITE))
    np.testing.assert_allclose(params["a"], [0.9, 2.1], rtol=1e-6)
    params, state, flag, fine = gradient_step(optimizer, GRADS, params, state, flag)
    np.testing.assert_allclose(params["a"], [0.9 - 0.15, 2.1 + 0.15], rtol=1e-6)
    np.testing.assert_allclose(params["b"], 3 - 0.2 - 0.3, rtol=1e-6)
    assert flag == -1
    assert fine


def test_a_step_that_is_not_taken():
    optimizer = optax.adam(0.1)
    state = optimizer.init(PARAMS)
    params, new, flag, fine = gradient_step(optimizer, spoil("b", np.nan), PARAMS, state, jnp.asarray(FINITE))
    jax.tree.map(np.testing.assert_array_equal, (params, new), (PARAMS, state))
    assert flag == 1
    assert not fine
    # the first bad leaf ever is what stays, and later steps are taken again
    _, _, flag, _ = gradient_step(optimizer, spoil("a", np.nan), PARAMS, state, flag)
    assert flag == 1
    params, _, flag, fine = gradient_step(optimizer, GRADS, PARAMS, state, flag)
    assert flag == 1
    assert fine
    np.testing.assert_allclose(params["a"], [0.9, 2.1], rtol=1e-5)


def test_dtypes_stay():
    params = {"a": jnp.ones(2, jnp.bfloat16), "n": jnp.ones((), jnp.float32)}
    optimizer = optax.sgd(0.5)
    new, *_ = gradient_step(optimizer, params, params, optimizer.init(params), jnp.asarray(FINITE))
    assert jax.tree.map(lambda x: x.dtype, new) == jax.tree.map(lambda x: x.dtype, params)


@HOW
def test_dead_rows_are_copies_of_a_live_one(how):
    tree = {"x": np.array([[np.nan, 1], [2, 3], [4, 5]], np.float32), "n": np.array([9, 8, 7])}
    filled = how(fill_dead_rows)(np.array([False, True, True]), tree)
    np.testing.assert_array_equal(filled["x"], [[2, 3], [2, 3], [4, 5]])
    np.testing.assert_array_equal(filled["n"], [8, 8, 7])
    assert filled["n"].dtype == jax.dtypes.canonicalize_dtype(int)
    nothing = how(fill_dead_rows)(np.zeros(3, bool), tree)
    np.testing.assert_array_equal(nothing["x"], np.zeros((3, 2)))


def test_the_message():
    raise_not_finite("X", np.int32(-1), PARAMS)
    raise_not_finite("X", np.array([-1, -1]), PARAMS)
    with pytest.raises(
        RuntimeError, match=r"X: the gradient of params\['b'\] was not finite \(NaN or infinity\)\. .*Fix:"
    ):
        raise_not_finite("X", np.int32(1), PARAMS)
    with pytest.raises(RuntimeError, match=r"params\['a'\] .* for 2 of 4 seeds \(first: 1\)"):
        raise_not_finite("X", np.array([-1, 0, 1, -1]), PARAMS)
