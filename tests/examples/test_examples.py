"""Every example runs on its own, top to bottom, in a short form."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
NAMES = [path.relative_to(ROOT / "examples").as_posix() for path in EXAMPLES]

# The 4x4 lake as it is printed: an arrow for each state that one can leave, and the holes and the goal where they are.
LAKE = re.compile(r"[←↓→↑]{4}\n[←↓→↑]H[←↓→↑]H\n[←↓→↑]{3}H\nH[←↓→↑]{2}G\n")


def run(path, **settings):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "JAX_PLATFORMS": "cpu", **settings}
    # Box2D itself warns when it is imported, and crashes if that is an error
    command = [sys.executable, "-W", "error", "-W", "ignore:builtin type:DeprecationWarning", str(path)]
    return subprocess.run(command, env=env, cwd=path.parent, capture_output=True, encoding="utf-8")


def test_there_are_examples():
    assert "frozen_lake/qlearning.py" in NAMES


@pytest.mark.parametrize("path", EXAMPLES, ids=NAMES)
def test_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100


@pytest.mark.gate
@pytest.mark.parametrize("path", EXAMPLES, ids=NAMES)
def test_runs_for_300_steps(path):
    needs = {"lunar_lander": "Box2D", "atari": "ale_py"}.get(path.parent.name)  # the extras box2d and atari
    if needs:
        pytest.importorskip(needs)
    ran = run(path, COAX_STEPS="300", COAX_SEEDS="2", COAX_PICTURE="")
    assert ran.returncode == 0, ran.stderr
    if path.parent.name == "frozen_lake":
        assert LAKE.search(ran.stdout), ran.stdout
        assert re.search(r"in \d+ of 10 episodes", ran.stdout)


@pytest.mark.gate
def test_both_kinds_of_loop_come_to_the_same():
    ran = run(ROOT / "examples/compiled/same_loop.py", COAX_STEPS="800")
    assert ran.returncode == 0, ran.stderr
    assert float(re.search(r"The values differ by (\S+) at most", ran.stdout)[1]) < 1e-5


@pytest.mark.full
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("frozen_lake/")])
def test_every_policy_on_the_frozen_lake_reaches_the_goal(name, seed):
    ran = run(ROOT / "examples" / name, SEED=str(seed))
    assert ran.returncode == 0, ran.stderr
    assert "It reaches the goal in 10 of 10 episodes." in ran.stdout


@pytest.mark.gate
def test_the_introductory_example_reaches_the_goal():
    ran = run(ROOT / "examples/frozen_lake/qlearning.py", SEED="13")
    assert ran.returncode == 0, ran.stderr
    assert "It reaches the goal in 10 of 10 episodes." in ran.stdout
    assert "[TrainMonitor|INFO] ep: 100," in ran.stderr
