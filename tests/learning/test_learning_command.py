"""The command that trains the examples: what it computes, and the page that it writes."""

import pytest

from tests.benchmarks import learning


def cells(name, mean):
    return (name, "CartPole-v1", "50,000", "500 499 498", mean, "499.0", "475", "33")


def test_the_page_keeps_what_was_not_measured(tmp_path, monkeypatch):
    page = tmp_path / "page.rst"
    page.write_text("Text of two lines\nwith a rest.\n\n" + learning.MARK)
    monkeypatch.setattr(learning, "PAGE", page)
    monkeypatch.setattr(learning, "ROWS", [learning.Row(name, "", 1, 1.0) for name in ("one", "two", "three")])
    learning.write([cells("two", "2.0")])
    learning.write([cells("one", "1.0")])
    learning.write([cells("two", "2.5")])
    assert learning.lines_of(page.read_text()) == {"one": cells("one", "1.0"), "two": cells("two", "2.5")}
    assert page.read_text() == (
        "Text of two lines\nwith a rest.\n\n"
        ".. the table is written by the command above\n\n"
        "====  ===========  ======  ===========  ====  =====  ====  =======\n"
        "name  environment  steps   returns      mean  iqm    gate  seconds\n"
        "====  ===========  ======  ===========  ====  =====  ====  =======\n"
        "one   CartPole-v1  50,000  500 499 498  1.0   499.0  475   33\n"
        "two   CartPole-v1  50,000  500 499 498  2.5   499.0  475   33\n"
        "====  ===========  ======  ===========  ====  =====  ====  =======\n"
    )


def test_the_page_has_no_lines_before_anything_is_measured():
    text_like_a_row = "one  CartPole-v1  50,000  1 2  1.0  1.0  2  3\n"
    assert learning.lines_of(text_like_a_row + learning.MARK) == {}


def test_a_name_that_is_gone_leaves_the_page(tmp_path, monkeypatch):
    page = tmp_path / "page.rst"
    page.write_text(learning.MARK + learning.table([cells("old", "1.0"), cells("one", "-2.0")]))
    monkeypatch.setattr(learning, "PAGE", page)
    monkeypatch.setattr(learning, "ROWS", [learning.Row("one", "", 1, 1.0)])
    learning.write([])
    assert learning.lines_of(page.read_text()) == {"one": cells("one", "-2.0")}


# An environment of three steps, each with a reward of COAX_STEPS + SEED, and a policy.
SCRIPT = """
import os

import gymnasium


class ThreeSteps(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(4)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return 0, {}

    def step(self, a):
        self.t += 1
        return self.t, float(os.environ["COAX_STEPS"]) + float(os.environ["SEED"]), self.t == 3, False, {}


class Still:
    def mode(self, s):
        return 0


gymnasium.register("ThreeSteps-v0", ThreeSteps)
env = gymnasium.make("ThreeSteps-v0")
pi = Still()
print("not to be seen")
"""


@pytest.mark.gate
def test_measure(tmp_path, capsys):
    # Seeds 0 to 3 with 10 steps: 3 * 10, 3 * 11, 3 * 12, 3 * 13. The mean of all is 34.5, and so is that of 33 and 36.
    # Seeds 0 and 1 with 20 steps: 60 and 63.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    rows = [learning.Row("three", str(script), 10, 34.5, seeds=4), learning.Row("two", str(script), 20, 62, seeds=2)]
    lines = {row.name: cells[:-1] for row, cells in learning.measure(rows, None)}
    assert lines == {
        "three": ("three", "ThreeSteps-v0", "10", "30 33 36 39", "34.5", "34.5", "34.5"),
        "two": ("two", "ThreeSteps-v0", "20", "60 63", "61.5", "61.5", "62"),
    }
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 4 + 2 + 2
    assert any(text.startswith("three seed 3: 39.0 (lowest 39.0) in ") for text in out)
    assert "three: mean 34.5, interquartile mean 34.5; gate 34.5 reached" in out
    assert "two: mean 61.5, interquartile mean 61.5; gate 62 MISSED" in out


@pytest.mark.gate
def test_measure_so_many_seeds(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ((_, line),) = learning.measure([learning.Row("three", str(script), 10, 34.5)], 1)
    assert line[3] == "30"


@pytest.mark.gate
def test_after_an_error_nothing_more_is_trained(tmp_path):
    broken, works = tmp_path / "broken.py", tmp_path / "works.py"
    broken.write_text("raise ValueError('no such thing')")
    works.write_text(f"import os, pathlib\npathlib.Path({str(tmp_path)!r}, os.environ['SEED']).touch()\n" + SCRIPT)
    rows = [learning.Row("broken", str(broken), 10, 0, seeds=1), learning.Row("works", str(works), 10, 0, seeds=14)]
    with pytest.raises(ValueError, match="no such thing"):
        list(learning.measure(rows, None))
    # besides those that run, up to three are handed to the processes already
    assert len(list(tmp_path.iterdir())) < 2 + 10


@pytest.fixture
def measured(monkeypatch):
    """The rows `good` and `bad`, which are not trained; what was asked of them."""
    asked = []

    def measure(rows, n_seeds):
        asked.append(([row.name for row in rows], n_seeds))
        return [(row, cells(row.name, "-90.0")) for row in rows]

    rows = [learning.Row("good", "", 1, -90), learning.Row("bad", "", 1, -89.9, seeds=3)]
    monkeypatch.setattr(learning, "ROWS", rows)
    monkeypatch.setattr(learning, "measure", measure)
    return asked


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("bad", 1), ("all", 1)])
def test_the_exit_code_tells_whether_all_gates_were_reached(name, code, measured):
    assert learning.main([name]) == code


def test_what_is_asked_for(measured):
    learning.main(["all"])
    learning.main(["good", "--seeds", "2"])
    assert measured == [(["good", "bad"], None), (["good"], 2)]


def test_the_page_is_written_when_asked(measured, tmp_path, monkeypatch):
    page = tmp_path / "page.rst"
    page.write_text(learning.MARK)
    monkeypatch.setattr(learning, "PAGE", page)
    learning.main(["all"])
    assert page.read_text() == learning.MARK
    learning.main(["all", "--write"])
    assert list(learning.lines_of(page.read_text())) == ["good", "bad"]


def test_an_unknown_name_is_refused(measured, capsys):
    with pytest.raises(SystemExit) as refused:
        learning.main(["goood"])
    assert refused.value.code == 2
    assert "expected names from good, bad, or all, got goood" in capsys.readouterr().err


def test_names_are_listed(capsys):
    assert learning.main([]) == 0
    names = capsys.readouterr().out.split()
    assert names == [row.name for row in learning.ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", learning.ROWS, ids=lambda row: row.name)
def test_the_scripts_are_there(row):
    assert (learning.ROOT / "examples" / row.script).is_file()


def test_the_page_in_the_documentation_has_a_place_for_the_table():
    assert learning.PAGE.read_text().count(learning.MARK) == 1
