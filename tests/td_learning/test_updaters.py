"""What the updaters share: rows that do not count, gradients that are not finite, attributes, errors."""

import types

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.errors import StateError
from coax.td_learning import DoubleQLearning, ExpectedSarsa, QLearning, Sarsa, SimpleTD, SoftQLearning
from coax.value_losses import huber, mse

from . import reference as ref

SGD = optax.sgd(0.1)
BOX_ENV = types.SimpleNamespace(
    observation_space=ref.ENV.observation_space, action_space=gymnasium.spaces.Box(-1, 1, (2,))
)
WIDE_ENV = types.SimpleNamespace(
    observation_space=gymnasium.spaces.Box(-20, 20, (ref.OBS,)), action_space=ref.ENV.action_space
)
ALIVE = np.array([1, 3, 4, 6])


def of_box_actions(S, A, is_training):
    return jnp.sum(hk.Linear(2)(S) * A, axis=-1)


def with_batch_norm(S, is_training):
    return hk.Linear(ref.N)(hk.BatchNorm(True, True, 0.9)(S, is_training))


def with_dropout(S, is_training):
    S = hk.dropout(hk.next_rng_key(), 0.5, S) if is_training else S
    return hk.Linear(ref.N)(S)


def q_of(func=ref.type2, seed=1, **kwargs):
    return coax.Q(func, ref.ENV, random_seed=seed, **kwargs)


def snapshot(*objs):
    """A copy of all states on the host."""
    as_data = lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return jax.tree.map(lambda x: np.array(as_data(x)), [obj.state for obj in objs])


def assert_equal(a, b, **kwargs):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **(kwargs or {"rtol": 0})), a, b)


# --- rows of weight 0 -------------------------------------------------------------------------------------------------


def spoiled(tb, dead, value):
    """The same batch with rows of weight 0 that hold nothing but `value`."""
    W = np.ones(ref.B, np.float32)
    W[dead] = 0
    tb = tb.copy()
    for name in ("S", "S_next", "Rn", "In", "logP"):
        field = getattr(tb, name).copy()
        field[dead] = value
        setattr(tb, name, field)
    tb.W = W
    return tb


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30], ids=str)
@pytest.mark.parametrize("func", [ref.type1, ref.type2, with_batch_norm])
def test_rows_of_weight_zero_do_not_count(func, value):
    tb = ref.batch()
    dead = np.setdiff1d(np.arange(ref.B), ALIVE)
    results = []
    for rows in (ref.rows_of(tb, ALIVE), spoiled(tb, dead, value)):
        q = q_of(func)
        updater = QLearning(q, None, q.copy(), optimizer=optax.adam(0.1))
        for _ in range(3):
            metrics, td_error = updater.update(rows, return_td_error=True, wait=True)
        results.append((dict(metrics), q.params, q.function_state, updater.optimizer_state))
        last = td_error
    assert_equal(*results, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(last)[dead], 0)


@pytest.mark.parametrize(
    "optimizer", [SGD, optax.adam(0.1), optax.sgd(0.1, momentum=0.9)], ids=["sgd", "adam", "heavy"]
)
def test_a_batch_of_only_such_rows_changes_nothing(optimizer):
    q = q_of(with_batch_norm)
    updater = QLearning(q, optimizer=optimizer)
    updater.update(ref.batch())
    before = snapshot(q, updater)
    metrics, td_error = updater.update(spoiled(ref.batch(), np.arange(ref.B), np.nan), return_td_error=True, wait=True)
    assert_equal(snapshot(q, updater), before)
    assert all(value == 0 for value in metrics.values())
    np.testing.assert_array_equal(td_error, 0)


def test_a_batch_of_only_such_rows_raises_nothing():
    def root(S, is_training):
        return jnp.sqrt(S @ hk.get_parameter("w", (ref.OBS, ref.N), init=jnp.ones))  # its slope at 0 is infinite

    q = q_of(root)
    updater = QLearning(q, optimizer=optax.adam(0.1))
    before = snapshot(q, updater)
    updater.update(ref.batch(W=np.zeros(ref.B, np.float32)), wait=True)
    assert_equal(snapshot(q, updater), before)


def test_batch_statistics_by_hand():
    q = q_of(with_batch_norm)
    tb = ref.batch()
    assert not np.any(q.function_state["batch_norm/~/mean_ema"]["hidden"])
    tb.W = np.isin(np.arange(ref.B), ALIVE).astype(np.float32)
    QLearning(q, optimizer=SGD).update(tb)
    # 0.9 * 0 + 0.1 * mean
    want = 0.1 * tb.S[ALIVE].mean(axis=0)
    np.testing.assert_allclose(q.function_state["batch_norm/~/mean_ema"]["hidden"][0], want, rtol=1e-5)


def test_td_error_leaves_the_batch_statistics_alone():
    q = q_of(with_batch_norm)
    updater = QLearning(q)
    before = snapshot(q, updater)
    updater.td_error(ref.batch())
    updater.grads_and_metrics(ref.batch())
    assert_equal(snapshot(q, updater), before)


# --- gradients that are not finite ------------------------------------------------------------------------------------


def bad_batch():
    Rn = ref.batch().Rn.copy()
    Rn[2] = np.nan
    return ref.batch(Rn=Rn)


MESSAGE = r"QLearning: the gradient of params\['~'\]\['w'\] was not finite"


def test_not_finite_gradients_change_nothing_and_raise_later():
    q = q_of()
    updater = QLearning(q, optimizer=optax.adam(0.1))
    updater.update(ref.batch())
    before = snapshot(q)[0], jax.tree.map(np.array, updater.optimizer_state)
    metrics = updater.update(bad_batch())
    assert np.isnan(metrics["QLearning/loss"])  # reading it waits, so that the next call knows
    assert_equal((snapshot(q)[0], updater.optimizer_state), before)
    with pytest.raises(RuntimeError, match=MESSAGE):
        updater.update(ref.batch())
    assert_equal((snapshot(q)[0], updater.optimizer_state), before)
    updater.update(ref.batch(), wait=True)  # the flag is cleared
    assert not np.array_equal(q.params["~"]["w"], before[0]["params"]["~"]["w"])


@pytest.mark.parametrize("call", ["td_error", "grads_and_metrics"])
def test_any_call_raises(call):
    updater = QLearning(q_of())
    jax.block_until_ready(updater.update(bad_batch()).values_array)
    with pytest.raises(RuntimeError, match=MESSAGE):
        getattr(updater, call)(ref.batch())


def test_waiting_raises_at_once():
    q = q_of(with_batch_norm)
    updater = QLearning(q)
    before = snapshot(q)
    with pytest.raises(RuntimeError, match=r"QLearning: the gradient of params.* Fix: "):
        updater.update(bad_batch(), wait=True)
    assert_equal(snapshot(q), before)  # batch statistics too
    updater.update(ref.batch(), wait=True)


def test_the_bad_leaf_is_named():
    def func(S, is_training):
        return hk.Linear(ref.N, name="fine")(S) + jnp.sqrt(hk.get_parameter("rough", [], init=jnp.zeros) ** 2)

    updater = QLearning(q_of(func))  # the slope of a root at 0 is infinite
    with pytest.raises(RuntimeError, match=r"params\['~'\]\['rough'\]"):
        updater.update(ref.batch(), wait=True)


def test_not_finite_when_compiled():
    q = q_of()
    updater = QLearning(q, optimizer=SGD)
    learn = coax.jit(lambda tb: updater.update(tb), over=updater)
    before = snapshot(q)
    jax.block_until_ready(learn(bad_batch()).values_array)
    assert_equal(snapshot(q), before)
    with pytest.raises(RuntimeError, match=MESSAGE):
        learn(ref.batch())
    learn(ref.batch())


def test_not_finite_for_one_of_several_seeds():
    q = q_of()
    updater = QLearning(q, optimizer=SGD)
    init, apply = coax.transform(lambda tb: updater.update(tb), over=updater)
    states = jax.vmap(init)(jax.random.split(jax.random.key(0), 3))
    coax.check(states)
    batches = jax.tree.map(lambda *xs: np.stack(xs), ref.batch(), bad_batch(), ref.batch())
    _, new = jax.jit(jax.vmap(apply))(states, batches)
    np.testing.assert_array_equal(np.asarray(new[updater]["not_finite"]) >= 0, [False, True, False])
    old_w, new_w = (np.asarray(s[q]["params"]["~"]["w"]) for s in (states, new))
    np.testing.assert_array_equal((old_w == new_w).all(axis=(1, 2)), [False, True, False])
    with pytest.raises(RuntimeError, match=MESSAGE + r".* for 1 of 3 seeds \(first: 1\)"):
        coax.check(new)


def test_apply_grads():
    q = q_of()
    updater = QLearning(q, optimizer=SGD)
    w = ref.weights_of(q)
    updater.apply_grads({"~": {"w": np.ones_like(w, np.float32)}}, q.function_state)
    np.testing.assert_allclose(ref.weights_of(q), w - 0.1, rtol=1e-6)
    updater.apply_grads({"~": {"w": np.full_like(w, np.inf, np.float32)}}, q.function_state)
    np.testing.assert_allclose(ref.weights_of(q), w - 0.1, rtol=1e-6)
    jax.block_until_ready(updater.state)
    with pytest.raises(RuntimeError, match=MESSAGE):
        updater.apply_grads({"~": {"w": np.ones_like(w, np.float32)}}, q.function_state)


def test_gradients_and_then_their_application_are_an_update():
    results = []
    for how in ("update", "apart"):
        q = q_of(with_batch_norm)
        updater = QLearning(q, optimizer=optax.adam(0.1))
        for seed in range(3):
            if how == "update":
                updater.update(ref.batch(seed))
            else:
                grads, function_state, _, _ = updater.grads_and_metrics(ref.batch(seed))
                updater.apply_grads(grads, function_state)
        results.append((q.params, q.function_state, updater.optimizer_state))
    assert_equal(*results, rtol=1e-5, atol=1e-6)


# --- randomness -------------------------------------------------------------------------------------------------------


def test_dropout_differs_from_update_to_update_and_follows_from_the_seed():
    def losses(seed):
        updater = QLearning(q_of(with_dropout, seed), optimizer=optax.sgd(0.0))
        return [float(updater.update(ref.batch())["QLearning/loss"]) for _ in range(5)]

    assert len(set(losses(1))) > 1
    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_without_randomness_the_stream_stands_still():
    updater = QLearning(q_of())
    before = int(updater.state["rng"].count)
    updater.update(ref.batch())
    assert int(updater.state["rng"].count) == before


# --- attributes -------------------------------------------------------------------------------------------------------


def test_what_it_is_made_of():
    q, v = q_of(), coax.V(ref.state_value, ref.ENV)
    q_targ, v_targ, pi = q.copy(), v.copy(), coax.EpsilonGreedy(q)
    assert SimpleTD(v).v is v
    assert SimpleTD(v).v_targ is v
    assert SimpleTD(v, v_targ).v_targ is v_targ
    updater = ExpectedSarsa(q, pi, q_targ, SGD, mse)
    assert (updater.q, updater.pi_targ, updater.q_targ) == (q, pi, q_targ)
    assert updater.optimizer is SGD
    assert updater.loss_function is mse
    assert updater.policy_regularizer is None
    assert set(updater.children) == {q, pi, q_targ}
    assert QLearning(q).loss_function is huber


@pytest.mark.parametrize(
    "name", ["q", "q_targ", "pi_targ", "loss_function", "policy_regularizer", "clip_weights", "rule"]
)
def test_what_is_compiled_in_cannot_be_set(name):
    updater = ExpectedSarsa(Q, PI, clip_weights=(0.1, 10))
    before = getattr(updater, name)
    with pytest.raises(AttributeError) as caught:
        setattr(updater, name, None)
    text = f"ExpectedSarsa.{name} is fixed at construction. Fix: make a new updater, with other arguments."
    assert str(caught.value) == text
    assert getattr(updater, name) is before
    assert updater.clip_weights == (0.1, 10)
    assert QLearning(Q).clip_weights is None
    with pytest.raises(AttributeError, match=r"SimpleTD\.v_targ is fixed at construction.*Fix: make a new updater"):
        SimpleTD(V).v_targ = V


def test_rng():
    updater = QLearning(q_of())
    draws = [float(jax.random.uniform(updater.rng)) for _ in range(3)]
    assert len(set(draws)) == 3


@pytest.mark.parametrize("how", ["python", "compiled"])
def test_setting_the_optimizer(how):
    q = q_of()
    updater = QLearning(q, optimizer=optax.sgd(0.0))
    learn = updater.update if how == "python" else coax.jit(lambda tb: updater.update(tb), over=updater)
    tb, w = ref.batch(), ref.weights_of(q)
    learn(tb)
    np.testing.assert_array_equal(ref.weights_of(q), w.astype(np.float32))
    want = ref.update(w, tb, ref.bootstrap_value("QLearning", w, w, tb), "huber")
    updater.optimizer = SGD
    learn(tb)
    np.testing.assert_allclose(ref.weights_of(q), want["w"], rtol=1e-4, atol=1e-6)


def test_the_optimizer_state_survives_another_learning_rate():
    q = q_of()
    updater = QLearning(q, optimizer=optax.adam(0.1))
    updater.update(ref.batch())
    before = jax.tree.map(np.array, updater.optimizer_state)
    updater.optimizer = optax.adam(0.01)
    assert_equal(updater.optimizer_state, before)


def test_an_optimizer_of_another_kind_is_refused():
    updater = QLearning(q_of(), optimizer=SGD)
    with pytest.raises(AttributeError, match=r"QLearning\.optimizer: the new optimizer's state does not fit.*Fix:"):
        updater.optimizer = optax.adam(0.1)
    assert updater.optimizer is SGD
    with pytest.raises(TypeError, match=r"QLearning: expected an optax optimizer, got float.*Fix:"):
        updater.optimizer = 0.1
    with pytest.raises(TypeError, match=r"QLearning\.state.*(missing|unexpected)"):
        updater.optimizer_state = optax.adam(0.1).init(updater.q.params)


def test_optimizers_that_look_at_the_parameters():
    # weight decay alone: w' = w - 0.1 * (grad + 0.5 w)
    q = q_of()
    tb, w = ref.batch(), ref.weights_of(q)
    want = ref.update(w, tb, ref.bootstrap_value("QLearning", w, w, tb), "huber")
    QLearning(q, optimizer=optax.chain(optax.add_decayed_weights(0.5), SGD)).update(tb)
    np.testing.assert_allclose(ref.weights_of(q), want["w"] - 0.05 * w, rtol=1e-4, atol=1e-6)


def test_two_updaters_of_one_function():
    """Each donates what it replaces; neither may lose what the other holds, nor may an optimizer that keeps params."""
    kept = optax.GradientTransformation(
        lambda params: {"start": params},
        lambda grads, state, params=None: (jax.tree.map(lambda g: -0.1 * g, grads), state),
    )
    q = q_of()
    w = ref.weights_of(q)
    first, second = QLearning(q, optimizer=kept), SoftQLearning(q, q.copy())
    for _ in range(2):
        second.update(ref.batch())
        first.update(ref.batch())
    np.testing.assert_allclose(first.optimizer_state["start"]["~"]["w"], w, rtol=1e-6)


def test_temperature_takes_effect_at_once():
    q = q_of()
    updater = SoftQLearning(q, optimizer=SGD, temperature=0.5)
    compiled = coax.jit(lambda tb: updater.td_error(tb), over=updater)
    tb, w = ref.batch(), ref.weights_of(q)
    for temperature in (0.5, 2.0):
        updater.temperature = temperature
        assert updater.temperature == temperature
        want = ref.update(w, tb, ref.bootstrap_value("SoftQLearning", w, w, tb, number=temperature), "huber")
        np.testing.assert_allclose(updater.td_error(tb), want["td_error"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(compiled(tb), want["td_error"], rtol=1e-4, atol=1e-5)


def test_one_compilation_for_copies():
    q = q_of()
    a, b = QLearning(q, None, q.copy(), SGD), QLearning(q_of(seed=5), None, q_of(seed=6), SGD)
    assert a.rule is b.rule
    assert a.rule is not DoubleQLearning(q, None, q.copy(), SGD).rule
    assert a.rule is not QLearning(q, None, None, SGD).rule


def test_pickling_continues_identically():
    q = q_of(with_dropout)
    updater = QLearning(q, None, q.copy(), optax.adam(0.1))
    updater.update(ref.batch())
    other = coax.utils.loads(coax.utils.dumps(updater))
    assert other.q is not q
    for u in (updater, other):
        u.update(ref.batch(1))
    assert_equal(snapshot(updater, q), snapshot(other, other.q))


# --- preprocessors ----------------------------------------------------------------------------------------------------


def numpy_only(rng, X):
    assert not isinstance(X, jax.core.Tracer)
    return np.tanh(np.asarray(X))


def traceable(rng, X):
    return jnp.tanh(X)


@pytest.mark.gate
def test_host_only_preprocessors_learn_the_same():
    results = []
    for preprocessor in (numpy_only, traceable):
        q = q_of(observation_preprocessor=preprocessor)
        q_targ = q.copy()
        updater = QLearning(q, None, q_targ, SGD)
        updater.update(ref.batch())
        results.append((q.params, updater.td_error(ref.batch(1))))
    assert_equal(*results, rtol=1e-5, atol=1e-6)
    updater = QLearning(q_of(observation_preprocessor=never_traced))
    learn = coax.jit(lambda tb: updater.update(tb), over=updater)
    with pytest.raises(StateError, match=r"observation_preprocessor <function never_traced.* cannot be traced.*Fix:"):
        learn(ref.batch())


def never_traced(rng, X):
    return np.tanh(np.asarray(X))


# --- errors -----------------------------------------------------------------------------------------------------------


Q, V = q_of(), coax.V(ref.state_value, ref.ENV)
Q_BOX = coax.Q(of_box_actions, BOX_ENV)
PI = coax.EpsilonGreedy(Q)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: SimpleTD(Q), TypeError, "SimpleTD: expected v to be a V, got Q"),
        (lambda: SimpleTD(V, Q), TypeError, "SimpleTD: expected v_targ to be a V, got Q"),
        (lambda: Sarsa(V), TypeError, "Sarsa: expected q to be a Q, got V"),
        (lambda: Sarsa(Q, V), TypeError, "Sarsa: expected q_targ to be a Q, got V"),
        (lambda: QLearning(Q, None, [Q, Q]), TypeError, "QLearning: expected q_targ to be a Q, got list"),
        (
            lambda: QLearning(Q, Q),
            TypeError,
            "QLearning: expected pi_targ to be a Policy, got Q. Fix: pass a policy, or None; a target network goes",
        ),
        (lambda: QLearning(Q_BOX), TypeError, "QLearning: expected pi_targ to be a Policy, got NoneType"),
        (lambda: DoubleQLearning(Q_BOX), TypeError, "DoubleQLearning: expected pi_targ to be a Policy, got NoneType"),
        (lambda: DoubleQLearning(Q, select_with="x"), ValueError, "select_with: expected 'q_targ' or 'q', got 'x'"),
        (lambda: ExpectedSarsa(Q, None), TypeError, "ExpectedSarsa: expected pi_targ to be a Policy, got NoneType"),
        (
            lambda: ExpectedSarsa(Q, coax.RandomPolicy(ref.ENV)),
            TypeError,
            "ExpectedSarsa: expected pi_targ to be a Policy, got RandomPolicy",
        ),
        (lambda: ExpectedSarsa(Q_BOX, PI), NotImplementedError, "ExpectedSarsa: expected Discrete actions, got Box"),
        (lambda: SoftQLearning(Q_BOX), NotImplementedError, "SoftQLearning: expected Discrete actions, got Box"),
        (lambda: SoftQLearning(Q, temperature=0.0), ValueError, "temperature: expected a number in (0, inf), got 0.0"),
        (lambda: SoftQLearning(Q, temperature="1"), TypeError, "SoftQLearning.temperature: expected a number, got '1'"),
        (lambda: QLearning(Q, optimizer="adam"), TypeError, "QLearning: expected an optax optimizer, got str"),
        (lambda: QLearning(Q, loss_function="mse"), TypeError, "QLearning: expected a loss function, got 'mse'"),
        (
            lambda: QLearning(Q, loss_function=optax.l2_loss),
            TypeError,
            "loss_function(y_true, y_pred) with arrays f32[2] it returned ShapeDtypeStruct(shape=(2,)",
        ),
        (
            lambda: QLearning(Q, loss_function=lambda y_true, y_pred: jnp.mean((y_true - y_pred) ** 2)),
            TypeError,
            "loss_function(y_true, y_pred, w) with arrays f32[2] it raised TypeError",
        ),
        (
            lambda: QLearning(Q, loss_function=lambda y_true, y_pred, w: jnp.mean(w * (y_true - y_pred) ** 2)),
            TypeError,
            "QLearning: expected loss_function(y_true, y_pred, w=None) -> scalar, got <function",
        ),
        (
            lambda: QLearning(Q, loss_function=lambda y_true, y_pred, w=1: w * (y_true - y_pred) ** 2),
            TypeError,
            "loss_function(y_true, y_pred) with arrays f32[2] it returned",
        ),
        (
            lambda: Sarsa(Q, Q_BOX),
            ValueError,
            "Sarsa: expected q_targ to have the action_space of what learns, Discrete(4), got Box",
        ),
        (
            lambda: ExpectedSarsa(Q, coax.EpsilonGreedy(coax.Q(ref.type2, WIDE_ENV))),
            ValueError,
            "ExpectedSarsa: expected pi_targ to have the observation_space of what learns, Box(-10.0, 10.0, (3,)",
        ),
        (
            lambda: SimpleTD(V, coax.V(ref.state_value, WIDE_ENV)),
            ValueError,
            "SimpleTD: expected v_targ to have the observation_space of what learns",
        ),
        (
            lambda: QLearning(Q, policy_regularizer=PI),
            TypeError,
            "QLearning: expected a coax.regularizers.Regularizer, got EpsilonGreedy",
        ),
    ],
)
def test_wrong_arguments(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)
    assert "Fix: " in str(caught.value)


@pytest.mark.parametrize("cls", [QLearning, DoubleQLearning])
def test_a_policy_that_is_not_used_is_a_warning(cls):
    with pytest.warns(UserWarning, match=f"{cls.__name__}: pi_targ is not used for Discrete actions"):
        cls(Q, PI)


@pytest.mark.parametrize("cls", [Sarsa, SimpleTD])
def test_box_actions(cls):
    tb = ref.batch(A=np.zeros((ref.B, 2), np.float32), A_next=np.zeros((ref.B, 2), np.float32))
    cls(Q_BOX if cls is Sarsa else V, optimizer=SGD).update(tb, wait=True)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"S_next": None}, "QLearning: expected S_next in the batch, got None"),
        ({"A": None}, "QLearning: expected A in the batch, got None"),
        ({"Rn": np.zeros((ref.B, 1), np.float32)}, "QLearning: expected one Rn per transition, got shape (7, 1)"),
        ({"In": np.zeros((ref.B, 2), np.float32)}, "QLearning: expected one In per transition, got shape (7, 2)"),
        ({"W": np.ones((ref.B, 1), np.float32)}, "QLearning: expected one W per transition, got shape (7, 1)"),
        (
            {"S": np.zeros((3, ref.OBS), np.float32)},
            "transition_batch.S: expected the batch size of Rn, 7, got length 3",
        ),
    ],
)
@pytest.mark.parametrize("call", ["update", "td_error", "grads_and_metrics"])
def test_wrong_batches(fields, text, call):
    before = snapshot(Q)
    with pytest.raises(ValueError) as caught:
        getattr(QLearning(Q), call)(ref.batch(**fields))
    assert text in str(caught.value)
    assert "Fix: " in str(caught.value)
    assert_equal(snapshot(Q)[0]["params"], before[0]["params"])


def test_not_a_batch():
    with pytest.raises(TypeError, match="transition_batch: expected a TransitionBatch, got dict"):
        QLearning(Q).update({"S": 1})


def test_sarsa_needs_the_next_action():
    with pytest.raises(ValueError, match=r"Sarsa: expected A_next in the batch, got None.*Fix:"):
        Sarsa(Q).update(ref.batch(A_next=None))
    logP_next = np.zeros(ref.B, np.float32)
    logP_next[2] = np.nan  # how a tracer marks a row that was truncated without a next action
    with pytest.raises(
        ValueError, match=r"Sarsa: expected the next action of every row .* got none for 1 of 7 rows .*2\)"
    ):
        Sarsa(Q).update(ref.batch(logP_next=logP_next))
    logP_next[:] = np.nan
    Sarsa(q_of()).update(ref.batch(logP_next=logP_next, In=np.zeros(ref.B, np.float32)), wait=True)
    QLearning(q_of()).update(ref.batch(logP_next=logP_next, A_next=None), wait=True)  # others do not care


@pytest.mark.parametrize("bounds", [(10, 0.1), (-1, 1), 0.5, (1, 2, 3), (float("nan"), 1)])
def test_weights_can_only_be_clipped_to_a_range(bounds):
    q = coax.Q(lambda S, is_training: hk.Linear(4)(S), gymnasium.make("FrozenLake-v1"))
    with pytest.raises(ValueError, match=r"QLearning: expected clip_weights=\(low, high\) with 0 <= low <= high, got"):
        coax.td_learning.QLearning(q, clip_weights=bounds)


def test_a_function_without_parameters_cannot_learn():
    q = coax.Q(lambda S, is_training: S[:, :4], gymnasium.make("FrozenLake-v1"))
    with pytest.raises(TypeError, match=r"QLearning: expected a function with parameters, got one without. Fix: "):
        coax.td_learning.QLearning(q)
