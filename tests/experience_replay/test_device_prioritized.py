"""Priorities in device memory: beside a slow reference in NumPy, and the same in all kinds of loops."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import coax
from coax.errors import StateError
from coax.experience_replay import DevicePrioritizedReplayBuffer
from coax.experience_replay._sums import draw_stratified, set_leaves, value_at, with_leaves
from coax.reward_tracing import TransitionBatch


def transitions(*numbers):
    """One transition for each number, which is its observation and its action."""
    return numbered(np.array(numbers, np.float32))


def numbered(x):
    return TransitionBatch(S=x, A=x.astype(np.int32), logP=-x, Rn=x, In=x, S_next=x, W=0 * x + 1)


def buffer_of(capacity, **settings):
    return DevicePrioritizedReplayBuffer(capacity, transitions(0), **{"epsilon": 0, "random_seed": 3, **settings})


def filled(Adv, capacity=None, **settings):
    buffer = buffer_of(capacity or len(Adv), **settings)
    buffer.add(transitions(*range(len(Adv))), np.array(Adv, float))
    return buffer


def priorities(buffer):
    """Of the transitions that are held, oldest first."""
    cursor, size = buffer._peek()["ring"][:2]
    return np.roll(np.ravel(buffer._peek()["tree"][0])[: buffer.capacity], size - cursor)[:size]


def assert_same(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


# --- the tree


def tree_of(values):
    leaves = np.zeros(-(-len(values) // 16) * 16, np.float32)
    leaves[: len(values)] = values
    return with_leaves(jnp.asarray(leaves.reshape(-1, 16)))


@pytest.mark.parametrize("capacity", [1, 16, 17, 300, 5000])
def test_a_tree_of_sums(capacity):
    rng = np.random.default_rng(0)
    values = rng.random(capacity).astype(np.float32)
    tree = tree_of(values)
    assert [len(level) for level in tree] == {
        1: [1],
        16: [1],
        17: [2, 1],
        300: [19, 2, 1],
        5000: [313, 20, 2, 1],
    }[capacity]
    change = jax.jit(set_leaves)
    for _ in range(5):
        places = rng.permutation(capacity)[:3].astype(np.int32)
        new = rng.random(len(places)).astype(np.float32)
        values[places] = new
        dropped = np.append(places, 1 << 30).astype(np.int32)
        tree, _ = change(tree, dropped, np.append(new, np.float32(7)))
    for mine, whole in zip(tree, tree_of(values), strict=True):  # made of the same children, so without any drift
        np.testing.assert_allclose(mine, whole, rtol=1e-6)
    np.testing.assert_array_equal(value_at(tree, np.arange(capacity)), values)
    assert float(tree[-1].sum()) == pytest.approx(values.sum(), rel=1e-5)


def test_the_place_is_where_the_sum_up_to_it_exceeds_the_position():
    values = np.random.default_rng(1).exponential(size=3000).astype(np.float32)
    uniforms = np.random.default_rng(2).random(500).astype(np.float32)
    got = np.array(draw_stratified(tree_of(values), uniforms))
    ends = np.cumsum(values.astype(np.float64))
    want = np.searchsorted(ends, (np.arange(500) + uniforms) / 500 * ends[-1], side="right")
    assert np.mean(got == want) > 0.99  # but for rounding at the borders
    assert np.abs(got - want).max() <= 1


@pytest.mark.gate
def test_places_are_told_apart_where_float32_is_coarse():
    # A million priorities of 0.7: near their sum float32 numbers are 1/16 apart, which is 9 % of one of them. In the
    # 31st of 32 shares, positions 1/100 of a priority apart: each place gets 100 of them.
    count, share = 1 << 20, (1 << 20) / 32
    tree = tree_of(np.full(count, 0.7, np.float32))
    offsets = (np.arange(4000) / 100 + 5000) / share
    found = jax.vmap(lambda u: draw_stratified(tree, jnp.full(32, u))[30])(offsets.astype(np.float32))
    hits = np.bincount(np.array(found) - int(found[0]))[1:-1]
    assert len(hits) >= 38
    assert np.abs(hits - 100).max() <= 3


def test_what_has_no_priority_is_never_drawn():
    rng = np.random.default_rng(0)
    draw = jax.jit(draw_stratified)
    for scale in (0, 1, 20):
        values = (np.exp(rng.uniform(-scale, scale, 5000)) * (rng.random(5000) < 0.4)).astype(np.float32)
        values[-700:] = 0
        tree = tree_of(values)
        ends = [np.zeros(4000), np.full(4000, 1 - 2**-24), rng.random(4000)]  # at the borders of the shares, and within
        for uniforms in ends:
            assert values[np.array(draw(tree, uniforms.astype(np.float32)))].min() > 0


def test_single_draws_in_proportion():
    # 6000 samples of one out of the priorities 1, 2, 3, 0, 4
    buffer = filled([1, 2, 3, 0, 4], capacity=300)
    drawn = coax.scan(lambda: buffer.sample(1).idx[0], 6000, over=buffer)
    observed = np.bincount(drawn, minlength=5)
    assert observed[3] == 0
    assert stats.chisquare(observed[[0, 1, 2, 4]], [600, 1200, 1800, 2400]).pvalue > 1e-3


# --- beside a slow reference


class Reference:
    """A list of numbers and priorities."""

    def __init__(self, capacity):
        self.capacity, self.all, self.highest = capacity, [], 1.0

    def add(self, numbers, Adv, mask):
        new = []
        for i, number in enumerate(numbers):
            if mask[i]:
                p = self.highest if Adv is None or not np.isfinite(Adv[i]) else abs(Adv[i])
                new.append([number, p])
        self.all += new
        self.highest = max([self.highest, *(p for _, p in new)])

    def update(self, idx, Adv):
        first = max(len(self.all) - self.capacity, 0)
        pairs = [(i, a) for i, a in zip(idx, Adv, strict=True) if first <= i < len(self.all)]
        before = [self.all[i][1] for i, _ in pairs]
        for (i, a), p in zip(pairs, before, strict=True):
            self.all[i][1] = abs(a) if np.isfinite(a) else p
            self.highest = max(self.highest, abs(a) if np.isfinite(a) else p)

    @property
    def held(self):
        return self.all[-self.capacity :]


@pytest.mark.gate
@pytest.mark.parametrize("capacity", [5, 40])
def test_a_stream_beside_the_reference(capacity):
    rng = np.random.default_rng(capacity)
    buffer, reference = buffer_of(capacity), Reference(capacity)
    add = coax.jit(lambda tb, Adv, mask: buffer.add(tb, Adv, mask), over=buffer)
    update = coax.jit(lambda idx, Adv: buffer.update(idx, Adv), over=buffer)
    for _ in range(40):
        numbers, mask = rng.integers(100, size=4), rng.random(4) < 0.7
        Adv = None if rng.random() < 0.3 else np.float32(rng.normal(size=4) * (rng.random(4) < 0.8))
        if Adv is not None:
            Adv[rng.random(4) < 0.1] = rng.choice([np.nan, np.inf, 3e38])
        reference.add(numbers, None if Adv is None else np.where(Adv == np.float32(3e38), np.inf, Adv), mask)
        add(transitions(*numbers), Adv, mask)
        idx, new = rng.integers(-3, len(reference.all) + 3, size=6), np.float32(rng.normal(size=6))
        new[rng.random(6) < 0.1] = np.nan
        update(idx, new)
        reference.update(idx, new)
        assert [int(single.A[0]) for single in buffer] == [number for number, _ in reference.held]
        np.testing.assert_allclose(priorities(buffer), [p for _, p in reference.held], rtol=1e-6)
        np.testing.assert_allclose(buffer._peek()["highest"], reference.highest, rtol=1e-6)
    assert_tree(buffer)


def assert_tree(buffer):
    tree = buffer._peek()["tree"]
    for mine, whole in zip(tree, with_leaves(tree[0]), strict=True):
        np.testing.assert_allclose(mine, whole, rtol=1e-6)


def test_ids_belong_to_transitions_when_running_numbers_run_over():
    buffer = filled([1, 2, 3], capacity=4)
    buffer.state = {**buffer.state, "ring": buffer.state["ring"].at[2].set(2**31 - 1)}  # of the next one
    buffer.add(transitions(3, 4), [4, 5])  # numbers 2^31 - 1 and -2^31; the oldest made room
    batch = buffer.sample(60)
    assert dict(zip(batch.idx.tolist(), batch.A.tolist(), strict=True)) == {
        2**31 - 3: 1,
        2**31 - 2: 2,
        2**31 - 1: 3,
        -(2**31): 4,
    }
    buffer.update(np.array([2**31 - 3, -(2**31), 2**31 - 4]), [20, 50, 10])
    np.testing.assert_allclose(priorities(buffer), [20, 3, 4, 50])


# --- in a compiled function


def test_nothing_to_draw_counts_for_nothing():
    buffer = buffer_of(20)
    sample = coax.jit(lambda: buffer.sample(4), over=buffer)
    for _ in range(2):
        batch = sample()
        assert batch.W.tolist() == [0] * 4
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(batch))
        buffer.add(transitions(1, 2), [0, 0])
    buffer.update([1], [2.0])
    batch = sample()
    assert (batch.W.tolist(), batch.A.tolist()) == ([1] * 4, [2] * 4)


def test_numbers_set_in_a_compiled_loop():
    buffer = filled([1, 4, 16], capacity=20, alpha=2, beta=0)  # priorities 1, 16, 256

    def turn(x):
        buffer.beta = x
        buffer.alpha = 2 * buffer.alpha / 4
        buffer.epsilon = x
        batch = buffer.sample(64)
        return batch.A, batch.W

    A, W = coax.scan(turn, over=buffer, xs=np.array([1.0, 0.5], np.float32))
    assert (buffer.alpha, buffer.beta, buffer.epsilon) == (0.5, 0.5, 0.5)
    np.testing.assert_allclose(priorities(buffer), [1, 2, 4], rtol=1e-6)
    np.testing.assert_allclose(W[0], np.array([1, 1 / 4, 1 / 16])[A[0]], rtol=1e-5)
    np.testing.assert_allclose(W[1], np.array([1, 2**-0.5, 1 / 2])[A[1]], rtol=1e-5)
    assert_tree(buffer)


def turn_of(buffer):
    def turn(x):
        numbers, mask = x
        batch = buffer.sample(3)
        buffer.update(batch.idx, batch.Rn + 1)
        buffer.add(numbered(numbers), mask=mask)
        more = buffer.sample(2)
        buffer.add(numbered(numbers[:1]), numbers[:1])
        return batch, more

    return turn


def run(name, xs):
    buffer = filled([1, 2, 3], capacity=7, beta=0.5, epsilon=0.1)
    turn = turn_of(buffer)
    if name == "scan":
        return buffer, coax.scan(turn, over=buffer, xs=xs)
    step = turn if name == "python" else coax.jit(turn, over=buffer)
    each = [step(x) for x in zip(*xs, strict=True)]
    return buffer, jax.tree.map(lambda *leaves: np.stack(leaves), *each)


@pytest.mark.gate
def test_python_compiled_scanned_and_mapped_loops_are_one():
    xs = np.arange(24, dtype=np.float32).reshape(8, 3), np.random.default_rng(0).random((8, 3)) < 0.7
    (buffer, outs), *others = (run(name, xs) for name in ("python", "jit", "scan"))
    whole = jax.tree.map(np.asarray, outs)
    for other, same in others:
        assert_close(same, whole)
        assert_close(priorities(other), priorities(buffer))
        assert_close(list(other), list(buffer))

    mapped = filled([1, 2, 3], capacity=7, beta=0.5, epsilon=0.1)
    turn = turn_of(mapped)
    init, apply = coax.transform(lambda xs: coax.scan(turn, over=mapped, xs=xs), over=mapped)
    states = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), init(jax.random.key(0), keep=mapped))
    outs, _ = jax.jit(jax.vmap(apply))(states, tuple(np.stack([x, x[::-1]]) for x in xs))
    assert_close(jax.tree.map(lambda x: x[0], outs), whole)


def assert_close(x, y):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), x, y)


@pytest.mark.gate
def test_in_float64():
    with jax.enable_x64(True):
        buffer, _ = run("scan", (np.ones((3, 3), np.float32), np.ones((3, 3), bool)))
        buffer.alpha = 0.5
        assert buffer.sample(3).W.dtype == np.float32
        assert {x.dtype for x in buffer.state["tree"]} == {np.dtype(np.float32)}


# --- settings, errors, state


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("alpha", 0, ValueError, r"Buffer\.alpha: expected a number in \(0, 1e\+30\], got 0\. Fix: pass one from"),
        ("alpha", "1", TypeError, r"Buffer\.alpha: expected a number, got '1'\. Fix: pass a float"),
        ("alpha", np.nan, ValueError, r"Buffer\.alpha: expected a number in"),
        ("beta", -1, ValueError, r"Buffer\.beta: expected a number in \[0, 1e\+30\], got -1"),
        ("epsilon", np.inf, ValueError, r"Buffer\.epsilon: expected a number in \[0, 1e\+30\], got inf"),
    ],
)
def test_numbers_that_cannot_be(name, value, error, text):
    with pytest.raises(error, match=text):
        buffer_of(5, **{name: value})
    buffer = filled([1, 2])
    before = buffer.state
    with pytest.raises(error, match=text):
        setattr(buffer, name, value)
    assert_same(before, buffer.state)


def test_an_alpha_beyond_all_numbers():
    buffer = filled([1, 1e20])
    before = buffer.state
    with pytest.raises(ValueError, match=r"alpha: expected finite priorities, got .*e\+40 for the highest one\. Fix: "):
        buffer.alpha = 2
    assert_same(before, buffer.state)


def test_what_is_on_the_device_is_not_looked_at():
    buffer = filled([5, 2])
    buffer.update([0, 1], jnp.array([jnp.nan, 3.0]))
    np.testing.assert_allclose(priorities(buffer), [5, 3])
    with pytest.raises(ValueError, match=r"Adv: expected finite priorities, got nan at position 0"):
        buffer.update([0, 1], np.array([np.nan, 3.0]))


def test_a_priority_that_would_round_to_0():
    buffer = filled([1e-30, 0, 1], alpha=2)
    np.testing.assert_allclose(priorities(buffer), [1e-30, 0, 1], rtol=1e-6)


def test_a_batch_of_another_kind_changes_no_priority():
    buffer = filled([1, 2])
    before = buffer.state
    with pytest.raises(ValueError, match=r"Adv: expected shape \[1\], got \[2\]"):
        buffer.add(transitions(5), [1, 2])
    with pytest.raises(ValueError, match=r"mask: expected shape \[1\], got \[2\]"):
        buffer.add(transitions(5), mask=np.array([True, False]))
    with pytest.raises(ValueError, match=r"expected at most 2 transitions, as many as the buffer has room for, got 3"):
        buffer.add(transitions(5, 6, 7))
    assert_same(before, buffer.state)


def test_not_through_cond():
    buffer = filled([1, 2])
    text = r"DevicePrioritizedReplayBuffer is in over=\(\.\.\.\) of a coax\.cond"
    with pytest.raises(StateError, match=text):
        coax.jit(lambda x: coax.cond(x, buffer.clear, buffer.clear, over=buffer), over=buffer)(True)


def test_clear():
    buffer = filled([7, 8])
    coax.jit(buffer.clear, over=buffer)()
    assert (len(buffer), list(buffer)) == (0, [])
    buffer.add(transitions(5))
    np.testing.assert_allclose(priorities(buffer), [1])  # as if there had never been a higher one
    assert buffer.sample(2).idx.tolist() == [0, 0]


@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, lambda buffer: pickle.loads(pickle.dumps(buffer))],
    ids=["copy", "deep", "pickle"],
)
def test_a_copy_goes_on_identically_and_alone(twin):
    buffer, untouched = filled([1, 2, 3], alpha=0.6), filled([1, 2, 3], alpha=0.6)
    other = twin(buffer)
    drawn = []
    for each in (buffer, other):
        each.add(transitions(9), [0.5])
        each.update([1], [3.5])
        drawn.append(each.sample(5))
        if each is buffer:
            assert_same(other.state, untouched.state)
    assert_same(*drawn)
    assert_same(buffer.state, other.state)


def test_init_keeps_the_numbers_that_were_set():
    buffer = filled([1, 2, 3], alpha=0.6)
    buffer.beta = 0.25
    buffer.state = buffer.init(jax.random.key(0))
    assert (len(buffer), buffer.beta) == (0, 0.25)
    assert buffer.alpha == pytest.approx(0.6)
