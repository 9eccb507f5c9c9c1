"""Lifting: from functions that change objects to pure functions of states, and back to one compiled call."""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np

from ._donation import advance, owned_copy
from ._entries import as_key
from ._program import Compiled, Program, compile_program, record, run, write_leaves
from ._stateful import (
    Frame,
    HostStateful,
    Stateful,
    check_like,
    collect,
    current_frame,
    host_error,
    is_tracing,
    name_of,
    opened,
    states_of,
)
from .errors import StateError

__all__ = ("States", "Transformed", "call_compiled", "check", "cond", "jit", "scan", "transform")

Over = Stateful | Iterable[Stateful]
P = ParamSpec("P")
T = TypeVar("T")


# --- states by object -------------------------------------------------------------------------------------------------


@jax.tree_util.register_pytree_with_keys_class
class States(Mapping):
    """The states of several objects: a pytree, indexed by the objects themselves.

    Refers to the objects weakly, so that a compiled function that was given one does not keep them alive.

    Examples
    --------
    >>> init, apply = coax.transform(lambda: qlearning.update(batch), over=qlearning)
    >>> states = init(jax.random.key(0))
    >>> params = states[q]["params"]
    """

    __slots__ = ("_refs", "_values")

    def __init__(self, objs: Iterable[Stateful], values: Iterable[Any]):
        self._refs = tuple(map(weakref.ref, objs))
        self._values = tuple(values)

    def __getitem__(self, obj: Stateful) -> Any:
        for ref, value in zip(self._refs, self._values, strict=True):
            if ref() is obj:
                return value
        raise KeyError(f"{name_of(obj)} is not among these states: {self!r}. Fix: add it to over=(...).")

    def __iter__(self) -> Iterator[Stateful]:
        return iter([obj for ref in self._refs if (obj := ref()) is not None])

    def __len__(self) -> int:
        return len(self._refs)

    def __repr__(self) -> str:
        return f"States({', '.join(map(name_of, self))})"

    def replace(self, changes: Mapping[Stateful, Any]) -> States:
        """The same with some states exchanged; a state must have the structure of the one it replaces."""
        for obj in changes:
            self[obj]  # an object that is not here is a KeyError
        new = States((), ())
        new._refs = self._refs
        new._values = tuple(
            value if obj is None or obj not in changes else check_like(name_of(obj), value, changes[obj])
            for obj, value in zip([ref() for ref in self._refs], self._values, strict=True)
        )
        return new

    def __reduce__(self) -> tuple:
        return States, (list(self), self._values)

    def tree_flatten_with_keys(self) -> tuple[list, tuple]:
        names = [f"[{i}:{name_of(ref())}]" for i, ref in enumerate(self._refs)]
        return [(jax.tree_util.GetAttrKey(n), v) for n, v in zip(names, self._values, strict=True)], self._refs

    @classmethod
    def tree_unflatten(cls, refs: tuple, values: Iterable[Any]) -> States:
        new = object.__new__(cls)
        new._refs, new._values = refs, tuple(values)
        return new


# --- transform --------------------------------------------------------------------------------------------------------


class Transformed(NamedTuple):
    """A pair of pure functions.

    Attributes
    ----------
    init : callable
        ``init(key, keep=()) -> states``: fresh states of all objects; those in `keep` hold their present one.
    apply : callable
        ``apply(states, *args, **kwargs) -> (out, states)``.
    """

    init: Callable[..., States]
    apply: Callable[..., tuple[Any, States]]


def transform(fun: Callable[..., Any], over: Over) -> Transformed:
    """Lift a function that uses and changes objects into a pair of pure functions of their states.

    Parameters
    ----------
    fun : callable
        Uses the objects as in a Python loop.
    over : Stateful or sequence of Stateful
        The objects it uses; those they refer to (``children``) are added.

    Returns
    -------
    Transformed
        ``(init, apply)``, which can be jitted, scanned, and mapped over seeds.

    Examples
    --------
    >>> def train(batch):
    ...     return qlearning.update(batch)
    >>> init, apply = coax.transform(train, over=qlearning)
    >>> states = jax.vmap(init)(jax.random.split(jax.random.key(0), 8))
    >>> metrics, states = jax.jit(jax.vmap(apply, in_axes=(0, None)))(states, batch)
    """
    objs = _device_objects(over)

    def init(key: jax.Array, keep: Over = ()) -> States:
        return States(objs, _init(objs, as_key(key), _kept(objs, keep)))

    def apply(states: States, *args: Any, **kwargs: Any) -> tuple[Any, States]:
        out, new = run(fun, objs, [states[obj] for obj in objs], args, kwargs)
        return out, States(objs, new)

    apply.__doc__ = fun.__doc__
    return Transformed(init, apply)


def check(states: States) -> None:
    """Wait for the states, and raise if they say that something went wrong.

    Raises
    ------
    RuntimeError
        If an updater met gradients that were not finite: it and the parameter are named, and with mapped states how
        many seeds.
    """
    if not isinstance(states, States):
        raise TypeError(
            f"check: expected the states of a coax.transform, got {type(states).__name__}. Fix: pass what init or "
            "apply returned; an updater itself raises at its next call, or at once with update(..., wait=True)."
        )
    for obj in states:
        obj._inspect(states[obj])


def _kept(objs: Sequence[Stateful], keep: Over) -> set[Stateful]:
    kept = {keep} if isinstance(keep, Stateful) else set(keep)
    for obj in kept.difference(objs):
        raise ValueError(f"keep: {name_of(obj)} is not covered. Fix: add it to over=(...), or take it out of keep.")
    return kept


def _init(objs: Sequence[Stateful], key: jax.Array, kept: set[Stateful]) -> list:
    frame = Frame({})
    origins: dict[Any, Any] = {}  # what copies of a kept object start from
    for obj in kept:
        frame.states[obj] = obj._peek()
        obj._owned = frozenset()
        if obj._lineage is not None and not obj._is_copy:
            origins[obj._lineage] = frame.states[obj]
    positions: dict[Any, int] = {}
    for i, obj in enumerate(objs):
        if obj in kept:
            continue
        # an object and its copies use one key, so that they start alike but for the numbers that were set on each
        position = i if obj._lineage is None else positions.setdefault(obj._lineage, i)
        with opened(frame):
            fresh = obj.init(jax.random.fold_in(key, position))
        if obj._lineage in origins:
            fresh = _as_origin(obj._state, fresh, origins[obj._lineage])
        frame.states[obj] = check_like(name_of(obj), obj._state, fresh)
    return [frame.states[obj] for obj in objs]


def _as_origin(present: Any, fresh: Any, origin: Any) -> Any:
    """The state of an origin, but for the entries that a fresh state takes from the present one: settable numbers."""
    if not isinstance(fresh, dict):
        return origin
    return {name: x if x is present[name] else origin[name] for name, x in fresh.items()}


def _device_objects(over: Over) -> tuple[Stateful, ...]:
    objs = collect(over)
    for obj in objs:
        if isinstance(obj, HostStateful):
            raise host_error(obj)
    return objs


# --- jit --------------------------------------------------------------------------------------------------------------


@overload
def jit(fun: Callable[P, T], *, over: Over) -> Callable[P, T]: ...


@overload
def jit(fun: None = None, *, over: Over) -> Callable[[Callable[P, T]], Callable[P, T]]: ...


def jit(fun: Callable[..., Any] | None = None, *, over: Over) -> Any:
    """Compile a function that uses and changes objects: one dispatch a call, whatever it does inside.

    Parameters
    ----------
    fun : callable, optional
        Takes and returns pytrees of arrays. Left out, ``coax.jit`` is a decorator.
    over : Stateful or sequence of Stateful
        The objects it uses; those they refer to (``children``) are added.

    Raises
    ------
    StateError
        While tracing, if the function uses an object that `over` does not cover. The states stay as they were.

    Notes
    -----
    A leaf of a state that the function did not change is not an output of the compiled program. State that only the
    object itself holds is donated, so that a large state (a replay buffer) is updated in place.

    Examples
    --------
    >>> @coax.jit(over=(qlearning, q_targ))
    ... def learn(batch):
    ...     metrics = qlearning.update(batch)
    ...     q_targ.soft_update(qlearning.q, tau=0.01)
    ...     return metrics
    """
    if fun is None:
        return functools.partial(jit, over=over)
    return _Lifted(fun, _device_objects(over))


class _Lifted:
    """What :func:`coax.jit` returns: a function whose compiled programs go with it."""

    def __init__(self, fun: Callable[..., Any], objs: tuple[Stateful, ...]):
        functools.update_wrapper(self, fun)
        self._fun = fun
        self._objs = objs
        self._cache: dict[Any, Compiled] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    def __deepcopy__(self, memo: dict) -> _Lifted:
        return _Lifted(self._fun, self._objs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _call_lifted(self._fun, self._objs, self._cache, args, kwargs)


def _call_lifted(
    fun: Callable[..., Any], objs: Sequence[Stateful], cache: dict, args: Sequence, kwargs: Mapping
) -> Any:
    # This runs at every step of a loop: what costs a microsecond here costs a hundredth of a small update.
    tracing = is_tracing()
    if tracing:
        states = [obj._peek() for obj in objs]
    else:
        for obj in objs:
            obj._poll()
        states = [obj._stored() for obj in objs]
    arg_leaves, arg_tree = jax.tree.flatten((args, kwargs))
    versions = tuple([obj._version for obj in objs])
    config: Any = jax.config
    key = (arg_tree, tuple([_signature(leaf) for leaf in arg_leaves]), versions, config.jax_enable_x64)
    compiled = cache.get(key)
    if compiled is None:
        compiled = cache[key] = compile_program(fun, objs, states, args, kwargs)

    leaves, tree = jax.tree.flatten(states)

    def keep(result: tuple) -> Any:
        new_leaves = list(leaves)
        for i, leaf in zip(compiled.program.changed, result[0], strict=True):
            new_leaves[i] = leaf
        new = jax.tree.unflatten(tree, new_leaves)
        for i, change in compiled.changes.items():
            obj, owned = objs[i], change.owned(objs[i]._owned)
            if not tracing:
                obj._keep(new[i] if change.replaced else states[i], owned)
            elif change.replaced:
                obj._write(new[i], owned)
        return jax.tree.unflatten(compiled.program.out_tree, result[1])

    given, kept = [leaves[i] for i in compiled.donated], [leaves[i] for i in compiled.kept]
    changed = [objs[i] for i in compiled.changes]
    return advance(changed, compiled.call, lambda: _claimed(objs, compiled, leaves), keep, given, kept, arg_leaves)


def _claimed(objs: Sequence[Stateful], compiled: Compiled, leaves: Sequence) -> list:
    """The leaves to donate, copied first where somebody else may hold them."""
    for i, change in compiled.changes.items():
        if not change.replaced <= objs[i]._owned:
            break
    else:
        return [leaves[i] for i in compiled.donated]
    owned = [compiled.places[i][1] in objs[compiled.places[i][0]]._owned for i in compiled.donated]
    return [leaves[i] if mine else owned_copy(leaves[i]) for i, mine in zip(compiled.donated, owned, strict=True)]


def _signature(leaf: Any) -> Any:
    """What a compiled program depends on in an argument."""
    if type(leaf) is np.ndarray:
        return leaf.shape, leaf.dtype
    dtype = getattr(leaf, "dtype", None)
    return type(leaf) if dtype is None else (leaf.shape, dtype, getattr(leaf, "weak_type", False))


# --- scan and cond ----------------------------------------------------------------------------------------------------


def scan(
    step: Callable[..., Any], length: int | None = None, over: Over = (), xs: Any = None, *, unjitted: bool = False
) -> Any:
    """Run a loop body many times in one compiled program.

    Parameters
    ----------
    step : callable
        ``step()``, or ``step(x)`` where `xs` is given: one turn of the loop. Returns a pytree of arrays, or None.
    length : int, optional
        Number of turns; left out, it is the length of `xs`.
    over : Stateful or sequence of Stateful
        The objects that the body uses; those they refer to (``children``) are added.
    xs : pytree of arrays [T, ...], optional
        One slice of it is given to each turn.
    unjitted : bool, optional
        Run a Python loop instead, for debugging: host-only objects work, and one can step through it.

    Returns
    -------
    pytree of arrays [T, ...]
        What the turns returned, stacked.

    Raises
    ------
    StateError
        If the body uses an object that is not covered. The states stay as they were.
    ValueError
        If neither `length` nor `xs` says how long, or they disagree.

    Notes
    -----
    The compiled loop is kept with the function `step`: define the body once, outside of any loop around it.
    """
    if not callable(step):
        raise TypeError(
            f"scan: expected a function as the body, got {type(step).__name__}. Fix: scan(step, length, over)."
        )
    length = _loop_length(length, xs)
    if unjitted:
        turns = [()] * length if xs is None else [(jax.tree.map(operator.itemgetter(i), xs),) for i in range(length)]
        outs = [step(*turn) for turn in turns]
        return jax.tree.map(lambda *ys: jnp.stack(ys), *outs)
    objs = _device_objects(over)
    if is_tracing():
        return _scan_in_frame(step, length, objs, xs)
    return call_compiled(_body_loop(step, length, objs), objs, step, length, xs)


def call_compiled(
    fun: Callable[..., Any], objs: Sequence[Stateful], anchor: Callable[..., Any], use: Any, *args: Any
) -> Any:
    """Call a function of objects as one compiled program, which is kept as long as the anchor and the objects live."""
    return _call_lifted(fun, objs, _kept_programs(anchor, objs, use), args, {})


def _loop_length(length: int | None, xs: Any) -> int:
    lengths = {np.shape(x)[0] if np.ndim(x) else 0 for x in jax.tree.leaves(xs)}
    if length is not None:
        lengths.add(operator.index(length) if hasattr(length, "__index__") else 0)
    if len(lengths) != 1 or min(lengths) < 1:
        raise ValueError(
            f"scan: expected one length of at least 1, got length={length} and xs with shapes "
            f"{[np.shape(x) for x in jax.tree.leaves(xs)]}. Fix: pass length=, or arrays of equal length as xs."
        )
    (found,) = lengths
    return found


def _body_loop(step: Callable[..., Any], length: int, objs: Sequence[Stateful]) -> Callable[..., Any]:
    def loop(xs: Any) -> Any:
        return _scan_in_frame(step, length, objs, xs)

    return functools.update_wrapper(loop, step, updated=())


_LOOPS: weakref.WeakKeyDictionary[Callable[..., Any], dict] = weakref.WeakKeyDictionary()


def _kept_programs(step: Callable[..., Any], objs: Sequence[Stateful], what: Any) -> dict:
    """The compiled loops of a body, by what they are (their length). They go when the body goes."""
    anchor = getattr(step, "__func__", step)  # a bound method is made anew at each access, its function is not
    if getattr(anchor, "__hash__", None) is None:
        return {}
    owner = weakref.ref(step.__self__) if hasattr(step, "__self__") and hasattr(step, "__func__") else None
    by_use = _LOOPS.setdefault(anchor, {})
    for use in [use for use in by_use if any(ref() is None for ref in use[0])]:
        del by_use[use]
    return by_use.setdefault(((*map(weakref.ref, objs), *([owner] if owner else [])), what), {})


def _scan_in_frame(step: Callable[..., Any], length: int, objs: Sequence[Stateful], xs: Any) -> Any:
    frame = current_frame()
    states = states_of(objs)
    first = () if xs is None else (jax.tree.map(lambda x: jax.eval_shape(lambda x: x[0], x), xs),)
    program = record(step, objs, jax.tree.map(_abstract, states), first, {}, frame)
    leaves = jax.tree.leaves(states)

    def body(carry: list, x: Any) -> tuple[list, list]:
        places = {**dict(enumerate(leaves)), **dict(zip(program.changed, carry, strict=True))}
        return program([places[i] for i in range(len(leaves))], jax.tree.leaves(x))

    carry, outs = jax.lax.scan(body, [jnp.asarray(leaves[i]) for i in program.changed], xs, length=length)
    write_leaves(objs, states, dict(zip(program.changed, carry, strict=True)))
    return jax.tree.unflatten(program.out_tree, outs)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype)


def cond(pred: Any, true_fun: Callable[..., T], false_fun: Callable[..., T], *args: Any, over: Over = ()) -> T:
    """Do one thing or the other, inside a compiled function.

    Parameters
    ----------
    pred : bool or bool[]
        Which branch to run.
    true_fun, false_fun : callable
        The branches; each is called with `args`, and both return the same structure of arrays (or None).
    over : Stateful or sequence of Stateful
        The objects that a branch may change; those they refer to (``children``) are added. Other objects that the
        function around it covers may be read. Leave a replay buffer out: what goes through a branch is copied.

    Returns
    -------
    pytree of arrays
        What the chosen branch returned.

    Raises
    ------
    StateError
        If a replay buffer in device memory is among the objects of `over`.

    Notes
    -----
    Outside a trace this is Python's ``if``.
    """
    if not is_tracing():
        return true_fun(*args) if bool(pred) else false_fun(*args)
    objs = _device_objects(over)
    for obj in objs:
        if obj._is_large:
            raise StateError(
                f"{name_of(obj)} is in over=(...) of a coax.cond, which copies all that it holds at every step. "
                "Fix: leave it out, call its methods outside of the cond, and leave out rows with add(..., mask=mask)."
            )
    frame = current_frame()
    states = states_of(objs)
    abstract = jax.tree.map(_abstract, states)
    branches = [record(fun, objs, abstract, args, {}, frame) for fun in (true_fun, false_fun)]
    if branches[0].out_tree != branches[1].out_tree:
        raise TypeError(
            f"cond: the branches return different structures: {branches[0].out_tree} and {branches[1].out_tree}. "
            "Fix: return the same structure of arrays from both, or None from both."
        )
    changed = sorted({*branches[0].changed, *branches[1].changed})
    leaves = jax.tree.leaves(states)

    def taken(branch: Program) -> Callable[..., Any]:
        def call(leaves: list, arg_leaves: list) -> tuple[list, list]:
            new, out = branch(leaves, arg_leaves)
            places = {**dict(enumerate(leaves)), **dict(zip(branch.changed, new, strict=True))}
            return [places[i] for i in changed], out

        return call

    operands = ([jnp.asarray(x) for x in leaves], [jnp.asarray(x) for x in jax.tree.leaves(args)])
    new, outs = jax.lax.cond(pred, taken(branches[0]), taken(branches[1]), *operands)
    write_leaves(objs, states, dict(zip(changed, new, strict=True)))
    return jax.tree.unflatten(branches[0].out_tree, outs)
