"""Batches and seeds over several devices, and over two processes, beside one device."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import jax
import numpy as np
import pytest

import coax
from tests.learners import LEARNERS, B
from tests.several_devices import code_of_the_page, keep, pure_steps, steps_of_objects

ROOT = Path(coax.__file__).parents[1]
TWO = "--xla_force_host_platform_device_count=2"
SECONDS = 600  # until a process that waits for another one is given up
PRECISIONS = {"x64": ("float64", 1e-10), "f32": ("float32", 1e-6)}

pytestmark = pytest.mark.gate  # each starts processes of its own


def start(command, flags=""):
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-W", "error", *map(str, command)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environ, cwd=ROOT, **pipes)


def outputs(*processes):
    """What processes print, all of which must end well. Where one does not, the others wait for it no longer."""
    with ThreadPoolExecutor() as pool:
        waiting = {pool.submit(process.communicate, timeout=SECONDS): process for process in processes}
        for future in as_completed(waiting):
            if future.exception() or waiting[future].returncode:
                for process in processes:
                    process.kill()
    done = [process.communicate() if future.exception() else future.result() for future, process in waiting.items()]
    ends = [(process.returncode, *end) for process, end in zip(processes, done, strict=True)]
    assert all(code == 0 for code, *_ in ends), "\n".join(
        f"ended with {code}:\n{out}\n{err}" for code, out, err in ends
    )
    return [out for out, _ in done]


def on_two_devices(folder, *wanted):
    """The numbers and the facts of the runs with these names."""
    file = folder / "numbers.npz"
    (out,) = outputs(start(["-m", "tests.several_devices", file, *wanted], TWO))
    return np.load(file), json.loads(out)


def assert_equal(numbers, what, tolerance):
    """The numbers of one device and those of two, under the same names."""
    ones = [name for name in numbers if name.startswith(f"{what}|one|")]
    twos = [name for name in numbers if name.startswith(f"{what}|two|")]
    assert ones
    assert [name.replace("|one|", "|two|") for name in ones] == twos
    for one, two in zip(ones, twos, strict=True):
        assert numbers[one].dtype == numbers[two].dtype
        assert np.isfinite(numbers[one]).all()
        np.testing.assert_allclose(numbers[two], numbers[one], rtol=tolerance, atol=tolerance, err_msg=one)


def assert_split_updates(numbers, facts, name):
    for precision, (dtype, tolerance) in PRECISIONS.items():
        what = f"{name} {precision}"
        assert_equal(numbers, what, tolerance)
        moved = facts[what]["collectives"]
        assert moved["all-reduce"] >= 24  # numbers: the gradient of 3 x 8 weights
        # The batch stays where it is: of 8 rows of 3 numbers, each device only offers one to stand in for dead rows.
        assert {name: most for name, most in moved.items() if name != "all-reduce"} == {"all-gather": 2}
        assert facts[what]["outputs are replicated"]
        assert facts[what]["batches are halves"]
        assert facts[what]["dtype"] == dtype


def assert_split_seeds(numbers, facts, name):
    what = f"seeds {name}"
    assert_equal(numbers, what, 1e-6)
    assert facts[what] == {"collectives": {}, "seeds are halves": True}


# --- two devices


@pytest.fixture(scope="module")
def dqn(tmp_path_factory):
    return on_two_devices(tmp_path_factory.mktemp("dqn"), "dqn", "seeds dqn", "objects")


def test_batches_over_two_devices(dqn):
    assert_split_updates(*dqn, "dqn")


def test_seeds_over_two_devices(dqn):
    assert_split_seeds(*dqn, "dqn")


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in LEARNERS if name != "dqn"])
def test_others_over_two_devices(name, tmp_path):
    runs = on_two_devices(tmp_path, name, f"seeds {name}")
    assert_split_updates(*runs, name)
    assert_split_seeds(*runs, name)


def test_objects_on_two_devices(dqn):
    numbers, facts = dqn
    assert_equal(numbers, "objects", 1e-6)
    assert facts["objects"]["states are replicated"]


def test_what_goes_wrong_on_two_devices(dqn):
    facts = dqn[1]["objects"]
    assert facts["not finite"].startswith(
        "RuntimeError: QLearning: the gradient of params['linear']['b'] was not finite"
    )
    assert facts["nothing changed"]
    assert facts["state on one device"].startswith("ValueError: Received incompatible devices for jitted computation")


@pytest.mark.full
def test_whole_loops_of_seeds_on_two_devices(tmp_path):
    numbers, facts = on_two_devices(tmp_path, "loops")
    assert_equal(numbers, "loops", 1e-5)
    assert facts["loops"] == {"seeds are halves": True}


def test_the_code_on_the_page(tmp_path):
    numbers, facts = on_two_devices(tmp_path, "page")
    assert_equal(numbers, "page", 1e-6)
    assert facts["page"] == {"states are replicated": True, "seeds are halves": True}


# --- two processes


def address():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.mark.full  # in the gate, the program on the page is of two processes
def test_two_processes(tmp_path):
    at, files = address(), [tmp_path / f"{i}.npz" for i in range(2)]
    outs = outputs(*(start(["-m", "tests.several_devices", file, "--process", i, at]) for i, file in enumerate(files)))
    facts = [json.loads(out.splitlines()[-1]) for out in outs]
    assert facts[0] == facts[1]
    assert len(facts[0].pop("devices")) == 2
    one = {}
    for precision in PRECISIONS:
        with jax.enable_x64(precision == "x64"):
            keep(f"dqn {precision}", "one", pure_steps("dqn")[:2], one)
        assert facts[0][f"dqn {precision}"]["collectives"]["all-reduce"] >= 24
        assert facts[0][f"dqn {precision}"]["rows here"] == [B // 2]
    outs, objs = steps_of_objects()
    keep("objects", "one", (outs, [obj.state for obj in objs]), one)
    for file in files:
        numbers = {**one, **np.load(file)}
        for what, tolerance in (("dqn x64", 1e-10), ("dqn f32", 1e-6), ("objects", 1e-6)):
            assert_equal(numbers, what, tolerance)


def test_the_program_on_the_page(tmp_path):
    at, program = address(), tmp_path / "train.py"
    program.write_text(code_of_the_page()[1])
    first, second = outputs(*(start([program, at, i]) for i in range(2)))
    assert first.splitlines()[-1] == second.splitlines()[-1]
    assert first.splitlines()[-1].startswith("The last loss over all 64 rows: 0.")
