"""Packages that need not be installed."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ("need",)


def need(module: str, extra: str) -> Any:
    """Import a package that comes with an extra.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise ImportError(f"{module} is missing. Fix: pip install 'coax[{extra}]'") from err
