"""State that is updated in place: only while nobody else can hold it, and never lost to an interrupt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ._stateful import EVERYBODY, IN_PLACE, Stateful, is_tracing

__all__ = ("InPlace", "advance", "owned_copy")


def owned_copy(tree: Any) -> Any:
    """The same values in buffers that nobody else holds."""
    return jax.tree.map(_owned_copy, tree)


def _owned_copy(x: Any) -> Any:
    if isinstance(x, jax.Array) and not x.is_fully_addressable:  # jax.device_put refuses arrays over several processes
        return x.copy()
    return jax.device_put(x, may_alias=False)


class InPlace:
    """A function compiled in two forms.

    ``consuming`` donates its first argument, for state that nobody else can hold, and returns a list of leaves:
    putting a tree together runs Python, which must not happen between consuming the old state and keeping the new one.
    ``pure`` does not donate, for use under a transformation, where the arrays belong to whoever called it.

    Parameters
    ----------
    fun : callable
    name : str
        What JAX calls it where it says what it compiles: see ``jax.log_compiles``.
    """

    __slots__ = ("__weakref__", "_calls_back", "_tree", "consuming", "pure")

    def __init__(self, fun: Callable[..., Any], name: str):
        self._calls_back: bool | None = None

        def flat(given: Any, *args: Any) -> list:
            leaves, self._tree = jax.tree.flatten(fun(given, *args))
            return leaves

        def whole(*args: Any) -> Any:
            return fun(*args)

        flat.__name__ = whole.__name__ = name
        self.consuming = jax.jit(flat, donate_argnums=0)
        self.pure = jax.jit(whole)

    def result(self, leaves: list) -> Any:
        """What the function returned, of the leaves that ``consuming`` returned."""
        return jax.tree.unflatten(self._tree, leaves)

    def may_consume(self, objs: Sequence[Stateful], *args: Any) -> bool:
        """Whether the states of `objs` may be consumed: nobody else looks at them, and nothing can fail on the way.

        A program that calls back into Python, or that is checked for NaN, may fail after it has consumed its arguments.
        """
        config: Any = jax.config
        if config.jax_debug_nans or config.jax_debug_infs:  # with these, a call raises after it has run
            return False
        for obj in objs:
            if obj._reader == EVERYBODY:
                return False
        if self._calls_back is None:
            self._calls_back = _calls_back(self.consuming.trace(*args).jaxpr)
        return not self._calls_back


def _calls_back(jaxpr: Any) -> bool:
    """Whether a program calls into Python."""
    if hasattr(jaxpr, "eqns"):  # a closed one has them too; since jax 0.12 there is no other kind
        return any("callback" in e.primitive.name or _calls_back(list(e.params.values())) for e in jaxpr.eqns)
    return isinstance(jaxpr, list | tuple) and any(map(_calls_back, jaxpr))


def advance(
    objs: Sequence[Stateful],
    step: InPlace,
    claim: Callable[[], Any],
    keep: Callable[[Any], Any],
    given: Any,
    *args: Any,
) -> Any:
    """``keep(step(given, *args))``, in place where that is safe.

    Parameters
    ----------
    objs : sequence of Stateful
        Whose state is given.
    step : InPlace
    claim : callable
        Gives `given` again, with copies of all that somebody else may hold.
    keep : callable
        Puts what the step returned into the objects. May run twice.
    """
    if not is_tracing():
        with IN_PLACE:
            if step.may_consume(objs, given, *args):
                return _consume(objs, step, keep, claim(), *args)
    return keep(step.pure(given, *args))


def _consume(objs: Sequence[Stateful], step: InPlace, keep: Callable[[Any], Any], *args: Any) -> Any:
    """Call the consuming form, safe against Ctrl-C.

    Python delivers an interrupt between two bytecodes, which could fall after the call has consumed the old state and
    before the new one is kept. ``list.extend(starmap(...))`` is one bytecode, and while a journal is open, the next
    look at any of the objects finishes what was interrupted.
    """
    box: list = []
    journal = (box, lambda leaves: keep(step.result(leaves)))
    for obj in objs:
        obj._journal = journal
    box.extend(itertools.starmap(step.consuming, (args,)))
    result = journal[1](box[0])
    box.clear()
    for obj in objs:
        obj._journal = None
    return result
