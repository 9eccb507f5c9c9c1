"""``python -m coax``: versions, devices, extras, and what is known not to work. For a bug report, add ``--json``."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import jax

from ._requirements import BASE, EXTRAS, complaints, lacking, names, plain_name
from ._version import __version__

__all__ = ("gather", "main", "report")

_SETTINGS = ("JAX_", "XLA_FLAGS", "MUJOCO_GL", "CUDA_VISIBLE_DEVICES")  # the variables that change what happens


def installed(asked: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed; ``"?"`` where one is broken."""
    found = {}
    for name in asked:
        try:
            found[name] = str(importlib.metadata.version(name) or "?")
        except importlib.metadata.PackageNotFoundError:
            continue
        except Exception:  # what a half-removed package raises depends on what is left of it
            found[name] = "?"
    return found


def devices() -> list[str]:
    """What JAX computes on, or why it cannot."""
    try:
        return [f"{device} ({device.device_kind})" for device in jax.devices()]
    except Exception as err:  # a driver that does not fit raises what it likes, and maybe without a word
        why = str(err) or f"no device for JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')}"
        return [f"none: {type(err).__name__}: {why}".splitlines()[0]]


def gather() -> dict[str, Any]:
    """All that is reported."""
    versions = {**installed(names()), "python": platform.python_version()}
    asked = {extra: lacking(requirements, versions) for extra, requirements in EXTRAS.items()}
    first = dict.fromkeys(("jax", "jaxlib", *(plain_name(text.split(">")[0]) for text in BASE)))
    return {
        "coax": __version__,
        "path": str(pathlib.Path(__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: versions.get(name) for name in first},
        "devices": devices(),
        "settings": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(_SETTINGS)},
        "extras": {extra: {"missing": missing} for extra, missing in asked.items()},
        "others": {name: versions[name] for name in sorted(versions) if name not in first and name != "python"},
        "warnings": complaints(versions),
    }


def report(facts: dict[str, Any]) -> str:
    """The facts of :func:`gather`, for people."""
    extras = {}
    for name, extra in facts["extras"].items():
        missing = ", ".join(extra["missing"])
        extras[name] = f"missing: {missing}. Fix: pip install 'coax[{name}]'" if missing else "present"
    parts = {
        "packages": {name: version or "missing" for name, version in facts["packages"].items()},
        "devices": dict.fromkeys(facts["devices"], ""),
        "settings": facts["settings"],
        "extras": extras,
        "other packages": facts["others"],
        "warnings": dict.fromkeys(facts["warnings"] or ["none"], ""),
    }
    lines = [f"coax {facts['coax']} in {facts['path']}", f"Python {facts['python']} on {facts['platform']}"]
    for title, entries in parts.items():
        if entries:
            lines += ["", title, *(f"  {name:<20} {text}".rstrip() for name, text in entries.items())]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report."""
    parser = argparse.ArgumentParser("python -m coax", description="Versions, devices, extras, and known problems.")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for a bug report")
    facts = gather()
    print(json.dumps(facts, indent=2) if parser.parse_args(arguments).json else report(facts))


if __name__ == "__main__":
    main()
