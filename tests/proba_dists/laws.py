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
