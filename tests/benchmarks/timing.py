"""Interleaved timing in one process, and of fresh processes; a table of the results."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from typing import NamedTuple


class Row(NamedTuple):
    """A line of the table; times in microseconds, of whole processes in milliseconds."""

    name: str
    coax: float
    by_hand: float
    ratio: float
    budget: float | None


def compare(name, pair, budget, repeats, calls):
    """Time two functions of no arguments, in turns.

    Parameters
    ----------
    name : str
    pair : (callable, callable) or (callable, callable, callable)
        What coax does, what is written by hand, and how to wait for what is still running.
    budget : float or None
        How large the ratio may be.
    repeats, calls : int
        How many turns, and how many calls in each.

    Returns
    -------
    Row
        Medians over the repeats; the ratio is the median of the ratios of neighbours, which drift does not touch.
    """
    mine, other, *rest = pair
    wait = rest[0] if rest else lambda: None
    for _ in range(20):
        mine()
        other()
    wait()
    times = [(_per_call(mine, wait, calls), _per_call(other, wait, calls)) for _ in range(repeats)]
    coax, by_hand = (statistics.median(column) for column in zip(*times, strict=True))
    return Row(name, coax, by_hand, statistics.median(a / b for a, b in times), budget)


def _per_call(func, wait, calls):
    start = time.perf_counter()
    for _ in range(calls):
        func()
    wait()
    return 1e6 * (time.perf_counter() - start) / calls


def compare_processes(modules, budget, repeats):
    """Run programs in fresh processes, in turns; each prints how long after its start it reached what it names.

    Without a compilation cache.

    Returns
    -------
    list of Row
        In milliseconds, one for each thing that was reached.
    """
    runs = [tuple(_reached(module) for module in modules) for _ in range(repeats)]
    rows = []
    for what in runs[0][0]:
        pairs = [(mine[what], other[what]) for mine, other in runs]
        coax, by_hand = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(Row(what, coax, by_hand, statistics.median(a / b for a, b in pairs), budget.get(what)))
    return rows


def _reached(module):
    environ = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", module], capture_output=True, text=True, check=True, env={**environ, "PYTHONPATH": "."}
    )
    lines = (line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    return {what: 1e3 * (float(when) - start) for what, when in lines}


def as_table(rows, columns=("coax", "by hand")):
    """Plain text that is also a table of reStructuredText."""
    cells = [("", *columns, "ratio", "budget")]
    for row in rows:
        budget = "" if row.budget is None else f"{row.budget:.3g}"
        cells.append((row.name, f"{row.coax:.1f}", f"{row.by_hand:.1f}", f"{row.ratio:.2f}", budget))
    return plain_table(cells)


def plain_table(cells):
    """The same of any rows of texts, the first of which is the head; all columns but the first are numbers."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = []
    for name, *numbers in cells:
        name_width, *number_widths = widths
        aligned = (text.rjust(width) for text, width in zip(numbers, number_widths, strict=True))
        lines.append("  ".join([name.ljust(name_width), *aligned]).rstrip())
    if not cells[0][0]:  # an empty first cell of a header would make the row a continuation
        lines[0] = "\\" + lines[0][1:]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def write_page(page, mark, report):
    """Put a report into a page, in place of all that comes after a mark."""
    head, mark, _ = page.read_text().partition(mark)
    page.write_text(f"{head}{mark}\n{report}\n")


def machine():
    """The machine, in a line."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, load {os.getloadavg()[0]:.1f}"
