"""What an environment has, however many wrappers are around it."""

from __future__ import annotations

from typing import Any

from .._stateful import Stateful

__all__ = ("get_env_attr", "has_env_attr", "steps_itself")

_MISSING = object()


def has_env_attr(env: Any, attr: str, max_depth: int = 100) -> bool:
    """Whether the environment, or one inside it, has an attribute. See :func:`get_env_attr`."""
    return _find(env, attr, max_depth) is not _MISSING


def get_env_attr(env: Any, attr: str, default: Any = "__ERROR__", max_depth: int = 100) -> Any:
    """The attribute of the outermost environment that has it, following ``.env`` inwards.

    Parameters
    ----------
    env : gymnasium.Env
        Wrapped or not.
    attr : str
        Name of the attribute.
    default : object, optional
        What to return if none has it.
    max_depth : int, optional
        How many wrappers to look through.

    Raises
    ------
    AttributeError
        If none has it and there is no default.
    """
    found = _find(env, attr, max_depth)
    if found is not _MISSING:
        return found
    if isinstance(default, str) and default == "__ERROR__":
        raise AttributeError(
            f"expected an attribute {attr!r} on {env} or inside it. Fix: check the name, or pass a default."
        )
    return default


def steps_itself(env: Any) -> bool:
    """Whether these are environments inside JAX, which have a method for it and remember their last observation."""
    return isinstance(env, Stateful) and callable(getattr(type(env), "transition", None))


def _find(env: Any, attr: str, max_depth: int) -> Any:
    for _ in range(max_depth + 1):
        found = getattr(env, attr, _MISSING)
        if found is not _MISSING:
            return found
        env = getattr(env, "env", _MISSING)
        if env is _MISSING:
            break
    return _MISSING
