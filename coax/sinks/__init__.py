"""Where a monitor writes about each episode: the console, files, TensorBoard, Weights & Biases, a progress bar."""

from ._console import Console
from ._csv import CSV
from ._json_lines import JSONLines
from ._progress_bar import ProgressBar
from ._sink import Sink
from ._tensorboard import TensorBoard
from ._wandb import WandB

__all__ = ("CSV", "Console", "JSONLines", "ProgressBar", "Sink", "TensorBoard", "WandB")
