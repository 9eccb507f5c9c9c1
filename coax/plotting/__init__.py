"""What several seeds reach: robust means, how sure one can be of them, and a picture.

The numbers need NumPy only, the picture matplotlib: ``pip install 'coax[plots]'``.
"""

from ._seeds import bootstrap_band, interquartile_mean, plot_seeds

__all__ = ("bootstrap_band", "interquartile_mean", "plot_seeds")
