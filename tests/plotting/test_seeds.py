import sys

import numpy as np
import pytest
import scipy.stats

from coax.plotting import bootstrap_band, interquartile_mean, plot_seeds
from tests.plotting.axes import Axes


def test_the_mean_of_the_middle_half_by_hand():
    # of seven, one falls away on either side: (2 + 3 + 4 + 5 + 60) / 5
    assert interquartile_mean([5, 2, -100, 60, 3, 4, 1000]) == 14.8
    assert interquartile_mean([1, 2, 4]) == pytest.approx(7 / 3)  # of fewer than four, none


@pytest.mark.parametrize("n", [1, 4, 5, 9, 64])
def test_it_is_the_trimmed_mean_of_scipy(n):
    x = np.random.default_rng(n).normal(size=(3, n, 2))
    np.testing.assert_allclose(interquartile_mean(x, axis=1), scipy.stats.trim_mean(x, 0.25, axis=1), rtol=1e-12)


@pytest.mark.parametrize("statistic", [np.mean, interquartile_mean])
def test_the_band_is_that_of_scipy(statistic):
    x = np.random.default_rng(0).exponential(size=(40, 3))
    low, high = bootstrap_band(x, statistic, level=0.9, resamples=20_000, random_seed=1)
    for i in range(3):
        true = scipy.stats.bootstrap(
            (x[:, i],), statistic, confidence_level=0.9, n_resamples=20_000, method="percentile", rng=2
        ).confidence_interval
        np.testing.assert_allclose([low[i], high[i]], [true.low, true.high], rtol=0.02)


def test_the_band_of_a_mean_of_normal_numbers():
    # the mean of n numbers of standard deviation s has the standard deviation s / sqrt(n)
    x = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_band(x, np.mean, level=0.6827, resamples=20_000, random_seed=1)
    assert (high - low) / 2 == pytest.approx(x.std() / 20, rel=0.03)
    assert (high + low) / 2 == pytest.approx(x.mean(), abs=0.003)


def test_a_seed_that_is_not_a_number_is_seen():
    assert np.isnan(interquartile_mean([1.0, 2.0, 3.0, np.nan]))


def test_equal_seeds_have_no_band():
    assert bootstrap_band([3.0, 3.0, 3.0], random_seed=0) == (3.0, 3.0)


def test_in_parts_or_at_once(monkeypatch):
    x = np.random.default_rng(0).normal(size=(5, 2))
    at_once = bootstrap_band(x, resamples=100, random_seed=3)
    monkeypatch.setattr("coax.plotting._seeds._AT_ONCE", 70)
    np.testing.assert_array_equal(bootstrap_band(x, resamples=100, random_seed=3), at_once)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        (([],), {}, r"at least one seed, got shape \[0\]"),
        ((3.0,), {}, "at least one seed"),
        (([1.0],), {"level": 1}, r"level: expected a number in \(0, 1\), got 1"),
        (([1.0],), {"resamples": 0}, "resamples: expected at least 1, got 0"),
    ],
)
def test_errors(args, kwargs, text):
    with pytest.raises(ValueError, match=text):
        bootstrap_band(*args, **kwargs)


def test_the_picture():
    curves = np.random.default_rng(0).normal(size=(8, 5))
    axes = Axes()
    assert plot_seeds(np.arange(5), curves, axes, label="x") is axes
    np.testing.assert_allclose(axes.lines[0][1], scipy.stats.trim_mean(curves, 0.25))
    np.testing.assert_array_equal(axes.lines[1][1].T, curves)
    low, high = axes.bands[0]
    np.testing.assert_array_equal(axes.bands[0], bootstrap_band(curves, random_seed=0))
    assert (low <= axes.lines[0][1]).all()
    assert (axes.lines[0][1] <= high).all()
    with pytest.raises(ValueError, match=r"expected steps \[T\] and curves \[N, T\], got \[4\] and \[8, 5\]"):
        plot_seeds(np.arange(4), curves, axes)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"matplotlib is missing. Fix: pip install 'coax\[plots\]'"):
        plot_seeds(np.arange(2), np.zeros((3, 2)))
