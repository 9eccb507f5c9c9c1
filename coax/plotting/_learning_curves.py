"""Learning curves from the files of several seeds."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..utils import at_least_one
from ._canvas import new_axes
from ._logs import files_of, read_rows
from ._seeds import bootstrap_band, interquartile_mean, plot_seeds

__all__ = ("LearningCurves", "SeedCurves", "learning_curves", "on_grid", "seed_curves")

_NAMES = {"G": "return of an episode", "avg_G": "running mean of the return", "t": "length of an episode"}
_SHORT = 0.9  # of the longest run: one that ends before is worth a warning


class SeedCurves(NamedTuple):
    """The curves of several seeds at the same steps, and what they come to together.

    Attributes
    ----------
    steps : f64[P]
        Where the points are, in the monitor's `T`.
    seeds : f64[N, P]
        One curve for each file.
    mean : f64[P]
        Their interquartile mean.
    low, high : f64[P]
        The bootstrap band around it.
    files : tuple of str
        Where the curves come from, one for each seed.
    """

    steps: np.ndarray
    seeds: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    files: tuple[str, ...]


class LearningCurves(NamedTuple):
    """A picture and its numbers.

    Attributes
    ----------
    axes : matplotlib Axes
        Save it with ``axes.figure.savefig(...)``.
    curves : dict from str to SeedCurves
        The numbers, by label.
    """

    axes: Any
    curves: dict[str, SeedCurves]


def learning_curves(
    runs: Any,
    y: str = "G",
    *,
    points: int = 100,
    window: float | None = None,
    until: float | None = None,
    level: float = 0.95,
    random_seed: int = 0,
    axes: Any = None,
) -> LearningCurves:
    """Draw what several seeds of one or more algorithms reached over the steps, from the files of their monitors.

    For each label: the interquartile mean over seeds, its bootstrap band, and each seed faintly. See
    :func:`seed_curves` for how episodes that end at different steps are brought together, and for the arguments.

    Parameters
    ----------
    runs : path, list of paths, or dict from str to either
        See :func:`seed_curves`.
    y : str, optional
    points : int, optional
    window, until, level : float, optional
    random_seed : int, optional
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure of its own, which no window shows.

    Returns
    -------
    LearningCurves
        ``(axes, curves)``: the picture, and the numbers by label.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        As :func:`seed_curves`.

    Examples
    --------
    One file for each seed, as a monitor writes them:

    >>> for seed in range(2):
    ...     sink = coax.sinks.CSV(f"runs/dqn/{seed}.csv")
    ...     for T in range(10, 50, 10):
    ...         sink.write(T, {"G": T + seed}, {})
    >>> axes, curves = coax.plotting.learning_curves({"dqn": "runs/dqn"}, points=2)
    >>> curves["dqn"].mean
    array([15.5, 35.5])
    >>> axes.figure.savefig("curves.png", dpi=150)
    """
    curves = _curves(runs, y, points, window, until, level, random_seed)
    axes = new_axes(6, 4) if axes is None else axes
    for label, (steps, seeds, *_) in curves.items():
        text = f"{label} ({len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'})"
        plot_seeds(steps, seeds, axes, label=text, level=level, random_seed=random_seed)
    axes.set(xlabel="steps (T)", ylabel=_NAMES.get(y, y))
    return LearningCurves(axes, curves)


def seed_curves(
    runs: Any,
    y: str = "G",
    *,
    points: int = 100,
    window: float | None = None,
    until: float | None = None,
    level: float = 0.95,
    random_seed: int = 0,
) -> dict[str, SeedCurves]:
    """The numbers of :func:`learning_curves`: the curves of several seeds on a common grid of steps.

    The grid has `points` equal steps up to the end of the longest label. A point is the mean of `y` over the episodes
    of the last `window` steps; where none ended, it is that of the last episode before. The curves of a label begin
    where each of its seeds has finished an episode, and end where the shortest ends: nothing is extrapolated.

    Parameters
    ----------
    runs : path, list of paths, or dict from str to either
        Files of :class:`coax.sinks.CSV` or :class:`coax.sinks.JSONLines`, or folders with such files, by label. Each
        file is a seed. Files in a folder that differ only in their suffix count as one.
    y : str, optional
        Which column: by default the return of each episode; or ``"t"``, or a metric such as ``"QLearning/loss"``.
    points : int, optional
        How many points the longest curve has.
    window : float, optional
        Over how many steps to average; by default from one point to the next.
    until : float, optional
        The last step. By default where the shortest seed ends, with a warning if others are much longer.
    level : float, optional
        That of the band, in (0, 1).
    random_seed : int, optional
        Of the band.

    Returns
    -------
    dict from str to SeedCurves
        By label. Without labels, that of a path is its name, and that of a list ``"runs"``.

    Raises
    ------
    TypeError
        If `runs` are no paths, or `points` is no integer.
    ValueError
        If a file is no log, has no such column, or ends before `until`; or a number is out of range; or seeds have no
        steps in common.

    References
    ----------
    Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice, section 4.
    """
    return _curves(runs, y, points, window, until, level, random_seed)


def _curves(
    runs: Any, y: str, points: int, window: float | None, until: float | None, level: float, random_seed: int
) -> dict[str, SeedCurves]:
    points = at_least_one("points", points, 100)
    for name, number in (("window", window), ("until", until)):
        if number is not None and not number > 0:
            raise ValueError(f"{name}: expected a positive number, got {number!r}. Fix: pass a number of steps.")
    logs = {label: {file: _column(file, y) for file in files} for label, files in files_of(runs).items()}
    ends = {}
    for label, log in logs.items():
        ends[label] = _end(label, log, until)
    grid = np.linspace(0, max(ends.values()), points + 1)[1:]
    curves = {}
    for label, log in logs.items():
        begin = max(T[0] for T, _ in log.values())
        steps = grid[(grid >= begin) & (grid <= ends[label])]
        if not len(steps):
            raise ValueError(
                f"{label}: expected steps that all seeds have in common, got a first episode that ends at T = "
                f"{begin:,.0f} and a last one at T = {ends[label]:,.0f}. Fix: leave out the run that ends too soon, or "
                f"pass more points than {points}."
            )
        width = grid[0] if window is None else window
        seeds = np.stack([on_grid(T, values, steps, width) for T, values in log.values()])
        low, high = bootstrap_band(seeds, level=level, random_seed=random_seed)
        curves[label] = SeedCurves(steps, seeds, interquartile_mean(seeds), low, high, tuple(map(str, log)))
    return curves


def on_grid(T: np.ndarray, y: np.ndarray, steps: np.ndarray, window: float) -> np.ndarray:
    """The mean of what came in the window before each step, or else the last that came before.

    Parameters
    ----------
    T : f64[rows]
        When each came, in ascending order.
    y : f64[rows]
        What came.
    steps : f64[P]
        None before the first of `T`.
    window : float
        Its length: what came at ``step - window`` is not in it, and what came at ``step`` is.

    Returns
    -------
    f64[P]
    """
    until = np.searchsorted(T, steps, side="right")
    since = np.minimum(np.searchsorted(T, steps - window, side="right"), until - 1)
    return np.array([y[i:j].mean() for i, j in zip(since, until, strict=True)])


def _column(file: pathlib.Path, y: str) -> tuple[np.ndarray, np.ndarray]:
    """When a column has numbers, and which."""
    rows = read_rows(file)
    there = [row for row in rows if y in row and not (y in ("G", "t") and row.get("t") == 0)]  # 0: none ended by then
    if not there:
        names = ", ".join(dict.fromkeys(name for row in rows for name in row))
        raise ValueError(f"{file}: expected numbers in a column {y!r}, got {names}. Fix: pass y='G', or one of these.")
    return np.array([row["T"] for row in there]), np.array([row[y] for row in there])


def _end(label: str, log: Mapping[pathlib.Path, tuple], until: float | None) -> float:
    """The last step of the curves of a label."""
    last = {file: T[-1] for file, (T, _) in log.items()}
    shortest = min(last, key=last.__getitem__)
    longest = max(last.values())
    if until is None:
        if last[shortest] < _SHORT * longest:
            warnings.warn(
                f"{label}: expected runs of about one length, got {shortest}, which ends at T = {last[shortest]:,.0f}, "
                f"and others up to T = {longest:,.0f}. The curves end with the shortest. Fix: leave that run out, or "
                "pass until=... to say where they end.",
                stacklevel=4,
            )
        return float(last[shortest])
    if last[shortest] < until:
        raise ValueError(
            f"{shortest}: expected a run until T = {until:,}, got one that ends at T = {last[shortest]:,.0f}. "
            "Fix: leave that run out, or pass a smaller until."
        )
    return float(until)
