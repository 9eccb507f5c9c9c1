"""Every example runs on its own, top to bottom, in a short form, and the same seed gives the same bits."""

import functools
import json
import multiprocessing
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import jax
import pytest

from tests.examples import digests as program

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
NAMES = [path.relative_to(ROOT / "examples").as_posix() for path in EXAMPLES]

# The 4x4 lake as it is printed: an arrow for each state that one can leave, and the holes and the goal where they are.
LAKE = re.compile(r"[←↓→↑]{4}\n[←↓→↑]H[←↓→↑]H\n[←↓→↑]{3}H\nH[←↓→↑]{2}G\n")


# One of each kind of loop, which run twice in the tier gate; the others do so in the tier full.
TWICE = {"frozen_lake/qlearning.py", "compiled/cartpole_dqn.py", "stubs/dqn_per.py"}


def run(path, *before, **settings):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "JAX_PLATFORMS": "cpu", **settings}
    # Box2D itself warns when it is imported, and crashes if that is an error
    command = [sys.executable, "-W", "error", "-W", "ignore:builtin type:DeprecationWarning", *before, str(path)]
    return subprocess.run(command, env=env, cwd=path.parent, capture_output=True, encoding="utf-8")


def run_here(path, out, err, settings):
    """Run a program in this process, which is there for nothing else."""
    for file, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream.fileno())
        stream.reconfigure(encoding="utf-8")
    os.environ.update(settings)
    os.chdir(path.parent)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_disable_most_optimizations", True)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "builtin type", DeprecationWarning)
    program.main(str(path))


def run_forked(path, folder, settings):
    """As `run`, in a process that has imported the packages before: that takes longer than many of the programs."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, "coax", "gymnasium", "haiku", "optax"])
    out, err = (folder / name for name in ("out", "err"))
    process = processes.Process(target=run_here, args=(path, out, err, settings))
    process.start()
    process.join()
    texts = (file.read_text(encoding="utf-8") for file in (out, err))
    return subprocess.CompletedProcess([path], process.exitcode, *texts)


@functools.cache
def run_for_300_steps(path, seed=13, hash_seed=None):
    """The program ran, and its last line says what it ended with."""
    needs = {"lunar_lander": "Box2D", "atari": "ale_py"}.get(path.parent.name)  # the extras box2d and atari
    if needs:
        pytest.importorskip(needs)
    settings = {"COAX_STEPS": "300", "COAX_SEEDS": "2", "COAX_PICTURE": "", "SEED": str(seed)}
    settings |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # most of so short a run is compiling
    if hash_seed is None:
        with tempfile.TemporaryDirectory() as folder:
            ran = run_forked(path, pathlib.Path(folder), settings)
    else:
        ran = run(path, "-m", "tests.examples.digests", PYTHONHASHSEED=str(hash_seed), **settings)
    assert ran.returncode == 0, ran.stderr
    return ran


def digests(ran):
    return json.loads(ran.stdout.splitlines()[-1])


def test_there_are_examples():
    assert "frozen_lake/qlearning.py" in NAMES


@pytest.mark.parametrize("path", EXAMPLES, ids=NAMES)
def test_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100


@pytest.mark.parametrize("path", EXAMPLES, ids=NAMES)
def test_takes_a_seed(path):
    text = path.read_text(encoding="utf-8")
    assert 'SEED = int(os.environ.get("SEED", 13))\n' in text
    assert "np.random.seed" not in text
    assert "random.seed" not in text
    for made in re.findall(r"= coax\.(?:\w+\.)?(?:Q|V|Policy|Stochastic\w+|Ensemble|\w*Buffer|\w+Env)\(.*", text):
        assert "random_seed=SEED" in made


@pytest.mark.gate
@pytest.mark.parametrize("path", EXAMPLES, ids=NAMES)
def test_runs_for_300_steps(path):
    ran = run_for_300_steps(path)
    assert len(digests(ran)) > 2
    if path.parent.name == "frozen_lake":
        assert LAKE.search(ran.stdout), ran.stdout
        assert re.search(r"in \d+ of 10 episodes", ran.stdout)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(*each, id=each[1], marks=pytest.mark.gate if each[1] in TWICE else pytest.mark.full)
        for each in zip(EXAMPLES, NAMES, strict=True)
    ],
)
def test_the_same_seed_gives_the_same_bits(path, name):
    one, other = digests(run_for_300_steps(path)), digests(run_for_300_steps(path, hash_seed=2))
    assert one == other


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(TWICE))
def test_another_seed_gives_others(name):
    path = ROOT / "examples" / name
    one, other = (digests(run_for_300_steps(path, seed)) for seed in (13, 14))
    learned = {"q", "pi", "v", "qs", "states"} & one.keys()
    assert learned
    assert all(one[each] != other[each] for each in learned)


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
