"""The state protocol, outside of compiled functions."""

import copy
import signal

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax._donation import owned_copy
from coax._entries import Rng
from coax._stateful import collect
from tests.counter import Counter, Pair


def linear(S, is_training):
    return hk.Linear(4)(S)


LAKE = gymnasium.make("FrozenLake-v1")


def q_function(seed=1):
    return coax.Q(linear, LAKE, random_seed=seed)


# --- state


def test_reading_the_state_copies_nothing():
    q = q_function()
    assert q.state["params"]["linear"]["w"] is q.params["linear"]["w"]
    assert q.state["params"]["linear"]["w"] is q.state["params"]["linear"]["w"]


def test_all_leaves_of_a_state_are_arrays():
    q = q_function()
    pi = coax.EpsilonGreedy(q, epsilon=0.25)
    updater = coax.td_learning.SoftQLearning(q, temperature=2)
    for obj in (q, pi, updater):
        for path, leaf in jax.tree_util.tree_leaves_with_path(obj.state):
            assert isinstance(leaf, jax.Array | np.ndarray), (obj, path)
    assert pi.state["epsilon"] == np.float32(0.25)
    assert updater.state["temperature"] == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: {**s, "x": jnp.zeros(4)}, r"Counter.state\['x'\]: expected float32\[3\], got float32\[4\]"),
        (lambda s: {**s, "x": jnp.zeros(3, jnp.int32)}, r"\['x'\]: expected float32\[3\], got int32\[3\]"),
        (lambda s: {**s, "x": 1.0}, r"\['x'\]: expected float32\[3\], got float"),
        (lambda s: {k: v for k, v in s.items() if k != "n"}, r"the leaf \['n'\] is missing"),
        (lambda s: {**s, "y": jnp.zeros(3)}, r"the leaf \['y'\] is unexpected"),
        (lambda s: {**s, "rng": tuple(s["rng"])}, r"Counter.state: .*Fix: pass a tree of the same structure"),
    ],
)
def test_a_state_that_does_not_fit_names_the_first_leaf_that_differs(change, text):
    counter = Counter()
    counter.step()
    before = counter.state
    with pytest.raises(TypeError, match=text):
        counter.state = change(before)
    assert counter.state["x"] is before["x"]
    assert int(counter.state["n"]) == 1


def test_a_state_can_be_put_back():
    counter, other = Counter(), Counter(seed=5)
    counter.step()
    other.state = counter.state
    assert [int(counter.step()), int(counter.step())] == [int(other.step()), int(other.step())] == [1, 2]
    np.testing.assert_array_equal(counter.state["x"], other.state["x"])


def test_host_arrays_may_be_put_in():
    counter = Counter()
    counter.state = {**counter.state, "x": np.array([1, 2, 3], np.float32)}
    step = coax.jit(counter.step, over=counter)
    step()
    key = jax.random.fold_in(jax.random.key(0), 0)
    np.testing.assert_allclose(counter.state["x"], np.array([1, 2, 3]) + jax.random.normal(key, (3,)), rtol=1e-6)


def test_weak_types_are_made_strong():
    counter = Counter()
    counter.state = {**counter.state, "n": jnp.asarray(3)}
    assert not counter.state["n"].weak_type
    assert int(counter.state["n"]) == 3


def test_init_is_pure():
    counter = Counter()
    counter.step()
    before = counter.state
    fresh = counter.init(jax.random.key(3))
    assert counter.state["x"] is before["x"]
    assert int(fresh["n"]) == 0
    assert jax.random.key_data(fresh["rng"].key).tolist() == jax.random.key_data(jax.random.key(3)).tolist()


# --- numbers


def test_a_settable_number_reads_as_float_and_keeps_its_dtype():
    pi = coax.EpsilonGreedy(q_function(), epsilon=1)
    assert pi.epsilon == 1.0
    assert type(pi.epsilon) is float
    for value in (0.5, 1, np.float64(0.25), np.float32(0.125), jnp.float32(0.75), np.array(0.0625)):
        pi.epsilon = value
        assert pi.epsilon == float(value)
        assert pi.state["epsilon"].dtype == np.float32


@pytest.mark.parametrize("value", ["much", None, [0.1], np.zeros(1), True])
def test_a_settable_number_must_be_a_number(value):
    pi = coax.EpsilonGreedy(q_function(), epsilon=0.5)
    with pytest.raises(TypeError, match=r"EpsilonGreedy.epsilon: expected a number, got .* Fix: pass a float"):
        pi.epsilon = value
    assert pi.epsilon == 0.5


# --- random streams


def test_the_n_th_key_is_the_n_th_fold_of_the_base_key():
    rng = Rng.seeded(7)
    keys = []
    for _ in range(3):
        keys.append(jax.random.key_data(rng.next_key).tolist())
        rng = rng.advanced()
    expected = [jax.random.key_data(jax.random.fold_in(jax.random.key(7), n)).tolist() for n in range(3)]
    assert keys == expected


def test_a_stream_advances_alike_on_host_and_device_and_wraps_around():
    host = Rng(jax.random.key(0), np.array(2**32 - 1, np.uint32))
    device = Rng(jax.random.key(0), jnp.asarray(host.count))
    assert int(host.advanced().count) == int(device.advanced().count) == 0
    assert host.advanced().count.dtype == device.advanced().count.dtype == np.uint32


def test_the_older_kind_of_key_is_taken_too():
    old, new = jax.random.PRNGKey(3), jax.random.key(3)
    assert jax.random.key_data(Rng.seeded(old).key).tolist() == jax.random.key_data(Rng.seeded(new).key).tolist()


def test_each_read_of_rng_gives_a_fresh_key():
    q = q_function()
    a, b = q.rng, q.rng
    assert jax.random.key_data(a).tolist() != jax.random.key_data(b).tolist()
    assert jax.random.bernoulli(a).shape == ()


# --- children


def test_collect_finds_children_first_and_each_once():
    a, b = Counter(), Counter()
    pair = Pair(a, b)
    assert collect((pair, a)) == (a, b, pair)
    assert collect((b, pair)) == (b, a, pair)
    assert collect(pair) == (a, b, pair)


def test_collect_refuses_what_has_no_state():
    with pytest.raises(TypeError, match=r"over: expected coax.Stateful objects, got str. Fix: list the functions"):
        collect((Counter(), "counter"))


# --- copies


@pytest.mark.parametrize(
    "make", [lambda o: o.copy(), lambda o: o.copy(deep=True), copy.copy, copy.deepcopy], ids=["copy", "deep", "c", "d"]
)
def test_a_copy_is_independent(make):
    counter = Counter()
    counter.step()
    twin = make(counter)
    counter.step()
    assert int(twin.state["n"]) == 1
    twin.step(by=10)
    assert (int(counter.state["n"]), int(twin.state["n"])) == (2, 11)
    np.testing.assert_array_equal(counter.state["x"], twin.state["x"])  # the same stream


def test_a_shallow_copy_shares_the_arrays_and_the_rule():
    q = q_function()
    twin = q.copy()
    assert twin.state["params"]["linear"]["w"] is q.state["params"]["linear"]["w"]
    assert twin.rule is q.rule
    assert q.copy(deep=True).rule is q.rule


def test_constructions_from_the_same_function_share_one_rule():
    assert q_function(1).rule is q_function(2).rule
    other = gymnasium.make("FrozenLake-v1", map_name="8x8")
    assert coax.Q(linear, other).rule is not q_function().rule


# --- donation: state is consumed in place only while nobody else holds it


def updater_of(q):
    return coax.td_learning.QLearning(q, optimizer=optax.sgd(0.5), loss_function=coax.value_losses.mse)


def batch(seed=0):
    return coax.reward_tracing.get_transition_batch(LAKE, batch_size=4, random_seed=seed)


def test_copy_then_step():
    q = q_function()
    updater = updater_of(q)
    updater.update(batch())
    twin = q.copy()
    before = np.array(twin.params["linear"]["w"])
    for seed in range(3):
        updater.update(batch(seed))
    np.testing.assert_array_equal(twin.params["linear"]["w"], before)
    assert np.abs(q.params["linear"]["w"] - before).max() > 0.01


@pytest.mark.parametrize("lifted", [False, True])
def test_read_the_state_then_step_then_read_the_old_one(lifted):
    q = q_function()
    updater = updater_of(q)
    update = coax.jit(updater.update, over=updater) if lifted else updater.update
    update(batch())
    old_state, old_params, old_optimizer = q.state, q.params, updater.optimizer_state
    before = np.array(old_params["linear"]["w"])
    for seed in range(3):
        update(batch(seed))
    np.testing.assert_array_equal(old_state["params"]["linear"]["w"], before)
    np.testing.assert_array_equal(old_params["linear"]["w"], before)
    jax.block_until_ready(old_optimizer)


@pytest.mark.parametrize("lifted", [False, True])
def test_one_array_on_two_leaves(lifted):
    q = q_function()
    updater = updater_of(q)
    update = coax.jit(updater.update, over=updater) if lifted else updater.update
    update(batch())
    b = q.params["linear"]["b"]
    row = jnp.asarray(np.arange(4), jnp.float32)
    q.params = {"linear": {"w": jnp.tile(row, (16, 1)), "b": row}}
    twin = q.copy()
    twin.params = {"linear": {"w": q.params["linear"]["w"], "b": row}}
    update(batch())
    update(batch())
    np.testing.assert_array_equal(twin.params["linear"]["b"], np.arange(4))
    np.testing.assert_array_equal(row, np.arange(4))
    assert b.shape == (4,)


def test_two_leaves_of_one_object_may_be_the_same_array():
    class Twice(coax.Stateful):
        def __init__(self):
            self.state = self.init(None)

        def init(self, key):
            one = jnp.ones(2)
            return {"a": one, "b": one}

        def step(self):
            self.state = {"a": self.state["a"] + 1, "b": self.state["b"] * 3}

    twice = Twice()
    step = coax.jit(twice.step, over=twice)
    step()
    step()
    # 1 + 1 + 1 = 3 and 1 * 3 * 3 = 9
    assert (twice.state["a"].tolist(), twice.state["b"].tolist()) == ([3, 3], [9, 9])


def test_a_state_that_only_the_object_holds_is_updated_in_place():
    q = q_function()
    updater = updater_of(q)
    updater.update(batch())
    w = q._peek()["params"]["linear"]["w"]  # does not count as handed out
    updater.update(batch())
    assert w.is_deleted()


def test_owned_copies_do_not_share_memory():
    x = jnp.arange(3.0)
    y = owned_copy({"x": x})["x"]
    assert y.unsafe_buffer_pointer() != x.unsafe_buffer_pointer()
    np.testing.assert_array_equal(x, y)


def test_an_interrupt_never_loses_the_state():
    """Ctrl-C may arrive at any moment: what it finds afterwards is a whole state, old or new."""
    q = q_function()
    updater = updater_of(q)
    rows = batch()
    for _ in range(5):  # until each call takes the fast path, where the interrupt falls between call and assignment
        updater.update(rows)

    class Interrupt(Exception):
        pass

    def interrupt(*_):
        raise Interrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    hits = 0
    try:
        for i in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 7e-6 * (i % 50))
                for _ in range(100):
                    updater.update(rows)
            except Interrupt:
                hits += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert np.isfinite(np.array(q._peek()["params"]["linear"]["w"])).all()
            jax.block_until_ready(updater._peek()["optimizer_state"])
    finally:
        signal.signal(signal.SIGALRM, old)
    assert hits > 100
    updater.update(rows)


def test_a_copy_of_an_updater_has_an_optimizer_state_of_its_own():
    updater = coax.td_learning.QLearning(q_function(), optimizer=optax.adam(0.1))
    for twin in (copy.copy(updater), updater.copy(), updater.copy(deep=True)):
        before = [int(u.optimizer_state[0].count) for u in (updater, twin)]
        twin.update(batch())
        assert [int(u.optimizer_state[0].count) for u in (updater, twin)] == [before[0], before[1] + 1]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), np.float32(2), jnp.float32(-1)])
def test_a_settable_number_must_lie_in_its_range(value):
    with pytest.raises(ValueError, match=r"EpsilonGreedy.epsilon: expected a number in \[0, 1\], got .* Fix: pass one"):
        coax.EpsilonGreedy(q_function(), epsilon=value)
    pi = coax.EpsilonGreedy(q_function(), epsilon=0.5)
    with pytest.raises(ValueError, match=r"EpsilonGreedy.epsilon: expected a number in \[0, 1\], got .* Fix: pass one"):
        pi.epsilon = value
    assert pi.epsilon == 0.5


@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(value):
    for make in (coax.BoltzmannPolicy, coax.td_learning.SoftQLearning):
        with pytest.raises(ValueError, match=r"temperature: expected a number in \(0, inf\), got .* Fix: pass one"):
            make(q_function(), temperature=value)


# --- what is whose, and what follows from it


def test_a_state_is_an_objects_own_and_never_its_childrens():
    q = q_function()
    pi, updater = coax.BoltzmannPolicy(q), coax.td_learning.SoftQLearning(q)
    assert set(q.state) == {"params", "function_state", "rng"}
    assert set(pi.state) == {"temperature", "rng"}
    assert set(updater.state) == {"optimizer_state", "not_finite", "rng", "temperature"}
    assert (pi.children, updater.children[0]) == ((q,), q)


def on_host(tree):
    """Arrays that hold no reference to a device, keys as their data."""
    is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda x: np.array(jax.random.key_data(x) if is_key(x) else x), tree)


def from_host(like, tree):
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(b)) if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key) else b
        for a, b in zip(jax.tree.leaves(like), jax.tree.leaves(tree), strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def test_states_that_are_read_back_go_on_bit_by_bit():
    def noisy(S, is_training):
        return hk.Linear(4)(hk.dropout(hk.next_rng_key(), 0.5, S) if is_training else S)

    def build(seed):
        q = coax.Q(noisy, LAKE, random_seed=seed)
        q_targ = q.copy()
        pi = coax.EpsilonGreedy(q, epsilon=0.1 * seed)
        updater = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.1))
        return q, q_targ, pi, updater

    def go_on(objs):
        q, q_targ, pi, updater = objs
        actions = []
        for seed in range(3):
            updater.update(batch(seed))
            q_targ.soft_update(q, tau=0.1)
            actions.append(pi(np.arange(16)).tolist())
        return actions

    first, second = build(1), build(2)
    go_on(first)
    stored = [on_host(obj.state) for obj in first]
    for obj, state in zip(second, stored, strict=True):
        obj.state = from_host(obj.state, state)
    assert go_on(first) == go_on(second)
    for a, b in zip(first, second, strict=True):
        for x, y in zip(jax.tree.leaves(on_host(a.state)), jax.tree.leaves(on_host(b.state)), strict=True):
            np.testing.assert_array_equal(x, y)


def test_calls_give_host_values_outside_and_jax_arrays_inside():
    q = q_function()
    pi, random = coax.EpsilonGreedy(q), coax.RandomPolicy(LAKE, random_seed=0)
    calls = {
        "pi": lambda: pi(3),
        "mode": lambda: pi.mode(3),
        "q": lambda: q(3),
        "qa": lambda: q(3, 1),
        "random": lambda: random(3),
        "epsilon": lambda: pi.epsilon,
    }
    kinds = {name: type(call()) for name, call in calls.items()}
    assert kinds == {"pi": int, "mode": int, "q": np.ndarray, "qa": np.ndarray, "random": int, "epsilon": float}

    @coax.jit(over=(pi, random))
    def inside():
        found = {name: call() for name, call in calls.items()}
        assert all(isinstance(x, jax.Array) for x in found.values())
        return found

    assert {name: np.shape(x) for name, x in inside().items()} == {
        "pi": (),
        "mode": (),
        "q": (4,),
        "qa": (),
        "random": (),
        "epsilon": (),
    }
