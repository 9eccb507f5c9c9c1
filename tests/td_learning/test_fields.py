"""Batches that do not hold elements of the spaces, and rows that may."""

import types

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax._updater._fields import field_check
from coax.td_learning import QLearning, Sarsa, SimpleTD
from coax.utils import default_preprocessor

from . import reference as ref

spaces = gymnasium.spaces
TABLE = types.SimpleNamespace(observation_space=spaces.Discrete(16), action_space=spaces.Discrete(4, start=1))
SGD = optax.sgd(0.1)


def linear(S, is_training):
    return hk.Linear(4)(S)


def table_batch(**fields):
    rng = np.random.default_rng(0)
    draws = {
        "S": rng.integers(0, 16, ref.B),
        "A": rng.integers(1, 5, ref.B),
        "S_next": rng.integers(0, 16, ref.B),
        "A_next": rng.integers(1, 5, ref.B),
    }
    return ref.batch(**{**draws, **fields})


def weights(q):
    return np.array(q.params["linear"]["w"])


def with_row(name, row, value):
    x = getattr(table_batch(), name).copy()
    x[row] = value
    return {name: x}


@pytest.mark.parametrize("call", ["update", "td_error", "grads_and_metrics"])
@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        (with_row("A", 2, 5), ValueError, "transition_batch.A: expected elements of Discrete(4, start=1), got values"),
        (with_row("A", 2, 0), ValueError, "transition_batch.A: expected elements of Discrete(4, start=1), got values"),
        (with_row("A_next", 2, 0), ValueError, "transition_batch.A_next: expected elements of Discrete(4, start=1)"),
        (with_row("S", 0, 99), ValueError, "transition_batch.S: expected elements of Discrete(16), got values from"),
        (with_row("S_next", 0, -1), ValueError, "transition_batch.S_next: expected elements of Discrete(16), got"),
        ({"A": np.ones(ref.B, np.float32)}, TypeError, "transition_batch.A: expected integers for Discrete(4, start"),
        ({"S": jnp.ones(ref.B)}, TypeError, "transition_batch.S: expected integers for Discrete(16), got float"),
        (
            {"S": np.zeros((ref.B, 3), int)},
            ValueError,
            "transition_batch.S: expected one element of Discrete(16) for each of 7 transitions, got leading axes",
        ),
        ({"A": jnp.ones((ref.B, 1), int)}, ValueError, "transition_batch.A: expected one element of Discrete(4, start"),
    ],
)
def test_not_elements_of_the_spaces(fields, error, text, call):
    q = coax.Q(linear, TABLE, random_seed=1)
    updater, before = Sarsa(q, optimizer=SGD), weights(q)
    with pytest.raises(error) as caught:
        getattr(updater, call)(table_batch(**fields))
    assert text in str(caught.value)
    assert "Fix: " in str(caught.value)
    np.testing.assert_array_equal(weights(q), before)


@pytest.mark.parametrize("array", [np.zeros, jnp.zeros])
def test_shapes_of_boxes(array):
    updater = QLearning(coax.Q(ref.type2, ref.ENV))
    text = r"transition_batch\.S: expected shape \[\.\.\., 3\], got shape \(7, 8\).*Fix: "
    with pytest.raises(ValueError, match=text):
        updater.update(ref.batch(S=array((ref.B, 8), np.float32)))
    with pytest.raises(ValueError, match=text):
        coax.jit(updater.update, over=updater)(ref.batch(S=array((ref.B, 8), np.float32)))


def test_an_empty_batch():
    updater = SimpleTD(coax.V(ref.state_value, ref.ENV))
    with pytest.raises(ValueError, match=r"SimpleTD: expected at least one transition, got a batch of size 0\. Fix: "):
        updater.update(ref.batch(size=0))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.int64])
def test_any_integers_learn_the_same(dtype):
    results = []
    for cast in (np.asarray, lambda x: x.astype(dtype), jnp.asarray):
        q = coax.Q(linear, TABLE, random_seed=1)
        fields = {name: cast(getattr(table_batch(), name)) for name in ("S", "A", "S_next", "A_next")}
        Sarsa(q, optimizer=SGD).update(table_batch(**fields))
        results.append(weights(q))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("clip_weights", [None, (0, 10)])
def test_rows_of_weight_zero_may_hold_anything(clip_weights):
    results, alive = [], np.array([1, 3, 4, 6])
    for value in (None, 99, -7):
        q = coax.Q(linear, TABLE, random_seed=1)
        tb = table_batch(W=np.isin(np.arange(ref.B), alive).astype(np.float32))
        if value is not None:
            for name in ("S", "A", "S_next", "A_next"):
                getattr(tb, name)[[0, 2, 5]] = value
            tb.logP_next[[0, 2, 5]] = np.nan
        Sarsa(q, optimizer=SGD, clip_weights=clip_weights).update(tb, wait=True)
        results.append(weights(q))
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def test_rows_whose_weight_is_clipped_count():
    W = np.zeros(ref.B, np.float32)
    updater = QLearning(coax.Q(linear, TABLE), clip_weights=(0.1, 10))
    with pytest.raises(ValueError, match=r"transition_batch\.S: expected elements of Discrete\(16\)"):
        updater.update(table_batch(**with_row("S", 1, 99), W=W))


def test_nested_spaces():
    space = spaces.Dict({"i": spaces.Discrete(3, start=2), "x": spaces.Box(-1, 1, (2,)), "m": spaces.MultiBinary(2)})
    check = field_check(space, "S", "Owner")
    good = {"x": np.zeros((2, 2), np.float32), "i": np.array([2, 4]), "m": np.ones((2, 2), np.int8)}
    ones = np.ones(2, np.float32)
    assert jax.tree.map(np.shape, check(good, ones)) == {"i": (2,), "m": (2, 2), "x": (2, 2)}
    bad = {**good, "i": np.array([2, 5])}
    with pytest.raises(ValueError, match=r"transition_batch\.S\['i'\]: expected elements of Discrete\(3, start=2\)"):
        check(bad, ones)
    filled = check(bad, np.array([1, 0], np.float32))
    assert filled["i"][0] == 2
    assert filled["i"][1] in range(2, 5)
    with pytest.raises(ValueError, match=r"transition_batch\.S: expected a mapping with the keys"):
        check({"x": good["x"]}, ones)
    with pytest.raises(ValueError, match=r"Owner: expected S in the batch, got None.*Fix:"):
        check(None, ones)
    preprocess = default_preprocessor(space)
    env = types.SimpleNamespace(observation_space=space, action_space=spaces.Discrete(4))
    func = lambda S, is_training: hk.Linear(1)(jnp.concatenate(jax.tree.leaves(S), axis=-1))[:, 0]
    v = coax.V(func, env, observation_preprocessor=preprocess)
    tb = ref.batch(size=2, S=good, S_next=good)
    np.testing.assert_allclose(SimpleTD(v).td_error(tb), np.clip(tb.Rn + tb.In * v(good) - v(good), -1, 1), rtol=1e-5)


# --- rows that were truncated without a next action -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["jax arrays", "compiled"])
def test_marked_rows_are_reported_where_they_cannot_be_read(how):
    q = coax.Q(ref.type2, ref.ENV, random_seed=1)
    updater = Sarsa(q, optimizer=SGD)
    before = ref.weights_of(q)
    logP_next = np.zeros(ref.B, np.float32)
    logP_next[[1, 2]] = np.nan  # In is 0 in the first of these
    tb = jax.tree.map(jnp.asarray, ref.batch(logP_next=logP_next))
    np.testing.assert_array_equal(np.isnan(updater.td_error(tb)), np.arange(ref.B) == 2)
    update = updater.update if how == "jax arrays" else coax.jit(lambda tb: updater.update(tb), over=updater)
    jax.block_until_ready(update(tb).values_array)
    np.testing.assert_array_equal(ref.weights_of(q), before)
    with pytest.raises(RuntimeError, match=r"Sarsa: the gradient .* truncated without an a_next .*a_next=pi\(s_next\)"):
        update(tb)
    W = np.where(np.arange(ref.B) == 2, 0, 1).astype(np.float32)
    dead = jax.tree.map(jnp.asarray, ref.batch(logP_next=logP_next, W=W))
    update(dead)
    want = ref.batch(W=W)
    w = ref.update(before, want, ref.bootstrap_value("Sarsa", before, before, want), "huber")["w"]
    np.testing.assert_allclose(ref.weights_of(q), w, rtol=1e-4, atol=1e-6)
