"""The same transitions from one environment and from several at once, whatever those do at the end of an episode."""

import collections

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import coax
from coax.reward_tracing import LambdaReturn, MonteCarlo, NStep
from coax.wrappers import LastObservation, TrainMonitor
from tests.envs.schedule import LIMIT, Make, act, make, numbers_in

N = 3
EPISODES = 7  # that are compared; more are begun
KINDS = ("box", "dict", "tuple")


def value(S):
    return numbers_in(S) @ np.array([0.3, 0.7, 0.11])


def tracers(num_envs=None):
    return {
        "n = 1": NStep(1, 0.9, num_envs=num_envs),
        "n = 3": NStep(3, 0.9, num_envs=num_envs),
        "n = 3, with the steps": NStep(3, 0.9, record_extra_info=True, num_envs=num_envs),
        "whole episodes": MonteCarlo(0.9, num_envs=num_envs),
        "lambda-returns": LambdaReturn(4, 0.9, 0.8, value, num_envs=num_envs),
    }


def rows_of(batch):
    """Each transition as something hashable, those of the first episodes."""
    leaves = jax.tree.leaves((batch.S, batch.A, batch.S_next, batch.A_next, batch.extra_info))
    numbers = (batch.logP, batch.Rn, batch.In, batch.logP_next, batch.W)
    early = numbers_in(batch.S)[:, 1] < EPISODES
    for i in np.flatnonzero(early):
        exact = tuple((x.dtype.str, x[i].tobytes()) for x in map(np.asarray, leaves))
        yield exact, " ".join(f"{x[i]:.2f}" for x in numbers)  # as text: an unknown logP_next is NaN


def collect(found, traced, flush):
    for name, tracer in traced.items():
        if flush:
            if tracer:
                found[name].update(rows_of(tracer.flush()))
        else:
            while tracer:
                found[name].update(rows_of(tracer.pop()))


def one_by_one(kind):
    """The transitions of each tracer, from single environments."""
    found = {name: collections.Counter() for name in tracers()}
    for number in range(N):
        env, traced = LastObservation(make(number, kind)), tracers()
        env.reset(seed=number)
        for _ in range(LIMIT * (EPISODES + 1)):
            A, logP = act(env.observation)
            S, S_next, R, terminated, truncated, _ = coax.envs.transition(env, int(A))
            for tracer in traced.values():
                tracer.add(S, A[()], R, terminated, logP, truncated=truncated, s_next=S_next)
            collect(found, traced, flush=False)
    return found


def all_at_once(envs, flush, memory=None):
    """The same from vector environments."""
    memory = memory or envs
    found, traced = {name: collections.Counter() for name in tracers()}, tracers(N)
    envs.reset(seed=0)
    for _ in range(2 * LIMIT * (EPISODES + 1)):
        A, logP = act(memory.observation)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(envs, A)
        for tracer in traced.values():
            tracer.add(S, A, R, terminated, logP, truncated=truncated, s_next=S_next, mask=mask)
        collect(found, traced, flush)
    envs.close()
    return found


def test_the_reference_by_hand():
    # Environment 0 has episodes of 2 (terminated), 1 (terminated), 5 (cut off), 2, 1, 5, 2 steps; the others by the
    # same rule: 1 has 5, 4, 3, 5, 4, 3, 5 and 2 has 1, 5, 2, 1, 5, 2, 1. In all 18 + 29 + 17 steps.
    found = one_by_one("box")
    assert {name: rows.total() for name, rows in found.items()} == dict.fromkeys(found, 18 + 29 + 17)
    assert all(most == 1 for rows in found.values() for _, most in rows.most_common(1))
    # The first episode of environment 0: actions 0, 1; rewards 0 and 0.5 + 100; log-propensities -0.1 and -0.2.
    assert "-0.10 0.00 0.90 -0.20 1.00" in [numbers for _, numbers in found["n = 1"]]
    assert "-0.10 90.45 0.00 -0.10 1.00" in [numbers for _, numbers in found["whole episodes"]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrap", [LastObservation, TrainMonitor])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_several_in_one_process(mode, wrap, kind):
    envs = wrap(SyncVectorEnv([Make(number, kind) for number in range(N)], autoreset_mode=mode))
    assert all_at_once(envs, flush=True) == one_by_one(kind)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_popped_one_by_one(mode):
    envs = LastObservation(SyncVectorEnv([Make(number) for number in range(N)], autoreset_mode=mode))
    assert all_at_once(envs, flush=False) == one_by_one("box")


@pytest.mark.gate
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_several_processes(mode, kind):
    makers = [Make(number, kind) for number in range(N)]
    envs = LastObservation(AsyncVectorEnv(makers, autoreset_mode=mode, context="spawn"))
    assert all_at_once(envs, flush=True) == one_by_one(kind)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_what_a_monitor_counts(mode):
    envs = TrainMonitor(SyncVectorEnv([Make(number) for number in range(N)], autoreset_mode=mode), smoothing=1e9)
    envs.reset(seed=0)
    assert (envs.T, envs.ep, envs.t.tolist(), envs.G.tolist()) == (3, 3, [0, 0, 0], [0, 0, 0])
    returns, steps = [], 0
    G = np.zeros(N)
    for _ in range(40):
        A, _ = act(envs.observation)
        _, _, R, terminated, truncated, mask = coax.envs.transition(envs, A)
        steps += mask.sum()
        G = G + np.where(mask, R, 0)
        for i in np.flatnonzero(terminated | truncated):
            returns.append(G[i])
            G[i] = 0
    # In the mode NEXT_STEP those that ended with the very last step are not begun anew yet.
    begun = N + len(returns) - (int(envs.over.sum()) if mode is AutoresetMode.NEXT_STEP else 0)
    assert (envs.ep, envs.T) == (begun, begun + steps)
    assert envs.avg_G == pytest.approx(np.mean(returns))
    running = ~envs.over
    np.testing.assert_allclose(envs.G[running], G[running])
    np.testing.assert_array_equal(envs.t[running], numbers_in(envs.observation)[running, 2])
    stepped = envs.t > 0
    np.testing.assert_allclose(envs.avg_r[stepped], envs.G[stepped] / envs.t[stepped])
    assert np.isnan(envs.avg_r[~stepped]).all()


def test_a_mode_that_is_not_known():
    envs = SyncVectorEnv([Make(0)])
    envs.metadata = {**envs.metadata, "autoreset_mode": "sometimes"}
    for wrap in (LastObservation, TrainMonitor):
        with pytest.raises(
            ValueError, match=r"expected one of .*NEXT_STEP.* in env\.metadata\['autoreset_mode'\], got 's"
        ):
            wrap(envs)


def test_without_a_memory():
    envs = SyncVectorEnv([Make(0)])
    envs.reset()
    with pytest.raises(TypeError, match=r"does not remember its last observation\. Fix: wrap it in coax\.wrappers"):
        coax.envs.transition(envs, np.zeros(1, int))


def test_a_wrapper_around_the_memory():
    memory = LastObservation(SyncVectorEnv([Make(number) for number in range(N)]))
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(memory)
    assert all_at_once(envs, flush=True, memory=memory) == one_by_one("box")


def test_same_step_without_the_last_observations():
    class Forgetful(gymnasium.vector.VectorWrapper):
        def step(self, actions):
            *out, _ = self.env.step(actions)
            return (*out, {})

    envs = Forgetful(SyncVectorEnv([Make(2)], autoreset_mode=AutoresetMode.SAME_STEP))
    envs = LastObservation(envs)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected info\['final_obs'\] from .*, whose autoreset mode is SAME_STEP"):
        coax.envs.transition(envs, np.zeros(1, int))  # this episode has one step


def test_a_wrapper_outside_that_changes_observations():
    envs = LastObservation(SyncVectorEnv([Make(0), Make(1)]))
    envs = gymnasium.wrappers.vector.TransformObservation(envs, lambda S: 100 * S)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"to be the one that VectorLastObservation remembers, got another one"):
        coax.envs.transition(envs, np.zeros(2, int))


def test_views_of_observations_that_are_written_over():
    class Views(gymnasium.vector.VectorWrapper):
        def step(self, actions):
            S, *rest = self.env.step(actions)
            return (S[:], *rest)

    envs = LastObservation(Views(SyncVectorEnv([Make(0)], copy=False)))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="got the last ones written over"):
        coax.envs.transition(envs, np.zeros(1, int))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_observations_that_are_written_over(mode, kind):
    envs = LastObservation(SyncVectorEnv([Make(0, kind)], copy=False, autoreset_mode=mode))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected new observations from .*, got the last ones written over\. Fix: "):
        coax.envs.transition(envs, np.zeros(1, int))
