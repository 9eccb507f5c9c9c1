"""A program that runs one training whenever it is asked to, so that several can take turns."""

from __future__ import annotations

import importlib
import json
import sys
import time
from importlib import metadata

import jax

PACKAGES = ("jax", "jaxlib", "numpy", "optax", "dm-haiku", "flax", "distrax", "gymnax", "flashbax", "rejax")


def serve(training):
    """Compile a training, say so, and then run it once for each line that comes in.

    The first line that goes out is a JSON object: how long tracing and compiling took, in seconds, the versions, and
    where it runs. Each further one is the seconds of one run, until the last result is ready.

    Parameters
    ----------
    training : callable
        From a key to a pytree of arrays. If it has a method `prepare`, that returns what to call in its place, and is
        what is timed as compiling.
    """
    keys = [jax.random.key(seed) for seed in range(1_000)]
    jax.block_until_ready(keys)
    start = time.perf_counter()
    prepare = getattr(training, "prepare", lambda key: jax.jit(training).lower(key).compile())
    program = prepare(keys[0])
    seconds = time.perf_counter() - start
    say({"compile": seconds, "versions": versions(), "device": jax.devices()[0].device_kind})
    for key, _ in zip(keys, sys.stdin, strict=False):
        start = time.perf_counter()
        jax.block_until_ready(program(key))
        say(time.perf_counter() - start)


def say(what):
    print(json.dumps(what), flush=True)


def versions():
    """Of what is imported here."""
    found = {}
    for name in PACKAGES:
        if name.removeprefix("dm-") in sys.modules:
            found[name] = metadata.version(name)
    return found


def main():
    """``python -m tests.benchmarks.compiled_serving MODULE FUNCTION SETTINGS``: the settings are a JSON object."""
    module, function, settings = sys.argv[1:]
    settings = {name: tuple(x) if isinstance(x, list) else x for name, x in json.loads(settings).items()}
    serve(getattr(importlib.import_module(module), function)(**settings))


if __name__ == "__main__":
    main()
