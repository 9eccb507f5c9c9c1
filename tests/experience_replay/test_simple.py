import copy
import pickle
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import coax
from coax.errors import StateError
from coax.experience_replay import DeviceReplayBuffer, SimpleReplayBuffer
from coax.reward_tracing import NStep, TransitionBatch


def transitions(*numbers, **changes):
    """One transition for each number, which is in all its fields."""
    x = np.array(numbers, np.float32)
    fields = {
        "S": np.stack([x, -x], axis=-1),
        "A": x.astype(np.int64),
        "logP": -x,
        "Rn": 10 * x,
        "In": x / 100,
        "S_next": np.stack([x + 1, -x - 1], axis=-1),
    }
    return TransitionBatch(**{**fields, **changes})


def on_device(capacity, random_seed=None):
    return DeviceReplayBuffer(capacity, transitions(0), random_seed)


@pytest.fixture(params=[SimpleReplayBuffer, on_device], ids=["host", "device"])
def make(request):
    """Makes an empty buffer of either kind: what does not depend on where the transitions are holds for both."""
    return request.param


def numbers_in(buffer):
    return [int(single.A[0]) for single in buffer]


def assert_same(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


# --- what is held


def test_the_oldest_make_room(make):
    buffer = make(capacity=3, random_seed=0)
    assert (len(buffer), bool(buffer), buffer.capacity, buffer.random_seed) == (0, False, 3, 0)
    for number in (10, 11):
        buffer.add(transitions(number))
    assert (len(buffer), bool(buffer), numbers_in(buffer)) == (2, True, [10, 11])
    for number in (12, 13, 14):
        buffer.add(transitions(number))
    assert (len(buffer), numbers_in(buffer)) == (3, [12, 13, 14])
    assert [int(single.idx[0]) for single in buffer] == [2, 3, 4]
    buffer.clear()
    assert (len(buffer), bool(buffer), list(buffer)) == (0, False, [])
    buffer.add(transitions(20))
    assert [int(single.idx[0]) for single in buffer] == [0]


@given(capacity=st.integers(1, 7), sizes=st.lists(st.integers(0, 16), max_size=8))
def test_it_is_the_end_of_a_list(capacity, sizes):
    buffer, everything = SimpleReplayBuffer(capacity), []
    for size in sizes:
        new = list(range(len(everything), len(everything) + size))
        buffer.add(transitions(*new))
        everything += new
    held = everything[-capacity:]
    assert numbers_in(buffer) == held
    assert [int(single.idx[0]) for single in buffer] == held
    for single, number in zip(buffer, held, strict=True):
        # S = (x, -x), logP = -x, Rn = 10 x, In = x / 100, S_next = (x + 1, -x - 1), W = 1
        assert single.S.tolist() == [[number, -number]]
        assert single.logP.tolist() == [-number]
        assert single.Rn.tolist() == [10 * number]
        np.testing.assert_allclose(single.In, [number / 100], rtol=1e-6)
        assert single.S_next.tolist() == [[number + 1, -number - 1]]
        assert single.W.tolist() == [1]
        assert single.A_next is single.logP_next is single.extra_info is None


def test_what_is_added_is_copied_and_left_alone():
    buffer, batch = SimpleReplayBuffer(4), transitions(3)
    buffer.add(batch)
    buffer.add(batch)
    assert batch.idx.tolist() == [0]
    batch.S[:] = 99
    assert [single.S.tolist() for single in buffer] == [[[3, -3]]] * 2
    assert [single.idx.tolist() for single in buffer] == [[0], [1]]


def test_what_is_drawn_is_a_copy():
    buffer = SimpleReplayBuffer(4)
    buffer.add(transitions(3, 4))
    for batch in (buffer.sample(2), *buffer):
        for leaf in jax.tree.leaves(batch):
            leaf[:] = 99
    assert numbers_in(buffer) == [3, 4]


def test_all_fields_and_their_dtypes():
    batch = TransitionBatch(
        S={"x": np.arange(6, dtype=np.uint8).reshape(2, 3), "y": (np.array([1.5, 2.5]),)},
        A=(np.array([1, 2], np.int16), np.array([True, False])),
        logP=np.array([-1.0, -2.0]),
        Rn=jnp.array([3, 4]),
        In=np.array([0.5, 0.0], np.float16),
        S_next={"x": np.zeros((2, 3), np.uint8), "y": (np.array([3.5, 4.5]),)},
        A_next=(np.array([3, 4], np.int16), np.array([False, True])),
        logP_next=np.array([-3.0, np.nan]),
        W=np.array([0.25, 4.0]),
        idx=np.array([70, 71]),
        extra_info={"Adv": np.array([7.0, 8.0]), "V": None, "path": (np.ones((2, 2, 2), np.float32),)},
    )
    buffer = SimpleReplayBuffer(5)
    buffer.add(batch)
    first, second = buffer
    want = TransitionBatch(
        S={"x": np.array([[0, 1, 2]], np.uint8), "y": (np.array([1.5]),)},
        A=(np.array([1], np.int16), np.array([True])),
        logP=np.array([-1], np.float32),
        Rn=np.array([3], np.float32),
        In=np.array([0.5], np.float32),
        S_next={"x": np.zeros((1, 3), np.uint8), "y": (np.array([3.5]),)},
        A_next=(np.array([3], np.int16), np.array([False])),
        logP_next=np.array([-3], np.float32),
        W=np.array([0.25], np.float32),
        idx=np.array([0], np.int32),
        extra_info={"Adv": np.array([7.0]), "V": None, "path": (np.ones((1, 2, 2), np.float32),)},
    )
    assert_same(first, want)
    assert np.isnan(second.logP_next[0])
    assert second.extra_info["Adv"].tolist() == [8]


def test_what_a_tracer_records_is_stored():
    tracer, buffer = NStep(2, 0.9, record_extra_info=True), SimpleReplayBuffer(5)
    for t in range(3):
        tracer.add(np.array([t, 0.5]), t, float(t), t == 2)
    batch = tracer.flush()
    buffer.add(batch)
    whole = coax.reward_tracing.concatenate(buffer)
    assert whole == batch
    assert [list(x) for x in np.array(whole.extra_info["dones"]).T] == [[0, 0, 1], [0, 1, 1], [1, 1, 1]]


def test_numbers_are_cast(make):
    buffer = make(5)
    buffer.add(transitions(1))
    buffer.add(transitions(2, Rn=jnp.array([20]), W=np.array([0.5])))
    assert [single.Rn.tolist() for single in buffer] == [[10], [20]]
    assert [single.W.dtype for single in buffer] == [np.float32] * 2


def test_a_change_during_iteration(make):
    buffer = make(3)
    buffer.add(transitions(0, 1, 2))
    several = iter(buffer)
    next(several)
    buffer.add(transitions(3))
    with pytest.raises(RuntimeError, match=r"no change during iteration, got one\. Fix: iterate over list\(buffer\)"):
        next(several)


# --- samples


def test_without_replacement(make):
    buffer = make(5, random_seed=1)
    for i in (0, 4):
        buffer.add(transitions(*range(i, i + 4)))
    batch = buffer.sample(5)
    assert sorted(batch.A.tolist()) == [3, 4, 5, 6, 7]
    assert batch.A.tolist() != [3, 4, 5, 6, 7]
    assert batch.idx.tolist() == batch.A.tolist()
    assert batch.idx.dtype == np.int32
    np.testing.assert_array_equal(batch.S, np.stack([batch.A, -batch.A], axis=-1))
    np.testing.assert_array_equal(batch.Rn, 10 * batch.A)
    for i in range(100, 200, 4):
        buffer.add(transitions(*range(i, i + 4)))
    assert min(buffer.sample(5).A) >= 195


def test_32_by_default(make):
    buffer = make(50)
    buffer.add(transitions(*range(40)))
    assert buffer.sample().batch_size == 32


# NumPy draws from few and from many in different ways; how the device draws from many is in test_device.py
@pytest.mark.parametrize(("make", "held"), [(SimpleReplayBuffer, 6), (SimpleReplayBuffer, 20_000), (on_device, 6)])
def test_uniform(make, held):
    # Each of `held` transitions is in a sample of half of them with chance 1/2. Over 400 samples the count has the
    # standard deviation sqrt(400 / 4) = 10; 60 is six of them. The place of each in a sample is uniform, too.
    buffer = make(held, random_seed=5)
    buffer.add(transitions(*range(3)))
    buffer.add(transitions(*range(3, held + 3)))
    count, place = np.zeros(held), np.zeros(held)
    for _ in range(400):
        drawn = np.asarray(buffer.sample(held // 2).idx) - 3
        count[drawn] += 1
        place[drawn] += np.arange(held // 2) / (held // 2 - 1)
    assert np.abs(count - 200).max() < 60
    # Places are spread over [0, 1]: a mean over about 200 has a standard deviation of at most sqrt(1/6 / 140) = 0.035.
    assert np.abs(place / count - 0.5).max() < 0.21


def test_equal_seeds_draw_equal_samples(make):
    one, same, other, unseeded = (make(100, random_seed=seed) for seed in (1, 1, 2, None))
    for buffer in (one, same, other, unseeded):
        buffer.add(transitions(*range(100)))
    batch = one.sample(10)
    assert_same(batch, same.sample(10))
    assert batch.idx.tolist() != other.sample(10).idx.tolist()
    assert batch.idx.tolist() != unseeded.sample(10).idx.tolist()
    assert batch.idx.tolist() != one.sample(10).idx.tolist()


def test_global_generators_are_left_alone(make):
    state, numpy_state = random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002 - it must not change
    buffer = make(10, random_seed=1)
    buffer.add(transitions(1, 2))
    buffer.sample(2)
    assert random.getstate() == state
    assert pickle.dumps(np.random.get_state()) == numpy_state  # noqa: NPY002


# --- errors


@pytest.mark.parametrize("size", [0, -1, 4])
def test_sizes_that_cannot_be(make, size):
    buffer = make(5)
    buffer.add(transitions(0, 1, 2))
    text = rf"batch_size: expected a number from 1 to the 3 transitions in the buffer, got {size}\. Fix: wait until"
    with pytest.raises(ValueError, match=text):
        buffer.sample(size)
    with pytest.raises(TypeError, match=r"batch_size: expected an integer, got 2\.0\. Fix: "):
        buffer.sample(2.0)


@pytest.mark.parametrize(
    ("capacity", "error"), [(0, ValueError), (True, ValueError), (2.0, TypeError), ("2", TypeError)]
)
def test_capacities_that_cannot_be(make, capacity, error):
    with pytest.raises(error, match=r"capacity: expected .*, got .*\. Fix: pass for instance capacity=100_000"):
        make(capacity)


OTHER = {
    "a structure": (
        {"S": (np.zeros((1, 2), np.float32),)},
        TypeError,
        r"\.S: expected the structure .* as (before|in the example), got",
    ),
    "a field more": ({"A_next": np.zeros(1, int)}, TypeError, r"\.A_next: expected the structure .*None.* as before"),
    "extra info": ({"extra_info": {"Adv": np.zeros(1)}}, TypeError, r"\.extra_info: expected the structure"),
    "a row shape": (
        {"S_next": np.zeros((1, 3), np.float32)},
        ValueError,
        r"\.S_next: expected rows of float32\[2\] as before, got float32\[3\]\. Fix: use one buffer for each kind",
    ),
    "a dtype": (
        {"A": np.zeros(1)},
        TypeError,
        r"\.A: expected rows of int(32|64)\[\] as before, got float(32|64)\[\]",
    ),
    "a batch size": (
        {"S": np.zeros((2, 2), np.float32)},
        ValueError,
        r"\.S: expected shape \[1, \.\.\.\], a row for each value of Rn, got \[2, 2\]",
    ),
    "no array": ({"S": "here"}, TypeError, r"\.S: expected an array, got str\. Fix: "),
    "a matrix of weights": (
        {"W": np.ones((1, 2))},
        ValueError,
        r"\.W: expected shape \[1\], a row for each .* \[1, 2\]",
    ),
    "one reward": (
        {"Rn": np.float32(1), "W": np.ones(1), "idx": 0},
        ValueError,
        r"\.Rn: expected shape \[B\], got \[\]",
    ),
}


@pytest.mark.parametrize(("changes", "error", "text"), OTHER.values(), ids=OTHER)
def test_another_kind_of_batch_changes_nothing(make, changes, error, text):
    if make is not SimpleReplayBuffer and {"A_next", "extra_info"} & changes.keys():
        pytest.skip("on the device, what the example does not have is left out")
    buffer = make(3, random_seed=0)
    buffer.add(transitions(1, 2, 3))
    buffer.add(transitions(4))
    before = buffer.state
    with pytest.raises(error, match="transition_batch" + text):
        buffer.add(transitions(5, **changes))
    assert_same(before, buffer.state)


def test_a_wider_dtype_changes_nothing():
    # on the device there may be no wider one
    text = r"\.S: expected rows of float32\[2\] as before, got float64\[2\]\. Fix: use one buffer for each kind"
    test_another_kind_of_batch_changes_nothing(SimpleReplayBuffer, {"S": np.zeros((1, 2))}, TypeError, text)


@pytest.mark.parametrize("what", ["a batch size", "no array", "a matrix of weights", "one reward"])
def test_a_first_batch_that_is_none(what):
    changes, error, text = OTHER[what]
    buffer = SimpleReplayBuffer(3)
    with pytest.raises(error, match="transition_batch" + text):
        buffer.add(transitions(5, **changes))
    buffer.add(transitions(6))
    assert numbers_in(buffer) == [6]


def test_what_is_no_batch(make):
    with pytest.raises(TypeError, match=r"transition_batch: expected a TransitionBatch, got dict\. Fix: "):
        make(3).add({})


def test_not_inside_a_compiled_function():
    buffer = SimpleReplayBuffer(3)
    buffer.add(transitions(1))
    text = (
        r"SimpleReplayBuffer\.{} lives in host memory .* Fix: add and sample outside of it, and pass the batch .* use "
        r"a coax\.experience_replay\.DeviceReplayBuffer"
    )
    with pytest.raises(StateError, match=text.format("sample")):
        jax.jit(lambda: buffer.sample(1).S)()
    with pytest.raises(StateError, match=text.format("add")):
        coax.jit(lambda batch: buffer.add(batch), over=())(transitions(1))


# --- state


def filled(capacity=4, seed=3):
    buffer = SimpleReplayBuffer(capacity, random_seed=seed)
    buffer.add(transitions(*range(6), extra_info={"Adv": np.arange(6.0)}))
    buffer.sample(2)
    return buffer


def more(number):
    return transitions(number, extra_info={"Adv": np.array([0.5])})


@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, lambda buffer: buffer.copy(), lambda buffer: pickle.loads(pickle.dumps(buffer))],
    ids=["copy", "deepcopy", "method", "pickle"],
)
def test_a_copy_goes_on_identically_and_alone(twin):
    buffer, untouched = filled(), filled()
    other = twin(buffer)
    for i in range(3):
        buffer.add(more(10 + i))
        assert_same(buffer.sample(3), filled_after(i))
    assert_same(other.state, untouched.state)
    for i in range(3):
        other.add(more(10 + i))
        assert_same(other.sample(3), filled_after(i))
    assert_same(other.state, buffer.state)


def filled_after(i):
    """The sample after i + 1 more transitions, in a buffer of its own."""
    buffer = filled()
    for j in range(i + 1):
        buffer.add(more(10 + j))
        batch = buffer.sample(3)
    return batch


@given(where=st.integers(0, 12))
def test_restored_anywhere_it_goes_on_identically(where):
    buffer, other = SimpleReplayBuffer(4, random_seed=1), SimpleReplayBuffer(4, random_seed=2)
    for i in range(where):
        buffer.add(transitions(i))
        buffer.sample(1)
    state = buffer.state
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(state))
    other.state = state
    for i in range(where, where + 6):
        buffer.add(transitions(i))
        other.add(transitions(i))
        assert_same(buffer.sample(1), other.sample(1))
    assert_same(list(buffer), list(other))


def test_a_snapshot_is_not_changed_by_later_calls():
    buffer = filled()
    state, before = buffer.state, copy.deepcopy(buffer.state)
    buffer.add(more(99))
    buffer.sample(2)
    assert_same(state, before)
    buffer.state = state
    for leaf in jax.tree.leaves(state):
        leaf[...] = 7
    assert_same(buffer.state, before)
    assert numbers_in(buffer) == [2, 3, 4, 5]


def test_the_state_holds_no_more_than_the_transitions():
    buffer = SimpleReplayBuffer(1_000_000, random_seed=0)
    buffer.add(transitions(1, 2))
    held = buffer.state["transitions"]
    # (1, -1), (2, -2) and (3, -3), of which the one in the middle belongs to both transitions
    assert held["observations"].tolist() == [[1, -1], [2, -2], [3, -3]]
    assert (held["S"].tolist(), held["S_next"].tolist()) == ([0, 1], [1, 2])
    assert [len(held[name]) for name in ("A", "logP", "Rn", "In", "W")] == [2] * 5
    assert buffer.state["count"] == 2


def test_init_is_an_empty_buffer():
    buffer = filled()
    buffer.state = buffer.init(jax.random.key(0))
    assert len(buffer) == 0
    other = SimpleReplayBuffer(4)
    other.state = other.init(jax.random.key(0))
    for each in (buffer, other):
        each.add(transitions(*range(4)))  # of another kind than before, since it was empty
    assert_same(buffer.sample(4), other.sample(4))


def wrong(**changes):
    """A state with some entries changed; those of transitions by their own names."""
    state = filled().state
    for name, value in changes.items():
        (state if name in state else state["transitions"])[name] = value
    return state


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            None,
            r": expected a dict of \['count', 'rng', 'transitions'\], got NoneType\. Fix: give the state of a buffer",
        ),
        ({"count": np.array(0)}, r": expected a dict of .*, got \['count'\]"),
        (wrong(count=6), r"\['count'\]: expected int64\[\], got int"),
        (wrong(count=np.array(-1)), r"\['count'\]: expected at least 0, got -1"),
        (wrong(count=np.array(3)), r"\['transitions'\]\['logP'\]: expected float32\[3\], got float32\[4\]"),
        (wrong(rng=np.zeros(5, np.uint64)), r"\['rng'\]: expected uint64\[6\], got uint64\[5\]"),
        (wrong(transitions=None), r"\['transitions'\]: expected 4 rows, got None"),
        (wrong(transitions={}), r"\['transitions'\]: expected a dict of \['A', 'A_next', 'In'"),
        (wrong(Rn=np.zeros(4)), r"\['transitions'\]\['Rn'\]: expected float32\[4\], got float64\[4\]"),
        (wrong(W=None), r"\['transitions'\]\['W'\]: expected 4 rows, got None"),
        (wrong(A=np.zeros(3, int)), r"\['transitions'\]\['A'\]: expected 4 rows, got int64\[3\]"),
        (wrong(A_next=np.zeros(4, int)), r"\['transitions'\]\['A_next'\]: expected the structure .*None"),
        (wrong(S=np.zeros(4)), r"\['transitions'\]\['S'\]: expected int32\[N\] or int32\[N, K\], got float64\[4\]"),
        (
            wrong(S_next=np.zeros((4, 2), np.int32)),
            r"\['transitions'\]\['S_next'\]: expected int32\[4\], got int32\[4, 2\]",
        ),
        (
            wrong(S_next=np.array([1, 2, 3, 5], np.int32)),
            r"\['transitions'\]\['S_next'\]: expected numbers from 0 to 4, got 1 to 5",
        ),
        (
            wrong(observations=np.zeros((5, 3), np.float32)),
            r"\['transitions'\]\['observations'\]: expected rows of float32\[2\], got float32\[3\]",
        ),
        (wrong(observations=None), r"\['transitions'\]\['observations'\]: expected arrays with as many rows each"),
        (
            wrong(extra_info={"Adv": np.zeros(4, int)}),
            r"\['transitions'\]\['extra_info'\]\['Adv'\]: expected rows of float64\[\], got int64",
        ),
    ],
)
def test_a_state_that_does_not_fit(state, text):
    buffer = filled()
    before = buffer.state
    with pytest.raises(TypeError, match=r"SimpleReplayBuffer\.state" + text):
        buffer.state = state
    assert_same(before, buffer.state)


def test_a_state_of_another_capacity():
    buffer = SimpleReplayBuffer(5)
    with pytest.raises(TypeError, match=r"\['logP'\]: expected float32\[5\], got float32\[4\]"):
        buffer.state = filled(capacity=4).state
    assert len(buffer) == 0
