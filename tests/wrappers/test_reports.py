"""Monitors and their sinks: what is written when, what a sink that fails does, closing, copies."""

import copy
import csv
import logging
import types

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import coax
from coax._metrics import Metrics
from coax.envs import FunctionalEnv, JaxVectorEnv, Outcome
from coax.sinks import CSV, Console, JSONLines, Sink
from coax.wrappers import DeviceTrainMonitor, TrainMonitor

A = jnp.zeros(3, int)


class Fixed(gymnasium.Env):
    """Episodes of three steps whose rewards are 1, 2, 3 times the action."""

    observation_space = Discrete(100)
    action_space = Discrete(10)
    is_closed = False

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return 0, {}

    def step(self, action):
        self.t += 1
        return self.t, self.t * action, self.t == 3, False, {}

    def close(self):
        self.is_closed = True


class Two(FunctionalEnv):
    """Episodes of two steps with a reward of 1 for each."""

    observation_space = Box(0, 9, (), np.float32)
    action_space = Discrete(2)

    def reset(self, key):
        return jnp.int32(0), jnp.float32(0)

    def step(self, state, action, key):
        return Outcome(state + 1, jnp.float32(state), jnp.float32(1), state == 1)


TWO = Two()


class Memory(Sink):
    def __init__(self):
        self.rows, self.calls = [], []

    def write(self, T, numbers, metrics):
        self.rows.append((T, dict(numbers), dict(metrics)))

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")


class Broken(Sink):
    error = RuntimeError("the printer is on fire")

    def write(self, T, numbers, metrics):
        raise self.error

    def __repr__(self):
        return "Broken()"


def rows_of(path):
    with open(path, newline="") as file:
        return [{name: float(x) if x else None for name, x in row.items()} for row in csv.DictReader(file)]


def play(env, *actions):
    env.reset()
    for action in actions:
        env.step(action)


def single(**kwargs):
    return TrainMonitor(Fixed(), **kwargs)


def vector(mode=AutoresetMode.SAME_STEP, **kwargs):
    return TrainMonitor(SyncVectorEnv([Fixed, Fixed], autoreset_mode=mode), **kwargs)


def device(**kwargs):
    return DeviceTrainMonitor(JaxVectorEnv(TWO, 3, random_seed=0), **kwargs)


def scan(env, length):
    coax.scan(lambda: env.step(A)[1], length, over=env)
    jax.effects_barrier()


# --- what is written


def test_a_row_for_each_episode(tmp_path):
    memory = Memory()
    env = TrainMonitor(Fixed(), sinks=(CSV(tmp_path / "run.csv"), memory))
    env.reset()
    env.step(1)
    env.record_metrics({"a/loss": 0.5, "b": 1.0})
    env.step(1)
    env.record_metrics(Metrics(("a/loss",), jnp.array([1.5])))
    assert rows_of(tmp_path / "run.csv") == []
    env.step(1)
    play(env, 0, 0, 1)
    # G = 1 + 2 + 3, then 3; T counts resets too; the second mean return is 6 + (3 - 6) / 2
    want = [
        {"ep": 1, "T": 4, "G": 6, "avg_r": 2, "avg_G": 6, "t": 3, "a/loss": 1.0, "b": 1.0},
        {"ep": 2, "T": 8, "G": 3, "avg_r": 1, "avg_G": 4.5, "t": 3, "a/loss": None, "b": None},
    ]
    found = rows_of(tmp_path / "run.csv")
    assert all(row.pop("dt_ms") > 0 for row in found)
    assert found == want
    assert [T for T, *_ in memory.rows] == [4, 8]
    for (_, numbers, metrics), row in zip(memory.rows, want, strict=True):
        assert numbers.pop("dt_ms") > 0
        assert {**numbers, **metrics} == {name: x for name, x in row.items() if x is not None}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_row_for_each_episode_of_several_environments(mode):
    memory = Memory()
    envs = vector(mode, sinks=memory)
    envs.reset()
    for _ in range(3):
        envs.step(np.array([1, 2]))
    # two episodes begun, six steps; returns 6 and 12, so the mean is first 6, then 9
    found = [(T, row["ep"], row["G"], row["t"], row["avg_r"]) for T, row, _ in memory.rows]
    assert found == [(8, 2, 6.0, 3, 2.0), (8, 2, 12.0, 3, 4.0)]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_row_for_each_interval(tmp_path, compiled):
    env = device(every=6, metrics=["loss"], sinks=[CSV(tmp_path / "a"), JSONLines(tmp_path / "b")])

    def step(t):
        env.record_metrics({"loss": t})
        return env.step(A)[1]

    if compiled:
        coax.scan(step, over=env, xs=jnp.arange(4.0))
        jax.effects_barrier()
    else:
        for t in range(4):
            step(float(t))
    # each two steps: 6 steps and 3 episodes, so T = 3 + 9 i, and loss = (0 + 1) / 2, (2 + 3) / 2
    found = rows_of(tmp_path / "a")
    assert all(row.pop("dt_ms") > 0 for row in found)
    assert found == [
        {"ep": 6, "T": 12, "G": 2, "avg_r": 1, "avg_G": 2, "t": 2, "loss": 0.5},
        {"ep": 9, "T": 21, "G": 2, "avg_r": 1, "avg_G": 2, "t": 2, "loss": 2.5},
    ]
    env.close()
    assert len((tmp_path / "b").read_text().splitlines()) == 2


def test_steps_write_nothing_and_do_not_wait_for_the_device(tmp_path):
    env = TrainMonitor(Fixed(), sinks=[CSV(tmp_path / "a"), JSONLines(tmp_path / "b")])
    play(env, 1, 1, 1)
    env.reset()
    sizes = [(tmp_path / name).stat().st_size for name in "ab"]
    with jax.transfer_guard_device_to_host("disallow"):
        for _ in range(2):
            env.step(1)
            env.record_metrics(Metrics(("a/loss",), jnp.ones(1)))
    assert sizes == [(tmp_path / name).stat().st_size for name in "ab"]


def test_going_on(tmp_path):
    env = TrainMonitor(Fixed(), sinks=CSV(tmp_path / "run"))
    play(env, 1, 1, 1)
    env.close()
    other = TrainMonitor(Fixed(), sinks=CSV(tmp_path / "run"))
    other.state = env.state
    other.record_metrics({"a": 1.0})
    play(other, 0, 0, 1)
    assert [(row["ep"], row["T"], row["avg_G"], row["a"]) for row in rows_of(tmp_path / "run")] == [
        (1, 4, 6, None),
        (2, 8, 4.5, 1),
    ]


def test_a_console_takes_the_place_of_the_classic_line(capsys):
    env = TrainMonitor(Fixed(), sinks=Console(log_all_metrics=True, name="mine"))
    env.record_metrics({"a": 1.0})
    play(env, 1, 1, 1)
    env.log_all_metrics = False
    env.record_metrics({"a": 1.0})
    play(env, 1, 1, 1)
    env.sinks = [Console(name="other")]
    play(env, 1, 1, 1)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("[mine|TrainMonitor|INFO] ep: 1,\tT: 4,\tG: 6,\t")
    assert first.endswith(",\ta: 1")
    assert second.startswith("[mine|TrainMonitor|INFO] ep: 2,\t")
    assert "\ta:" not in second
    assert third.startswith("[other|TrainMonitor|INFO] ep: 3,\t")
    assert env.logger is env.sinks[0].logger


def test_other_sinks_leave_the_line_as_it_was(capsys):
    env = TrainMonitor(Fixed(), name="dqn", log_all_metrics=True, sinks=[Memory()])
    play(env, 1, 1, 1)
    assert capsys.readouterr().err.startswith(
        "[dqn|TrainMonitor|INFO] ep: 1,\tT: 4,\tG: 6,\tavg_r: 2,\tavg_G: 6,\tt: 3"
    )


# --- what fails


def test_a_sink_that_fails(tmp_path, capsys):
    after = Memory()
    env = TrainMonitor(Fixed(), sinks=[Broken(), CSV(tmp_path / "run"), after])
    env.reset()
    env.step(1)
    env.step(1)
    text = (
        r"Broken\(\) failed: RuntimeError: the printer is on fire\. All other sinks were written.* Fix: mend the cause"
    )
    with pytest.raises(OSError, match=text) as caught:
        env.step(1)
    assert caught.value.__cause__ is Broken.error
    assert (env.T, env.ep, env.t, env.G, env.avg_G, env.observation) == (4, 1, 3, 6.0, 6.0, 3)
    assert (len(rows_of(tmp_path / "run")), len(after.rows)) == (1, 1)
    env.reset()  # is not raised again
    env.step(1)
    with pytest.raises(OSError, match="on fire"):
        env.reset()  # writes about the episode that was left
    assert (env.T, env.ep, env.t) == (7, 3, 0)
    env.sinks = env.sinks[1:]
    play(env, 1, 1, 1)
    assert [row["T"] for row in rows_of(tmp_path / "run")] == [4, 6, 11]
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_sink_that_fails_where_two_episodes_end_at_once(tmp_path):
    reference, envs = vector(), vector(sinks=[Broken(), CSV(tmp_path / "run")])
    for env in (reference, envs):
        env.reset()
        env.step(np.array([1, 2]))
        env.step(np.array([1, 2]))
    with pytest.raises(OSError, match=r"Broken\(\) failed"):
        envs.step(np.array([1, 2]))
    reference.step(np.array([1, 2]))
    assert [row["G"] for row in rows_of(tmp_path / "run")] == [6, 12]
    for name in ("T", "ep", "t", "G", "avg_G"):
        np.testing.assert_array_equal(getattr(envs, name), getattr(reference, name))
    envs.step(np.array([1, 2]))
    with pytest.raises(OSError, match=r"Broken\(\) failed"):
        envs.reset()
    assert envs.t.tolist() == [0, 0]


@pytest.mark.gate
def test_a_sink_that_fails_in_a_compiled_loop(tmp_path):
    env = device(every=6, sinks=[Broken(), CSV(tmp_path / "run")])
    scan(env, 4)
    assert len(rows_of(tmp_path / "run")) == 2
    with pytest.raises(OSError, match=r"Broken\(\) failed: RuntimeError"):
        scan(env, 1)
    scan(env, 1)
    with pytest.raises(OSError, match=r"Broken\(\) failed"):
        env.close()
    assert env.sinks[1]._file.closed


def test_several_that_fail_are_all_named(tmp_path):
    gone = CSV(tmp_path / "run")
    gone.close()
    env = TrainMonitor(Fixed(), sinks=[Broken(), gone])
    with pytest.raises(OSError, match=r"Broken\(\) failed: .*; CSV\('.*run'\) failed: ValueError: .* is closed\. Fix"):
        play(env, 1, 1, 1)


def test_a_sink_that_fails_in_a_step(tmp_path):
    class Jammed(Memory):
        def step(self, T):
            raise RuntimeError("jammed")

    env = TrainMonitor(Fixed(), sinks=[Jammed(), other := Memory()])
    env.reset()
    env.step(1)
    env.step(1)
    with pytest.raises(OSError, match="jammed"):
        env.step(1)
    assert len(other.rows) == 1


def test_an_interrupt_is_not_held_up():
    broken = Broken()
    broken.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        play(TrainMonitor(Fixed(), sinks=broken), 1, 1, 1)


# --- closing


@pytest.mark.parametrize(("make", "action", "number"), [(single, 1, 1), (vector, np.array([1, 1]), 2)])
def test_what_is_left_is_written_when_an_error_ends_it(make, action, number):
    memory = Memory()

    def broken():
        with make(sinks=memory) as env:
            env.reset()
            env.step(action)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken()
    assert [row["t"] for _, row, _ in memory.rows] == [1] * number
    assert memory.calls == ["close"]


def test_an_error_ends_a_compiled_loop():
    memory = Memory()

    def broken():
        with device(every=100, sinks=memory) as env:
            scan(env, 3)
            env.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken()
    # three steps in each of three; one episode each has ended
    assert [(T, row["G"]) for T, row, _ in memory.rows] == [(3 + 9 + 3, 2.0)]
    assert memory.calls == ["flush", "close"]


def test_all_are_closed_even_if_one_cannot_be(tmp_path):
    class Stuck(Memory):
        def close(self):
            raise RuntimeError("stuck")

    inner, memory = Fixed(), Memory()
    env = TrainMonitor(inner, sinks=[Stuck(), memory])
    with pytest.raises(OSError, match="failed: RuntimeError: stuck"):
        env.close()
    assert memory.calls == ["close"]
    assert inner.is_closed


def test_after_closing(tmp_path):
    env = TrainMonitor(Fixed(), sinks=CSV(tmp_path / "run"))
    env.close()
    with pytest.raises(OSError, match=r"CSV\('.*run'\) is closed\. Fix: write before env\.close\(\)"):
        play(env, 1, 1, 1)
    env.sinks = [CSV(tmp_path / "run")]
    play(env, 1, 1, 1)
    assert [row["T"] for row in rows_of(tmp_path / "run")] == [8]


def test_flush():
    memory = Memory()
    TrainMonitor(Fixed(), sinks=memory).flush()
    assert memory.calls == ["flush"]


# --- copies


AGAIN = pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda env: coax.utils.loads(coax.utils.dumps(env))],
    ids=["copy", "deep", "pickle"],
)


@AGAIN
def test_a_copy_has_no_sinks(tmp_path, again, capsys):
    env = TrainMonitor(Fixed(), sinks=[CSV(tmp_path / "run"), Console(True, name="try")])
    play(env, 1, 1, 1)
    other = again(env)
    assert other.sinks == ()
    assert other.log_all_metrics
    other.log_all_metrics = False
    assert env.log_all_metrics
    play(other, 1, 1, 1)
    other.close()
    play(env, 1, 1, 1)
    assert [row["T"] for row in rows_of(tmp_path / "run")] == [4, 8]
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"[try|TrainMonitor|INFO] ep: {ep}" for ep in (1, 2, 2)
    ]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy], ids=["copy", "deep"])
@pytest.mark.gate
def test_a_copy_on_the_device_has_no_sinks(tmp_path, again):
    env = device(every=6, sinks=CSV(tmp_path / "run"))
    other = again(env)
    assert other.sinks == ()
    scan(other, 4)
    other.close()
    scan(env, 2)
    assert [row["T"] for row in rows_of(tmp_path / "run")] == [12]


# --- arguments


def test_something_else():
    with pytest.raises(TypeError, match=r"expected objects of coax\.sinks\.Sink, got 'run\.csv'\. Fix: pass for"):
        TrainMonitor(Fixed(), sinks=["run.csv"])
    memory = Memory()
    with pytest.raises(ValueError, match=r"each sink once, got one of them twice\. Fix: leave it out"):
        vector(sinks=[memory, memory])
    env = device(sinks=[memory])
    with pytest.raises(TypeError, match=r"expected objects of coax\.sinks\.Sink"):
        env.sinks = [types.SimpleNamespace()]
    assert env.sinks == (memory,)


@pytest.mark.parametrize("kwargs", [{"name": "x"}, {"log_all_metrics": True}, {"level": logging.INFO}])
def test_a_console_and_arguments_for_another(kwargs):
    with pytest.raises(
        TypeError, match=rf"no Console beside the arguments \['{next(iter(kwargs))}'\].* Fix: pass them to"
    ):
        TrainMonitor(Fixed(), sinks=[Console()], **kwargs)
