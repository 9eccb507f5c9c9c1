import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.utils import batch_to_single, chunks_pow2, idx, single_to_batch, unvectorize

Row = collections.namedtuple("Row", "s a none")


def test_batch_to_single_takes_one_row():
    tree = {"a": np.arange(6).reshape(3, 2), "b": jnp.array([5, 6, 7])}
    assert jax.tree.map(lambda x: np.asarray(x).tolist(), batch_to_single(tree)) == {"a": [0, 1], "b": 5}
    assert jax.tree.map(lambda x: np.asarray(x).tolist(), batch_to_single(tree, index=-1)) == {"a": [4, 5], "b": 7}
    assert batch_to_single(tree, 1)["b"] == 6


def test_single_to_batch_is_the_inverse():
    tree = {"a": np.arange(6).reshape(3, 2), "b": jnp.float32(5)}
    batch = single_to_batch(tree)
    assert [leaf.shape for leaf in jax.tree.leaves(batch)] == [(1, 3, 2), (1,)]
    jax.tree.map(np.testing.assert_array_equal, batch_to_single(batch), tree)


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(13, [8, 4, 1]), (1, [1]), (8, [8]), (7, [4, 2, 1]), (0, [])],  # the binary digits
)
def test_chunks_pow2(rows, sizes):
    batch = Row(np.arange(2 * rows).reshape(rows, 2), jnp.arange(rows), None)
    chunks = list(chunks_pow2(batch))
    assert [len(chunk.a) for chunk in chunks] == sizes
    assert all(chunk.none is None for chunk in chunks)
    if rows:
        np.testing.assert_array_equal(np.concatenate([chunk.s for chunk in chunks]), batch.s)
        np.testing.assert_array_equal(np.concatenate([chunk.a for chunk in chunks]), batch.a)


@pytest.mark.parametrize("kind", [np.ones, jnp.ones])
def test_idx(kind):
    assert idx(kind((3, 2))).tolist() == [0, 1, 2]
    assert idx(kind((3, 2)), axis=-1).tolist() == [0, 1]
    assert jax.jit(idx)(kind((3, 2))).tolist() == [0, 1, 2]


def test_idx_wants_an_array():
    with pytest.raises(TypeError, match=r"arr: expected an array, got list. Fix: "):
        idx([1, 2])


def batched(x, y):
    assert x.shape[0] == y.shape[0] == 1
    return x.sum(axis=1) + y


def test_unvectorize_single_output():
    # 1 + 2 + 10
    assert unvectorize(batched)(jnp.array([1.0, 2.0]), jnp.float32(10)) == 13
    assert jax.jit(unvectorize(batched))(jnp.array([1.0, 2.0]), jnp.float32(10)) == 13


def test_unvectorize_axes_and_outputs():
    def f(x, n, tree):
        assert x.shape == (2, 1, 3)
        assert n.shape == (2,)
        assert tree["k"].shape == (1,)
        return x, n

    x, n = unvectorize(f, in_axes=(1, None, 0), out_axes=(1, None))(jnp.ones((2, 3)), jnp.ones(2), {"k": jnp.ones(())})
    assert (x.shape, n.shape) == ((2, 3), (2,))
    both = unvectorize(lambda x: (x, x + 1))(jnp.ones(3))
    assert [part.shape for part in both] == [(3,), (3,)]
    assert unvectorize(lambda x: x, None, None)(jnp.ones((1, 2))).shape == (1, 2)


def test_unvectorize_errors():
    with pytest.raises(ValueError, match=r"in_axes: expected one axis for each of 2 arguments, got 1: \(0,\). Fix: "):
        unvectorize(batched, in_axes=(0,))(jnp.ones(2), jnp.ones(()))
    with pytest.raises(ValueError, match=r"out_axes: expected one axis for each of 2 outputs, got 3"):
        unvectorize(lambda x: (x, x), out_axes=(0, 0, 0))(jnp.ones(2))
    with pytest.raises(
        TypeError, match=r"out_axes: expected an int or None for the single output of batched, got \(0,\)"
    ):
        unvectorize(batched, out_axes=(0,))(jnp.ones(2), jnp.ones(()))
