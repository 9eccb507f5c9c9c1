"""What the example programs reach: train several seeds of each, evaluate, and compare with a gate.

``python -m tests.benchmarks.learning`` lists the names, ``... learning dqn ppo`` trains these, ``... learning all`` all
of them. ``--write`` puts the results into ``doc/benchmarks/learning.rst``.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import re
import runpy
import sys
import time
from typing import NamedTuple

import jax
import numpy as np

import coax
from coax.plotting import interquartile_mean

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "doc" / "benchmarks" / "learning.rst"
MARK = ".. the table is written by the command above\n"
HEAD = ("name", "environment", "steps", "returns", "mean", "iqm", "gate", "seconds")
N_EPISODES = 20
N_PROCESSES = 2


class Row(NamedTuple):
    """One algorithm on one environment: a script, and the mean return that it is to reach."""

    name: str
    script: str  # below examples/; it leaves `pi` and `env` behind
    steps: int
    gate: float
    seeds: int = 5
    env_id: str | None = None  # where it is evaluated; by default in the environment that it leaves behind


ROWS = [
    Row("dqn", "cartpole/dqn.py", 50_000, 475),
    Row("dqn_vector", "cartpole/dqn_vector.py", 50_000, 475),
    Row("c51", "cartpole/c51.py", 50_000, 475),
    Row("qr_dqn", "cartpole/qr_dqn.py", 50_000, 475),
    Row("iqn", "cartpole/iqn.py", 50_000, 475),
    Row("ppo", "cartpole/ppo.py", 100_000, 475),
    Row("ppo_vector", "cartpole/ppo_vector.py", 100_000, 475),
    Row("compiled_dqn", "compiled/cartpole_dqn.py", 50_000, 475, env_id="CartPole-v1"),
    Row("compiled_ppo", "compiled/cartpole_ppo.py", 100_000, 475, env_id="CartPole-v1"),
    Row("a2c", "cartpole/a2c.py", 200_000, 450),
    Row("acrobot_dqn", "acrobot/dqn.py", 100_000, -90),
    Row("sac", "pendulum/sac.py", 15_000, -180),
    Row("sac_vector", "pendulum/sac_vector.py", 15_000, -180),
    Row("compiled_sac", "compiled/pendulum_sac.py", 15_000, -180, env_id="Pendulum-v1"),
    Row("td3", "pendulum/td3.py", 15_000, -180),
    Row("tqc", "pendulum/tqc.py", 15_000, -180),
    Row("ddpg", "pendulum/ddpg.py", 15_000, -180),
    Row("pendulum_ppo", "pendulum/ppo.py", 200_000, -250),
    Row("lunar_lander_dqn", "lunar_lander/dqn.py", 250_000, 150, seeds=3),
    Row("lunar_lander_ppo", "lunar_lander/ppo.py", 1_000_000, 200, seeds=3),
]


class Result(NamedTuple):
    """What one seed reached: the mean return of the mode of the policy, and how long it trained."""

    env_id: str
    episodes: list[float]
    seconds: float

    @property
    def mean(self) -> float:
        return float(np.mean(self.episodes))


def train(script, steps, seed, env_id=None):
    """Run a script in this process, which is spoilt for others: settings are read when jax is first used."""
    one_thread = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ.update(COAX_STEPS=str(steps), SEED=str(seed), XLA_FLAGS=one_thread)
    jax.config.update("jax_platforms", "cpu")
    start = time.perf_counter()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        program = runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
    seconds = time.perf_counter() - start
    env_id = env_id or program["env"].unwrapped.spec.id
    found = coax.training.evaluate(env_id, program["pi"].mode, N_EPISODES, seed=10_000 + seed)
    return Result(env_id, found.returns.tolist(), seconds)


def measure(rows, n_seeds):
    """Train the seeds of all rows, in fresh processes two at a time; print each as it is done.

    Parameters
    ----------
    rows : list of Row
    n_seeds : int or None
        How many of each; by default what the row says.

    Yields
    ------
    tuple of Row, tuple of str
        Each row and its line of the table, as soon as its last seed is done.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(N_PROCESSES, mp_context=context, max_tasks_per_child=1) as pool:
        jobs = {
            pool.submit(train, row.script, row.steps, seed, row.env_id): (row, seed)
            for row in rows
            for seed in range(n_seeds or row.seeds)
        }
        results = {row: {} for row in rows}
        try:
            for job in concurrent.futures.as_completed(jobs):
                (row, seed), result = jobs[job], job.result()
                results[row][seed] = result
                said = f"{row.name} seed {seed}: {result.mean:.1f} (lowest {min(result.episodes):.1f})"
                print(f"{said} in {result.seconds:.0f} s", flush=True)
                if len(results[row]) == (n_seeds or row.seeds):
                    yield row, line(row, results[row])
        finally:  # after an error the rest is not begun
            pool.shutdown(cancel_futures=True)


def line(row, results):
    """The cells of a line of the table, from the result of each seed."""
    means = [results[seed].mean for seed in sorted(results)]
    mean, iqm = float(np.mean(means)), interquartile_mean(means)
    seconds = float(np.mean([result.seconds for result in results.values()]))
    verdict = "reached" if mean >= row.gate else "MISSED"
    print(f"{row.name}: mean {mean:.1f}, interquartile mean {iqm:.1f}; gate {row.gate:g} {verdict}", flush=True)
    numbers = (f"{mean:.1f}", f"{iqm:.1f}", f"{row.gate:g}", f"{seconds:.0f}")
    return (row.name, results[0].env_id, f"{row.steps:,}", " ".join(f"{x:.0f}" for x in means), *numbers)


# --- the page


def table(lines):
    """Cells as a table of reStructuredText."""
    widths = [max(map(len, column)) for column in zip(HEAD, *lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    body = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in (HEAD, *lines)]
    return "\n".join([rule, body[0], rule, *body[1:], rule]) + "\n"


def lines_of(page):
    """The cells of the table on a page, by name."""
    found = [tuple(re.split(r"\s{2,}", line.strip())) for line in page.partition(MARK)[2].splitlines()]
    return {cells[0]: cells for cells in found if len(cells) == len(HEAD) and cells != HEAD and cells[0].strip("=")}


def write(lines):
    """Put new lines into the table of the page; those of other names stay."""
    page = PAGE.read_text()
    known = {**lines_of(page), **{cells[0]: cells for cells in lines}}
    order = [row.name for row in ROWS if row.name in known]
    PAGE.write_text(page.partition(MARK)[0] + MARK + "\n" + table([known[name] for name in order]))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.learning", description=__doc__.split("\n")[0])
    names = [row.name for row in ROWS]
    parser.add_argument("name", nargs="*", help="which to train; all for all of them")
    parser.add_argument("--seeds", type=int, help="how many (by default what the row says)")
    parser.add_argument("--write", action="store_true", help="put the results into doc/benchmarks/learning.rst")
    chosen = parser.parse_args(arguments)
    if unknown := sorted({*chosen.name} - {*names, "all"}):
        parser.error(f"expected names from {', '.join(names)}, or all, got {', '.join(unknown)}")
    if not chosen.name:
        print("\n".join(names))
        return 0
    rows = [row for row in ROWS if {row.name, "all"} & {*chosen.name}]
    start = time.perf_counter()
    reached = True
    for row, cells in measure(rows, chosen.seeds):
        reached &= float(cells[HEAD.index("mean")]) >= row.gate
        if chosen.write:  # at once: the next one may take long
            write([cells])
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes in all")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
