"""Observations that several transitions share: what is drawn is what came in, and each is stored once."""

import copy
import pickle
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coax.experience_replay import PrioritizedReplayBuffer, SimpleReplayBuffer
from coax.reward_tracing import NStep, TransitionBatch, concatenate

FRAMES = 3
SIZE = 2  # of a frame, in float32


def plain(frames):
    return frames[-1]


def stacked(frames):
    return tuple(frames)


def on_the_last_axis(frames):
    return np.stack(frames, axis=-1)


def on_the_first_axis(frames):
    return np.stack(frames)


def with_parts(frames):
    return {"image": frames[-1], "more": (frames[-1][:1].astype(np.int64),)}


KINDS = {
    "plain": (plain, None),
    "a tuple of frames": (stacked, None),
    "frames on the last axis": (on_the_last_axis, -1),
    "frames on the first axis": (on_the_first_axis, 0),
    "an array of frames, as a whole": (on_the_last_axis, None),
    "parts": (with_parts, None),
}


class Stream:
    """An environment whose observations are stacks of the latest frames; some frames come twice."""

    def __init__(self, rng, kind, n):
        self.rng, self.kind, self.tracer = rng, kind, NStep(n, 0.9)
        self.reset()

    def frame(self):
        return self.rng.integers(0, 5, SIZE).astype(np.float32)

    def reset(self):
        self.frames = [self.frame()] * FRAMES

    def step(self):
        s = self.kind(self.frames)
        self.frames = [*self.frames[1:], self.frame()]
        s_next, end = self.kind(self.frames), self.rng.choice(3, p=[0.7, 0.2, 0.1])
        self.tracer.add(s, int(self.rng.integers(4)), self.rng.normal(), end == 1, truncated=end == 2, s_next=s_next)
        popped = []
        while self.tracer:
            popped.append(self.tracer.pop())
        if end:
            self.reset()
        return popped


def assert_same(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)


def fields(batch):
    return {name: getattr(batch, name) for name in TransitionBatch.__slots__ if name != "idx"}


@pytest.mark.parametrize(("kind", "frame_axis"), KINDS.values(), ids=KINDS)
@given(
    seed=st.integers(0, 2**32 - 1),
    capacity=st.integers(1, 40),
    n=st.integers(1, 4),
    streams=st.integers(1, 3),
    several=st.booleans(),
)
def test_it_is_the_end_of_a_list(kind, frame_axis, seed, capacity, n, streams, several):
    rng = np.random.default_rng(seed)
    buffer, everything = SimpleReplayBuffer(capacity, random_seed=1, frame_axis=frame_axis), []
    envs = [Stream(rng, kind, n) for _ in range(streams)]
    for _ in range(20):
        popped = [batch for env in envs for batch in env.step()]
        everything += popped
        for batch in [concatenate(popped)] if several and popped else popped:
            buffer.add(batch)
    held = everything[-capacity:]
    assert len(buffer) == len(held)
    for got, want in zip(buffer, held, strict=True):
        assert_same(fields(got), fields(want))
    if held:
        batch = buffer.sample(len(held))
        for i, number in enumerate(batch.idx - (len(everything) - len(held))):
            assert_same(jax.tree.map(lambda x: x[i : i + 1], fields(batch)), fields(held[number]))  # noqa: B023
    for twin in (copy.copy(buffer), pickle.loads(pickle.dumps(buffer))):
        assert_same([fields(x) for x in twin], [fields(x) for x in buffer])


def counting(kind, length, episodes, n=1, envs=1):
    """Transitions of episodes in which each frame is another one, as they come from several environments in turn."""
    tracers, number = [NStep(n, 0.9) for _ in range(envs)], 0
    for _ in range(episodes):
        frames = [[np.full(SIZE, number + e, np.float32)] * FRAMES for e in range(envs)]
        number += envs
        for t in range(length):
            for e, tracer in enumerate(tracers):
                s = kind(frames[e])
                frames[e] = [*frames[e][1:], np.full(SIZE, number, np.float32)]
                number += 1
                tracer.add(s, 0, 0.0, t == length - 1, s_next=kind(frames[e]))
                while tracer:
                    yield tracer.pop()


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("envs", [1, 8])
@pytest.mark.parametrize("kind", ["plain", "a tuple of frames", "frames on the last axis", "parts"])
def test_each_frame_is_stored_once(kind, envs, n):
    # Two episodes of 20 steps have 2 * 21 frames in each environment.
    kind, frame_axis = KINDS[kind]
    buffer = SimpleReplayBuffer(1000, frame_axis=frame_axis)
    for batch in counting(kind, 20, 2, n, envs):
        buffer.add(batch)
    held = jax.tree.leaves(buffer.state["transitions"]["observations"])
    assert [len(x) for x in held] == [2 * 21 * envs] * len(held)
    assert len(buffer) == 2 * 20 * envs


def test_room_is_used_again():
    # 300 steps of one episode, of which the last 10 are held: 11 observations, and room for a few more.
    buffer = SimpleReplayBuffer(10)
    for batch in counting(plain, 300, 1):
        buffer.add(batch)
        if len(buffer) == 10:
            size = buffer.nbytes
            break
    for batch in counting(plain, 300, 1):
        buffer.add(batch)
        assert buffer.nbytes <= size + 100
    assert len(buffer.state["transitions"]["observations"]) == 11


def test_short_episodes_find_room():
    # Each transition has two observations of its own, and all 500 are held.
    buffer, everything = SimpleReplayBuffer(500), []
    for batch in counting(plain, 1, 700):
        buffer.add(batch)
        everything.append(batch)
    assert len(buffer) == 500
    assert len(buffer.state["transitions"]["observations"]) == 1000
    for got, want in zip(buffer, everything[200:], strict=True):
        assert_same(fields(got), fields(want))


@pytest.mark.parametrize(("make", "more"), [(SimpleReplayBuffer, 0), (PrioritizedReplayBuffer, 2 * 131_072 * 8)])
def test_bytes_of_cartpole(make, more):
    # An observation of 4 float32 (16 bytes), two references to it (8), an action and the next one (16), five numbers
    # (20) and two bytes to count: 62. The tree of priorities has 2 * 131,072 numbers of 8 bytes.
    rng, buffer, tracer = np.random.default_rng(0), make(100_000), NStep(1, 0.99)
    assert buffer.nbytes == more
    s = rng.normal(size=4).astype(np.float32)
    for t in range(2000):
        s_next = rng.normal(size=4).astype(np.float32)
        tracer.add(s, np.int64(1), 1.0, t % 20 == 19, s_next=s_next)
        s = rng.normal(size=4).astype(np.float32) if t % 20 == 19 else s_next
        while tracer:
            buffer.add(tracer.pop())
    assert 61 <= (buffer.nbytes - more) / 100_000 <= 64


def test_bytes_of_stacked_frames():
    # Four frames of 84 x 84 bytes cost little more than one.
    frames, buffer, tracer = [np.zeros((84, 84), np.uint8)] * 4, SimpleReplayBuffer(2000, frame_axis=-1), NStep(1, 0.99)
    for t in range(2500):
        s = np.stack(frames, axis=-1)
        frames = [*frames[1:], np.full((84, 84), t % 251, np.uint8)]
        frames[-1][0, :2] = divmod(t, 200)
        tracer.add(s, 0, 0.0, False, s_next=np.stack(frames, axis=-1))
        while tracer:
            buffer.add(tracer.pop())
    assert 1 <= buffer.nbytes / 2000 / 84**2 <= 1.15
    batch = buffer.sample(5)
    assert batch.S.shape == (5, 84, 84, 4)
    np.testing.assert_array_equal(batch.S_next[..., :3], batch.S[..., 1:])


def test_one_observation_in_very_many_transitions():
    # More than 16 bits can count: a copy is made from time to time.
    s = np.ones((1, 2), np.float32)
    batch = TransitionBatch(S=s, A=np.zeros(1, int), logP=np.zeros(1), Rn=np.zeros(1), In=np.zeros(1), S_next=s)
    many = concatenate([batch] * 20_000)
    buffer = SimpleReplayBuffer(100_000)
    for i in range(8):
        buffer.add(many)
        assert len(buffer) == min(20_000 * (i + 1), 100_000)
        assert (buffer.sample(50).S == 1).all()
    assert len(buffer.state["transitions"]["observations"]) < 20


def test_a_batch_larger_than_the_buffer():
    many = concatenate(list(counting(stacked, 70, 3)))
    buffer = SimpleReplayBuffer(50)
    buffer.add(many)
    for got, number in zip(buffer, range(160, 210), strict=True):
        assert_same(fields(got), jax.tree.map(lambda x: x[number : number + 1], fields(many)))  # noqa: B023
        assert got.idx.tolist() == [number]


def test_other_bits_are_another_observation():
    # 0.0 == -0.0 and nan != nan, but what is drawn has the bits that came in
    buffer = SimpleReplayBuffer(5)
    for s in (0.0, -0.0, np.nan, np.nan):
        s = np.array([s])
        buffer.add(TransitionBatch(S=s, A=np.zeros(1, int), logP=s, Rn=s, In=s, S_next=s))
    assert [bool(np.signbit(single.S[0])) for single in buffer][:2] == [False, True]
    assert len(buffer.state["transitions"]["observations"]) == 3


@pytest.mark.parametrize(
    ("frame_axis", "S", "error", "text"),
    [
        (1.5, None, TypeError, r"frame_axis: expected an integer or None, got 1\.5\. Fix: "),
        (2, np.zeros((1, 3, 4)), ValueError, r"frame_axis: expected an axis of observations \[3, 4\], got 2\. Fix: "),
        (-3, np.zeros((1, 3, 4)), ValueError, r"frame_axis: expected an axis of observations \[3, 4\], got -3"),
        (0, np.zeros(1), ValueError, r"frame_axis: expected an axis of observations \[\], got 0"),
        (0, {"x": np.zeros((1, 3))}, TypeError, r"frame_axis: expected observations that are one array, got .*'x'"),
    ],
)
def test_frame_axes_that_cannot_be(frame_axis, S, error, text):
    zero = np.zeros(1)

    def add():
        batch = TransitionBatch(S=S, A=zero, logP=zero, Rn=zero, In=zero, S_next=S)
        SimpleReplayBuffer(5, frame_axis=frame_axis).add(batch)

    with pytest.raises(error, match=text):
        add()


def test_the_next_observation_is_one_of_the_same_kind():
    zero, buffer = np.zeros(1), SimpleReplayBuffer(5)
    rest = {"A": zero, "logP": zero, "Rn": zero, "In": zero, "S": np.zeros((1, 2), np.float32)}
    with pytest.raises(ValueError, match=r"\.S_next: expected rows of float32\[2\] as in S, got float32\[3\]\. Fix: "):
        buffer.add(TransitionBatch(S_next=np.zeros((1, 3), np.float32), **rest))
    with pytest.raises(TypeError, match=r"\.S_next: expected rows of float32\[2\] as in S, got float64\[2\]\. Fix: "):
        buffer.add(TransitionBatch(S_next=np.zeros((1, 2)), **rest))
    with pytest.raises(TypeError, match=r"\.S_next: expected the structure of S, PyTreeDef\(\*\), got .*\. Fix: "):
        buffer.add(TransitionBatch(S_next=(np.zeros((1, 2), np.float32),), **rest))
    assert len(buffer) == 0


def test_a_state_for_another_axis_of_frames():
    buffer = SimpleReplayBuffer(5, frame_axis=-1)
    buffer.add(next(counting(on_the_last_axis, 3, 1)))
    with pytest.raises(TypeError, match=r"expected stacks of frames along the axis -1, got whole observations"):
        buffer.state = SimpleReplayBuffer(5).init(None) | {
            "count": np.array(1),
            "transitions": filled(plain).state["transitions"],
        }


def filled(kind):
    buffer = SimpleReplayBuffer(5)
    buffer.add(next(counting(kind, 3, 1)))
    return buffer


class Pair(NamedTuple):
    left: Any
    right: Any


def test_a_tuple_with_names_is_no_stack():
    S = Pair(np.ones((3, 2), np.float32), np.zeros((3, 2), np.float32))  # parts that look alike
    buffer = SimpleReplayBuffer(5)
    buffer.add(TransitionBatch(S=S, A=np.arange(3), logP=np.zeros(3), Rn=np.arange(3), In=np.zeros(3), S_next=S))
    batch = buffer.sample(2)
    assert type(batch.S) is type(batch.S_next) is Pair
    np.testing.assert_array_equal(batch.S.left, np.ones((2, 2)))
    np.testing.assert_array_equal(batch.S_next.right, np.zeros((2, 2)))


@pytest.mark.parametrize("nothing", [None, (), {}])
def test_no_observation_at_all(nothing):
    batch = TransitionBatch(nothing, np.arange(3), np.zeros(3), np.zeros(3), np.zeros(3), nothing)
    with pytest.raises(TypeError, match=r"transition_batch\.S: expected arrays, got "):
        SimpleReplayBuffer(5).add(batch)


def test_a_state_with_frames_along_another_axis():
    def filled(frame_axis):
        S = np.arange(16.0).reshape(2, 2, 4) if frame_axis is not None else (np.ones((2, 4)), np.zeros((2, 4)))
        buffer = SimpleReplayBuffer(4, frame_axis=frame_axis, random_seed=1)
        buffer.add(TransitionBatch(S, np.arange(2), np.zeros(2), np.zeros(2), np.zeros(2), S))
        return buffer

    states = {axis: filled(axis).state for axis in (0, 1, None)}
    for axis in states:
        for other, state in states.items():
            buffer = SimpleReplayBuffer(4, frame_axis=axis)
            if axis == other:
                buffer.state = state
                assert len(buffer) == 2
            else:
                with pytest.raises(TypeError, match=r"\['frame_axis'\]: expected -?\d, got|expected stacks of frames"):
                    buffer.state = state
                assert not buffer
    negative = SimpleReplayBuffer(4, frame_axis=-2)  # of two axes: the same as 0
    negative.state = states[0]
    np.testing.assert_array_equal(next(iter(negative)).S, np.arange(8.0).reshape(1, 2, 4))


@pytest.mark.parametrize("make", [SimpleReplayBuffer, PrioritizedReplayBuffer])
def test_a_transition_without_the_axis_of_a_batch(make):
    batch = TransitionBatch(np.zeros(3), 0, 0.0, 1.0, 0.9, np.zeros(3), W=1.0, idx=0)
    with pytest.raises(ValueError, match=r"transition_batch\.Rn: expected shape \[B\], got \[\]\. Fix: "):
        make(5).add(batch)


@pytest.mark.parametrize("capacity", [600, 2000])
def test_it_goes_on_from_a_state_as_before(capacity):
    """More observations than are looked up, 1,000 steps: of what comes later nothing is overwritten or stored twice."""
    rng = np.random.default_rng(0)
    first, other = (SimpleReplayBuffer(capacity, random_seed=1) for _ in range(2))
    env = Stream(rng, plain, 2)
    env.frame = lambda: rng.random(SIZE, np.float32)  # none of which comes twice
    env.reset()
    steps = [batch for _ in range(1500) for batch in env.step()]
    for batch in steps[:1000]:
        first.add(batch)
    other.state = first.state
    for batch in steps[1000:]:
        first.add(batch)
        other.add(batch)
    for got, want in zip(other, steps[-len(other) :], strict=True):
        assert_same(fields(got), fields(want))
    one, two = first.state["transitions"], other.state["transitions"]
    assert_same(one, two)
    assert len(jax.tree.leaves(two["observations"])[0]) < 1.5 * len(other)  # each of them once, and those at the ends
