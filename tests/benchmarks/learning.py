"""What the example programs reach: train several seeds of each, evaluate, and compare with a gate.

``python -m tests.benchmarks.learning`` lists the names, ``... learning dqn ppo`` trains these, ``... learning all`` all
of them. ``--write`` puts the results into ``doc/benchmarks/learning.rst``, the learning curve of each seed into
``doc/benchmarks/curves``, a picture of them into ``doc/pictures/curves``, and all that an algorithm's page shows of it
into ``doc/algorithms/results``. ``--draw`` makes the latter two again from what is there, and trains nothing.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import importlib.util
import math
import multiprocessing
import os
import pathlib
import re
import runpy
import sys
import time
from importlib import metadata
from typing import NamedTuple

import jax
import numpy as np

import coax
from coax.plotting import interquartile_mean
from tests.benchmarks.timing import machine

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "doc" / "benchmarks" / "learning.rst"
CURVES = ROOT / "doc" / "benchmarks" / "curves"
PICTURES = ROOT / "doc" / "pictures" / "curves"
SHOWN = ROOT / "doc" / "algorithms" / "results"
MARK = ".. the table is written by the command above\n"
HEAD = ("name", "environment", "steps", "returns", "mean", "iqm", "gate", "seconds")
N_EPISODES = 20
N_PROCESSES = 2
N_POINTS = 100  # of a curve


class Row(NamedTuple):
    """One algorithm on one environment: a script, and the mean return that it is to reach."""

    name: str
    script: str  # below examples/; it leaves `pi` and `env` behind, and perhaps a `test_env` to evaluate in
    steps: int
    gate: float
    seeds: int = 5
    env_id: str | None = None  # what its environment is called; by default as that says which it leaves behind


ROWS = [
    Row("qlearning", "frozen_lake/qlearning.py", 2_500, 1),
    Row("double_qlearning", "frozen_lake/double_qlearning.py", 2_500, 1),
    Row("sarsa", "frozen_lake/sarsa.py", 2_500, 1),
    Row("expected_sarsa", "frozen_lake/expected_sarsa.py", 2_500, 1),
    Row("soft_qlearning", "frozen_lake/soft_qlearning.py", 2_500, 1),
    Row("simple_td", "frozen_lake/simple_td.py", 2_500, 1),
    Row("reinforce", "frozen_lake/reinforce.py", 20_000, 1),
    Row("dqn", "cartpole/dqn.py", 50_000, 475),
    Row("dqn_vector", "cartpole/dqn_vector.py", 50_000, 475),
    Row("dqn_per", "cartpole/dqn_per.py", 50_000, 475),
    Row("c51", "cartpole/c51.py", 50_000, 475),
    Row("qr_dqn", "cartpole/qr_dqn.py", 50_000, 475),
    Row("iqn", "cartpole/iqn.py", 50_000, 475),
    Row("ppo", "cartpole/ppo.py", 100_000, 475),
    Row("ppo_vector", "cartpole/ppo_vector.py", 100_000, 475),
    Row("compiled_dqn", "compiled/cartpole_dqn.py", 50_000, 475, env_id="CartPole-v1"),
    Row("compiled_ppo", "compiled/cartpole_ppo.py", 100_000, 475, env_id="CartPole-v1"),
    Row("a2c", "cartpole/a2c.py", 200_000, 450),
    Row("behaviour_cloning", "cartpole/behaviour_cloning.py", 5_000, 475),
    Row("model_based", "cartpole/model_based.py", 5_000, 400),
    Row("acrobot_dqn", "acrobot/dqn.py", 100_000, -90),
    Row("sac", "pendulum/sac.py", 15_000, -180),
    Row("sac_vector", "pendulum/sac_vector.py", 15_000, -180),
    Row("compiled_sac", "compiled/pendulum_sac.py", 15_000, -180, env_id="Pendulum-v1"),
    Row("td3", "pendulum/td3.py", 15_000, -180),
    Row("tqc", "pendulum/tqc.py", 15_000, -180),
    Row("ddpg", "pendulum/ddpg.py", 15_000, -180),
    Row("pendulum_ppo", "pendulum/ppo.py", 200_000, -250),
    Row("lunar_lander_dqn", "lunar_lander/dqn.py", 250_000, 150),
    Row("lunar_lander_ppo", "lunar_lander/ppo.py", 1_000_000, 200),
]


class Result(NamedTuple):
    """What one seed reached: the returns of the mode of the policy, the processor time, and its learning curve."""

    env_id: str
    episodes: list[float]
    seconds: float
    curve: list[tuple[int, float]]  # the monitor's T, and the mean return of training episodes; none without a monitor

    @property
    def mean(self) -> float:
        return float(np.mean(self.episodes))


def train(script, steps, seed, env_id=None):
    """Run a script in this process, which is spoilt for others: settings are read when jax is first used."""
    one_thread = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ.update(COAX_STEPS=str(steps), SEED=str(seed), XLA_FLAGS=one_thread)
    jax.config.update("jax_platforms", "cpu")
    returns = watch(steps)
    start = time.process_time()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        program = runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
    seconds = time.process_time() - start  # whatever else the machine does meanwhile
    env_id = env_id or program["env"].unwrapped.spec.id
    where = program.get("test_env", env_id)  # one that the training does not use, wrapped as the policy wants it
    policy = getattr(program["pi"], "mode", program["pi"])  # or a function of the program's own
    found = coax.training.evaluate(where, policy, N_EPISODES, seed=10_000 + seed)
    return Result(env_id, found.returns.tolist(), seconds, thinned(returns.episodes, steps))


class Returns(coax.sinks.Sink):
    """The return of each episode that a monitor reports, or the mean of those of an interval, and when it was over."""

    def __init__(self):
        self.episodes: list[tuple[int, float]] = []

    def write(self, T, numbers, metrics):
        if math.isfinite(numbers["G"]):  # NaN in an interval without the end of an episode
            self.episodes.append((T, numbers["G"]))


def watch(steps):
    """Have the monitors of this process tell their returns, also those of compiled loops about as often as wanted."""
    returns, monitor, on_device = Returns(), coax.wrappers.TrainMonitor, coax.wrappers.DeviceTrainMonitor
    often = {"every": max(1, steps // N_POINTS), "sinks": [returns]}
    coax.wrappers.TrainMonitor = lambda env, *args, **kwargs: monitor(env, *args, **{**kwargs, "sinks": [returns]})
    coax.wrappers.DeviceTrainMonitor = lambda env, *args, **kwargs: on_device(env, *args, **{**kwargs, **often})
    return returns


def thinned(episodes, steps):
    """The mean return of the episodes that ended in each hundredth of the way, at its end; where none ended, nothing.

    Parameters
    ----------
    episodes : list of (int, float)
        When each ended, in the monitor's T, and its return.
    steps : int
        The length of the way. What comes after it, as T also counts episodes, is put down in the same manner.

    Returns
    -------
    list of (int, float)
    """
    parts: dict[int, list[float]] = {}
    for T, G in episodes:
        parts.setdefault(-(-T * N_POINTS // steps), []).append(G)
    return [(i * steps // N_POINTS, float(np.mean(parts[i]))) for i in sorted(parts)]


def measure(rows, n_seeds):
    """Train the seeds of all rows, in fresh processes two at a time; print each as it is done.

    Parameters
    ----------
    rows : list of Row
    n_seeds : int or None
        How many of each; by default what the row says.

    Yields
    ------
    tuple of Row, tuple of str, dict from int to list of (int, float)
        Each row, its line of the table and the curve of each seed, as soon as its last seed is done.
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
                    yield row, line(row, results[row]), {i: results[row][i].curve for i in sorted(results[row])}
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
    found = table([known[row.name] for row in ROWS if row.name in known])
    where = f"The latest of these were measured on {here()}\n"
    PAGE.write_text(page.partition(MARK)[0] + "\n".join([MARK, found, where]))


def here():
    """The machine and the versions, in a line."""
    names = ("jax", "jaxlib", "dm-haiku", "optax", "gymnasium", "numpy")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return f"{machine()}; Python {sys.version.split()[0]}, coax {coax.__version__}, {versions}."


# --- the curves


def write_curves(name, curves):
    """Put down the curve of each seed, in place of all that were there: ``curves/NAME/SEED.csv``, with the steps as T.

    These are files as :func:`coax.plotting.learning_curves` reads them.
    """
    folder = CURVES / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.csv"):
        old.unlink()
    for seed, curve in curves.items():
        rows = [f"{T},{G:.5g}\n" for T, G in curve]
        if rows:
            (folder / f"{seed}.csv").write_text("T,G\n" + "".join(rows))


def draw(row):
    """The picture of the curves of a row, if it has any: each point is the mean over the last twentieth of the way.

    And a small one for the gallery, which shows the shape and nothing else.
    """
    if not any((CURVES / row.name).glob("*.csv")):
        return
    arguments = {row.name: CURVES / row.name}, "G"
    options = {"points": N_POINTS, "window": row.steps / 20}
    PICTURES.mkdir(parents=True, exist_ok=True)

    axes, _ = coax.plotting.learning_curves(*arguments, **options)
    axes.axhline(row.gate, color="gray", linestyle="--", linewidth=1, label=f"gate {row.gate:g}, of the trained policy")
    axes.set(title=f"examples/{row.script}", ylabel="return of a training episode")
    axes.legend()
    save_picture(axes.figure, PICTURES / f"{row.name}.png")

    axes, _ = coax.plotting.learning_curves(*arguments, **options)
    axes.axhline(row.gate, color="gray", linestyle="--", linewidth=1)
    axes.get_legend().remove()
    axes.set(xlabel="", ylabel="", xticks=[], yticks=[])
    axes.figure.set_size_inches(2, 1)
    save_picture(axes.figure, PICTURES / f"{row.name}.small.png")


def save_picture(figure, path):
    """As a file of a quarter of the size that it would have with all colours."""
    figure.savefig(path, dpi=100)
    image = importlib.import_module("PIL.Image")  # which matplotlib needs
    image.open(path).quantize(64).save(path, optimize=True)


def show(row):
    """What the page of an algorithm includes: the picture and the line of the table, those that there are; and a small
    picture for the gallery.
    """
    cells = lines_of(PAGE.read_text()).get(row.name)
    parts, small = [], ""
    if (PICTURES / f"{row.name}.png").exists():
        seeds = len(list((CURVES / row.name).glob("*.csv")))
        alt = f"return of the training episodes of examples/{row.script} over steps, {seeds} seeds"
        parts.append(f".. image:: /pictures/curves/{row.name}.png\n   :alt: {alt}\n   :width: 600\n")
        small = f".. image:: /pictures/curves/{row.name}.small.png\n   :alt: {alt}\n   :width: 130\n"
    if cells is not None:
        parts.append(f"``python -m tests.benchmarks.learning {row.name} --write`` trained these policies:\n")
        parts.append(table([cells]))
    SHOWN.mkdir(parents=True, exist_ok=True)
    (SHOWN / f"{row.name}.txt").write_text("\n".join(parts))
    (SHOWN / f"{row.name}.small.txt").write_text(small)  # for the gallery


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.learning", description=__doc__.split("\n")[0])
    names = [row.name for row in ROWS]
    parser.add_argument("name", nargs="*", help="which to train; all for all of them")
    parser.add_argument("--seeds", type=int, help="how many (by default what the row says)")
    parser.add_argument("--write", action="store_true", help="put the results and the curves into doc/")
    parser.add_argument("--draw", action="store_true", help="draw the curves that are there again, without training")
    chosen = parser.parse_args(arguments)
    if unknown := sorted({*chosen.name} - {*names, "all"}):
        parser.error(f"expected names from {', '.join(names)}, or all, got {', '.join(unknown)}")
    if not chosen.name:
        print("\n".join(names))
        return 0
    rows = [row for row in ROWS if {row.name, "all"} & {*chosen.name}]
    if chosen.draw:
        for row in rows:
            draw(row)
            show(row)
        return 0
    start = time.perf_counter()
    reached = True
    for row, cells, curves in measure(rows, chosen.seeds):
        reached &= float(cells[HEAD.index("mean")]) >= row.gate
        if chosen.write:  # at once: the next one may take long
            write([cells])
            write_curves(row.name, curves)
            if importlib.util.find_spec("matplotlib") is None:
                print(f"no picture of {row.name}, since matplotlib is missing: draw it with --draw where it is there")
            else:
                draw(row)
            show(row)
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes in all")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
