import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax._metrics import Metrics


class Unread:
    """Stands in for a device array that must not be fetched."""

    dtype = np.dtype(np.float32)

    def __array__(self, *args, **kwargs):
        raise AssertionError("was fetched")


def metrics(**values):
    return Metrics(tuple(values), jnp.array(list(values.values()), jnp.float32))


def test_a_read_only_mapping():
    m = metrics(a=1, b=2)
    assert dict(m) == {"a": 1, "b": 2}
    assert list(m) == ["a", "b"]
    assert m.names == ("a", "b")
    assert len(m) == 2
    assert m.get("c", 7) == 7
    assert float(m["b"]) == 2
    assert repr(m) == "Metrics(a=1.0, b=2.0)"
    assert m == {"a": 1, "b": 2}
    np.testing.assert_array_equal(m.values_array, [1, 2])
    with pytest.raises(KeyError, match="'c' is not among these metrics: a, b"):
        m["c"]
    with pytest.raises(TypeError, match=r"read-only, got 'a' to set\. Fix: metrics = {\*\*metrics, 'a': value}"):
        m["a"] = 3


def test_a_tree_of_something_else_is_shown_too():
    m = metrics(a=1, b=2)
    assert repr(jax.tree.map(np.shape, m)) == "Metrics(a, b)"
    assert repr(jax.tree.map(lambda x: x.sharding, m)) == "Metrics(a, b)"
    assert repr(jax.eval_shape(lambda: m)) == "Metrics(a, b)"


def test_merging():
    m = metrics(a=1, b=2) | metrics(b=3, c=4)
    assert isinstance(m, Metrics)
    assert dict(m) == {"a": 1, "b": 3, "c": 4}  # the later one counts
    np.testing.assert_array_equal(m.values_array, [1, 3, 4])
    assert metrics(a=1) | {"b": 2} == {"a": 1, "b": 2}
    assert {"a": 5, "b": 2} | metrics(a=1) == {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        metrics(a=1) | [1]


def test_names_are_known_without_a_fetch():
    m = Metrics(("a", "b"), Unread()) | Metrics(("c",), jnp.zeros(1))
    assert "a" in m
    assert "d" not in m
    assert list(m) == ["a", "b", "c"]
    assert float(m["c"]) == 0  # reads its own part only
    with pytest.raises(AssertionError, match="was fetched"):
        m["a"]


def test_one_fetch():
    class Counted:
        fetched = 0

        def __array__(self, *args, **kwargs):
            Counted.fetched += 1
            return np.array([1.0, 2.0], np.float32)

    m = Metrics(("a", "b"), Counted())
    assert dict(m) == {"a": 1, "b": 2}
    assert float(m["a"]) == 1
    assert Counted.fetched == 1


def test_stacked():
    m = jax.jit(lambda x: Metrics.stacked({"a": x, "b": np.float64(2), "n": jnp.int32(3)}))(1.5)
    assert m.values_array.dtype == jnp.float32
    assert dict(m) == {"a": 1.5, "b": 2, "n": 3}


def test_inside_a_trace():
    outside = metrics(c=5)

    def f(x):
        m = Metrics.stacked({"a": x, "b": 2 * x})
        assert repr(m) == "Metrics(a, b)"
        outer = m | outside  # one part traced, one not
        assert float(outer["c"]) == 5
        return m["a"] + m["b"], outer

    total, m = jax.jit(f)(1.0)
    assert total == 3
    assert dict(m) == {"a": 1, "b": 2, "c": 5}


def test_leading_axes():
    xs = jnp.arange(3.0)
    mapped = jax.vmap(lambda x: Metrics.stacked({"a": x, "b": -x}))(xs)
    np.testing.assert_array_equal(mapped["b"], -xs)
    _, scanned = jax.lax.scan(lambda c, x: (c, Metrics.stacked({"a": x, "b": -x})), 0, xs)
    np.testing.assert_array_equal(scanned["a"], xs)
    mean = jax.tree.map(lambda x: x.mean(axis=0), scanned)
    assert dict(mean) == {"a": 1, "b": -1}


def test_pickle_and_copy():
    m = metrics(a=1) | metrics(b=2)
    for other in (pickle.loads(pickle.dumps(m)), copy.copy(m), copy.deepcopy(m)):
        assert dict(other) == {"a": 1, "b": 2}
