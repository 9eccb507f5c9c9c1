"""The state protocol: everything that changes while training, and where it may be changed.

An object keeps its state in one place. While a lifted function (:func:`coax.jit`, :func:`coax.scan`, ...) is traced, a
:class:`Frame` lies over the objects it covers: reads and writes go to the frame and the objects themselves stay as they
were, so that no tracer can leak into them, whatever goes wrong.
"""

from __future__ import annotations

import abc
import contextlib
import contextvars
import copy as _copy
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import jax
import numpy as np
from jax.extend.core import get_opaque_trace_state

from .errors import StateError

__all__ = ("HostStateful", "Stateful", "collect")

with jax.ensure_compile_time_eval():
    _TOP_LEVEL = get_opaque_trace_state()
IN_PLACE = threading.RLock()  # held while a call consumes state
EVERYBODY = 0  # no thread has this number
_FRAME: contextvars.ContextVar[Frame | None] = contextvars.ContextVar("coax_frame", default=None)


class Frame:
    """Overlay with the state of the objects that a lifted function covers.

    Parameters
    ----------
    states : dict
        From each covered object to its state.
    parent : Frame, optional
        The frame around a scan or a branch: its objects may be read here, not changed.
    """

    __slots__ = ("parent", "states", "trace")

    def __init__(self, states: dict[Stateful, Any], parent: Frame | None = None):
        self.states = states
        self.parent = parent
        self.trace = get_opaque_trace_state()

    def find(self, obj: Stateful) -> Any:
        frame: Frame | None = self
        while frame is not None:
            if obj in frame.states:
                return frame.states[obj]
            frame = frame.parent
        raise StateError(
            f"{name_of(obj)} is used inside a lifted function that does not cover it: its state would become a "
            "constant. Fix: add it to over=(...) of what is around it (coax.jit, coax.scan, coax.cond, coax.transform, "
            "evaluate); if it is made inside the function, make it outside."
        )

    def put(self, obj: Stateful, new: Any) -> None:
        if obj not in self.states:
            self.find(obj)
            if obj._is_large:
                raise StateError(
                    f"{name_of(obj)} is changed inside a coax.scan or coax.cond that may only read it. "
                    "Fix: add it to over=(...) of that coax.scan. A coax.cond would copy all that it holds: "
                    "add and draw before it, and use what was drawn inside."
                )
            raise StateError(
                f"{name_of(obj)} is changed inside a coax.scan or coax.cond that may only read it. "
                "Fix: add it to over=(...) of that coax.scan or coax.cond."
            )
        if get_opaque_trace_state() != self.trace:
            raise StateError(
                f"{name_of(obj)} is changed inside a bare jax transformation (jax.lax.scan, jax.lax.cond, jax.vmap, "
                "jax.grad, ...): the change would be lost. Fix: use coax.scan or coax.cond with the object in "
                "over=(...), or call coax.transform and map the pure function."
            )
        self.states[obj] = new


@contextlib.contextmanager
def opened(frame: Frame) -> Iterator[Frame]:
    """Lay `frame` over the objects it covers for the duration of a ``with`` block."""
    token = _FRAME.set(frame)
    try:
        yield frame
    finally:
        _FRAME.reset(token)


def current_frame() -> Frame | None:
    return _FRAME.get()


def is_tracing() -> bool:
    """Whether this is inside a lifted function or any jax transformation."""
    return _FRAME.get() is not None or get_opaque_trace_state() != _TOP_LEVEL


def there(x: Any) -> Any:
    """Arrays on the host, or inside a trace where they are."""
    return x if is_tracing() else jax.tree.map(np.asarray, x)


def _is_staged() -> bool:
    """Whether jax is recording a program, so that values read now would be constants of it."""
    return isinstance(jax.lax.add(np.float32(0), np.float32(0)), jax.core.Tracer)


def name_of(obj: Any) -> str:
    """How an error names an object: its class, and its own name where it has one."""
    label = getattr(obj, "name", None)
    return f"{type(obj).__name__} {label!r}" if isinstance(label, str) else type(obj).__name__


def refuse_in_trace(obj: Stateful, what: str) -> None:
    """Refuse to do inside a compiled function what would stay done after an error in it."""
    if is_tracing():
        raise StateError(
            f"{name_of(obj)}.{what} inside a compiled function would be done once, when it is compiled. "
            "Fix: do it outside."
        )


def _bare_error(obj: Stateful) -> StateError:
    return StateError(
        f"{name_of(obj)} is used under a bare jax transformation (jax.jit, jax.vmap, jax.grad, ...), which cannot "
        "carry its state. Fix: use coax.jit, coax.scan or coax.cond with the object in over=(...), or coax.transform."
    )


class _Lineage:
    """What an object and its copies have in common: a copy's fresh state is its origin's."""

    def __deepcopy__(self, memo: dict) -> _Lineage:
        return self


# --- the protocol -----------------------------------------------------------------------------------------------------


class Stateful(abc.ABC):
    """An object whose changing part is one pytree of arrays.

    Subclasses define :meth:`init`, list the objects they refer to in :attr:`children`, and change themselves only by
    assigning to :attr:`state`. In return they can be copied, saved, compiled (:func:`coax.jit`), looped
    (:func:`coax.scan`) and mapped over seeds (:func:`coax.transform`).

    Examples
    --------
    >>> class Counter(coax.Stateful):
    ...     def __init__(self):
    ...         self.state = self.init(None)
    ...     def init(self, key):
    ...         return {"n": jnp.int32(0)}
    ...     def step(self):
    ...         self.state = {"n": self.state["n"] + 1}
    """

    _state: Any = None
    _owned: frozenset = frozenset()  # top-level entries of the state that nobody else can hold
    _version: int = 0  # how often a part that is compiled in was exchanged
    _journal: tuple[list, Callable[..., Any]] | None = None  # open while a call consumes the state
    _reader: int | None = None  # the one thread that looks at the state, or EVERYBODY
    _lineage: Any = None  # shared by an object and its copies
    _is_copy: bool = False
    _is_large: bool = False  # too large to go through a branch of a coax.cond, which copies it

    @abc.abstractmethod
    def init(self, key: jax.Array) -> Any:
        """Fresh state, as a pure function of a key; may read the state of :attr:`children`."""

    @property
    def children(self) -> tuple[Stateful, ...]:
        """The stateful objects that this one refers to."""
        return ()

    @property
    def state(self) -> Any:
        """The state: a pytree whose leaves are arrays.

        Setting it takes the same tree structure, shapes and dtypes.

        Raises
        ------
        TypeError
            If the new state differs in structure, or in the shape or dtype of a leaf: the first one is named.
        StateError
            If it is read or set under a jax transformation that does not carry it.
        """
        state = self._peek()
        if current_frame() is None:
            self._owned = frozenset()
        return state

    @state.setter
    def state(self, new: Any) -> None:
        old = None if self._state is None else self._peek()
        if old is not None:
            new = check_like(name_of(self), old, new)
        self._write(new, owned=frozenset())

    def copy(self, deep: bool = False) -> Self:
        """An independent object that shares the function and starts from the same state.

        Parameters
        ----------
        deep : bool, optional
            Copy the arrays too. Arrays are never changed in place, so a shallow copy is independent already.
        """
        refuse_in_trace(self, "copy()")
        return _copy.deepcopy(self) if deep else _copy.copy(self)

    def __copy__(self) -> Self:
        self._stored()
        self._lineage = self._lineage or _Lineage()
        self._owned = frozenset()
        new = object.__new__(type(self))
        new.__dict__.update({**self.__getstate__(), "_is_copy": True})
        return new

    def __deepcopy__(self, memo: dict) -> Self:
        self._stored()
        self._lineage = self._lineage or _Lineage()
        new = memo[id(self)] = object.__new__(type(self))
        new.__dict__.update({**_copy.deepcopy(self.__getstate__(), memo), "_is_copy": True, "_owned": frozenset()})
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_journal", "_reader")}

    # --- for subclasses: the same without checks, and without handing the state out

    def _peek(self) -> Any:
        """The state, for reading here and now: does not count as handed out."""
        frame = _FRAME.get()
        if frame is not None:
            return frame.find(self)
        if get_opaque_trace_state() != _TOP_LEVEL and _is_staged():
            raise _bare_error(self)
        return self._stored()

    def _stored(self) -> Any:
        """The state in the object itself."""
        if self._reader != threading.get_ident():
            self._meet()
        if self._journal is not None:
            self._settle()
        return self._state

    def _meet(self) -> None:
        """A thread looks for the first time. Once there are two, nothing of the state is consumed any more."""
        if self._reader is None:
            self._reader = threading.get_ident()
        elif self._reader != EVERYBODY:
            # wait for a call that may be consuming the state just now; not for ever, since that call may wait for us
            waited = IN_PLACE.acquire(timeout=10)
            self._reader = EVERYBODY
            if waited:
                IN_PLACE.release()

    def _settle(self) -> None:
        """Finish what an interrupt cut short."""
        box, commit = self._journal  # type: ignore[misc]
        if box:
            commit(box[0])
            box.clear()
        self._journal = None

    def _draw_rng(self) -> Any:
        """The state, whose random stream is one further afterwards."""
        if is_tracing():
            state = self._peek()
            self._write({**state, "rng": state["rng"].advanced()}, self._owned)
        else:
            state = self._stored()
            self._keep({**state, "rng": state["rng"].advanced()}, self._owned)
        return state

    def _write(self, new: Any, owned: frozenset = frozenset()) -> None:
        """Replace the state, of which the entries in `owned` are nobody else's."""
        frame = _FRAME.get()
        if frame is not None:
            frame.put(self, new)
            return
        if get_opaque_trace_state() != _TOP_LEVEL:
            raise _bare_error(self)
        self._state, self._owned = new, owned

    def _keep(self, new: Any, owned: frozenset) -> None:
        """The same where the caller knows that nothing is being traced."""
        self._state, self._owned = new, owned

    def _poll(self) -> None:  # noqa: B027 - most have nothing to say
        """Called by the outermost shell before it runs: raise what an earlier asynchronous call left behind."""

    def _inspect(self, state: Any) -> None:  # noqa: B027 - most have nothing to say
        """Raise what a given state of this object says went wrong; waits for it."""


class HostStateful(Stateful):
    """A stateful object that lives in host memory and is used between compiled calls, never inside them.

    Subclasses give :meth:`_snapshot`, :meth:`_checked` and :meth:`_take_over`, call :meth:`_on_host` at the door of
    every method that reads or changes them, and say in :attr:`instead` what a compiled loop uses in their place.
    """

    instead: ClassVar[str] = "keep it outside the compiled function"

    @abc.abstractmethod
    def _snapshot(self) -> Any:
        """A pytree of NumPy arrays that later calls do not change."""

    def _stream(self) -> Any:
        """The same for writing it to a file at once: large arrays may be :class:`coax.utils.Rows`."""
        return self._snapshot()

    @abc.abstractmethod
    def _checked(self, new: Any) -> Any:
        """A snapshot with NumPy arrays for leaves, or a ``TypeError`` that names the first leaf that does not fit."""

    @abc.abstractmethod
    def _take_over(self, new: Any) -> None:
        """Go on from a snapshot that was checked."""

    def _restore(self, new: Any) -> None:
        self._take_over(self._checked(new))

    @property
    def state(self) -> Any:
        """The state: a snapshot, as a pytree of NumPy arrays. Setting it restores a snapshot.

        Raises
        ------
        TypeError
            If the new state does not fit the constructor arguments, or the data held: the first leaf is named.
        StateError
            Inside a compiled function, where host memory cannot be reached.
        """
        self._on_host("state")
        return self._snapshot()

    @state.setter
    def state(self, new: Any) -> None:
        self._on_host("state")
        self._restore(new)

    def _on_host(self, what: str) -> None:
        if is_tracing():
            raise host_error(self, what)


def refuse_on_host(env: Any) -> None:
    """Refuse to use an environment of the host in a compiled function, in which what it gives would be a constant.

    Raises
    ------
    StateError
        Inside a compiled function.
    """
    if is_tracing():
        if isinstance(env, HostStateful):
            raise host_error(env)
        raise StateError(
            f"{env} lives in host memory and cannot be used inside a compiled function. "
            "Fix: use a coax.envs.JaxVectorEnv."
        )


def host_error(obj: HostStateful, what: str = "") -> StateError:
    used = f"{name_of(obj)}.{what}" if what else name_of(obj)
    return StateError(
        f"{used} lives in host memory and cannot be used inside a compiled function. Fix: {type(obj).instead}."
    )


def states_of(objs: Sequence[Stateful]) -> list[Any]:
    """The states of several objects, for reading here and now: one look at where this is, instead of one for each."""
    if is_tracing():
        return [obj._peek() for obj in objs]
    return [obj._stored() for obj in objs]


def collect(over: Stateful | Iterable[Stateful]) -> tuple[Stateful, ...]:
    """The given objects and all they refer to, each once, children first.

    Raises
    ------
    TypeError
        If something in `over` is not a :class:`Stateful` object.
    """
    if not isinstance(over, Iterable | Stateful):
        over = (over,)
    found: dict[int, Stateful] = {}
    seen: set[int] = set()

    def visit(obj: Any) -> None:
        if not isinstance(obj, Stateful):
            raise TypeError(
                f"over: expected coax.Stateful objects, got {type(obj).__name__}. "
                "Fix: list the functions, policies, updaters, ... whose state the function uses."
            )
        if id(obj) in seen:
            return
        seen.add(id(obj))
        for child in obj.children:
            visit(child)
        found[id(obj)] = obj

    for obj in (over,) if isinstance(over, Stateful) else over:
        visit(obj)
    return tuple(found.values())


# --- leaves -----------------------------------------------------------------------------------------------------------


def check_like(name: str, old: Any, new: Any) -> Any:
    """`new`, if it has the structure, shapes and dtypes of `old`; else a ``TypeError`` that names the first difference.

    Weak types are made strong, so that a state never changes what a compiled function was compiled for.
    """
    old_leaves, old_tree = jax.tree_util.tree_flatten_with_path(old)
    new_leaves, new_tree = jax.tree_util.tree_flatten_with_path(new)
    if old_tree != new_tree:  # type: ignore[operator]
        fix = "Fix: pass a tree of the same structure as the present state."
        raise TypeError(f"{name}.state: {structural_difference(old, new)}. {fix}")
    fixed = []
    for (path, a), (_, b) in zip(old_leaves, new_leaves, strict=True):
        want, got = _describe(a), _describe(b)
        if want != got:
            raise TypeError(
                f"{name}.state{jax.tree_util.keystr(path)}: expected {want}, got {got}. "
                "Fix: give every leaf the shape and dtype it has in the present state."
            )
        fixed.append(jax.lax.convert_element_type(b, a.dtype) if getattr(b, "weak_type", False) else b)
    return jax.tree.unflatten(new_tree, fixed)


def _describe(leaf: Any) -> str:
    dtype = getattr(leaf, "dtype", None)
    return type(leaf).__name__ if dtype is None else f"{dtype}{list(np.shape(leaf))}"


def structural_difference(old: Any, new: Any) -> str:
    """The first place where the structures of two trees differ."""
    (old_leaves, old_tree), (new_leaves, new_tree) = map(jax.tree_util.tree_flatten_with_path, (old, new))
    old_paths = [jax.tree_util.keystr(path) for path, _ in old_leaves]
    new_paths = [jax.tree_util.keystr(path) for path, _ in new_leaves]
    for path in old_paths:
        if path not in new_paths:
            return f"the leaf {path} is missing"
    for path in new_paths:
        if path not in old_paths:
            return f"the leaf {path} is unexpected"
    return f"expected the tree structure {old_tree}, got {new_tree}"
