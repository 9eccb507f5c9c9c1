"""The code on the pages of the documentation runs, from top to bottom."""

import pathlib
import re

import numpy as np
import pytest

DOC = pathlib.Path(__file__).parents[1] / "doc"


def code_of(name):
    """What is in the code blocks of a page."""
    blocks = re.findall(r"^\.\. code:: python\n\n((?:    .*\n|\n)+)", (DOC / name).read_text(), re.MULTILINE)
    return "\n".join(re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks)


def run(name):
    space = {}
    exec(compile(code_of(name), name, "exec"), space)
    return space


@pytest.mark.gate
def test_compiled_loops():
    space = run("compiled_loops.rst")
    assert space["losses"].shape == (1000,)
    assert space["metrics"]["PPOClip/loss"].shape == (10, 16)
    assert space["lengths"].min() >= 8  # no pole falls sooner
    assert space["walks"].observation.tolist() == [5] * 64


@pytest.mark.gate
def test_many_seeds():
    space = run("many_seeds.rst")
    # the learning rates rise from 0.01; with the lowest, 2,000 steps do not take the values from 1 to those of the way
    # to the goal, and with the highest they do
    returns = np.asarray(space["returns"])
    assert returns.shape == (64,)
    assert returns[-16:].mean() > returns[:16].mean()
    optimizer_state = space["states"][space["qlearning"]]["optimizer_state"]
    np.testing.assert_array_equal(optimizer_state.hyperparams["learning_rate"], space["rates"])


@pytest.mark.gate
def test_normalizers():
    space = run("normalizers.rst")
    # 500 steps and the first observations of three episodes, the last of which begins after step 400
    assert space["observations"].count == 500 + 3
    assert space["envs"].normalizer.count == 4 * (500 - 2)  # two rows of each only begin an episode
    # 640 steps of 8, and episodes that begin after 200, 400 and 600 steps
    assert space["compiled"].normalizer.count == 8 * (640 + 4)
    assert space["scaled"].normalizer.count == 8 * 640
    assert space["returns"].shape == (2,)
    assert (space["normalizer"].count, space["rewards"].count) == (800, 800)


@pytest.mark.full
def test_seeing(tmp_path, monkeypatch):
    for module in ("matplotlib", "PIL", "pygame"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    space = run("seeing.rst")
    # a random walk reaches the goal in 1.4 of 100 episodes, and the best policy in 89.4
    small, large = (space["curves"][f"step size {rate}"] for rate in (0.05, 0.5))
    assert small.seeds.shape[0] == large.seeds.shape[0] == 5
    assert 0.4 < small.mean[-5:].mean() < 0.894
    assert (small.low <= small.mean).all()
    assert (small.mean <= small.high).all()
    # thirteen steps from the start above the cliff
    assert space["table"][36].max() == -13
    shown = set(re.findall(r"^\.\. image:: (\S+)", (DOC / "seeing.rst").read_text(), re.MULTILINE))
    assert shown == {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert max((DOC / name).stat().st_size for name in shown) < 200_000


def test_watching(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = run("watching.rst")
    assert len(space["returns"]) == len(space["objects"]) > 20
    assert set(space["returns"]) <= {0.0, 1.0}
    assert [row["T"] for row in space["objects"]] == [int(row["T"]) for row in space["rows"]]
    written = (tmp_path / "runs" / "lake.csv").read_text().splitlines()
    steps = [int(line.split(",")[1]) for line in written[1:]]
    assert steps == sorted(steps)
    assert len(steps) > len(space["rows"])  # those of the second half came after them
    assert steps[-1] > 900


@pytest.mark.gate
def test_saving(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = run("saving.rst")
    assert first["env"].num_envs == 8
    assert len(first["checkpointer"].steps) == 3
    assert first["turns_checkpointer"].steps == [200, 400]
    assert len(first["vector_checkpointer"].steps) == 3
    assert first["found"] is None
    # once more: each loop finds where it was
    again = run("saving.rst")
    assert again["found"]["loop"]["t"] == 400
    assert again["vector_checkpointer"].step == first["vector_checkpointer"].step
    table, found = (space["q_best"].params["linear"]["w"] for space in (first, again))
    assert np.abs(table).max() > 0
    np.testing.assert_array_equal(found, table)
