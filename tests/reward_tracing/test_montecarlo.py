import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.errors import EpisodeDoneError, InsufficientCacheError
from coax.reward_tracing import MonteCarlo, concatenate, needs_a_next

from .streams import assert_rows, episodes, is_over, transition


def trace(**end):
    """Rewards 1, 2, 4 in states 10, 20, 30; gamma 1/2. Rows of (S, Rn, In, S_next, A_next)."""
    tracer = MonteCarlo(0.5)
    tracer.add(10, 1, 1.0, False)
    tracer.add(20, 2, 2.0, False)
    assert not tracer
    tracer.add(30, 3, 4.0, **end)
    rows = []
    while tracer:
        tb = tracer.pop()
        rows.append(tuple(x.item() for x in (tb.S, tb.Rn, tb.In, tb.S_next, tb.A_next)))
    return rows


def test_terminated():
    # 4 ; 2 + 4/2 ; 1 + 4/2
    assert trace(done=True) == [(30, 4, 0, 30, 3), (20, 4, 0, 20, 2), (10, 3, 0, 10, 1)]
    assert trace(done=True, s_next=40) == [(30, 4, 0, 40, 3), (20, 4, 0, 40, 2), (10, 3, 0, 40, 1)]


def test_truncated():
    # gamma to the number of steps left
    want = [(30, 4, 0.5, 40, 4), (20, 4, 0.25, 40, 4), (10, 3, 0.125, 40, 4)]
    assert trace(done=False, truncated=True, s_next=40, a_next=4) == want
    assert [row[:4] for row in trace(done=False, truncated=True, s_next=40)] == [row[:4] for row in want]


@settings(max_examples=100, deadline=None)
@given(episodes(), st.sampled_from([0.0, 0.9, 1.0]), st.booleans())
def test_against_a_slow_reference(stream, gamma, flush):
    tracer = MonteCarlo(gamma)
    for episode in stream:
        got = []
        for step in episode:
            tracer.add(**step)
            while tracer:
                got.append(tracer.flush() if flush and len(tracer) % 2 else tracer.pop())
        if is_over(episode):
            want = [transition(episode, t, len(episode), gamma) for t in range(len(episode))]
            assert_rows(concatenate(got), want[::-1])
            assert len(tracer) == 0
        else:
            assert not got
            assert len(tracer) == len(episode)


def test_flush_after_a_pop():
    tracer = MonteCarlo(0.5)
    for i in range(4):
        tracer.add(i, 0, 1.0, i == 3)
    assert (tracer.pop().S, len(tracer)) == (3, 3)
    tb = tracer.flush()
    # 1 + (1 + 1/2)... : 1.5, 1.75, 1.875
    assert tb.S.tolist() == [2, 1, 0]
    assert tb.Rn.tolist() == [1.5, 1.75, 1.875]
    assert tb.idx.tolist() == [0, 1, 2]
    assert not tracer


def test_marks_where_the_next_action_is_missing():
    tracer = MonteCarlo(0.9)
    tracer.add(0, 0, 0.0, False)
    tracer.add(0, 0, 0.0, False, truncated=True, s_next=1)
    assert needs_a_next(tracer.flush()).tolist() == [True, True]


def test_errors():
    tracer = MonteCarlo(0.9)
    with pytest.raises(InsufficientCacheError, match="MonteCarlo: expected a transition to pop, got 0 steps"):
        tracer.pop()
    tracer.add(0, 0, 0.0, False)
    with pytest.raises(InsufficientCacheError, match="got 1 steps"):
        tracer.flush()
    tracer.add(0, 0, 0.0, True)
    tracer.pop()
    with pytest.raises(EpisodeDoneError, match=r"MonteCarlo\.add: .*last 1 transitions wait"):
        tracer.add(0, 0, 0.0, False)
    tracer.reset()
    tracer.add(0, 0, 0.0, False)
    assert (len(tracer), bool(tracer)) == (1, False)
    with pytest.raises(ValueError, match="gamma: expected a number in"):
        MonteCarlo(2)
    assert MonteCarlo(np.float32(0.5)).gamma == 0.5
