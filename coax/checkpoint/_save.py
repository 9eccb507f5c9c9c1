"""The state of objects in a file, and back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any, NamedTuple

import jax

from .._stateful import HostStateful, Stateful, collect, is_tracing, name_of
from .._version import __version__
from ..errors import CheckpointError, DamagedFileError, StateError
from ._environment import is_environment, record_of, stateful_parts, steps_to
from ._file import File, write_file
from ._steps import Step, all_or_none
from ._trees import built, described, filled, finished, matched, places_of
from ._where import TooDeep, Where

__all__ = ("load", "save")

_FORMAT = 1
_NONSENSE = (ArithmeticError, AttributeError, LookupError, SystemError, TypeError, ValueError)


def save(path: str | os.PathLike[str], /, **objects: Any) -> None:
    """Write the state of objects to a file, to go on from there with :func:`coax.load`.

    The file holds data only: arrays, and what they are called. It appears when it is complete; if anything goes wrong
    before, an older file of that name is as it was.

    Parameters
    ----------
    path : path
        Missing folders are made. Any suffix will do; ``.safetensors`` is what the layout is, and other programs can
        read the arrays too.
    **objects : Stateful, environment, or pytree
        Each under a name of its own:

        * Stateful objects: functions, policies, updaters, tracers, replay buffers, monitors, ... What they refer to
          must be named as well.
        * environments of gymnasium with all their wrappers: random generators, counters, and what else they hold as
          data. If the simulator hides its state a warning says so, and only the random generators are saved.
        * other trees of arrays, numbers and strings, e.g. ``loop={"s": s, "t": t}``.

    Raises
    ------
    CheckpointError
        If something has no data to save, is too deep or too long for a description, or refers to another object that is
        not named.
    OSError
        If the file cannot be written, for instance because the disk is full.
    RuntimeError
        If an updater met gradients that were not finite and has not said so yet. Nothing is written.
    StateError
        In a compiled function.

    Examples
    --------
    >>> pi = coax.EpsilonGreedy(q, epsilon=0.1)
    >>> coax.save("data/run.safetensors", q=q, pi=pi, loop={"t": 3})
    >>> coax.load("data/run.safetensors", q=q, pi=pi, loop={"t": 0})["loop"]
    {'t': 3}
    """
    if is_tracing():
        raise StateError("coax.save in a compiled function would be done once, when it is compiled. Fix: save outside.")
    if not objects:
        raise CheckpointError("coax.save: expected objects, got none. Fix: coax.save(path, q=q, updater=updater).")
    arrays: list[Any] = []
    entries: dict[str, Any] = {}
    try:
        _check_all_named(objects)
        for name, obj in objects.items():
            entries[name] = _entry(name, obj, arrays)
    except TooDeep as err:
        raise CheckpointError(str(err)) from None
    except RecursionError as err:
        what = "an environment refers to itself, or a tree contains itself"
        raise CheckpointError(f"coax.save: {what}, or is too deep. Fix: leave out what refers back.") from err
    versions = {"coax": __version__, "jax": jax.__version__}
    write_file(path, {"format": _FORMAT, "versions": versions, "objects": entries}, arrays)


def load(path: str | os.PathLike[str], /, **objects: Any) -> dict[str, Any]:
    """Go on from a file of :func:`coax.save`.

    Everything is read and checked before the first object is changed. Nothing in the file is run.

    Parameters
    ----------
    path : path
    **objects : Stateful, environment, pytree, or ...
        The same names as in :func:`coax.save`, and objects built in the same way: they take over the state. Of other
        trees one like the saved one is given, and the saved one is returned; None stands for any tree of lists, tuples
        and dictionaries, for instance with a list that has grown. ``name=...`` (three dots) leaves in the file what it
        has under that name.

    Returns
    -------
    dict
        The objects, and the trees that were saved, by name.

    Raises
    ------
    CheckpointError
        If what is in the file does not fit the objects: the first leaf that differs is named. Nothing is changed then.
    DamagedFileError
        If it is no such file, or not as it was written.
    OSError
        If it cannot be read.
    StateError
        In a compiled function.
    """
    if is_tracing():
        raise StateError("coax.load in a compiled function would be done once, when it is compiled. Fix: load outside.")
    with File(path) as file:
        try:
            plans = _plans(_entries_of(file), objects, file)
            used = [place.number for plan in plans for place in places_of(plan.tree)]
            if len(set(used)) < len(used) or not set(used) <= set(range(len(file))):
                raise DamagedFileError(f"{file.path}: its arrays are not those of its objects. Fix: load another file.")
            changes = [
                plan.prepare(filled(plan.tree, lambda place: finished(place, file.read(place.number))))
                for plan in plans
            ]
        except RecursionError as err:
            raise DamagedFileError(f"{file.path}: its trees are too deep. Fix: load another file.") from err
        except _NONSENSE as err:  # a description with a right checksum may still be anybody's
            raise CheckpointError(
                f"{file.path}: it says what cannot be ({err!r:.200}). Fix: load another file."
            ) from err
    _change_environments([step for steps, _ in changes for step in steps])
    found = {name: obj for name, obj in objects.items() if not isinstance(obj, EllipsisType)}
    for _, change in changes:
        found |= change() or {}
    return found


# --- what is saved ----------------------------------------------------------------------------------------------------


def _check_all_named(objects: Mapping[str, Any]) -> None:
    named: dict[str, Stateful] = {}
    for name, obj in objects.items():
        named |= stateful_parts(obj, name) if is_environment(obj) else {name: obj} if isinstance(obj, Stateful) else {}
    for name, obj in named.items():
        for child in collect(obj):
            if not any(child is each for each in named.values()):
                raise CheckpointError(
                    f"{name}: it refers to {name_of(child)}, whose state would be lost. "
                    "Fix: save that too, under a name of its own."
                )


def _entry(name: str, obj: Any, arrays: list[Any]) -> dict[str, Any]:
    entry = {"class": type(obj).__qualname__, "kind": _kind_of(obj)}
    if not is_environment(obj):
        return {**entry, "tree": described(_content(obj), arrays, Where(name))}
    record = record_of(obj, name)
    if record["hidden"]:
        warnings.warn(
            f"{name}: {obj} hides what it holds in {', '.join(record['hidden'])}. Its generators of NumPy are saved, "
            "the running episode is not: after loading, begin one with reset().",
            UserWarning,
            stacklevel=3,
        )
    parts = {path: described(_content(part), arrays, Where(path)) for path, part in stateful_parts(obj, name).items()}
    return {**entry, "tree": described(record, arrays, Where(name)), "parts": parts}


def _kind_of(obj: Any) -> str:
    return "environment" if is_environment(obj) else "stateful" if isinstance(obj, Stateful) else "data"


def _content(obj: Any) -> Any:
    if isinstance(obj, HostStateful):
        return obj._stream()
    if isinstance(obj, Stateful):
        jax.block_until_ready(obj._peek())
        obj._poll()  # what an updater has not said yet
        return obj._peek()  # not handed out: the next compiled call may go on in the same memory
    return obj


# --- what is loaded ---------------------------------------------------------------------------------------------------


class _Change(NamedTuple):
    """What was read and checked, and is to be done."""

    steps: Sequence[Step]  # which the classes of an environment may refuse
    rest: Callable[[], dict[str, Any] | None]  # which nothing refuses any more; returns a tree for the user


class _Plan(NamedTuple):
    """What is to be done with one tree of the file."""

    tree: Any  # with places for leaves
    prepare: Callable[[Any], _Change]  # checks the tree that was read


def _change_environments(steps: Sequence[Step]) -> None:
    try:
        all_or_none(steps)
    except Exception as err:
        raise CheckpointError(
            f"an environment refused what the file has ({type(err).__name__}: {err}). Nothing was changed. "
            "Fix: look at what its class does when an attribute is set, or leave it in the file (env=...)."
        ) from err


def _entries_of(file: File) -> dict[str, Any]:
    fault = f"{file.path}: it does not say what is in it. Fix: load another file."
    form = file.description.get("format")
    if type(form) is int and form > _FORMAT:
        raise CheckpointError(
            f"{file.path}: expected format {_FORMAT} or older, got {form}: it was written by a newer coax "
            f"({str(file.description.get('versions'))[:80]}). Fix: pip install --upgrade coax"
        )
    entries = file.description.get("objects")
    if form != _FORMAT or type(entries) is not dict:
        raise DamagedFileError(fault)
    for entry in entries.values():
        parts = entry.get("parts", {}) if type(entry) is dict else None
        if type(parts) is not dict or entry.keys() - {"parts"} != {"class", "kind", "tree"}:
            raise DamagedFileError(fault)
        if type(entry["class"]) is not str or entry["kind"] not in list(_ARTICLES):
            raise DamagedFileError(fault)
    return entries


def _plans(entries: dict[str, Any], objects: Mapping[str, Any], file: File) -> list[_Plan]:
    for name in objects:
        if name not in entries:
            raise CheckpointError(
                f"{file.path}: it does not hold {name!r}, only {sorted(entries)}. "
                "Fix: leave it out, or load another file."
            )
    for name in entries:
        if name not in objects:
            raise CheckpointError(
                f"{file.path}: it also holds {name!r}, a {entries[name]['class']}. "
                f"Fix: pass it, as {name}=<an object built as it was>, or leave it in the file with {name}=... (dots)."
            )
    plans: list[_Plan] = []
    for name, obj in objects.items():
        if isinstance(obj, EllipsisType):
            continue
        entry, kind = entries[name], _kind_of(obj)
        if entry["kind"] != kind and not (obj is None and entry["kind"] == "data"):
            raise CheckpointError(
                f"{name}: expected {_ARTICLES[kind]} as the {type(obj).__qualname__} that was passed, the file has "
                f"{_ARTICLES[entry['kind']]} ({entry['class']}). Fix: pass one built as it was."
            )
        if kind == "environment":
            plans += _environment_plans(name, obj, entry, file)
        else:
            plans.append(_plan(name, obj, entry["tree"], file, name))
    return plans


_ARTICLES = {"stateful": "a Stateful object", "environment": "an environment", "data": "data"}


def _plan(name: str, obj: Any, tree: Any, file: File, where: str) -> _Plan:
    way = Where(where)
    if isinstance(obj, HostStateful):
        obj._on_host("state")
        return _Plan(built(tree, way), lambda new: _Change((), _host_change(obj, new, where)))
    if isinstance(obj, Stateful):
        return _Plan(matched(tree, obj._peek(), file.looks, way), lambda new: _Change((), lambda: _set_state(obj, new)))
    return _Plan(_matched_data(name, obj, tree, file), lambda new: _Change((), lambda: {name: new}))


def _matched_data(name: str, obj: Any, tree: Any, file: File) -> Any:
    if obj is None:
        return built(tree, Where(name))
    try:
        return matched(tree, obj, file.looks, Where(name))
    except DamagedFileError:
        raise
    except CheckpointError as err:
        raise CheckpointError(f"{err} Or pass {name}=None, to get what was saved, whatever it is like.") from None


def _host_change(obj: HostStateful, new: Any, where: str) -> Callable[[], None]:
    try:
        checked = obj._checked(new)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as err:
        raise CheckpointError(f"{where}: {err}") from err
    return lambda: obj._take_over(checked)


def _set_state(obj: Stateful, new: Any) -> None:
    obj.state = new


def _environment_plans(name: str, env: Any, entry: dict[str, Any], file: File) -> list[_Plan]:
    parts, saved = stateful_parts(env, name), entry.get("parts", {})
    for path in {**parts, **saved}:
        if path not in parts or path not in saved:
            who = "the file" if path not in saved else "the environment"
            raise CheckpointError(f"{path}: {who} does not have it. Fix: build the environment as it was when saved.")
    plans = [_plan(path, part, saved[path], file, path) for path, part in parts.items()]
    tree = built(entry["tree"], Where(name))
    return [*plans, _Plan(tree, lambda record: _Change(steps_to(env, record, name), lambda: None))]
