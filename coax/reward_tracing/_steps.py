"""Single steps as they were added, and arrays that hold a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ._rows import stack

__all__ = ("NOTHING", "Next", "Step", "check_arrays", "steps_from_arrays", "steps_to_arrays")


class Next(NamedTuple):
    """What the user said about the state after a step; None where nothing was said."""

    s: Any
    a: Any
    logp: float | None


NOTHING = Next(None, None, None)


class Step(NamedTuple):
    """One step, as it was added."""

    s: Any
    a: Any
    r: float
    logp: float
    w: float
    next: Next


def steps_to_arrays(steps: Sequence[Step]) -> dict[str, Any]:
    """Stacked copies [L, ...]. What was left out has no row in `s_next` and `a_next`: the masks `has_*` tell."""
    following = [step.next for step in steps]
    return {
        "s": _stack_given([step.s for step in steps]),
        "a": _stack_given([step.a for step in steps]),
        "r": np.array([step.r for step in steps], np.float64),
        "logp": np.array([step.logp for step in steps], np.float64),
        "w": np.array([step.w for step in steps], np.float64),
        "has_s_next": np.array([x.s is not None for x in following], bool),
        "s_next": _stack_given([x.s for x in following]),
        "has_a_next": np.array([x.a is not None for x in following], bool),
        "a_next": _stack_given([x.a for x in following]),
        "logp_next": np.array([x.logp or 0.0 for x in following], np.float64),
    }


def steps_from_arrays(arrays: dict[str, Any]) -> list[Step]:
    """The inverse of :func:`steps_to_arrays`."""
    everywhere = np.ones(len(arrays["r"]), bool)
    s, a = _unstack_given(arrays["s"], everywhere), _unstack_given(arrays["a"], everywhere)
    s_next = _unstack_given(arrays["s_next"], arrays["has_s_next"])
    a_next = _unstack_given(arrays["a_next"], arrays["has_a_next"])
    numbers = (np.asarray(arrays[name]).tolist() for name in ("r", "logp", "w"))
    following = map(Next, s_next, a_next, np.asarray(arrays["logp_next"]).tolist())
    return list(map(Step, s, a, *numbers, following))


def check_arrays(held: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What is wrong with `new` as a replacement of the steps `held`, if anything.

    All fields of one step must be there. Observations and actions must look like those held, if there are any.
    """
    size = len(new["r"])
    masks = {"s_next": new["has_s_next"], "a_next": new["has_a_next"]}
    for name in held:
        want = int(np.sum(masks[name])) if name in masks else size
        for leaf in jax.tree.leaves(new[name]):
            if len(leaf) != want:
                return f"[{name!r}]: expected {want} rows, got {len(leaf)}"
        if want and new[name] is None:
            return f"[{name!r}]: expected {want} rows, got None"
    if size and len(held["r"]):
        return _first_difference(held, new, "s") or _first_difference(held, new, "a")
    return None


def _first_difference(held: dict[str, Any], new: dict[str, Any], name: str) -> str | None:
    old_leaves, old_tree = jax.tree_util.tree_flatten_with_path(held[name])
    new_leaves, new_tree = jax.tree_util.tree_flatten_with_path(new[name])
    if old_tree != new_tree:  # type: ignore[operator]
        return f"[{name!r}]: expected the structure {old_tree}, got {new_tree}"
    for (path, x), (_, y) in zip(old_leaves, new_leaves, strict=True):
        want, got = (f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in (x, y))
        if want != got:
            return f"[{name!r}]{jax.tree_util.keystr(path)}: expected rows of {want}, got {got}"
    return None


def _stack_given(xs: list[Any]) -> Any:
    given = [x for x in xs if x is not None]
    return stack(given) if given else None


def _unstack_given(stacked: Any, given: np.ndarray) -> list[Any]:
    leaves, tree = jax.tree.flatten(stacked)
    leaves = [np.array(leaf) for leaf in leaves]
    rows = iter(range(len(given)))

    def row(i: int) -> Any:
        return jax.tree.unflatten(tree, [leaf[i] for leaf in leaves])

    return [row(next(rows)) if there else None for there in np.asarray(given).tolist()]
