"""What an update reports: named numbers in one device array that nobody waits for until it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ("Metrics",)


@jax.tree_util.register_pytree_node_class
class Metrics(Mapping):
    """A read-only mapping from names to scalars, held in one array.

    Outside a trace the first read fetches the array, once; until then nothing waits for the device. Inside a trace
    reading indexes. As a pytree its only leaves are the arrays, so it can be scanned, mapped and returned from compiled
    functions.

    Parameters
    ----------
    names : sequence of str
        M names.
    array : f32[..., M]
        Their values. Leading axes come from ``vmap`` or ``scan``.

    Examples
    --------
    >>> metrics = qlearning.update(batch) | simple_td.update(batch)
    >>> loss = metrics["QLearning/loss"] + metrics["SimpleTD/loss"]
    """

    __slots__ = ("_arrays", "_host", "_names")

    def __init__(self, names: Sequence[str], array: Any):
        self._names: tuple[tuple[str, ...], ...] = (tuple(names),)
        self._arrays: tuple[Any, ...] = (array,)
        self._host: dict[int, np.ndarray] = {}

    @classmethod
    def stacked(cls, values: Mapping[str, Any]) -> Metrics:
        """From a mapping of scalars, inside a compiled function."""
        return cls(tuple(values), jnp.stack([jnp.asarray(v, jnp.float32) for v in values.values()], axis=-1))

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order; after a merge, the later value of a name that occurs twice counts."""
        return tuple(dict.fromkeys(name for part in self._names for name in part))

    @property
    def values_array(self) -> jax.Array:
        """The values in the order of :attr:`names`, on the device: f32[..., M]."""
        if len(self._arrays) == 1:
            return self._arrays[0]
        return jnp.stack([self._arrays[i][..., j] for i, j in map(self._find, self.names)], axis=-1)

    def _find(self, name: str) -> tuple[int, int]:
        for i in reversed(range(len(self._names))):
            if name in self._names[i]:
                return i, self._names[i].index(name)
        raise KeyError(f"{name!r} is not among these metrics: {', '.join(self.names)}")

    def __getitem__(self, name: str) -> Any:
        i, j = self._find(name)
        if isinstance(self._arrays[i], jax.core.Tracer):
            return self._arrays[i][..., j]
        if i not in self._host:
            self._host[i] = np.asarray(self._arrays[i])
        return self._host[i][..., j]

    def __setitem__(self, name: str, value: Any) -> None:
        raise TypeError(f"Metrics are read-only, got {name!r} to set. Fix: metrics = {{**metrics, {name!r}: value}}.")

    def __contains__(self, name: object) -> bool:
        return any(name in part for part in self._names)  # without a look at the values

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __or__(self, other: Any) -> Any:
        if isinstance(other, Metrics):
            return Metrics.tree_unflatten((*self._names, *other._names), (*self._arrays, *other._arrays))
        return {**self, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return {**other, **self} if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        if not all(map(_has_values, self._arrays)):
            return f"Metrics({', '.join(self.names)})"
        return f"Metrics({', '.join(f'{k}={v}' for k, v in self.items())})"

    def tree_flatten(self) -> tuple[tuple, tuple]:
        return self._arrays, self._names

    @classmethod
    def tree_unflatten(cls, names: tuple, arrays: Sequence[Any]) -> Metrics:
        new = object.__new__(cls)
        new._names, new._arrays, new._host = names, tuple(arrays), {}
        return new


def _has_values(array: Any) -> bool:
    """Not so for tracers, nor for what else a tree of metrics may hold: shapes, shardings, axes."""
    return isinstance(array, jax.Array | np.ndarray) and not isinstance(array, jax.core.Tracer)
