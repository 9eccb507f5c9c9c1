import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.utils import MaxTree, MinTree, SegmentTree, SumTree, dumps, loads

VALUES = [13, 7, 11, 5, 3]


def filled(cls, values=VALUES, **kwargs):
    tree = cls(len(values), **kwargs)
    tree.set_values(..., values)
    return tree


@pytest.mark.parametrize(("capacity", "height"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5)])
def test_height(capacity, height):
    tree = SumTree(capacity)
    assert tree.height == height
    assert tree.values.shape == (capacity,)


def test_levels_by_hand():
    tree = filled(SumTree)
    # (13 + 7) + (11 + 5) = 36, and 3 on the right
    assert tree[0].tolist() == [39]
    assert tree[1].tolist() == [36, 3]
    assert tree[2].tolist() == [20, 16, 3, 0]
    assert tree[3].tolist() == tree[-1].tolist() == tree.values.tolist() == VALUES
    assert tree[2, 1] == 16
    assert tree[-2, 1:3].tolist() == [16, 3]
    assert tree.root_value == 39
    assert (filled(MinTree).root_value, filled(MaxTree).root_value) == (3, 13)
    assert (MinTree(3).root_value, MaxTree(3).root_value, SumTree(3).root_value) == (np.inf, -np.inf, 0)


@pytest.mark.parametrize("level", [4, -5, 1.0, "a", None])
def test_no_such_level(level):
    with pytest.raises(IndexError, match=r"level: expected an int from -4 to 3, got .* Fix: "):
        filled(SumTree)[level]


def test_no_such_node():
    with pytest.raises(IndexError):
        filled(SumTree)[3, 5]


def test_values_follow_and_are_read_only():
    tree = filled(SumTree)
    values = tree.values
    tree.set_values(1, 70)
    assert values[1] == 70
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(0, 2**31),
    st.sampled_from([(SumTree, np.sum), (MinTree, np.min), (MaxTree, np.max)]),
)
def test_against_numpy(capacity, seed, kind):
    cls, ref = kind
    rng = np.random.default_rng(seed)
    tree, array = cls(capacity), rng.normal(size=capacity)
    tree.set_values(None, array)
    for _ in range(3):
        idx = rng.integers(-capacity, capacity, rng.integers(1, 2 * capacity + 1))
        new = rng.normal(size=idx.shape)
        tree.set_values(idx, new)
        for i, value in zip(idx, new, strict=True):
            array[i] = value
    np.testing.assert_array_equal(tree.values, array)
    np.testing.assert_allclose(tree.root_value, ref(array), atol=1e-12)
    start = rng.integers(0, capacity, 10)
    stop = rng.integers(start + 1, capacity + 1)
    expected = [ref(array[a:b]) for a, b in zip(start, stop, strict=True)]
    np.testing.assert_allclose(tree.partial_reduce(start, stop), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("idx", "values", "expected"),
    [
        (1, 2, [0, 2, 0]),
        (-1, 2, [0, 0, 2]),
        ([0, 2], [5, 6], [5, 0, 6]),
        ([], [], [0, 0, 0]),
        (np.array([2, 0]), 4, [4, 0, 4]),
        (..., 1, [1, 1, 1]),
        (None, [1, 2, 3], [1, 2, 3]),
    ],
)
def test_set_values(idx, values, expected):
    tree = SumTree(3)
    tree.set_values(idx, values)
    assert tree.values.tolist() == expected
    assert tree.root_value == sum(expected)


@pytest.mark.parametrize("idx", [3, -4, [0, 3], 1.0, "a", np.zeros((1, 1), int), [True], slice(2)])
def test_set_values_nowhere(idx):
    tree = filled(SumTree, [1, 2, 3])
    with pytest.raises(IndexError, match=r"idx: expected .* Fix: "):
        tree.set_values(idx, 1)
    assert tree.values.tolist() == [1, 2, 3]


def test_set_values_of_another_number():
    tree = filled(SumTree, [1, 2, 3])
    for idx in ([0, 1], ...):
        with pytest.raises(ValueError, match="broadcast"):
            tree.set_values(idx, [1, 2, 3, 4])
    assert tree.values.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), [39]),
        ((1,), [26]),
        ((1, 3), [18]),
        ((-2,), [8]),
        ((0, -1), [36]),
        (([0, 1], 2), [20, 7]),
        ((1, [2, 3]), [7, 18]),
        ((np.array([0, 4]), np.array([1, 5])), [13, 3]),
    ],
)
def test_partial_reduce(args, expected):
    assert filled(SumTree).partial_reduce(*args).tolist() == expected


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((0.0,), TypeError, r"start: expected an int or an integer array of rank 1, got float64"),
        ((0, "a"), TypeError, "stop: expected an int"),
        ((np.zeros((1, 1), int),), TypeError, "start: expected an int"),
        (([0, 1], [2, 3, 4]), ValueError, "as many starts as stops, got 2 and 3. Fix: "),
        ((2, 2), IndexError, "0 <= start < stop <= 5, got start 2 and stop 2. Fix: "),
        ((3, 1), IndexError, "got start 3 and stop 1"),
        ((0, 6), IndexError, "got start 0 and stop 6"),
        ((-6, 1), IndexError, "got start -1 and stop 1"),
        ((5,), IndexError, "got start 5 and stop 5"),
    ],
)
def test_partial_reduce_errors(args, error, text):
    with pytest.raises(error, match=text):
        filled(SumTree).partial_reduce(*args)


def test_the_order_is_kept():
    # the reduction is the last entry of the range: associative, and it does not commute
    tree = SegmentTree(5, lambda a, b: np.where(np.isnan(b), a, b), np.nan)
    tree.set_values(..., VALUES)
    assert tree.partial_reduce([0, 0, 1, 1, 2], [1, 3, 4, 5, 3]).tolist() == [13, 11, 5, 3, 11]


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_inverse_cdf_boundaries():
    # running sums 13, 20, 31, 32: a sum that is reached belongs to the next position
    tree = filled(SumTree, [13, 7, 11, 1])
    sums = np.array([0, 12.999, 13, 19.999, 20, 31, 31.999])
    assert tree.inverse_cdf(sums / 32).tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert tree.inverse_cdf(1.0) == 3
    assert type(tree.inverse_cdf(0.5)) is int
    assert tree.inverse_cdf([0.0, 1.0]).dtype == np.int32


def test_entries_of_zero_are_never_found():
    tree = filled(SumTree, [0, 2, 0, 3, 0])
    u = np.linspace(0, 1, 101)
    assert set(tree.inverse_cdf(u).tolist()) == {1, 3}
    assert tree.inverse_cdf(0.0) == 1
    assert tree.inverse_cdf(1.0) == 3


def test_rounding_never_leads_to_an_empty_entry():
    rng = np.random.default_rng(0)
    for n in (3, 7, 100):
        values = rng.random(n) * (rng.random(n) < 0.5)
        values[1] = 0.1
        tree = filled(SumTree, values)
        u = np.concatenate([rng.random(1000), np.nextafter(1, 0) * np.ones(1), [1.0]])
        assert (values[tree.inverse_cdf(u)] > 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20).filter(any), st.integers(0, 2**31))
def test_inverse_cdf_against_numpy(values, seed):
    u = np.random.default_rng(seed).random(50)
    expected = np.searchsorted(np.cumsum(values), u * sum(values), side="right")
    np.testing.assert_array_equal(filled(SumTree, values).inverse_cdf(u), expected)


@pytest.mark.parametrize("stratified", [False, True])
def test_frequencies(stratified):
    tree = filled(SumTree, random_seed=0)
    found = tree.sample(100_000, stratified=stratified)
    assert found.dtype == np.int32
    error = np.abs(np.bincount(found, minlength=5) / 1e5 - np.array(VALUES) / 39).max()
    assert error < (2e-5 if stratified else 0.01)  # stratified: at most one draw at each boundary


def test_sample_is_the_inverse_cdf_of_its_generator():
    tree = filled(SumTree, random_seed=3)
    np.testing.assert_array_equal(tree.sample(50), tree.inverse_cdf(np.random.default_rng(3).random(50)))
    first = filled(SumTree, random_seed=4).sample(50)
    tree.random_seed = 4
    np.testing.assert_array_equal(tree.sample(50), first)
    assert not np.array_equal(filled(SumTree).sample(50), filled(SumTree).sample(50))


@pytest.mark.parametrize("n", [0, -1, 2.0, np.int64(2), None, True])
def test_sample_wants_an_int(n):
    with pytest.raises(TypeError, match=r"n: expected a positive int, got .* Fix: "):
        filled(SumTree).sample(n)


def test_inverse_cdf_errors():
    tree = filled(SumTree)
    for u in ("a", None, np.zeros((1, 1)), True):
        with pytest.raises(TypeError, match=r"u: expected a float, .* Fix: "):
            tree.inverse_cdf(u)
    for u in (-0.1, [0.5, 1.1], np.nan):
        with pytest.raises(ValueError, match=r"u: expected fractions from 0 to 1, got .* Fix: "):
            tree.inverse_cdf(u)
    with pytest.raises(RuntimeError, match=r"expected a positive sum of entries, got 0.0. Fix: "):
        SumTree(3).sample(1)


@pytest.mark.parametrize("capacity", [0, -1, 2.0])
def test_capacity(capacity):
    with pytest.raises(TypeError, match="capacity: expected a positive int"):
        SumTree(capacity)


def test_repr_shows_each_level():
    text = repr(filled(SumTree, [1, 2, 3]))
    assert text == "SumTree(\n  level=0: array([6.])\n  level=1: array([3., 3.])\n  level=2: array([1., 2., 3.])\n)"


def test_pickle():
    tree = loads(dumps(filled(SumTree, random_seed=0)))
    tree.set_values(0, 0)
    assert tree.root_value == 26


@pytest.mark.parametrize("capacity", [1, 2, 1000, 1024, 1025, 5000])
def test_positions_in_large_trees(capacity):
    rng = np.random.default_rng(capacity)
    values = rng.integers(0, 4, capacity) * 1.0  # sums of integers are exact
    values[rng.integers(capacity)] = 2.0
    tree = SumTree(capacity, random_seed=0)
    tree.set_values(..., values)
    total = values.sum()
    goals = np.arange(total) + 0.5  # rounding does not move these over a border
    np.testing.assert_array_equal(tree.inverse_cdf(goals / total), np.searchsorted(np.cumsum(values), goals, "right"))
    assert tree.inverse_cdf(1.0) == np.flatnonzero(values)[-1]
    for i in np.flatnonzero(values)[-3:]:  # now nothing is at the end
        tree.set_values(int(i), 0.0)
        values[i] = 0.0
        if values.any():
            assert tree.inverse_cdf(1.0) == np.flatnonzero(values)[-1]
            assert tree.root_value == values.sum()


@pytest.mark.parametrize("make", [SumTree, MinTree, MaxTree, lambda n: SegmentTree(n, np.multiply, 1.0)])
def test_one_change_is_the_same_as_many(make):
    rng = np.random.default_rng(3)
    one, many = make(37), make(37)
    for _ in range(20):
        idx, values = rng.integers(0, 37, 5), rng.normal(size=5)
        for i, value in zip(idx, values, strict=True):
            one.set_values(int(i), value)
        many.set_values(idx, values)
        for level in range(one.height):
            np.testing.assert_array_equal(one[level], many[level])
