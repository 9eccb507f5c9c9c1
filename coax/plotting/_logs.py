"""What a monitor wrote into files, read back."""

from __future__ import annotations

import csv
import json
import math
import os
import pathlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

__all__ = ("files_of", "read_log", "read_rows")

_SUFFIXES = (".csv", ".jsonl")
_FIX = "Fix: pass a file that coax.sinks.CSV or coax.sinks.JSONLines wrote."


def read_log(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The log of one run: what :class:`coax.sinks.CSV` or :class:`coax.sinks.JSONLines` wrote.

    A last line without its end, which was being written when the run stopped, is left out. Where a run went on from an
    earlier state, so that `T` or `ep` goes back, the rows that it had written after that state are left out too. Of all
    rows that is done with a ``UserWarning``: the file may then be that of two runs.

    Parameters
    ----------
    path : path
        A file of either kind.

    Returns
    -------
    dict from str to f64[rows]
        The columns by their names: ``T``, ``ep``, ``G``, ..., then those of metrics, NaN where there was none.

    Raises
    ------
    ValueError
        If it is no such file. The error names it, and the line.

    Examples
    --------
    The mean return of the last ten episodes:

    >>> sink = coax.sinks.CSV("runs/dqn-0.csv")
    >>> for T, G in [(10, 1.0), (20, 4.0)]:  # as a monitor does
    ...     sink.write(T, {"G": G}, {})
    >>> print(coax.plotting.read_log("runs/dqn-0.csv")["G"][-10:].mean())
    2.5
    """
    rows = read_rows(path)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, math.nan) for row in rows], np.float64) for name in names}


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, float]]:
    """The rows of :func:`read_log`, each with the entries that it has."""
    rows = _without_repeats(_rows(pathlib.Path(path)), path)
    if not rows:
        raise ValueError(f"{path}: expected the rows of at least one episode, got none. {_FIX}")
    return rows


def files_of(runs: Any) -> dict[str, list[pathlib.Path]]:
    """The files of the runs of each label. A folder stands for the files in it and in those below.

    Raises
    ------
    TypeError
        If these are no paths.
    ValueError
        If there is no file.
    """
    if isinstance(runs, str | os.PathLike):
        return {pathlib.Path(runs).stem: _files(runs, [runs])}
    if isinstance(runs, Mapping):
        return {
            str(label): _files(label, [paths] if isinstance(paths, str | os.PathLike) else paths)
            for label, paths in runs.items()
        }
    return {"runs": _files("runs", runs)}


def _files(label: Any, paths: Any) -> list[pathlib.Path]:
    fix = (
        "Fix: pass files, or folders with .csv or .jsonl files, or lists of them: {'dqn': ['dqn-0.csv', 'dqn-1.csv']}."
    )
    if not isinstance(paths, Iterable) or isinstance(paths, bytes):
        raise TypeError(f"runs: expected paths, got {paths!r}. {fix}")
    found: dict[pathlib.Path, None] = {}
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"runs: expected paths, got {path!r}. {fix}")
        here = pathlib.Path(path)
        if here.is_dir():
            # Two sinks of one run may have written the same rows side by side: those count once.
            inside = {file.with_suffix(""): file for file in sorted(here.rglob("*")) if file.suffix in _SUFFIXES}
            if not inside:
                raise ValueError(f"runs: expected .csv or .jsonl files in the folder {here}, got none. {fix}")
            found.update(dict.fromkeys(inside.values()))
        else:
            found[here] = None
    if not found:
        raise ValueError(f"runs: expected at least one file for {label!r}, got none. {fix}")
    return list(found)


def _without_repeats(rows: Iterable[dict[str, float]], path: str | os.PathLike[str]) -> list[dict[str, float]]:
    kept: list[dict[str, float]] = []
    for row in rows:
        if kept and (row["T"] < kept[-1]["T"] or _is_of_later(row, kept)):
            before = len(kept)
            while kept and (row["T"] <= kept[-1]["T"] or _is_of_later(row, kept)):
                kept.pop()
            if not kept and before > 1:
                warnings.warn(
                    f"{path}: a run begins anew in it, and what was there before is left out. Fix: if these are two "
                    "runs, give each a file of its own.",
                    stacklevel=4,
                )
        kept.append(row)
    return kept


def _is_of_later(row: dict[str, float], kept: list[dict[str, float]]) -> bool:
    """Whether the last row is of a later episode than this one, or of the very same.

    Rows of one `ep` may also be of two environments that were done at once. Of a single one, each step and each reset
    since the row before belongs to this episode.
    """
    last, before = kept[-1], kept[-2]["T"] if len(kept) > 1 else 0
    ep, last_ep = row.get("ep", math.nan), last.get("ep", math.nan)
    return last_ep > ep or (last_ep == ep and row.get("t", math.nan) + 1 == row["T"] - before)


def _rows(path: pathlib.Path) -> Iterator[dict[str, float]]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as err:
        raise ValueError(f"{path}: expected a log in text, got other bytes. {_FIX}") from err
    lines = [(number, line) for number, line in enumerate(text.split("\n")[:-1], 1) if line.strip()]
    yield from (_json_rows if lines and lines[0][1].lstrip().startswith("{") else _csv_rows)(path, lines)


def _csv_rows(path: pathlib.Path, lines: list[tuple[int, str]]) -> Iterator[dict[str, float]]:
    names: list[str] = []
    for number, line in lines:
        try:
            fields = next(csv.reader([line], strict=True))
        except csv.Error as err:
            _refuse(path, number, f"fields separated by commas, got {line[:80]!r}", err)
        if "T" in fields:
            names = fields
            continue
        if not names:
            _refuse(path, number, f"a header with the column T, got {line[:80]!r}")
        if len(fields) != len(names):
            _refuse(path, number, f"the {len(names)} fields of the header, got {len(fields)}")
        yield _numbers(path, number, dict(zip(names, fields, strict=True)))


def _json_rows(path: pathlib.Path, lines: list[tuple[int, str]]) -> Iterator[dict[str, float]]:
    for number, line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as err:
            _refuse(path, number, f"one JSON object, got {line[:80]!r}", err)
        if not isinstance(row, dict):
            _refuse(path, number, f"one JSON object, got {line[:80]!r}")
        yield _numbers(path, number, row)


def _numbers(path: pathlib.Path, number: int, row: dict[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in row.items():
        if value is None or value == "":
            continue
        try:
            found[name] = float(value)
        except (TypeError, ValueError) as err:
            _refuse(path, number, f"a number as {name}, got {value!r}", err)
    if not math.isfinite(found.get("T", math.nan)):
        _refuse(path, number, f"a step T, got {row.get('T')!r}")
    return found


def _refuse(path: pathlib.Path, number: int, text: str, cause: Exception | None = None) -> NoReturn:
    raise ValueError(f"{path}, line {number}: expected {text}. {_FIX}") from cause
