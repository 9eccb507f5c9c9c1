"""What one attribute of an environment holds: as data, where it is data, and back."""

from __future__ import annotations

import collections
import enum
import functools
import logging
import os
import pathlib
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec

from .._stateful import Stateful
from ..approximators import ActionMask
from ..errors import CheckpointError
from ._dtypes import DTYPES
from ._steps import Refill, Set, Step
from ._trees import is_key
from ._where import Where, short

__all__ = ("FIX", "as_generator", "fits", "read", "written")

FIX = "Fix: build the environment as it was when it was saved, with the same wrappers."

# What an environment is made of, or how it is watched: nothing that an episode changes.
_SETTINGS = {
    "metadata",
    "_metadata",
    "spec",
    "render_mode",
    "_saved_kwargs",
    "_cached_spec",
    "_ezpickle_args",
    "_ezpickle_kwargs",
}
_CONSTANT = (
    ActionMask,
    type,
    types.FunctionType,
    types.ModuleType,
    np.ufunc,
    EnvSpec,
    logging.Logger,
    pathlib.PurePath,
    np.dtype,
)
SPACES = ("action_space", "observation_space", "single_action_space", "single_observation_space")
_NAMES_OF_SPACES = {*SPACES, *(f"_{name}" for name in SPACES)}
_MOVING = ("Rect", "FRect", "Vector2", "Vector3")  # of pygame: what an episode may change
_OWNERS = (type(None), type, types.ModuleType, gymnasium.Env, gymnasium.vector.VectorEnv, gymnasium.Space, Stateful)
_TEXT = re.compile(r"[|<>=][SU][1-9]\d{0,6}")
_ELSEWHERE = re.compile(
    r"[/\\]|~[^/\\\s]*[/\\]|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]*://|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL
)
_KINDS = (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
_BITS = {each.__name__: each for each in _KINDS}


# --- reading ----------------------------------------------------------------------------------------------------------


def read(name: str, value: Any) -> tuple[str, Any]:
    """Under which tag the value of an attribute is saved, and what of it; "constant" and "hidden" are not."""
    if name in _SETTINGS or isinstance(value, Stateful) or _is_constant(value):
        return "constant", None
    if isinstance(value, str) and _is_file(value) and _is_there(value):  # where to write is for the user to say
        return "constant", None
    if any(not _is_there(each) for each in _files_in(value)):  # perhaps it is none; but no file may bring it
        return "hidden", None
    if isinstance(value, np.random.Generator):
        return "generator", value.bit_generator.state
    if isinstance(value, gymnasium.Space):
        states = [space._np_random and space._np_random.bit_generator.state for space in _spaces(value)]
        return "space", {"looks": repr(value), "generators": states}
    if _is_data(value):
        return "data", value
    return _read_wrapped(value)


def _read_wrapped(value: Any) -> tuple[str, Any]:
    """The same of what data can be made of."""
    if isinstance(value, enum.Enum):
        member = value.value if isinstance(value, enum.Flag) else value.name
        kind = type(value)
        return (
            ("constant", None) if _is_of(value, "gymnasium") else ("enum", [kind.__module__, kind.__qualname__, member])
        )
    if isinstance(value, str):
        return "data", str(value)
    if isinstance(value, bytes):
        return "bytes", np.array(bytearray(value), np.uint8)
    if type(value) is np.ndarray and value.dtype.kind in "SU" and value.dtype.itemsize:
        letters = np.ascontiguousarray(value).view(np.uint8) if value.size else np.zeros(0, np.uint8)
        return "text", {"dtype": value.dtype.str, "shape": list(value.shape), "letters": letters.reshape(-1)}
    if isinstance(value, collections.deque) and all(map(_is_data, value)):
        return "deque", {"items": list(value), "maxlen": value.maxlen}
    if _is_of(value, "gymnasium") and hasattr(value, "__dict__"):
        inside = {name: read(name, each) for name, each in vars(value).items()}
        if all(tag in ("data", "constant") for tag, _ in inside.values()):
            return "object", {name: content for name, (tag, content) in inside.items() if tag == "data"}
    return "hidden", None


def _is_constant(value: Any) -> bool:
    if isinstance(value, list | tuple | dict) and value:
        return all(map(_is_constant, value.values() if isinstance(value, dict) else value))
    if isinstance(value, types.MethodType | types.BuiltinFunctionType | types.MethodWrapperType):
        return isinstance(value.__self__, _OWNERS)  # what another object remembers would be lost
    if isinstance(value, functools.partial):
        given = (value.func, *value.args, *value.keywords.values())
        return all(_is_constant(each) or _never_changes(each) for each in given)
    if isinstance(value, jax.stages.Wrapped):
        return _is_constant(getattr(value, "__wrapped__", None))
    return isinstance(value, _CONSTANT) or (_is_of(value, "pygame") and type(value).__name__ not in _MOVING)


def _never_changes(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, bytes, np.generic, jax.Array, *_OWNERS))


def _files_in(value: Any) -> set[str]:
    """All text in it that names a file."""
    if isinstance(value, list | tuple | collections.deque):
        return set().union(*map(_files_in, value))
    if isinstance(value, dict):
        return set().union(*map(_files_in, value.values()))
    return {str(value)} if isinstance(value, str) and _is_file(value) else set()


def _is_file(text: str) -> bool:
    """Whether it says where in the file system something is; a position of chess has slashes too."""
    if _ELSEWHERE.match(text):
        return len(text) > 1
    return ("/" in text or os.sep in text) and _exists(text)


def _is_there(text: str) -> bool:
    """Whether the file is there, or could be."""
    folder = os.path.dirname(os.path.expanduser(text))
    return "://" in text or _exists(text) or (folder != os.sep and _exists(folder))


def _exists(text: str) -> bool:
    return "\0" not in text and len(text) < 4096 and os.path.lexists(text)


def _is_of(value: Any, *packages: str) -> bool:
    return type(value).__module__.split(".")[0] in packages


def _is_data(value: Any) -> bool:
    if type(value) is np.ndarray or isinstance(value, np.generic | jax.Array):
        return value.dtype.name in DTYPES or is_key(value)
    if type(value) in (list, tuple):
        return all(map(_is_data, value))
    if type(value) is dict:
        return all(type(key) in (str, int) and _is_data(each) for key, each in value.items())
    return value is None or type(value) in (bool, int, float, str)


def _spaces(space: gymnasium.Space) -> Iterator[gymnasium.Space]:
    """A space, and those it is made of."""
    yield space
    for held in vars(space).values():
        inner = held.values() if isinstance(held, dict) else held if isinstance(held, list | tuple) else (held,)
        for each in inner:
            if isinstance(each, gymnasium.Space):
                yield from _spaces(each)


# --- writing ----------------------------------------------------------------------------------------------------------


def written(owner: Any, name: str, old: Any, one: Any, where: Where) -> Iterator[Step]:
    """What is to be done so that an attribute holds again what was read.

    Parameters
    ----------
    owner : object
        Whose attribute it is.
    name : str
    old : object
        What it holds now; None if nothing.
    one : (str, object)
        What :func:`read` gave.
    where : Where
        How errors begin.

    Raises
    ------
    CheckpointError
        If it does not fit.
    """
    tag, content = one
    if tag not in _WRITERS:
        raise CheckpointError(f"{where}: the file does not say what it is. Fix: load another file.")
    if fits(name, old, one, where):
        if _files_in(content) - _files_in(old):
            found = _shown(_files_in(content))
            raise CheckpointError(f"{where}: the file has the name of another file, {found}. {FIX}")
        yield from _WRITERS[tag](owner, name, old, content, where)


def fits(name: str, old: Any, one: Any, where: Where) -> bool:
    """Whether an attribute is to hold what was read. What it holds now must be of the same sort, or nothing.

    Raises
    ------
    CheckpointError
        If it is not.
    """
    tag, content = one
    is_nothing = tag == "data" and content is None
    present = "data" if old is None else read(name, old)[0]
    if name in _SETTINGS or (present == "constant" and not is_nothing):
        raise CheckpointError(f"{where}: the file has it, and it is a setting of the environment. {FIX}")
    if name in _NAMES_OF_SPACES and not is_nothing and tag != "space":
        raise _misfit(where, old, f"a {tag}")
    if is_nothing or old is None:
        return present != "constant"  # of a screen: there was none when it was saved
    if present != tag or (tag == "data" and _sort(old) != _sort(content)):
        raise _misfit(where, old, _shown(content) if tag == "data" else f"a {tag}")
    return True


def _shown(x: Any) -> str:
    return short(repr(x))


def _misfit(where: Where, old: Any, got: str) -> CheckpointError:
    if old is None:
        return CheckpointError(
            f"{where}: expected nothing, the file has {got}. Fix: begin an episode with reset(), then load."
        )
    return CheckpointError(f"{where}: expected {type(old).__name__}, the file has {got}. {FIX}")


def _write_data(owner: Any, name: str, old: Any, new: Any, where: Where) -> Iterator[Step]:
    if not _is_data(new):
        raise CheckpointError(f"{where}: expected data, the file has {_shown(new)}. {FIX}")
    yield Set(owner, name, new)


def _sort(x: Any) -> type:
    """What the values of one attribute have in common while an episode goes on."""
    return str if isinstance(x, str) else dict if isinstance(x, dict) else float


def _write_enum(owner: Any, name: str, old: Any, new: Any, where: Where) -> Iterator[Step]:
    module, path, member = new
    kind = type(old) if isinstance(old, enum.Enum) else _enumeration(module, path)
    if kind is None or (kind.__module__, kind.__qualname__) != (module, path):
        raise _misfit(where, old, f"a member {_shown(member)} of {short(f'{module}.{path}')}")
    try:
        yield Set(owner, name, kind(member) if issubclass(kind, enum.Flag) else kind[member])
    except (KeyError, ValueError, TypeError) as err:
        raise _misfit(where, old, f"a member {_shown(member)} of another enumeration") from err


def _enumeration(module: str, path: str) -> type[enum.Enum] | None:
    """An enumeration of a module that is there already: a file has nothing imported."""
    found: Any = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found if isinstance(found, type) and issubclass(found, enum.Enum) else None


def _write_bytes(owner: Any, name: str, old: Any, new: Any, where: Where) -> Iterator[Step]:
    if not isinstance(new, np.ndarray) or new.dtype != np.uint8:
        raise _misfit(where, old, "no bytes")
    yield Set(owner, name, new.tobytes())


def _write_text(owner: Any, name: str, old: Any, new: Any, where: Where) -> Iterator[Step]:
    try:
        dtype, shape, letters = new["dtype"], new["shape"], new["letters"]
        if not _TEXT.fullmatch(dtype) or letters.dtype != np.uint8:
            raise ValueError(dtype)
        if dtype[1] == "U" and letters.size and letters.view(f"{dtype[0]}u4").max() >= 0x110000:
            raise ValueError("numbers that are no letters")
        text = (np.frombuffer(letters.tobytes(), dtype) if letters.size else np.zeros(0, dtype)).reshape(shape).copy()
    except (TypeError, KeyError, AttributeError, ValueError) as err:
        raise _misfit(where, old, "no text") from err
    yield Set(owner, name, text)


def _write_deque(owner: Any, name: str, old: Any, new: Any, where: Where) -> Iterator[Step]:
    items, maxlen = (new.get("items"), new.get("maxlen")) if type(new) is dict else (None, None)
    if type(items) is not list or not (maxlen is None or (type(maxlen) is int and len(items) <= maxlen < 1 << 62)):
        raise _misfit(where, old, "no deque")
    if old is None:
        yield Set(owner, name, collections.deque(items, maxlen))
    elif old.maxlen != maxlen:
        raise _misfit(where, old, f"a deque of at most {maxlen} items instead of {old.maxlen}")
    else:
        yield Refill(old, items)


def _write_object(owner: Any, name: str, old: Any, new: Any, where: Where) -> Iterator[Step]:
    if type(new) is not dict or not hasattr(old, "__dict__") or not _is_of(old, "gymnasium"):
        raise _misfit(where, old, "an object")
    for inner, value in sorted(new.items()):
        if inner not in vars(old):
            raise CheckpointError(f"{where}.{short(str(inner))}: the file has it, the object does not. {FIX}")
        yield from written(old, inner, vars(old)[inner], ("data", value), where + f".{inner}")


def _write_generator(owner: Any, name: str, old: Any, new: Any, where: Where) -> Iterator[Step]:
    yield Set(owner, name, as_generator(new, where))


def _write_space(owner: Any, name: str, old: Any, new: Any, where: Where) -> Iterator[Step]:
    spaces = list(_spaces(old)) if isinstance(old, gymnasium.Space) else []
    states = new.get("generators") if type(new) is dict else None
    if type(states) is not list or not spaces or len(states) != len(spaces) or _differ(repr(old), new.get("looks")):
        looks = new.get("looks") if type(new) is dict else new
        raise CheckpointError(f"{where}: expected {short(str(old))}, the file has {short(str(looks))}. {FIX}")
    for space, state in zip(spaces, states, strict=True):
        generator = None if state is None else as_generator(state, where)
        yield Set(space, "_np_random", generator)


def _differ(old: str, new: Any) -> bool:
    return type(new) is not str or (old != new and " at 0x" not in old)  # an address says nothing about looks


_WRITERS = {
    "bytes": _write_bytes,
    "data": _write_data,
    "deque": _write_deque,
    "enum": _write_enum,
    "generator": _write_generator,
    "object": _write_object,
    "space": _write_space,
    "text": _write_text,
}


def as_generator(state: Any, where: Where) -> np.random.Generator:
    """A generator that goes on from a state.

    Raises
    ------
    CheckpointError
        If it is none.
    """
    try:
        bits = _BITS[state["bit_generator"]](0)
        _check_positions(state)
        bits.state = state
    except (TypeError, KeyError, ValueError, IndexError, OverflowError) as err:
        raise CheckpointError(f"{where}: expected the state of a random generator, got another thing. {FIX}") from err
    return np.random.Generator(bits)


def _check_positions(state: Any) -> None:
    """NumPy looks where these say without asking; and without an odd increment a generator does not go on."""
    inner = state["state"]
    fits = {
        "MT19937": lambda: 0 <= inner["pos"] <= 624 and np.any(inner["key"]),
        "Philox": lambda: 0 <= state["buffer_pos"] <= 4,
        "SFC64": lambda: True,
    }.get(state["bit_generator"], lambda: inner["inc"] & 1)
    if not fits():
        raise ValueError("no state that a generator can have")
