"""Log lines on the console and in a file, when asked for."""

from __future__ import annotations

import logging
import os
import pathlib
import sys

__all__ = ("enable_logging",)


class _Console(logging.StreamHandler):
    """A handler of ours: replaced when logging is enabled again."""


class _File(logging.FileHandler):
    """A handler of ours: replaced when logging is enabled again."""


def enable_logging(
    name: str | None = None,
    level: int = logging.INFO,
    output_filepath: str | os.PathLike[str] | None = None,
    output_level: int | None = None,
    *,
    logger: str | logging.Logger | None = None,
) -> None:
    """Show log lines, as ``[name|logger|LEVEL] message``.

    Calling this again replaces what the previous call set up, so that no line is shown twice. Handlers that others have
    added stay; if one of them writes to the console already, no second one is added.

    Parameters
    ----------
    name : str, optional
        Put in front of each line, for instance the name of the run.
    level : int, optional
        The least important level to show.
    output_filepath : path, optional
        A file to append the lines to. Missing folders are made.
    output_level : int, optional
        The least important level to write to the file. By default `level`.
    logger : str or logging.Logger, optional
        Only for this logger and those below it. By default for all.
    """
    target = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger)
    file_level = level if output_level is None else output_level
    formatter = logging.Formatter(f"[{f'{name}|' if name else ''}%(name)s|%(levelname)s] %(message)s")
    file = None
    if output_filepath is not None:
        path = pathlib.Path(output_filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _File(path)
    for handler in target.handlers[:]:
        if isinstance(handler, _Console | _File):
            target.removeHandler(handler)
            handler.close()
    if not any(map(_writes_to_console, target.handlers)):
        _add(target, _Console(), level, formatter)
    if file is not None:
        _add(target, file, file_level, formatter)
    target.setLevel(level if file is None else min(level, file_level))


def _add(target: logging.Logger, handler: logging.Handler, level: int, formatter: logging.Formatter) -> None:
    handler.setLevel(level)
    handler.setFormatter(formatter)
    target.addHandler(handler)


def _writes_to_console(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return stream is not None and stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
