import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import sync_shared_params


def params(**values):
    return {name: {"w": jnp.full(2, float(value))} for name, value in values.items()}


def numbers(tree):
    return {name: float(module["w"][0]) for name, module in tree.items()}


def test_shared_modules_get_the_mean_of_their_owners():
    a, b, c = params(body=1, head=10), params(body=5, other=20), params(other=60)
    new = sync_shared_params(a, b, c)
    # body: (1 + 5) / 2 = 3; other: (20 + 60) / 2 = 40; head is not shared
    assert [numbers(p) for p in new] == [{"body": 3, "head": 10}, {"body": 3, "other": 40}, {"other": 40}]
    assert numbers(a) == {"body": 1, "head": 10}


def test_weights_count_among_the_owners():
    new = sync_shared_params(params(x=1), params(x=5, y=2), params(y=6), weights=[3, 1, 1])
    # x: (3 * 1 + 1 * 5) / 4 = 2; y: (2 + 6) / 2 = 4
    assert [numbers(p) for p in new] == [{"x": 2}, {"x": 2, "y": 4}, {"y": 4}]


def test_fewer_than_two_come_back():
    a = params(x=1)
    assert sync_shared_params(a)[0] is a
    assert sync_shared_params() == ()


def test_errors():
    with pytest.raises(ValueError, match=r"weights: expected 2 of them, got 3. Fix: "):
        sync_shared_params(params(x=1), params(x=2), weights=[1, 2, 3])
    with pytest.raises(ValueError, match=r"positive sum over the owners of 'x', got 0"):
        sync_shared_params(params(x=1), params(x=2), weights=[0, 0])
    with pytest.raises(ValueError, match=r"the shared module 'x' has different parameters"):
        sync_shared_params(params(x=1), {"x": {"w": np.ones(3)}})
    with pytest.raises(ValueError, match=r"the shared module 'x' has different parameters"):
        sync_shared_params(params(x=1), {"x": {"b": np.ones(2)}})
