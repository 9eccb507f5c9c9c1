"""V and Q: values, preprocessors, function state, randomness, spaces, leading axes and errors."""

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces

import coax
from coax.errors import StateError
from coax.reward_tracing import TransitionBatch
from coax.td_learning import QLearning
from coax.value_transforms import LogTransform

from . import functions as fn

S = fn.observations(5)
LOG = LogTransform(2.0)
BOX_ACTIONS = fn.env_of(action_space=spaces.Box(-1, 1, (2,)))
TYPES = pytest.mark.parametrize("func", [fn.type1, fn.type2])


def q_of(func=fn.type2, env=fn.ENV, seed=1, **kwargs):
    return coax.Q(func, env, random_seed=seed, **kwargs)


def v_of(func=fn.state_value, env=fn.ENV, seed=1, **kwargs):
    return coax.V(func, env, random_seed=seed, **kwargs)


def wanted(f, s=S):
    return np.tanh(np.asarray(s, float) @ fn.weights_of(f))


def inverse(y, c=2.0):
    return np.sign(y) * c * np.expm1(abs(y) / c)


def close(got, want, **kwargs):
    np.testing.assert_allclose(got, want, **{"rtol": 1e-4, "atol": 1e-6, **kwargs})


# --- values -----------------------------------------------------------------------------------------------------------


@TYPES
def test_values_by_hand(func):
    q = q_of(func)
    close(q(S), wanted(q))
    a = np.array([0, 3, 1, 1, 2])
    close(q(S, a), wanted(q)[np.arange(5), a])
    assert q.modeltype == (1 if func is fn.type1 else 2)
    v = v_of()
    close(v(S), wanted(v))


@pytest.mark.parametrize("pair", [LOG, (LOG.transform_func, LOG.inverse_func)], ids=["object", "pair"])
@TYPES
def test_values_are_transformed_back(func, pair):
    q = q_of(func, value_transform=pair)
    close(q(S), inverse(wanted(q)))
    close(q(S[0], 2), inverse(wanted(q))[0, 2])
    v = v_of(value_transform=pair)
    close(v(S), inverse(wanted(v)))
    assert v.value_transform.inverse_func is LOG.inverse_func
    raw, _ = v.function(v.params, v.function_state, v.rng, S, False)
    close(raw, wanted(v))


@pytest.mark.parametrize("start", [0, 3, -2])
@TYPES
def test_one_action_is_one_of_all(func, start):
    env = fn.env_of(action_space=spaces.Discrete(fn.N, start=start))
    q = q_of(func, env)
    q.params = q_of(func).params
    values = q(S)
    close(values, wanted(q))
    for i in range(fn.N):
        close(q(S, np.full(5, start + i)), values[:, i])
        close(q(S[0], start + i), values[0, i])
    with pytest.raises(ValueError, match=r"expected elements of Discrete.*got values from .*Fix:"):
        q(S[0], start + fn.N)


def test_both_types_agree():
    q1, q2 = q_of(fn.type1), q_of(fn.type2)
    q2.params = q1.params
    close(q1(S), q2(S))
    close(q1(S, np.arange(5) % 4), q2(S, np.arange(5) % 4))


# --- conversions between types ----------------------------------------------------------------------------------------


@TYPES
def test_function_type1(func):
    q = q_of(func)
    A = np.eye(fn.N, dtype=np.float32)[[0, 3, 1, 1, 2]]
    out, state = q.function_type1(q.params, q.function_state, jax.random.key(0), S, A, False)
    close(out, wanted(q)[np.arange(5), [0, 3, 1, 1, 2]])
    assert state == {}


def test_function_type1_takes_any_weights():
    q, A = q_of(fn.type2), np.random.default_rng(0).normal(size=(5, fn.N)).astype(np.float32)
    out, _ = q.function_type1(q.params, q.function_state, None, S, A, False)
    close(out, (wanted(q) * A).sum(axis=-1))
    for wrong in (A[:, :3], A[0], A[:3]):
        with pytest.raises(ValueError, match=r"actions: expected one weight per action, shape \(5, 4\), got .*Fix:"):
            q.function_type1(q.params, q.function_state, None, S, wrong, False)


@TYPES
def test_function_type2(func):
    q = q_of(func)
    out, state = q.function_type2(q.params, q.function_state, jax.random.key(0), S, False)
    close(out, wanted(q))
    assert state == {}


def test_function_type2_needs_discrete_actions():
    q = q_of(fn.any_type1, BOX_ACTIONS)
    for call in (lambda: q.function_type2, lambda: q(S[0])):
        with pytest.raises(ValueError, match=r"expected a Discrete action space, got Box.*Fix: .*q\(s, a\)"):
            call()


# --- leading axes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 1, 3), (0,), (2, 0)])
def test_batched_in_batched_out(lead):
    s, a = fn.observations(*lead), np.zeros(lead, int)
    for func in (fn.type1, fn.type2):
        q = q_of(func)
        close(q(s), wanted(q, s))
        close(q(s, a), wanted(q, s)[..., 0])
        assert q(s).shape == (*lead, fn.N)
        assert q(s, a).shape == lead
        assert isinstance(q(s, a), np.ndarray)
        assert q(s, a).dtype.kind == "f"
    v = v_of()
    close(v(s), wanted(v, s))
    assert v(s).shape == lead


@pytest.mark.parametrize("name", fn.SPACES)
@pytest.mark.parametrize(
    "lead", [pytest.param((), marks=pytest.mark.full), pytest.param((2,), marks=pytest.mark.full), (2, 3)]
)
@pytest.mark.gate
def test_any_space_of_observations_and_actions(name, lead):
    """A batch gives what its rows give one by one."""
    space = fn.SPACES[name]
    v = v_of(fn.any_value, fn.env_of(space))
    q = q_of(fn.any_type1, fn.env_of(space, fn.NESTED))
    s, rows = fn.batch_of(space, lead)
    a, actions = fn.batch_of(fn.NESTED, lead, seed=1)
    if lead == ():
        s, a = rows[0], actions[0]
    close(v(s), np.reshape([v(row) for row in rows], lead), atol=1e-5)
    close(q(s, a), np.reshape([q(*pair) for pair in zip(rows, actions, strict=True)], lead), atol=1e-5)
    if name != "discrete":
        q2 = q_of(fn.any_type2, fn.env_of(space))
        close(q2(s), np.reshape([q2(row) for row in rows], (*lead, fn.N)), atol=1e-5)


def test_lists_do_for_tuples():
    space = fn.SPACES["tuple"]
    v = v_of(fn.any_value, fn.env_of(space))
    s = (2, np.array([0.25, 0.5], np.float32))
    assert v(s) == v(list(s)) == v((np.int32(2), [0.25, 0.5]))


def test_one_compilation_for_any_integer():
    env = fn.env_of(spaces.Discrete(5))
    q = q_of(fn.any_type2, env)
    values = [q(s) for s in (3, np.int64(3), np.int32(3), np.uint8(3), np.array(3))]
    for value in values[1:]:
        np.testing.assert_array_equal(value, values[0])
    assert q.rule.call_all._cache_size() == 1


# --- inside a trace ---------------------------------------------------------------------------------------------------


@TYPES
def test_compiled(func):
    q, v = q_of(func), v_of()
    compiled = coax.jit(lambda s, a: (q(s), q(s, a), v(s)), over=(q, v))
    for s, a in ((S[0], 2), (S, np.arange(5) % 4), (S.reshape(5, 1, 3), np.ones((5, 1), int))):
        for got, want in zip(compiled(s, a), (q(s), q(s, a), v(s)), strict=True):
            assert isinstance(got, jax.Array)
            assert got.shape == want.shape
            close(got, want)


# --- preprocessors ----------------------------------------------------------------------------------------------------


def doubled(rng, X):
    """Another shape than the observation: [B, 3] -> [B, 6]."""
    return jnp.concatenate([X, 2 * X], axis=-1)


def doubled_on_host(rng, X):
    return np.concatenate([np.asarray(X), 2 * np.asarray(X)], axis=-1)


def as_tree(rng, X):
    return {"x": jnp.tanh(X), "norm": jnp.linalg.norm(X, axis=-1, keepdims=True)}


def noisy(rng, X):
    return X + jax.random.normal(rng, X.shape)


def signs(rng, A):
    """Actions 0..3 as two signs."""
    return jnp.stack([A % 2, A // 2], axis=-1) * 2.0 - 1.0


def signs_on_host(rng, A):
    A = np.asarray(A)
    return np.stack([A % 2, A // 2], axis=-1).astype(np.float32) * 2 - 1


@pytest.mark.parametrize("preprocessor", [doubled, doubled_on_host])
@pytest.mark.gate
def test_preprocessors_that_change_the_shape(preprocessor):
    for func in (fn.any_type1, fn.any_type2):
        q = q_of(func, observation_preprocessor=preprocessor)
        plain = q_of(func, fn.env_of(spaces.Box(-20, 20, (6,))))
        assert jax.tree.map(np.shape, q.params) == jax.tree.map(np.shape, plain.params)
        q.params = plain.params
        S2 = np.concatenate([S, 2 * S], axis=-1)
        close(q(S), plain(S2))
        close(q(S[0]), plain(S2)[0])
        close(q(S, np.arange(5) % 4), plain(S2, np.arange(5) % 4))
        assert q.observation_preprocessor is preprocessor
    v = v_of(fn.any_value, observation_preprocessor=preprocessor)
    plain = v_of(fn.any_value, fn.env_of(spaces.Box(-20, 20, (6,))))
    v.params = plain.params
    close(v(S), plain(S2))


def test_preprocessors_that_return_a_tree():
    v = v_of(fn.any_value, observation_preprocessor=as_tree)
    # leaves in the order of their names: norm, x
    features = np.concatenate([np.linalg.norm(S, axis=-1, keepdims=True), np.tanh(S)], axis=-1)
    w = v.params["linear"]
    close(v(S), features @ w["w"][:, 0] + w["b"])


@pytest.mark.parametrize("preprocessor", [signs, signs_on_host])
def test_action_preprocessors(preprocessor):
    q = q_of(fn.any_type1, action_preprocessor=preprocessor)
    assert q.action_preprocessor is preprocessor
    apply = lambda A: q.function(q.params, q.function_state, None, S, A, False)[0]
    want = np.stack([apply(np.asarray(signs_on_host(None, np.full(5, a)))) for a in range(4)], axis=-1)
    close(q(S), want)
    close(q(S, np.full(5, 2)), want[:, 2])
    close(q.function_type2(q.params, q.function_state, None, S, False)[0], want)


def test_an_own_action_preprocessor_weighs_a_type_2_function():
    half = lambda rng, A: 0.5 * jax.nn.one_hot(A, fn.N)
    q = q_of(fn.type2, action_preprocessor=half)
    close(q(S, np.full(5, 2)), 0.5 * wanted(q)[:, 2])


def test_random_preprocessors():
    v = v_of(observation_preprocessor=noisy)
    assert v.rule.uses_rng
    draws = {float(v(S[0])) for _ in range(5)}
    assert len(draws) == 5


def test_host_only_preprocessors_say_so_in_a_trace():
    q = q_of(fn.any_type1, observation_preprocessor=doubled_on_host)
    with pytest.raises(StateError, match=r"observation_preprocessor <function doubled_on_host.*cannot be traced.*Fix:"):
        coax.jit(lambda s: q(s), over=q)(S)
    q = q_of(fn.any_type1, action_preprocessor=signs_on_host)
    with pytest.raises(StateError, match=r"action_preprocessor <function signs_on_host.*cannot be traced.*Fix:"):
        coax.jit(lambda s, a: q(s, a), over=q)(S, np.arange(5) % 4)
    close(coax.jit(lambda s: q(s), over=q)(S), q(S))  # all actions are known beforehand


@pytest.mark.parametrize("wrong", [lambda rng, X: X[None], lambda rng, X: jnp.sum(X), lambda rng, X: ()])
def test_preprocessors_that_change_the_batch_axis(wrong):
    with pytest.raises(
        TypeError, match=r"observation_preprocessor: expected leaves with a leading axis of length 2.*Fix:"
    ):
        v_of(observation_preprocessor=wrong)


# --- function state ---------------------------------------------------------------------------------------------------


def moments(f):
    return jax.tree.map(np.array, f.function_state)


def test_function_state_changes_only_by_updates():
    q = q_of(fn.with_batch_norm)
    before = moments(q)
    assert before
    q(S), q(S, np.zeros(5, int)), coax.EpsilonGreedy(q)(S)
    jax.tree.map(np.testing.assert_array_equal, moments(q), before)
    QLearning(q).update(transitions())
    assert moments(q)["batch_norm/~/mean_ema"]["counter"] == before["batch_norm/~/mean_ema"]["counter"] + 1


def transitions():
    zeros = np.zeros(5, np.float32)
    return TransitionBatch(S=S, A=zeros.astype(int), logP=zeros, Rn=zeros, In=zeros, S_next=S)


def test_the_state_of_training_is_used_when_acting():
    # (s - mean) / sqrt(var + eps) with the moving averages, not with the moments of the batch
    def normalised(S, is_training):
        return hk.BatchNorm(True, True, 0.9)(jnp.tile(S, (1, 2))[:, : fn.N], is_training)

    q = q_of(normalised)
    for _ in range(3):
        QLearning(q, optimizer=optax.sgd(0.0)).update(transitions())
    mean, var = (q.function_state[f"batch_norm/~/{name}_ema"]["average"][0] for name in ("mean", "var"))
    x = S[:, [0, 1, 2, 0]]
    close(mean, x.mean(axis=0))
    close(var, x.var(axis=0))
    close(q(S[:2]), ((x - mean) / np.sqrt(var + 1e-5))[:2], rtol=1e-3)  # not the moments of these two


# --- randomness -------------------------------------------------------------------------------------------------------


def test_dropout():
    q, again, other = q_of(fn.with_dropout), q_of(fn.with_dropout), q_of(fn.with_dropout, seed=2)
    other.params = q.params
    draws = [q(S).tolist() for _ in range(5)]
    assert len(set(map(str, draws))) == 5  # each call another mask
    assert draws == [again(S).tolist() for _ in range(5)]  # the same ones from the same seed
    assert draws != [other(S).tolist() for _ in range(5)]
    again.random_seed = 1
    assert draws == [again(S).tolist() for _ in range(5)]  # and from the start again
    # in a compiled function the stream goes on
    compiled = coax.jit(lambda s: q(s), over=q)
    more = [compiled(S).tolist() for _ in range(2)] + [q(S).tolist()]
    close(more, [again(S).tolist() for _ in range(3)], rtol=1e-5)


def test_without_randomness_the_stream_stands_still():
    q = q_of()
    before = int(q.state["rng"].count)
    q(S), q(S, np.zeros(5, int))
    assert int(q.state["rng"].count) == before


def test_a_key_may_be_asked_for_and_not_used():
    def func(S, is_training):
        return fn.type2(hk.dropout(hk.next_rng_key(), 0.0, S), is_training)

    q = q_of(func)
    close(q(S), wanted(q))


def test_random_only_in_training():
    def func(S, is_training):
        return fn.type2(hk.dropout(hk.next_rng_key(), 0.5, S) if is_training else S, is_training)

    q = q_of(func)
    close(q(S), wanted(q))
    losses = {float(QLearning(q, optimizer=optax.sgd(0.0)).update(transitions())["QLearning/loss"]) for _ in range(5)}
    assert len(losses) == 5


# --- errors -----------------------------------------------------------------------------------------------------------

NO_SPACE = fn.env_of("Box", "Discrete")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: q_of(env="CartPole-v1"),
            "Q: expected an environment, got the text 'CartPole-v1'. Fix: gymnasium.make(",
        ),
        (lambda: v_of(env=NO_SPACE), "V: expected env.observation_space to be a gymnasium.Space, got str"),
        (lambda: q_of(env=NO_SPACE), "Q: expected env.observation_space to be a gymnasium.Space, got str"),
        (
            lambda: q_of(env=fn.env_of(None, "Discrete")),
            "Q: expected env.action_space to be a gymnasium.Space, got str",
        ),
        (lambda: v_of(None), "V: expected a function, got NoneType"),
        (lambda: v_of(lambda s, is_training: s), "V: expected the signature func(S, is_training), got func(s, is_tr"),
        (lambda: v_of(fn.type1), "V: expected the signature func(S, is_training), got func(S, A, is_training)"),
        (
            lambda: q_of(lambda A, S, is_training: S),
            "Q: expected the signature func(S, A, is_training) or func(S, is_training), got func(A, S, is_training)",
        ),
        (lambda: q_of(fn.type2, BOX_ACTIONS), "Q: expected a Discrete action space for func(S, is_training), got Box"),
        (lambda: v_of(lambda S, is_training: (S[:, 0],)), "V: expected func to return one jax array, got tuple"),
        (lambda: q_of(lambda S, is_training: {"q": S}), "Q: expected func to return one jax array, got dict"),
        (
            lambda: v_of(lambda S, is_training: jnp.zeros(S.shape[0], int)),
            "V: expected func to return a floating dtype, got int",
        ),
        (
            lambda: v_of(lambda S, is_training: S[:, :1]),
            "V: expected func to return shape (1,) for a batch of 1, got (1, 1)",
        ),
        (
            lambda: q_of(lambda S, is_training: S),
            "Q: expected func to return shape (1, 4) for a batch of 1, got (1, 3)",
        ),
        (
            lambda: q_of(lambda S, A, is_training: S),
            "Q: expected func to return shape (1,) for a batch of 1, got (1, 3)",
        ),
    ],
)
def test_wrong_arguments(make, text):
    with pytest.raises(TypeError) as caught:
        make()
    assert text in str(caught.value)
    assert "Fix: " in str(caught.value)


def test_v_needs_no_actions():
    env = type(fn.ENV)(observation_space=fn.ENV.observation_space)
    v = coax.V(fn.state_value, env)
    assert not hasattr(v, "action_space")
    assert coax.V(lambda S, is_training=True: S[:, 0], env)(S[0]) == S[0, 0]  # defaults are fine


def test_wrong_observations():
    q = q_of()
    for wrong in (np.zeros(4), np.zeros((5, 2)), np.float32(1)):
        with pytest.raises(ValueError, match=r"expected shape \[\.\.\., 3\], got shape \(.*Fix:") as caught:
            q(wrong)
        assert str(np.shape(wrong)) in str(caught.value)
    v = v_of(fn.any_value, fn.env_of(fn.SPACES["tuple"]))
    with pytest.raises(ValueError, match=r"same leading axes.*leading axes \(2,\).*leading axes \(3,\)"):
        v((np.ones(2, int), np.zeros((3, 2))))


def test_wrong_actions():
    q = q_of()
    with pytest.raises(ValueError, match=r"actions: expected the leading axes of the observations, \(5,\), got \(3,\)"):
        q(S, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"actions: expected the leading axes of the observations, \(5,\), got \(\)"):
        q(S, 0)
    with pytest.raises(TypeError, match=r"expected integers for Discrete\(4\), got float64"):
        q(S[0], 1.0)
    box = q_of(fn.any_type1, BOX_ACTIONS)
    with pytest.raises(ValueError, match=r"expected shape \[\.\.\., 2\], got shape \(5, 3\)"):
        box(S, np.zeros((5, 3)))


def test_gymnasium_environments_do():
    env = gymnasium.make("CartPole-v1")
    q = coax.Q(lambda S, is_training: hk.Linear(2)(S), env, random_seed=0)
    s, _ = env.reset(seed=0)
    assert q(s).shape == (2,)
