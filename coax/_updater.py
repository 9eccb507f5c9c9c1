"""What all updaters do with gradients: guard the parameters, step the optimizer, report later what was not finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ._donation import InPlace, advance, owned_copy
from ._stateful import Stateful, check_like, name_of, refuse_in_trace, states_of

__all__ = ("FINITE", "OptimizerAttribute", "call_step", "fill_dead_rows", "gradient_step", "raise_not_finite")

FINITE = np.full((), -1, np.int32)


# --- pure -------------------------------------------------------------------------------------------------------------


def first_not_finite(grads: Any) -> jax.Array:
    """Position of the first leaf that holds NaN or infinity, i32[]; -1 if none does."""
    bad = jnp.stack([~jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads)])
    return jnp.where(bad.any(), jnp.argmax(bad).astype(jnp.int32), jnp.int32(-1))


def gradient_step(
    optimizer: optax.GradientTransformation,
    grads: Any,
    params: Any,
    optimizer_state: Any,
    flag: jax.Array,
    some: Any = True,
) -> tuple[Any, Any, jax.Array, jax.Array]:
    """One step of the optimizer, or none at all if the gradients are not finite.

    Parameters
    ----------
    optimizer : optax.GradientTransformation
    grads, params, optimizer_state : pytrees
    flag : i32[]
        The first bad leaf so far, -1 if there was none.
    some : bool[], optional
        Whether there is anything to learn from. Without, there is no step: momentum alone moves nothing.

    Returns
    -------
    params, optimizer_state : pytrees
        New ones, or the old ones.
    flag : i32[]
        The first bad leaf ever; -1 while all was fine.
    fine : bool[]
        Whether the step was taken.
    """
    bad = jnp.where(some, first_not_finite(grads), -1)
    fine = (bad < 0) & some
    updates, new_state = optimizer.update(grads, optimizer_state, params)
    new_params = optax.apply_updates(params, updates)
    kept = keep_unless(fine, (new_params, new_state), (params, optimizer_state))
    return *kept, jnp.where(flag < 0, bad, flag), fine


def keep_unless(fine: jax.Array, new: Any, old: Any) -> Any:
    """The new tree where `fine`, else the old one, in the dtypes of the old one."""
    return jax.tree.map(lambda a, b: jnp.where(fine, a if a.dtype == b.dtype else a.astype(b.dtype), b), new, old)


def fill_dead_rows(live: jax.Array, tree: Any) -> Any:
    """Rows that do not count hold a copy of the first one that does, so that nothing bad can come of them."""
    first = jnp.argmax(live)
    some = live.any()

    def fill(x: Any) -> jax.Array:
        x = jnp.asarray(x)
        donor = jnp.where(some, x[first], jnp.zeros_like(x[0]))
        return jnp.where(live.reshape(-1, *(1,) * (x.ndim - 1)), x, donor)

    return jax.tree.map(fill, tree)


# --- shell ------------------------------------------------------------------------------------------------------------


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


class OptimizerAttribute:
    """Descriptor of an updater's optimizer. Setting it keeps the optimizer state, which must have the same shape."""

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        return self if obj is None else obj._optimizer

    def __set__(self, obj: Any, new: Any) -> None:
        refuse_in_trace(obj, "optimizer")
        new = as_optimizer(new, name_of(obj))
        fresh = jax.eval_shape(new.init, obj._main._peek()["params"])
        try:
            check_like(f"{name_of(obj)}.optimizer", obj._peek()["optimizer_state"], fresh)
        except TypeError as err:
            raise AttributeError(
                f"{name_of(obj)}.optimizer: the new optimizer's state does not fit the present one ({err}). "
                "Fix: make a new updater, or use an optimizer of the same kind with other numbers."
            ) from None
        obj._optimizer = new
        obj._version += 1
        obj._wire()


def as_optimizer(optimizer: Any, owner: str) -> optax.GradientTransformation:
    """The optimizer, by default Adam with a learning rate of 0.001."""
    if optimizer is None:
        return _default_optimizer
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise TypeError(
            f"{owner}: expected an optax optimizer, got {type(optimizer).__name__}. Fix: pass e.g. optax.adam(0.001)."
        )
    return optimizer


_default_optimizer = optax.adam(1e-3)
