"""A run of Weights & Biases."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

from ._need import need
from ._row import as_row
from ._sink import Sink, closed_error

__all__ = ("WandB",)


class WandB(Sink):
    """A run of Weights & Biases: the numbers of each episode and the means of metrics, over `T`.

    Each one makes a run of its own, so that there may be several in one process. Needs ``pip install 'coax[wandb]'``
    and an account, or the environment variable ``WANDB_MODE=offline``, with which all is kept in files of this machine.

    Parameters
    ----------
    run : wandb.Run, optional
        A run that you have made: then it is yours to finish.
    **init_kwargs
        For ``wandb.init``, if no `run` is given: `project`, `name`, `config`, `dir` and so on. With an `id`, a run of
        this id is gone on with if there is one.

    Attributes
    ----------
    run : wandb.Run
        For what else you want to log.

    Raises
    ------
    ImportError
        If wandb is not installed.
    TypeError
        If there is a `run`, and arguments for another.

    Notes
    -----
    What is drawn over is `T`, not the step of Weights & Biases, which must not go back: after a resume from a
    checkpoint that is older than the last row, both rows are kept.

    Examples
    --------
    ::

        env = coax.wrappers.TrainMonitor(env, sinks=[coax.sinks.WandB(project="lake", id="lake-13")])
    """

    def __init__(self, *, run: Any = None, **init_kwargs: Any):
        if run is not None and init_kwargs:
            raise TypeError(
                f"WandB: expected a run, or arguments to make one, got both: {sorted(init_kwargs)}. "
                "Fix: leave out one of them."
            )
        self._closer = None
        if run is None:
            run = _new_run(init_kwargs)
            self._closer = weakref.finalize(self, run.finish)
            self._closer.atexit = False  # there wandb itself finishes it, and knows whether that was a failure
        self.run, self._closed = run, False

    def write(self, T: int, numbers: Mapping[str, float], metrics: Mapping[str, float]) -> None:
        """Log one row. It is sent in the background."""
        if self._closed:
            raise closed_error(self)
        self.run.log(as_row(T, numbers, metrics))

    def close(self) -> None:
        """Finish the run, unless it was given. Waits until all is sent."""
        self._closed = True
        if self._closer is not None:
            self._closer()

    def __repr__(self) -> str:
        return f"WandB({self.run.id!r})"


def _new_run(init_kwargs: dict[str, Any]) -> Any:
    wandb = need("wandb", "wandb")
    if init_kwargs.get("dir") is not None:
        os.makedirs(init_kwargs["dir"], exist_ok=True)  # else wandb takes another
    resume = {"resume": "allow"} if init_kwargs.get("id") is not None else {}
    run = wandb.init(**{"reinit": "create_new", **resume, **init_kwargs})
    run.define_metric("T")
    run.define_metric("*", step_metric="T")
    return run
