"""Compiled functions consume state in place while nobody else can hold it, and never what somebody holds."""

import threading

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax


class Two(coax.Stateful):
    """Two vectors."""

    def __init__(self):
        self.state = self.init(None)

    def init(self, key):
        return {"a": jnp.arange(3.0), "b": jnp.ones(3)}

    def put(self, **entries):
        self.state = {**self.state, **entries}


def held(obj, name):
    """The buffer itself, without handing it out."""
    return obj._state[name]


def lifted(obj, fun):
    return coax.jit(lambda: fun(obj), over=obj)


def grow_a(obj):
    return lifted(obj, lambda o: o.put(a=o.state["a"] + 1))


def test_what_came_out_of_a_compiled_call_is_consumed_by_the_next():
    obj = Two()
    first, grow = held(obj, "a"), grow_a(obj)
    grow()
    assert not first.is_deleted()  # it may be held by whoever made it
    second = held(obj, "a")
    grow()
    assert second.is_deleted()
    np.testing.assert_array_equal(obj.state["a"], [2, 3, 4])


def test_an_entry_that_another_function_leaves_alone_is_still_consumed():
    obj = Two()
    grow, other = grow_a(obj), lifted(obj, lambda o: o.put(b=o.state["b"] * 2))
    grow()
    before = held(obj, "a")
    other()
    assert held(obj, "a") is before
    grow()
    assert before.is_deleted()
    np.testing.assert_array_equal(obj.state["b"], [2, 2, 2])


def test_what_was_returned_unchanged_is_not_consumed():
    obj = Two()
    grow, look = grow_a(obj), lifted(obj, lambda o: o.state["a"])
    grow()
    seen = look()
    grow()
    np.testing.assert_array_equal(seen, [1, 2, 3])
    np.testing.assert_array_equal(obj.state["a"], [2, 3, 4])


def test_what_was_changed_and_returned_is_not_consumed():
    obj = Two()

    def grow_and_return(o):
        o.put(a=o.state["a"] + 1)
        return o.state["a"]

    grow = lifted(obj, grow_and_return)
    first = grow()
    second = grow()
    np.testing.assert_array_equal(first, [1, 2, 3])
    np.testing.assert_array_equal(second, [2, 3, 4])


def test_one_array_in_two_entries_is_not_consumed_twice():
    obj = Two()
    same = lifted(obj, lambda o: o.put(a=o.state["a"] + o.state["b"], b=o.state["a"] + o.state["b"]))

    def share(o):
        x = o.state["a"] + o.state["b"]
        o.put(a=x, b=x)

    share = lifted(obj, share)
    for _ in range(2):  # (0, 1, 2) + 1, then three times twice itself
        share()
        same()
    np.testing.assert_array_equal(obj.state["a"], [8, 16, 24])
    np.testing.assert_array_equal(obj.state["b"], [8, 16, 24])


def test_an_entry_of_which_only_a_part_was_made_anew_is_not_consumed():
    class Nested(Two):
        def init(self, key):
            return {"a": (jnp.zeros(2), jnp.ones(2))}

    obj = Nested()
    mine = held(obj, "a")[1]
    half = lifted(obj, lambda o: o.put(a=(o.state["a"][0] + 1, o.state["a"][1])))
    whole = lifted(obj, lambda o: o.put(a=jax.tree.map(lambda x: x + 1, o.state["a"])))
    half()
    whole()
    np.testing.assert_array_equal(mine, [1, 1])  # this was made outside, and may be held there
    np.testing.assert_array_equal(obj.state["a"][1], [2, 2])


# --- nothing is lost to an exception, nor to another thread


def updater_with(loss_function):
    q = coax.Q(func, LAKE, random_seed=0)
    return coax.td_learning.QLearning(q, optimizer=optax.adam(0.1), loss_function=loss_function)


def rows(seed=0, reward=None):
    tb = coax.reward_tracing.get_transition_batch(LAKE, batch_size=4, random_seed=seed)
    if reward is not None:
        tb.Rn = np.full(4, reward, np.float32)
    return tb


def func(S, is_training):
    return hk.Linear(4)(S)


LAKE = gymnasium.make("FrozenLake-v1")


@pytest.mark.gate
def test_what_fails_under_debug_nans_leaves_the_state():
    updater = updater_with(coax.value_losses.mse)
    learn = coax.jit(updater.update, over=updater)
    for update in (updater.update, learn):
        update(rows())
        before = np.array(updater.q._peek()["params"]["linear"]["w"])
        with jax.debug_nans(True), pytest.raises(FloatingPointError):
            update(rows(reward=np.nan))
        np.testing.assert_array_equal(updater.q._peek()["params"]["linear"]["w"], before)
        update(rows())


def test_what_fails_in_a_callback_leaves_the_state():
    broken = [False]

    def look(x):
        if broken[0]:
            raise ValueError("no")
        return x

    def loss(y_true, y_pred, w=None):
        y_true = jax.pure_callback(look, jax.ShapeDtypeStruct(y_true.shape, y_true.dtype), y_true)
        return coax.value_losses.mse(y_true, y_pred, w)

    updater = updater_with(loss)
    updater.update(rows())
    broken[0] = True
    with pytest.raises(Exception, match="no"):
        jax.block_until_ready(updater.update(rows()).values_array)
    broken[0] = False
    assert np.array(updater.q._peek()["params"]["linear"]["w"]).shape == (16, 4)


@pytest.mark.parametrize("lifted", [False, True])
def test_one_thread_may_act_while_another_learns(lifted):
    updater = updater_with(coax.value_losses.mse)
    pi = coax.BoltzmannPolicy(updater.q, temperature=0.1)
    update = coax.jit(updater.update, over=updater) if lifted else updater.update
    update(rows()), pi(3)
    errors, acted = [], []
    done = threading.Event()

    def act():
        while not done.is_set():
            try:
                acted.append(pi(3))
            except Exception as err:
                errors.append(err)

    thread = threading.Thread(target=act)
    thread.start()
    for seed in range(300):
        update(rows(seed))
    done.set()
    thread.join()
    assert errors == []
    assert acted


def test_two_threads_may_learn():
    updater = updater_with(coax.value_losses.mse)
    errors = []

    def learn():
        try:
            for seed in range(100):
                updater.update(rows(seed))
        except Exception as err:
            errors.append(err)

    threads = [threading.Thread(target=learn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert np.isfinite(updater.q.params["linear"]["w"]).all()


@pytest.mark.gate
def test_a_state_stays_with_one_thread_until_another_looks():
    updater = updater_with(coax.value_losses.mse)
    updater.update(rows())
    w = updater.q._peek()["params"]["linear"]["w"]
    updater.update(rows())
    assert w.is_deleted()
    thread = threading.Thread(target=lambda: updater.q.params)
    thread.start()
    thread.join()
    w = updater.q._peek()["params"]["linear"]["w"]
    updater.update(rows())
    assert not w.is_deleted()
