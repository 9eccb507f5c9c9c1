"""Means over seeds, and the band in which they would lie with other seeds."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .._entries import generator_of_seed
from ._canvas import new_axes

__all__ = ("bootstrap_band", "interquartile_mean", "plot_seeds")

_AT_ONCE = 1 << 22  # how many numbers are drawn in one go


def interquartile_mean(x: Any, axis: int = 0) -> Any:
    """The mean of the middle half: without the lowest quarter and the highest, rounded down.

    A few seeds that failed, or were lucky, do not move it, and it varies less between sets of seeds than the median.

    Parameters
    ----------
    x : f[..., N, ...]
        One result of each seed.
    axis : int, optional
        That of the seeds.

    Returns
    -------
    float or f64[...]

    Raises
    ------
    ValueError
        If there is no seed.

    References
    ----------
    Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice, section 4.3.

    Examples
    --------
    >>> coax.plotting.interquartile_mean([0.0, 1.0, 3.0, 100.0])
    2.0
    """
    rows = np.sort(_as_seeds(np.moveaxis(np.asarray(x, np.float64), axis, 0)), axis=0)
    cut = len(rows) // 4
    mean = rows[cut : len(rows) - cut].mean(axis=0) + 0 * rows[-1]  # NaN comes last, and is not to be cut off
    return mean if np.ndim(mean) else float(mean)


def bootstrap_band(
    x: Any,
    statistic: Callable[..., Any] = interquartile_mean,
    level: float = 0.95,
    resamples: int = 2_000,
    random_seed: Any = None,
) -> tuple[Any, Any]:
    """Between what a statistic over seeds would lie with other seeds, as far as these tell.

    As many seeds are drawn from these again and again, with replacement; the band holds the middle part of what comes
    out (the percentile bootstrap).

    Parameters
    ----------
    x : f[N, ...]
        One result of each seed, or a curve of results.
    statistic : callable, optional
        ``statistic(x, axis) -> f[...]``, e.g. ``np.mean``.
    level : float, optional
        How much of what comes out lies in the band, in (0, 1).
    resamples : int, optional
        How often to draw.
    random_seed : int, optional
        By default the operating system gives one.

    Returns
    -------
    low, high : float or f64[...]

    Raises
    ------
    TypeError
        If `resamples` is not an integer.
    ValueError
        If there is no seed, or a number is out of range.

    References
    ----------
    Efron and Tibshirani (1993), An introduction to the bootstrap, section 13.3; Agarwal et al. (2021), section 4.1.

    Examples
    --------
    >>> low, high = coax.plotting.bootstrap_band([1.0, 2.0, 3.0, 4.0], np.mean, random_seed=0)
    >>> 1 <= low < 2.5 < high <= 4
    True
    """
    rows = _as_seeds(np.asarray(x, np.float64))
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number in (0, 1), got {level!r}. Fix: pass for instance level=0.95.")
    if operator.index(resamples) < 1:
        raise ValueError(f"resamples: expected at least 1, got {resamples}. Fix: pass for instance resamples=2000.")
    rng = generator_of_seed(random_seed)
    drawn, step = [], max(1, _AT_ONCE // rows.size)
    for start in range(0, resamples, step):
        which = rng.integers(len(rows), size=(min(step, resamples - start), len(rows)))
        drawn.append(statistic(rows[which], axis=1))
    low, high = np.quantile(np.concatenate(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return (low, high) if low.ndim else (float(low), float(high))


def plot_seeds(
    steps: Any,
    curves: Any,
    axes: Any = None,
    label: str | None = None,
    level: float = 0.95,
    random_seed: int = 0,
) -> Any:
    """Draw the interquartile mean of the curves of several seeds, with its bootstrap band and each curve faintly.

    Parameters
    ----------
    steps : f[T]
        Where the points are.
    curves : f[N, T]
        One curve for each seed.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure of its own, which no window shows.
    label : str, optional
        For the legend.
    level : float, optional
        That of the band.
    random_seed : int, optional
        Of the band.

    Returns
    -------
    matplotlib Axes
        Save it with ``axes.figure.savefig(...)``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the shapes do not fit.
    """
    steps, curves = np.asarray(steps), np.asarray(curves, np.float64)
    if curves.ndim != 2 or steps.shape != curves.shape[1:]:
        raise ValueError(
            f"plot_seeds: expected steps [T] and curves [N, T], got {list(steps.shape)} and {list(curves.shape)}. "
            "Fix: put the seeds in front."
        )
    axes = new_axes(6, 4) if axes is None else axes
    (line,) = axes.plot(steps, interquartile_mean(curves), label=label, zorder=3)
    low, high = bootstrap_band(curves, level=level, random_seed=random_seed)
    axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.3, linewidth=0, zorder=2)
    faint = min(0.35, max(0.08, 2 / len(curves)))  # many together are dark
    axes.plot(steps, curves.T, color=line.get_color(), alpha=faint, linewidth=0.7, zorder=1)
    if label is not None:
        axes.legend()
    return axes


def _as_seeds(rows: np.ndarray) -> np.ndarray:
    if not rows.ndim or not len(rows):
        raise ValueError(
            f"expected the results of at least one seed, got shape {list(rows.shape)}. Fix: put the seeds in front."
        )
    return rows
