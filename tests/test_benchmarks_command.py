"""The command that renews the tables of all benchmarks."""

import sys

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import learning
from tests.pages import DOC


def test_each_page_has_its_benchmark():
    assert set(command.COMMANDS) == {path.stem for path in (DOC / "benchmarks").glob("*.rst")} - {"index"}


def test_each_program_is_on_the_page_and_reaches_its_gate():
    lines = learning.lines_of(learning.PAGE.read_text())
    assert list(lines) == [row.name for row in learning.ROWS]
    for row in learning.ROWS:
        _, _, steps, returns, mean, _, gate, _ = lines[row.name]
        assert (steps, gate, len(returns.split())) == (f"{row.steps:,}", f"{row.gate:g}", row.seeds)
        assert float(mean) >= row.gate
        assert (DOC / "pictures/curves" / f"{row.name}.png").is_file()
        assert len(list((DOC / "benchmarks/curves" / row.name).glob("*.csv"))) == row.seeds


def test_the_commands():
    found = dict(command.commands(write=True, quick=True))
    assert found["loop"] == [sys.executable, "-m", "tests.benchmarks.loop", "--write", "--quick"]
    assert found["learning"] == [sys.executable, "-m", "tests.benchmarks.learning", "all", "--write"]
    assert list(dict(command.commands(only=["replay"]))) == ["replay"]


@pytest.mark.parametrize(("code", "says"), [(0, ""), (3, "failed: loop, replay\n")])
def test_one_that_fails_does_not_stop_the_others(monkeypatch, capsys, code, says):
    def commands(*_):
        return [(name, [sys.executable, "-c", f"raise SystemExit({code})"]) for name in ("loop", "replay")]

    monkeypatch.setattr(command, "commands", commands)
    assert command.main(["--write"]) == min(code, 1)
    out = capsys.readouterr().out
    assert f"=== replay: exit code {code}, 0.0 minutes\n{says}" in out
