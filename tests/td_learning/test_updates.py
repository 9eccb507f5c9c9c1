"""Every updater, end to end, against a computation in NumPy with gradients by hand."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.reward_tracing import TransitionBatch
from coax.td_learning import DoubleQLearning, ExpectedSarsa, QLearning, Sarsa, SimpleTD, SoftQLearning
from coax.value_losses import huber, mse
from coax.value_transforms import LogTransform

from . import reference as ref

FUNCS = {"type1": ref.type1, "type2": ref.type2}
SGD = optax.sgd(0.1)
LOSSES = {"huber": None, "mse": mse, "linex": ref.linex}  # huber is the default
WEIGHTS = np.array([0.5, 2, 1, 30, 0.01, 1, 3], np.float32)
LOG = LogTransform(2.0)
KINDS = ("Sarsa", "ExpectedSarsa", "QLearning", "DoubleQLearning", "DoubleQLearning/q", "SoftQLearning")
NUMBERS = {"ExpectedSarsa": 0.3, "SoftQLearning": 0.5}


def linear(S, is_training):
    return S @ hk.get_parameter("w", (3, 4), init=jnp.zeros)


def updater_of(kind, q, q_targ, **kwargs):
    if kind == "SimpleTD":
        return SimpleTD(q, q_targ, **kwargs)
    if kind == "ExpectedSarsa":
        return ExpectedSarsa(q, coax.EpsilonGreedy(q, NUMBERS[kind]), q_targ, **kwargs)
    if kind == "SoftQLearning":
        return SoftQLearning(q, q_targ, temperature=NUMBERS[kind], **kwargs)
    if kind == "DoubleQLearning/q":
        return DoubleQLearning(q, None, q_targ, select_with="q", **kwargs)
    if kind == "Sarsa":
        return Sarsa(q, q_targ, **kwargs)
    return {"QLearning": QLearning, "DoubleQLearning": DoubleQLearning}[kind](q, None, q_targ, **kwargs)


def check(kind, func, *, target=False, transform=False, loss="mse", weights=None, clip_weights=None):
    tb = ref.batch() if weights is None else ref.batch(W=weights)
    make = coax.V if kind == "SimpleTD" else coax.Q
    q = make(func, ref.ENV, value_transform=LOG if transform else None, random_seed=1)
    q_targ = None
    if target:
        q_targ = q.copy()
        q_targ.params = make(func, ref.ENV, value_transform=LOG if transform else None, random_seed=2).params
    updater = updater_of(kind, q, q_targ, optimizer=SGD, loss_function=LOSSES[loss], clip_weights=clip_weights)
    w, w_targ = ref.weights_of(q), ref.weights_of(q if q_targ is None else q_targ)

    f, f_inv = (ref.log_transform, ref.exp_transform) if transform else (lambda x: x, lambda x: x)
    v_next = ref.bootstrap_value(kind, w, w_targ, tb, f_inv, NUMBERS.get(kind))
    clipped = None if clip_weights is None else np.clip(tb.W, *clip_weights)
    want = ref.update(w, tb, v_next, loss, f, clipped)
    close = lambda got, want: np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-6)

    grads, function_state, metrics, td_error = updater.grads_and_metrics(tb)
    assert function_state == {}
    close(grads["~"]["w"], want["grad"])
    close(td_error, want["td_error"])
    close(updater.td_error(tb), want["td_error"])
    name = kind.partition("/")[0]
    assert set(metrics) == {f"{name}/{key}" for key in want["metrics"]}
    for key, value in want["metrics"].items():
        close(metrics[f"{name}/{key}"], value)
    np.testing.assert_array_equal(ref.weights_of(q), w)  # so far nothing has learned

    updated, td_error = updater.update(tb, return_td_error=True)
    close(td_error, want["td_error"])
    assert {k: float(v) for k, v in updated.items()} == pytest.approx({k: float(v) for k, v in metrics.items()})
    close(ref.weights_of(q), want["w"])
    if target:
        np.testing.assert_array_equal(ref.weights_of(q_targ), w_targ)


@pytest.mark.parametrize("func", FUNCS.values(), ids=FUNCS)
@pytest.mark.parametrize("kind", KINDS)
def test_plain(kind, func):
    check(kind, func)


@pytest.mark.parametrize("func", FUNCS.values(), ids=FUNCS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gate
def test_with_everything(kind, func):
    check(kind, func, target=True, transform=True, loss="huber", weights=WEIGHTS)


@pytest.mark.parametrize(
    "options",
    [
        {"target": True},
        {"transform": True},
        {"loss": "huber"},
        {"loss": "linex", "weights": WEIGHTS},
        {"weights": WEIGHTS},
        {"weights": np.array([1, 0, 2, 0, 0, 1, 1], np.float32)},
        {"weights": np.array([1, 0, 2, 0, 0, 30, 1], np.float32), "clip_weights": (0.1, 10)},
    ],
    ids=["target", "transform", "huber", "linex", "weights", "dead rows", "clipped weights"],
)
def test_one_thing_at_a_time(options):
    check("QLearning", ref.type2, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"target": True}, {"target": True, "transform": True, "loss": "huber", "weights": WEIGHTS}],
    ids=["plain", "target", "everything"],
)
def test_simple_td(options):
    check("SimpleTD", ref.state_value, **options)


def test_two_value_transforms():
    """The output of the target goes through its own inverse, the target through the f of what learns."""
    first = TransitionBatch(
        S=np.array([[1, 0, 0]], np.float32),
        A=np.array([0]),
        logP=np.zeros(1, np.float32),
        Rn=np.array([2], np.float32),
        In=np.array([0.5], np.float32),
        S_next=np.array([[0, 1, 0]], np.float32),
        A_next=np.array([2]),
        logP_next=np.zeros(1, np.float32),
    )
    q = coax.Q(linear, ref.ENV, value_transform=(lambda x: 10 * x, lambda y: y / 10))
    q_targ = coax.Q(linear, ref.ENV, value_transform=(lambda x: x + 100, lambda y: y - 100))
    q.params = {"~": {"w": jnp.zeros((3, 4)).at[0, 0].set(7.0)}}
    q_targ.params = {"~": {"w": jnp.zeros((3, 4)).at[1].set(jnp.array([103.0, 101.0, 106.0, 90.0]))}}
    # values of the target at S_next: 3, 1, 6, -10; the target 10 * (2 + 0.5 * 6) = 50, the output 7
    for updater in (QLearning(q, None, q_targ, loss_function=mse), Sarsa(q, q_targ, loss_function=mse)):
        np.testing.assert_allclose(updater.td_error(first), [43.0], rtol=1e-6)
    # q itself at S_next: outputs 0, so it likes the first action best, worth 3 to q_targ: 10 * (2 + 0.5 * 3) - 7
    updater = DoubleQLearning(q, None, q_targ, select_with="q", loss_function=mse)
    np.testing.assert_allclose(updater.td_error(first), [28.0], rtol=1e-6)
    # the other way round: q_targ likes action 2, worth 0 / 10 to q: 10 * 2 - 7
    np.testing.assert_allclose(DoubleQLearning(q, None, q_targ, loss_function=mse).td_error(first), [13.0], rtol=1e-6)


@pytest.mark.gate
@pytest.mark.parametrize("start", [3, -2])
def test_actions_that_do_not_begin_at_zero(start):
    """The same batch in another numbering learns the same."""
    results = []
    for first in (0, start):
        env = type(ref.ENV)(
            observation_space=ref.ENV.observation_space,
            action_space=type(ref.ENV.action_space)(ref.N, start=first),
        )
        tb = ref.batch()
        tb.A, tb.A_next = tb.A + first, tb.A_next + first
        for func in FUNCS.values():
            q = coax.Q(func, env, random_seed=1)
            Sarsa(q, optimizer=SGD).update(tb)
            results.append(ref.weights_of(q))
    for result in results:
        np.testing.assert_allclose(result, results[0], rtol=1e-5)


def test_the_policy_may_be_another_one():
    """Its values come from its own q-function."""
    q, other = coax.Q(ref.type2, ref.ENV, random_seed=1), coax.Q(ref.type2, ref.ENV, random_seed=2)
    tb = ref.batch()
    S_next = np.asarray(tb.S_next, float)
    p = ref.softmax(np.tanh(S_next @ ref.weights_of(other)) / 0.5)
    v_next = (p * np.tanh(S_next @ ref.weights_of(q))).sum(axis=-1)
    want = ref.update(ref.weights_of(q), tb, v_next, "mse")
    updater = ExpectedSarsa(q, coax.BoltzmannPolicy(other, 0.5), optimizer=SGD, loss_function=mse)
    updater.update(tb)
    np.testing.assert_allclose(ref.weights_of(q), want["w"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["python", "compiled", "mapped"])
def test_many_updates(how):
    """Ten updates with a trailing target: the same in a Python loop, compiled, and as one of several seeds."""
    q = coax.Q(ref.type2, ref.ENV, random_seed=1)
    q_targ = q.copy()
    updater = QLearning(q, None, q_targ, optimizer=SGD)
    w, w_targ = ref.weights_of(q), ref.weights_of(q_targ)
    batches = [ref.batch(seed) for seed in range(10)]
    for tb in batches:
        w = ref.update(w, tb, ref.bootstrap_value("QLearning", w, w_targ, tb), "huber")["w"]
        w_targ = 0.9 * w_targ + 0.1 * w

    def learn(tb):
        metrics = updater.update(tb)
        q_targ.soft_update(q, 0.1)
        return metrics

    if how == "mapped":
        init, apply = coax.transform(learn, over=(updater, q_targ))
        one = init(jax.random.key(0), keep=(q, q_targ))
        states = jax.tree.map(lambda x: jnp.stack([x, x]), one)
        step = jax.jit(jax.vmap(apply, in_axes=(0, None)))
        for tb in batches:
            metrics, states = step(states, tb)
        coax.check(states)
        assert metrics["QLearning/loss"].shape == (2,)
        for i in range(2):
            np.testing.assert_allclose(states[q]["params"]["~"]["w"][i], w, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(states[q_targ]["params"]["~"]["w"][i], w_targ, rtol=1e-4, atol=1e-5)
    else:
        step = coax.jit(learn, over=(updater, q_targ)) if how == "compiled" else learn
        for tb in batches:
            step(tb)
        np.testing.assert_allclose(ref.weights_of(q), w, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ref.weights_of(q_targ), w_targ, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["QLearning", "SimpleTD"])
@pytest.mark.parametrize("how", ["python", "compiled"])
def test_the_td_error_of_the_target_network(kind, how):
    """The same target, compared with what the target network says of S and A."""
    make, func = (coax.V, ref.state_value) if kind == "SimpleTD" else (coax.Q, ref.type2)
    q, q_targ = (make(func, ref.ENV, value_transform=LOG, random_seed=seed) for seed in (1, 2))
    updater = updater_of(kind, q, q_targ, optimizer=optax.sgd(0.0))
    update = updater.update if how == "python" else coax.jit(lambda tb: updater.update(tb), over=updater)
    tb = ref.batch(W=np.where(np.arange(ref.B) == 2, 0, WEIGHTS).astype(np.float32))
    w, w_targ = ref.weights_of(q), ref.weights_of(q_targ)
    v_next = ref.bootstrap_value(kind, w, w_targ, tb, ref.exp_transform)
    want = ref.update(w_targ, tb, v_next, "huber", ref.log_transform)["metrics"]["td_error"]
    assert f"{kind}/td_error_targ" not in update(tb)
    updater.report_td_error_targ = True
    np.testing.assert_allclose(update(tb)[f"{kind}/td_error_targ"], want, rtol=1e-4, atol=1e-5)
    updater.report_td_error_targ = False
    assert f"{kind}/td_error_targ" not in update(tb)


def test_the_target_network_may_be_the_function_itself():
    updater = QLearning(coax.Q(ref.type2, ref.ENV))
    updater.report_td_error_targ = True
    metrics = updater.update(ref.batch())
    assert metrics["QLearning/td_error_targ"] == metrics["QLearning/td_error"] != 0


def test_the_default_optimizer_is_adam():
    # the first step of Adam is the learning rate times the sign of the gradient
    q = coax.Q(ref.type2, ref.ENV, random_seed=1)
    w, tb = ref.weights_of(q), ref.batch()
    want = ref.update(w, tb, ref.bootstrap_value("QLearning", w, w, tb), "huber")
    updater = QLearning(q)
    updater.update(tb)
    np.testing.assert_allclose(ref.weights_of(q), w - 1e-3 * np.sign(want["grad"]), atol=1e-6)
    assert updater.loss_function is huber
