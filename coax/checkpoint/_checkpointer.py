"""Checkpoints of a long run: the latest few, in one folder."""

from __future__ import annotations

import operator
import os
import pathlib
import re
import warnings
from typing import Any

from ..errors import CheckpointError, DamagedFileError
from ..utils import at_least_one
from ._save import load, save

__all__ = ("Checkpointer",)

_NAME = re.compile(r"step-(\d{12,18})\.safetensors")


class Checkpointer:
    """Save the objects of a run from time to time, keep the latest files, and go on from the last good one.

    Parameters
    ----------
    folder : path
        It is made if there is none. Each run needs one of its own.
    keep : int, optional
        How many files stay. Older ones are deleted once a newer one is complete.
    every : int, optional
        How many steps there are between two of them at least.

    Raises
    ------
    TypeError, ValueError
        If `keep` or `every` is no positive integer.

    Examples
    --------
    >>> checkpointer = coax.checkpoint.Checkpointer("data/frozen_lake", keep=3, every=10_000)
    >>> loop = {"ep": 0}
    >>> found = checkpointer.restore_latest(q=q, loop=loop)
    >>> if found:
    ...     loop = found["loop"]
    >>> checkpointer.save(checkpointer.step + 10_000, q=q, loop=loop).name
    'step-000000010000.safetensors'
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int = 3, every: int = 1):
        self._folder = pathlib.Path(folder).absolute()  # wherever the process goes
        self._keep, self._every = at_least_one("keep", keep, 3), at_least_one("every", every, 10_000)
        self._step = 0

    @property
    def folder(self) -> pathlib.Path:
        """Where the files are."""
        return self._folder

    @property
    def step(self) -> int:
        """The step of what was saved or restored last; 0 before."""
        return self._step

    @property
    def steps(self) -> list[int]:
        """Of which steps there are files, oldest first."""
        return sorted(self._files())

    def save(self, step: int, /, **objects: Any) -> pathlib.Path | None:
        """Save the objects, unless fewer than `every` steps have passed since the last time.

        Parameters
        ----------
        step : int
            How far the run is, e.g. ``env.T``.
        **objects
            See :func:`coax.save`.

        Returns
        -------
        pathlib.Path or None
            The file, if one was written.

        Raises
        ------
        CheckpointError
            If the folder holds files of later steps, which belong to another run or to a part of this one that
            :meth:`restore_latest` has not gone on from. Nothing is written.
        OSError, RuntimeError, StateError
            As :func:`coax.save`.
        """
        step = _as_step(step)
        if step - self._step < self._every:
            return None
        files = self._files()
        if files and max(files) > step:
            raise CheckpointError(
                f"{self._folder}: expected no files of later steps than {step}, got one of {max(files)}. "
                "Fix: go on from it with restore_latest(...), or give each run a folder of its own."
            )
        path = self._folder / f"step-{step:012d}.safetensors"
        save(path, **objects)
        self._step = step
        for old in sorted(files.keys() - {step})[: len(files.keys() | {step}) - self._keep]:
            files[old].unlink(missing_ok=True)
        return path

    def restore_latest(self, /, **objects: Any) -> dict[str, Any] | None:
        """Go on from the latest file that is not damaged.

        A damaged one is renamed to end in ``.damaged``, where that is allowed, and a warning says so.

        Parameters
        ----------
        **objects
            See :func:`coax.load`.

        Returns
        -------
        dict or None
            The objects, and the trees that were saved, by name; None if there is no file to go on from. The step is
            :attr:`step`.

        Raises
        ------
        CheckpointError
            If what the latest good file holds does not fit the objects. Nothing is changed then.
        """
        for step, path in sorted(self._files().items(), reverse=True):
            try:
                found = load(path, **objects)
            except DamagedFileError as err:
                warnings.warn(f"{err} It was skipped{_put_aside(path)}.", UserWarning, stacklevel=2)
                continue
            except FileNotFoundError as err:  # somebody else has just deleted it
                warnings.warn(f"{err}. It was skipped.", UserWarning, stacklevel=2)
                continue
            self._step = step
            return found
        return None

    def _files(self) -> dict[int, pathlib.Path]:
        found = ((_NAME.fullmatch(path.name), path) for path in self._folder.glob("step-*.safetensors"))
        return {int(match[1]): path for match, path in found if match and path.is_file()}


def _put_aside(path: pathlib.Path) -> str:
    """Rename a damaged file, if that is allowed. What became of it."""
    kept = path.with_name(path.name + ".damaged")
    try:
        os.replace(path, kept)
    except OSError as err:
        return f", and stays where it is ({err})"
    return f", and is {kept} now"


def _as_step(step: Any) -> int:
    try:
        number = operator.index(step)
    except TypeError:
        raise TypeError(f"step: expected an integer, got {step!r}. Fix: pass for instance env.T.") from None
    if not 0 <= number < 10**18:
        raise ValueError(f"step: expected at least 0, got {number}. Fix: pass for instance env.T.")
    return number
