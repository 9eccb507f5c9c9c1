"""What is in the files when a process ends, whichever way."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import coax

ENVIRON = {**os.environ, "PYTHONPATH": str(Path(coax.__file__).parents[1])}

SCRIPT = """
import contextlib, importlib.util, os, pathlib, signal, sys
import gymnasium
from coax.sinks import CSV, JSONLines, Sink, TensorBoard
from coax.wrappers import TrainMonitor

way, folder = sys.argv[1], pathlib.Path(sys.argv[2])

class Fixed(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return 0, {}

    def step(self, action):
        self.t += 1
        return self.t, float(action), self.t == 3, False, {}

sinks = [CSV(folder / "run.csv"), JSONLines(folder / "run.jsonl")]
boards = {}
if importlib.util.find_spec("tensorboardX"):
    sinks.append(TensorBoard(folder / "20240102_030405"))
    boards["tensorboard_dir"] = folder / "20240102_030406"
with TrainMonitor(Fixed(), sinks=sinks, **boards) if way == "with" else contextlib.nullcontext(
    TrainMonitor(Fixed(), sinks=sinks, **boards)
) as env:
    for action in (1, 2):
        env.reset()
        for _ in range(3):
            env.record_metrics({"loss": action})
            env.step(action)
    env.reset()
    env.step(4)
    if way in ("raise", "with"):
        raise RuntimeError("the training broke")
    if way == "exit":
        sys.exit(3)
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.gate
@pytest.mark.parametrize(("way", "code"), [("end", 0), ("raise", 1), ("exit", 3), ("kill", -9), ("with", 1)])
def test_whichever_way_it_ends(tmp_path, way, code):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, way, str(tmp_path)], capture_output=True, text=True, env=ENVIRON
    )
    assert done.returncode == code, done.stderr
    assert "ignored" not in done.stderr  # of exceptions at exit
    # the third episode was not over: only what closes the environment writes about it
    returns = [3.0, 6.0] + [4.0] * (way == "with")
    with open(tmp_path / "run.csv", newline="") as file:
        assert [float(row["G"]) for row in csv.DictReader(file)] == returns
    assert [json.loads(line)["G"] for line in (tmp_path / "run.jsonl").read_text().splitlines()] == returns
    events = tmp_path / "20240102_030405"
    if events.exists():
        reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        for path in (events, tmp_path / "20240102_030406"):
            found = reader.EventAccumulator(str(path))
            found.Reload()
            # tensorboardX writes in a thread, which may not have come to the last episode
            sure = returns[:-1] if way == "kill" else returns
            assert [x.value for x in found.Scalars("episode/return")][: len(sure)] == sure
            assert [x.value for x in found.Scalars("loss")][: len(sure)] == [1.0, 2.0][: len(sure)]


COMPILED = """
import atexit, sys, weakref
import jax, jax.numpy as jnp
import coax

if sys.argv[2] == "late":  # as if there had been no finalizer before those of the sinks
    atexit.unregister(weakref.finalize._exitfunc)
    weakref.finalize._registered_with_atexit = False
env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), num_envs=2, random_seed=0)
env = coax.wrappers.DeviceTrainMonitor(env, every=200, sinks=coax.sinks.CSV(sys.argv[1]), level=40)

def step():
    env.step(jnp.zeros(2, int))

coax.scan(step, 1000, over=env)
# as a program does that is still running on a device
jax.effects_barrier = lambda: env._sink.reports.write(7, {"ep": 1, "T": 7}, {}, {})
"""


@pytest.mark.gate
@pytest.mark.parametrize("order", ["early", "late"])
def test_a_compiled_loop_that_still_runs_at_the_end(tmp_path, order):
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, str(tmp_path / "run"), order], capture_output=True, text=True, env=ENVIRON
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "run").read_text().splitlines()) == 1 + 10 + 1


KILLED = """
import itertools, json, mmap, os, random, signal, struct, sys, time, warnings
from coax.sinks import CSV, JSONLines

folder, rng = sys.argv[1], random.Random(0)
shared = mmap.mmap(-1, 8)
warnings.simplefilter("ignore")  # jax does not like forks; none of it is used here

def put(T):
    struct.pack_into("q", shared, 0, T)

def work(first):
    sinks = [CSV(folder + "/run.csv"), JSONLines(folder + "/run.jsonl")]
    for T in itertools.count(first):
        numbers = {"ep": T, "T": T, "G": T / 3, "avg_r": 0.1, "avg_G": T / 7, "t": 3, "dt_ms": 0.1}
        for sink in sinks:
            sink.write(T, numbers, {f"metric {T // 50 % 200}": T / 11})
        put(T)

def check(last):
    import csv
    CSV(folder + "/run.csv").close()
    JSONLines(folder + "/run.jsonl").close()
    with open(folder + "/run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in open(folder + "/run.jsonl")]
    for found in (rows, lines):
        # all that was acknowledged is there, and at most one row more
        assert last <= len(found) - 1 <= last + 1, (last, len(found))
        for T, row in enumerate(found):
            assert (int(row["T"]), float(row["G"]), float(row[f"metric {T // 50 % 200}"])) == (T, T / 3, T / 11), row
    T = min(len(rows), len(lines))
    for name, found in (("run.csv", rows), ("run.jsonl", lines)):
        if len(found) > T:  # so that both go on with the same one
            path = f"{folder}/{name}"
            os.truncate(path, open(path, "rb").read()[:-1].rfind(b"\\n") + 1)
    return T

put(-1)
T = kills = 0
while kills < 60:
    child = os.fork()
    if not child:
        work(T)
    before = T - 1
    while struct.unpack_from("q", shared)[0] <= before:
        time.sleep(0.0005)
    time.sleep(rng.random() * 0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    T = check(struct.unpack_from("q", shared)[0])
    put(T - 1)
    kills += 1
print(T)
"""


@pytest.mark.gate
def test_killed_at_any_moment(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, env=ENVIRON)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 60
