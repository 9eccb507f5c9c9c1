"""Where to draw: matplotlib without its global figures, so that no window opens and nothing is kept."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ("new_axes",)


def new_axes(width: float, height: float) -> Any:
    """The axes of a new figure.

    Parameters
    ----------
    width, height : float
        Of the figure, in inches.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        figure = importlib.import_module("matplotlib.figure")
    except ImportError as err:
        raise ImportError("matplotlib is missing. Fix: pip install 'coax[plots]'") from err
    return figure.Figure(figsize=(width, height), layout="constrained").subplots()
