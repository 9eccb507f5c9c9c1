"""What several seeds reach, what a function has learned, and pictures of both.

The numbers need NumPy only, the pictures matplotlib: ``pip install 'coax[plots]'``. No window opens.
"""

from ._grid_world import plot_policy, plot_values
from ._learning_curves import LearningCurves, SeedCurves, learning_curves, seed_curves
from ._logs import read_log
from ._seeds import bootstrap_band, interquartile_mean, plot_seeds

__all__ = (
    "LearningCurves",
    "SeedCurves",
    "bootstrap_band",
    "interquartile_mean",
    "learning_curves",
    "plot_policy",
    "plot_seeds",
    "plot_values",
    "read_log",
    "seed_curves",
)
