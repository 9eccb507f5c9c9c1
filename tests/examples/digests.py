"""Run a program, and print what it ends with: a digest of the state of each of its objects.

python -m tests.examples.digests examples/frozen_lake/qlearning.py
"""

import hashlib
import json
import runpy
import sys

import jax
import numpy as np

import coax
from coax._stateful import collect


def digest(tree):
    """Of all bits of a tree of arrays; keys count as the integers that they are."""
    found = hashlib.sha256()
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        is_key = hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        x = np.asarray(jax.random.key_data(x) if is_key else x)
        where = jax.tree_util.keystr(path)
        if "seconds" not in where:  # a monitor keeps the time
            found.update(f"{where} {x.dtype} {x.shape}".encode() + x.tobytes())
    return found.hexdigest()


def digests(space):
    """From the names of a program's variables to digests; what its objects refer to is in them."""
    found = {}
    for name, value in space.items():
        if isinstance(value, coax.Stateful):
            found[name] = digest([obj.state for obj in collect(value)])
        elif isinstance(value, jax.Array | np.ndarray):
            found[name] = digest(value)
    return found


def main(path):
    """What ``python path`` does, and then the digests, on a line of their own."""
    print(json.dumps(digests(runpy.run_path(path, run_name="__main__"))))


if __name__ == "__main__":
    main(sys.argv[1])
