import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import merge_dicts, stack_trees, tree_ravel


def test_stack_trees_one_per_argument():
    a = [{"w": jnp.array([1, 2])}, {"w": jnp.array([3, 4])}]
    b = [(jnp.float32(5),), (jnp.float32(6),), (jnp.float32(7),)]
    stacked_a, stacked_b = stack_trees(a, b)
    assert stacked_a["w"].tolist() == [[1, 2], [3, 4]]
    assert stacked_b[0].tolist() == [5, 6, 7]


@pytest.mark.parametrize("how", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_tree_ravel(how):
    assert how(tree_ravel)({"b": jnp.array([[3, 4], [5, 6]]), "a": jnp.array(2)}).tolist() == [2, 3, 4, 5, 6]
    assert how(tree_ravel)({}).shape == (0,)


def test_merge_dicts():
    assert merge_dicts({"a": 1}, {"b": 2}, {}) == {"a": 1, "b": 2}
    with pytest.warns(UserWarning, match=r"more than once, the last counts: \['a'\]"):
        assert merge_dicts({"a": 1, "c": 0}, {"a": 2}) == {"a": 2, "c": 0}


def test_merge_leaves_its_arguments_alone():
    first = {"a": 1}
    merge_dicts(first, {"b": np.int64(2)})
    assert first == {"a": 1}
