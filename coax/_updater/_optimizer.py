"""The optimizer of an updater."""

from __future__ import annotations

from typing import Any

import jax
import optax

from .._entries import Entry
from .._stateful import check_like, name_of, refuse_in_trace
from ._packing import Packing

__all__ = ("OptimizerAttribute", "OptimizerState", "as_optimizer")


class OptimizerAttribute:
    """Descriptor of an updater's optimizer. Setting it keeps the optimizer state, which must have the same shape."""

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        return self if obj is None else obj._optimizer.inner

    def __set__(self, obj: Any, new: Any) -> None:
        refuse_in_trace(obj, "optimizer")
        new = as_optimizer(new, name_of(obj))
        params = obj._main._peek()["params"]
        present, fresh = (jax.eval_shape(optimizer.init, params) for optimizer in (obj._optimizer.inner, new))
        try:
            check_like(f"{name_of(obj)}.optimizer", present, fresh)
        except TypeError as err:
            raise AttributeError(
                f"{name_of(obj)}.optimizer: the new optimizer's state does not fit the present one ({err}). "
                "Fix: make a new updater, or use an optimizer of the same kind with other numbers."
            ) from None
        obj._optimizer = Packing(new)
        obj._version += 1
        obj._wire()


class OptimizerState(Entry):
    """Descriptor of a view on the optimizer state, as the optimizer has it; what the updater holds may be packed."""

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        packed = super().__get__(obj, owner)
        return packed if obj is None else obj._optimizer.unpacked(packed, obj._main._peek()["params"])

    def __set__(self, obj: Any, new: Any) -> None:
        params = obj._main._peek()["params"]
        like = jax.eval_shape(obj._optimizer.inner.init, params)
        fitting = check_like(name_of(obj), {self._name: like}, {self._name: new})
        super().__set__(obj, obj._optimizer.packed(fitting[self._name], params))


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
