import jax
import numpy as np
import pytest

from coax.errors import StateError
from coax.utils import OrnsteinUhlenbeckNoise, dumps, loads


def test_against_the_recursion():
    noise = OrnsteinUhlenbeckNoise(mu=0.5, sigma=0.2, theta=0.3, random_seed=7)
    eps = np.random.default_rng(7).standard_normal((5, 3))
    x = np.full(3, 0.5)
    for t in range(5):
        x = x + 0.3 * (0.5 - x) + 0.2 * eps[t]
        np.testing.assert_allclose(noise(np.full(3, 10.0)), 10 + x)


def test_long_run_moments():
    noise = OrnsteinUhlenbeckNoise(random_seed=0)
    x = np.array([noise(np.zeros(20)) for _ in range(2000)])
    # variance sigma^2 / (1 - (1 - theta)^2) = 1 / 0.2775, so 1.898 is the standard deviation
    assert abs(x.mean()) < 0.15
    assert x.std() == pytest.approx(1.898, rel=0.05)
    # one step keeps 1 - theta = 0.85
    assert np.corrcoef(x[100:-1].ravel(), x[101:].ravel())[0, 1] == pytest.approx(0.85, abs=0.03)


def test_the_action_is_clipped_and_not_the_noise():
    noise = OrnsteinUhlenbeckNoise(sigma=0, min_value=-1, max_value=1, mu=3)
    # action -5 with noise 3 gives -2, clipped to -1; action -3 gives 0; 5 gives 8, clipped to 1
    assert [float(noise(a)) for a in (-5.0, -3.0, 5.0)] == [-1, 0, 1]


def test_integers_get_noise_too():
    out = OrnsteinUhlenbeckNoise(mu=0.25, sigma=0)(np.array([1, 2]))
    assert out.dtype == np.float32
    assert out.tolist() == [1.25, 2.25]
    assert OrnsteinUhlenbeckNoise()(np.ones(2, np.float32)).dtype == np.float32
    assert OrnsteinUhlenbeckNoise()(1.0).dtype == np.float64


def test_numbers_may_be_set():
    noise = OrnsteinUhlenbeckNoise(sigma=1.0, random_seed=0)
    noise.sigma *= 0.0
    noise.theta = 1.0
    noise.mu = 2.0
    noise.max_value = 2.5
    assert [float(noise(a)) for a in (0.0, 0.0, 1.0)] == [2, 2, 2.5]


def test_reset_forgets_the_noise_and_allows_another_shape():
    noise = OrnsteinUhlenbeckNoise(mu=0, sigma=1, theta=0, random_seed=1)
    noise(np.zeros(3))
    with pytest.raises(ValueError, match=r"a: expected shape \(3,\) as before, got \(2,\). Fix: "):
        noise(np.zeros(2))
    noise.reset()
    noise.sigma = 0.0
    assert noise(np.zeros(2)).tolist() == [0, 0]


def test_same_seed_same_noise():
    a, b = OrnsteinUhlenbeckNoise(random_seed=5), OrnsteinUhlenbeckNoise(random_seed=5)
    first = a(0.0)
    assert first == b(0.0)
    a.random_seed = 5
    a.reset()
    assert a(0.0) == first
    assert OrnsteinUhlenbeckNoise()(0.0) != OrnsteinUhlenbeckNoise()(0.0)


@pytest.mark.parametrize("carry", [lambda s: s, lambda s: loads(dumps(s)), lambda s: jax.tree.map(np.copy, s)])
def test_state_resumes_bit_equal(carry):
    a = OrnsteinUhlenbeckNoise(sigma=0.3, min_value=[-1, -2], random_seed=5)
    a.sigma = 0.7
    a(np.zeros(2))
    state = carry(a.state)
    expected = [a(np.zeros(2)) for _ in range(3)]
    b = OrnsteinUhlenbeckNoise()
    b.state = state
    assert b.sigma == 0.7
    np.testing.assert_array_equal([b(np.zeros(2)) for _ in range(3)], expected)


def test_state_is_a_snapshot():
    noise = OrnsteinUhlenbeckNoise(random_seed=0)
    noise(np.zeros(2))
    state = noise.state
    before = jax.tree.map(np.copy, state)
    noise(np.zeros(2))
    jax.tree.map(np.testing.assert_array_equal, state, before)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(state))


def test_init_is_fresh_and_a_function_of_the_key():
    noise = OrnsteinUhlenbeckNoise(sigma=0.3, random_seed=0)
    noise.sigma = 9.0
    noise(np.zeros(2))
    a, b, c = (noise.init(jax.random.key(i)) for i in (1, 1, 2))
    assert a["noise"] is None
    assert a["numbers"]["sigma"] == 0.3
    np.testing.assert_array_equal(a["rng"], b["rng"])
    assert not np.array_equal(a["rng"], c["rng"])
    noise.state = a
    assert noise.sigma == 0.3


def test_state_that_does_not_fit():
    noise = OrnsteinUhlenbeckNoise()
    noise(np.zeros(2))
    other = OrnsteinUhlenbeckNoise()
    other(np.zeros(3))
    with pytest.raises(TypeError, match=r"state\['noise'\]: expected shape \(2,\), got \(3,\). Fix: "):
        noise.state = other.state
    with pytest.raises(TypeError, match=r"state: expected the entries \['noise', 'numbers', 'rng'\]"):
        noise.state = {}


def test_copies_are_independent():
    noise = OrnsteinUhlenbeckNoise(random_seed=0)
    noise(0.0)
    twin = noise.copy(deep=True)
    assert [float(twin(0.0)) for _ in range(3)] == [float(noise(0.0)) for _ in range(3)]


def test_not_inside_compiled_functions():
    noise = OrnsteinUhlenbeckNoise()
    with pytest.raises(StateError, match=r"OrnsteinUhlenbeckNoise .* cannot be used inside a compiled function. Fix: "):
        jax.jit(noise)(np.zeros(2))
