import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax._metrics import Metrics
from coax.wrappers import _metric_means
from coax.wrappers._metric_means import MetricMeans


@pytest.mark.parametrize(
    "make",
    [
        dict,
        lambda d: {k: jnp.float32(v) for k, v in d.items()},
        lambda d: {k: np.float32(v) for k, v in d.items()},
        lambda d: Metrics(tuple(d), jnp.array(list(d.values()), jnp.float32)),
    ],
    ids=["floats", "jax", "numpy", "Metrics"],
)
def test_the_mean_of_each_name(make):
    means = MetricMeans()
    means.add(make({"a": 1.0, "b": -2.0}), 1)
    means.add(make({"b": 5.0}), 2)
    # a: 1 / 1, b: (-2 + 5) / 2
    assert means.means() == {"a": 1.0, "b": 1.5}
    assert means.sums == {"a": (1.0, 1), "b": (3.0, 2)}
    means.add(make({"b": 0.0}), 3)
    assert means.means()["b"] == 1.0  # 3 / 3
    means.clear()
    assert means.means() == {}


def test_merged_metrics():
    means = MetricMeans()
    means.add(Metrics(["a"], jnp.array([1.0])) | Metrics(["b"], jnp.array([3.0])), 1)
    assert means.means() == {"a": 1.0, "b": 3.0}


def test_leading_axes_count_with_all_entries():
    means = MetricMeans()
    means.add(Metrics(("a", "b"), jnp.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])), 1)  # from a scan of three steps
    means.add({"a": 10.0}, 2)
    # a: (1 + 2 + 3 + 10) / 4, b: (10 + 20 + 30) / 3
    assert means.means() == {"a": 4.0, "b": 20.0}


def test_equal_names_of_other_shapes():
    means = MetricMeans()
    for size in (2, 3, 3, 1):
        means.add({"a": np.arange(size)}, 1)
        means.add(Metrics(("b",), jnp.ones((size, 1))), 1)
    assert means.sums == {"a": (1.0 + 3 + 3 + 0, 9), "b": (9.0, 9)}


def test_nothing_is_read_before_it_is_asked_for(monkeypatch):
    reads = []
    fetch = _metric_means._fetched
    monkeypatch.setattr(_metric_means, "_fetched", lambda x: reads.append(len(x)) or fetch(x))
    with jax.transfer_guard_device_to_host("disallow"):
        means = MetricMeans()
        for i in range(100):
            means.add({"a": jnp.float32(i)}, i)
            means.add(Metrics(("b",), jnp.array([i], jnp.float32)), i)
    assert reads == []
    assert means.means() == {"a": 49.5, "b": 49.5}
    assert reads == [200]  # all in one call


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_numbers_are_fetched_on_any_device(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # both ways of fetching work on any device
    means = MetricMeans()
    for i in range(3):
        means.add({"a": jnp.float32(i), "b": i, "c": np.arange(i)}, i)
        means.add(Metrics(("a", "d"), jnp.array([10.0 * i, -i])), i)
    # a: 0 + 1 + 2 + 0 + 10 + 20 in 6 numbers; b: 0 + 1 + 2 in 3; c: nothing, 0, and 0 + 1; d: -3 in 3
    assert means.sums == {"a": (33.0, 6), "b": (3.0, 3), "c": (1.0, 3), "d": (-3.0, 3)}


def test_old_ones_are_folded_as_far_as_they_are_ready(monkeypatch):
    held = []
    monkeypatch.setattr(_metric_means, "_is_ready", lambda values: values[0] not in held)
    means = MetricMeans(fold_at=4, wait_at=12)
    held[:] = [2.0]
    for i in range(4):
        means.add({"a": float(i)}, i)
        assert means.is_due() == (i == 3)
    means.fold_ready()
    assert means._sums == {"a": (1.0, 2)}  # 0 and 1; 2 is not ready, and 3 waits behind it
    assert len(means._unread) == 2
    for i in range(4, 14):
        means.add({"a": float(i)}, i)
        if means.is_due():
            means.fold_ready()
    assert means._unread == []  # twelve were unread: too many to go on without waiting
    assert means.means() == {"a": 6.5}  # 0 + ... + 13 = 91 = 14 * 6.5


def test_memory_stays_bounded():
    means = MetricMeans(fold_at=8, wait_at=32)
    for i in range(1000):
        means.add({"a": jnp.float32(i)}, i)
        if means.is_due():
            means.fold_ready()
        assert len(means._unread) <= 32
    assert means.means() == {"a": 499.5}


def test_each_number_is_handed_on_with_its_step():
    means, seen = MetricMeans(), []
    means.add({"a": 1.0, "b": jnp.array([1.0, 3.0])}, 7)
    means.add({"a": 2.0}, 8)
    means.fold(lambda *row: seen.append(row))
    means.fold(lambda *row: seen.append(row))
    assert seen == [("a", 1.0, 7), ("b", 2.0, 7), ("a", 2.0, 8)]


def test_an_array_that_changes_later():
    x = np.array([1.0, 2.0])
    means = MetricMeans()
    means.add({"a": x}, 1)
    x[:] = 100
    assert means.means() == {"a": 1.5}


def test_what_was_shown_goes_with_the_next():
    means = MetricMeans()
    means.add({"a": 1.0}, 1)
    means.shown = True
    assert means.means() == {"a": 1.0}
    means.add({"b": 2.0}, 2)
    assert means.means() == {"b": 2.0}


@pytest.mark.parametrize(
    "metrics",
    [{"a": "loss"}, {"a": np.str_("x")}, {"a": np.array(["x"])}, {"a": 1j}, {"a": None}, {1: 2.0}, {"a": {"b": 1.0}}],
)
def test_what_is_no_number(metrics):
    means = MetricMeans()
    with pytest.raises(TypeError, match=r"expected a name and a number, got .* Fix: leave out"):
        means.add({"fine": 1.0, **metrics}, 1)
    assert means.means() == {}


@pytest.mark.parametrize("metrics", [None, 1.0, [("a", 1.0)]])
def test_what_is_no_mapping(metrics):
    with pytest.raises(TypeError, match=r"expected a mapping from names to numbers, got .* Fix: "):
        MetricMeans().add(metrics, 1)
