"""What gymnasium environments hold, as data: as far as they hold it where it can be seen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv

from .._errors import CheckpointError
from .._stateful import Stateful
from ._held import FIX, as_generator, read, written

__all__ = ("is_environment", "record_of", "restorer", "stateful_parts")

_REMEMBERED = ("_last", "over")  # what wrappers of coax hold besides their state
_SPACES = ("action_space", "observation_space", "single_action_space", "single_observation_space")
_LASTING = ("generator", "space", "envs")  # what does not belong to one episode


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

    Where a layer hides something, the running episode could not be taken up again: then only its random generators are
    in it, and under ``"hidden"`` the names of what is.
    """
    attributes: dict[str, Any] = {}
    own: list[str] = []
    inner: list[str] = []
    for name, value in _attributes(env):
        envs = _environments("", value)
        tag, content = ("envs", [record_of(each) for _, each in envs]) if envs else read(name, value)
        if tag == "hidden":
            own.append(f"{name} ({type(value).__name__})")
        elif tag != "constant":
            attributes[name] = {tag: content}
        if tag == "envs":
            inner += [f"{name}.{each}" for one in content for each in one["hidden"]]
    if own:
        attributes = {name: one for name, one in attributes.items() if any(tag in one for tag in _LASTING)}
    record = {"class": _class_of(env), "hidden": own + inner, "attributes": attributes}
    if isinstance(env, AsyncVectorEnv):
        record["processes"] = [generator.bit_generator.state for generator in env.get_attr("np_random")]
    return record


def restorer(env: Any, record: Any, where: str) -> Callable[[], None]:
    """A function that gives an environment what it held, after it was checked that it fits.

    Where something was hidden, the next episode must be begun with ``reset()`` afterwards.

    Raises
    ------
    CheckpointError
        If it does not.
    """
    steps: list[Callable[[], None]] = list(_steps(env, record, where))
    if record["hidden"]:
        steps += _forgetting(env)

    def restore() -> None:
        for step in steps:
            step()

    return restore


def _class_of(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__}"


def _attributes(env: Any) -> Iterator[tuple[str, Any]]:
    """What it holds, by name; of a stateful one, what is not in its state."""
    held = vars(env)
    shared = {name: getattr(type(env), name, None) for name in _SPACES if name not in held}
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


def _steps(env: Any, record: Any, where: str) -> Iterator[Callable[[], None]]:
    try:
        was, attributes, _ = record["class"], record["attributes"], record["hidden"]
        pairs = [(name, *one.items()) for name, one in sorted(attributes.items()) if one]
    except (TypeError, KeyError, AttributeError) as err:
        raise CheckpointError(f"{where}: the file does not say what it is. Fix: load another file.") from err
    if was != _class_of(env):
        raise CheckpointError(f"{where}: expected a {_class_of(env)}, the file has a {was}. {FIX}")
    present = dict(_attributes(env))
    for name, one, *others in pairs:
        path = f"{where}.{name}"
        if type(name) is not str or others or _belongs_to_class(env, name):
            raise CheckpointError(f"{path}: the file has it, and it is nothing that can be set. {FIX}")
        if one[0] == "envs":
            yield from _steps_inside(present.get(name), one[1], path)
        else:
            yield from written(env, name, present.get(name), one, path)
    if isinstance(env, AsyncVectorEnv):
        yield from _steps_in_processes(env, record.get("processes"), where)


def _belongs_to_class(env: Any, name: str) -> bool:
    """Whether it is a method, a property or the like."""
    found = getattr(type(env), name, None)
    return callable(found) or hasattr(found, "__set__")


def _steps_inside(old: Any, records: Any, where: str) -> Iterator[Callable[[], None]]:
    inner = _environments(where, old)
    if type(records) is not list or len(records) != len(inner):
        raise CheckpointError(f"{where}: expected {len(inner)} environments, the file has others. {FIX}")
    for (path, env), record in zip(inner, records, strict=True):
        yield from _steps(env, record, path)


def _steps_in_processes(env: AsyncVectorEnv, states: Any, where: str) -> Iterator[Callable[[], None]]:
    if type(states) is not list or len(states) != env.num_envs:
        raise CheckpointError(f"{where}: expected {env.num_envs} environments, the file has others. {FIX}")
    generators = [as_generator(state, where) for state in states]
    yield functools.partial(env.set_attr, "np_random", generators)


def _forgetting(env: Any) -> Iterator[Callable[[], None]]:
    """What makes each layer ask for a reset before the next step."""
    for name, value in _attributes(env):
        for _, inner in _environments("", value):
            yield from _forgetting(inner)
        if name in ("_has_reset", "_last"):  # of gymnasium, and of coax
            yield functools.partial(setattr, env, name, type(value)())
    if isinstance(env, AsyncVectorEnv):
        yield functools.partial(env.set_attr, "_has_reset", False)
