"""All benchmarks, one after another: ``python -m tests.benchmarks --write`` renews the tables on all their pages.

``--quick`` is rougher, where a benchmark has that; ``--only loop replay`` runs these alone. All of them take
some hours on two cores, ``learning`` the longest.
"""

import argparse
import subprocess
import sys
import time

# What each is called with besides --write, and whether it has --quick.
COMMANDS = {
    "loop": ((), True),
    "replay": ((), True),
    "compiled": ((), True),
    "checkpoint": ((), True),
    "atari": ((), False),
    "learning": (("all",), False),
}


def commands(only=None, write=False, quick=False):
    """The command lines of the benchmarks, by name."""
    for name, (arguments, has_quick) in COMMANDS.items():
        if name in (only or COMMANDS):
            flags = ["--write"] * write + ["--quick"] * (quick and has_quick)
            yield name, [sys.executable, "-m", f"tests.benchmarks.{name}", *arguments, *flags]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the results into doc/benchmarks/")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--only", nargs="+", choices=tuple(COMMANDS), help="these alone")
    given = parser.parse_args(arguments)
    failed = []
    for name, command in commands(given.only, given.write, given.quick):
        print(f"=== {' '.join(command[1:])}", flush=True)
        start = time.perf_counter()
        code = subprocess.run(command).returncode  # the others run all the same
        failed += [name] * (code != 0)
        print(f"=== {name}: exit code {code}, {(time.perf_counter() - start) / 60:.1f} minutes", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
