"""Interrupts in the middle of adding: a transition is stored or not, never a half, and nothing else is touched."""

import copy
import os
import sys

import numpy as np
import pytest

import coax.experience_replay._transitions as transitions_module
from coax.experience_replay import PrioritizedReplayBuffer, SimpleReplayBuffer
from coax.reward_tracing import TransitionBatch

FOLDER = os.path.dirname(transitions_module.__file__)
CAPACITY = 4


def batch(first, count):
    """Transitions first, first + 1, ...; the next state of one is the state of the one after it."""
    n = np.arange(first, first + count)
    S = n[:, None] * np.ones(3, np.float32) + np.float32(0.5)
    rn = n.astype(np.float32)
    return TransitionBatch(S=S, A=n, logP=-rn, Rn=rn, In=rn / 2, S_next=S + 1, A_next=n + 1, logP_next=rn, W=rn + 1)


def assert_transitions(buffer, numbers):
    """Exactly these transitions, oldest first, with their ids."""
    rows = list(buffer)
    assert [int(row.Rn[0]) for row in rows] == numbers == [int(row.idx[0]) for row in rows]
    for n, row in zip(numbers, rows, strict=True):
        want = batch(n, 1)
        want.idx = np.array([n], np.int32)
        assert row == want
        assert (row.S[0, 0], row.S_next[0, 0]) == (n + 0.5, n + 1.5)


def interrupted(call, at):
    """Call, with an interrupt at the given line that runs inside the folder; whether there were so many."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if not frame.f_code.co_filename.startswith(FOLDER):
            return None
        if event == "line":
            count += 1
            if count == at:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def free_slots(buffer):
    observations = buffer._transitions._observations
    return len(observations._free) + observations._size - observations._unused


@pytest.mark.gate
@pytest.mark.parametrize(
    ("make", "held", "count"),
    [
        *((PrioritizedReplayBuffer, held, count) for held in (0, 3, 6) for count in (1, 2, 9)),
        (SimpleReplayBuffer, 6, 1),  # all that it does, the other one does too
    ],
)
def test_an_interrupt_anywhere(make, held, count):
    start = make(CAPACITY, random_seed=1)
    if held:
        start.add(batch(0, held))
    at = 0
    while True:
        at += 1
        buffer = copy.copy(start)
        if not interrupted(lambda b=buffer: b.add(batch(held, count)), at):
            break
        latest = held + count if buffer._count == held + count else held
        assert_transitions(buffer, list(range(max(0, latest - CAPACITY), latest)))
        for n in range(latest, latest + 6):  # it goes on as if nothing had been
            buffer.add(batch(n, 1))
        assert_transitions(buffer, list(range(latest + 2, latest + 6)))
        buffer.add(batch(latest + 6, 3))
        assert_transitions(buffer, list(range(latest + 5, latest + 9)))
    assert at > 30


def test_an_interrupt_while_the_store_grows():
    def apart(n):  # no observation belongs to two of these
        one = batch(n, 1)
        one.S_next = one.S + 1000
        return one

    start = SimpleReplayBuffer(40, random_seed=1)
    while start._transitions is None or free_slots(start) >= 2:
        start.add(apart(len(start)))
    held, before = len(start), start.nbytes
    assert held < 40
    at = 0
    while True:
        at += 1
        buffer = copy.copy(start)
        if not interrupted(lambda b=buffer: b.add(apart(held)), at):
            break
        for n in range(buffer._count, held + 45):
            buffer.add(apart(n))
        for row in buffer:
            n = int(row.idx[0])
            assert (row.S[0, 0], row.S_next[0, 0]) == (n + 0.5, n + 1000.5)
    assert buffer.nbytes > before


def test_no_memory_for_the_second_part_of_many(monkeypatch):
    monkeypatch.setattr(transitions_module, "AT_ONCE", 4)  # two transitions at once
    buffer = PrioritizedReplayBuffer(16, random_seed=1)
    buffer.add(batch(0, 16), Adv=np.arange(16.0))
    monkeypatch.setattr(type(buffer._transitions._observations), "_make_room", no_memory_at_the_second)
    no_memory_at_the_second.calls = 0
    with pytest.raises(MemoryError, match="none left"):
        buffer.add(batch(16, 6), Adv=np.full(6, 100.0))
    monkeypatch.undo()
    assert_transitions(buffer, list(range(2, 18)))  # the first two are stored
    priorities = buffer.state["priorities"]
    np.testing.assert_allclose(priorities, [*np.arange(2, 16) + 1e-4, 100.0001, 100.0001], rtol=1e-12)
    buffer.add(batch(18, 4))
    assert_transitions(buffer, list(range(6, 22)))


def no_memory_at_the_second(observations, count):
    no_memory_at_the_second.calls += 1
    if no_memory_at_the_second.calls > 1:
        raise MemoryError("none left")


def test_no_memory_for_the_first():
    buffer = SimpleReplayBuffer(CAPACITY, random_seed=1)
    buffer.add(batch(0, 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(buffer._transitions._observations), "_make_room", no_memory_at_the_second)
        no_memory_at_the_second.calls = 1
        with pytest.raises(MemoryError):
            buffer.add(batch(6, 1))
    assert_transitions(buffer, [2, 3, 4, 5])
    buffer.add(batch(6, 5))
    assert_transitions(buffer, [7, 8, 9, 10])
