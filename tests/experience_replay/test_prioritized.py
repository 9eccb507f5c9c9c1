"""Priorities, the frequencies and weights that follow from them, and what happens to those that are gone.

What does not depend on where the transitions are holds for buffers in host memory and on the device.
"""

import copy
import functools
import pickle

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.errors import StateError
from coax.experience_replay import DevicePrioritizedReplayBuffer, PrioritizedReplayBuffer
from coax.reward_tracing import TransitionBatch


def transitions(*numbers, **changes):
    """One transition for each number, which is its observation and its action."""
    x = np.array(numbers, np.float32)
    fields = {"S": x, "A": x.astype(np.int64), "logP": -x, "Rn": x, "In": x, "S_next": x}
    return TransitionBatch(**{**fields, **changes})


def on_device(capacity, **settings):
    return DevicePrioritizedReplayBuffer(capacity, transitions(0), **settings)


@pytest.fixture(params=[PrioritizedReplayBuffer, on_device], ids=["host", "device"])
def make(request):
    """Makes an empty buffer of either kind."""
    return request.param


@pytest.fixture
def filled(make):
    return functools.partial(filled_by, make)


def filled_by(make, Adv, capacity=None, **settings):
    """A buffer with transitions 0, 1, ... that have these advantages, of which the latest are held."""
    Adv = np.array(Adv, float)
    buffer = make(capacity or len(Adv), **{"epsilon": 0, "random_seed": 3, **settings})
    for i in range(0, len(Adv), buffer.capacity):
        some = range(len(Adv))[i : i + buffer.capacity]
        buffer.add(transitions(*some), Adv[i : i + buffer.capacity])
    return buffer


def host_filled(Adv, capacity=None, **settings):
    return filled_by(PrioritizedReplayBuffer, Adv, capacity, **settings)


def priorities(buffer):
    """Of the transitions that are held, oldest first."""
    if isinstance(buffer, PrioritizedReplayBuffer):
        return buffer.state["priorities"]
    cursor, size = buffer._peek()["ring"][:2]
    return np.roll(np.ravel(buffer._peek()["tree"][0])[: buffer.capacity], size - cursor)[:size]


def assert_priorities(buffer, want):
    np.testing.assert_allclose(priorities(buffer), want, rtol=1e-6)


def frequencies(buffer, size=1000):
    return np.bincount(buffer.sample(size).A, minlength=len(buffer)) / size


def assert_same(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        assert a.dtype == b.dtype
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


# --- what is drawn


def test_drawn_in_proportion(filled):
    # (|Adv| + 1)^2 = 1, 4, 9, 16, whose sum is 30. Of 3000 equal shares of the sum each place has its own, but for the
    # one or two at the borders.
    buffer = filled([0, -1, 2, -3], alpha=2, epsilon=1)
    np.testing.assert_allclose(frequencies(buffer, 3000), np.array([1, 4, 9, 16]) / 30, atol=1 / 3000)


def test_one_draw_at_a_time(filled):
    # Priorities 2 and 6: in 4000 draws the first comes 1000 times, with the standard deviation sqrt(4000 3/16) = 27.
    buffer = filled([2, 6])
    count = sum(int(buffer.sample(1).A[0] == 0) for _ in range(4000))
    assert abs(count - 1000) < 5 * 27


def test_one_draw_from_each_share(filled):
    # Priorities 1 and 3: of four draws exactly one is the first.
    buffer = filled([1, 3])
    for _ in range(50):
        assert sorted(buffer.sample(4).A) == [0, 1, 1, 1]


def test_what_has_no_priority_is_never_drawn(filled):
    rng = np.random.default_rng(0)
    for _ in range(20):
        Adv = rng.exponential(size=37) * (rng.random(37) < 0.3)
        Adv[rng.integers(37)] = 1e-30
        drawn = filled(Adv, capacity=50).sample(5000).A
        assert Adv[drawn].min() > 0


def test_nothing_can_be_drawn(make, filled):
    with pytest.raises(
        RuntimeError, match=r"PrioritizedReplayBuffer\.sample: the buffer is empty\. Fix: add transitions"
    ):
        make(5).sample(1)
    with pytest.raises(
        RuntimeError, match=r"sample: none of the 2 transitions has a positive priority\. Fix: keep eps"
    ):
        filled([0, 0]).sample(1)


# --- weights


def test_weights(filled):
    # P = 0.1, 0.3, 0.6 and N = 3: (N P)^-0.5 = 1.825742, 1.054093, 0.745356; by the first: 1, 0.577350, 0.408248
    buffer = filled([1, 3, 6], beta=0.5)
    batch = buffer.sample(50)
    np.testing.assert_allclose(batch.W, np.array([1, 0.577350, 0.408248])[batch.A], rtol=1e-5)
    assert batch.W.dtype == np.float32


def test_weights_of_a_buffer_that_is_not_full(filled):
    # N is how many are held, which matters to no weight, as they are divided by the largest
    buffer = filled([1, 3, 6], capacity=100, beta=0.5)
    batch = buffer.sample(50)
    np.testing.assert_allclose(batch.W, np.array([1, 0.577350, 0.408248])[batch.A], rtol=1e-5)


def test_the_largest_weight_of_a_batch_is_1(filled):
    # of two equal draws out of priorities 1 and 1e6, the first is hardly ever among them
    buffer = filled([1, 1e6])
    assert buffer.sample(2).W.tolist() == [1, 1]


def test_weights_are_multiplied(make):
    buffer = make(5, epsilon=0, random_seed=0)
    buffer.add(transitions(0, 1, W=np.array([8.0, 0.5])), np.array([1.0, 4.0]))
    batch = buffer.sample(10)  # weights 1 and 1/4
    np.testing.assert_allclose(batch.W, np.array([8, 0.125])[batch.A], rtol=1e-6)
    assert [float(single.W[0]) for single in buffer] == [8, 0.5]


def test_the_expectation_is_that_of_uniform_draws(filled):
    # With beta = 1 the weighted mean over many draws, set in relation to the mean weight, is the mean over all.
    Adv = np.random.default_rng(1).exponential(size=20) + 0.05
    batch = filled(Adv, alpha=0.7, beta=1).sample(40_000)
    assert (batch.W * batch.A).sum() / batch.W.sum() == pytest.approx(np.arange(20).mean(), rel=2e-3)


def test_beta_0_leaves_the_weights(filled):
    buffer = filled([1, 3, 6], beta=0)
    assert buffer.sample(10).W.tolist() == [1] * 10


# --- settings


def test_alpha_may_change(filled):
    # Priorities 1, 4, 16 with alpha = 2 come from 1, 2, 4; with alpha = 1/2 they are 1, 1.41421, 2 of 4.41421.
    buffer = filled([1, 2, 4], alpha=2)
    np.testing.assert_allclose(frequencies(buffer, 2100), np.array([1, 4, 16]) / 21, atol=1 / 2100)
    buffer.alpha = 0.5
    assert buffer.alpha == 0.5
    np.testing.assert_allclose(frequencies(buffer), np.array([1, 1.41421, 2]) / 4.41421, atol=1.5e-3)
    buffer.update([0], [16.0])  # 4 of 7.41421
    np.testing.assert_allclose(frequencies(buffer), np.array([4, 1.41421, 2]) / 7.41421, atol=1.5e-3)


def test_a_small_change_of_alpha_counts_too():
    buffer = host_filled([1, 1e9], alpha=1)
    before = buffer.state["priorities"]
    buffer.alpha = 1.005
    np.testing.assert_allclose(buffer.state["priorities"], before**1.005, rtol=1e-12)


def test_epsilon_may_change(filled):
    buffer = filled([1, 3])
    buffer.epsilon = 1
    buffer.update([1], [3])
    assert_priorities(buffer, [1, 4])
    assert buffer.epsilon == 1


def test_beta_may_change(filled):
    buffer = filled([1, 4])
    buffer.beta = 0.5
    batch = buffer.sample(10)
    np.testing.assert_allclose(batch.W, np.array([1, 0.5])[batch.A], rtol=1e-6)
    assert buffer.beta == 0.5


def test_defaults(make):
    buffer = make(7)
    assert (buffer.capacity, buffer.alpha, buffer.beta, buffer.epsilon) == (7, 1, 1, pytest.approx(1e-4))
    assert buffer.random_seed is None


NUMBERS = [
    ("alpha", 0, ValueError, r"alpha: expected a positive number, got 0\. Fix: pass for instance alpha=0\.5"),
    ("alpha", "1", TypeError, r"alpha: expected a number, got '1'\. Fix: pass for instance alpha=0\.5"),
    ("alpha", np.nan, ValueError, r"alpha: expected a positive number, got nan"),
    ("beta", -1, ValueError, r"beta: expected a number of at least 0, got -1"),
    ("beta", True, TypeError, r"beta: expected a number, got True"),
    ("epsilon", np.inf, ValueError, r"epsilon: expected a number of at least 0, got inf"),
]


@pytest.mark.parametrize(("name", "value", "error", "text"), NUMBERS)
def test_numbers_that_cannot_be(name, value, error, text):
    with pytest.raises(error, match=text):
        PrioritizedReplayBuffer(5, **{name: value})
    buffer = host_filled([1, 2])
    before = buffer.state
    with pytest.raises(error, match=text):
        setattr(buffer, name, value)
    assert_same(before, buffer.state)


def test_an_alpha_beyond_all_numbers():
    buffer = host_filled([1, 1e200])
    before = buffer.state
    with pytest.raises(ValueError, match=r"alpha: expected finite priorities, got inf at position 1\. Fix: "):
        buffer.alpha = 2
    assert_same(before, buffer.state)


# --- new priorities


def test_new_priorities(filled):
    buffer = filled([1, 1, 1, 1])
    buffer.update(np.array([3, 0], np.int32), jnp.array([-5.0, 2.0]))
    assert_priorities(buffer, [2, 1, 1, 5])


def test_of_equal_ids_the_last_counts(filled):
    buffer = filled([1, 1])
    buffer.update([1, 1, 1], [7, 8, 9])
    assert_priorities(buffer, [1, 9])


def test_what_had_to_make_room_is_left_out(filled):
    buffer = filled([1, 2, 3], capacity=3)
    batch = buffer.sample(10)
    buffer.add(transitions(3, 4), np.array([4, 5]))  # 0 and 1 are gone
    buffer.update([0, 1, 2, 3, 99, -1], [90, 91, 92, 93, 94, 95])
    assert [int(single.idx[0]) for single in buffer] == [2, 3, 4]
    assert_priorities(buffer, [92, 93, 5])
    buffer.clear()
    buffer.update(batch.idx, np.ones(10))
    with pytest.raises(RuntimeError, match="the buffer is empty"):
        buffer.sample(1)


def test_ids_belong_to_transitions_and_not_to_places(filled):
    buffer = filled(range(1, 8), capacity=3)
    batch = buffer.sample(40)
    assert set(batch.idx.tolist()) == {4, 5, 6}
    assert batch.idx.tolist() == batch.A.tolist()
    assert_priorities(buffer, [5, 6, 7])


def test_by_default_the_highest_priority(make):
    buffer = make(6, alpha=2, epsilon=0)
    buffer.add(transitions(0))  # 1, as there was none before
    buffer.add(transitions(1), [3])  # 9
    buffer.add(transitions(2, 3))
    buffer.update([1], [1])
    buffer.add(transitions(4))  # the highest that there was, not that there is
    assert_priorities(buffer, [1, 1, 9, 9, 9])
    buffer.alpha = 1
    buffer.add(transitions(5))
    assert_priorities(buffer, [1, 1, 3, 3, 3, 3])
    buffer.clear()
    buffer.add(transitions(6))
    assert_priorities(buffer, [1])


ADVANTAGES = [
    ([np.nan, 1], r"Adv: expected finite priorities, got nan at position 0\. Fix: .*nothing was changed"),
    ([1, -np.inf], r"Adv: expected finite priorities, got inf at position 1"),
    ([1], r"Adv: expected shape \[2\], got \[1\]\. Fix: pass one number for each transition"),
    ([[1, 2]], r"Adv: expected shape \[2\], got \[1, 2\]"),
    (1.0, r"Adv: expected shape \[2\], got \[\]"),
    ([1, 1e308], r"Adv: expected finite priorities, got 1e\+308 at position 1"),  # the sum would not be
]


@pytest.mark.parametrize(("Adv", "text"), ADVANTAGES)
def test_advantages_that_cannot_be(filled, Adv, text):
    buffer = filled([1, 2])
    before = buffer.state
    with pytest.raises(ValueError, match=text):
        buffer.update([0, 1], Adv)
    with pytest.raises(ValueError, match=text):
        buffer.add(transitions(5, 6), Adv)
    assert_same(before, buffer.state)


def test_advantages_whose_sum_is_too_large():
    buffer = host_filled([1, 2], capacity=100)
    with pytest.raises(ValueError, match=r"Adv: expected finite priorities, got 5e\+306 at position 0"):
        buffer.update([0], [5e306])  # a hundred of these are more than there is


def test_complex_advantages(filled):
    buffer = filled([1, 2])
    with pytest.raises(TypeError, match=r"Adv: expected real numbers, got complex ones\. Fix: pass one number"):
        buffer.update([0, 1], [1j, 2])


@pytest.mark.parametrize("tiny", [5e-324, 1e-300])
def test_weights_of_extreme_priorities(tiny):
    buffer = host_filled([tiny, tiny], beta=1.0)
    np.testing.assert_array_equal(buffer.sample(8).W, np.ones(8))
    large = 1e307
    buffer = host_filled([large, large / 4], beta=0.5)
    batch = buffer.sample(64)
    np.testing.assert_allclose(batch.W, np.where(batch.A == 0, 0.5, 1.0), rtol=1e-6)  # (1 / 4)^0.5


def test_nothing_to_update(filled):
    buffer = filled([1, 2])
    buffer.update([], [])
    assert_priorities(buffer, [1, 2])


def test_a_batch_of_another_kind_changes_no_priority():
    buffer = host_filled([1, 2])
    before = buffer.state
    with pytest.raises(TypeError, match=r"\.A: expected rows of int64\[\] as before"):
        buffer.add(transitions(5, A=np.zeros(1)), [1])
    with pytest.raises(TypeError, match=r"transition_batch: expected a TransitionBatch, got dict"):
        buffer.add({}, [])
    assert_same(before, buffer.state)


def test_ids_that_cannot_be(filled):
    buffer = filled([1, 2])
    with pytest.raises(TypeError, match=r"idx: expected integers, got float64\. Fix: pass the idx of a batch"):
        buffer.update([0.0], [1])
    with pytest.raises(ValueError, match=r"idx: expected shape \[B\], got \[\]\. Fix: "):
        buffer.update(0, 1)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)])
def test_sizes_that_cannot_be(filled, size, error):
    with pytest.raises(error, match=r"batch_size: expected .*, got .*\. Fix: "):
        filled([1]).sample(size)


def test_not_inside_a_compiled_function():
    buffer = host_filled([1])
    text = r"PrioritizedReplayBuffer\..* lives in host memory .* coax\.experience_replay\.DevicePrioritizedReplayBuffer"
    for call in (lambda: buffer.sample(1), lambda: buffer.update([0], [1])):
        with pytest.raises(StateError, match=text):
            jax.jit(lambda: call() and None)()  # noqa: B023


# --- with an updater


def test_priorities_from_td_errors():
    # q = 0 everywhere and In = 0, so that the TD error of the squared loss is Rn: priorities 1, 2, 4 of 7
    env = gymnasium.make("FrozenLake-v1")
    zero = hk.initializers.Constant(0)
    q = coax.Q(lambda S, A, is_training: hk.Linear(1, w_init=zero)(jax.vmap(jnp.kron)(S, A)).ravel(), env)
    learner = coax.td_learning.QLearning(q, loss_function=coax.value_losses.mse, optimizer=optax.sgd(0.0))
    x = np.array([1, 2, 4])
    batch = TransitionBatch(S=x, A=x % 4, logP=np.zeros(3), Rn=np.float32(x), In=np.zeros(3, np.float32), S_next=x)
    buffer = PrioritizedReplayBuffer(3, epsilon=0, beta=0, random_seed=0)
    buffer.add(batch, learner.td_error(batch))
    drawn = buffer.sample(700)
    np.testing.assert_allclose(np.bincount(drawn.idx) / 700, x / 7, atol=2 / 700)
    _, td_error = learner.update(drawn, return_td_error=True)
    buffer.update(drawn.idx, 2 * td_error)
    np.testing.assert_allclose(buffer.state["priorities"], 2 * x, rtol=1e-5)


# --- state


@pytest.mark.parametrize(
    "twin",
    [copy.copy, copy.deepcopy, lambda buffer: buffer.copy(), lambda buffer: pickle.loads(pickle.dumps(buffer))],
    ids=["copy", "deepcopy", "method", "pickle"],
)
def test_a_copy_goes_on_identically_and_alone(twin):
    buffer, untouched = host_filled(range(1, 8), capacity=4, alpha=0.6, beta=0.4), host_filled(range(1, 8), capacity=4)
    untouched.state = buffer.state
    other = twin(buffer)
    drawn = []
    for each in (buffer, other):
        for i in range(3):
            each.add(transitions(10 + i), [i])
            each.update([5 + i], [0.5])
            drawn.append(each.sample(5))
        if each is buffer:
            assert_same(other.state, untouched.state)
    assert_same(drawn[:3], drawn[3:])
    assert_same(buffer.state, other.state)


def test_restored_it_goes_on_identically():
    buffer, other = host_filled(range(1, 8), capacity=4, alpha=0.6, beta=0.4), PrioritizedReplayBuffer(4, random_seed=8)
    other.state = buffer.state
    for each in (buffer, other):
        each.add(transitions(10))
    assert (other.alpha, other.beta, other.epsilon) == (0.6, 0.4, 0)
    assert_same(buffer.sample(5), other.sample(5))
    assert_same(buffer.state, other.state)


def wrong(**changes):
    return {**host_filled(range(1, 8), capacity=4).state, **changes}


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (wrong(alpha=1.0), r"\['alpha'\]: expected float64\[\], got float"),
        (wrong(priorities=None), r"\['priorities'\]: expected float64\[4\], got None"),
        (wrong(priorities=np.ones(3)), r"\['priorities'\]: expected float64\[4\], got float64\[3\]"),
        (wrong(priorities=np.array([1, 2, np.nan, 1])), r"\['priorities'\]: expected finite numbers of at least 0"),
        (wrong(priorities=np.array([1, 2, -1.0, 1])), r"\['priorities'\]: expected finite numbers of at least 0"),
    ],
)
def test_a_state_that_does_not_fit(state, text):
    buffer = host_filled(range(1, 8), capacity=4)
    before = buffer.state
    with pytest.raises(TypeError, match=r"PrioritizedReplayBuffer\.state" + text):
        buffer.state = state
    assert_same(before, buffer.state)


def test_init_is_an_empty_buffer():
    buffer = host_filled(range(1, 8), capacity=4, alpha=0.6)
    buffer.state = buffer.init(jax.random.key(0))
    assert (len(buffer), buffer.alpha) == (0, 0.6)
    with pytest.raises(RuntimeError, match="the buffer is empty"):
        buffer.sample(1)


def test_equal_seeds_draw_equal_samples(filled):
    one, same, other = (filled(range(1, 50), random_seed=seed) for seed in (1, 1, 2))
    batch = one.sample(10)
    assert_same(batch, same.sample(10))
    assert batch.idx.tolist() != other.sample(10).idx.tolist()


def test_a_mask_in_the_place_of_advantages(make):
    buffer = make(4, random_seed=0)
    with pytest.raises(TypeError, match=r"Adv: expected real numbers, got bools\. Fix: .* A mask goes by its name"):
        buffer.add(transitions(1, 2), np.array([True, False]))
    assert len(buffer) == 0
