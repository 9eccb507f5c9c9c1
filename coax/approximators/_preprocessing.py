"""Preprocessors: a user's function of observations (or actions), and where it can run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from ..errors import StateError
from ..utils import default_preprocessor, safe_sample

__all__ = ("Prepared", "Preprocessor", "host_only", "prepare")


@jax.tree_util.register_pytree_node_class
class Prepared:
    """A raw batch together with what host-only preprocessors made of it, on its way into a compiled function."""

    def __init__(self, raw: Any, made: dict[Preprocessor, Any]):
        self.raw, self.made = raw, made

    def tree_flatten(self) -> tuple[tuple, tuple]:
        return (self.raw, tuple(self.made.values())), tuple(self.made)

    @classmethod
    def tree_unflatten(cls, makers: tuple, children: tuple) -> Prepared:
        return cls(children[0], dict(zip(makers, children[1], strict=True)))


class Preprocessor:
    """``func(rng, X)`` on batches of elements of a space.

    It is probed once: one that jax can trace becomes a part of the compiled functions, any other (NumPy, Python
    branches) runs on the host before them, and is given the same key each time.

    Parameters
    ----------
    func : callable, optional
        ``func(rng, X) -> pytree`` with the batch axis of X in front of every leaf. By default what
        :func:`coax.utils.default_preprocessor` makes of the space.
    space : gymnasium.Space
        Where X comes from.
    role : str
        How errors name it.

    Raises
    ------
    TypeError
        If it changes the batch axis.
    """

    def __init__(self, func: Callable[..., Any] | None, space: gymnasium.Space, role: str):
        if func is not None and not callable(func):
            raise TypeError(
                f"{role}: expected a function (rng, X) or None, got {type(func).__name__}. "
                "Fix: pass other arguments by name."
            )
        self.func: Callable[..., Any] = default_preprocessor(space) if func is None else func
        self.role = role
        self.traceable = True
        two = jax.tree.map(lambda *xs: np.stack(xs), *(_leaves_as_arrays(safe_sample(space, seed=i)) for i in range(2)))
        if func is None:
            return
        try:
            out = jax.eval_shape(self.func, jax.random.key(0), two)
        except Exception:  # whatever tracing broke, running it for real decides
            out = self.func(jax.random.key(0), two)
            self.traceable = False
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(out)]
        if not shapes or any(shape[:1] != (2,) for shape in shapes):
            raise TypeError(
                f"{role}: expected leaves with a leading axis of length 2 for a batch of 2, got shapes {shapes}. "
                "Fix: leave the batch axis of X alone, and add one only to a single element."
            )

    def __call__(self, rng: Any, X: Any) -> Any:
        """Inside a compiled function: the preprocessed batch."""
        if isinstance(X, Prepared):
            return X.made[self] if self in X.made else self(rng, X.raw)
        if not self.traceable:
            raise self._error()
        return self.func(rng, X)

    def _error(self) -> StateError:
        return StateError(
            f"{self.role} {self.func!r} cannot be traced by jax, so it cannot run inside a compiled function. "
            "Fix: write it with jax.numpy, or preprocess in a gymnasium wrapper."
        )

    def on_host(self, X: Any) -> Any:
        """Outside: run a host-only preprocessor now."""
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(X)):
            raise self._error()
        return jax.tree.map(jnp.asarray, self.func(jax.random.key(0), X))


def _leaves_as_arrays(x: Any) -> Any:
    return jax.tree.map(np.asarray, x)


def host_only(preprocessors: Iterable[Preprocessor | None]) -> tuple[Preprocessor, ...]:
    """Those that must run on the host, each once."""
    return tuple(dict.fromkeys(p for p in preprocessors if p is not None and not p.traceable))


def prepare(X: Any, preprocessors: tuple[Preprocessor, ...]) -> Any:
    """`X` as it is, or with the results of the host-only among the `preprocessors`."""
    hosts = [p for p in preprocessors if not p.traceable]
    return Prepared(X, {p: p.on_host(X) for p in hosts}) if hosts else X
