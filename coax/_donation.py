"""State that is updated in place: only while nobody else can hold it, and never lost to an interrupt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ._stateful import Stateful

__all__ = ("InPlace", "claim", "dispatch", "owned_copy")


def owned_copy(tree: Any) -> Any:
    """The same values in buffers that nobody else holds."""
    return jax.tree.map(lambda x: jax.device_put(x, may_alias=False), tree)


def claim(obj: Stateful, entries: Sequence[Any]) -> None:
    """Make `obj` the sole owner of some entries of its state, so that they can be donated."""
    if not obj._owned.issuperset(entries):
        missing = [entry for entry in entries if entry not in obj._owned]
        obj._state = {**obj._state, **{entry: owned_copy(obj._state[entry]) for entry in missing}}
        obj._owned = obj._owned.union(missing)


class InPlace:
    """A function compiled in two forms.

    ``consuming`` donates its first argument, for state that nobody else can hold, and returns a list of leaves:
    putting a tree together runs Python, which must not happen between consuming the old state and keeping the new one.
    ``pure`` does not donate, for use under a transformation, where the arrays belong to whoever called it.
    """

    __slots__ = ("__weakref__", "_tree", "consuming", "pure")

    def __init__(self, fun: Callable):
        def flat(given: Any, *args: Any) -> list:
            leaves, self._tree = jax.tree.flatten(fun(given, *args))
            return leaves

        self.consuming = jax.jit(flat, donate_argnums=0)
        self.pure = jax.jit(fun)

    def result(self, leaves: list) -> Any:
        """What the function returned, of the leaves that ``consuming`` returned."""
        return jax.tree.unflatten(self._tree, leaves)


def dispatch(objs: Sequence[Stateful], step: InPlace, commit: Callable[[list], Any], *args: Any) -> Any:
    """``commit(step.consuming(*args))`` for a step that consumes the state of `objs`, safe against Ctrl-C.

    Python delivers an interrupt between two bytecodes, which could fall after the call has consumed the old state and
    before the new one is kept. ``list.extend(starmap(...))`` is one bytecode, and while a journal is open, the next
    look at any of the objects finishes what was interrupted. `commit` takes the leaves, and may run twice.
    """
    box: list = []
    journal = (box, commit)
    for obj in objs:
        obj._journal = journal
    box.extend(itertools.starmap(step.consuming, (args,)))
    result = commit(box[0])
    box.clear()
    for obj in objs:
        obj._journal = None
    return result
