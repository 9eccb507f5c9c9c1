"""The call of a compiled step over the states of several objects, in place; and what it reports later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .._donation import InPlace, advance, owned_copy
from .._stateful import Stateful, is_tracing, states_of

__all__ = ("FINITE", "call_step", "merge", "poll", "raise_not_finite")

FINITE = np.full((), -1, np.int32)


def call_step(
    objs: Sequence[Stateful], mutable: Sequence[tuple[int, tuple[str, ...]]], step: InPlace, *args: Any
) -> tuple:
    """Run a compiled step over the states of `objs`, donating the entries it replaces, and keep what it returns.

    Parameters
    ----------
    objs : sequence of Stateful
        All objects that take part, the updater last. Random numbers come from the stream of the updater, so those of
        the others are not given to the step: an input that nothing uses still costs time.
    mutable : sequence of (int, tuple of str)
        Which entries of which of them the step replaces.
    step : InPlace
        ``step(given, rest, *args) -> (new, ...)``: `given` holds the mutable entries, `rest` all else,
        `new` what to replace, in the order of `mutable`.

    Returns
    -------
    tuple
        What the step returned, after the new entries.
    """
    states = states_of(objs)
    *others, own = states
    rest = [{name: value for name, value in state.items() if name != "rng"} for state in others] + [dict(own)]
    given = [{name: rest[i].pop(name) for name in entries} for i, entries in mutable]

    def keep(result: tuple) -> tuple:
        for (i, entries), new in zip(mutable, result[0], strict=True):
            objs[i]._write({**states[i], **new}, objs[i]._owned.union(entries))
        return result[1:]

    def claim() -> list[dict[str, Any]]:
        return [
            {name: x if name in objs[i]._owned else owned_copy(x) for name, x in entries.items()}
            for (i, _), entries in zip(mutable, given, strict=True)
        ]

    return advance([objs[i] for i, _ in mutable], step, claim, keep, given, rest, *args)


def merge(mutable: Sequence[tuple[int, tuple[str, ...]]], given: Sequence[dict], rest: Sequence[dict]) -> list[dict]:
    """All states again, inside a step."""
    states = list(rest)
    for (i, _), entries in zip(mutable, given, strict=True):
        states[i] = {**states[i], **entries}
    return states


def poll(obj: Stateful, wait: bool = False) -> None:
    """Let an object raise if a call before left gradients that were not finite, as far as that is known by now.

    Its state has the entry ``not_finite``; with `wait` it is waited for.
    """
    flag = obj._state["not_finite"]
    if flag is FINITE or not (wait or isinstance(flag, np.ndarray) or flag.is_ready()) or np.asarray(flag) < 0:
        return
    if is_tracing():
        return
    obj._write({**obj._state, "not_finite": FINITE}, obj._owned)
    obj._inspect({"not_finite": flag})


def raise_not_finite(owner: str, flag: Any, params: Any, hint: str = "") -> None:
    """Raise if a flag says so, naming the updater and the leaf; `hint` says what else may have caused it.

    Raises
    ------
    RuntimeError
        If a gradient was not finite.
    """
    flags = np.ravel(flag)
    bad = np.flatnonzero(flags >= 0)
    if not bad.size:
        return
    position = int(flags[bad[0]])
    where = "" if flags.size == 1 else f" for {bad.size} of {flags.size} seeds (first: {bad[0]})"
    path = jax.tree_util.keystr(jax.tree_util.tree_flatten_with_path(params)[0][position][0])
    raise RuntimeError(
        f"{owner}: the gradient of params{path} was not finite (NaN or infinity){where}. The parameters and the "
        "optimizer state were kept as they were before that update. Fix: look for a division by zero, a logarithm of "
        f"zero or an overflow in the forward pass and the rewards; clip gradients, or lower the learning rate.{hint}"
    )
