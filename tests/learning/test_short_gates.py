"""The short form of the gates: one seed, fewer steps and half the way, by what the command itself does."""

import pytest

from tests.benchmarks import learning

ROWS = {row.name: row for row in learning.ROWS}


@pytest.mark.gate
@pytest.mark.parametrize(
    ("name", "steps", "gate"),
    [
        ("dqn", 25_000, 240),
    ],
)
def test_one_seed(name, steps, gate):
    cells = learning.measure(ROWS[name]._replace(steps=steps, gate=gate), n_seeds=1)
    assert float(cells[learning.HEAD.index("mean")]) >= gate
