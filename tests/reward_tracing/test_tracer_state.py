import copy
import pickle

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.reward_tracing import MonteCarlo, NStep

from .streams import episodes

TRACERS = {
    "n = 1": lambda: NStep(1, 0.9),
    "n = 3": lambda: NStep(3, 0.9),
    "extra info": lambda: NStep(2, 0.9, record_extra_info=True),
    "Monte-Carlo": lambda: MonteCarlo(0.9),
}


def play(tracer, steps, pops=100):
    """Add steps, and pop at most `pops` transitions after each (all of them at the end of an episode but the last)."""
    out = []
    for i, step in enumerate(steps):
        tracer.add(**step)
        over = (step["done"] or step["truncated"]) and i < len(steps) - 1
        for _ in range(100 if over else pops):
            if tracer:
                out.append(tracer.pop())
    return out


def drain(tracer):
    out = []
    while tracer:
        out.append(tracer.pop())
    return out


def assert_same(xs, ys):
    assert len(xs) == len(ys)
    for x, y in zip(xs, ys, strict=True):
        assert jax.tree.structure(x) == jax.tree.structure(y)
        for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", TRACERS.values(), ids=TRACERS)
@settings(max_examples=40, deadline=None)
@given(stream=episodes(), where=st.integers(0, 24), pops=st.integers(0, 2))
def test_restored_anywhere_it_goes_on_identically(make, stream, where, pops):
    steps = [step for episode in stream for step in episode]
    tracer = make()
    play(tracer, steps[:where], pops)
    state = tracer.state
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(state))
    others = [make(), copy.copy(tracer), copy.deepcopy(tracer), tracer.copy(), pickle.loads(pickle.dumps(tracer))]
    others[0].state = state
    want = drain(tracer) + play(tracer, steps[where:])
    for other in others:
        assert_same(want, drain(other) + play(other, steps[where:]))


def test_a_snapshot_is_not_changed_by_later_calls():
    tracer = NStep(1, 0.9)
    s = np.zeros(2)
    tracer.add(s, 0, 1.0, False)
    state = tracer.state
    s[:] = 7
    tracer.add(s, 0, 2.0, True)
    tracer.flush()
    assert state["s"].tolist() == [[0, 0]]
    tracer.state = state
    state["s"][:] = 5
    tracer.add(s, 0, 2.0, True)
    assert tracer.pop().S.tolist() == [[0, 0]]


def test_nested_observations():
    tracer, other = NStep(2, 0.9), NStep(2, 0.9)
    tracer.add(
        {"x": np.arange(3), "y": (1, 2.0)},
        [0, np.ones(2)],
        1.0,
        False,
        truncated=True,
        s_next={"x": np.ones(3), "y": (5, 6.0)},
    )
    other.state = tracer.state
    assert_same([tracer.pop()], [other.pop()])


def test_init_is_the_state_of_an_empty_tracer():
    tracer = MonteCarlo(0.9)
    for x, y in zip(jax.tree.leaves(tracer.init(None)), jax.tree.leaves(tracer.state), strict=True):
        np.testing.assert_array_equal(x, y)
    tracer.add(0, 0, 1.0, True)
    tracer.state = tracer.init(jax.random.key(0))
    assert len(tracer) == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"s": np.zeros((1, 3), np.float32)}, r"NStep\.state\['s'\]: expected rows of float32\[2\], got float32\[3\]"),
        ({"s": np.zeros((1, 2))}, r"NStep\.state\['s'\]: expected rows of float32\[2\], got float64\[2\]"),
        ({"s": np.zeros((2, 2), np.float32)}, r"NStep\.state\['s'\]: expected 1 rows, got 2"),
        ({"a": (np.zeros(1, int),)}, r"NStep\.state\['a'\]: expected the structure"),
        ({"r": np.zeros(1, np.float32)}, r"NStep\.state\['r'\]: expected float64 with 1 axes, got float32 with 1 axes"),
        ({"end": np.zeros(1, np.int32)}, r"NStep\.state\['end'\]: expected int32 with 0 axes, got int32 with 1 axes"),
        ({"logp": np.zeros(2)}, r"NStep\.state\['logp'\]: expected 1 rows, got 2"),
        ({"has_s_next": np.ones(1, bool)}, r"NStep\.state\['s_next'\]: expected 1 rows, got None"),
        ({"more": np.zeros(1)}, r"NStep\.state: expected a dict of .*Fix: give the state of a tracer of the same kind"),
    ],
)
def test_a_state_that_does_not_fit(change, text):
    tracer = NStep(3, 0.9)
    tracer.add(np.ones(2, np.float32), 3, 1.0, False)
    before = tracer.state
    with pytest.raises(TypeError, match=text):
        tracer.state = {**before, **change}
    assert_same([before], [tracer.state])


def test_an_empty_tracer_takes_any_observations():
    source, tracer = NStep(1, 0.9), NStep(1, 0.9)
    source.add(np.ones(5), 1, 1.0, True)
    tracer.state = source.state
    assert tracer.pop().S.shape == (1, 5)
    with pytest.raises(TypeError, match=r"NStep\.state: expected a dict of .*, got NoneType"):
        tracer.state = None
