"""Taking over documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ("docstring",)

T = TypeVar("T")


def docstring(obj: Any) -> Callable[[T], T]:
    """A decorator that gives a function or class the docstring of `obj`."""

    def decorate(target: T) -> T:
        target.__doc__ = obj.__doc__
        return target

    return decorate
