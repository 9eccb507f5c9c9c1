"""The short form of the gates: one seed and about half the way, by what the command itself does."""

import pytest

from tests.benchmarks import learning

ROWS = {row.name: row for row in learning.ROWS}


@pytest.mark.parametrize(
    ("name", "steps", "gate"),
    [
        ("dqn", 50_000, 240),  # with less it does not hold for every seed
        ("sac", 6_000, -400),
    ],
)
@pytest.mark.full
def test_one_seed(name, steps, gate):
    ((_, cells, _),) = learning.measure([ROWS[name]._replace(steps=steps, gate=gate)], n_seeds=1)
    assert float(cells[learning.HEAD.index("mean")]) >= gate
