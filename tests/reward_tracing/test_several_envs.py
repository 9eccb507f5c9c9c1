"""Tracers of several environments at once: what they take, refuse, and keep. The transitions themselves are compared in
tests/envs/test_vector_conformance.py."""

import copy
import pickle

import jax
import numpy as np
import pytest

from coax.errors import EpisodeDoneError, InsufficientCacheError
from coax.reward_tracing import LambdaReturn, MonteCarlo, NStep


def zero(S):
    return np.zeros(len(S))


MAKE = {
    "n-step": lambda **kwargs: NStep(2, 0.5, **kwargs),
    "whole episodes": lambda **kwargs: MonteCarlo(0.5, **kwargs),
    "lambda-returns": lambda **kwargs: LambdaReturn(None, 0.5, 1.0, zero, **kwargs),
}


def step(i, n=2, **changes):
    """Step i of n environments: observation, action and reward are i, of the second one i + 100."""
    x = i + 100 * np.arange(n)
    return {"s": x.astype(np.float32), "a": x, "r": x.astype(float), "done": np.zeros(n, bool), **changes}


def assert_same(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b)


def test_returns_of_two_episodes_by_hand():
    # Rewards 1, 2 and 101, 102, 103: G = 1 + 2/2 and 2; 101 + 102/2 + 103/4, 102 + 103/2 and 103.
    tracer = MonteCarlo(0.5, num_envs=2)
    tracer.add(**step(1))
    tracer.add(**step(2, done=np.array([True, False])))
    assert (bool(tracer), len(tracer), tracer.num_envs) == (True, 4, 2)
    batch = tracer.flush()
    assert (batch.A.tolist(), batch.Rn.tolist(), batch.In.tolist()) == ([2, 1], [2, 2], [0, 0])
    assert not tracer
    tracer.add(**step(3, done=np.array([False, True])))
    batch = tracer.flush()
    assert (batch.A.tolist(), batch.Rn.tolist()) == ([103, 102, 101], [103, 153.5, 177.75])
    assert len(tracer) == 1


def test_popped_one_by_one_the_first_environment_comes_first():
    tracer = NStep(1, 0.5, num_envs=2)
    tracer.add(**step(1, done=np.array([True, True])))
    assert [tracer.pop().A.tolist() for _ in range(2)] == [[1], [101]]
    with pytest.raises(InsufficientCacheError, match="expected a transition to pop"):
        tracer.pop()


def test_what_is_given_for_each_and_for_all():
    tracer = NStep(1, 0.5, num_envs=2)
    more = {"logp": np.array([-1.0, -2.0]), "w": np.array([3.0, 4.0]), "s_next": np.array([7.0, 8.0], np.float32)}
    tracer.add(**step(1, truncated=np.array([False, True]), **more))
    tracer.add(**step(2, done=np.array([True, True])), mask=np.array([True, False]))
    batch = tracer.flush()
    assert batch.A.tolist() == [1, 2, 101]
    assert batch.logP.tolist() == [-1, 0, -2]
    assert batch.W.tolist() == [3, 1, 4]
    assert batch.In.tolist() == [0.5, 0, 0.5]
    assert batch.S_next.tolist() == [7, 2, 8]
    np.testing.assert_array_equal(batch.logP_next, [0, 0, np.nan])


def test_a_row_that_is_no_step():
    tracer = NStep(1, 0.5, num_envs=3)
    tracer.add(**step(1, 3, done=np.ones(3, bool)), mask=np.array([True, False, True]))
    assert tracer.flush().A.tolist() == [1, 201]
    single = NStep(1, 0.5)
    single.add(0, 0, 1.0, True, mask=False)
    assert not single
    single.add(0, 0, 1.0, True, mask=np.True_)
    assert single


def test_one_environment_has_an_axis_too():
    tracer = NStep(1, 0.5, num_envs=1)
    tracer.add(**step(1, 1, done=np.ones(1, bool)))
    assert tracer.pop().S.tolist() == [1]


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_reset_forgets_all(make):
    tracer = make(num_envs=2)
    tracer.add(**step(1, done=np.ones(2, bool)))
    tracer.reset()
    assert (len(tracer), bool(tracer)) == (0, False)


WRONG = [
    (
        {"s": np.zeros(3)},
        ValueError,
        r"s: expected an entry for each of 2 environments, got \[3\]\. Fix: pass what the",
    ),
    ({"a": 0}, ValueError, r"a: expected an entry for each of 2 environments, got \[\]"),
    ({"s": {"x": np.zeros(2), "y": np.zeros(1)}}, ValueError, r"s: expected an entry for each of 2 .*, got \[1\]"),
    ({"r": np.zeros((3, 1))}, ValueError, r"r: expected an entry for each of 2 environments, got \[3, 1\]"),
    ({"done": True}, ValueError, r"done: expected an entry for each of 2 environments, got \[\]"),
    (
        {"mask": np.ones(1, bool)},
        ValueError,
        r"mask: expected a bool for each of 2 environments, got bool of shape \[1\]",
    ),
    ({"mask": np.zeros((2, 1), bool)}, ValueError, r"mask: expected a bool for each .*, got bool of shape \[2, 1\]"),
    ({"mask": np.array([1.0, np.nan])}, ValueError, r"mask: expected a bool for each .*, got float64 of shape \[2\]"),
    ({"r": [0.0]}, ValueError, r"r: expected an entry for each of 2 environments, got \[1\]"),
    ({"done": np.array([0.5, 0])}, TypeError, r"done: expected"),
    ({"truncated": np.array([False, True])}, ValueError, r"s_next"),
]


@pytest.mark.parametrize(("changes", "error", "text"), WRONG)
def test_after_an_error_nothing_is_added(changes, error, text):
    tracer = NStep(1, 0.5, num_envs=2)
    with pytest.raises(error, match=text):
        tracer.add(**step(1, **changes))
    assert len(tracer) == 0


def test_several_environments_in_a_tracer_of_one():
    with pytest.raises(TypeError, match=r"done: expected a bool, got shape \(2,\)\. .* make the tracer with num_envs="):
        NStep(1, 0.5).add(**step(1))


def test_lists_are_as_good_as_arrays():
    one, other = NStep(1, 0.5, num_envs=2), NStep(1, 0.5, num_envs=2)
    for t, done in ((1, [False, True]), (2, [True, False])):
        given = step(t, r=np.array([1.0, 2.0]), done=np.array(done))
        one.add(**given)
        other.add(**{**given, "a": given["a"].tolist(), "r": [1, 2.0], "done": done, "mask": [True, True]})
        assert one.flush() == other.flush()


def test_a_step_after_the_end_of_one_episode():
    tracer = NStep(1, 0.5, num_envs=2)
    tracer.add(**step(1, done=np.array([False, True])))
    with pytest.raises(EpisodeDoneError, match="expected no step after the end of the episode"):
        tracer.add(**step(2))
    assert len(tracer) == 2
    assert tracer.flush().A.tolist() == [101]
    tracer.add(**step(2))
    assert len(tracer) == 3


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize(
    ("num_envs", "error", "text"),
    [
        (0, ValueError, r"num_envs: expected at least 1, got 0\. Fix: pass env\.num_envs"),
        (2.0, TypeError, r"num_envs: expected an integer, got 2\.0"),
        (True, TypeError, r"num_envs: expected an integer, got True"),
    ],
)
def test_numbers_of_environments_that_cannot_be(make, num_envs, error, text):
    with pytest.raises(error, match=text):
        make(num_envs=num_envs)
    assert make().num_envs is None


# --- state


def filled(make):
    tracer = make(num_envs=2)
    for i in range(3):
        tracer.add(**step(i, s_next=step(i + 1)["s"]))
    return tracer


def finish(tracer):
    tracer.add(**step(3, done=np.array([True, False])))
    return tracer.flush()


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, lambda tracer: tracer.copy(), lambda tracer: pickle.loads(pickle.dumps(tracer))],
    ids=["copy", "deepcopy", "method", "pickle"],
)
def test_a_copy_goes_on_identically_and_alone(twin, make):
    tracer = filled(make)
    other = twin(tracer)
    batch = finish(tracer)
    assert len(other) == 6
    assert finish(other) == batch
    assert_same(tracer.state, other.state)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_restored_it_goes_on_identically(make):
    tracer, other = filled(make), make(num_envs=2)
    other.state = tracer.state
    assert finish(other) == finish(tracer)
    other.state = other.init(None)
    assert len(other) == 0


def test_a_state_that_does_not_fit():
    tracer = filled(MAKE["n-step"])
    before = tracer.state
    for new, text in (
        (
            NStep(2, 0.5).state,
            r"NStep\.state\['streams'\]: expected 2 of them, got NoneType\. Fix: give the state of a",
        ),
        (NStep(2, 0.5, num_envs=3).state, r"NStep\.state\['streams'\]: expected 2 of them, got 3 of them"),
        (
            {"streams": [before["streams"][0], {}]},
            r"NStep\.state\['streams'\]\[1\]: expected a dict of \['a', .*got \[\]",
        ),
    ):
        with pytest.raises(TypeError, match=text):
            tracer.state = new
        assert_same(before, tracer.state)
