import numpy as np
import pytest

from coax.utils import generator_from_array, generator_to_array


def test_the_restored_generator_goes_on():
    rng = np.random.default_rng(5)
    rng.integers(3, dtype=np.uint32)  # leaves half a word buffered
    array = generator_to_array(rng)
    assert (array.shape, array.dtype) == ((6,), np.uint64)
    twin = generator_from_array(array)
    for draw in (
        lambda g: g.integers(1000, size=3, dtype=np.uint32),
        lambda g: g.random(3),
        lambda g: g.normal(size=3),
    ):
        np.testing.assert_array_equal(draw(rng), draw(twin))


def test_other_kinds():
    with pytest.raises(TypeError, match=r"expected a PCG64 generator, got MT19937. Fix: "):
        generator_to_array(np.random.Generator(np.random.MT19937(0)))
