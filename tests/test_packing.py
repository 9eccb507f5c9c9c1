"""Optimizers whose state is kept in few arrays, beside the same ones as they are."""

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax._updater._packing import Packing
from coax.utils import _trees

PARAMS = {
    "a": jnp.array([[1.0, -2.0]]),
    "b": {"c": jnp.array(3.0), "d": jnp.zeros((2, 0))},
    "e": jnp.ones(3, "bfloat16"),
}
OPTIMIZERS = {
    "adam": optax.adam(0.1),
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "chain": optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(optax.linear_schedule(0.1, 0.0, 3))),
    "every": optax.MultiSteps(optax.rmsprop(0.1), 2).gradient_transformation(),
    "factored": optax.adafactor(0.1),
}
GRADS = [jax.tree.map(lambda x, i=i: jnp.cos(x + i).astype(x.dtype), PARAMS) for i in range(4)]


def assert_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x, np.float64), np.asarray(y, np.float64))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_same_steps(name):
    inner = OPTIMIZERS[name]
    packing = Packing(inner)
    want, got, params = inner.init(PARAMS), packing.init(PARAMS), PARAMS
    assert_same(packing.unpacked(got, params), want)
    for grads in GRADS:
        wanted, want = inner.update(grads, want, params)
        updates, got = packing.update(grads, got, params)
        assert_same(updates, wanted)
        assert_same(packing.unpacked(got, params), want)
        assert_same(packing.packed(want, params), got)
        params = optax.apply_updates(params, updates)


def test_one_vector_for_each_dtype():
    # adam: a count i32, and two moments of 2 + 1 + 0 numbers in f32 and of 3 in bf16, each in the order of the leaves
    packed = Packing(optax.adam(0.1)).init(PARAMS)
    assert {name: x.shape for name, x in packed.items()} == {"int32": (1,), "float32": (6,), "bfloat16": (6,)}
    trace = Packing(optax.trace(0.5))
    _, packed = trace.update(GRADS[0], trace.init(PARAMS), PARAMS)
    np.testing.assert_allclose(packed["float32"], np.cos([1.0, -2.0, 3.0]), 1e-6)


def test_what_is_not_packed(monkeypatch):
    assert Packing(optax.sgd(0.1)).init(PARAMS) == optax.sgd(0.1).init(PARAMS)  # nothing to pack
    noisy = optax.add_noise(0.1, 0.5, jax.random.key(0))
    state = Packing(optax.chain(noisy, optax.adam(0.1))).init(PARAMS)
    assert jax.tree.structure(state) == jax.tree.structure(optax.chain(noisy, optax.adam(0.1)).init(PARAMS))
    monkeypatch.setattr(_trees, "_FEW_NUMBERS", 12)
    other = {name: x for name, x in PARAMS.items() if name != "e"} | {"f": jnp.ones(7)}
    assert_same(Packing(optax.adam(0.1)).init(other), optax.adam(0.1).init(other))  # 1 + 2 x 10 numbers


@pytest.fixture
def updater():
    env = gymnasium.make("CartPole-v1")
    q = coax.Q(lambda S, is_training: hk.Sequential([hk.Linear(3), jnp.tanh, hk.Linear(2)])(S), env, random_seed=1)
    return coax.td_learning.QLearning(q, optimizer=OPTIMIZERS["adam"])


def test_an_updater_shows_it_as_the_optimizer_has_it(updater):
    # 4 x 3 + 3 + 3 x 2 + 2 = 23 parameters
    assert {name: x.shape for name, x in updater.state["optimizer_state"].items()} == {"int32": (1,), "float32": (46,)}
    new = optax.adam(0.1).init(updater.q.params)
    new = (new[0]._replace(count=jnp.int32(7), nu=jax.tree.map(lambda x: x + 2, new[0].nu)), *new[1:])
    updater.optimizer_state = new
    assert_same(updater.optimizer_state, new)
    np.testing.assert_array_equal(updater.state["optimizer_state"]["float32"], [0] * 23 + [2] * 23)
    assert updater.optimizer is OPTIMIZERS["adam"]


def test_a_state_that_comes_out_in_another_dtype():
    class Careless:
        init = staticmethod(optax.trace(0.5).init)

        def update(self, grads, state, params):
            return grads, state._replace(trace=jax.tree.map(lambda x: jnp.full(x.shape, 3, "float16"), state.trace))

    packing = Packing(Careless())
    _, packed = packing.update(GRADS[0], packing.init(PARAMS), PARAMS)
    assert {name: x.shape for name, x in packed.items()} == {"float32": (3,), "bfloat16": (3,)}
    np.testing.assert_array_equal(packed["float32"], [3, 3, 3])


def test_a_state_with_plain_numbers(updater):
    class Counting:
        """The steps have the sizes 0.1, 0.2, 0.3, ..."""

        def init(self, params):
            return {"n": 0, "m": jax.tree.map(jnp.zeros_like, params)}

        def update(self, grads, state, params=None):
            n = state["n"] + 1
            return jax.tree.map(lambda g: -0.1 * n * jnp.sign(g), grads), {"n": n, "m": state["m"]}

    updater = coax.td_learning.QLearning(updater.q, optimizer=Counting())
    assert set(updater.state["optimizer_state"]) == {"int32", "float32"}
    before = updater.q.params
    grads = jax.tree.map(jnp.ones_like, before)
    for _ in range(3):
        updater.apply_grads(grads, updater.q.function_state)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y - 0.6, rtol=1e-5, atol=1e-6), updater.q.params, before)
    assert int(updater.optimizer_state["n"]) == 3


def test_another_kind_of_optimizer_of_the_same_size_is_refused(updater):
    momentum, squares = optax.trace(0.9), optax.scale_by_rms()
    other = optax.chain(momentum, squares, optax.scale_by_schedule(lambda n: -0.1))  # two moments and a count, too
    packed = Packing(other).init(updater.q.params)
    assert jax.tree.map(jnp.shape, packed) == jax.tree.map(jnp.shape, updater.state["optimizer_state"])
    with pytest.raises(AttributeError, match="does not fit the present one"):
        updater.optimizer = other
