"""Programs: a function of objects recorded once, and what it does to the states it was given."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from ._donation import InPlace
from ._stateful import Frame, Stateful, opened

__all__ = ("Compiled", "Program", "compile_program", "record", "run", "write_leaves")


class Program(NamedTuple):
    """A function recorded once, and what it does to the state leaves it was given."""

    closed: ClosedJaxpr
    out_tree: Any
    changed: tuple[int, ...]  # positions of state leaves that come out different
    fresh: frozenset[int]  # those that come out in a buffer of their own

    def __call__(self, state_leaves: Sequence, other_leaves: Sequence) -> tuple[list, list]:
        """The changed state leaves, and the leaves of what the function returns."""
        flat = jaxpr_as_fun(self.closed)(*state_leaves, *other_leaves)
        n = len(state_leaves)
        return [flat[i] for i in self.changed], flat[n:]


def record(
    fun: Callable[..., Any],
    objs: Sequence[Stateful],
    states: Sequence,
    args: Sequence,
    kwargs: Mapping,
    parent: Frame | None = None,
) -> Program:
    n = len(jax.tree.leaves(states))
    leaves, tree = jax.tree.flatten((states, args, kwargs))
    out_tree = None

    def flat(*leaves: Any) -> list:
        nonlocal out_tree
        states, args, kwargs = jax.tree.unflatten(tree, leaves)
        out, new = run(fun, objs, states, args, kwargs, parent)
        out_leaves, out_tree = jax.tree.flatten(out)
        return [*jax.tree.leaves(new), *out_leaves]

    functools.update_wrapper(flat, fun, updated=())  # so that errors of JAX name the function and its line
    closed = jax.make_jaxpr(flat)(*leaves)
    ins, outs = closed.jaxpr.invars, closed.jaxpr.outvars
    changed = tuple(i for i in range(n) if outs[i] is not ins[i])
    given = {id(var) for var in (*ins, *closed.jaxpr.constvars)}
    counts: dict[int, int] = {}
    for var in outs:
        counts[id(var)] = counts.get(id(var), 0) + 1
    fresh = frozenset(
        i for i in changed if not isinstance(outs[i], Literal) and id(outs[i]) not in given and counts[id(outs[i])] == 1
    )
    return Program(closed, out_tree, changed, fresh)


def write_leaves(objs: Sequence[Stateful], states: Sequence, changes: Mapping[int, Any]) -> None:
    """Put changed leaves, by their position in the flattened states, into the current frame."""
    start = 0
    for obj, state in zip(objs, states, strict=True):
        leaves, tree = jax.tree.flatten(state)
        mine = [changes.get(start + i, leaf) for i, leaf in enumerate(leaves)]
        if any(start + i in changes for i in range(len(leaves))):
            obj._write(jax.tree.unflatten(tree, mine))
        start += len(leaves)


def run(
    fun: Callable[..., Any],
    objs: Sequence[Stateful],
    states: Sequence,
    args: Sequence,
    kwargs: Mapping,
    parent: Frame | None = None,
) -> tuple[Any, list]:
    """Call `fun` with `states` laid over `objs`; what it returns, and the states it leaves."""
    with opened(Frame(dict(zip(objs, states, strict=True)), parent)) as frame:
        out = fun(*args, **kwargs)
    return out, [frame.states[obj] for obj in objs]


class Change(NamedTuple):
    """What a program does to the state of one object, by top-level entries."""

    replaced: frozenset  # have leaves that come out different
    gained: frozenset  # the object is their sole owner afterwards
    lost: frozenset  # it is not

    def owned(self, before: frozenset) -> frozenset:
        """What the object is the sole owner of afterwards."""
        return before if self.gained <= before and not self.lost else (before | self.gained) - self.lost


class Compiled(NamedTuple):
    call: InPlace  # (donated leaves, other leaves) -> (changed leaves, output leaves)
    program: Program
    donated: tuple[int, ...]
    kept: tuple[int, ...]
    places: list[tuple[int, Any]]  # for each state leaf: its object, and the top-level entry of that object's state
    changes: dict[int, Change]  # by object


def compile_program(
    fun: Callable[..., Any], objs: Sequence[Stateful], states: Sequence, args: Sequence, kwargs: Mapping
) -> Compiled:
    program = record(fun, objs, states, args, kwargs)
    donated = program.changed
    kept = tuple(i for i in range(len(jax.tree.leaves(states))) if i not in set(donated))

    def call(given: list, others: list, arg_leaves: list) -> tuple[list, list]:
        leaves = dict(zip((*donated, *kept), (*given, *others), strict=True))
        return program([leaves[i] for i in range(len(leaves))], arg_leaves)

    places = _places(states)
    return Compiled(
        InPlace(call, getattr(fun, "__name__", type(fun).__name__)),
        program,
        donated,
        kept,
        places,
        _changes(places, program),
    )


def _places(states: Sequence) -> list[tuple[int, Any]]:
    places: list[tuple[int, Any]] = []
    for i, state in enumerate(states):
        parts = sorted(state.items()) if isinstance(state, dict) else [(None, state)]
        places += [(i, name) for name, part in parts for _ in jax.tree.leaves(part)]
    return places


def _changes(places: Sequence[tuple[int, Any]], program: Program) -> dict[int, Change]:
    """The changes of those objects for which there is any."""
    outs = collections.Counter(map(id, program.closed.jaxpr.outvars))
    replaced: set = set()
    kept: set = set()
    shared: set = set()
    for i, place in enumerate(places):
        changed = i in program.changed
        (replaced if changed else kept).add(place)
        if i not in program.fresh if changed else outs[id(program.closed.jaxpr.invars[i])] != 1:
            shared.add(place)
    parts = replaced, replaced - kept - shared, shared
    return {
        obj: Change(*(frozenset(entry for i, entry in part if i == obj) for part in parts))
        for obj in sorted({i for i, _ in replaced | shared})
    }
