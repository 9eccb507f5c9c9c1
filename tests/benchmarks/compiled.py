"""The speed of compiled training on CartPole with coax, beside a PureJaxRL-style program and Rejax.

Run ``python -m tests.benchmarks.compiled``; ``--quick`` is rougher, ``--write`` puts the tables into
``doc/benchmarks/compiled.rst``. The peers run in a virtual environment that is made in ``build/`` at the first time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from importlib import metadata
from pathlib import Path

from .timing import machine, plain_table, write_page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "doc" / "benchmarks" / "compiled.rst"
MARK = ".. the tables are written by the command above\n"
# Of gymnax the last one whose steps return what Rejax expects.
PACKAGES = ("rejax==0.1.3", "gymnax==0.0.9", "flashbax==0.1.3")
PEERS = {"purejaxrl": "a PureJaxRL-style program", "rejax": "Rejax"}
ALIKE = ("jax", "jaxlib", "optax", "numpy")  # have the same version on both sides

PPO = {"num_envs": 4, "segment": 128, "epochs": 4, "minibatches": 4, "hidden": (64, 64), "steps": 204_800}
DQN = {
    "num_envs": 10,
    "capacity": 10_000,
    "batch_size": 128,
    "updates": 1,
    "begin": 10_000,
    "sync": 500,
    "hidden": (120, 84),
    "steps": 100_000,
}
TASKS = (
    ("ppo", PPO),
    ("ppo", {**PPO, "num_envs": 32, "minibatches": 8, "steps": 409_600}),
    ("dqn", DQN),
    ("dqn", {**DQN, "capacity": 100_000, "updates": 5, "steps": 50_000}),
)
# Both gears: short enough for a Python loop.
GEARS = (("ppo", {**PPO, "steps": 10_240}), ("dqn", {**DQN, "begin": 1_000, "steps": 20_000}))
SEEDS = tuple({**DQN, "steps": 50_000, **sizes} for sizes in ({}, {"batch_size": 32, "hidden": (64, 64)}))


# --- programs ---------------------------------------------------------------------------------------------------------


def peers_python():
    """The interpreter of the virtual environment of the peers, which is made if it is not there."""
    wanted = [*PACKAGES, *(f"{name}=={metadata.version(name)}" for name in ALIKE)]
    folder = ROOT / "build" / "benchmarks" / f"peers-{sys.version_info[0]}.{sys.version_info[1]}"
    python, done = folder / "bin" / "python", folder / "installed.txt"
    if not (done.exists() and done.read_text().split() == wanted):
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        done.write_text("\n".join(wanted))
    return str(python)


class Program:
    """A process that runs one training for each :meth:`run`.

    Parameters
    ----------
    python : str
        The interpreter.
    module, function : str
        What returns the training, of this package.
    settings : dict
    """

    def __init__(self, python, module, function, settings):
        environ = {name: x for name, x in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        command = [python, "-W", "ignore", "-m", "tests.benchmarks.compiled_serving"]
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, f"tests.benchmarks.{module}", function, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**environ, "PYTHONPATH": str(ROOT)},
        )
        self.facts = json.loads(self.process.stdout.readline())
        self.ready = time.perf_counter() - start
        self.steps = settings["steps"]

    def run(self):
        """The seconds of one run."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def pair(algorithm, peer, settings):
    """How to start the program of coax, and that of a peer."""
    return (
        lambda: Program(sys.executable, "compiled_coax", f"{algorithm}_training", {**settings, "like": peer}),
        lambda: Program(peers_python(), f"compiled_{peer}", algorithm, settings),
    )


def in_turns(programs, repeats):
    """The seconds of each program in each round, after one round that does not count."""
    for program in programs:
        program.run()
    rounds = []
    for i in range(repeats):
        order = [(i + j) % len(programs) for j in range(len(programs))]
        found = {j: programs[j].run() for j in order}
        rounds.append([found[j] for j in range(len(programs))])
    return list(zip(*rounds, strict=True))


# --- tables -----------------------------------------------------------------------------------------------------------


def describe(algorithm, settings):
    """All that the programs have in common, in a few words."""
    envs, hidden = f"{settings['num_envs']} environments", "-".join(map(str, settings["hidden"]))
    if algorithm == "ppo":
        size = settings["num_envs"] * settings["segment"] // settings["minibatches"]
        return (
            f"PPO, {envs} x {settings['segment']} steps, {settings['epochs']} epochs of {settings['minibatches']} "
            f"batches of {size}, two networks {hidden}"
        )
    updates = "1 update" if settings["updates"] == 1 else f"{settings['updates']} updates"
    return (
        f"DQN, {envs}, {updates} of {settings['batch_size']} for {settings['num_envs']} steps, "
        f"buffer {settings['capacity']:,}, network {hidden}"
    )


def beside(peer, tasks, repeats, starts):
    """Rates of coax and a peer, and how long they compile."""
    rows = [(f"beside {PEERS[peer]}", "coax", "peer", "ratio", "coax compiles", "peer compiles")]
    for algorithm, settings in tasks:
        begin = pair(algorithm, peer, settings)
        compiles = []
        for _ in range(starts - 1):
            compiles.append([started(start) for start in begin])
        with contextlib.ExitStack() as stack:
            programs = [stack.enter_context(start()) for start in begin]
            compiles.append([program.facts["compile"] for program in programs])
            versions = {**programs[1].facts["versions"], **programs[0].facts["versions"]}
            mine, other = in_turns(programs, repeats)
        ratio = statistics.median(b / a for a, b in zip(mine, other, strict=True))
        rates = [quartiles(settings["steps"] / 1e3 / x for x in seconds) for seconds in (mine, other)]
        medians = (f"{statistics.median(x):.1f} s" for x in zip(*compiles, strict=True))
        rows.append((describe(algorithm, settings), *rates, f"{ratio:.2f}", *medians))
        print(plain_table([rows[0], rows[-1]]), flush=True)
    return plain_table(rows), versions


def started(start):
    with start() as program:
        return program.facts["compile"]


def quartiles(numbers):
    """The median, and between what half of the numbers are."""
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def both_gears(repeats):
    """The same function as a Python loop and compiled."""
    rows = [("", "compiled", "Python", "factor")]
    for algorithm, settings in GEARS:
        with contextlib.ExitStack() as stack:
            functions = (f"{algorithm}_training", f"{algorithm}_python")
            programs = [Program(sys.executable, "compiled_coax", function, settings) for function in functions]
            fast, slow = in_turns([stack.enter_context(program) for program in programs], repeats)
        factor = statistics.median(b / a for a, b in zip(fast, slow, strict=True))
        columns = (f"{settings['steps'] / statistics.median(seconds):,.0f}" for seconds in (fast, slow))
        rows.append((describe(algorithm, settings), *columns, f"{factor:.0f}"))
        print(plain_table([rows[0], rows[-1]]), flush=True)
    return plain_table(rows)


def many_seeds(seeds, repeats):
    """Many trainings at once, and one after the other."""
    rows = [(f"{seeds} seeds", "at once", "one after the other", "factor", "at once compiles", "one compiles")]
    for settings in SEEDS:
        settings = {**settings, "seeds": seeds}
        with contextlib.ExitStack() as stack:
            functions = ("dqn_at_once", "dqn_in_turn")
            programs = [Program(sys.executable, "compiled_coax", function, settings) for function in functions]
            mapped, single = in_turns([stack.enter_context(program) for program in programs], repeats)
            compiles = (f"{program.facts['compile']:.1f} s" for program in programs)
            device = programs[0].facts["device"]
        factor = statistics.median(b / a for a, b in zip(mapped, single, strict=True))
        medians = (f"{statistics.median(seconds):.1f} s" for seconds in (mapped, single))
        rows.append((describe("dqn", settings), *medians, f"{factor:.2f}", *compiles))
        print(plain_table([rows[0], rows[-1]]), flush=True)
    return f"{SEEDS[0]['steps']:,} steps of each seed, on {device}:\n\n{plain_table(rows)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and a quarter of the steps")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {PAGE.name}")
    parser.add_argument("--seeds", type=int, default=64, help="how many trainings to map over, e.g. 1024 on a GPU")
    parser.add_argument("--only", choices=("ppo", "dqn", "gears", "seeds"), help="one part alone")
    given = parser.parse_args()
    repeats = 3 if given.quick else 11
    parts, versions = [], {"jax": metadata.version("jax")}
    tasks = [task for task in TASKS if given.only in (None, task[0])]
    if given.quick:
        tasks = [(algorithm, {**settings, "steps": settings["steps"] // 4}) for algorithm, settings in tasks]
    for peer in PEERS if tasks else ():
        table, found = beside(peer, tasks, repeats, starts=1 if given.quick else 3)
        parts.append(f"Thousands of steps per second, medians with quartiles:\n\n{table}")
        versions |= found
    if given.only in (None, "gears"):
        parts.append(f"Steps per second of the same functions:\n\n{both_gears(repeats)}")
    if given.only in (None, "seeds"):
        parts.append(many_seeds(given.seeds, 1 if given.quick else 3))
    names = ", ".join(f"{name} {x}" for name, x in versions.items())
    parts.append(f"{machine()}; Python {sys.version.split()[0]}, {names}.")
    report = "\n\n".join(parts)
    print(f"\n{report}")
    if given.write:
        write_page(PAGE, MARK, report)


if __name__ == "__main__":
    main()
