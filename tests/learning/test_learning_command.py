"""The command that trains the examples: what it computes, the page and the curves that it writes."""

import importlib.util

import numpy as np
import pytest

import coax
from tests.benchmarks import learning


def cells(name, mean):
    return (name, "CartPole-v1", "50,000", "500 499 498", mean, "499.0", "475", "33")


def test_the_page_keeps_what_was_not_measured(tmp_path, monkeypatch):
    page = tmp_path / "page.rst"
    page.write_text("Text of two lines\nwith a rest.\n\n" + learning.MARK)
    monkeypatch.setattr(learning, "PAGE", page)
    monkeypatch.setattr(learning, "ROWS", [learning.Row(name, "", 1, 1.0) for name in ("one", "two", "three")])
    monkeypatch.setattr(learning, "here", lambda: "a machine; Python 3.11.")
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
        "\nThe latest of these were measured on a machine; Python 3.11.\n"
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
    lines = {row.name: cells[:-1] for row, cells, _ in learning.measure(rows, None)}
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
    ((_, line, _),) = learning.measure([learning.Row("three", str(script), 10, 34.5)], 1)
    assert line[3] == "30"


# The rewards of three steps with a monitor: 1 + 2 + 3 in each episode of the first seed, ten times that in the second.
WITH_MONITOR = SCRIPT.replace(
    'float(os.environ["COAX_STEPS"]) + float(os.environ["SEED"])', 'self.t * 10.0 ** int(os.environ["SEED"])'
).replace(
    'env = gymnasium.make("ThreeSteps-v0")',
    """
import coax

env = coax.wrappers.TrainMonitor(gymnasium.make("ThreeSteps-v0"))
for _ in range(4):
    env.reset()
    for _ in range(3):
        env.step(0)
test_env = gymnasium.wrappers.TransformReward(gymnasium.make("ThreeSteps-v0"), lambda r: -r)
""",
)


@pytest.mark.gate
def test_the_curve_of_each_seed(tmp_path):
    # Each episode is a reset and three steps: they end at T = 4, 8, 12, 16, in hundredths of 200 steps, so two wide.
    script = tmp_path / "script.py"
    script.write_text(WITH_MONITOR)
    ((_, cells, curves),) = learning.measure([learning.Row("three", str(script), 200, 0.0)], 2)
    assert curves == {0: [(T, 6.0) for T in (4, 8, 12, 16)], 1: [(T, 60.0) for T in (4, 8, 12, 16)]}
    assert cells[:5] == ("three", "ThreeSteps-v0", "200", "-6 -60", "-33.0")  # in the test_env, whose rewards are -r


def test_a_curve_is_thinned_to_hundredths():
    # Of a way of 1,000 each part is 10: (0, 10], (10, 20], ...; what comes after the end goes on in that manner.
    episodes = [(1, 1.0), (10, 2.0), (11, 5.0), (995, 7.0), (1_000, 9.0), (1_001, 4.0)]
    assert learning.thinned(episodes, 1_000) == [(10, 1.5), (20, 5.0), (1_000, 8.0), (1_010, 4.0)]
    assert learning.thinned([], 1_000) == []


def test_an_interval_without_the_end_of_an_episode_is_no_point():
    returns = learning.Returns()
    returns.write(5, {"G": float("nan"), "t": 0}, {})
    returns.write(10, {"G": -3.0, "t": 2}, {})
    assert returns.episodes == [(10, -3.0)]


def test_the_monitors_of_a_program_are_watched(monkeypatch):
    for name in ("TrainMonitor", "DeviceTrainMonitor"):
        monkeypatch.setattr(coax.wrappers, name, getattr(coax.wrappers, name))
    returns = learning.watch(2_000)  # a hundredth of which is 20
    env = coax.wrappers.DeviceTrainMonitor(coax.envs.JaxVectorEnv(coax.envs.CartPole(), 4), every=1_000, level="ERROR")
    for _ in range(100):
        env.step(np.array([0, 1, 0, 1]))
    assert env.every == 20
    assert 0 < len(returns.episodes) <= 20


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "CURVES", tmp_path / "curves")
    monkeypatch.setattr(learning, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(learning, "SHOWN", tmp_path / "shown")
    monkeypatch.setattr(learning, "PAGE", tmp_path / "page.rst")
    (tmp_path / "page.rst").write_text(learning.MARK)
    return tmp_path


def test_curves_are_files_that_can_be_drawn(folders):
    learning.write_curves("dqn", {0: [(5, 1.0), (10, 3.25)], 1: [(5, 2.0), (10, 4.0)]})
    assert (folders / "curves" / "dqn" / "0.csv").read_text() == "T,G\n5,1\n10,3.25\n"
    drawn = coax.plotting.seed_curves(folders / "curves" / "dqn", points=2)["dqn"]
    np.testing.assert_array_equal(drawn.steps, [5, 10])
    np.testing.assert_array_equal(drawn.seeds, [[1, 3.25], [2, 4]])


def test_curves_replace_those_of_the_same_name_only(folders):
    learning.write_curves("dqn", {0: [(5, 1.0)], 1: [(5, 2.0)]})
    learning.write_curves("ppo", {0: [(5, 3.0)]})
    learning.write_curves("dqn", {0: [(5, 4.0)]})
    found = {str(path.relative_to(folders)): path.read_text() for path in folders.rglob("*.csv")}
    assert found == {"curves/dqn/0.csv": "T,G\n5,4\n", "curves/ppo/0.csv": "T,G\n5,3\n"}


def test_a_program_without_a_monitor_has_no_curve(folders):
    learning.write_curves("dqn", {0: []})
    assert not list(folders.rglob("*.csv"))
    learning.draw(learning.Row("dqn", "dqn.py", 10, 1.0))
    assert not (folders / "pictures").exists()


def test_a_picture_is_drawn_of_the_curves_that_are_there(folders, monkeypatch):
    pytest.importorskip("matplotlib")
    rows = [learning.Row(name, "", 10, 1.0) for name in ("dqn", "ppo")]
    monkeypatch.setattr(learning, "ROWS", rows)
    learning.write_curves("ppo", {0: [(5, 1.0), (10, 3.0)], 1: [(5, 2.0), (10, 4.0)]})
    assert learning.main(["all", "--draw"]) == 0
    sizes = {path.name: path.stat().st_size for path in (folders / "pictures").iterdir()}
    assert sorted(sizes) == ["ppo.png", "ppo.small.png"]
    assert sizes["ppo.small.png"] < sizes["ppo.png"] < 60_000


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
        return [(row, cells(row.name, "-90.0"), {0: [(1, -90.0)]}) for row in rows]

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


def test_what_an_algorithms_page_includes(folders):
    row = learning.Row("dqn", "cartpole/dqn.py", 10, 1.0)
    learning.show(row)
    assert (folders / "shown" / "dqn.txt").read_text() == (folders / "shown" / "dqn.small.txt").read_text() == ""
    learning.write([cells("dqn", "498.5")])
    learning.show(row)
    table = "\n".join((folders / "shown" / "dqn.txt").read_text().splitlines()[2:])
    assert table in (folders / "page.rst").read_text()
    assert "498.5" in table
    assert "image" not in (folders / "shown" / "dqn.txt").read_text()
    learning.write_curves("dqn", {0: [(5, 1.0)], 1: [(5, 2.0)]})
    (folders / "pictures").mkdir()
    (folders / "pictures" / "dqn.png").touch()
    learning.show(row)
    shown = (folders / "shown" / "dqn.txt").read_text()
    assert shown.startswith(
        ".. image:: /pictures/curves/dqn.png\n"
        "   :alt: return of the training episodes of examples/cartpole/dqn.py over steps, 2 seeds\n"
    )
    assert "\n``python -m tests.benchmarks.learning dqn --write`` trained these policies:\n\n====" in shown
    small = (folders / "shown" / "dqn.small.txt").read_text()
    assert small.splitlines() == [
        ".. image:: /pictures/curves/dqn.small.png",
        shown.splitlines()[1],
        "   :width: 130",
    ]


def test_the_page_and_the_curves_are_written_when_asked(measured, folders, monkeypatch, capsys):
    page = folders / "page.rst"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # where matplotlib is missing
    learning.main(["all"])
    assert page.read_text() == learning.MARK
    assert not (folders / "curves").exists()
    learning.main(["all", "--write"])
    assert list(learning.lines_of(page.read_text())) == ["good", "bad"]
    assert sorted(path.parent.name for path in folders.rglob("0.csv")) == ["bad", "good"]
    assert sorted(path.name for path in (folders / "shown").iterdir()) == [
        "bad.small.txt",
        "bad.txt",
        "good.small.txt",
        "good.txt",
    ]
    assert "no picture of bad, since matplotlib is missing" in capsys.readouterr().out


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


def test_all_that_was_measured_is_shown():
    measured = learning.lines_of(learning.PAGE.read_text())
    shown = {path.name.partition(".")[0] for path in learning.SHOWN.iterdir()}
    assert set(measured) <= shown <= {row.name for row in learning.ROWS}
    for name, line in measured.items():
        assert learning.table([line]) in (learning.SHOWN / f"{name}.txt").read_text()


def test_the_page_in_the_documentation_has_a_place_for_the_table():
    assert learning.PAGE.read_text().count(learning.MARK) == 1
