"""TensorBoard and Weights & Biases, written for real where they are installed, and to what stands for them."""

import json
import math
import os
import struct
import subprocess
import sys
import types
from pathlib import Path
from typing import ClassVar

import gymnasium
import pytest

import coax
from coax.sinks import TensorBoard, WandB
from coax.wrappers import TrainMonitor

NUMBERS = {"ep": 1, "T": 4, "G": 8.0, "avg_r": 2.5, "avg_G": 8.5, "t": 3, "dt_ms": 0.1}


class Fixed(gymnasium.Env):
    """Episodes of three steps whose rewards are the action."""

    observation_space = gymnasium.spaces.Discrete(5)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return 0, {}

    def step(self, action):
        self.t += 1
        return self.t, float(action), self.t == 3, False, {}


def play(env, *actions):
    env.reset()
    for action in actions:
        env.step(action)


# --- TensorBoard


class Writer:
    made: ClassVar[list] = []

    def __init__(self, directory):
        self.directory, self.scalars, self.histograms, self.open = directory, [], [], True
        Writer.made.append(self)

    def add_scalar(self, name, value, global_step):
        self.scalars.append((name, value, global_step))

    def add_histogram(self, name, values, global_step, bins):
        self.histograms.append((name, list(values), global_step))

    def flush(self):
        self.flushed = len(self.scalars)

    def close(self):
        self.open = False


@pytest.fixture
def writers(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    Writer.made = []
    return Writer.made


def test_scalars(writers, tmp_path):
    board = TensorBoard(tmp_path / "20240102_030405")
    assert board.directory == str(tmp_path / "20240102_030405")
    board.write(4, NUMBERS, {"a/loss": 0.5})
    assert writers[0].scalars == [
        ("episode/episode", 1.0, 4),
        ("episode/avg_reward", 2.5, 4),
        ("episode/return", 8.0, 4),
        ("episode/steps", 3.0, 4),
        ("episode/avg_step_duration_ms", 0.1, 4),
        ("a/loss", 0.5, 4),
    ]
    assert writers[0].flushed == 6
    board.close()
    board.close()
    assert not writers[0].open
    with pytest.raises(ValueError, match=r"TensorBoard\('.*20240102_030405'\) is closed\. Fix: "):
        board.write(8, NUMBERS, {})
    assert len(writers) == 1


def test_each_run_has_a_folder_of_its_own(writers, tmp_path):
    directory = Path(TensorBoard(str(tmp_path)).directory)
    assert directory.parent == tmp_path
    assert len(directory.name) == len("20240102_030405")


def test_actions_are_shown_on_each_board(writers, tmp_path):
    board = TensorBoard(tmp_path / "a")
    env = TrainMonitor(Fixed(), tensorboard_dir=tmp_path / "b", sinks=[board])
    play(env, 1, 2, 2)
    play(env, 0, 0, 1)
    assert [writer.directory for writer in writers] == [board.directory, env.tensorboard.directory]
    for writer in writers:
        assert writer.histograms == [("actions", [1, 2, 2], 4), ("actions", [0, 0, 1], 8)]
        assert [row for row in writer.scalars if row[0] == "episode/return"] == [
            ("episode/return", 5.0, 4),
            ("episode/return", 1.0, 8),
        ]
    env.close()
    assert [writer.open for writer in writers] == [False, False]


def test_every_single_metric_is_for_the_classic_folder(writers, tmp_path):
    env = TrainMonitor(Fixed(), tmp_path / "b", tensorboard_write_all=True, sinks=TensorBoard(tmp_path / "a"))
    env.reset()
    for i in range(3):
        env.record_metrics({"x": float(i)})
        env.step(0)
    found = {writer.directory: [row for row in writer.scalars if row[0] == "x"] for writer in writers}
    assert found[env.tensorboard.directory] == [("x", 0.0, 1), ("x", 1.0, 2), ("x", 2.0, 3)]
    assert found[env.sinks[0].directory] == [("x", 1.0, 4)]


def test_tensorboardX_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tensorboardX is missing\. Fix: pip install 'coax\[tensorboard\]'"):
        TensorBoard(tmp_path)


def test_real_event_files(tmp_path):
    pytest.importorskip("tensorboardX")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for T, loss in ((4, 0.5), (8, math.nan)):  # the second time, in the same folder and perhaps the same second
        board = TensorBoard(tmp_path / "20240102_030405")
        board.write(T, {**NUMBERS, "T": T}, {"a/loss": loss})
        board.close()
    events = reader.EventAccumulator(str(tmp_path / "20240102_030405"))
    events.Reload()
    assert [(x.step, x.value) for x in events.Scalars("episode/return")] == [(4, 8.0), (8, 8.0)]
    assert [x.value for x in events.Scalars("a/loss")] == [0.5, pytest.approx(math.nan, nan_ok=True)]


# --- Weights & Biases


class Run:
    id = "abc"

    def __init__(self, **kwargs):
        self.kwargs, self.rows, self.metrics, self.finished = kwargs, [], [], 0

    def define_metric(self, *args, **kwargs):
        self.metrics.append((args, kwargs))

    def log(self, row):
        self.rows.append(row)

    def finish(self):
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    module = types.SimpleNamespace(init=Run)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.mark.usefixtures("wandb")
def test_rows_of_a_run(tmp_path):
    sink = WandB(project="lake", dir=tmp_path / "deep" / "down")
    run = sink.run
    assert run.kwargs == {"project": "lake", "dir": tmp_path / "deep" / "down", "reinit": "create_new"}
    assert (tmp_path / "deep" / "down").is_dir()
    assert run.metrics == [(("T",), {}), (("*",), {"step_metric": "T"})]
    sink.write(4, NUMBERS, {"a/loss": 0.5, "G": 2.0})
    assert run.rows == [{**NUMBERS, "a/loss": 0.5, "metrics/G": 2.0}]
    assert run.finished == 0
    sink.close()
    sink.close()
    assert run.finished == 1
    with pytest.raises(ValueError, match=r"WandB\('abc'\) is closed\. Fix: "):
        sink.write(8, NUMBERS, {})


@pytest.mark.usefixtures("wandb")
def test_a_run_is_gone_on_with_by_its_id():
    assert WandB(id="x").run.kwargs == {"id": "x", "resume": "allow", "reinit": "create_new"}
    assert WandB(id="x", resume="must", reinit=True).run.kwargs == {"id": "x", "resume": "must", "reinit": True}
    run = WandB().run
    assert run.finished == 1  # when the sink was gone


@pytest.mark.usefixtures("wandb")
def test_a_run_of_ones_own():
    run = Run()
    sink = WandB(run=run)
    sink.write(4, NUMBERS, {})
    sink.close()
    assert (len(run.rows), run.finished, run.metrics) == (1, 0, [])
    with pytest.raises(TypeError, match=r"a run, or arguments to make one, got both: \['project'\]\. Fix: "):
        WandB(run=run, project="lake")


def test_wandb_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"wandb is missing\. Fix: pip install 'coax\[wandb\]'"):
        WandB()


OFFLINE = """
import sys
from coax.sinks import WandB

one, two = WandB(project="lake", id="one", dir=sys.argv[1]), WandB(project="lake", dir=sys.argv[1])
for T in (4, 8, 6):  # the last one after a resume from T = 4
    one.write(T, {"ep": T // 4, "T": T, "G": T / 3}, {"a/loss": float("nan")})
two.write(5, {"ep": 1, "T": 5, "G": 0.5}, {})
two.close()
if len(sys.argv) > 2:
    raise RuntimeError("the training broke")
"""


def records(data):
    """What is in a log in the format of LevelDB: blocks of 32 KiB with pieces of records, after a head of 7 bytes."""
    position, whole = 7, b""
    while position < len(data):
        if 32768 - position % 32768 < 7:  # no room for the head of a piece
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # full, or the last of several pieces
            yield whole
            whole = b""


def history(path):
    """The rows in a file of an offline run, and how it ended."""
    make = pytest.importorskip("wandb.proto.wandb_internal_pb2").Record
    rows, code = [], None
    for data in records(path.read_bytes()):
        record = make.FromString(data)
        if record.WhichOneof("record_type") == "exit":
            code = record.exit.exit_code
        if record.WhichOneof("record_type") == "history":
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            rows.append({name: x for name, x in items.items() if not name.startswith("_")})
    return rows, code


@pytest.mark.gate
@pytest.mark.parametrize("fault", [[], ["fault"]])
def test_a_real_run_offline(tmp_path, fault):
    pytest.importorskip("wandb")
    environ = {**os.environ, "PYTHONPATH": str(Path(coax.__file__).parents[1]), "WANDB_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path / "new"), *fault], capture_output=True, text=True, env=environ
    )
    assert (done.returncode != 0) == bool(fault), done.stderr
    files = {str(path): history(path) for path in (tmp_path / "new").rglob("run-*.wandb")}
    one, code = next(found for path, found in files.items() if path.endswith("run-one.wandb"))
    ((two, code_of_two),) = (found for path, found in files.items() if not path.endswith("run-one.wandb"))
    assert (code, code_of_two) == (len(fault), 0)
    assert [(row["T"], row["G"]) for row in one] == [(4, 4 / 3), (8, 8 / 3), (6, 2.0)]
    assert all(math.isnan(float(row["a/loss"])) for row in one)
    assert [(row["T"], row["G"]) for row in two] == [(5, 0.5)]
