"""Forward passes of other forms than a Haiku function: pairs (init, apply) and Flax modules."""

import copy
import functools
import types
import warnings
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces

import coax
from coax.approximators._networks import signature_of
from coax.reward_tracing import TransitionBatch
from coax.td_learning import QLearning, SimpleTD
from coax.value_losses import mse

from . import functions as fn

OBS, N = fn.OBS, fn.N
S = fn.observations(5)
A = np.array([0, 3, 1, 1, 2])
KERNEL = np.random.default_rng(3).normal(size=(OBS, N)).astype(np.float32)
BIAS = np.array([0.5, -1, 2, 0], np.float32)
MEAN, VAR = np.array([1, -2, 0.5], np.float32), np.array([4, 1, 0.25], np.float32)
JIT = functools.partial(jax.jit, static_argnames="is_training")


def flax(name="flax.linen"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # importing it may use what newer versions of jax deprecate
        return pytest.importorskip(name)


# --- one linear layer in every form: of S for `n` outputs, of S and A for one -----------------------------------------


def both(S, A):
    return jnp.concatenate([S, A], axis=-1)


def haiku_function(n, with_action, normalise=False):
    def of(X, is_training):
        if normalise:
            X = hk.BatchNorm(False, False, 0.9)(X, is_training)
        out = hk.Linear(n, name="linear")(X)
        return out[:, 0] if n == 1 else out

    if with_action:
        return lambda S, A, is_training: of(both(S, A), is_training)
    return lambda S, is_training: of(S, is_training)


def haiku(transform, **kwargs):
    return lambda n, with_action: transform(haiku_function(n, with_action, **kwargs))


def linear(params, X):
    out = X @ params["kernel"] + params["bias"]
    return out[:, 0] if out.shape[1] == 1 else out


def own_init(n, with_action, with_state=False):
    def made(rng, X):
        params = {"kernel": jax.random.normal(rng, (X.shape[1], n)), "bias": np.zeros(n)}  # NumPy's float64 is fine
        return (params, {"n": 0}) if with_state else params

    if with_action:
        return lambda rng, S, A, is_training: made(rng, both(S, A))
    return lambda rng, S, is_training: made(rng, S)


def own(n, with_action):
    if with_action:
        return own_init(n, True), lambda params, S, A, is_training: linear(params, both(S, A))
    return own_init(n, False), lambda params, S, is_training: linear(params, S)


def own_with_rng(n, with_action):
    """Noise on the output while training."""

    def noisy(params, rng, X, is_training):
        out = linear(params, X)
        return out + jax.random.normal(rng, out.shape) if is_training else out

    if with_action:
        return [own_init(n, True), lambda p, key, S, A, is_training: noisy(p, key, both(S, A), is_training)]
    return [own_init(n, False), lambda p, key, S, is_training: noisy(p, key, S, is_training)]


def own_with_state(n, with_action):
    """Counts the calls in training."""

    def counted(params, state, X, is_training):
        return linear(params, X), {"n": state["n"] + is_training}

    if with_action:
        apply = lambda params, state, rng, S, A, is_training: counted(params, state, both(S, A), is_training)
    else:
        apply = lambda params, state, rng, S, is_training: counted(params, state, S, is_training)
    return own_init(n, with_action, with_state=True), apply


def own_with_state_alone(n, with_action):
    init, apply = own_with_state(n, with_action)
    if with_action:
        return init, lambda params, state, S, A, is_training: apply(params, state, None, S, A, is_training)
    return init, lambda params, state, S, is_training: apply(params, state, None, S, is_training)


def compiled(n, with_action):
    return tuple(map(JIT, own_with_rng(n, with_action)))


class Object:
    """A network as an object with two methods."""

    def __init__(self, n, with_action):
        self.init, self.apply = own(n, with_action)


@functools.cache
def flax_modules():
    nn = flax()

    class Linear(nn.Module):
        n: int
        normalise: bool = False

        @nn.compact
        def __call__(self, S, is_training):
            if self.normalise:
                S = nn.BatchNorm(not is_training, momentum=0.9, use_bias=False, use_scale=False, name="norm")(S)
                S = nn.Dropout(0.5, deterministic=not is_training)(S)
            out = nn.Dense(self.n, name="linear")(S)
            return out[:, 0] if self.n == 1 else out

    class OfBoth(nn.Module):
        n: int
        normalise: bool = False

        @nn.compact
        def __call__(self, S, A, is_training):
            return Linear(self.n, self.normalise, name="of_both")(both(S, A), is_training)

    return Linear, OfBoth


def flax_linear(n, with_action):
    return flax_modules()[with_action](n)


def flax_with_norm(n, with_action):
    return flax_modules()[with_action](n, normalise=True)


FORMS = {
    "haiku function": haiku_function,
    "hk.transform": haiku(hk.transform),
    "hk.transform_with_state": haiku(hk.transform_with_state, normalise=True),
    "hk.without_apply_rng": haiku(lambda f: hk.without_apply_rng(hk.transform(f))),
    "hk.without_apply_rng with state": haiku(
        lambda f: hk.without_apply_rng(hk.transform_with_state(f)), normalise=True
    ),
    "hk.transform_with_state, compiled": lambda n, with_action: hk.TransformedWithState(
        *map(JIT, FORMS["hk.transform_with_state"](n, with_action))
    ),
    "own pair": own,
    "own pair with rng": own_with_rng,
    "own pair with state and rng": own_with_state,
    "own pair with state": own_with_state_alone,
    "own pair, compiled": compiled,
    "object with init and apply": Object,
    "flax": flax_linear,
    "flax with batch norm and dropout": flax_with_norm,
}
FORM = pytest.mark.parametrize("form", FORMS)
SOME = pytest.mark.parametrize(
    "form",
    [
        "hk.transform_with_state",
        "own pair with rng",
        "own pair with state",
        "own pair, compiled",
        "flax with batch norm and dropout",
    ],
)
LINEAR = pytest.mark.parametrize("form", ["hk.transform", "own pair", "own pair with state and rng", "flax"])


def v_of(form, seed=1):
    return coax.V(FORMS[form](1, False), fn.ENV, random_seed=seed)


def q_of(form, modeltype, seed=1):
    func = FORMS[form](1, True) if modeltype == 1 else FORMS[form](N, False)
    return coax.Q(func, fn.ENV, random_seed=seed)


def leaf(tree, *names):
    """The one leaf of a tree whose path ends with one of the names."""
    found = [x for path, x in jax.tree_util.tree_leaves_with_path(tree) if path[-1].key in names]
    assert len(found) == 1
    return np.array(found[0], float)


def with_leaves(tree, **values):
    """A tree with the leaves changed whose path holds a name given."""

    def one(path, x):
        name = next((k for p in path for k in values if p.key == k), None)
        counts = np.ndim(x) == 0
        return x if name is None or counts else np.broadcast_to(values[name], x.shape).astype(x.dtype)

    return jax.tree_util.tree_map_with_path(one, tree)


def set_linear(f, kernel, bias):
    """Known weights; and known moments, where there is a batch norm. Returns what the linear layer sees of X."""
    f.params = with_leaves(f.params, w=kernel, kernel=kernel, b=bias, bias=bias)
    names = jax.tree_util.keystr(tuple(path[-1] for path, _ in jax.tree_util.tree_leaves_with_path(f.function_state)))
    if "average" not in names and "mean" not in names:
        return lambda X: X
    k = len(kernel)
    mean, var = (np.resize(x, k) for x in (MEAN, VAR))
    state = {"batch_norm/~/mean_ema": mean, "batch_norm/~/var_ema": var, "mean": mean, "var": var}
    f.function_state = with_leaves(f.function_state, **state)
    return lambda X: (X - mean) / np.sqrt(var + 1e-5)


def close(got, want, **kwargs):
    np.testing.assert_allclose(got, want, **{"rtol": 1e-4, "atol": 1e-5, **kwargs})


def batch(S=S, A=A, Rn=1.0, W=None):
    zeros = np.zeros(len(S), np.float32)
    W = zeros + 1 if W is None else W
    return TransitionBatch(S=S, A=A, logP=zeros, Rn=zeros + Rn, In=zeros, S_next=S, W=W)


# --- values -----------------------------------------------------------------------------------------------------------


@FORM
def test_values_of_v(form):
    v = v_of(form)
    seen = set_linear(v, KERNEL[:, :1], BIAS[:1])
    close(v(S), seen(S) @ KERNEL[:, 0] + BIAS[0])
    close(v(S[0]), (seen(S) @ KERNEL[:, 0] + BIAS[0])[0])


@FORM
def test_values_of_q_for_all_actions(form):
    q = q_of(form, 2)
    seen = set_linear(q, KERNEL, BIAS)
    want = seen(S) @ KERNEL + BIAS
    assert q.modeltype == 2
    close(q(S), want)
    close(q(S, A), want[np.arange(5), A])


@FORM
def test_values_of_q_for_one_action(form):
    q = q_of(form, 1)
    kernel = np.random.default_rng(4).normal(size=(OBS + N, 1)).astype(np.float32)
    seen = set_linear(q, kernel, BIAS[:1])
    want = np.stack(
        [(seen(np.concatenate([S, np.eye(N)[[a] * 5]], axis=1)) @ kernel)[:, 0] + BIAS[0] for a in range(N)], axis=1
    )
    assert q.modeltype == 1
    close(q(S), want)
    close(q(S, A), want[np.arange(5), A])


@SOME
def test_the_pure_function(form):
    v = v_of(form)
    seen = set_linear(v, KERNEL[:, :1], BIAS[:1])
    out, state = v.function(v.params, v.function_state, None, S, False)
    close(out, seen(S) @ KERNEL[:, 0] + BIAS[0])
    jax.tree.map(np.testing.assert_array_equal, state, v.function_state)


@FORM
def test_a_seed_gives_the_same_parameters(form):
    a, b, c = v_of(form), v_of(form), v_of(form, seed=2)
    jax.tree.map(np.testing.assert_array_equal, (a.params, a.function_state), (b.params, b.function_state))
    assert not np.allclose(leaf(a.params, "w", "kernel"), leaf(c.params, "w", "kernel"))
    assert leaf(a.params, "w", "kernel").shape == (OBS, 1)


def test_function_state_is_empty_without_one():
    for form in ("hk.transform", "hk.without_apply_rng", "own pair", "own pair with rng", "flax"):
        assert v_of(form).function_state == {}


def test_leaves_have_one_dtype():
    v = v_of("own pair with state")
    assert {k: (x.dtype, x.weak_type) for k, x in v.params.items()} == {
        "kernel": (np.float32, False),
        "bias": (np.float32, False),
    }
    assert (v.function_state["n"].dtype, v.function_state["n"].weak_type) == (np.int32, False)


@pytest.mark.parametrize("arguments", ["params, state", "params, my_state", "params, state, _", "p, rng_state, rng"])
def test_which_argument_is_the_state(arguments):
    # the value is the number in the state, 7
    apply = eval(f"lambda {arguments}, S, is_training: (({arguments})[1]['seven'] + 0 * S[:, 0], ({arguments})[1])")
    v = coax.V((lambda rng, S, is_training: ({}, {"seven": 7.0}), apply), fn.ENV)
    close(v(S), [7] * 5)


def test_a_named_pair_in_the_other_order():
    class Network(NamedTuple):
        apply: object
        init: object

    init, apply = own(1, False)
    v = coax.V(Network(apply, init), fn.ENV)
    set_linear(v, KERNEL[:, :1], BIAS[:1])
    close(v(S), S @ KERNEL[:, 0] + BIAS[0])


def test_an_nnx_module_as_a_pair():
    nnx = flax("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(OBS, 1, rngs=rngs)

        def __call__(self, S, is_training):
            return self.linear(S)[:, 0]

    graph = nnx.split(Net(nnx.Rngs(0)))[0]
    init = lambda rng, S, is_training: nnx.to_pure_dict(nnx.state(Net(nnx.Rngs(rng))))

    def apply(params, S, is_training):
        net = nnx.merge(graph, nnx.State(params))
        return net(S, is_training)

    v = coax.V((init, apply), fn.ENV, random_seed=1)
    set_linear(v, KERNEL[:, :1], BIAS[:1])
    want = S @ KERNEL[:, 0] + BIAS[0]
    close(v(S), want)
    SimpleTD(v, optimizer=optax.sgd(0.1), loss_function=mse).update(batch(Rn=2.0))
    close(leaf(v.params, "bias"), BIAS[:1] + 0.1 * np.mean(2 - want))


# --- training ---------------------------------------------------------------------------------------------------------


@LINEAR
def test_one_step_of_v_by_hand(form):
    v = v_of(form)
    set_linear(v, np.ones((OBS, 1)), 0)
    # one row x = (1, 2, 3), w = (1, 1, 1), b = 0: v = 6, target 8, TD error 2; w + 0.1 * 2 * x, b + 0.1 * 2
    x = np.array([[1, 2, 3]], np.float32)
    metrics = SimpleTD(v, optimizer=optax.sgd(0.1), loss_function=mse).update(batch(x, np.array([0]), 8.0))
    close(leaf(v.params, "w", "kernel")[:, 0], [1.2, 1.4, 1.6])
    close(leaf(v.params, "b", "bias"), [0.2])
    close(metrics["SimpleTD/loss"], 2.0)  # 2 ** 2 / 2


@LINEAR
def test_one_step_of_q_with_an_output_per_action_by_hand(form):
    q = q_of(form, 2)
    set_linear(q, np.ones((OBS, N)), 0)
    # as above for action 2; the other columns stay
    x = np.array([[1, 2, 3]], np.float32)
    QLearning(q, optimizer=optax.sgd(0.1), loss_function=mse).update(batch(x, np.array([2]), 8.0))
    want = np.ones((OBS, N))
    want[:, 2] = 1.2, 1.4, 1.6
    close(leaf(q.params, "w", "kernel"), want)
    close(leaf(q.params, "b", "bias"), [0, 0, 0.2, 0])


@LINEAR
def test_one_step_of_q_of_an_action_by_hand(form):
    q = q_of(form, 1)
    set_linear(q, np.ones((OBS + N, 1)), 0)
    # x = (1, 2, 3) and action 2 as (0, 0, 1, 0): q = 7, target 9, TD error 2
    x = np.array([[1, 2, 3]], np.float32)
    QLearning(q, optimizer=optax.sgd(0.1), loss_function=mse).update(batch(x, np.array([2]), 9.0))
    close(leaf(q.params, "w", "kernel")[:, 0], [1.2, 1.4, 1.6, 1, 1, 1.2, 1])
    close(leaf(q.params, "b", "bias"), [0.2])


@SOME
def test_steps_in_a_compiled_loop(form):
    a, b = v_of(form), v_of(form)
    learn_a, learn_b = (SimpleTD(v, optimizer=optax.sgd(0.01)) for v in (a, b))
    learn_b.state = learn_a.state
    for _ in range(3):
        learn_a.update(batch())
    coax.scan(lambda: learn_b.update(batch()), length=3, over=(learn_b,))
    jax.tree.map(close, (a.params, a.function_state), (b.params, b.function_state))
    assert not np.allclose(leaf(a.params, "w", "kernel"), leaf(v_of(form).params, "w", "kernel"))


@pytest.mark.parametrize("form", ["own pair with state", "own pair with state and rng"])
def test_state_of_an_own_pair_changes_in_training_alone(form):
    v = v_of(form)
    learn = SimpleTD(v, optimizer=optax.sgd(0.1))
    v(S)
    assert v.function_state["n"] == 0
    for _ in range(3):
        learn.update(batch())
    v(S)
    assert v.function_state["n"] == 3


BATCH_NORMS = pytest.mark.parametrize(
    ("form", "share"),
    # Haiku's average of one batch is the mean of that batch; Flax starts from 0 and moves by 1 - momentum = 0.1
    [
        ("hk.transform_with_state", 1),
        ("hk.without_apply_rng with state", 1),
        ("hk.transform_with_state, compiled", 1),
        ("flax with batch norm and dropout", 0.1),
    ],
)


@BATCH_NORMS
def test_batch_norm_by_hand(form, share):
    v = v_of(form)
    x = np.array([[1, 0, 0], [3, 2, -8]], np.float32)  # mean (2, 1, -4)
    mean = lambda: np.ravel(next(x for x in jax.tree.leaves(v.function_state) if np.size(x) == OBS))
    before = mean()
    v(x)
    np.testing.assert_array_equal(mean(), before)
    SimpleTD(v, optimizer=optax.sgd(0.0)).update(batch(x, np.array([0, 0])))
    close(mean(), share * np.array([2, 1, -4]))
    v(x)
    close(mean(), share * np.array([2, 1, -4]))


@BATCH_NORMS
def test_batch_norm_with_a_row_that_does_not_count(form, share):
    v = v_of(form)
    # the second row has weight 0. Haiku leaves it out: mean (1, 0, 4) of the rows 1 and 3. Flax sees a copy of the
    # first one in its place: (2 * (2, 0, 0) + (0, 0, 8)) / 3
    x = np.array([[2, 0, 0], [np.nan, 9, 9], [0, 0, 8]], np.float32)
    SimpleTD(v, optimizer=optax.sgd(0.0)).update(batch(x, np.zeros(3, int), W=np.array([1, 0, 1], np.float32)))
    want = [1, 0, 4] if form.startswith("hk") else [0.1 * 4 / 3, 0, 0.1 * 8 / 3]
    close(np.ravel(next(x for x in jax.tree.leaves(v.function_state) if np.size(x) == OBS)), want)


# --- random numbers ---------------------------------------------------------------------------------------------------


def haiku_dropout():
    def func(S, is_training):
        return jnp.sum(hk.dropout(hk.next_rng_key(), 0.5, S) if is_training else S, axis=-1)

    return hk.transform(func)


def flax_dropout(stream="dropout"):
    nn = flax()

    class Net(nn.Module):
        @nn.compact
        def __call__(self, S, is_training):
            return jnp.sum(nn.Dropout(0.5, deterministic=not is_training, rng_collection=stream)(S), axis=-1)

    return Net()


def own_dropout():
    def apply(params, rng, S, is_training):
        return jnp.sum(jnp.where(jax.random.bernoulli(rng, 0.5, S.shape), 2 * S, 0) if is_training else S, axis=-1)

    return lambda rng, S, is_training: {}, apply


@pytest.mark.parametrize(
    "make",
    [haiku_dropout, flax_dropout, lambda: flax_dropout("of_another_name"), own_dropout],
    ids=["haiku", "flax", "other stream", "own"],
)
def test_dropout_draws_anew_in_training_and_is_off_in_evaluation(make):
    v = coax.V(make(), fn.ENV, random_seed=1)
    x = np.tile(np.array([1, 2, 4], np.float32), (64, 1))
    np.testing.assert_array_equal(v(x), 7)
    draws = []
    for seed in (0, 0, 1):
        out, _ = v.function(v.params, v.function_state, jax.random.key(seed), x, True)
        kept = np.asarray(out) / 2  # a sum of some of 1, 2, 4
        np.testing.assert_array_equal(kept, np.round(kept))
        assert set(kept) == set(range(8))  # all 8 subsets occur in 64 rows
        draws.append(kept)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.any(draws[0] != draws[2])


@pytest.mark.parametrize("form", ["own pair with rng", "flax with batch norm and dropout"])
def test_updates_draw_anew(form):
    v = v_of(form)
    set_linear(v, np.ones((OBS, 1)), 0)
    learn = SimpleTD(v, optimizer=optax.sgd(0.0))
    first, second = (learn.update(batch(), return_td_error=True)[1] for _ in range(2))
    assert np.all(np.isfinite(first))
    assert np.mean(first != second) > 0.5
    np.testing.assert_array_equal(v(S), v(S))


def test_functions_that_draw_nothing_are_known():
    assert {form: v_of(form).rule.uses_rng for form in FORMS if "flax" not in form} == {
        **dict.fromkeys((form for form in FORMS if "flax" not in form), False),
        "own pair with rng": True,
        "own pair, compiled": True,
    }


def test_streams_of_flax_are_apart():
    nn = flax()

    class Net(nn.Module):
        @nn.compact
        def __call__(self, S, is_training):
            a, b = (jax.random.normal(self.make_rng(name), (1000,)) for name in ("params", "dropout"))
            return jnp.array([jnp.corrcoef(a, b)[0, 1]]) + 0 * S[:, 0]

    assert abs(coax.V(Net(), fn.ENV)(S[0])) < 0.2  # 1 for equal draws, 0.03 is the usual deviation for independent ones


# --- rules, copies, storage -------------------------------------------------------------------------------------------


@FORM
def test_rules_are_shared(form):
    func = FORMS[form](1, False)
    v1, v2 = coax.V(func, fn.ENV), coax.V(func, fn.ENV)
    assert v1.rule is v2.rule
    if isinstance(func, tuple):
        assert coax.V((func[0], func[1]), fn.ENV).rule is v1.rule
    assert coax.V(FORMS["own pair"](1, False), fn.ENV).rule is not v1.rule


def test_equal_flax_modules_share():
    a, b, c = flax_linear(1, False), flax_linear(1, False), flax_with_norm(1, False)
    assert coax.V(a, fn.ENV).rule is coax.V(b, fn.ENV).rule
    assert coax.V(a, fn.ENV).rule is not coax.V(c, fn.ENV).rule


def test_a_list_that_changes_is_another_function():
    init, apply = own(1, False)
    pair = [init, apply]
    v1 = coax.V(pair, fn.ENV, random_seed=1)
    want = -v1(S)
    pair[1] = lambda params, S, is_training: -apply(params, S, is_training)
    v2 = coax.V(pair, fn.ENV, random_seed=1)
    assert v1.rule is not v2.rule
    close(v2(S), want)
    close(v1(S), -want)


@FORM
def test_copies_and_storage(form):
    v = v_of(form)
    set_linear(v, KERNEL[:, :1], BIAS[:1])
    want = v(S)
    others = [v.copy(), copy.copy(v), v.copy(deep=True), copy.deepcopy(v), coax.utils.loads(coax.utils.dumps(v))]
    assert all(other.rule is v.rule for other in others[:-1])
    for other in others:
        np.testing.assert_array_equal(other(S), want)
        other.params = jax.tree.map(lambda x: x + 1, other.params)
        assert not np.allclose(other(S), want)
    np.testing.assert_array_equal(v(S), want)


@SOME
def test_a_target_network_follows(form):
    q = q_of(form, 2)
    q_targ = q.copy()
    set_linear(q, np.ones((OBS, N)), 0)
    set_linear(q_targ, np.zeros((OBS, N)), 0)
    q_targ.soft_update(q, tau=0.25)
    close(leaf(q_targ.params, "w", "kernel"), 0.25)


# --- errors -----------------------------------------------------------------------------------------------------------

BEHIND = (
    r"\. Instead of a function, there may be a Flax module with such a __call__, or a pair of functions "
    r"init\(rng, S, is_training\) and apply\(\[params\], S, is_training\), where \[params\] is params, or params, rng, "
    r"or params, state, rng\."
)
NAMES = r"Fix: name the arguments exactly so, in this order"
INIT, APPLY = own(1, False)


def refused(func, text, make=coax.V):
    with pytest.raises(TypeError, match=text):
        make(func, fn.ENV)


def test_a_function_with_other_names():
    refused(
        lambda s, train: s,
        r"^V: expected the signature func\(S, is_training\), got func\(s, train\)\. " + NAMES + BEHIND + "$",
    )
    refused(lambda S, *, is_training: S, r"got func\(S, \*, is_training\)\. " + NAMES)
    refused(lambda *args, **kwargs: 0, r"got func\(\*args, \*\*kwargs\)\. " + NAMES)
    refused(3, r"^V: expected a function, got int\. Fix: pass the forward pass itself\.$")


@pytest.mark.parametrize(
    ("pair", "got"),
    [
        ((INIT, lambda params, x, is_training: 0), "init(rng, S, is_training) and apply(params, x, is_training)"),
        ((INIT, lambda S, is_training: 0), "init(rng, S, is_training) and apply(S, is_training)"),
        ((INIT, lambda a, b, c, d, S, is_training: 0), "apply(a, b, c, d, S, is_training)"),
        ((INIT, lambda params, rng, state, S, is_training: 0), "apply(params, rng, state, S, is_training)"),
        ((INIT, lambda state, rng, S, is_training: 0), "apply(state, rng, S, is_training)"),
        ((INIT, lambda params, S, A, is_training: 0), "apply(params, S, A, is_training)"),
        ((INIT, lambda params, S, *, is_training: 0), "apply(params, S, *, is_training)"),
        ((lambda rng, shape: 0, APPLY), "init(rng, shape) and apply(params, S, is_training)"),
        ((lambda S, is_training: 0, APPLY), "init(S, is_training) and apply(params, S, is_training)"),
        ((lambda rng, dtype, S, is_training: 0, APPLY), "init(rng, dtype, S, is_training) and"),
        ((lambda rng, S: 0, APPLY), "init(rng, S) and apply(params, S, is_training)"),
        ((APPLY, INIT), "init(params, S, is_training) and apply(rng, S, is_training)"),
    ],
)
def test_a_pair_with_other_names(pair, got):
    text = rf"^V: expected the signature func\(S, is_training\), got .*{_escaped(got)}.*\. {NAMES}{BEHIND}$"
    refused(pair, text)
    refused(types.SimpleNamespace(init=pair[0], apply=pair[1]), text)


def _escaped(text):
    return "".join(rf"\{x}" if x in "()*" else x for x in text)


def test_both_signatures_of_q_are_named():
    text = (
        r"^Q: expected the signature func\(S, A, is_training\) or func\(S, is_training\), "
        r"got init\(rng, S, is_training\) and apply\(params, x, is_training\)\. "
        r".* init\(rng, S, A, is_training\) and apply\(\[params\], S, A, is_training\)"
    )
    refused((INIT, lambda params, x, is_training: 0), text, make=coax.Q)
    box = fn.env_of(action_space=spaces.Box(-1, 1, (2,)))
    with pytest.raises(TypeError, match="Q: expected a Discrete action space"):
        coax.Q(own(N, False), box)


@pytest.mark.parametrize(
    ("func", "got"),
    [
        ((INIT, APPLY, APPLY), r"a tuple of \(function, function, function\)"),
        ([INIT], r"a list of \(function\)"),
        ((INIT, 3), r"a tuple of \(function, int\)"),
        ((), r"a tuple of \(\)"),
    ],
)
def test_what_is_no_pair(func, got):
    refused(func, rf"got {got}\. Fix: pass two functions \(init, apply\){BEHIND}")


def test_a_class_instead_of_an_instance():
    refused(flax_modules()[0], r"got the class .*Linear\. Fix: pass an instance, .*Linear\(\.\.\.\)\.")
    refused(Object, r"got the class Object\. Fix: pass an instance, Object\(\.\.\.\)\.")


def test_a_flax_module_with_other_names():
    nn = flax()
    refused(nn.Dense(3), r"got Dense\.__call__\(self, inputs\)\. " + NAMES + BEHIND)
    refused(nn.Sequential([nn.Dense(1)]), r"got Sequential\.__call__\(self, \*args, \*\*kwargs\)\. ")
    refused(flax_linear(1, True), r"got .*OfBoth\.__call__\(self, S, A, is_training\)\. ")


@jax.tree_util.register_pytree_node_class
class HoldsItsParameters:
    """What Equinox and the newer interface of Flax have: called like a Haiku function, but would never learn."""

    def __init__(self, w):
        self.w = w

    def __call__(self, S, is_training):
        return S @ self.w

    def tree_flatten(self):
        return (self.w,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def test_an_object_that_holds_its_parameters():
    text = r"an object that holds its own parameters\. Fix: split it into a pair of functions \(init, apply\), e\.g\. "
    refused(HoldsItsParameters(jnp.ones(OBS)), "got HoldsItsParameters, " + text)
    nnx = flax("flax.nnx")
    refused(nnx.Linear(OBS, 1, rngs=nnx.Rngs(0)), "got Linear, " + text)


def test_functions_with_constants_are_functions():
    weights = jnp.array([1.0, 2, 4])
    partial = jax.tree_util.Partial(lambda w, S, is_training: S @ w, weights)
    close(coax.V(partial, fn.ENV)(np.ones(OBS)), 7)


@SOME
def test_a_wrong_output_shape(form):
    text = r"V: expected func to return shape \(1,\) for a batch of 1, got \(1, 2\)"
    with pytest.raises(TypeError, match=text):
        coax.V(FORMS[form](2, False), fn.ENV)
    with pytest.raises(TypeError, match=r"Q: expected func to return shape \(1, 4\) for a batch of 1, got \(1, 3\)"):
        coax.Q(FORMS[form](3, False), fn.ENV)
    with pytest.raises(TypeError, match=r"Q: expected func to return shape \(1,\) for a batch of 1, got \(1, 4\)"):
        coax.Q(FORMS[form](N, True), fn.ENV)


def test_wrong_outputs_of_pairs():
    refused((INIT, lambda params, S, is_training: jnp.zeros(1, int)), r"V: expected func to return a floating dtype")
    refused(
        (INIT, lambda params, S, is_training: (S[:, 0], {})), r"V: expected func to return one jax array, got tuple"
    )
    with_state = lambda params, state, rng, S, is_training: (S[:, 0], state)
    refused(
        (INIT, with_state),
        r"^func: expected init to return a tuple \(params, state\), because apply takes a state, got dict\. Fix: ",
    )
    init = lambda rng, S, is_training: ({}, {"n": jnp.zeros(())})
    refused(
        (init, lambda params, state, rng, S, is_training: S[:, 0]),
        r"^func: expected apply to return a tuple \(output, new_state\), because apply takes a state, got .*Tracer\.",
    )
    refused(
        (init, lambda params, state, rng, S, is_training: (S[:, 0], {})),
        r"func\.state: the leaf \['n'\].* is missing",
    )
    refused(
        (init, lambda params, state, rng, S, is_training: (S[:, 0], {"n": jnp.zeros(2)})),
        r"func\.state\['n'\]: expected float32\[\], got float32\[2\]\. Fix:",
    )
    refused(
        (lambda rng, S, is_training: {"w": "text"}, APPLY),
        r"^func: expected init to return pytrees of arrays, got str at \['w'\]\. Fix: keep what is no array outside",
    )


def test_flax_state_that_changes_in_evaluation():
    nn = flax()

    class Net(nn.Module):
        @nn.compact
        def __call__(self, S, is_training):
            return nn.Dense(1)(nn.BatchNorm(use_running_average=False)(S))[:, 0]

    with pytest.raises(flax("flax.errors").ModifyScopeVariableError, match="batch_stats"):
        coax.V(Net(), fn.ENV)


def test_functions_without_a_signature():
    assert signature_of(iter).names == ("?",)
