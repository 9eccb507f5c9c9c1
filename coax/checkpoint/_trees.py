"""States as descriptions in JSON and a list of arrays, and back."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import CheckpointError
from ..utils import Rows
from ._dtypes import DTYPES
from ._where import Where, short

__all__ = ("Place", "built", "described", "filled", "finished", "matched", "places_of")

_FIX_BUILD = "Fix: build the object as it was when it was saved, or load another file."
_SCALARS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bool: ("bool", bool),
    int: ("int", str),
    float: ("float", float.hex),
    str: ("str", str),
}
_FROM_TEXT: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "bool": (bool, bool),
    "int": (str, int),
    "float": (str, float.fromhex),
    "str": (str, str),
}


class Place(NamedTuple):
    """A leaf that is still in the file.

    Attributes
    ----------
    number : int
        Of the array.
    form : str
        What becomes of it: "array" or "scalar" (of NumPy), "device" (an array of JAX) or "key".
    impl : str or None
        The kind of a key.
    like : object
        The present leaf, where there is one.
    """

    number: int
    form: str
    impl: str | None
    like: Any = None


# --- writing ----------------------------------------------------------------------------------------------------------


def described(x: Any, arrays: list[Any], where: Where) -> Any:
    """What JSON can hold of a tree. Its arrays are appended to `arrays`.

    Raises
    ------
    CheckpointError
        If it has a leaf that is no data.
    """
    if x is None:
        return None
    if isinstance(x, jax.core.Tracer):
        raise CheckpointError(f"{where}: inside a compiled function nothing can be saved. Fix: save outside of it.")
    if type(x) in _SCALARS:
        name, as_text = _SCALARS[type(x)]
        try:
            return {name: as_text(x)}
        except ValueError as err:
            most = sys.get_int_max_str_digits()
            raise CheckpointError(
                f"{where}: expected an integer of at most {most} digits, got a longer one. Fix: leave it out."
            ) from err
    if isinstance(x, jax.Array | np.ndarray | np.generic | Rows):
        return _described_array(x, arrays, where)
    children, kind = _opened(x, where)
    return {kind: [[key, described(child, arrays, where + label)] for key, label, child in children]}


def _described_array(x: Any, arrays: list[Any], where: Where) -> Any:
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        raise CheckpointError(
            f"{where}: expected an array on the devices of this process, got one spread over several processes. "
            "Fix: gather it first (jax.experimental.multihost_utils.process_allgather), and save in one process."
        )
    kind = "scalar" if isinstance(x, np.generic) else "device" if isinstance(x, jax.Array) else "array"
    form: dict[str, Any] = {kind: len(arrays)}
    if is_key(x):
        form = {"key": len(arrays), "impl": str(jax.random.key_impl(x))}
        x = jax.random.key_data(x)
    elif isinstance(x, np.generic):
        x = np.asarray(x)
    if x.dtype.name not in DTYPES:
        raise CheckpointError(
            f"{where}: expected numbers, got an array of {x.dtype}. Fix: leave it out, or make numbers of it."
        )
    arrays.append(x)
    return form


def _opened(x: Any, where: Where) -> tuple[list[tuple[Any, str, Any]], str]:
    """The children of a node, each with a key for JSON and a label for errors; and the kind of node."""
    if type(x) is dict:
        for key in x:
            if type(key) not in (str, int):
                raise CheckpointError(
                    f"{where}: expected strings or integers as keys, got {short(repr(key))}. Fix: use such."
                )
        return [(key, f"[{key!r}]", child) for key, child in x.items()], "dict"
    if type(x) in (list, tuple):
        return [(i, f"[{i}]", child) for i, child in enumerate(x)], type(x).__name__
    pairs, _ = jax.tree_util.tree_flatten_with_path(x, is_leaf=lambda y: y is not x)
    if pairs and pairs[0][0] == ():
        raise CheckpointError(
            f"{where}: expected arrays, numbers, strings, and trees of them, got {type(x).__name__}. "
            "Fix: pass Stateful objects each under a name of its own, and of others what is data."
        )
    labels = [jax.tree_util.keystr(path) for path, _ in pairs]
    return [(label, label, child) for label, (_, child) in zip(labels, pairs, strict=True)], "node"


def is_key(x: Any) -> bool:
    """Whether it is an array of typed keys."""
    return isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


# --- reading: a description whose checksum is right may still be anybody's --------------------------------------------


def built(tree: Any, where: Where) -> Any:
    """The tree of a description, with places for leaves.

    Raises
    ------
    CheckpointError
        If it needs the object it came from, or is no description.
    """
    if tree is None:
        return None
    kind, value = _kind(tree, where)
    if kind == "dict":
        return {key: built(child, where + f"[{key!r}]") for key, child in value}
    if kind in ("list", "tuple"):
        parts = [built(child, where + f"[{i}]") for i, (_, child) in enumerate(value)]
        return parts if kind == "list" else tuple(parts)
    if kind == "node":
        raise CheckpointError(
            f"{where}: it takes an object of the same structure to load this. Fix: pass one, in place of None."
        )
    return _leaf(tree, where)


def matched(tree: Any, like: Any, looks: Callable[[int], tuple[Any, tuple[int, ...]]], where: Where) -> Any:
    """The same, for what must be like a present tree.

    Parameters
    ----------
    tree : object
        The description.
    like : pytree
    looks : callable
        From the number of an array to its dtype and shape.
    where : Where
        How errors begin.

    Raises
    ------
    CheckpointError
        If something differs: the first leaf is named.
    """
    if like is None or tree is None:
        if tree is not like:
            raise _differs(where, like, tree)
        return None
    if not (type(like) in _SCALARS or isinstance(like, jax.Array | np.ndarray | np.generic | Rows)):
        return _matched_node(tree, like, looks, where)
    if _kind(tree, where)[0] in ("dict", "list", "tuple", "node"):
        raise _differs(where, like, tree)
    leaf = _leaf(tree, where)
    if not isinstance(leaf, Place):
        if type(leaf) is not type(like):
            raise _differs(where, like, tree)
        return leaf
    got, want = _looks_of(leaf.impl, *looks(leaf.number)), _describe(like)
    if got != want:
        raise CheckpointError(f"{where}: expected {want}, the file has {got}. {_FIX_BUILD}")
    return leaf._replace(like=like)


def _matched_node(tree: Any, like: Any, looks: Any, where: Where) -> Any:
    children, wanted = _opened(like, where)
    kind, value = _kind(tree, where)
    if kind != wanted:
        raise _differs(where, like, tree)
    found, known = dict(value), {key for key, _, _ in children}
    for key, label, _ in children:
        if key not in found:
            raise CheckpointError(f"{where + label}: the file does not have it. {_FIX_BUILD}")
    for key in found:
        if key not in known:
            label = key if kind == "node" else f"[{key!r}]"
            raise CheckpointError(f"{where + label}: the file has it, the object does not. {_FIX_BUILD}")
    parts = [matched(found[key], child, looks, where + label) for key, label, child in children]
    if kind == "dict":
        return dict(zip([key for key, _, _ in children], parts, strict=True))
    return jax.tree.unflatten(jax.tree.structure(like, is_leaf=lambda y: y is not like), parts)


def _differs(where: Where, like: Any, tree: Any) -> CheckpointError:
    got = "None" if tree is None else f"a {_kind(tree, where)[0]}"
    return CheckpointError(f"{where}: expected {_describe(like)}, the file has {got}. {_FIX_BUILD}")


def _describe(x: Any) -> str:
    if is_key(x):
        return _looks_of(str(jax.random.key_impl(x)), np.dtype(np.uint32), jax.random.key_data(x).shape)
    dtype = getattr(x, "dtype", None)
    return ("None" if x is None else f"a {type(x).__name__}") if dtype is None else f"{dtype}{list(x.shape)}"


def _looks_of(impl: str | None, dtype: Any, shape: tuple[int, ...]) -> str:
    return f"{'' if impl is None else f'{impl} keys of '}{dtype}{list(shape)}"


def _kind(tree: Any, where: Where) -> tuple[str, Any]:
    """What a description is of, and what it says; the pairs of a node are pairs."""
    if type(tree) is not dict or not 1 <= len(tree) <= 2:
        raise _nonsense(where)
    kind = next(iter(tree))
    value = tree[kind]
    if kind in ("dict", "list", "tuple", "node"):
        if type(value) is not list or not all(type(pair) is list and len(pair) == 2 for pair in value):
            raise _nonsense(where)
        if not all(type(key) in (str, int) for key, _ in value) or len({key for key, _ in value}) < len(value):
            raise _nonsense(where)
    return kind, value


def _leaf(tree: Any, where: Where) -> Any:
    kind, value = _kind(tree, where)
    if kind in _FROM_TEXT:
        kind_of_text, read = _FROM_TEXT[kind]
        try:
            if type(value) is kind_of_text:
                return read(value)
        except (ValueError, OverflowError):
            pass
        raise _nonsense(where)
    impl = tree.get("impl")
    if kind not in ("array", "device", "scalar", "key") or type(value) is not int or not 0 <= value < 1 << 31:
        raise _nonsense(where)
    if (type(impl) is str) != (kind == "key"):
        raise _nonsense(where)
    return Place(value, kind, impl)


def _nonsense(where: Where) -> CheckpointError:
    return CheckpointError(f"{where}: the file does not say what it is. Fix: load another file.")


def filled(tree: Any, read: Callable[[Place], Any]) -> Any:
    """The tree with leaves in their places."""
    if isinstance(tree, Place):
        return read(tree)
    if type(tree) is dict:
        return {key: filled(child, read) for key, child in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(filled(child, read) for child in tree)
    if tree is None or type(tree) in _SCALARS:
        return tree
    return jax.tree.map(lambda child: filled(child, read), tree, is_leaf=lambda x: isinstance(x, Place))


def places_of(tree: Any) -> list[Place]:
    """The places in a tree."""
    found: list[Place] = []
    filled(tree, found.append)
    return found


def finished(place: Place, x: np.ndarray) -> Any:
    """What becomes of an array that was read."""
    if place.form == "scalar":
        return x[()] if math.prod(x.shape) == 1 else x
    if place.form == "key":
        try:
            return jax.random.wrap_key_data(jnp.asarray(x), impl=place.impl)
        except (TypeError, ValueError) as err:
            raise CheckpointError(f"array {place.number}: no keys of the kind {place.impl!r}. {_FIX_BUILD}") from err
    if isinstance(place.like, jax.Array):
        return jax.device_put(x, place.like.sharding) if place.like.committed else jax.device_put(x)
    if place.like is None and place.form == "device":
        return _on_device(place, x)
    return x


def _on_device(place: Place, x: np.ndarray) -> jax.Array:
    if jax.dtypes.canonicalize_dtype(x.dtype) != x.dtype:
        raise CheckpointError(
            f"array {place.number}: expected numbers of at most 32 bits, the file has an array of JAX of {x.dtype}. "
            'Fix: jax.config.update("jax_enable_x64", True), as when it was saved.'
        )
    return jax.device_put(x)
