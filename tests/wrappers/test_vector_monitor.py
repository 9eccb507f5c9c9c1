"""The monitor of several environments: what it counts is in tests/envs/test_vector_conformance.py."""

import time
from typing import ClassVar

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import coax
from coax.wrappers import LastObservation, TrainMonitor, VectorLastObservation, VectorTrainMonitor
from tests.envs.schedule import Make, act, make


class Careless(gymnasium.vector.VectorEnv):
    """Two environments; the second one is over from its first step on, and goes on. Rewards are 1, 2, 3, ..."""

    metadata: ClassVar[dict] = {"autoreset_mode": AutoresetMode.DISABLED}
    num_envs = 2
    single_observation_space = gymnasium.spaces.Discrete(9)
    single_action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.n = 0
        return np.zeros(2, int), {}

    def step(self, actions):
        self.n += 1
        return np.full(2, self.n), np.full(2, self.n), np.array([False, True]), np.zeros(2, bool), {}


def monitored(mode=AutoresetMode.SAME_STEP, n=3, **kwargs):
    envs = TrainMonitor(SyncVectorEnv([Make(number) for number in range(n)], autoreset_mode=mode), **kwargs)
    envs.reset(seed=0)
    return envs


def play(envs, steps):
    for _ in range(steps):
        coax.envs.transition(envs, act(envs.observation)[0])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_line_for_each_episode(mode, caplog):
    envs = monitored(mode, log_all_metrics=True)
    with caplog.at_level("INFO"):
        for i in range(4):
            envs.record_metrics({"loss": float(i)})
            play(envs, 1)
    # Episodes of environment 0 have 2 and 1 steps, of 2 they have 1 and 5; actions 0, 1; 2 and so on. Rewards are the
    # number + 10 episode + 0.5 step + 100 action.
    messages = [record.message for record in caplog.records if record.name.startswith("TrainMonitor")]
    lines = [dict(cell.split(": ") for cell in message.split(",\t")) for message in messages]
    shown = [(line["t"], line["G"]) for line in lines]
    first = ("1", f"{2 + 100 * 2:g}")  # environment 2
    second = ("2", "100")  # environment 0: 0.5 + 100, of which three digits are shown
    assert shown[:2] == [first, second]
    assert [line["loss"] for line in lines[:2]] == ["0", "1"]  # what was recorded since the line before


def test_what_stays_of_a_partial_reset():
    envs = monitored(AutoresetMode.DISABLED)
    envs.step(np.array([0, 1, 2]))
    assert envs.over.tolist() == [False, False, True]
    assert (envs.T, envs.ep) == (3 + 3, 3)
    envs.reset(options={"reset_mask": np.array([False, True, True])})
    assert envs.over.tolist() == [False, False, False]
    assert (envs.T, envs.ep, envs.t.tolist()) == (3 + 3 + 2, 5, [1, 0, 0])
    assert envs.G[0] == 0
    assert np.isnan(envs.avg_r[1:]).all()


@pytest.mark.parametrize("wrap", [LastObservation, TrainMonitor])
def test_which_episodes_are_over(wrap):
    class Lasting(Careless):
        def step(self, actions):
            S, R, _, truncated, info = super().step(actions)
            return S, R, np.array([True, True]), truncated, info

    envs = wrap(Lasting())
    envs.reset()
    envs.step(np.zeros(2, int))
    assert envs.over.tolist() == [True, True]
    envs.reset(options={"reset_mask": np.array([False, True])})
    assert envs.over.tolist() == [True, False]
    envs.reset()
    assert envs.over.tolist() == [False, False]
    envs = wrap(SyncVectorEnv([Make(2)], autoreset_mode=AutoresetMode.SAME_STEP))
    envs.reset(seed=0)
    _, _, terminated, *_ = envs.step(np.zeros(1, int))
    assert terminated.all()
    assert not envs.over.any()  # the next one has begun


def test_the_state_of_a_run():
    one, other = monitored(), monitored()
    play(one, 7)
    one.record_metrics({"loss": 3.0})
    assert one.period("checkpoint", T_period=5)
    other.state = one.state
    for name in ("T", "ep", "t", "G", "avg_G"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
    assert other.get_metrics() == {"loss": 3.0}
    assert not other.period("checkpoint", T_period=50)
    other.t[0] = 99
    assert one.t[0] != 99
    with pytest.raises(TypeError, match=r"VectorTrainMonitor"):
        other.state = monitored(n=2).state


def test_a_copy_through_pickle():
    envs = monitored()
    play(envs, 5)
    twin = cloudpickle.loads(cloudpickle.dumps(envs))
    play(envs, 3)
    play(twin, 3)
    assert (twin.T, twin.ep) == (envs.T, envs.ep)
    np.testing.assert_array_equal(twin.G, envs.G)


def test_around_single_environments_they_are_as_before():
    assert type(TrainMonitor(make(0))) is TrainMonitor
    assert type(LastObservation(make(0))) is LastObservation
    envs = SyncVectorEnv([Make(0)])
    assert type(TrainMonitor(envs)) is VectorTrainMonitor
    assert type(LastObservation(envs)) is VectorLastObservation
    assert isinstance(TrainMonitor(envs), VectorLastObservation)


def test_before_the_first_reset():
    envs = TrainMonitor(SyncVectorEnv([Make(0)]))
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"there is none before the first reset"):
        _ = envs.observation
    assert (envs.T, envs.ep) == (0, 0)


def test_seeds_and_options_are_passed_on():
    class Spy(gymnasium.vector.VectorWrapper):
        def reset(self, *, seed=None, options=None):
            seen.append((seed, options))
            return self.env.reset(seed=seed)

    seen = []
    for wrap in (LastObservation, TrainMonitor):
        wrap(Spy(SyncVectorEnv([Make(0)]))).reset(seed=[3], options={"a": 1})
    assert seen == [([3], {"a": 1})] * 2


def test_tensorboard_gets_each_episode(tmp_path):
    pytest.importorskip("tensorboardX")
    envs = monitored(tensorboard_dir=str(tmp_path))
    play(envs, 5)
    envs.close()
    assert list(tmp_path.rglob("events.*"))


def test_counters_in_a_file(tmp_path):
    envs, other = monitored(), monitored()
    play(envs, 7)
    envs.record_metrics({"loss": 3.0})
    envs.save_counters(tmp_path / "counters")
    other.load_counters(tmp_path / "counters")
    for name in ("T", "ep", "t", "G", "avg_G"):
        np.testing.assert_array_equal(getattr(other, name), getattr(envs, name))
    assert other.get_metrics() == {"loss": 3.0}
    assert np.isfinite(other.dt_ms[other.t > 0]).all()
    assert np.isnan(other.get_counters()["_ep_starttime"]).tolist() == (envs.t == 0).tolist()
    with pytest.raises(TypeError, match=r"t.*expected"):
        other.set_counters(monitored(n=2).get_counters())
    assert other.T == envs.T


def test_the_clock_runs_on_after_a_state_was_restored(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    envs, other = monitored(AutoresetMode.DISABLED), monitored(AutoresetMode.DISABLED)
    now = 101.0
    envs.step(np.zeros(3, int))
    np.testing.assert_allclose(envs.dt_ms, [1000, 1000, 1000])  # the episode of the last one is over
    other.state = envs.state
    now = 105.0
    other.step(np.zeros(3, int))  # its clock starts with this step
    now = 106.0
    np.testing.assert_allclose(other.dt_ms, [1000, 1000, 500])  # 1 s before, and 1 s or none now, for two steps


def test_steps_after_the_end_of_an_episode():
    envs = TrainMonitor(Careless())
    envs.reset()
    for _ in range(3):
        envs.step(np.zeros(2, int))
    assert (envs.T, envs.ep, envs.t.tolist(), envs.G.tolist()) == (2 + 6, 2, [3, 1], [6, 1])
    assert (envs.avg_G, envs._n_avg_G) == (1, 1)
