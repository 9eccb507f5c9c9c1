"""The code on each page of the documentation runs, from top to bottom."""

import ast
import pathlib
import re
import textwrap

import numpy as np
import pytest

from tests.pages import BLOCK, DIRECTIVE, DOC, KNOWN, blocks, pages, path_of, run

# Pages that need modules of extras.
NEEDS = {
    "getting_started/cartpole": ("matplotlib",),
    "getting_started/frozen_lake": ("matplotlib",),
    "getting_started/pendulum": ("matplotlib",),
    "guides/seeing": ("matplotlib", "PIL", "pygame"),
}

# Pages whose code runs elsewhere: in processes of its own, by tests/test_several_devices.py.
ELSEWHERE = {"guides/several_devices"}

README = DOC.parent / "README.rst"
PAGES = [page for page in pages() if page not in ELSEWHERE and any(blocks(page))]
CHECKS = {}


def states(page):
    """What is to hold after a page has run; worked out independently of it."""
    return lambda check: CHECKS.setdefault(page, check)


@pytest.mark.gate
@pytest.mark.parametrize("page", PAGES)
def test_the_code_runs(page, tmp_path, monkeypatch):
    for module in NEEDS.get(page, ()):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    CHECKS.get(page, dict)(run(page))


@pytest.mark.parametrize("page", pages())
def test_no_block_of_code_slips_through(page):
    directives = DIRECTIVE.findall(path_of(page).read_text())
    assert [line for line in directives if not KNOWN.fullmatch(line)] == []
    assert sum(line.endswith(" python") for line in directives) == len(BLOCK.findall(path_of(page).read_text()))


def test_the_program_of_the_readme_is_the_example():
    """But for comments, docstrings and imports: its statements are those of the example, in the same order."""
    code = re.search(r"\.\. code:: python\n\n((?:    .*\n|\n)+)", README.read_text())[1]
    shown, program = map(
        statements, (textwrap.dedent(code), (DOC.parent / "examples/frozen_lake/qlearning.py").read_text())
    )
    assert len(shown) == 8
    begin = program.index(shown[0])
    assert program[begin : begin + len(shown)] == shown


def statements(code):
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            del node.body[0]
    return [ast.unparse(node) for node in tree.body]


def test_the_tables_name_pages():
    assert ELSEWHERE | NEEDS.keys() | CHECKS.keys() <= set(pages())


@states("guides/compiled_loops")
def _(space):
    assert space["losses"].shape == (1000,)
    assert space["metrics"]["PPOClip/loss"].shape == (10, 16)
    assert space["lengths"].min() >= 8  # no pole falls sooner
    assert space["walks"].observation.tolist() == [5] * 64


@states("guides/many_seeds")
def _(space):
    # the learning rates rise from 0.01; with the lowest, 2,000 steps do not take the values from 1 to those of the way
    # to the goal, and with the highest they do
    returns = np.asarray(space["returns"])
    assert returns.shape == (64,)
    assert returns[-16:].mean() > returns[:16].mean()
    optimizer_state = space["states"][space["qlearning"]]["optimizer_state"]
    np.testing.assert_array_equal(optimizer_state.hyperparams["learning_rate"], space["rates"])


@states("guides/normalizing")
def _(space):
    # 500 steps and the first observations of three episodes, the last of which begins after step 400
    assert space["observations"].count == 500 + 3
    assert space["envs"].normalizer.count == 4 * (500 - 2)  # two rows of each only begin an episode
    # 640 steps of 8, and episodes that begin after 200, 400 and 600 steps
    assert space["compiled"].normalizer.count == 8 * (640 + 4)
    assert space["scaled"].normalizer.count == 8 * 640
    assert space["returns"].shape == (2,)
    assert (space["normalizer"].count, space["rewards"].count) == (800, 800)


@states("guides/seeing")
def _(space):
    # a random walk reaches the goal in 1.4 of 100 episodes, and the best policy in 89.4
    small, large = (space["curves"][f"step size {rate}"] for rate in (0.05, 0.5))
    assert small.seeds.shape[0] == large.seeds.shape[0] == 5
    assert 0.4 < small.mean[-5:].mean() < 0.894
    assert (small.low <= small.mean).all()
    assert (small.mean <= small.high).all()
    # thirteen steps from the start above the cliff
    assert space["table"][36].max() == -13
    shown = set(re.findall(r"^\.\. image:: \.\./pictures/(\S+)", path_of("guides/seeing").read_text(), re.MULTILINE))
    assert shown == {path.name for path in pathlib.Path.cwd().iterdir() if path.is_file()}
    assert max((DOC / "pictures" / name).stat().st_size for name in shown) < 200_000


@states("guides/watching")
def _(space):
    assert len(space["returns"]) == len(space["objects"]) > 20
    assert set(space["returns"]) <= {0.0, 1.0}
    assert [row["T"] for row in space["objects"]] == [int(row["T"]) for row in space["rows"]]
    written = pathlib.Path("runs/lake.csv").read_text().splitlines()
    steps = [int(line.split(",")[1]) for line in written[1:]]
    assert steps == sorted(steps)
    assert len(steps) > len(space["rows"])  # those of the second half came after them
    assert steps[-1] > 900


@states("guides/saving")
def _(first):
    assert first["env"].num_envs == 8
    assert len(first["checkpointer"].steps) == 3
    assert first["turns_checkpointer"].steps == [200, 400]
    assert len(first["vector_checkpointer"].steps) == 3
    assert first["found"] is None
    # once more: each loop finds where it was
    again = run("guides/saving")
    assert again["found"]["loop"]["t"] == 400
    assert again["vector_checkpointer"].step == first["vector_checkpointer"].step
    table, found = (space["q_best"].params["linear"]["w"] for space in (first, again))
    assert np.abs(table).max() > 0
    np.testing.assert_array_equal(found, table)


@states("getting_started/frozen_lake")
def _(space):
    # six steps to the goal, the last one rewarded, from each of the cells on the two shortest ways to the left of it
    table = np.asarray(space["q"].params["linear"]["w"])
    cells, values = [0, 4, 8, 9, 13, 14], 0.9 ** np.array([5, 4, 3, 2, 1, 0])
    np.testing.assert_allclose(table[cells].max(axis=1), values, rtol=0.02)
    # and the map on the page shows ways there
    shown = "".join(
        re.findall(r"^    ([←↓→↑HG]{4})$", path_of("getting_started/frozen_lake").read_text(), re.MULTILINE)
    )
    arrows = ["←↓→↑".index(shown[cell]) for cell in cells]
    np.testing.assert_allclose(table[cells, arrows], values, rtol=0.02)
    assert space["lengths"].tolist() == [6] * 10


@states("getting_started/cartpole")
def _(space):
    # a random policy lasts for 22 steps, and 195 is what Gymnasium calls solved with a limit of 200
    assert space["lengths"].mean() > 195
    assert space["curves"]["DQN"].seeds.shape[0] == 1


@states("getting_started/pendulum")
def _(space):
    # one that hangs still gets 200 times -(pi ** 2), and one that moves at random about -1200
    assert space["returns"].mean() > -500
    assert np.abs(space["a"]).max() <= 2


@states("guides/three_gears")
def _(space):
    assert space["lengths"].mean() > 195
    assert len(space["buffer"]) == 20_000


@states("guides/coming_from_coax")
def _(space):
    # six steps from the start to the goal
    assert (space["returns"].tolist(), space["lengths"].tolist()) == ([1] * 5, [6] * 5)


@states("guides/coming_from_others")
def _(space):
    # 4,096 steps are 8 rollouts of 512, each with 4 passes of 4 minibatches; T counts a step or a reset of each
    assert space["updates"] == 8 * 4 * 4
    assert space["envs"].T == 4_096 + 4
    assert space["returns"].min() >= 8  # no pole falls sooner


@states("guides/slow_loops")
def _(space):
    assert (space["again"], space["other_size"]) == ([], ["QLearning.update"])


@states("algorithms/behaviour_cloning")
def _(space):
    assert space["agreement"] > 0.95  # of two actions
