"""How transitions lie in a few wide arrays: all fields of one dtype side by side, so that one look finds them all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..reward_tracing import TransitionBatch, get_transition_batch
from ..utils import single_space
from ._transitions import NUMBERS, STORED, describe, fields_of, names_of

__all__ = ("Layout",)


class Layout(NamedTuple):
    """What transitions look like, and where in a row each field is.

    Attributes
    ----------
    tree : PyTreeDef
        Structure of the fields, in the order of `STORED`.
    names : tuple of str
        Of the leaves.
    rows : tuple of (dtype, shape)
        What a row of each looks like.
    columns : tuple of (str, int, int)
        For each: the store it is in, and from which column to which.
    widths : tuple of (str, int)
        How many columns each store has.
    """

    tree: Any
    names: tuple[str, ...]
    rows: tuple[tuple[np.dtype, tuple[int, ...]], ...]
    columns: tuple[tuple[str, int, int], ...]
    widths: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, example: Any) -> Layout:
        """The layout of transitions like those in a batch [B, ...], or like those of an environment.

        Raises
        ------
        TypeError
            If `example` is neither, or a field has no dtype.
        ValueError
            If a field does not have a row for each transition.
        """
        fields = fields_of(_as_batch(example))
        leaves, tree = jax.tree.flatten(fields)
        names = names_of(fields)
        count = np.shape(fields[STORED.index("Rn")])[:1]
        _check_rows("example", names, leaves, count)
        rows = tuple((_stored_dtype(name, x.dtype), tuple(x.shape[1:])) for name, x in zip(names, leaves, strict=True))
        widths: dict[str, int] = {}
        columns = []
        for dtype, shape in rows:
            start = widths.get(dtype.name, 0)
            widths[dtype.name] = start + math.prod(shape)
            columns.append((dtype.name, start, widths[dtype.name]))
        return cls(tree, names, rows, tuple(columns), tuple(sorted((k, n) for k, n in widths.items() if n)))

    def empty(self, capacity: int) -> dict[str, jax.Array]:
        """Stores with room for so many rows, by the name of their dtype."""
        return {name: jnp.zeros((capacity, width), name) for name, width in self.widths}

    def nbytes(self, capacity: int) -> int:
        """What these take."""
        return capacity * sum(jnp.dtype(name).itemsize * width for name, width in self.widths)

    def leaves_of(self, batch: Any, capacity: int) -> list[Any]:
        """The leaves of a batch, if there may be such in stores with room for so many rows. Reads no values.

        Raises
        ------
        TypeError
            If it is no batch, or lacks fields, or has other dtypes: the field is named.
        ValueError
            If the rows of a field have another shape, or there are too many.
        """
        if not isinstance(batch, TransitionBatch):
            raise TypeError(
                f"transition_batch: expected a TransitionBatch, got {type(batch).__name__}. "
                "Fix: pass TransitionBatch(S=..., A=..., logP=..., Rn=..., In=..., S_next=...)."
            )
        wanted = jax.tree.unflatten(self.tree, self.names)
        # What the example does not have is left out: n-step transitions of a rollout have a next action, for instance.
        fields = tuple(None if want is None else x for want, x in zip(wanted, fields_of(batch), strict=True))
        leaves, tree = jax.tree.flatten(fields)
        self._check_tree(fields, tree)
        count = np.shape(batch.Rn)[:1]
        _check_rows("transition_batch", self.names, leaves, count)
        for name, row, x in zip(self.names, self.rows, leaves, strict=True):
            _check_row(name, row, (_stored_dtype(name, x.dtype), tuple(x.shape[1:])))
        if count[0] > capacity:
            raise ValueError(
                f"transition_batch: expected at most {capacity} transitions, as many as the buffer has room for, got "
                f"{count[0]}. Fix: make the buffer larger, or add a part of the batch."
            )
        return leaves

    def packed(self, leaves: list[Any]) -> dict[str, jax.Array]:
        """The rows [B, D] to put into each store."""
        parts: dict[str, list] = {name: [] for name, _ in self.widths}
        for (dtype, shape), x in zip(self.rows, leaves, strict=True):
            if dtype.name in parts:
                parts[dtype.name].append(jnp.asarray(x, dtype).reshape(len(x), math.prod(shape)))
        return {name: jnp.concatenate(some, axis=1) for name, some in parts.items()}

    def unpacked(self, rows: Mapping[str, jax.Array], idx: jax.Array) -> TransitionBatch:
        """A batch with the given ids [B], of rows [B, D] of each store."""
        leaves = [
            rows[name][:, start:stop].reshape(-1, *shape) if start < stop else jnp.zeros((len(idx), *shape), dtype)
            for (name, start, stop), (dtype, shape) in zip(self.columns, self.rows, strict=True)
        ]
        fields = dict(zip(STORED, jax.tree.unflatten(self.tree, leaves), strict=True))
        return TransitionBatch(**fields, idx=idx)

    def _check_tree(self, fields: tuple, tree: Any) -> None:
        if tree == self.tree:
            return
        wanted = jax.tree.unflatten(self.tree, self.names)
        for name, field, other in zip(STORED, wanted, fields, strict=True):
            want, got = jax.tree.structure(field), jax.tree.structure(other)
            if want != got:  # type: ignore[operator]
                raise TypeError(
                    f"transition_batch.{name}: expected the structure {want}, as in the example, got {got}. {_FIX}"
                )

    def __reduce__(self) -> tuple:
        # Not every tree structure can be pickled, but trees of arrays can.
        rows = [np.empty((0, *shape), dtype) for dtype, shape in self.rows]
        return _layout_of, (jax.tree.unflatten(self.tree, rows),)


def _layout_of(fields: tuple) -> Layout:
    return Layout.of(TransitionBatch(**dict(zip(STORED, fields, strict=True))))


_FIX = "Fix: use one buffer for each kind of transition; its example says what they look like."


def _as_batch(example: Any) -> TransitionBatch:
    if isinstance(example, TransitionBatch):
        return example
    if single_space(example, "observation_space") is None or single_space(example, "action_space") is None:
        raise TypeError(
            f"example: expected an environment or a TransitionBatch, got {type(example).__name__}. "
            "Fix: pass the environment that the transitions will come from."
        )
    batch = get_transition_batch(example, random_seed=0)
    batch.A_next = batch.logP_next = None
    return batch


def _stored_dtype(name: str, dtype: Any) -> np.dtype:
    return np.dtype(np.float32) if name in NUMBERS else np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def _check_rows(what: str, names: tuple[str, ...], leaves: list[Any], count: tuple[int, ...]) -> None:
    """Whether each leaf is an array with `count` rows."""
    fix = "Fix: give each field a row for each transition."
    if len(count) != 1 or leaves[names.index("Rn")].ndim != 1:
        raise ValueError(f"{what}.Rn: expected shape [B], got {list(np.shape(leaves[names.index('Rn')]))}. {fix}")
    for name, x in zip(names, leaves, strict=True):
        if not hasattr(x, "dtype") or jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended):
            raise TypeError(f"{what}.{name}: expected an array, got {type(x).__name__}. {fix}")
        if x.shape[:1] != count or (name in NUMBERS and x.ndim != 1):
            more = "" if name in NUMBERS else ", ..."
            raise ValueError(
                f"{what}.{name}: expected shape [{count[0]}{more}], a row for each value of Rn, got "
                f"{list(x.shape)}. {fix}"
            )


def _check_row(name: str, want: tuple, got: tuple) -> None:
    """Whether a row fits; one of a narrower dtype of the same kind does."""
    if want == got:
        return
    same_kind = want[0].kind == got[0].kind and np.can_cast(got[0], want[0], "safe")
    if want[1] == got[1] and same_kind:
        return
    raise (TypeError if want[1] == got[1] else ValueError)(
        f"transition_batch.{name}: expected rows of {describe(*want)} as before, got {describe(*got)}. {_FIX}"
    )
