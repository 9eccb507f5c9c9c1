"""What gymnasium environments hold, as data: as far as they hold it where it can be seen."""

from __future__ import annotations

import collections
import functools
import types
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv

from .._stateful import Stateful
from ..errors import CheckpointError
from ._held import FIX, SPACES, as_generator, fits, read, written
from ._steps import Call, Same, Set, Step
from ._trees import is_key
from ._where import Where, short

__all__ = ("is_environment", "record_of", "stateful_parts", "steps_to")

_REMEMBERED = ("_last", "over")  # what wrappers of coax hold besides their state
_LASTING = ("generator", "space", "envs")  # what does not belong to one episode
_CHANGED_IN_PLACE = (np.random.Generator, np.ndarray, list, dict, collections.deque)
_SLOT = types.MemberDescriptorType


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


def record_of(env: Any, where: str) -> dict[str, Any]:
    """What a stack of wrappers holds, without its stateful parts: a tree of data.

    Where a layer hides something, the running episode could not be taken up again: then only its random generators are
    in it, and under ``"hidden"`` the names of what is. What two attributes share is in it once.
    """
    return _record(env, where, {})


def _record(env: Any, where: str, known: dict[int, str]) -> dict[str, Any]:
    held = [(name, value, *_tagged(env, name, value)) for name, value in _attributes(env)]
    hidden = [f"{name} ({type(value).__name__})" for name, value, tag, _ in held if tag == "hidden"]
    attributes: dict[str, Any] = {}
    for name, value, tag, content in held:
        if tag in ("constant", "hidden") or (hidden and tag not in _LASTING and not is_key(value)):
            continue
        path = f"{where}.{name}"
        if tag == "envs":
            content = [_record(each, f"{where}.{name}{i}", known) for i, (_, each) in enumerate(content)]
        elif isinstance(value, _CHANGED_IN_PLACE) and known.setdefault(id(value), path) != path:
            tag, content = "same", known[id(value)]
        attributes[name] = {tag: content}
    inner = [f"{name}.{each}" for name, one in attributes.items() for x in one.get("envs", ()) for each in x["hidden"]]
    record = {"class": _class_of(env), "hidden": hidden + inner, "attributes": attributes}
    if isinstance(env, AsyncVectorEnv):
        record["processes"] = [generator.bit_generator.state for generator in env.get_attr("np_random")]
    return record


def _tagged(env: Any, name: str, value: Any) -> tuple[str, Any]:
    envs = _environments("", value)
    tag, content = ("envs", envs) if envs else read(name, value)
    is_method = callable(getattr(type(env), name, None))  # which no file may set
    return ("hidden", None) if is_method and tag != "constant" else (tag, content)


def steps_to(env: Any, record: Any, where: str) -> list[Step]:
    """What is to be done so that an environment holds again what it held. That it fits is checked first.

    Where something was hidden, the next episode must be begun with ``reset()`` afterwards.

    Raises
    ------
    CheckpointError
        If it does not.
    """
    steps = list(_steps(env, record, Where(where), {}))
    return [*steps, *_forgetting(env)] if record["hidden"] else steps


def _class_of(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__}"


def _attributes(env: Any) -> Iterator[tuple[str, Any]]:
    """What it holds, by name; of a stateful one, what is not in its state."""
    slots = {name for each in type(env).__mro__ for name, x in vars(each).items() if isinstance(x, _SLOT)}
    held = {**{name: getattr(env, name) for name in slots if hasattr(env, name)}, **vars(env)}
    shared = {name: getattr(type(env), name, None) for name in SPACES if name not in held}
    held = {**held, **{name: value for name, value in shared.items() if isinstance(value, gymnasium.Space)}}
    for name in sorted(held):
        if not isinstance(env, Stateful) or name in _REMEMBERED or _goes_on(held[name]):
            yield name, held[name]


def _goes_on(value: Any) -> bool:
    return is_environment(value) or isinstance(value, Stateful | gymnasium.Space)


def _environments(where: str, value: Any) -> list[tuple[str, Any]]:
    """The environments that a value is, or consists of."""
    if is_environment(value):
        return [(where, value)]
    if isinstance(value, list | tuple) and value and all(map(is_environment, value)):
        return [(f"{where}[{i}]", each) for i, each in enumerate(value)]
    return []


def _steps(env: Any, record: Any, where: Where, done: dict[str, tuple[Any, str, Any]]) -> Iterator[Step]:
    """The steps of one layer, and of those in it; `done` has what came before, by path: owner, name, and content."""
    try:
        was, attributes, _ = record["class"], record["attributes"], record["hidden"]
        pairs = [(name, *one.items()) for name, one in sorted(attributes.items()) if one]
    except (TypeError, KeyError, AttributeError) as err:
        raise CheckpointError(f"{where}: the file does not say what it is. Fix: load another file.") from err
    if was != _class_of(env):
        raise CheckpointError(f"{where}: expected a {_class_of(env)}, the file has a {short(str(was))}. {FIX}")
    present = dict(_attributes(env))
    for name, one, *others in pairs:
        path = where + f".{name}"
        if type(name) is not str or others or not _may_be_set(env, name, present):
            raise CheckpointError(f"{path}: the file has it, and it is nothing that can be set. {FIX}")
        old = present.get(name)
        if one[0] == "envs" or _environments("", old):
            yield from _steps_inside(old, one, path, done)
        elif one[0] == "same":
            yield from _steps_to_share(env, name, old, done, one[1], path)
        else:
            done[path.path] = env, name, one
            yield from written(env, name, old, one, path)
    if isinstance(env, AsyncVectorEnv):
        yield from _steps_in_processes(env, record.get("processes"), where)


def _may_be_set(env: Any, name: str, present: dict[str, Any]) -> bool:
    """Whether it is an attribute of the object; methods, properties and the like belong to its class."""
    if name in present:
        return True
    found = getattr(type(env), name, None)
    is_of_class = callable(found) or (hasattr(found, "__set__") and not isinstance(found, _SLOT))
    return not (is_of_class or isinstance(env, Stateful) or (name.startswith("__") and name.endswith("__")))


def _steps_to_share(env: Any, name: str, old: Any, done: Any, other: Any, where: Where) -> Iterator[Step]:
    if type(other) is not str or other not in done:
        raise CheckpointError(f"{where}: the file does not say what it is. Fix: load another file.")
    owner, other_name, one = done[other]
    if fits(name, old, one, where):
        yield Same(env, name, owner, other_name)


def _steps_inside(old: Any, one: Any, where: Where, done: Any) -> Iterator[Step]:
    inner, records = _environments("", old), one[1]
    if one[0] != "envs" or type(records) is not list or len(records) != len(inner):
        raise CheckpointError(f"{where}: expected {len(inner)} environments, the file has others. {FIX}")
    for i, ((_, env), record) in enumerate(zip(inner, records, strict=True)):
        yield from _steps(env, record, where + str(i), done)


def _steps_in_processes(env: AsyncVectorEnv, states: Any, where: Where) -> Iterator[Step]:
    if type(states) is not list or len(states) != env.num_envs:
        raise CheckpointError(f"{where}: expected {env.num_envs} environments, the file has others. {FIX}")
    generators = [as_generator(state, where) for state in states]
    yield Call(functools.partial(env.set_attr, "np_random", generators))


def _forgetting(env: Any) -> Iterator[Step]:
    """What makes each layer ask for a reset before the next step."""
    for name, value in _attributes(env):
        for _, inner in _environments("", value):
            yield from _forgetting(inner)
        if name in ("_has_reset", "_last"):  # of gymnasium, and of coax
            yield Set(env, name, type(value)())
    if isinstance(env, AsyncVectorEnv):
        yield Call(functools.partial(env.set_attr, "_has_reset", False))
