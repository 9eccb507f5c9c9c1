"""The speed of saving and loading, beside safetensors writing and reading the same bytes.

Run ``python -m tests.benchmarks.checkpoint``; ``--quick`` is rougher, ``--write`` puts the table into
``doc/benchmarks/checkpoint.rst``. Needs ``pip install safetensors``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import gymnasium
import haiku as hk
import jax
import numpy as np
import optax
from safetensors.numpy import load_file, save_file

import coax
from coax.reward_tracing import TransitionBatch

from .timing import as_table, compare, machine, write_page

PAGE = Path(__file__).parents[2] / "doc" / "benchmarks" / "checkpoint.rst"
MARK = ".. the table is written by the command above\n"
BUDGET = 1.5


def noise(megabytes):
    """Numbers that no compression makes smaller."""
    return {"x": np.random.default_rng(0).random(megabytes * 125_000)}


def frames(megabytes):
    """A replay buffer of frames, most of whose pixels are background, as those of games are."""
    count = megabytes * 1_000_000 // 7056
    buffer = coax.experience_replay.SimpleReplayBuffer(count, random_seed=0)
    rng = np.random.default_rng(0)
    for _ in range(count // 1000):
        S = np.zeros((1001, 84, 84), np.uint8)
        S[:, 30:50, 20:60] = rng.integers(256, size=(1001, 20, 40))
        zeros = np.zeros(1000, np.float32)
        buffer.add(TransitionBatch(S[:-1], np.zeros(1000, int), zeros, zeros, zeros, S[1:], W=zeros + 1))
    return {"buffer": buffer}


def learner():
    """Functions and an updater: a hundred small arrays."""
    env = gymnasium.make("CartPole-v1")
    q = coax.Q(lambda S, is_training: hk.nets.MLP([256] * 8 + [2])(S), env, random_seed=0)
    q_targ = q.copy()
    qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.001))
    return {"q": q, "q_targ": q_targ, "qlearning": qlearning}


def arrays_of(objects):
    """What safetensors is given: all arrays, already in host memory."""
    leaves = jax.tree.leaves([obj.state if isinstance(obj, coax.Stateful) else obj for obj in objects.values()])
    return {str(i): np.asarray(jax.random.key_data(x) if is_key(x) else x) for i, x in enumerate(leaves)}


def is_key(x):
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def rows_of(name, objects, folder, repeats):
    """Saving and loading, each until all is on the disk, or in memory. What takes milliseconds has no budget."""
    mine, other, arrays = Path(folder) / "coax", Path(folder) / "safetensors", arrays_of(objects)

    def save_other():
        save_file(arrays, other)
        with open(other, "rb") as file:
            os.fsync(file.fileno())

    def load_other():
        for x in load_file(other).values():
            np.add.reduce(x, axis=None)  # it is read when it is looked at

    coax.save(mine, **objects)
    save_other()
    nbytes = sum(x.nbytes for x in arrays.values())
    label = f"{name}, {nbytes / 1e6:,.1f} MB as {mine.stat().st_size / 1e6:,.1f} MB"
    budget = BUDGET if nbytes > 50_000_000 else None
    yield compare(f"save: {label}", (lambda: coax.save(mine, **objects), save_other), budget, repeats, 1)
    yield compare(f"load: {label}", (lambda: coax.load(mine, **objects), load_other), budget, repeats, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, less data")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    given = parser.parse_args()
    repeats, megabytes = (3, 100) if given.quick else (11, 500)
    cases = {
        "random numbers": lambda: noise(megabytes),
        "a buffer of frames": lambda: frames(megabytes),
        "a learner": learner,
    }
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for name, make in cases.items() for row in rows_of(name, make(), folder, repeats)]
    milliseconds = [row._replace(coax=row.coax / 1000, by_hand=row.by_hand / 1000) for row in rows]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "numpy", "safetensors", "lz4"))
    report = "\n\n".join(
        [
            as_table(milliseconds, ("coax, ms", "safetensors, ms")),
            f"{machine()}; Python {sys.version.split()[0]}, {versions}.",
        ]
    )
    print(report)
    if given.write:
        write_page(PAGE, MARK, report)


if __name__ == "__main__":
    main()
