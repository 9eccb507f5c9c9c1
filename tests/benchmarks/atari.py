"""How fast DQN plays and learns Pong from the screen, and how much memory it takes.

Run ``python -m tests.benchmarks.atari``, with the extra ``atari`` installed. It runs ``examples/atari/dqn.py`` for
100,000 frames, with a replay buffer that is full at half of them. ``--write`` puts the table into
``doc/benchmarks/atari.rst``. Linux only: the memory is what the kernel says of the process.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from .timing import machine, plain_table, write_page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "doc" / "benchmarks" / "atari.rst"
MARK = ".. the table is written by the command above\n"
FRAMES, SKIP = 100_000, 4
HEAD = ("frames", "frames per second", "memory in MB", "buffer")


def play():
    """Lines of the table, about one for each tenth of the way."""
    steps = FRAMES // SKIP
    env = {**os.environ, "COAX_STEPS": str(steps), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / "atari" / "dqn.py")]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        before, asked, last = (time.perf_counter(), 0), 0, ""
        for text in process.stderr:
            last = text
            found = re.search(r"T: ([\d,]+)", text)
            taken = int(found[1].replace(",", "")) if found else 0
            if taken < asked:
                continue
            now = time.perf_counter(), taken
            if taken > before[1]:
                rate = SKIP * (now[1] - before[1]) / (now[0] - before[0])
                full = "full" if taken > steps // 2 else ""
                yield f"{SKIP * taken:,}", f"{rate:.0f}", f"{resident(process.pid):.0f}", full
                before, asked = now, taken + steps // 10
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {last.strip()}. Fix: pip install -e '.[atari]'")


def resident(pid):
    """The memory of a process, in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    given = parser.parse_args()
    lines = []
    for line in play():
        lines.append(line)
        print(*line, flush=True)
    names = ("jax", "numpy", "gymnasium", "ale-py")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    report = f"{plain_table([HEAD, *lines])}\n\n{machine()}; Python {sys.version.split()[0]}, {versions}."
    print(report)
    if given.write:
        write_page(PAGE, MARK, report)


if __name__ == "__main__":
    main()
