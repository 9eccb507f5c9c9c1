"""Compiled functions consume state in place while nobody else can hold it, and never what somebody holds."""

import jax
import jax.numpy as jnp
import numpy as np

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
