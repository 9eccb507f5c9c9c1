"""The speed and size of replay buffers, beside a list, Stable-Baselines3 and flashbax.

Run ``python -m tests.benchmarks.replay``; ``--quick`` is rougher, ``--write`` puts the tables into
``doc/benchmarks/replay.rst``. Peers that are not installed are left out: ``pip install stable-baselines3 flashbax``.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import sys
import time
from importlib import metadata, util
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from coax.experience_replay import PrioritizedReplayBuffer, SimpleReplayBuffer
from coax.reward_tracing import NStep, TransitionBatch

from .timing import machine, plain_table, write_page

PAGE = Path(__file__).parents[2] / "doc" / "benchmarks" / "replay.rst"
MARK = ".. the tables are written by the command above\n"
CAPACITIES = (10_000, 100_000, 1_000_000)
SIZES = (1, 32, 256)
FRAME = (84, 84)


def transitions(count, first=0):
    """What a CartPole gives: f32[B, 4], i64[B], f32[B], bool[B], f32[B, 4]; each observation follows the one before."""
    S = np.random.default_rng(first).normal(size=(count + 1, 4)).astype(np.float32)
    return S[:-1], np.arange(count) % 2, np.ones(count, np.float32), np.zeros(count, bool), S[1:]


# --- the buffers: each has batch(size), add(batch), sample(size), fill() and bytes_each() -----------------------------


class Coax:
    name = "coax"
    cls = SimpleReplayBuffer

    def __init__(self, capacity):
        self.capacity, self.buffer = capacity, self.cls(capacity, random_seed=1)

    def batch(self, size):
        S, A, R, done, S_next = transitions(size, first=size)
        zeros = np.zeros(size, np.float32)
        return TransitionBatch(S, A, zeros, R, np.where(done, zeros, np.float32(0.99)), S_next, A, zeros)

    def add(self, batch):
        self.buffer.add(batch)

    def sample(self, size):
        return self.buffer.sample(size)

    def fill(self):
        for first in range(0, self.capacity, 10_000):
            S, A, R, _, S_next = transitions(10_000, first)
            batch = TransitionBatch(S, A, R * 0, R, R, S_next, A, R * 0)
            for i in range(0, 10_000, 100):
                self.buffer.add(jax.tree.map(lambda x, i=i: x[i : i + 100], batch))

    def bytes_each(self):
        return self.buffer.nbytes / self.capacity


class Prioritized(Coax):
    cls = PrioritizedReplayBuffer

    def update(self, batch, Adv):
        self.buffer.update(batch.idx, Adv)


class List:
    """What one writes first: a list of transitions, the oldest of which is popped."""

    name = "a list"

    def __init__(self, capacity):
        self.capacity, self.rows = capacity, []

    def batch(self, size):
        return list(zip(*transitions(size, first=size), strict=True))

    def add(self, batch):
        for row in batch:
            if len(self.rows) == self.capacity:
                self.rows.pop(0)
            self.rows.append(row)

    def sample(self, size):
        rows = random.sample(self.rows, size)
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def fill(self):
        self.rows = self.batch(self.capacity)

    def bytes_each(self):
        _, a, r, done, _ = row = self.rows[0]
        # the observation is in two transitions, and counts once; each is a view of its own
        return sys.getsizeof(row) + 8 + 2 * sys.getsizeof(row[0]) + 16 + sum(map(sys.getsizeof, (a, r, done)))


class StableBaselines:
    name = "SB3"

    def __init__(self, capacity, n_envs=1):
        from stable_baselines3.common.buffers import ReplayBuffer  # noqa: PLC0415 - an optional peer

        spaces = gymnasium.spaces.Box(-9, 9, (4,), np.float32), gymnasium.spaces.Discrete(2)
        self.capacity, self.n_envs = capacity, n_envs
        self.buffer = ReplayBuffer(capacity, *spaces, device="cpu", n_envs=n_envs, handle_timeout_termination=False)

    def batch(self, size):
        if size != self.n_envs:  # it adds as many at once as there are environments
            self.__init__(self.capacity, size)
            self.fill()
        S, A, R, done, S_next = transitions(size, first=size)
        return S, S_next, A, R, done, [{}] * size

    def add(self, batch):
        self.buffer.add(*batch)

    def sample(self, size):
        return self.buffer.sample(size)

    def fill(self):
        S, A, R, _, S_next = transitions(self.capacity)
        rows = self.buffer.observations.shape[:2]
        n = rows[0] * rows[1]
        for store, x in ((self.buffer.observations, S), (self.buffer.next_observations, S_next)):
            store[:] = x[:n].reshape(*rows, 4)
        self.buffer.actions[:], self.buffer.rewards[:] = A[:n].reshape(*rows, 1), R[:n].reshape(rows)
        self.buffer.full = True

    def bytes_each(self):
        arrays = [x for x in vars(self.buffer).values() if isinstance(x, np.ndarray)]
        return sum(x.nbytes for x in arrays) / self.capacity


class Flashbax:
    """Its functions compiled, with the state donated, called from the host."""

    name = "flashbax"

    def __init__(self, capacity, prioritised=False):
        self.capacity, self.prioritised, self.key, self.count = capacity, prioritised, jax.random.key(1), 0
        self.sampler, self.state = {}, None
        self.adder = jax.jit(self.make(1).add, donate_argnums=0)

    def make(self, size):
        import flashbax  # noqa: PLC0415 - an optional peer

        maker = flashbax.make_prioritised_trajectory_buffer if self.prioritised else flashbax.make_trajectory_buffer
        return maker(
            add_batch_size=1,
            sample_batch_size=size,
            sample_sequence_length=1,
            period=1,
            min_length_time_axis=1,
            max_size=self.capacity,
        )

    def batch(self, size):
        S, A, R, done, S_next = transitions(size, first=size)
        return jax.tree.map(lambda x: x[None], {"S": S, "A": A, "R": R, "done": done, "S_next": S_next})

    def add(self, batch):
        self.state = self.adder(self.state, batch)
        jax.block_until_ready(self.state.current_index)

    def sample(self, size):
        if size not in self.sampler:
            sample = self.make(size).sample
            self.sampler[size] = jax.jit(lambda state, key, i: sample(state, jax.random.fold_in(key, i)))
        self.count += 1
        return jax.block_until_ready(self.sampler[size](self.state, self.key, np.uint32(self.count)))

    def update(self, batch, Adv):
        if "update" not in self.sampler:
            self.sampler["update"] = jax.jit(self.make(1).set_priorities, donate_argnums=0)
        self.state = self.sampler["update"](self.state, batch.indices, Adv)
        jax.block_until_ready(self.state.current_index)

    def fill(self):
        row = jax.tree.map(lambda x: jnp.asarray(x[0, 0]), self.batch(1))
        self.state = self.make(1).init(row)
        rows = self.batch(10_000)
        for _ in range(0, self.capacity, 10_000):
            self.state = self.adder(self.state, rows)

    def bytes_each(self):
        return sum(x.nbytes for x in jax.tree.leaves(self.state)) / self.capacity


def peers():
    """Those that are installed."""
    found = [Coax, List]
    if util.find_spec("stable_baselines3"):
        found.append(StableBaselines)
    if util.find_spec("flashbax"):
        found.append(Flashbax)
    return found


# --- tables -----------------------------------------------------------------------------------------------------------


def in_turns(buffers, method, each, repeats):
    """Medians, in microseconds, of a method of buffers that take turns, for about 2 ms at a time.

    Parameters
    ----------
    buffers : list
    method : str
    each : list of tuple
        The arguments of each.
    repeats : int
    """
    calls = [functools.partial(getattr(buffer, method), *args) for buffer, args in zip(buffers, each, strict=True)]
    counts = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        counts.append(max(1, int(0.002 / (time.perf_counter() - start))))
    times = [[] for _ in calls]
    for _ in range(repeats):
        for call, count, found in zip(calls, counts, times, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                call()
            found.append(1e6 * (time.perf_counter() - start) / count)
    return list(map(statistics.median, times))


def uniform(repeats):
    """Adding to and sampling from full buffers."""
    names = [cls.name for cls in peers()]
    lines = []
    for capacity in CAPACITIES:
        buffers = full(peers(), capacity)
        for size in SIZES:
            each = [(size,)] * len(buffers)
            lines.append((f"sample {size:>3}, capacity {capacity:,}", *in_turns(buffers, "sample", each, repeats)))
        for size in SIZES:
            each = [(buffer.batch(size),) for buffer in buffers]
            lines.append((f"add {size:>3}, capacity {capacity:,}", *in_turns(buffers, "add", each, repeats)))
    return table(("microseconds a call", *names), sorted(lines, key=lambda line: line[0].split()[0]))


def prioritized(repeats):
    """The same with priorities."""
    buffers = full([Prioritized], 100_000)
    if util.find_spec("flashbax"):
        buffers += full([functools.partial(Flashbax, prioritised=True)], 100_000)
    lines = []
    for size in SIZES:
        each = [(buffer.batch(size),) for buffer in buffers]
        lines.append((f"add {size:>3}", *in_turns(buffers, "add", each, repeats)))
    for size in SIZES[1:]:
        each = [(size,)] * len(buffers)
        lines.append((f"sample {size:>3}", *in_turns(buffers, "sample", each, repeats)))
    for size in SIZES[1:]:
        Adv = np.random.default_rng(1).random(size).astype(np.float32)
        each = [(buffer.sample(size), Adv) for buffer in buffers]
        lines.append((f"update {size:>3}", *in_turns(buffers, "update", each, repeats)))
    return table(("microseconds a call", *(buffer.name for buffer in buffers)), lines)


def full(makers, capacity):
    """Buffers with as many transitions as they hold."""
    buffers = [make(capacity) for make in makers]
    for buffer in buffers:
        buffer.fill()
    return buffers


def sizes():
    """Bytes for each transition of CartPole, when the buffers are full."""
    lines = []
    for capacity in CAPACITIES:
        buffers = full(peers(), capacity)
        lines.append((f"CartPole, capacity {capacity:,}", *(buffer.bytes_each() for buffer in buffers)))
    return table(("bytes for each transition", *(cls.name for cls in peers())), lines)


def frames(n, n_envs=None, capacity=5_000):
    """How many frames of 84 x 84 bytes a transition of four takes, over episodes of 100 to 600 steps."""
    rng = np.random.default_rng(1)
    buffer = SimpleReplayBuffer(capacity, random_seed=1, frame_axis=None if n_envs is None else 0)
    tracer = NStep(n, 0.99, num_envs=n_envs)
    left = np.zeros(n_envs or 1, int)
    stacks = [[] for _ in left]
    count = 0
    while count < 1.5 * capacity:
        for i in np.flatnonzero(left == 0):
            left[i], stacks[i] = rng.integers(100, 600), [rng.integers(0, 256, FRAME, np.uint8)] * 4
        S = [tuple(stack) for stack in stacks]
        stacks = [[*stack[1:], rng.integers(0, 256, FRAME, np.uint8)] for stack in stacks]
        left = left - 1
        S_next, over = [tuple(stack) for stack in stacks], left == 0
        if n_envs is None:
            tracer.add(S[0], 0, 0.0, bool(over[0]), s_next=S_next[0])
        else:
            zeros = np.zeros(n_envs)
            tracer.add(np.array(S), zeros.astype(int), zeros, over, s_next=np.array(S_next))
        if tracer:
            batch = tracer.flush()
            buffer.add(batch)
            count += batch.batch_size
    return buffer.nbytes / capacity / np.prod(FRAME)


def pictures():
    """What stacked frames take."""
    lines = [
        ("FrameStacking, n = 1", frames(1)),
        ("FrameStacking, n = 3", frames(3)),
        ("frame_axis, 8 environments, n = 1", frames(1, n_envs=8)),
        ("frame_axis, 8 environments, n = 3", frames(3, n_envs=8)),
        ("arrays of both observations", 8.0),
    ]
    return table(("frames for each transition of four", "coax"), lines, digits=2)


def table(head, lines, digits=1):
    """A table of names and numbers."""
    return plain_table([head, *((line[0], *(f"{x:,.{digits}f}" for x in line[1:])) for line in lines)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {PAGE.name}")
    given = parser.parse_args()
    repeats = 9 if given.quick else 51
    parts = [uniform(repeats), prioritized(repeats), sizes(), pictures()]
    names = ["jax", "numpy"] + [
        name for name in ("stable-baselines3", "torch", "flashbax") if util.find_spec(name.replace("-", "_"))
    ]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    missing = [cls.name for cls in (StableBaselines, Flashbax) if cls not in peers()]
    note = f" Not installed, and left out: {', '.join(missing)}." if missing else ""
    parts.append(f"{machine()}; Python {sys.version.split()[0]}, {versions}.{note}")
    report = "\n\n".join(parts)
    print(report)
    if given.write:
        write_page(PAGE, MARK, report)


if __name__ == "__main__":
    main()
