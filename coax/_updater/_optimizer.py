"""The optimizer of an updater."""

from __future__ import annotations

from typing import Any

import jax
import optax

from .._stateful import check_like, name_of, refuse_in_trace

__all__ = ("OptimizerAttribute", "as_optimizer")


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
