import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.td_learning import bootstrap, double_value, expected_value, greedy_value, soft_value
from coax.value_transforms import LogTransform

from .reference import exp_transform, log_transform

HOW = pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
RNG = np.random.default_rng(0)
Q1, Q2 = RNG.normal(0, 3, (2, 5, 6, 4)).astype(np.float32)
P = RNG.dirichlet(np.ones(4), (5, 6)).astype(np.float32)
RN, IN, V = RNG.normal(0, 3, (3, 5, 6)).astype(np.float32)


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_bootstrap_by_hand():
    # 1 + 0.5 * 4 = 3 ; 2 - 0.25 * 4 = 1 ; terminated: the reward alone
    np.testing.assert_allclose(
        bootstrap(np.array([1.0, 2.0, 7.0]), np.array([0.5, -0.25, 0.0]), np.array([4.0, 4.0, 4.0])), [3, 1, 7]
    )
    # 2 log(1 + 3 / 2) = 1.832581 ; odd
    got = bootstrap(np.array([1.0, -1.0]), np.array([0.5, 0.5]), np.array([4.0, -4.0]), LogTransform(2.0))
    np.testing.assert_allclose(got, [1.832581, -1.832581], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@HOW
def test_what_follows_the_end_does_not_matter(how, bad):
    rn, in_, v = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.5]), jnp.array([bad, 4.0])
    np.testing.assert_array_equal(how(bootstrap)(rn, in_, v), [1, 4])
    slopes = jax.grad(lambda *args: how(bootstrap)(*args).sum(), argnums=(0, 2))(rn, in_, v)
    np.testing.assert_array_equal(slopes, [[1, 1], [0, 0.5]])


def test_values_by_hand():
    q = np.array([[1.0, 3.0, 2.0], [-1.0, -3.0, -2.0]])
    other = np.array([[10.0, 20.0, 30.0], [10.0, 20.0, 30.0]])
    np.testing.assert_array_equal(greedy_value(q), [3, -1])
    np.testing.assert_array_equal(double_value(q, other), [20, 10])
    np.testing.assert_array_equal(double_value(other, q), [2, -2])
    # 0.5 * 1 + 0.25 * 3 + 0.25 * 2 = 1.75
    np.testing.assert_allclose(expected_value(np.array([[0.5, 0.25, 0.25]]), q[:1]), [1.75])
    # 2 log(e^(1/2) + e^(3/2) + e^(2/2)) = 2 log(1.648721 + 4.481689 + 2.718282) = 4.360541
    np.testing.assert_allclose(soft_value(q[:1], 2.0), [4.360541], rtol=1e-6)


def test_impossible_actions_do_not_matter():
    p = np.array([0.5, 0.5, 0.0])
    for bad in (np.nan, np.inf, -np.inf):
        assert expected_value(p, np.array([1.0, 3.0, bad])) == 2


def test_soft_value_between_mean_and_maximum():
    q = np.array([1.0, 3.0, 2.0])
    np.testing.assert_allclose(soft_value(q, 1e-3), 3, rtol=1e-6)  # small: the maximum
    np.testing.assert_allclose(soft_value(q, 1e3), 1e3 * np.log(3) + 2, rtol=1e-4)  # large: the mean plus tau log A
    assert np.isfinite(soft_value(np.array([1e4, -1e4]), 1e-2))


def test_ties():
    q, other = np.array([3.0, 3.0, 1.0]), np.array([10.0, 20.0, 30.0])
    assert greedy_value(q) == 3
    assert double_value(q, other) == 10  # the first


# --- against loops ----------------------------------------------------------------------------------------------------


def loop(f, *arrays):
    return [[f(*(x[i, j].astype(float) for x in arrays)) for j in range(6)] for i in range(5)]


@HOW
def test_against_loops(how):
    check = lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    check(how(bootstrap)(RN, IN, V), loop(lambda r, i, v: r + i * v, RN, IN, V))
    transformed = lambda *args: bootstrap(*args, LogTransform(2.0))
    check(how(transformed)(RN, IN, V), loop(lambda r, i, v: log_transform(r + i * v), RN, IN, V))
    check(how(greedy_value)(Q1), loop(max, Q1))
    check(how(double_value)(Q1, Q2), loop(lambda a, b: b[np.argmax(a)], Q1, Q2))
    check(how(expected_value)(P, Q1), loop(lambda p, q: sum(p * q), P, Q1))
    check(how(lambda q: soft_value(q, 0.7))(Q1), loop(lambda q: 0.7 * np.log(sum(np.exp(q / 0.7))), Q1))


def test_the_references_are_inverse():
    np.testing.assert_allclose(exp_transform(log_transform(RN)), RN, rtol=1e-5)
