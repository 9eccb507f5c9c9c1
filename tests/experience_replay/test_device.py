"""A replay buffer in device memory: the same in a Python loop, compiled, scanned and mapped, and never copied."""

import contextlib
import copy
import pickle
import re
from types import SimpleNamespace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import coax
from coax.errors import StateError
from coax.experience_replay import DevicePrioritizedReplayBuffer, DeviceReplayBuffer, SimpleReplayBuffer
from coax.experience_replay._draws import without_replacement
from coax.reward_tracing import TransitionBatch


def transitions(*numbers, **changes):
    """One transition for each number, which is in all its fields."""
    return numbered(np.array(numbers, np.float32), **changes)


def numbered(x, **changes):
    fields = {"S": jnp.stack([x, -x], axis=-1), "A": x.astype(np.int32), "logP": -x, "Rn": 10 * x, "In": x / 64}
    return TransitionBatch(**{**fields, "S_next": jnp.stack([x + 1, -x - 1], axis=-1), "W": 0 * x + 1, **changes})


def buffer_of(capacity, seed=0):
    return DeviceReplayBuffer(capacity, transitions(0), random_seed=seed)


def held(buffer):
    """What each transition is, and its running number, oldest first."""
    return [(int(single.A[0]), int(single.idx[0])) for single in buffer]


def assert_same(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


# --- what is held


class Reference:
    """The end of a list."""

    def __init__(self, capacity):
        self.capacity, self.everything = capacity, []

    def add(self, numbers, mask=None):
        keep = numbers if mask is None else [x for x, kept in zip(numbers, mask, strict=True) if kept]
        self.everything += [(int(x), len(self.everything) + i) for i, x in enumerate(keep)]

    @property
    def held(self):
        return self.everything[-self.capacity :]


@pytest.mark.parametrize("capacity", [1, 4, 7])
def test_it_is_the_end_of_a_list(capacity):
    rng = np.random.default_rng(capacity)
    buffer, reference = buffer_of(capacity), Reference(capacity)
    for _ in range(25):
        size = rng.choice([0, 1, min(3, capacity), capacity])
        numbers, mask = rng.integers(100, size=size), rng.random(size) < 0.6
        for given in (None, mask, mask & False):
            buffer.add(transitions(*numbers), given)
            reference.add(numbers, given)
        assert held(buffer) == reference.held
        size = len(reference.held)
        assert (len(buffer), bool(buffer), buffer.size) == (size, size > 0, size)
    for single in buffer:
        x = float(single.A[0])
        # S = (x, -x), logP = -x, Rn = 10 x, In = x / 64, S_next = (x + 1, -x - 1), W = 1
        assert (single.S.tolist(), single.S_next.tolist()) == ([[x, -x]], [[x + 1, -x - 1]])
        assert (single.logP.tolist(), single.Rn.tolist(), single.W.tolist()) == ([-x], [10 * x], [1])
        assert single.In.tolist() == [x / 64]
        assert single.A_next is single.logP_next is single.extra_info is None


def test_it_holds_what_the_one_in_host_memory_holds():
    buffer, other = buffer_of(5), SimpleReplayBuffer(5)
    for i in range(4):
        batch = jax.tree.map(np.asarray, transitions(i, 10 + i, 20 + i))
        buffer.add(batch)
        other.add(batch)
    assert_same(list(buffer), list(other))


def test_running_numbers_run_over():
    buffer = buffer_of(4)
    buffer.add(transitions(1, 2, 3))
    buffer.state = {**buffer.state, "ring": buffer.state["ring"].at[2].set(2**31 - 1)}  # of the next one
    assert held(buffer) == [(1, 2**31 - 4), (2, 2**31 - 3), (3, 2**31 - 2)]
    buffer.add(transitions(4, 5, 6))
    assert held(buffer) == [(3, 2**31 - 2), (4, 2**31 - 1), (5, -(2**31)), (6, 1 - 2**31)]
    assert sorted(buffer.sample(4).idx.tolist()) == [-(2**31), 1 - 2**31, 2**31 - 2, 2**31 - 1]


EVERYTHING = TransitionBatch(
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
    extra_info={"Adv": np.array([7, 8]), "V": None, "path": (np.ones((2, 2, 2), np.float32), np.ones((2, 0)))},
)


@pytest.mark.parametrize("wide", [False, True])
def test_all_fields_and_their_dtypes(wide):
    number, integer = (np.float64, np.int64) if wide else (np.float32, np.int32)
    with jax.enable_x64(wide):
        like = jax.eval_shape(lambda tb: tb, EVERYTHING) if wide else EVERYTHING
        buffer = DeviceReplayBuffer(5, like)
        buffer.add(EVERYTHING)
        first, second = buffer
        drawn = buffer.sample(2)
    want = TransitionBatch(
        S={"x": np.array([[0, 1, 2]], np.uint8), "y": (np.array([1.5], number),)},
        A=(np.array([1], np.int16), np.array([True])),
        logP=np.array([-1], np.float32),
        Rn=np.array([3], np.float32),
        In=np.array([0.5], np.float32),
        S_next={"x": np.zeros((1, 3), np.uint8), "y": (np.array([3.5], number),)},
        A_next=(np.array([3], np.int16), np.array([False])),
        logP_next=np.array([-3], np.float32),
        W=np.array([0.25], np.float32),
        idx=np.array([0], np.int32),
        extra_info={
            "Adv": np.array([7], integer),
            "V": None,
            "path": (np.ones((1, 2, 2), np.float32), np.ones((1, 0), number)),
        },
    )
    assert_same(first, want)
    assert np.isnan(second.logP_next[0])
    assert second.extra_info["Adv"].tolist() == [8]
    assert_same(
        coax.reward_tracing.concatenate([(first, second)[i] for i in drawn.idx]), jax.tree.map(np.asarray, drawn)
    )


def test_a_narrower_dtype_of_the_same_kind_fits():
    with jax.enable_x64(True):
        buffer = DeviceReplayBuffer(3, transitions(0, A=np.zeros(1, np.int64), S=np.zeros((1, 2))))
        buffer.add(transitions(5))
        (single,) = buffer
        assert (single.A.dtype, single.S.dtype, single.A.tolist()) == (np.int64, np.float64, [5])
        with pytest.raises(TypeError, match=r"\.S_next: expected rows of float32\[2\] as before, got float64\[2\]"):
            buffer.add(transitions(5, S_next=np.zeros((1, 2))))


SPACES = {
    "Discrete": (gymnasium.spaces.Discrete(5), np.int32, ()),
    "Box": (gymnasium.spaces.Box(0, 255, (4, 3), np.uint8), np.uint8, (4, 3)),
    "MultiDiscrete": (gymnasium.spaces.MultiDiscrete([2, 3]), np.int32, (2,)),
}


@pytest.mark.parametrize("name", SPACES)
def test_an_environment_as_example(name):
    space, dtype, shape = SPACES[name]
    env = SimpleNamespace(
        observation_space=gymnasium.spaces.Dict({"x": space, "y": space}), action_space=gymnasium.spaces.Tuple((space,))
    )
    buffer = DeviceReplayBuffer(3, env)
    tb = coax.reward_tracing.get_transition_batch(env, batch_size=2, random_seed=1)
    tb.extra_info = {"more": np.ones(2)}
    buffer.add(tb)  # what the example does not have is left out
    whole = coax.reward_tracing.concatenate(buffer)
    tb.A_next = tb.logP_next = tb.extra_info = None
    assert whole == tb
    assert {(x.dtype, x.shape[1:]) for x in jax.tree.leaves((whole.S, whole.A, whole.S_next))} == {
        (np.dtype(dtype), shape)
    }


def test_a_vector_environment_as_example():
    with contextlib.closing(gymnasium.make_vec("CartPole-v1", num_envs=2)) as envs:
        buffer = DeviceReplayBuffer(10, envs)
    # 4 + 4 numbers for S and S_next, and 4 for logP, Rn, In, W; an action; 4 for the ring
    assert buffer.nbytes == 10 * 4 * (8 + 4 + 1) + 4 * 4
    assert {name: x.shape for name, x in buffer.state["stores"].items()} == {"float32": (10, 12), "int32": (10, 1)}


# --- samples


@pytest.mark.gate
@pytest.mark.parametrize(
    ("count", "size", "capacity"), [(2, 5, 1000), (3, 4, 1000), (2, 4, 4), (3, 6, 6), (3, 3, 1000)]
)
def test_each_ordered_choice_is_equally_likely(count, size, capacity):
    # Drawn again until distinct where there are many, one by one where there are few, sorted where there is no room.
    draws = jax.jit(jax.vmap(lambda key: without_replacement(key, count, jnp.int32(size), capacity)))
    found = np.array(draws(jax.random.split(jax.random.key(1), 24_000)))
    codes = found @ size ** np.arange(count)
    ordered = [code for code in range(size**count) if len({code // size**i % size for i in range(count)}) == count]
    observed = np.array([np.sum(codes == code) for code in ordered])
    assert observed.sum() == 24_000  # all are distinct, and below `size`
    assert stats.chisquare(observed).pvalue > 1e-3


@pytest.mark.gate
def test_many_draws_are_distinct_and_uniform():
    # 64 of 300: half of the 64 or so are drawn again at least once. Each is in a sample with chance 64 / 300, so that
    # the counts over 3000 samples have the mean 640 and the standard deviation sqrt(3000 0.2133 0.7867) = 22.4.
    draws = jax.jit(jax.vmap(lambda key: without_replacement(key, 64, jnp.int32(300), 10_000)))
    found = np.array(draws(jax.random.split(jax.random.key(2), 3000)))
    assert all(len(set(row)) == 64 for row in found.tolist())
    count = np.bincount(found.ravel(), minlength=300)
    assert (len(count), np.abs(count - 640).max() < 4.5 * 22.4) == (300, True)
    # without replacement the squared deviations are smaller by 1 - 64 / 300, which is in the 22.4; per place it is 10
    first = np.bincount(found[:, 0], minlength=300)
    last = np.bincount(found[:, -1], minlength=300)
    assert stats.chisquare(first).pvalue > 1e-3
    assert stats.chisquare(last).pvalue > 1e-3


@pytest.mark.gate
def test_so_many_that_32_bits_are_few():
    # 2^32 is 5 times 3 * 2^28 and 2^28 more. If bits were taken modulo this size, the lowest third would come 6 times
    # where the others come 5 times: in 0.375 of all draws. Of 32,000 a third has a standard deviation of 0.0026.
    size = 3 << 28
    draws = jax.jit(jax.vmap(lambda key: without_replacement(key, 16, jnp.int32(size), 1 << 30)))
    found = np.array(draws(jax.random.split(jax.random.key(3), 2000)))
    assert (found.min() >= 0, found.max() < size) == (True, True)
    assert np.mean(found < 1 << 28) == pytest.approx(1 / 3, abs=5 * 0.0026)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5])
@pytest.mark.parametrize("capacity", [5, 1000])
def test_fewer_than_asked_for_inside_a_compiled_function(size, capacity):
    buffer = buffer_of(capacity)
    if size:
        buffer.add(transitions(*range(1, size + 1)))
    batch = coax.jit(lambda: buffer.sample(4), over=buffer)()
    some = min(size, 4)
    assert batch.W.tolist() == [1] * some + [0] * (4 - some)
    drawn = batch.A[:some].tolist()
    assert len(set(drawn)) == some
    assert set(batch.A.tolist()) <= set(range(1, size + 1) if size else [0])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(batch))


# --- the same in all gears


def stream(length, width):
    rng = np.random.default_rng(3)
    x = np.arange(length * width, dtype=np.float32).reshape(length, width)
    return x, rng.random((length, width)) < 0.7


def turn_of(buffer):
    def turn(x):
        numbers, mask = x
        before = buffer.sample(3)
        buffer.add(numbered(numbers), mask=mask)
        return {"before": before, "after": buffer.sample(2), "size": buffer.size}

    return turn


@pytest.mark.gate
def test_python_compiled_scanned_and_mapped_loops_are_one():
    xs = stream(9, 3)
    results = {}
    for name in ("python", "jit", "scan"):
        buffer = buffer_of(7)
        buffer.add(transitions(90, 91, 92))
        turn = turn_of(buffer)
        if name == "scan":
            outs = coax.scan(turn, over=buffer, xs=xs)
        else:
            step = turn if name == "python" else coax.jit(turn, over=buffer)
            each = [step((xs[0][i], xs[1][i])) for i in range(9)]
            outs = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *each)
        results[name] = outs, np.array(held(buffer))
    assert_same(results["python"], results["jit"])
    assert_same(results["python"], results["scan"])
    reference = Reference(7)
    reference.add([90, 91, 92])
    for numbers, mask in zip(*xs, strict=True):
        reference.add(numbers, mask)
    assert results["python"][1].tolist() == [list(pair) for pair in reference.held]

    # two seeds, of which the second has another random stream, other transitions and other masks
    buffer = buffer_of(7)
    buffer.add(transitions(90, 91, 92))
    turn = turn_of(buffer)
    init, apply = coax.transform(lambda xs: coax.scan(turn, over=buffer, xs=xs), over=buffer)
    states = jax.tree.map(lambda x: jnp.stack([x, x]), init(jax.random.key(0), keep=buffer))
    rng = states[buffer]["rng"]
    keys = jnp.stack([rng.key[0], jax.random.key(5)])
    states = states.replace({buffer: {**states[buffer], "rng": rng._replace(key=keys)}})
    turned = tuple(np.stack([x, x[:, ::-1]]) for x in xs)
    outs, states = jax.jit(jax.vmap(apply))(states, turned)
    assert_same(jax.tree.map(lambda x: x[0], outs), results["python"][0])
    other = buffer_of(7)
    other.state = jax.tree.map(lambda x: x[1], states[buffer])
    reference = Reference(7)
    reference.add([90, 91, 92])
    for numbers, mask in zip(turned[0][1], turned[1][1], strict=True):
        reference.add(numbers, mask)
    assert held(other) == reference.held


@pytest.mark.gate
def test_in_float64():
    with jax.enable_x64(True):
        buffer = buffer_of(7)
        buffer.add(transitions(1, 2, 3))
        coax.scan(turn_of(buffer), over=buffer, xs=stream(3, 3))
        assert buffer.sample(3).W.dtype == np.float32
        assert buffer.state["ring"].dtype == np.int32


# --- in place


def pointers(buffer):
    return [x.unsafe_buffer_pointer() for x in buffer._peek()["stores"].values()]


@pytest.mark.gate
@pytest.mark.parametrize("make", [DeviceReplayBuffer, DevicePrioritizedReplayBuffer])
def test_the_stores_stay_where_they_are(make):
    buffer = make(10, transitions(0))
    at = pointers(buffer)
    for i in range(4):
        buffer.add(transitions(i, i + 1), mask=np.array([True, i > 1]))
        buffer.sample(1)
    assert pointers(buffer) == at
    numbers = np.ones((5, 2), np.float32)
    coax.scan(lambda x: (buffer.add(numbered(x)), buffer.sample(2).S)[1], over=buffer, xs=numbers)
    assert pointers(buffer) == at
    buffer.clear()
    buffer.add(transitions(1))
    assert pointers(buffer) == at


def test_what_somebody_holds_is_left_alone():
    buffer = buffer_of(3)
    buffer.add(transitions(1))
    state = buffer.state
    other = buffer.copy()
    buffer.add(transitions(2))
    other.add(transitions(3))
    assert (held(buffer), held(other)) == ([(1, 0), (2, 1)], [(1, 0), (3, 1)])
    at = pointers(buffer)  # its own again
    buffer.add(transitions(4))
    assert pointers(buffer) == at
    buffer.state = state
    assert held(buffer) == [(1, 0)]


def loops(buffer, rows, first):
    """One that adds and samples in each turn, in this order or the other; with new priorities where there are any."""

    def draw():
        batch = buffer.sample(8)
        if isinstance(buffer, DevicePrioritizedReplayBuffer):
            buffer.update(batch.idx, batch.Rn)
        return jax.nn.relu(batch.S @ jnp.ones((2, 3))).sum(), batch.A, batch.W.sum()

    def turn(x):
        if first == "add":
            buffer.add(numbered(x))
        out = draw()
        if first == "sample":
            buffer.add(numbered(x), mask=x > 0)
        return out

    return coax.transform(lambda xs: coax.scan(turn, over=buffer, xs=xs), over=buffer)


@pytest.mark.gate
@pytest.mark.parametrize("first", ["add", "sample"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("make", [DeviceReplayBuffer, DevicePrioritizedReplayBuffer])
@pytest.mark.parametrize("seeds", [None, 2])
def test_a_compiled_loop_copies_nothing_that_is_as_large_as_the_buffer(make, rows, first, seeds):
    # Without the order that the ring keeps, XLA copies a store in each turn in which it is read before it is changed.
    capacity = 4096
    buffer = make(capacity, transitions(0))
    init, apply = loops(buffer, rows, first)
    xs, key = np.ones((20, rows), np.float32), jax.random.key(0)
    if seeds:
        init, apply = jax.vmap(init), jax.vmap(apply, in_axes=(0, None))
        key = jax.random.split(key, seeds)
    program = jax.jit(apply, donate_argnums=0).lower(init(key), xs).compile().as_text()
    large = [x.shape for x in jax.tree.leaves(buffer.state) if np.size(x) >= capacity]
    assert large
    assert "while" in program
    for shape in large:
        shape = ",".join(map(str, shape if seeds is None else (seeds, *shape)))
        assert re.findall(rf"= \w+\[{shape}\]\S* copy\(.*", program) == []


# --- errors


def test_no_number_inside_a_compiled_function():
    buffer = buffer_of(3)
    for look, what in ((len, "len"), (bool, "bool")):
        text = (
            rf"DeviceReplayBuffer: {what}\(buffer\) is not known inside .* Fix: use buffer\.size there, .* coax\.cond"
        )
        with pytest.raises(StateError, match=text):
            coax.jit(lambda: look(buffer), over=buffer)()  # noqa: B023
    with pytest.raises(StateError, match=r"DeviceReplayBuffer\.__iter__\(\) inside a compiled function"):
        coax.jit(lambda: next(iter(buffer)), over=buffer)()
    assert coax.jit(lambda: buffer.size, over=buffer)().dtype == np.int32


def test_not_through_cond():
    buffer = buffer_of(3)

    def turn(flag):
        coax.cond(flag, lambda: buffer.add(transitions(1)), lambda: None, over=buffer)

    text = r"DeviceReplayBuffer is in over=\(\.\.\.\) of a coax\.cond, which copies .* Fix: leave it out, .* mask=mask"
    with pytest.raises(StateError, match=text):
        coax.jit(turn, over=buffer)(True)
    turn(True)  # outside, this is Python's if
    assert len(buffer) == 1
    text = r"may only read it\. Fix: add it to over=\(\.\.\.\) of that coax\.scan\. A coax\.cond would copy all that it"
    with pytest.raises(StateError, match=text):
        coax.jit(lambda x: coax.cond(x, lambda: buffer.sample(1).Rn, lambda: jnp.zeros(1)), over=buffer)(True)


def test_sizes_that_can_never_be():
    buffer = buffer_of(3)
    for size in (0, 4):
        text = (
            rf"batch_size: expected a number from 1 to the 3 transitions that there is room for, got {size}\. Fix: pass"
        )
        with pytest.raises(ValueError, match=text):
            coax.jit(lambda: buffer.sample(size), over=buffer)()  # noqa: B023


def test_batches_that_do_not_fit_inside_a_compiled_function():
    buffer = buffer_of(2)
    add = coax.jit(lambda batch: buffer.add(batch), over=buffer)
    with pytest.raises(ValueError, match=r"transition_batch: expected at most 2 transitions, .* got 3\. Fix: make the"):
        add(transitions(1, 2, 3))
    with pytest.raises(
        ValueError, match=r"\.S_next: expected rows of float32\[2\] as before, got float32\[3\]\. Fix: "
    ):
        add(transitions(1, S_next=np.zeros((1, 3), np.float32)))
    with pytest.raises(TypeError, match=r"\.A: expected rows of int32\[\] as before, got float32\[\]\. Fix: use one"):
        add(transitions(1, A=np.zeros(1, np.float32)))
    with pytest.raises(TypeError, match=r"\.S_next: expected the structure PyTreeDef\(\*\), as in the example, got"):
        add(transitions(1, S_next=None))
    assert len(buffer) == 0


@pytest.mark.parametrize(
    ("mask", "error", "text"),
    [
        ([1, 0], TypeError, r"mask: expected bools, got int64\. Fix: pass one bool for each transition"),
        ([True], ValueError, r"mask: expected shape \[2\], got \[1\]\. Fix: "),
        (True, ValueError, r"mask: expected shape \[2\], got \[\]"),
    ],
)
def test_masks_that_cannot_be(mask, error, text):
    buffer = buffer_of(3)
    with pytest.raises(error, match=text):
        buffer.add(transitions(1, 2), mask)
    assert len(buffer) == 0


@pytest.mark.parametrize(
    ("example", "error", "text"),
    [
        (3, TypeError, r"example: expected an environment or a TransitionBatch, got int\. Fix: pass the environment"),
        (transitions(0, S=np.zeros((2, 2))), ValueError, r"example\.S: expected shape \[1, \.\.\.\], a row for each"),
        (transitions(0, A="left"), TypeError, r"example\.A: expected an array, got str\. Fix: give each field a row"),
        (transitions(0, A=jax.random.split(jax.random.key(0), 1)), TypeError, r"example\.A: expected an array"),
        (transitions(0, Rn=np.float32(1), idx=0), ValueError, r"example\.Rn: expected shape \[B\], got \[\]"),
    ],
)
def test_examples_that_cannot_be(example, error, text):
    with pytest.raises(error, match=text):
        DeviceReplayBuffer(3, example)


def test_too_many_places():
    with pytest.raises(ValueError, match=r"capacity: expected at most 1073741824, got 1073741825\. Fix: use several"):
        buffer_of(2**30 + 1)


def test_what_is_compiled_in():
    buffer = buffer_of(3)
    with pytest.raises(AttributeError, match=r"capacity is fixed at construction.* Fix: make a new buffer"):
        buffer.capacity = 4


# --- state


def filled(seed=3):
    buffer = buffer_of(4, seed)
    for i in range(6):
        buffer.add(transitions(i))
    buffer.sample(2)
    return buffer


@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, lambda buffer: buffer.copy(), lambda buffer: pickle.loads(pickle.dumps(buffer))],
    ids=["copy", "deepcopy", "method", "pickle"],
)
def test_a_copy_goes_on_identically_and_alone(twin):
    buffer, untouched = filled(), filled()
    other = twin(buffer)
    drawn = []
    for each in (buffer, other):
        for i in range(3):
            each.add(transitions(10 + i))
            drawn.append(each.sample(3))
        if each is buffer:
            assert_same(other.state, untouched.state)
    assert_same(drawn[:3], drawn[3:])
    assert_same(other.state, buffer.state)
    assert other.rule is buffer.rule is untouched.rule


def test_restored_it_goes_on_identically():
    buffer, other = filled(), buffer_of(4, seed=9)
    other.state = buffer.state
    for each in (buffer, other):
        each.add(transitions(10))
    assert_same(buffer.sample(3), other.sample(3))
    with pytest.raises(TypeError, match=r"DeviceReplayBuffer\.state\['ring'\]: expected int32\[4\], got int32\[3\]"):
        other.state = {**buffer.state, "ring": jnp.zeros(3, jnp.int32)}


def test_init_is_an_empty_buffer():
    buffer = filled()
    buffer.state = buffer.init(jax.random.key(0))
    assert held(buffer) == []
    other = buffer_of(4, seed=8)
    other.state = other.init(jax.random.key(0))
    for each in (buffer, other):
        each.add(transitions(1, 2, 3, 4))
    assert_same(buffer.sample(4), other.sample(4))


def test_iteration_over_many():
    buffer = buffer_of(2500)
    buffer.add(transitions(*range(2000)))
    buffer.add(transitions(*range(2000, 3000)))
    assert held(buffer) == [(i, i) for i in range(500, 3000)]
