"""An episode is shown, and no counter moves, wherever the monitors are."""

import time

import gymnasium
import haiku as hk
import jax
import numpy as np
import pytest

import coax
from coax.training import render_episode
from coax.wrappers import LastObservation, TrainMonitor
from tests.training.pictures import Film


def counters(monitor):
    return {name: getattr(monitor, name) for name in ("T", "ep", "t", "G", "avg_G")}


def test_it_is_printed(capsys):
    render_episode(Film(3, "ansi"), lambda s: s + 1)
    # after the reset, and after each step; the action is the observation before, plus 1
    assert capsys.readouterr().out == "step 0, action 0\nstep 1, action 1\nstep 2, action 2\nstep 3, action 3\n"


def test_a_window_shows_itself():
    env = Film(3, "human")
    render_episode(env, lambda s: 0)
    assert (env.t, env.rendered) == (3, 0)


def test_the_delay(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    render_episode(Film(2, "human"), lambda s: 0, step_delay_ms=30)
    assert waits == [0.03] * 3
    render_episode(Film(2, "human"), lambda s: 0)
    assert len(waits) == 3


def test_random_actions(capsys):
    render_episode(Film(30, "ansi"))
    actions = [int(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(actions) == 31
    assert len(set(actions)) > 1
    assert set(actions) <= set(range(5))


@pytest.mark.parametrize("layers", ["M", "MM", "TM", "TMT", "MTM", "LTMML"])
def test_no_counter_moves(layers):
    # from the outside: M a monitor, T a time limit, L what remembers the last observation
    wrappers = {"M": TrainMonitor, "L": LastObservation, "T": lambda env: gymnasium.wrappers.TimeLimit(env, 100)}
    env = Film(3, "human")
    chain = [env]
    for letter in reversed(layers):
        env = wrappers[letter](env)
        chain.append(env)
    monitors = [each for each in chain if isinstance(each, TrainMonitor)]
    inner = [each.env for each in chain[1:]]
    env.reset()
    for _ in range(3):
        env.step(0)
    before = [counters(each) for each in monitors]
    assert before[0]["T"] == 4
    render_episode(env, lambda s: 0)
    assert [counters(each) for each in monitors] == before
    assert all(each.env is one for each, one in zip(chain[1:], inner, strict=True))
    # what was remembered is of an episode that is no more: a loop that goes on without a reset is told so
    for each in chain[1:]:
        if isinstance(each, TrainMonitor | LastObservation):
            with pytest.raises(gymnasium.error.ResetNeeded, match="before the first reset"):
                _ = each.observation
    env.reset()
    env.step(0)
    assert [counters(each)["T"] for each in monitors] == [4 + 2] * len(monitors)


def test_after_an_error_the_monitors_are_back():
    monitor = TrainMonitor(Film(3, "human"))
    env = gymnasium.wrappers.TimeLimit(monitor, 100)
    env.reset()

    def policy(s):
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        render_episode(env, policy)
    assert env.env is monitor

    class Broken(Film):
        def render(self):
            raise OSError("no screen")

    monitor = TrainMonitor(Broken(3, "ansi"))
    env = gymnasium.wrappers.TimeLimit(monitor, 100)
    with pytest.raises(OSError, match="no screen") as caught:  # which holds what was going on
        render_episode(env, lambda s: 0)
    assert caught.tb is not None
    assert env.env is monitor


@pytest.mark.gate
def test_the_random_stream_of_the_policy_is_as_before():
    env = Film(3, "human")
    q = coax.Q(lambda S, is_training: hk.Linear(5)(S), env, random_seed=1)
    pi = coax.EpsilonGreedy(q, epsilon=1.0)
    pi(0)
    params = jax.tree.map(np.array, q.params)
    twin = coax.EpsilonGreedy(q.copy(), epsilon=1.0)
    twin.state = pi.state
    render_episode(env, pi)
    render_episode(env, pi.mode)
    np.testing.assert_array_equal([pi(s) for s in range(20)], [twin(s) for s in range(20)])
    jax.tree.map(np.testing.assert_array_equal, q.params, params)


@pytest.mark.parametrize(
    ("env", "policy", "error", "text"),
    [
        (
            lambda: Film(render_mode="rgb_array"),
            None,
            RuntimeError,
            "expected .* mode 'human' or 'ansi', got 'rgb_array'. Fix: make",
        ),
        (lambda: Film(render_mode=None), None, RuntimeError, "got None. Fix: make it with render_mode='human'"),
        (
            lambda: "CartPole-v1",
            None,
            TypeError,
            "render_episode: expected a single gymnasium.Env, got str. Fix: make one",
        ),
        (lambda: gymnasium.make_vec("CartPole-v1", 2), None, TypeError, "single gymnasium.Env, got CartPoleVectorEnv"),
        (lambda: coax.envs.JaxVectorEnv(coax.envs.CartPole(), 2, random_seed=0), None, TypeError, "got JaxVectorEnv"),
        (
            lambda: Film(render_mode="human"),
            3,
            TypeError,
            "policy: expected a policy or a function of observations, got int",
        ),
    ],
)
def test_errors(env, policy, error, text):
    with pytest.raises(error, match=text):
        render_episode(env(), policy)


def test_it_has_its_old_names():
    assert coax.render_episode is render_episode
    assert coax.utils.render_episode is render_episode
    assert coax.utils.generate_gif is coax.training.generate_gif
