"""Value functions and policies, drawn on the map of a grid world."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .._stateful import Stateful, collect
from ..utils import is_policy, is_qfunction, is_stochastic, is_vfunction
from ._canvas import new_axes
from ._grid_map import GridMap, grid_map

__all__ = ("plot_policy", "plot_values")

_CELL = 0.9  # inches
_COLORS = {"H": "#33415c", "C": "#5c3d2e", "G": "#f2b134"}  # hole, cliff, goal
_GROUND = "#eef3f8"
_INK = "#10151f"
_ARROW = 0.34  # of a cell: the longest
_SHORT = 0.09  # and the shortest
_RARE = 0.01  # the probability below which an action is not drawn


class _Brush(NamedTuple):
    """Where to draw, and how large a cell is there, in points."""

    axes: Any
    cell: float


def plot_values(env: Any, values: Any, axes: Any = None) -> Any:
    """Draw a value function on the map of a grid world.

    The color of a cell, and the number in it, is the value of its state: of a q-function, that of the best action.
    Arrows show the best actions; equal ones have one each, so that a cell of which nothing is known has all of them.
    Holes, cliffs and goals are marked and have no value.

    Parameters
    ----------
    env : gymnasium.Env, gymnasium.vector.VectorEnv, JaxVectorEnv, FunctionalEnv or list of str
        A frozen lake, Gymnasium's or :class:`coax.envs.FrozenLake`, with any map; ``CliffWalking-v1``; or such a map.
    values : coax.Q, coax.StochasticQ, coax.V, coax.StochasticV, f[S, A] or f[S]
        What to draw; of stochastic ones the mean. Its random stream is left as it is.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure of its own, which no window shows.

    Returns
    -------
    matplotlib Axes
        Save it with ``axes.figure.savefig(...)``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `env` is no grid world, or `values` no value function.
    ValueError
        If there is not one value for each state and action.

    Examples
    --------
    After training a q-function on a frozen lake:

    >>> axes = coax.plotting.plot_values(env, q)
    >>> axes.figure.savefig("q.png", dpi=150)
    """
    grid = grid_map(env)
    table = _values(values, grid)
    best = table.max(axis=-1)
    brush = _brush(axes, grid, colorbar=True)
    shown = np.where(grid.inside, best.reshape(grid.letters.shape), np.nan)
    image = brush.axes.imshow(np.ma.masked_invalid(shown), cmap="YlGnBu", alpha=0.65, zorder=0)
    label = "$v(s)$" if table.shape[1] == 1 else r"$\max_a\, q(s, a)$"
    brush.axes.figure.colorbar(image, ax=brush.axes, label=label, fraction=0.05, pad=0.02)
    _draw_map(brush, grid)
    for s in np.flatnonzero(grid.inside):
        _write_in_corner(brush, grid, int(s), _number(best[s]))
    if table.shape[1] > 1:
        _draw_arrows(brush, grid, (table == best[:, None]).astype(float))
    return brush.axes


def plot_policy(env: Any, policy: Any, axes: Any = None) -> Any:
    """Draw a policy on the map of a grid world.

    The likelier an action, the longer and darker is its arrow; one of less than 1 % has none. The number is the
    probability of the likeliest.

    Parameters
    ----------
    env : gymnasium.Env, gymnasium.vector.VectorEnv, JaxVectorEnv, FunctionalEnv or list of str
        As of :func:`plot_values`.
    policy : coax.Policy, coax.EpsilonGreedy, coax.BoltzmannPolicy or f[S, A]
        A policy of Discrete actions, or the probabilities of actions. Its random stream is left as it is.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure of its own, which no window shows.

    Returns
    -------
    matplotlib Axes
        Save it with ``axes.figure.savefig(...)``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `env` is no grid world, or `policy` no policy of Discrete actions.
    ValueError
        If there is not one probability for each state and action.

    Examples
    --------
    After training a policy on a frozen lake:

    >>> axes = coax.plotting.plot_policy(env, pi)
    >>> axes.figure.savefig("pi.png", dpi=150)
    """
    grid = grid_map(env)
    probs = _probabilities(policy, grid)
    brush = _brush(axes, grid)
    _draw_map(brush, grid)
    for s in np.flatnonzero(grid.inside):
        _write_in_corner(brush, grid, int(s), f"{100 * probs[s].max():.0f}%")
    _draw_arrows(brush, grid, np.where(probs >= _RARE, probs, 0.0))
    return brush.axes


# --- numbers ----------------------------------------------------------------------------------------------------------


def _values(values: Any, grid: GridMap) -> np.ndarray:
    """f64[S, A], or f64[S, 1] of states alone."""
    if is_qfunction(values) or is_vfunction(values):
        states = np.arange(grid.letters.size)
        with _as_it_was(values):
            table = values.mean(states) if is_stochastic(values) else values(states)
    else:
        table = _array("values", values, "pass a coax.Q or a coax.V, or their values as an array")
    table = np.asarray(table, np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or len(table) != grid.letters.size or table.shape[1] not in (1, len(grid.moves)):
        raise _shape_error("values", table, grid)
    return table


def _probabilities(policy: Any, grid: GridMap) -> np.ndarray:
    """f64[S, A]."""
    fix = "pass a policy of Discrete actions, or its probabilities as an array"
    if is_policy(policy):
        with _as_it_was(policy):
            params = policy.dist_params(np.arange(grid.letters.size))
        if not isinstance(params, dict) or "logits" not in params:
            raise TypeError(f"policy: expected one of Discrete actions, got one of {policy.action_space}. Fix: {fix}.")
        logits = np.asarray(params["logits"], np.float64)
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probs = odds / odds.sum(axis=-1, keepdims=True)
    else:
        probs = np.asarray(_array("policy", policy, fix), np.float64)
    if probs.shape != (grid.letters.size, len(grid.moves)):
        raise _shape_error("policy", probs, grid)
    if not ((probs >= 0) & (probs <= 1 + 1e-6)).all():
        raise ValueError(f"policy: expected probabilities, got {probs.min():g} to {probs.max():g}. Fix: {fix}.")
    return probs


def _array(name: str, x: Any, fix: str) -> np.ndarray:
    try:
        return np.asarray(x, np.float64)
    except (TypeError, ValueError) as err:
        raise TypeError(f"{name}: expected numbers, got {type(x).__name__}. Fix: {fix}.") from err


def _shape_error(name: str, x: np.ndarray, grid: GridMap) -> ValueError:
    return ValueError(
        f"{name}: expected one for each of {grid.letters.size} states and {len(grid.moves)} actions, got shape "
        f"{list(x.shape)}. Fix: pass the environment that it belongs to."
    )


@contextlib.contextmanager
def _as_it_was(obj: Any) -> Iterator[None]:
    """Give an object, and those it refers to, back their states, and so their places in their random streams."""
    before = [(each, each.state) for each in (collect(obj) if isinstance(obj, Stateful) else ())]
    try:
        yield
    finally:
        for each, state in before:
            each._write(state)


def _number(x: float) -> str:
    """Three digits, and no sign of a zero."""
    return f"{x + 0.0:.3g}" if abs(x) < 1000 else f"{x:.0f}"


# --- drawing ----------------------------------------------------------------------------------------------------------


def _brush(axes: Any, grid: GridMap, colorbar: bool = False) -> _Brush:
    rows, columns = grid.letters.shape
    if axes is None:
        inches = min(_CELL, 12 / max(rows, columns))
        axes = new_axes(inches * columns + (1.2 if colorbar else 0.1), inches * rows + 0.1)
    else:
        extent = axes.get_window_extent()
        inches = min(extent.width / columns, extent.height / rows) / axes.figure.dpi
    return _Brush(axes, 72 * inches)


def _draw_map(brush: _Brush, grid: GridMap) -> None:
    axes, (rows, columns) = brush.axes, grid.letters.shape
    limits = {"xlim": (-0.5, columns - 0.5), "ylim": (rows - 0.5, -0.5)}
    axes.set(**limits, aspect="equal", xticks=[], yticks=[], facecolor=_GROUND)
    for (row, column), letter in np.ndenumerate(grid.letters):
        if letter in _COLORS:
            x, y = column + np.array([-0.5, 0.5, 0.5, -0.5]), row + np.array([-0.5, -0.5, 0.5, 0.5])
            axes.fill(x, y, facecolor=_COLORS[letter], zorder=1)
            color = _INK if letter == "G" else "white"
            axes.text(column, row, letter, size=0.4 * brush.cell, color=color, ha="center", va="center")
        elif letter == "S":
            axes.text(column + 0.44, row + 0.44, "S", size=0.2 * brush.cell, color=_INK, ha="right", va="bottom")
    lines = {"color": "white", "linewidth": 0.025 * brush.cell, "zorder": 2}
    axes.hlines(np.arange(rows + 1) - 0.5, -0.5, columns - 0.5, **lines)
    axes.vlines(np.arange(columns + 1) - 0.5, -0.5, rows - 0.5, **lines)


def _write_in_corner(brush: _Brush, grid: GridMap, s: int, text: str) -> None:
    row, column = divmod(s, grid.letters.shape[1])
    brush.axes.text(column - 0.45, row - 0.44, text, size=0.13 * brush.cell, color=_INK, ha="left", va="top")


def _draw_arrows(brush: _Brush, grid: GridMap, weights: np.ndarray) -> None:
    """One for each action of a weight above 0: f64[S, A], the longest and darkest for 1."""
    s, a = np.nonzero(np.where(grid.inside.reshape(-1, 1), weights, 0.0))
    if not len(s):
        return
    rows, columns = np.divmod(s, grid.letters.shape[1])
    weight, away = weights[s, a], grid.moves[a].T
    x, y = np.stack([columns, rows + 0.06]) + 0.05 * away  # apart from each other, and from the number above
    u, v = (_SHORT + (_ARROW - _SHORT) * weight) * away
    ink = np.zeros((len(s), 4))
    ink[:, 3] = 0.25 + 0.75 * weight
    style = {"angles": "xy", "scale_units": "xy", "scale": 1, "units": "xy", "width": 0.04, "zorder": 3}
    brush.axes.quiver(x, y, u, v, color=ink, headwidth=3.6, headlength=3.4, headaxislength=3.1, minshaft=1, **style)
