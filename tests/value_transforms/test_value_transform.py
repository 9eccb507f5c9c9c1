import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.value_transforms import IDENTITY, LogTransform, ValueTransform, as_value_transform


def double(x):
    return 2 * x


def halve(x):
    return x / 2


def test_a_pair():
    transform = ValueTransform(double, halve)
    f, f_inv = transform
    assert (f, f_inv) == (double, halve) == (transform.transform_func, transform.inverse_func)
    assert repr(transform) == "ValueTransform(double, halve)"
    with pytest.raises(AttributeError):
        transform.transform_func = halve


def test_equal_means_same_functions():
    one, other = ValueTransform(double, halve), ValueTransform(double, halve)
    assert one == other
    assert hash(one) == hash(other)
    assert one != ValueTransform(halve, double)
    assert one != ValueTransform(double, lambda x: x / 2)
    assert one != (double, halve)


def test_equal_transforms_share_a_compilation():
    traced = []

    def f(x, transform):
        traced.append(transform)
        return transform.transform_func(x)

    compiled = jax.jit(f, static_argnums=1)
    # 2 * log(1 + 3 / 2) = 1.832581
    for transform in (LogTransform(2.0), LogTransform(2), pickle.loads(pickle.dumps(LogTransform(2.0)))):
        np.testing.assert_allclose(compiled(3.0, transform), 1.832581, rtol=1e-6)
    assert len(traced) == 1


def test_log_transforms_of_equal_scale_are_equal():
    assert LogTransform(2) == LogTransform(2.0) == copy.deepcopy(LogTransform(2.0))
    assert hash(LogTransform(2)) == hash(LogTransform(2.0))
    assert LogTransform(2.0) != LogTransform(3.0)
    assert LogTransform(2.0) != ValueTransform(*LogTransform(2.0))
    assert repr(LogTransform(2)) == "LogTransform(scale=2.0)"


def test_as_value_transform():
    transform = LogTransform(2.0)
    assert as_value_transform(transform) is transform
    assert as_value_transform(None) is IDENTITY
    assert as_value_transform((double, halve)) == as_value_transform([double, halve]) == ValueTransform(double, halve)
    assert IDENTITY.transform_func(3.0) == IDENTITY.inverse_func(3.0) == 3.0


@pytest.mark.parametrize("wrong", [jnp.log, (jnp.log,), (jnp.log, 3), "log", LogTransform])
def test_what_is_no_transform(wrong):
    with pytest.raises(TypeError, match=r"value_transform: expected a ValueTransform, a pair of functions.*Fix: pass"):
        as_value_transform(wrong)


def test_not_callable():
    with pytest.raises(TypeError, match=r"inverse_func: expected a function, got 3\. Fix: pass two functions"):
        ValueTransform(double, 3)
