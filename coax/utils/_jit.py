"""A compiled function that can be pickled."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax

__all__ = ("JittedFunc", "jit")


def jit(func: Callable[..., Any], static_argnums: Any = (), donate_argnums: Any = ()) -> JittedFunc:
    """Compile a pure function with :func:`jax.jit`, such that the result can be dumped with :func:`coax.utils.dump`.

    For functions that call stateful objects (policies, updaters), use :func:`coax.jit` instead.

    Parameters
    ----------
    func : callable
        The function to compile.
    static_argnums : int or tuple of int, optional
        Positions of arguments that are constants of the compiled function.
    donate_argnums : int or tuple of int, optional
        Positions of arguments whose memory may be reused for the output.
    """
    return JittedFunc(func, static_argnums, donate_argnums)


class JittedFunc:
    """What :func:`coax.utils.jit` returns. Unpickling compiles anew, at the first call.

    Attributes
    ----------
    func : callable
        The function as it was passed.
    static_argnums, donate_argnums : int or tuple of int
        As they were passed.
    """

    def __init__(self, func: Callable[..., Any], static_argnums: Any = (), donate_argnums: Any = ()):
        self.func = func
        self.static_argnums = static_argnums
        self.donate_argnums = donate_argnums
        # Not functools.wraps: it copies the function's __dict__, which could hide the attributes above.
        functools.update_wrapper(self, func, updated=())
        self._compiled = jax.jit(func, static_argnums=static_argnums, donate_argnums=donate_argnums)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.func)

    def __repr__(self) -> str:
        return f"JittedFunc({getattr(self.func, '__name__', repr(self.func))}{self.__signature__})"

    def __reduce__(self) -> tuple:
        return JittedFunc, (self.func, self.static_argnums, self.donate_argnums)
