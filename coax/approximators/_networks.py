"""Networks that bring their own pure functions `init` and `apply`: how each form is recognised, checked and called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._stateful import check_like

__all__ = ("Signature", "is_network", "pure_functions", "signature_of")

NAMES = "name the arguments exactly so, in this order"
STREAMS = ("params", "dropout")


class Signature(NamedTuple):
    """What a user's forward pass takes.

    Attributes
    ----------
    names : tuple of str, or None
        The arguments from 'S' on. None if the forward pass has no form that could be called.
    text : str
        What was given, for an error message.
    fix : str
        What to do if this is not what was expected.
    """

    names: tuple[str, ...] | None
    text: str
    fix: str


def is_network(func: Any) -> bool:
    """Whether `func` brings (or tries to bring) its own `init` and `apply`, so that it is no Haiku function."""
    if isinstance(func, tuple | list):
        return True
    if inspect.isclass(func) or inspect.isroutine(func):
        return False
    return callable(getattr(func, "init", None)) and callable(getattr(func, "apply", None))


# --- what the user gave -----------------------------------------------------------------------------------------------


def signature_of(func: Any) -> Signature:
    """The arguments of a forward pass in any of its forms."""
    if is_network(func):
        return _of_module(func) if _is_module(func) else _of_pair(func)
    if _holds_arrays(func):
        text = f"{type(func).__qualname__}, an object that holds its own parameters"
        return Signature(
            None, text, "split it into a pair of functions (init, apply), e.g. with nnx.split and nnx.merge"
        )
    names = _names(func)
    if inspect.isclass(func):
        return Signature(names, f"the class {func.__qualname__}", f"pass an instance, {func.__qualname__}(...)")
    return Signature(names, f"func({', '.join(names)})", NAMES)


def _of_module(module: Any) -> Signature:
    names = _names(type(module).__call__)[1:]
    return Signature(names, f"{type(module).__qualname__}.__call__(self, {', '.join(names)})", NAMES)


def _of_pair(func: Any) -> Signature:
    pair = _pair(func)
    if pair is None:
        kinds = ", ".join(type(x).__name__ for x in func)
        return Signature(None, f"a {type(func).__name__} of ({kinds})", "pass two functions (init, apply)")
    (before, names), (front, inputs) = map(_split, pair)
    text = f"init({', '.join(before + names)}) and apply({', '.join(front + inputs)})"
    fits = len(before) == 1 and before != ("params",) and names == inputs and _places(front) is not None
    return Signature(inputs if fits else None, text, NAMES)


def _names(func: Callable[..., Any]) -> tuple[str, ...]:
    """The names of arguments; marked if an argument cannot be given by position."""
    kinds = inspect.Parameter
    mark: dict[Any, str] = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**", kinds.KEYWORD_ONLY: "*, "}
    try:
        parameters = inspect.signature(func).parameters
    except ValueError:  # some functions written in C
        return ("?",)
    return tuple(mark.get(p.kind, "") + name for name, p in parameters.items())


def _split(func: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of arguments before 'S', and from 'S' on."""
    names = _names(func)
    at = names.index("S") if "S" in names else len(names)
    return names[:at], names[at:]


def _places(front: Sequence[str]) -> tuple[bool, bool] | None:
    """Whether `apply` takes a state and a key, from the names of its arguments before 'S'; None if it cannot be."""
    is_state = ["state" in name for name in front]
    if not 1 <= len(front) <= 3 or is_state[:1] == [True] or is_state[2:] == [True]:
        return None
    if len(front) == 2:
        return is_state[1], not is_state[1]
    return len(front) == 3, len(front) == 3


def _pair(func: Any) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """`init` and `apply`, the former first."""
    if not isinstance(func, tuple | list):
        return _bare(func.init), _bare(func.apply)
    if len(func) != 2 or not all(map(callable, func)):
        return None
    named = hasattr(func, "init") and hasattr(func, "apply")
    return (_bare(func.init), _bare(func.apply)) if named else (_bare(func[0]), _bare(func[1]))  # type: ignore[union-attr]


def _bare(func: Callable[..., Any]) -> Callable[..., Any]:
    """Without ``jax.jit`` around it: its cache knows nothing of rows that do not count, nor of globals that changed."""
    while isinstance(func, jax.stages.Wrapped) and hasattr(func, "__wrapped__"):
        func = func.__wrapped__
    return func


def _is_module(func: Any) -> bool:
    """Whether this is a Flax (linen) module: called through ``__call__``, with streams and mutable collections."""
    if isinstance(func, tuple | list):
        return False
    return {"variables", "rngs", "mutable"} <= {name.lstrip("*, ") for name in _names(func.apply)}


def _holds_arrays(func: Any) -> bool:
    """Whether this is a pytree of arrays, which would be constants of a Haiku function and never learn."""
    if inspect.isclass(func) or isinstance(func, functools.partial):
        return False
    return any(isinstance(x, jax.Array) for x in jax.tree.leaves(func))


# --- what coax calls --------------------------------------------------------------------------------------------------


def pure_functions(func: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``init(key, *args) -> (params, state)`` and ``apply(params, state, key, *args) -> (output, state)`` of a network.

    The pair is looked at again at each call: a list can change, as the globals that a function reads can.
    """
    form = _module_functions if _is_module(func) else _pair_functions

    def init(key: Any, *args: Any) -> tuple[Any, Any]:
        return form(func)[0](key, *args)

    def apply(params: Any, state: Any, key: Any, *args: Any) -> tuple[Any, Any]:
        out, new = form(func)[1](params, state, key, *args)
        return out, check_like("func", state, new)

    return init, apply


def _pair_functions(func: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    own_init, own_apply = _pair(func)  # type: ignore[misc]
    takes_state, takes_key = _places(_split(own_apply)[0])  # type: ignore[misc]

    def init(key: Any, *args: Any) -> tuple[Any, Any]:
        made = own_init(key, *args)
        params, state = _two(made, "init", "(params, state)") if takes_state else (made, {})
        return _arrays(params), _arrays(state)

    def apply(params: Any, state: Any, key: Any, *args: Any) -> tuple[Any, Any]:
        front = (params, *((state,) if takes_state else ()), *((key,) if takes_key else ()))
        out = own_apply(*front, *args)
        return _two(out, "apply", "(output, new_state)") if takes_state else (out, state)

    return init, apply


def _module_functions(module: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def init(key: Any, *args: Any) -> tuple[Any, Any]:
        variables = dict(module.init(_streams(key), *args))
        return _arrays(variables.pop("params", {})), _arrays(variables)

    def apply(params: Any, state: Any, key: Any, *args: Any) -> tuple[Any, Any]:
        variables = {"params": params, **state} if jax.tree.leaves(params) else state
        mutable = list(state) if args[-1] else []  # the last argument is is_training
        out = module.apply(variables, *args, rngs={} if key is None else _streams(key), mutable=mutable or False)
        return (out[0], dict(out[1])) if mutable else (out, state)

    return init, apply


def _streams(key: jax.Array) -> dict[str, jax.Array]:
    """A key for each random stream of a Flax module; Flax takes 'params' for a stream with another name."""
    return dict(zip(STREAMS, jax.random.split(key, len(STREAMS)), strict=True))


def _two(made: Any, name: str, want: str) -> tuple[Any, Any]:
    if not isinstance(made, tuple) or len(made) != 2:
        raise TypeError(
            f"func: expected {name} to return a tuple {want}, because apply takes a state, got {type(made).__name__}. "
            "Fix: return both, or leave the state out of the arguments of apply."
        )
    return made


def _arrays(tree: Any) -> Any:
    """The leaves as arrays of one fixed dtype, without weak types."""

    def one(path: tuple, leaf: Any) -> jax.Array:
        try:
            return jnp.asarray(leaf, jnp.result_type(leaf))
        except TypeError:
            raise TypeError(
                f"func: expected init to return pytrees of arrays, got {type(leaf).__name__} at "
                f"{jax.tree_util.keystr(path) or 'the top'}. Fix: keep what is no array outside, e.g. in a closure."
            ) from None

    return jax.tree_util.tree_map_with_path(one, tree)
