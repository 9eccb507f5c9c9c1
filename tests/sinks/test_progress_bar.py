"""The progress bar, on a terminal that is none."""

import builtins
import fcntl
import math
import os
import re
import struct
import sys
import termios
import time
import types

import gymnasium
import pytest

from coax.sinks import Console, ProgressBar, Sink
from coax.wrappers import TrainMonitor

NUMBERS = {"ep": 1, "T": 4, "G": 8.0, "avg_r": 2.5, "avg_G": 87.345, "t": 3, "dt_ms": 0.1}


class Terminal:
    """A terminal of 100 columns, and what stands on it."""

    def __init__(self):
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        os.set_blocking(self._master, False)
        self.file = os.fdopen(slave, "w", encoding="utf-8")
        self.text = ""

    def screen(self):
        """The rows, with what was overwritten in each."""
        self.file.flush()
        while True:
            try:
                self.text += os.read(self._master, 65536).decode()
            except BlockingIOError:
                break
        rows = []
        for line in self.text.replace("\r\n", "\n").split("\n"):
            row = ""
            for part in line.split("\r"):
                row = part + row[len(part) :]
            rows.append(row.rstrip())
        return rows

    def close(self):
        self.file.close()
        os.close(self._master)


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    pytest.importorskip("tqdm")
    now = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def test_rate_and_time_left(terminal, clock):
    bar = ProgressBar(100, file=terminal.file, desc="lake")
    bar.step(0)
    clock[0] += 10
    bar.step(50)
    # 50 steps in 10 s are 5 a second; the other 50 take 10 s
    (row,) = terminal.screen()
    assert re.fullmatch(r"lake:  50%\|[^|]+\| 50/100 \[00:10<00:10,  5\.00step/s\]", row)
    bar.write(60, {**NUMBERS, "T": 60}, {"loss": 1.0})
    assert terminal.screen() == [row]  # not yet
    clock[0] += 2
    bar.step(60)
    # the last 10 steps in 2 s: also 5 a second, 8 s left but for rounding
    assert re.search(r"\| 60/100 \[00:12<00:0[78],  5\.00step/s, avg_G=87\.3\]$", terminal.screen()[0])
    bar.close()
    bar.close()
    *_, last, cursor = terminal.screen()
    assert (last[:10], cursor) == ("lake:  60%", "")  # what follows is written below it
    bar.step(70)
    assert "70/100" not in terminal.text


@pytest.mark.parametrize("smoothing", [0, 0.3])
def test_going_on_with_a_training(terminal, clock, smoothing):
    bar = ProgressBar(2000, file=terminal.file, smoothing=smoothing)
    bar.step(1001)
    clock[0] += 10
    bar.step(1101)
    # 100 steps in 10 s of this process, 899 left: 89.9 s
    assert "1101/2000 [00:10<01:29, 10.00step/s]" in terminal.screen()[0]


@pytest.mark.parametrize("smoothing", [0, 0.3])
def test_counted_anew(terminal, clock, smoothing):
    bar = ProgressBar(100, file=terminal.file, smoothing=smoothing)
    bar.step(90)
    clock[0] += 10
    bar.step(5)
    clock[0] += 10
    bar.step(20)
    # 15 steps in 10 s since it began anew, 80 left: 53.3 s
    assert "20/100 [00:10<00:53,  1.50step/s]" in terminal.screen()[0]


def test_beyond_the_end(terminal, clock):
    bar = ProgressBar(100, file=terminal.file)
    bar.step(92)
    clock[0] += 1
    bar.step(108)  # of sixteen environments
    bar.close()
    assert "100%" in terminal.screen()[0]
    assert "100/100" in terminal.screen()[0]


def test_without_a_total(terminal, clock):
    bar = ProgressBar(file=terminal.file)
    bar.step(0)
    clock[0] += 2
    bar.step(10)
    assert terminal.screen()[0] == "10step [00:02,  5.00step/s]"
    assert repr(bar) == "ProgressBar()"


def test_between_two_drawings_nothing_happens(terminal, clock, monkeypatch):
    bar = ProgressBar(10**6, file=terminal.file, interval=1.0)
    bar.step(1)
    drawn = []
    monkeypatch.setattr(bar, "_draw", drawn.append)
    for T in range(2, 1000):
        clock[0] += 0.001
        bar.step(T)
    assert drawn == []
    clock[0] += 0.01
    bar.step(1000)
    assert drawn == [1000]


def test_no_thread_is_started(terminal, clock):
    tqdm = pytest.importorskip("tqdm").tqdm
    before = tqdm.monitor
    ProgressBar(100, file=terminal.file).step(1)
    assert tqdm.monitor is before


class Fixed(gymnasium.Env):
    """Episodes of three steps with a reward of 1 for each."""

    observation_space = action_space = gymnasium.spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return 0, {}

    def step(self, action):
        self.t += 1
        return self.t, 1.0, self.t == 3, False, {}


def play(env, episodes):
    for _ in range(episodes):
        env.reset()
        for _ in range(3):
            env.step(0)


def test_with_log_lines_on_the_same_terminal(terminal, clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal.file)
    env = TrainMonitor(Fixed(), sinks=[ProgressBar(40)])
    play(env, 5)
    *lines, bar = terminal.screen()
    assert [line.split(",")[0] for line in lines] == [f"[TrainMonitor|INFO] ep: {i}" for i in range(1, 6)]
    assert all(line.endswith("dt: 0.000ms") for line in lines)
    assert bar.startswith(" 50%|")
    assert "20/40" in bar
    assert "avg_G=3" in bar


def test_it_follows_each_step_of_the_monitor(terminal, clock):
    env = TrainMonitor(Fixed(), level=30, sinks=ProgressBar(10, file=terminal.file))
    env.reset()
    for T, shown in ((2, "2/10"), (3, "3/10")):
        clock[0] += 1
        env.step(0)
        assert env.T == T
        assert shown in terminal.screen()[0]
    env.close()
    envs = TrainMonitor(
        gymnasium.vector.SyncVectorEnv([Fixed] * 2), level=30, sinks=ProgressBar(10, file=terminal.file)
    )
    envs.reset()
    clock[0] += 1
    envs.step([0, 0])
    assert "4/10" in terminal.screen()[-1]
    envs.close()


def test_quiet_where_there_is_no_terminal(clock, monkeypatch):
    read, write = os.pipe()
    with os.fdopen(write, "w") as file:
        bars = [ProgressBar(10, file=file), ProgressBar(10, disable=True, file=file)]
        monkeypatch.setattr(sys, "stderr", file)
        bars.append(ProgressBar(10))
        monkeypatch.setattr(sys, "stderr", None)
        bars.append(ProgressBar(10))
        env = TrainMonitor(Fixed(), level=30, sinks=bars)
        for _ in range(3):
            clock[0] += 10
            play(env, 1)
        env.flush()
        env.close()
    assert os.read(read, 100) == b""
    os.close(read)


def test_loud_where_one_asks_for_it(clock, tmp_path):
    with open(tmp_path / "bar", "w") as file:
        bar = ProgressBar(10, file=file, disable=False)
        bar.step(5)
        bar.close()
    assert "5/10" in (tmp_path / "bar").read_text()


# --- where tqdm need not be installed


@pytest.fixture
def _some_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=builtins.object))


@pytest.mark.usefixtures("_some_tqdm")
def test_after_it_was_closed():
    bar = ProgressBar(10)
    bar.close()
    bar.close()
    bar.flush()
    bar.step(3)
    with pytest.raises(ValueError, match=r"ProgressBar\(10\) is closed\. Fix: "):
        bar.write(4, NUMBERS, {})


@pytest.mark.usefixtures("_some_tqdm")
@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ({"total": 0}, ValueError, r"total: expected at least 1, got 0\. Fix: pass 1 or more"),
        ({"total": math.inf}, ValueError, "total: expected at least 1, got inf"),
        ({"total": "x"}, TypeError, r"total: expected a number, got 'x'\. Fix: "),
        ({"interval": -1}, ValueError, "interval: expected at least 0, got -1"),
        ({"interval": math.nan}, ValueError, "interval: expected at least 0, got nan"),
        ({"interval": None}, TypeError, "interval: expected a number, got None"),
    ],
)
def test_arguments(args, error, text):
    with pytest.raises(error, match=text):
        ProgressBar(**args)


def test_tqdm_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"tqdm is missing\. Fix: pip install 'coax\[progress\]'"):
        ProgressBar(10)


def test_room_is_made_only_for_lines_that_are_shown():
    class Spy(Sink):
        calls = 0

        def make_room(self):
            self.calls += 1

        def write(self, T, numbers, metrics):
            pass

    loud, quiet = Spy(), Spy()
    play(TrainMonitor(Fixed(), sinks=loud), 2)
    play(TrainMonitor(Fixed(), sinks=[quiet, Console(level=30)]), 2)
    assert (loud.calls, quiet.calls) == (2, 0)
