"""A program that runs one training whenever it is asked to, so that several can take turns."""

from __future__ import annotations

import importlib
import json
import sys
import time
from importlib import metadata

import jax
import numpy as np

PACKAGES = ("coax", "dm-haiku", "flax", "optax", "gymnax", "flashbax", "distrax", "rejax", "numpy", "jax", "jaxlib")


def serve(train):
    """Compile a function of a key, say so, and then run it once for each line that comes in.

    The first line that goes out is a JSON object: how long tracing and compiling took, in seconds, the versions, and
    where it runs. Each further one is the seconds of one run, from the key to the last result being ready.

    Parameters
    ----------
    train : callable
        From a key to a pytree of arrays.
    """
    keys = [jax.random.key(seed) for seed in range(100)]
    jax.block_until_ready(keys)
    start = time.perf_counter()
    program = jax.jit(train).lower(keys[0]).compile()
    seconds = time.perf_counter() - start
    say({"compile": seconds, "versions": versions(), "device": jax.devices()[0].device_kind, "python": sys.version.split()[0]})
    for key, _ in zip(keys, sys.stdin, strict=False):
        start = time.perf_counter()
        jax.block_until_ready(program(key))
        say(time.perf_counter() - start)


def say(what):
    print(json.dumps(what), flush=True)


def versions():
    """Of what is installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def main():
    """``python -m tests.benchmarks.compiled_serving MODULE FUNCTION SETTINGS``: the settings are a JSON object."""
    module, function, settings = sys.argv[1:]
    settings = {name: tuple(x) if isinstance(x, list) else x for name, x in json.loads(settings).items()}
    serve(getattr(importlib.import_module(module), function)(**settings))


if __name__ == "__main__":
    main()
