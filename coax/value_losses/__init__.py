"""Losses for value functions: a loss per sample, and its weighted mean.

Every loss comes twice. ``huber_each(y_true, y_pred)`` gives one number per element (per sample for the quantile loss),
for any leading axes. ``huber(y_true, y_pred, w)`` is the :func:`weighted_mean` of it: the mean over all elements of
``w * loss``. It is not divided by the sum of the weights. A row with ``w == 0`` adds exactly nothing to value and
gradient, even where it holds NaN or infinity.
"""

from ._classification import logloss, logloss_each, logloss_sign, logloss_sign_each
from ._quantile import quantile_huber, quantile_huber_each
from ._regression import huber, huber_each, mse, mse_each
from ._weights import blank_rows, weighted_mean

__all__ = (
    "blank_rows",
    "huber",
    "huber_each",
    "logloss",
    "logloss_each",
    "logloss_sign",
    "logloss_sign_each",
    "mse",
    "mse_each",
    "quantile_huber",
    "quantile_huber_each",
    "weighted_mean",
)
