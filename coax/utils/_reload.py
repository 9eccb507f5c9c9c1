"""Reloading a package while developing."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ("reload_recursive",)


def reload_recursive(module: ModuleType | str, reload_external_modules: bool = False) -> None:
    """Reload a module after the modules that it refers to, each once.

    Parameters
    ----------
    module : module or str
        The module, or its name.
    reload_external_modules : bool, optional
        Go beyond the module's own package too.

    Raises
    ------
    TypeError
        If `module` is neither a module nor a string.
    """
    if isinstance(module, str):
        module = importlib.import_module(module)
    if not isinstance(module, ModuleType):
        raise TypeError(f"module: expected a module or its name, got {type(module).__name__}. Fix: pass coax, say.")
    package = module.__name__.partition(".")[0]
    seen: set[str] = set()

    def visit(current: ModuleType) -> None:
        seen.add(current.__name__)
        for child in [value for value in vars(current).values() if isinstance(value, ModuleType)]:
            ours = child.__name__.partition(".")[0] == package
            # Modules without a file are part of the interpreter.
            if child.__name__ not in seen and getattr(child, "__file__", None) and (ours or reload_external_modules):
                visit(child)
        importlib.reload(current)

    visit(module)
