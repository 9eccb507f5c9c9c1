import copy
import gc
import logging
import os
import re
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import ClassVar

import cloudpickle
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete

import coax
from coax._metrics import Metrics
from coax.errors import StateError
from coax.utils import enable_logging
from coax.wrappers import TrainMonitor, _metric_means
from coax.wrappers._tensorboard import ActionSample


class Fixed(gymnasium.Env):
    """Episodes of three steps whose rewards are 1, 2, 3 times the action; action 9 breaks it."""

    observation_space = Discrete(100)
    action_space = Discrete(10)
    asked = None

    def reset(self, *, seed=None, options=None):
        self.asked, self.t = (seed, options), 0
        if options == "broken":
            raise RuntimeError("no reset")
        return 0, {"first": True}

    def step(self, action):
        if action == 9:
            raise RuntimeError("the motor is broken")
        self.t += 1
        return self.t, self.t * action, self.t == 3, False, {}


@pytest.fixture
def lines(caplog):
    """The lines logged so far, by all monitors."""
    caplog.set_level(logging.INFO, "TrainMonitor")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "TrainMonitor"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: 1e9 + now[0])
    return now


def play(env, *actions):
    env.reset()
    return [env.step(a) for a in actions][-1]


def counters(env):
    return env.T, env.ep, env.t, env.G, env.avg_G


# --- counting


def test_counters_by_hand():
    env = TrainMonitor(Fixed())
    assert counters(env) == (0, 0, 0, 0.0, 0.0)
    env.reset()
    assert counters(env) == (1, 1, 0, 0.0, 0.0)
    env.step(1)
    assert counters(env) == (2, 1, 1, 1.0, 0.0)
    env.step(2)  # 1 + 2 * 2
    assert counters(env) == (3, 1, 2, 5.0, 0.0)
    assert env.avg_r == 2.5
    env.step(1)  # 5 + 3; the first mean is the return itself
    assert counters(env) == (4, 1, 3, 8.0, 8.0)
    play(env, 0, 0, 1)  # G = 3; m = 2: 8 + (3 - 8) / 2 = 5.5
    assert counters(env) == (8, 2, 3, 3.0, 5.5)
    env.reset_global()
    assert counters(env) == (0, 0, 0, 0.0, 0.0)


def test_the_mean_return_forgets():
    env = TrainMonitor(Fixed(), smoothing=2)
    for action in (1, 2, 4):
        play(env, 0, 0, action)
    # G = 3, 6, 12: 3; 3 + 3 / 2 = 4.5; 4.5 + 7.5 / 2 = 8.25, where ten episodes of smoothing would give 7
    assert env.avg_G == 8.25


def test_a_step_after_the_end_belongs_to_no_episode(lines):
    env = TrainMonitor(Fixed())
    play(env, 1, 1, 1)
    assert counters(env) == (4, 1, 3, 6.0, 6.0)
    s, r, terminated, truncated, info = env.step(2)  # the fourth: reward 4 * 2
    assert (s, r, terminated, truncated) == (4, 8, False, False)
    assert info["monitor"] == {"T": 4, "ep": 1}
    assert env.observation == 4
    env.env.t = 2
    assert env.step(1)[2]  # ends once more
    assert counters(env) == (6, 1, 3, 6.0, 6.0)  # two steps, nothing else
    assert len(lines()) == 1
    again = TrainMonitor(Fixed())
    again.reset()
    again.env.t = 5
    again.state = env.state
    again.step(1)
    assert counters(again) == (7, 1, 3, 6.0, 6.0)
    play(env, 2, 2, 2)  # return 12: the mean is 9
    assert counters(env) == (10, 2, 3, 12.0, 9.0)
    assert len(lines()) == 2


@pytest.mark.parametrize(
    ("smoothing", "error", "text"),
    [
        (0, ValueError, r"smoothing: expected at least 1, got 0\. Fix: pass smoothing=1"),
        (float("nan"), ValueError, "smoothing: expected at least 1, got nan"),
        (None, TypeError, r"smoothing: expected a number, got None\. Fix: "),
        ("a", TypeError, r"smoothing: expected a number, got 'a'\. Fix: "),
    ],
)
def test_smoothing_is_at_least_one(smoothing, error, text):
    with pytest.raises(error, match=text):
        TrainMonitor(Fixed(), smoothing=smoothing)
    env = TrainMonitor(Fixed(), smoothing=5)
    with pytest.raises(error, match=text):
        env.smoothing = smoothing
    assert env.smoothing == 5
    env.smoothing = 1
    play(env, 1, 1, 1)
    play(env, 2, 2, 2)
    assert env.avg_G == 12.0  # of the last episode alone


def test_default_smoothing_is_ten():
    env = TrainMonitor(Fixed())
    for _ in range(10):
        play(env, 0, 0, 1)
    play(env, 0, 0, 2)  # 3 + (6 - 3) / 10
    assert env.avg_G == pytest.approx(3.3)


def test_info_tells_the_counters_before_the_step():
    env = TrainMonitor(Fixed())
    assert env.reset()[1] == {"first": True}
    assert env.step(0)[4] == {"monitor": {"T": 1, "ep": 1}}
    assert env.step(0)[4] == {"monitor": {"T": 2, "ep": 1}}


def test_reset_passes_on_what_it_is_given():
    env = TrainMonitor(Fixed())
    env.reset(seed=3, options={"a": 1})
    assert env.unwrapped.asked == (3, {"a": 1})
    env.reset()
    assert env.unwrapped.asked == (None, None)


def test_before_the_first_step():
    env = TrainMonitor(Fixed())
    env.reset()
    assert np.isnan(env.avg_r)
    assert np.isnan(env.dt_ms)


def test_duration_of_a_step(clock):
    env = TrainMonitor(Fixed())
    env.reset()
    clock[0] += 0.5
    env.step(0)
    clock[0] += 0.1
    env.step(0)
    assert env.dt_ms == pytest.approx(300.0)  # 0.6 seconds in two steps
    clock[0] += 0.3
    env.step(0)
    clock[0] += 1000.0  # after the end
    assert env.dt_ms == pytest.approx(300.0)
    env.step(0)  # some environments go on
    clock[0] += 0.4
    assert env.dt_ms == pytest.approx(300.0)  # still that of the episode


def test_an_error_of_the_environment_changes_nothing():
    env = TrainMonitor(Fixed())
    play(env, 1)
    before = (*counters(env), env.observation)
    with pytest.raises(RuntimeError, match="the motor is broken"):
        env.step(9)
    with pytest.raises(RuntimeError, match="no reset"):
        env.reset(options="broken")
    assert (*counters(env), env.observation) == before


def test_attributes_of_the_environment():
    env = TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))
    assert env.spec.max_episode_steps == 20
    env.spec.reward_threshold = 0.5
    assert env.spec.reward_threshold == 0.5
    assert env.env.action_space == env.action_space == Discrete(4)
    assert gymnasium.wrappers.TimeLimit(env, 5).get_wrapper_attr("T") == 0


def test_around_a_vector_environment_it_is_another_one():
    envs = TrainMonitor(gymnasium.vector.SyncVectorEnv([Fixed, Fixed]), smoothing=3)
    assert type(envs) is coax.wrappers.VectorTrainMonitor
    assert (envs.num_envs, envs.smoothing) == (2, 3)


# --- periods


def test_period_of_steps():
    env = TrainMonitor(Fixed())
    # counter c starts at 1: due when T >= 3 * c, and then c is one more
    assert not env.period("x", T_period=3)
    env.T = 3
    assert env.period("x", T_period=3)
    assert not env.period("x", T_period=3)
    env.T = 11  # jumps over 6 and 9: due twice
    assert [env.period("x", T_period=3) for _ in range(3)] == [True, True, False]
    assert [env.period("another", T_period=3) for _ in range(4)] == [True, True, True, False]


def test_period_of_episodes():
    env = TrainMonitor(Fixed())
    env.ep = 2
    assert [env.period("x", ep_period=2) for _ in range(2)] == [True, False]
    assert not env.period("y")
    # both: the steps first, then the episodes
    env.T = 5
    assert [env.period("z", T_period=5, ep_period=2) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("kwargs", [{"T_period": 0}, {"ep_period": -1}, {"T_period": float("nan")}])
def test_period_must_be_positive(kwargs):
    env = TrainMonitor(Fixed())
    with pytest.raises(ValueError, match=r"expected a positive number, got .* Fix: "):
        env.period("x", **kwargs)
    assert env.get_counters()["_period"] == {}


@pytest.mark.parametrize("kwargs", [{"T_period": "a"}, {"ep_period": [1]}])
def test_period_must_be_a_number(kwargs):
    env = TrainMonitor(Fixed())
    with pytest.raises(TypeError, match=r"(T|ep)_period: expected a number, got .* Fix: "):
        env.period("x", **kwargs)
    assert env.get_counters()["_period"] == {}


# --- the log line


def test_the_line_is_written_when_the_episode_ends(lines, clock):
    env = TrainMonitor(Fixed())
    env.T = 1_233_999
    env.reset()
    env.step(1)
    env.record_metrics({"QLearning/loss": 0.25, "QLearning/bias": 7.0, "throughput/steps": 1234.5})
    env.step(1)
    env.record_metrics(Metrics(("QLearning/loss", "Reg/entropy", "Reg/kl_div"), jnp.array([0.75, 0.1, 2.0])))
    assert lines() == []
    clock[0] += 0.006
    env.step(1)
    assert lines() == [
        "ep: 1,\tT: 1,234,003,\tG: 6,\tavg_r: 2,\tavg_G: 6,\tt: 3,\tdt: 2.000ms,\t"
        "QLearning/loss: 0.5,\tthroughput/steps: 1.23e+03,\tReg/entropy: 0.1,\tReg/kl_div: 2"
    ]
    env.reset()
    env.close()
    assert len(lines()) == 1


def test_a_truncated_episode_is_a_finished_one(lines):
    env = TrainMonitor(gymnasium.wrappers.TimeLimit(Fixed(), 2))
    play(env, 1, 1)
    assert env.avg_G == 3.0
    assert len(lines()) == 1


def test_all_metrics(lines):
    env = TrainMonitor(Fixed(), log_all_metrics=True)
    env.reset()
    env.record_metrics({"b": 1.0, "a": 2.0, "pi/kl_div": 3.0})
    [env.step(1) for _ in range(3)]
    assert lines()[0].split(",\t")[7:] == ["b: 1", "a: 2", "pi/kl_div: 3"]


def test_an_episode_left_before_its_end_is_logged_at_the_next_reset(lines):
    env = TrainMonitor(Fixed())
    play(env, 1, 1)
    env.reset()
    assert [line.split(",\t")[:3] for line in lines()] == [["ep: 1", "T: 3", "G: 3"]]
    assert env.avg_G == 0.0  # it is not a finished episode
    env.reset()
    assert len(lines()) == 1  # nothing happened in between
    env.step(1)
    env.close()
    assert [line.split(",\t")[0] for line in lines()] == ["ep: 1", "ep: 3"]


def test_metrics_belong_to_their_episode(lines):
    env = TrainMonitor(Fixed(), log_all_metrics=True)
    env.reset()
    env.record_metrics({"a": 1.0})
    [env.step(1) for _ in range(3)]
    assert env.get_metrics() == {"a": 1.0}  # still to be seen after the end
    env.reset()
    assert env.get_metrics() == {}
    env.record_metrics({"a": 5.0})
    [env.step(1) for _ in range(3)]
    assert [line.split(",\t")[7:] for line in lines()] == [["a: 1"], ["a: 5"]]


def test_metrics_recorded_after_the_last_step_are_in_the_next_line(lines):
    env = TrainMonitor(Fixed(), log_all_metrics=True)
    for ep in (1, 2, 3):
        play(env, 1, 1, 1)
        env.record_metrics({"loss": float(ep)})  # as with a Monte Carlo tracer, which learns at the end
        env.record_metrics({"loss": ep + 1.0})
        assert env.get_metrics() == {"loss": ep + 0.5}
    assert [line.split(",\t")[7:] for line in lines()] == [[], ["loss: 1.5"], ["loss: 2.5"]]


def test_no_step_waits_for_the_device(monkeypatch):
    fetches = []
    fetch = _metric_means._fetched
    monkeypatch.setattr(_metric_means, "_fetched", lambda x: fetches.append(len(x)) or fetch(x))
    env = TrainMonitor(Fixed())
    env.reset()
    with jax.transfer_guard_device_to_host("disallow"):
        for _ in range(2):
            env.step(1)
            for _ in range(50):
                env.record_metrics(Metrics(("a/loss",), jnp.ones(1)))
                env.record_metrics({"b/loss": jnp.float32(2.0)})
    assert fetches == []
    env.step(1)
    assert [n for n in fetches if n] == [200]


def test_long_episodes_keep_few_metrics():
    env = TrainMonitor(Fixed())
    env.reset()
    for i in range(3000):
        env.record_metrics({"a": float(i)})
    assert len(env._metrics._unread) <= 1024
    assert env.get_metrics() == {"a": 1499.5}


def test_metrics_must_be_a_mapping_of_numbers():
    env = TrainMonitor(Fixed())
    with pytest.raises(TypeError, match=r"expected a mapping from names to numbers, got list. Fix: "):
        env.record_metrics([1.0])


def test_the_logger():
    env = TrainMonitor(Fixed(), level=logging.WARNING)
    assert (env.logger.name, env.logger.level) == ("TrainMonitor", logging.WARNING)
    other = TrainMonitor(Fixed())
    assert env.logger is not other.logger
    assert env.logger.parent is other.logger.parent is logging.getLogger("TrainMonitor")
    assert env.logger.level == logging.WARNING


def prefixes(text):
    """The prefixes of the lines on the console, up to the first colon."""
    return [line.split(": ")[0] for line in text.splitlines()]


def test_each_monitor_has_its_own_name_and_level(capsys):
    monitors = [TrainMonitor(Fixed(), name="train"), TrainMonitor(Fixed(), name="eval")]
    monitors += [TrainMonitor(Fixed(), level=logging.WARNING, name="quiet"), TrainMonitor(Fixed())]
    for env in (*monitors, monitors[0]):
        play(env, 1, 1, 1)
    want = ["[train|TrainMonitor|INFO] ep", "[eval|TrainMonitor|INFO] ep", "[TrainMonitor|INFO] ep"]
    assert prefixes(capsys.readouterr().err) == [*want, want[0]]
    assert not logging.getLogger("TrainMonitor").handlers


def test_each_monitor_has_its_own_file(tmp_path):
    monitors = [TrainMonitor(Fixed(), name=name, output_filepath=tmp_path / name) for name in ("train", "eval")]
    for env in monitors:
        play(env, 1, 1, 1)
    for name in ("train", "eval"):
        assert prefixes((tmp_path / name).read_text()) == [f"[{name}|TrainMonitor|INFO] ep"]


def test_a_level_of_the_class_counts_at_any_time(capsys):
    env, loud = TrainMonitor(Fixed()), TrainMonitor(Fixed(), name="loud", level=logging.INFO)
    play(env, 1, 1, 1)
    logging.getLogger("TrainMonitor").setLevel(logging.WARNING)
    for monitor in (env, TrainMonitor(Fixed(), name="made later"), loud):
        play(monitor, 1, 1, 1)
    assert prefixes(capsys.readouterr().err) == ["[TrainMonitor|INFO] ep", "[loud|TrainMonitor|INFO] ep"]


def test_logging_can_be_turned_off(capsys, monkeypatch):
    env = TrainMonitor(Fixed(), level=logging.INFO)
    with monkeypatch.context() as patch:
        patch.setattr(logging.getLogger("TrainMonitor"), "disabled", True)
        play(env, 1, 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(logging.root.manager, "disable", logging.INFO)
        play(env, 1, 1, 1)
    assert not capsys.readouterr().err
    play(env, 1, 1, 1)
    assert prefixes(capsys.readouterr().err) == ["[TrainMonitor|INFO] ep"]


def test_a_monitor_that_is_gone_leaves_nothing_open(tmp_path):
    env = TrainMonitor(Fixed(), output_filepath=tmp_path / "run.txt")
    file = env.logger.handlers[1]
    assert file.stream is not None
    del env
    gc.collect()
    assert file.stream is None


@pytest.mark.parametrize(
    "again",
    [lambda env: cloudpickle.loads(cloudpickle.dumps(env)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deep"],
)
def test_a_copy_shows_its_lines_under_the_same_name(capsys, again):
    env = TrainMonitor(Fixed(), name="try")
    other = again(env)
    play(other, 1, 1, 1)
    play(env, 1, 1, 1)
    assert prefixes(capsys.readouterr().err) == ["[try|TrainMonitor|INFO] ep"] * 2


def test_unknown_logger_arguments():
    text = r"TrainMonitor: expected, besides its own arguments, .*\(name, level, .*\), got color, colour\. Fix: "
    with pytest.raises(TypeError, match=text):
        TrainMonitor(Fixed(), colour="red", color="red")


SCRIPT = """
import gymnasium, jax, logging
from coax.wrappers import TrainMonitor

assert not logging.getLogger().handlers and not logging.getLogger("TrainMonitor").handlers
for name in ("first", "try"):
    env = TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"), name=name)
jax.numpy.ones(3)  # jax logs at level INFO which devices there are not
env.reset(seed=0)
for action in (1, 1, 2, 1, 2, 2):
    env.step(action)
"""


def test_a_script_prints_each_line_once_and_nothing_else():
    environ = {**os.environ, "PYTHONPATH": str(Path(coax.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=environ)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith("[try|TrainMonitor|INFO] ep: 1,\tT: 7,\tG: 1,\tavg_r: 0.167,\tavg_G: 1,\tt: 6,\tdt: ")


def show_mine(level=logging.INFO):
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("mine %(message)s"))
    logging.getLogger().addHandler(handler)


@pytest.mark.parametrize(
    ("setup", "prefix"),
    [
        ([{}, {}], "[TrainMonitor|INFO] ep"),
        ([{}, {"name": "try"}], "[try|TrainMonitor|INFO] ep"),
        ([{"name": "try"}, {}], "[TrainMonitor|INFO] ep"),
        # the user's own set-up, before or after, shows the line instead
        ([show_mine, {"name": "try"}], "mine ep"),
        ([{}, show_mine], "mine ep"),
        ([{}, lambda: enable_logging("all")], "[all|TrainMonitor|INFO] ep"),
        ([{"name": "try"}, lambda: enable_logging("class", logger="TrainMonitor")], "[class|TrainMonitor|INFO] ep"),
        (
            [lambda: enable_logging("class", logger="TrainMonitor"), {"logger": "TrainMonitor"}],
            "[TrainMonitor|INFO] ep",
        ),
        # one that is set up for warnings only does not show it
        ([{"name": "try"}, lambda: show_mine(logging.WARNING)], "[try|TrainMonitor|INFO] ep"),
    ],
)
def test_a_line_is_shown_once(capsys, setup, prefix):
    for do in setup:
        if callable(do):
            do()
        else:
            env = TrainMonitor(Fixed(), **do)
    play(env, 1, 1, 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.split(": ")[0] == prefix


def test_a_file_is_kept_by_a_second_monitor(tmp_path):
    env = TrainMonitor(Fixed(), output_filepath=tmp_path / "logs" / "run.txt", name="try")
    TrainMonitor(Fixed())
    play(env, 1, 1, 1)
    (line,) = (tmp_path / "logs" / "run.txt").read_text().splitlines()
    assert line.startswith("[try|TrainMonitor|INFO] ep: 1,\t")


# --- saving


def some_monitor():
    env = TrainMonitor(Fixed(), log_all_metrics=True)
    play(env, 1, 1, 1)
    play(env, 2)
    env.period("gif", T_period=2)
    env.record_metrics({"b": jnp.float32(1.0), "a": 2.0})
    env.record_metrics({"a": 4.0})
    return env


def test_counters_round_trip(clock, tmp_path):
    env, other = some_monitor(), TrainMonitor(Fixed())
    clock[0] += 0.25
    assert set(env.get_counters()) == {
        *("T", "ep", "t", "G", "avg_G", "_n_avg_G", "_ep_starttime", "_ep_metrics", "_ep_actions"),
        *("_tensorboard_dir", "_period"),
    }
    env.save_counters(tmp_path / "deep" / "counters.pkl.lz4")
    other.load_counters(tmp_path / "deep" / "counters.pkl.lz4")
    assert other.get_counters() == env.get_counters()
    assert counters(other) == (6, 2, 1, 2.0, 6.0)
    assert other.get_metrics() == {"b": 1.0, "a": 3.0}
    assert other.dt_ms == pytest.approx(250.0)
    assert other.period("gif", T_period=2)
    assert other.period("gif", T_period=2)
    assert not other.period("gif", T_period=2)  # 1 was used before: 2 and 3 were left


@pytest.mark.parametrize("change", [{"T": None}, {"extra": 1}])
def test_counters_with_other_keys(change):
    env = some_monitor()
    before = counters(env)
    bad = {**TrainMonitor(Fixed()).get_counters(), **change}
    bad = {k: v for k, v in bad.items() if v is not None or k.startswith("_")}
    with pytest.raises(TypeError, match=r"expected a dict with the keys .* Fix: "):
        env.set_counters(bad)
    with pytest.raises(TypeError, match=r"got list. Fix: "):
        env.set_counters([1])
    assert counters(env) == before


def test_counters_of_0_1_13():
    sample = coax.wrappers._train_monitor.StreamingSample()
    sample._deque, sample._count, sample._rnd = [1, 2], 2, None
    old = {"T": 7, "ep": 2, "t": 3, "G": 1.5, "avg_G": 0.5, "_n_avg_G": 2.0, "_ep_starttime": time.time()}
    old |= {"_ep_metrics": {"a": 3.0}, "_ep_actions": sample, "_tensorboard_dir": None, "_period": {"gif": {"T": 1}}}
    env = TrainMonitor(Fixed())
    env.set_counters(cloudpickle.loads(cloudpickle.dumps(old)))
    assert counters(env) == (7, 2, 3, 1.5, 0.5)


def test_state_round_trip(clock):
    env, other = some_monitor(), TrainMonitor(Fixed(), log_all_metrics=True)
    clock[0] += 0.25
    state = env.state
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(state))
    assert jax.tree.map(np.shape, state["metrics"]) == {"a": (2,), "b": (2,)}
    play(env, 3, 3)  # a snapshot does not change
    other.state = state
    jax.tree.map(np.testing.assert_array_equal, other.state, state)
    assert counters(other) == (6, 2, 1, 2.0, 6.0)
    assert other.get_metrics() == {"a": 3.0, "b": 1.0}
    assert other.dt_ms == pytest.approx(250.0)


def test_a_finished_episode_is_not_logged_again(lines):
    env, other, third = (TrainMonitor(Fixed()) for _ in range(3))
    env.record_metrics({"a": 1.0})
    play(env, 1, 1, 1)
    assert env.state["metrics"] == {}
    assert env.get_counters()["_ep_metrics"] == {}
    other.state = env.state
    third.set_counters(env.get_counters())
    other.reset()
    third.reset()
    assert len(lines()) == 1
    assert (other.ep, third.ep) == (2, 2)


def test_fresh_state_is_zero():
    env, fresh = some_monitor(), TrainMonitor(Fixed())
    env.state = env.init(jax.random.key(0))
    assert counters(env) == counters(fresh)
    jax.tree.map(np.testing.assert_array_equal, env.state, fresh.init(None))


def test_a_state_that_does_not_fit():
    env = some_monitor()
    before = counters(env)
    with pytest.raises(TypeError, match=r"TrainMonitor.state\['T'\]: expected int64\[\], got float64\[\]"):
        env.state = {**env.state, "T": np.zeros(())}
    with pytest.raises(TypeError, match=r"the leaf \['G'\] is missing"):
        env.state = {"ep": 1}
    assert counters(env) == before


def test_inside_a_compiled_function():
    env = some_monitor()

    @jax.jit
    def bad(x):
        env.record_metrics({"a": x})
        return x

    with pytest.raises(StateError, match=r"TrainMonitor.record_metrics lives in host memory .* Fix: "):
        bad(1.0)
    assert env.get_metrics() == {"b": 1.0, "a": 3.0}


@pytest.mark.parametrize(
    "again",
    [lambda env: cloudpickle.loads(cloudpickle.dumps(env)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deep"],
)
def test_copies_count_for_themselves(again):
    env = some_monitor()
    other = again(env)
    assert counters(other) == counters(env)
    assert other.observation == env.observation == 1
    other.record_metrics({"a": 100.0})
    other.period("gif", T_period=2)
    other.step(1)
    assert (env.T, other.T) == (6, 7)
    assert env.get_metrics() == {"b": 1.0, "a": 3.0}
    assert env.get_counters()["_period"] == {"gif": [2, 1]}


# --- TensorBoard


class Writer:
    made: ClassVar[list] = []

    def __init__(self, directory):
        self.directory, self.scalars, self.histograms, self.open = directory, [], [], True
        Writer.made.append(self)

    def add_scalar(self, name, value, global_step):
        self.scalars.append((name, value, global_step))

    def add_histogram(self, name, values, global_step, bins):
        self.histograms.append((name, list(values), global_step, bins if isinstance(bins, str) else list(bins)))

    def flush(self):
        self.flushed = len(self.scalars)

    def close(self):
        self.open = False


@pytest.fixture
def writers(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    Writer.made = []
    return Writer.made


def test_scalars_of_an_episode(writers, clock, tmp_path):
    env = TrainMonitor(Fixed(), tensorboard_dir=tmp_path / "20240102_030405")
    assert writers == []
    play(env, 1, 1)
    env.record_metrics({"a": 1.0, "b/loss": jnp.float32(4.0)})
    env.record_metrics({"a": 2.0})
    clock[0] += 0.003
    env.step(2)
    (writer,) = writers
    assert writer is env.tensorboard
    assert writer.directory == str(tmp_path / "20240102_030405")
    # at T = 4: one reset and three steps; G = 1 + 2 + 6
    assert writer.scalars == [
        ("episode/episode", 1.0, 4),
        ("episode/avg_reward", 3.0, 4),
        ("episode/return", 9.0, 4),
        ("episode/steps", 3.0, 4),
        ("episode/avg_step_duration_ms", pytest.approx(1.0), 4),
        ("a", 1.5, 4),
        ("b/loss", 4.0, 4),
    ]
    assert writer.histograms == [("actions", [1, 1, 2], 4, list(range(11)))]
    assert writer.flushed == 7
    play(env, 0, 3, 0)
    assert writer.histograms[1][1] == [0, 3, 0]  # those of this episode
    env.close()
    assert not writer.open


def test_every_metric(writers, tmp_path):
    env = TrainMonitor(Fixed(), tensorboard_dir=tmp_path, tensorboard_write_all=True)
    env.reset()
    env.record_metrics({"a": jnp.float32(1.0)})
    env.step(1)
    env.record_metrics({"a": 2.0})
    [env.step(1) for _ in range(2)]
    (writer,) = writers
    assert [row for row in writer.scalars if row[0] == "a"] == [("a", 1.0, 1), ("a", 2.0, 2)]


def test_the_folder_is_named_after_the_time(tmp_path):
    directory = TrainMonitor(Fixed(), tensorboard_dir=tmp_path / "dqn").get_counters()["_tensorboard_dir"]
    assert re.fullmatch(re.escape(str(tmp_path)) + r"/dqn/\d{8}_\d{6}", directory)
    assert TrainMonitor(Fixed(), tensorboard_dir=directory).get_counters()["_tensorboard_dir"] == directory


def test_composite_actions_have_a_histogram_each(writers, tmp_path):
    env = TrainMonitor(Fixed(), tensorboard_dir=tmp_path)
    env.unwrapped.action_space = Dict({"x": Discrete(2), "y": Discrete(3)})
    env.unwrapped.step = lambda a: (0, 0.0, True, False, None)
    play(env, {"x": 1, "y": np.array([0.5, 1.5])})
    (writer,) = writers
    assert writer.histograms == [("actions['x']", [1], 2, "auto"), ("actions['y']", [0.5, 1.5], 2, "auto")]


def test_actions_that_do_not_begin_at_zero():
    sample, writer = ActionSample(), Writer("")
    sample.add(7)
    sample.write(writer, Discrete(3, start=5), 1)
    assert writer.histograms == [("actions", [7], 1, [5, 6, 7, 8])]


def test_long_episodes_keep_a_sample_of_the_actions():
    sample = ActionSample(capacity=10)
    for i in range(1000):
        sample.add(i)
        assert len(sample.actions) <= 10
    gaps = set(np.diff(sample.actions).tolist())
    assert sample.actions[0] == 0
    assert gaps == {128}  # 8 actions, evenly spaced over all 1000
    assert len(sample.actions) == 8


def test_the_writer_is_left_behind_by_a_pickle(writers, tmp_path):
    env = TrainMonitor(Fixed(), tensorboard_dir=tmp_path)
    play(env, 1, 1, 1)
    other = copy.deepcopy(env)
    assert other.get_counters()["_tensorboard_dir"] == env.get_counters()["_tensorboard_dir"]
    assert other.tensorboard is writers[1]  # one of its own


def test_counters_bring_their_folder(writers, tmp_path):
    env, other = TrainMonitor(Fixed(), tensorboard_dir=tmp_path), TrainMonitor(Fixed())
    other.set_counters(env.get_counters())
    assert other.tensorboard.directory == env.tensorboard.directory


def test_without_tensorboard():
    assert TrainMonitor(Fixed()).tensorboard is None


def test_tensorboardX_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    env = TrainMonitor(Fixed(), tensorboard_dir=tmp_path)
    with pytest.raises(ImportError, match=r"tensorboardX is missing. Fix: pip install 'coax\[tensorboard\]'"):
        _ = env.tensorboard


def test_real_event_files(tmp_path):
    pytest.importorskip("tensorboardX")
    env = TrainMonitor(Fixed(), tensorboard_dir=tmp_path)
    play(env, 1, 2, 3)
    env.close()
    assert [path for path in tmp_path.glob("*/events.out.tfevents.*") if path.stat().st_size > 0]
