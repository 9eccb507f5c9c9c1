"""Changes of objects that are not coax's own: each can be taken back, since their classes may refuse them."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

__all__ = ("Call", "Refill", "Same", "Set", "Step", "all_or_none")


class Set(NamedTuple):
    """An attribute gets a value."""

    owner: Any
    name: str
    value: Any

    def do(self) -> Callable[[], None]:
        """Make the change; what is returned takes it back."""
        undo: Callable[[], None] = functools.partial(delattr, self.owner, self.name)
        if hasattr(self.owner, self.name):
            undo = functools.partial(setattr, self.owner, self.name, getattr(self.owner, self.name))
        setattr(self.owner, self.name, self.value)
        return undo


class Same(NamedTuple):
    """An attribute becomes the very object that another one holds."""

    owner: Any
    name: str
    other: Any
    other_name: str

    def do(self) -> Callable[[], None]:
        """Make the change; what is returned takes it back."""
        return Set(self.owner, self.name, getattr(self.other, self.other_name)).do()


class Refill(NamedTuple):
    """A deque gets other items."""

    deque: collections.deque
    items: list[Any]

    def do(self) -> Callable[[], None]:
        """Make the change; what is returned takes it back."""
        before = list(self.deque)
        self._fill(self.items)
        return lambda: self._fill(before)

    def _fill(self, items: list[Any]) -> None:
        self.deque.clear()
        self.deque.extend(items)


class Call(NamedTuple):
    """Something that happens elsewhere, and cannot be taken back."""

    what: Callable[[], Any]

    def do(self) -> Callable[[], None]:
        """Make the change; what is returned does nothing."""
        self.what()
        return lambda: None


Step = Set | Same | Refill | Call


def all_or_none(steps: Sequence[Step]) -> None:
    """Do all steps; if one fails, those before it are taken back and the error goes on."""
    undo: list[Callable[[], None]] = []
    try:
        for step in steps:
            undo.append(step.do())
    except BaseException:
        for back in reversed(undo):
            with contextlib.suppress(Exception):  # the error that is raised is the one that began it
                back()
        raise
