"""The shell of V and Q: views of the state, copies, soft updates, seeds and storage."""

import copy
import gc
import weakref

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import coax
import coax.reward_tracing
import coax.td_learning
from coax.errors import StateError

from . import functions as fn

S = fn.observations(5)


def q_of(func=fn.type2, seed=1, env=fn.ENV):
    return coax.Q(func, env, random_seed=seed)


def with_every_kind_of_leaf(S, is_training):
    n = hk.get_state("n", [], jnp.int32, init=jnp.zeros)
    m = hk.get_state("m", [], init=jnp.zeros)
    if is_training:
        hk.set_state("n", n + 1)
        hk.set_state("m", m + 1.0)
    return fn.type2(S, is_training) + m


def leaves(q):
    return jax.tree.map(np.array, (q.params, q.function_state))


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


# --- views ------------------------------------------------------------------------------------------------------------


def test_setting_params():
    q, other = q_of(fn.with_batch_norm), q_of(fn.with_batch_norm, seed=2)
    q.params, q.function_state = other.params, other.function_state
    np.testing.assert_array_equal(q(S), other(S))
    q.params = jax.tree.map(lambda x: np.zeros_like(x), q.params)  # NumPy does
    assert set(q.state) == {"params", "function_state", "rng"}
    np.testing.assert_array_equal(q(S), 0)


@pytest.mark.parametrize("name", ["params", "function_state"])
def test_setting_something_else(name):
    q = q_of(fn.with_batch_norm)
    before, tree = leaves(q), getattr(q, name)
    module, leaf = ("linear", "w") if name == "params" else ("batch_norm/~/mean_ema", "average")
    where = rf"Q\.state\['{name}'\]\['{module}'\]\['{leaf}'\]: expected float32\["

    def changed(value):
        return {**tree, module: {**tree[module], leaf: value}}

    for wrong in (np.zeros(9, np.float32), tree[module][leaf].astype(jnp.float16), tree[module][leaf].astype(int)):
        with pytest.raises(TypeError, match=where + r".*got .*Fix:"):
            setattr(q, name, changed(wrong))
    without = {key: value for key, value in tree.items() if key != module}
    with pytest.raises(TypeError, match=rf"the leaf \['{name}'\]\['{module}'\].* is missing"):
        setattr(q, name, without)
    with pytest.raises(TypeError, match=r"\['extra'\] is unexpected"):
        setattr(q, name, {**tree, module: {**tree[module], "extra": np.zeros(1)}})
    equal(leaves(q), before)


def test_what_shapes_the_program_cannot_be_set():
    q = q_of()
    for name in ("observation_space", "action_space", "function", "value_transform", "observation_preprocessor"):
        with pytest.raises(AttributeError):
            setattr(q, name, None)


# --- soft updates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0, 0.25, np.float32(0.25), jnp.float32(0.25), 1])
def test_soft_update_by_hand(tau):
    # (1 - tau) * 2 + tau * 10
    a, b = q_of(), q_of()
    for q, value in ((a, 2.0), (b, 10.0)):
        q.params = jax.tree.map(lambda x: jnp.full_like(x, value), q.params)  # noqa: B023
    a.soft_update(b, tau)
    np.testing.assert_allclose(a.params["~"]["w"], 2 + 8 * float(tau), rtol=1e-6)
    np.testing.assert_array_equal(b.params["~"]["w"], 10)


def test_soft_update_against_numpy():
    a, b = q_of(fn.with_batch_norm), q_of(fn.with_batch_norm, seed=2)
    old, new = leaves(a), leaves(b)
    for _ in range(3):
        a.soft_update(b, 0.1)

    def slow(x, y):
        for _ in range(3):
            x = 0.9 * x + 0.1 * y if x.dtype.kind == "f" else y
        return x

    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), leaves(a), jax.tree.map(slow, old, new)
    )


def test_soft_update_of_the_function_state():
    a, b = q_of(with_every_kind_of_leaf), q_of(with_every_kind_of_leaf, seed=2)
    b.function_state = {"~": {"n": jnp.int32(8), "m": jnp.float32(4)}}
    a.soft_update(b, 0)
    assert (a.function_state["~"]["n"], a.function_state["~"]["m"]) == (0, 0)
    a.soft_update(b, 0.25)
    assert (a.function_state["~"]["n"], a.function_state["~"]["m"]) == (8, 1)  # a count cannot be mixed


def test_one_copies_exactly():
    a, b = q_of(), q_of(seed=2)
    spoiled = np.array(a.params["~"]["w"])
    spoiled[0] = np.nan, np.inf, -np.inf, 0
    a.params = {"~": {"w": spoiled}}
    a.soft_update(b, 1)
    equal(leaves(a), leaves(b))


def test_soft_update_of_another_function():
    q = q_of()
    before = leaves(q)
    with pytest.raises(TypeError, match=r"soft_update: expected a Q, got V\. Fix:"):
        q.soft_update(coax.V(fn.state_value, fn.ENV), 0.1)
    other = r"got another: the leaf \['params'\]\['~'\]\['w'\] is missing\."
    with pytest.raises(TypeError, match=f"soft_update: expected a Q of the same forward pass, {other}.*Fix: pass what"):
        q.soft_update(q_of(fn.any_type2), 0.1)
    # shapes that would broadcast: [1, 4] and [3, 4]
    one = q_of(fn.any_type2, env=fn.env_of(spaces.Box(-1, 1, (1,))))
    with pytest.raises(
        TypeError, match=r"\['params'\]\['linear'\]\['w'\]: expected float32\[1, 4\], got float32\[3, 4\]"
    ):
        one.soft_update(q_of(fn.any_type2), 0.5)
    assert one.params["linear"]["w"].shape == (1, 4)
    for tau in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"tau: expected a number in \[0, 1\], got .*Fix:"):
            q.soft_update(q_of(seed=2), tau)
    for wrong in (None, "1", np.str_("1"), [0.5], np.array([0.5]), jnp.array([0.5])):
        with pytest.raises(TypeError, match=r"(?s)tau: expected a number in \[0, 1\], got .*Fix: pass a float"):
            q.soft_update(q_of(seed=2), wrong)
    with pytest.raises(TypeError):
        q.soft_update(q_of(seed=2))
    equal(leaves(q), before)


def test_soft_update_compiled():
    a, b, c = q_of(), q_of(), q_of(seed=2)
    a.soft_update(c, 0.25)
    coax.jit(lambda tau: b.soft_update(c, tau), over=(b, c))(0.25)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), leaves(a), leaves(b))


# --- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["shallow", "deep", "copy.copy", "copy.deepcopy"])
def test_copies_are_independent(how):
    q = q_of(fn.with_dropout)
    q(S)
    other = {
        "shallow": lambda: q.copy(),
        "deep": lambda: q.copy(deep=True),
        "copy.copy": lambda: copy.copy(q),
        "copy.deepcopy": lambda: copy.deepcopy(q),
    }[how]()
    assert other.rule is q.rule  # compiles nothing again
    np.testing.assert_array_equal(other(S), q(S))  # the random stream too
    before = leaves(q)
    other.params = jax.tree.map(lambda x: x + 1, other.params)
    coax.td_learning.QLearning(other).update(batch())
    equal(leaves(q), before)
    mine = leaves(other)
    coax.td_learning.QLearning(q).update(batch())
    equal(leaves(other), mine)


def batch():
    zeros = np.zeros(5, np.float32)
    return coax.reward_tracing.TransitionBatch(S=S, A=zeros.astype(int), logP=zeros, Rn=zeros + 1, In=zeros, S_next=S)


def test_a_target_network_with_counters():
    """Updates replace state in place; a target network must not lose what it shares."""
    q = q_of(with_every_kind_of_leaf)
    q_targ = q.copy()
    updater = coax.td_learning.QLearning(q, None, q_targ)
    other = coax.td_learning.QLearning(q_targ)
    for i in range(3):
        updater.update(batch())
        q_targ.soft_update(q, 0.5)
        assert q_targ.function_state["~"]["n"] == q.function_state["~"]["n"]
        other.update(batch())
        assert q.function_state["~"]["n"] == i + 1
        assert q_targ.function_state["~"]["n"] == i + 2
        q(S), q_targ(S)


def test_no_copies_inside():
    q = q_of()
    with pytest.raises(StateError, match=r"copy\(\) inside a compiled function"):
        coax.jit(lambda s: q.copy()(s), over=q)(S)


# --- seeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, -1, 2**31, 2**40, np.int64(5)])
def test_the_same_seed_gives_the_same_function(seed):
    a, b, c = q_of(fn.with_batch_norm, seed), q_of(fn.with_batch_norm, seed), q_of(fn.with_batch_norm, 99)
    equal(leaves(a), leaves(b))
    assert a.random_seed == seed
    assert not np.array_equal(a.params["linear"]["w"], c.params["linear"]["w"])


def test_without_a_seed_every_function_is_another():
    np.random.seed(0)  # noqa: NPY002 - that is what must not matter
    a = coax.Q(fn.type2, fn.ENV)
    np.random.seed(0)  # noqa: NPY002
    b = coax.Q(fn.type2, fn.ENV)
    assert a.random_seed != b.random_seed
    assert not np.array_equal(a.params["~"]["w"], b.params["~"]["w"])
    equal(leaves(q_of(seed=a.random_seed)), leaves(a))


def test_setting_the_seed_starts_the_stream_of_a_fresh_object():
    q, fresh = q_of(fn.with_dropout, 1), q_of(fn.with_dropout, 7)
    before = leaves(q)
    q.random_seed = 7
    assert q.random_seed == 7
    equal(leaves(q), before)  # the parameters stay
    key = lambda q: jax.random.key_data(q.rng).tolist()
    assert [key(q) for _ in range(3)] == [key(fresh) for _ in range(3)]
    q.random_seed = None
    assert q.random_seed != 7


def test_rng():
    q = q_of()
    keys = [q.rng for _ in range(4)]
    assert len({float(jax.random.uniform(key)) for key in keys}) == 4
    jax.random.split(keys[0])
    assert jax.random.bernoulli(keys[1]).shape == ()


def test_init_is_pure_and_follows_the_key():
    q = q_of(fn.with_batch_norm)
    before = leaves(q)
    a, b, c = (q.init(jax.random.key(i)) for i in (0, 0, 1))
    equal(a["params"], b["params"])
    assert not np.array_equal(a["params"]["linear"]["w"], c["params"]["linear"]["w"])
    equal(leaves(q), before)


# --- storage ----------------------------------------------------------------------------------------------------------


def test_storage_continues_identically():
    q = q_of(fn.with_dropout)
    q(S)
    other = coax.utils.loads(coax.utils.dumps(q))
    assert other.random_seed == q.random_seed
    assert other.observation_space == q.observation_space
    for _ in range(3):
        np.testing.assert_array_equal(other(S), q(S))
    coax.td_learning.QLearning(q).update(batch())
    assert not np.array_equal(other(S), q(S))


def test_storage_of_a_local_function():
    width = 7

    def func(S, is_training):
        return hk.Linear(fn.N)(jnp.tanh(hk.Linear(width)(S)))

    v = coax.Q(func, fn.ENV, observation_preprocessor=lambda rng, X: X / 2, value_transform=(jnp.arcsinh, jnp.sinh))
    other = coax.utils.loads(coax.utils.dumps({"v": v, "again": v}))
    assert other["v"] is other["again"]
    np.testing.assert_allclose(other["v"](S), v(S), rtol=1e-6)


def test_rules_are_shared_and_freed():
    def func(S, is_training):
        return hk.Linear(fn.N)(S)

    a, b = q_of(func), q_of(func, seed=2)
    assert a.rule is b.rule
    assert q_of(func, env=fn.env_of(action_space=type(fn.ENV.action_space)(fn.N, start=1))).rule is not a.rule
    rule = weakref.ref(a.rule)
    del a, b
    gc.collect()
    assert rule() is None
