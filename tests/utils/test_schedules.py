import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import StepwiseLinearFunction, dumps, loads

STEPS = ((0, 1.0), (10, 0.5), (30, 2))


@pytest.mark.parametrize(
    ("t", "value"),
    # between 0 and 10: 1 - 0.05 t; between 10 and 30: 0.5 + 0.075 (t - 10)
    [(-5, 1.0), (0, 1.0), (4, 0.8), (10, 0.5), (20, 1.25), (29, 1.925), (30, 2.0), (99, 2.0)],
)
def test_values(t, value):
    f = StepwiseLinearFunction(*STEPS)
    assert f(t) == pytest.approx(value)
    assert isinstance(f(t), float)
    np.testing.assert_allclose(jax.jit(f)(jnp.int32(t)), value, rtol=1e-6)


def test_arrays_of_times():
    f = StepwiseLinearFunction(*STEPS)
    np.testing.assert_allclose(f(np.array([4, 20])), [0.8, 1.25])
    np.testing.assert_allclose(jax.vmap(f)(jnp.array([4, 20])), [0.8, 1.25], rtol=1e-6)


def test_falling_before_zero_and_pickle():
    f = loads(dumps(StepwiseLinearFunction((-10, 0), (10, 1))))
    assert f(0) == 0.5
    assert repr(f) == "StepwiseLinearFunction((-10, 0.0), (10, 1.0))"


@pytest.mark.parametrize(
    "steps", [(), ((0, 1.0),), ([0, 1.0], [1, 2.0]), ((0.0, 1.0), (1.0, 2.0)), ((0, "a"), (1, 2.0))]
)
def test_not_steps(steps):
    with pytest.raises(TypeError, match=r"steps: expected two or more tuples .* Fix: "):
        StepwiseLinearFunction(*steps)


@pytest.mark.parametrize("times", [(0, 0), (1, 0), (0, 5, 5)])
def test_not_ascending(times):
    with pytest.raises(ValueError, match=r"steps: expected strictly increasing time steps, got .* Fix: "):
        StepwiseLinearFunction(*((t, 1.0) for t in times))
