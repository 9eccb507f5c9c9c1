"""The monitor inside JAX: the counts of the one on the host, and reports from inside a compiled loop."""

import logging
import sys
from types import SimpleNamespace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import coax
from coax.envs import FunctionalEnv, JaxVectorEnv, Outcome
from coax.errors import StateError
from coax.wrappers import DeviceTrainMonitor, TrainMonitor

N = 3


class Drawn(FunctionalEnv):
    """Episodes of 1 to 9 steps with a reward of 0.5 times the step."""

    observation_space = Box(0, 100, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, key):
        state = {"length": jax.random.randint(key, (), 1, 10), "t": 0}
        return state, jnp.stack([state["length"], state["t"]])

    def step(self, state, action, key):
        state = {**state, "t": state["t"] + 1}
        S = jnp.stack([state["length"], state["t"]])
        return Outcome(state, S, 0.5 * state["t"], state["t"] == state["length"])


DRAWN = Drawn()
A = np.zeros(N, int)


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def make(**kwargs):
    env = DeviceTrainMonitor(JaxVectorEnv(DRAWN, N, random_seed=4), **kwargs)
    lines = Lines()
    env.logger.addHandler(lines)
    return env, lines.lines


def values(line):
    return {
        name: float(x.replace(",", "").rstrip("ms")) for name, x in (part.split(": ") for part in line.split(",\t"))
    }


def test_it_counts_as_the_monitor_on_the_host():
    env, _ = make(smoothing=4)
    host = TrainMonitor(JaxVectorEnv(DRAWN, N, random_seed=4), smoothing=4)
    env.reset(seed=1)
    host.reset(seed=1)
    # it counts the episodes that were there when it was made, which the other does not see
    begun = N
    for _ in range(50):
        coax.envs.transition(env, A)
        coax.envs.transition(host, A)
        assert (env.T - begun, env.ep - begun) == (host.T, host.ep)
        np.testing.assert_array_equal(env.t, host.t)
        np.testing.assert_allclose(env.G, host.G, rtol=1e-6)
        np.testing.assert_allclose(env.avg_G, host.avg_G, rtol=1e-5)
    assert host.ep > 20


def test_the_same_in_a_compiled_loop():
    env, _ = make()
    other, _ = make()
    coax.scan(lambda: coax.envs.transition(env, jnp.asarray(A)).R, 40, over=env)
    for _ in range(40):
        other.step(A)
    assert (env.T, env.ep) == (other.T, other.ep)
    np.testing.assert_array_equal(env.t, other.t)
    np.testing.assert_allclose(env.avg_G, other.avg_G, rtol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_reports(compiled):
    env, lines = make(every=20, metrics=["a/loss", "b/loss"], smoothing=4)
    env.reset(seed=1)
    reference = JaxVectorEnv(DRAWN, N)
    reference.reset(seed=1)

    def step(t):
        row = coax.envs.transition(env, jnp.asarray(A))
        env.record_metrics({"a/loss": t * 1.0, "unnamed": 3})
        return row.R

    # reports after steps 7 (21 >= 20), 14 and 21, of 3 environments each
    if compiled:
        coax.scan(step, over=env, xs=jnp.arange(23))
        jax.effects_barrier()
    else:
        for t in range(23):
            step(t)
    assert len(lines) == 3
    rows = [coax.envs.transition(reference, A) for _ in range(21)]
    R, over = (np.stack([getattr(row, name) for row in rows]) for name in ("R", "terminated"))
    length = np.stack([row.S[:, 0] for row in rows])
    T, ep, avg_G, count = 2 * N, 2 * N, 0.0, 0
    for i, line in enumerate(lines):
        part = slice(7 * i, 7 * i + 7)
        lengths = length[part][over[part]]
        T, ep = T + 21 + len(lengths), ep + len(lengths)
        returns = 0.5 * lengths * (lengths + 1) / 2
        for G in returns:
            count = min(4, count + 1)
            avg_G += (G - avg_G) / count
        found = values(line)
        assert (found["T"], found["ep"]) == (T, ep)
        assert found["G"] == pytest.approx(returns.mean(), rel=1e-2)  # three digits are shown
        assert found["avg_G"] == pytest.approx(avg_G, rel=1e-2)
        assert found["avg_r"] == pytest.approx(R[part].mean(), rel=1e-2)
        assert found["t"] == round(lengths.mean())
        # metrics of a step come after its count: the first interval has those of steps 0 to 5, then 6 to 12, ...
        steps = np.arange(0, 6) if i == 0 else np.arange(7 * i - 1, 7 * i + 6)
        assert found["a/loss"] == pytest.approx(steps.mean(), rel=1e-2)
        assert found["dt"] > 0
        assert "b/loss" not in found
        assert "unnamed" not in found


def test_what_is_left_is_reported_at_the_end():
    env, lines = make(every=1000)
    for _ in range(5):
        env.step(A)
    assert lines == []
    env.close()
    env.close()
    assert len(lines) == 1
    assert values(lines[0])["T"] == env.T


def test_an_interval_without_the_end_of_an_episode():
    env, lines = make(every=1)
    env.env.state = {
        **env.env.state,
        "simulator": {"length": jnp.full(N, 100), "t": jnp.zeros(N, jnp.int32)},
    }
    env.step(A)
    assert "G: nan" in lines[0]
    assert values(lines[0])["t"] == 0


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    env, _ = make(every=30, metrics=["loss"], tensorboard_dir=tmp_path / "20240101_000000")
    coax.scan(lambda: (env.step(jnp.asarray(A)), env.record_metrics({"loss": 2.0}))[1], 30, over=env)
    jax.effects_barrier()
    env.close()
    events = reader.EventAccumulator(str(tmp_path / "20240101_000000"))
    events.Reload()
    assert [x.value for x in events.Scalars("loss")] == [2.0, 2.0, 2.0]
    assert len(events.Scalars("episode/return")) == 3


class Writer:
    """Stands for a writer of TensorBoard."""

    def __init__(self, directory=None):
        self.rows = []

    def add_scalar(self, name, value, global_step):
        self.rows.append((name, value, global_step))

    def flush(self):
        pass


def test_scalars(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    env, _ = make(every=3, metrics=["x"], tensorboard_dir=tmp_path)
    writer = env._sink.writer._writer = Writer()
    env.record_metrics({"x": np.array([1.0, 4.0])})
    env.step(A)
    found = {name: value for name, value, _ in writer.rows}
    assert found["x"] == 2.5
    assert found["episode/avg_reward"] == 0.5
    assert {T for *_, T in writer.rows} == {env.T}


def test_state_goes_on():
    env, _ = make()
    for _ in range(10):
        env.step(A)
    other, _ = make()
    other.state, other.env.state = env.state, env.env.state
    for monitor in (env, other):
        monitor.step(A)
    assert (env.T, env.ep, env.avg_G) == (other.T, other.ep, other.avg_G)
    np.testing.assert_array_equal(env.G, other.G)


def test_the_count_does_not_wrap():
    env, _ = make()
    env.state = {**env.state, "T": jnp.int32(2**31 - 3), "ep": jnp.int32(2**31 - 1)}
    for _ in range(12):
        env.step(A)
    assert (env.T, env.ep) == (2**31 - 1, 2**31 - 1)


def test_a_failing_report_is_raised_by_the_next_call():
    env, _ = make(every=3)

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("the disk is full")

    handler = Broken()
    env.logger.addHandler(handler)
    run = coax.jit(lambda: env.step(jnp.asarray(A))[1], over=env)
    run()
    jax.effects_barrier()
    T = env.T
    assert T >= 2 * N  # counted all the same
    env.logger.removeHandler(handler)
    with pytest.raises(OSError, match="the disk is full"):
        run()
    run()
    assert env.T > T


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupt_in_a_report_loses_nothing(error):
    env, _ = make(every=4)
    buffer = coax.experience_replay.DeviceReplayBuffer(100, env, random_seed=0)
    tracer = coax.reward_tracing.DeviceNStep(1, 0.9, env)

    class Interrupted(logging.Handler):
        def emit(self, record):
            raise error("now")

    def step():
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, jnp.asarray(A))
        buffer.add(*tracer.add(S, jnp.asarray(A), R, terminated, truncated=truncated, s_next=S_next, mask=mask))

    coax.scan(step, 5, over=(env, buffer, tracer))
    jax.effects_barrier()
    T = env.T
    env.logger.addHandler(handler := Interrupted())

    def twice():
        for _ in range(2):
            coax.scan(step, 5, over=(env, buffer, tracer))
            jax.effects_barrier()

    with pytest.raises(BaseException, match=r"now|KeyboardInterrupt"):  # jax wraps an interrupt
        twice()
    env.logger.removeHandler(handler)
    assert env.T >= T
    assert len(buffer) in (15, 30)
    np.testing.assert_array_equal(env.observation.shape, (N, 2))
    coax.scan(step, 5, over=(env, buffer, tracer))
    assert len(buffer) in (30, 45)


def test_a_copy_has_environments_of_its_own():
    env, _ = make()
    before = env.observation
    other = env.copy()
    other.step(A)
    np.testing.assert_array_equal(env.observation, before)
    assert env.T == N


def test_reset_in_the_middle():
    env, _ = make()
    env.env.state = {**env.env.state, "simulator": {"length": jnp.full(N, 50), "t": jnp.zeros(N, jnp.int32)}}
    env.step(A)
    env.step(A)
    env.reset(options={"reset_mask": [True, False, False]})
    # two steps with rewards 0.5 and 1 in the others
    assert (env.t.tolist(), env.G.tolist()) == ([0, 2, 2], [0.0, 1.5, 1.5])
    assert (env.T, env.ep) == (N + 2 * N + 1, N + 1)


def test_metrics_with_many_entries_and_metrics_that_are_not_a_number():
    env, lines = make(every=3, metrics=["a", "b", "c"], log_all_metrics=True)
    env.record_metrics({"a": np.array([1.0, 2.0, 3.0]), "b": float("nan")})
    env.record_metrics({"a": 10.0})
    env.step(A)
    assert "a: 4,\tb: nan" in lines[0]  # (1 + 2 + 3 + 10) / 4
    assert "c:" not in lines[0]


def test_intervals_of_many_steps():
    env, lines = make(every=2**24 + 6)
    env.state = {**env.state, "counts": jnp.array([2**24, 0, 0], jnp.int32)}
    env.step(A)
    assert not lines
    env.step(A)
    assert len(lines) == 1


def test_the_last_report_may_fail_too():
    env, _ = make(every=3)

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("the disk is full")

    env.logger.addHandler(Broken())
    coax.scan(lambda: env.step(jnp.asarray(A))[1], 1, over=env)
    jax.effects_barrier()
    with pytest.raises(OSError, match="the disk is full"):
        env.close()


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.gate
def test_under_vmap():
    env, _ = make()
    init, apply = coax.transform(lambda: env.step(jnp.asarray(A))[1], over=env)
    states = jax.vmap(init)(jax.random.split(jax.random.key(0), 2))
    with pytest.raises(StateError, match=r"under jax\.vmap, where reports have no order\. Fix: leave it out"):
        jax.vmap(apply)(states)


def test_around_what_is_on_the_host():
    envs = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync")
    with pytest.raises(TypeError, match=r"expected a coax\.envs\.JaxVectorEnv, got SyncVectorEnv\. Fix: use coax"):
        DeviceTrainMonitor(envs)


def test_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tensorboardX is missing\. Fix: pip install 'coax\[tensorboard\]'"):
        make(tensorboard_dir=tmp_path)


def test_around_another():
    env, _ = make()
    with pytest.raises(TypeError, match=r"expected a coax\.envs\.JaxVectorEnv, got DeviceTrainMonitor"):
        DeviceTrainMonitor(env)


def test_metrics_that_were_not_named():
    env, _ = make(metrics=["a/loss"])
    with pytest.raises(ValueError, match=r"expected some of the metrics \['a/loss'\], got \['b/loss'\]\. Fix: name"):
        env.record_metrics({"b/loss": 1.0})
    with pytest.raises(TypeError, match="metrics: expected a mapping"):
        env.record_metrics(3)


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"every": 0}, ValueError, "every: expected at least 1, got 0"),
        ({"every": 0.5}, TypeError, r"every: expected an integer, got 0\.5"),
        ({"metrics": [1]}, TypeError, "metrics: expected names"),
        ({"metrics": ["a", "a"]}, ValueError, "metrics: expected each name once"),
        ({"smoothing": 0.5}, ValueError, r"smoothing: expected a number in \[1, inf\), got 0\.5"),
        ({"smoothing": "x"}, TypeError, "smoothing: expected a number, got 'x'"),
    ],
)
def test_arguments(kwargs, error, text):
    with pytest.raises(error, match=text):
        make(**kwargs)
