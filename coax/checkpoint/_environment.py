"""What gymnasium environments hold, as data: as far as they hold it where it can be seen."""

from __future__ import annotations

import collections
import enum
import functools
import logging
import pathlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec

from .._errors import CheckpointError
from .._stateful import Stateful
from ._dtypes import DTYPES

__all__ = ("is_environment", "record_of", "restorer", "stateful_parts")

# What does not change in an episode, or only shows it.
_CONSTANT = (
    str,
    bytes,
    type,
    enum.Enum,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.ModuleType,
    functools.partial,
    EnvSpec,
    logging.Logger,
    pathlib.PurePath,
    np.dtype,
)
_OF_SCREENS = ("pygame",)
_REMEMBERED = ("_last", "over")  # what wrappers of coax hold besides their state
_BITS = {each.__name__: each for each in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox)}
_FIX = "Fix: build the environment as it was when it was saved, with the same wrappers."


def is_environment(x: Any) -> bool:
    """Whether it is an environment, of whatever kind."""
    return isinstance(x, gymnasium.Env | gymnasium.vector.VectorEnv)


def stateful_parts(env: Any, where: str) -> dict[str, Stateful]:
    """The stateful objects in a stack of wrappers, each under the path that leads to it."""
    found = {where: env} if isinstance(env, Stateful) else {}
    for name, value in _attributes(env):
        for path, child in _environments(f"{where}.{name}", value):
            found |= stateful_parts(child, path)
        if isinstance(value, Stateful) and not is_environment(value):
            found[f"{where}.{name}"] = value
    return found


def record_of(env: Any) -> dict[str, Any]:
    """What a stack of wrappers holds, without its stateful parts: a tree of data.

    Where something is hidden, the running episode could not be taken up again: then only the random generators are in
    it, and under ``"hidden"`` the names of what is.
    """
    attributes: dict[str, Any] = {}
    hidden: list[str] = []
    for name, value in _attributes(env):
        tag, content = _read(value)
        if tag == "hidden":
            hidden.append(f"{name} ({type(value).__name__})")
        elif tag != "constant":
            attributes[name] = {tag: content}
        if tag == "envs":
            hidden += [f"{name}.{each}" for one in content for each in one["hidden"]]
    if hidden:
        attributes = {name: one for name, one in attributes.items() if "data" not in one and "object" not in one}
    return {"class": _class_of(env), "hidden": hidden, "attributes": attributes}


def restorer(env: Any, record: Any, where: str) -> Callable[[], None]:
    """A function that gives an environment what it held, after it was checked that it fits.

    Raises
    ------
    CheckpointError
        If it does not.
    """
    steps: list[Callable[[], None]] = list(_steps(env, record, where))

    def restore() -> None:
        for step in steps:
            step()

    return restore


# --- reading ----------------------------------------------------------------------------------------------------------


def _class_of(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__}"


def _attributes(env: Any) -> Iterator[tuple[str, Any]]:
    names = sorted(vars(env))
    if isinstance(env, Stateful):
        names = [name for name in names if name in _REMEMBERED or is_environment(vars(env)[name])]
    for name in names:
        yield name, vars(env)[name]


def _environments(where: str, value: Any) -> list[tuple[str, Any]]:
    """The environments that a value is, or consists of."""
    if is_environment(value):
        return [(where, value)]
    if isinstance(value, list | tuple) and value and all(map(is_environment, value)):
        return [(f"{where}[{i}]", each) for i, each in enumerate(value)]
    return []


def _read(value: Any) -> tuple[str, Any]:
    """What kind of thing an attribute is, and what it holds."""
    inner = _environments("", value)
    if inner:
        return "envs", [record_of(each) for _, each in inner]
    if isinstance(value, np.random.Generator):
        return "generator", value.bit_generator.state
    if isinstance(value, gymnasium.Space):
        return "space", [space._np_random and space._np_random.bit_generator.state for space in _spaces(value)]
    if isinstance(value, Stateful) or _is_constant(value):
        return "constant", None
    if isinstance(value, collections.deque) and all(map(_is_data, value)):
        return "deque", list(value)
    if _is_data(value):
        return "data", value
    if type(value).__module__.split(".")[0] == "gymnasium" and hasattr(value, "__dict__"):
        inside = {name: _read(each) for name, each in vars(value).items()}
        if all(tag in ("data", "constant") for tag, _ in inside.values()):
            return "object", {name: content for name, (tag, content) in inside.items() if tag == "data"}
    return "hidden", None


def _is_constant(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) > 0 and all(map(_is_constant, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "SU"
    return isinstance(value, _CONSTANT) or type(value).__module__.split(".")[0] in _OF_SCREENS


def _is_data(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return value.dtype.name in DTYPES
    if type(value) in (list, tuple):
        return all(map(_is_data, value))
    if type(value) is dict:
        return all(type(key) in (str, int) and _is_data(each) for key, each in value.items())
    return value is None or type(value) in (bool, int, float, str)


def _spaces(space: gymnasium.Space) -> Iterator[gymnasium.Space]:
    """A space, and those it is made of."""
    yield space
    inner = getattr(space, "spaces", ())
    for each in inner.values() if hasattr(inner, "values") else inner:
        yield from _spaces(each)


# --- writing ----------------------------------------------------------------------------------------------------------


def _steps(env: Any, record: Any, where: str) -> Iterator[Callable[[], None]]:
    try:
        was, attributes = record["class"], record["attributes"]
        pairs = [(name, *one.popitem()) for name, one in sorted(attributes.items())]
    except (TypeError, KeyError, AttributeError) as err:
        raise CheckpointError(f"{where}: the file does not say what it is. Fix: load another file.") from err
    if was != _class_of(env):
        raise CheckpointError(f"{where}: expected a {_class_of(env)}, the file has a {was}. {_FIX}")
    present = dict(_attributes(env))
    for name, tag, content in pairs:
        path = f"{where}.{name}"
        if type(name) is not str or _belongs_to_class(env, name):
            raise CheckpointError(f"{path}: the file has it, and it is nothing that can be set. {_FIX}")
        if tag not in _WRITERS:
            raise CheckpointError(f"{path}: the file does not say what it is. Fix: load another file.")
        yield from _WRITERS[tag](env, name, present.get(name), content, path)


def _belongs_to_class(env: Any, name: str) -> bool:
    """Whether it is a method, a property or the like."""
    found = getattr(type(env), name, None)
    return callable(found) or hasattr(found, "__set__")


def _write_data(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    if not _is_data(new):
        raise CheckpointError(f"{where}: expected data, the file has a {type(new).__name__}. {_FIX}")
    if _shape_of(old) is not None and _shape_of(new) is not None and _shape_of(old) != _shape_of(new):
        raise CheckpointError(f"{where}: expected shape {_shape_of(old)}, the file has {_shape_of(new)}. {_FIX}")
    yield functools.partial(setattr, owner, name, jax.device_put(new) if isinstance(old, jax.Array) else new)


def _shape_of(x: Any) -> Any:
    return list(x.shape) if isinstance(x, np.ndarray | jax.Array) else None


def _write_deque(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    if not isinstance(old, collections.deque) or type(new) is not list:
        raise CheckpointError(f"{where}: expected {type(old).__name__}, the file has a deque. {_FIX}")
    yield old.clear
    yield functools.partial(old.extend, new)


def _write_object(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    if type(new) is not dict or not hasattr(old, "__dict__"):
        raise CheckpointError(f"{where}: expected {type(old).__name__}, the file has an object. {_FIX}")
    for inner, value in sorted(new.items()):
        if inner not in vars(old):
            raise CheckpointError(f"{where}.{inner}: the file has it, the object does not. {_FIX}")
        yield from _write_data(old, inner, vars(old)[inner], value, f"{where}.{inner}")


def _write_generator(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    yield functools.partial(setattr, owner, name, _as_generator(new, where))


def _write_space(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    spaces = list(_spaces(old)) if isinstance(old, gymnasium.Space) else []
    if type(new) is not list or len(new) != len(spaces):
        raise CheckpointError(f"{where}: expected {old}, the file has another space. {_FIX}")
    for space, state in zip(spaces, new, strict=True):
        generator = None if state is None else _as_generator(state, where)
        yield functools.partial(setattr, space, "_np_random", generator)


def _write_envs(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    inner = _environments(where, old)
    if type(new) is not list or len(new) != len(inner):
        raise CheckpointError(f"{where}: expected {len(inner)} environments, the file has others. {_FIX}")
    for (path, env), record in zip(inner, new, strict=True):
        yield from _steps(env, record, path)


_WRITERS = {
    "data": _write_data,
    "deque": _write_deque,
    "envs": _write_envs,
    "generator": _write_generator,
    "object": _write_object,
    "space": _write_space,
}


def _as_generator(state: Any, where: str) -> np.random.Generator:
    try:
        bits = _BITS[state["bit_generator"]](0)
        bits.state = state
    except (TypeError, KeyError, ValueError, OverflowError) as err:
        raise CheckpointError(f"{where}: expected the state of a random generator, got another thing. {_FIX}") from err
    return np.random.Generator(bits)
