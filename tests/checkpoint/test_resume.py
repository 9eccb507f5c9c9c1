"""Training of 2N steps is training of N, saving, a new process, loading, and training of N more: every bit of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import coax
from tests.checkpoint import resumed
from tests.checkpoint.leaves import leaves

ROOT = Path(coax.__file__).parents[1]
STEPS = {  # N, somewhere within an episode
    "frozen_lake": 60,
    "dqn": 200,
    "sac": 150,
    "ppo": 1_000,
    "ppo_of_one_program": 1_000,
    "compiled": 50,
}


def start_program(case, folder, every, until):
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.checkpoint.resumed", case, folder, "--every", every, "--until", until]
    done = subprocess.run([str(x) for x in command], env=environ, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def what_differs(one, other, is_space_seeded=False):
    """The paths of leaves that are not the same in two files.

    But for the time that has passed, and generators of spaces that nobody has seeded: gymnasium makes them of dice that
    fall once for each program.
    """
    one, other = leaves(one), leaves(other)
    paths = [path for path in {**one, **other} if not path.endswith(":state/seconds")]
    if not is_space_seeded:
        paths = [path for path in paths if "space/space/generators" not in path]
    return [path for path in paths if path not in one or path not in other or one[path] != other[path]]


def check(run, case, folder, n):
    run(case, folder / "at once", 10**9, 2 * n)
    run(case, folder / "in two", n, n)
    (folder / "in two/end.safetensors").rename(folder / "half.safetensors")
    began = run(case, folder / "in two", n, 2 * n)
    assert n <= began["T"] < 2 * n
    assert what_differs(folder / "at once/end.safetensors", folder / "in two/end.safetensors", case == "sac") == []
    # which says something only if the second half did something
    changed = what_differs(folder / "half.safetensors", folder / "in two/end.safetensors")
    assert any("params" in path for path in changed)
    assert any("optimizer_state" in path for path in changed)
    assert any(path.startswith("env") for path in changed)
    return began


def test_resume_in_one_process(tmp_path):
    began = check(resumed.main, "frozen_lake", tmp_path, STEPS["frozen_lake"])
    assert began["t"] > 0


IN_GATE = ("dqn", "ppo", "compiled")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=getattr(pytest.mark, "gate" if case in IN_GATE else "full")) for case in resumed.CASES],
)
def test_resume_in_a_new_process(case, tmp_path):
    began = check(start_program, case, tmp_path, STEPS[case])
    in_episodes = [began["t"]] if isinstance(began["t"], int) else began["t"]
    assert sum(t > 0 for t in in_episodes) > len(in_episodes) / 2  # saved in the middle of episodes
    if case == "dqn":
        assert began["waiting"] == 3  # of windows of three steps
        assert began["stored"] == 128  # so that the second half writes over old transitions
    if case == "sac":
        assert 64 < began["stored"] < 1_000
    if case.startswith("ppo"):
        assert 0 < began["stored"] < 128 or began["T"] % (16 * 8)  # in the middle of a segment


@pytest.mark.gate
def test_what_is_not_named_is_not_restored(tmp_path):
    """That a difference is seen: the random stream of the policy is one."""
    n = STEPS["frozen_lake"]
    resumed.main("frozen_lake", tmp_path / "a", 10**9, n)

    class Forgetful(coax.checkpoint.Checkpointer):
        def restore_latest(self, /, **objects):
            return super().restore_latest(**{**objects, "pi": ...})

    resumed.main("frozen_lake", tmp_path / "b", n // 2, n // 2)
    began, objects = resumed.frozen_lake(Forgetful(tmp_path / "b", every=10**9), n)
    coax.save(tmp_path / "b/end.safetensors", **objects)
    assert began["T"] >= n // 2
    assert "q/params" in " ".join(what_differs(tmp_path / "a/end.safetensors", tmp_path / "b/end.safetensors"))
