"""Stop, and go on as if nothing had happened: files that hold the state of objects, and nothing that can run."""

from ..errors import CheckpointError, DamagedFileError
from ._checkpointer import Checkpointer
from ._save import load, save

__all__ = ("CheckpointError", "Checkpointer", "DamagedFileError", "load", "save")
