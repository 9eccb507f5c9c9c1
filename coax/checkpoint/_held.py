"""What one attribute of an environment holds: as data, where it is data, and back."""

from __future__ import annotations

import collections
import enum
import functools
import logging
import pathlib
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec

from .._errors import CheckpointError
from .._stateful import Stateful
from ..approximators import ActionMask
from ._dtypes import DTYPES
from ._trees import is_key

__all__ = ("FIX", "as_generator", "read", "written")

FIX = "Fix: build the environment as it was when it was saved, with the same wrappers."

# What an environment is made of, or how it is watched: nothing that an episode changes.
_SETTINGS = {
    "metadata",
    "_metadata",
    "spec",
    "render_mode",
    "_saved_kwargs",
    "_ezpickle_args",
    "_ezpickle_kwargs",
}
_CONSTANT = (
    ActionMask,
    type,
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
_TEXT = re.compile(r"[|<>=][SU][1-9]\d{0,6}")
_BITS = {each.__name__: each for each in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox)}


# --- reading ----------------------------------------------------------------------------------------------------------


def read(name: str, value: Any) -> tuple[str, Any]:
    """Under which tag the value of an attribute is saved, and what of it; "constant" and "hidden" are not."""
    if name in _SETTINGS or isinstance(value, Stateful) or _is_constant(value) or _names_a_file(value):
        return "constant", None
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
        return ("constant", None) if _is_of(value, "gymnasium") else ("enum", value.name)
    if isinstance(value, str):
        return "data", str(value)
    if isinstance(value, bytes):
        return "bytes", np.array(bytearray(value), np.uint8)
    if isinstance(value, np.ndarray) and value.dtype.kind in "SU" and value.dtype.itemsize:
        letters = np.ascontiguousarray(value).view(np.uint8) if value.size else np.zeros(0, np.uint8)
        return "text", {"dtype": value.dtype.str, "shape": list(value.shape), "letters": letters.reshape(-1)}
    if isinstance(value, collections.deque) and all(map(_is_data, value)):
        return "deque", list(value)
    if _is_of(value, "gymnasium") and hasattr(value, "__dict__"):
        inside = {name: read(name, each) for name, each in vars(value).items()}
        if all(tag in ("data", "constant") for tag, _ in inside.values()):
            return "object", {name: content for name, (tag, content) in inside.items() if tag == "data"}
    return "hidden", None


def _is_constant(value: Any) -> bool:
    if isinstance(value, list | tuple | dict) and value:
        return all(map(_is_constant, value.values() if isinstance(value, dict) else value))
    return isinstance(value, _CONSTANT) or _is_of(value, *_OF_SCREENS)


def _names_a_file(value: Any) -> bool:
    """Whether there is text in it that may say where something is written: that is for the user to say."""
    if isinstance(value, list | tuple | dict):
        return any(map(_names_a_file, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and any(mark in value for mark in "/\\:")


def _is_of(value: Any, *packages: str) -> bool:
    return type(value).__module__.split(".")[0] in packages


def _is_data(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return value.dtype.name in DTYPES or is_key(value)
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


def written(owner: Any, name: str, old: Any, one: Any, where: str) -> Iterator[Callable[[], None]]:
    """What is to be done so that an attribute holds again what was read.

    Parameters
    ----------
    owner : object
        Whose attribute it is.
    name : str
    old : object
        What it holds now.
    one : (str, object)
        What :func:`read` gave.
    where : str
        How errors begin.

    Raises
    ------
    CheckpointError
        If it does not fit.
    """
    tag, content = one
    if tag not in _WRITERS:
        raise CheckpointError(f"{where}: the file does not say what it is. Fix: load another file.")
    yield from _WRITERS[tag](owner, name, old, content, where)


def _misfit(where: str, old: Any, got: str) -> CheckpointError:
    return CheckpointError(f"{where}: expected {type(old).__name__}, the file has {got}. {FIX}")


def _write_data(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    if not _is_data(new) or _names_a_file(new):
        raise CheckpointError(f"{where}: expected data, the file has {new!r:.80}. {FIX}")
    yield functools.partial(setattr, owner, name, jax.device_put(new) if isinstance(old, jax.Array) else new)


def _write_enum(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    if not isinstance(old, enum.Enum) or new not in type(old).__members__:
        raise _misfit(where, old, f"a member {new!r:.80} of an enumeration")
    yield functools.partial(setattr, owner, name, type(old)[new])


def _write_bytes(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    if not isinstance(new, np.ndarray) or new.dtype != np.uint8:
        raise _misfit(where, old, "no bytes")
    yield functools.partial(setattr, owner, name, new.tobytes())


def _write_text(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    try:
        dtype, shape, letters = new["dtype"], new["shape"], new["letters"]
        if not _TEXT.fullmatch(dtype) or letters.dtype != np.uint8:
            raise ValueError(dtype)
        text = (np.frombuffer(letters.tobytes(), dtype) if letters.size else np.zeros(0, dtype)).reshape(shape).copy()
    except (TypeError, KeyError, AttributeError, ValueError) as err:
        raise _misfit(where, old, "no text") from err
    yield functools.partial(setattr, owner, name, text)


def _write_deque(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    if not isinstance(old, collections.deque) or type(new) is not list:
        raise _misfit(where, old, "a deque")
    yield old.clear
    yield functools.partial(old.extend, new)


def _write_object(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    if type(new) is not dict or not hasattr(old, "__dict__") or not _is_of(old, "gymnasium"):
        raise _misfit(where, old, "an object")
    for inner, value in sorted(new.items()):
        if inner not in vars(old):
            raise CheckpointError(f"{where}.{inner}: the file has it, the object does not. {FIX}")
        yield from _write_data(old, inner, vars(old)[inner], value, f"{where}.{inner}")


def _write_generator(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    yield functools.partial(setattr, owner, name, as_generator(new, where))


def _write_space(owner: Any, name: str, old: Any, new: Any, where: str) -> Iterator[Callable[[], None]]:
    spaces = list(_spaces(old)) if isinstance(old, gymnasium.Space) else []
    states = new.get("generators") if type(new) is dict else None
    if type(states) is not list or len(states) != len(spaces) or _differ(repr(old), new.get("looks")):
        looks = new.get("looks") if type(new) is dict else new
        raise CheckpointError(f"{where}: expected {old}, the file has {looks!s:.200}. {FIX}")
    for space, state in zip(spaces, states, strict=True):
        generator = None if state is None else as_generator(state, where)
        yield functools.partial(setattr, space, "_np_random", generator)


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


def as_generator(state: Any, where: str) -> np.random.Generator:
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
    }.get(state["bit_generator"], lambda: inner["inc"] & 1)
    if not fits():
        raise ValueError("no state that a generator can have")
