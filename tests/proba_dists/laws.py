"""What the tests of distributions share: does a sample follow a law?"""

import numpy as np
import scipy.stats


def assert_law(counts, probs):
    """Whether counts could come from these probabilities: chi-squared over those that are not 0."""
    counts, probs = np.asarray(counts), np.asarray(probs, float)
    assert counts[probs == 0].sum() == 0
    if (probs > 0).sum() > 1:
        expected = counts.sum() * probs[probs > 0] / probs[probs > 0].sum()
        assert scipy.stats.chisquare(counts[probs > 0], expected).pvalue > 1e-3


def sum_last(x, rank):
    """The sum over the last axes, as many as `rank`."""
    return np.sum(x, axis=tuple(range(-rank, 0)))


def slopes(f, x, h=1e-5):
    """The gradient of a function of an array, by central differences."""
    out = np.zeros(np.shape(x))
    for i in np.ndindex(*np.shape(x)):
        step = np.zeros(np.shape(x))
        step[i] = h
        out[i] = (f(x + step) - f(x - step)) / (2 * h)
    return out
