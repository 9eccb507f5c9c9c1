"""What all policy objectives share: regularizers, function states, the optimizer, errors."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.policy_objectives import DeterministicPG, PolicyObjective, PPOClip, SoftPG, VanillaPG
from coax.regularizers import EntropyRegularizer, KLDivRegularizer, LearnedTemperature

from . import reference as ref

SGD = optax.sgd(1.0)
ZEROS = np.zeros(ref.B, np.float32)


def policy(discrete=True, seed=3):
    func, env = (ref.categorical, ref.DISCRETE) if discrete else (ref.gaussian, ref.BOX)
    return coax.Policy(func, env, random_seed=seed)


# --- regularizers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discrete", [True, False])
def test_the_entropy_is_differentiated(discrete):
    pi, tb = policy(discrete), ref.batch(discrete=discrete)

    def objective(params):
        return 0.3 * ref.mean(tb, [ref.entropy(params, s) for s, *_ in ref.rows_of(tb)])

    updater = VanillaPG(pi, SGD, EntropyRegularizer(pi, beta=0.3))
    grads, _, metrics = updater.grads_and_metrics(tb, ZEROS)
    ref.assert_grads(grads, objective, ref.params_of(pi))
    np.testing.assert_allclose(metrics["VanillaPG/loss"], -objective(ref.params_of(pi)), rtol=1e-5)
    np.testing.assert_allclose(metrics["VanillaPG/loss_bare"], 0, atol=1e-7)
    mean = np.mean([ref.entropy(ref.params_of(pi), s) for s, *_ in ref.rows_of(tb)])
    np.testing.assert_allclose(metrics["VanillaPG/EntropyRegularizer/entropy"], mean, rtol=1e-5)
    np.testing.assert_allclose(metrics["VanillaPG/EntropyRegularizer/beta"], 0.3, rtol=1e-6)


def test_the_loss_is_what_was_and_the_regularizer():
    pi, tb, adv = policy(), ref.batch(), np.linspace(-1, 1, ref.B)
    plain = VanillaPG(pi, SGD).grads_and_metrics(tb, adv)
    term = VanillaPG(pi, SGD, KLDivRegularizer(pi, beta=0.7)).grads_and_metrics(tb, ZEROS)
    both = VanillaPG(pi, SGD, KLDivRegularizer(pi, beta=0.7)).grads_and_metrics(tb, adv)
    np.testing.assert_allclose(both[0]["~"]["w"], plain[0]["~"]["w"] + term[0]["~"]["w"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        both[2]["VanillaPG/loss"], plain[2]["VanillaPG/loss"] + term[2]["VanillaPG/loss"], rtol=1e-5
    )
    np.testing.assert_allclose(both[2]["VanillaPG/loss_bare"], plain[2]["VanillaPG/loss"], rtol=1e-6)

    def kl(params):  # from the uniform law: log n - entropy
        return -0.7 * ref.mean(tb, [np.log(ref.N) - ref.entropy(params, s) for s, *_ in ref.rows_of(tb)])

    ref.assert_grads(term[0], kl, ref.params_of(pi))


def test_a_regularizer_of_a_copy_looks_at_the_policy_that_learns():
    pi, tb = policy(), ref.batch()
    other = policy(seed=9)  # another policy with the same forward pass
    expected = VanillaPG(pi, SGD, EntropyRegularizer(pi, beta=0.3)).grads_and_metrics(tb, ZEROS)
    got = VanillaPG(pi, SGD, EntropyRegularizer(other, beta=0.3)).grads_and_metrics(tb, ZEROS)
    np.testing.assert_allclose(got[0]["~"]["w"], expected[0]["~"]["w"], rtol=1e-6)
    assert abs(expected[0]["~"]["w"]).max() > 1e-3


def test_the_entropy_takes_no_pass_of_its_own():
    pi, tb = policy(), ref.batch()
    updaters = [VanillaPG(pi, SGD, regularizer) for regularizer in (None, EntropyRegularizer(pi, beta=0.3))]
    passes = []
    for updater in updaters:
        init, apply = coax.transform(lambda updater=updater: updater.update(tb, ZEROS), over=updater)
        passes.append(str(jax.make_jaxpr(apply)(init(jax.random.key(0)))).count("dot_general"))
    assert passes == [2, 2]  # forth, and back to the weights


def test_the_entropy_is_that_of_the_policy_when_it_does_not_learn():
    pi = coax.Policy(lambda S, is_training: {"logits": is_training * ref.categorical(S, True)["logits"]}, ref.DISCRETE)
    metrics = VanillaPG(pi, SGD, EntropyRegularizer(pi, beta=0.3)).update(ref.batch(), ZEROS)
    # all actions are equally likely then
    np.testing.assert_allclose(metrics["VanillaPG/EntropyRegularizer/entropy"], np.log(ref.N), rtol=1e-6)


def test_beta_may_be_set_and_may_learn():
    pi, tb = policy(), ref.batch()
    regularizer = EntropyRegularizer(pi, beta=0.5)
    updater = VanillaPG(pi, optax.sgd(0.0), regularizer)
    one = float(updater.update(tb, ZEROS)["VanillaPG/loss"])
    regularizer.beta = 1.5
    assert float(updater.update(tb, ZEROS)["VanillaPG/loss"]) == pytest.approx(3 * one, rel=1e-5)
    assert updater.hyperparams["regularizer"]["beta"] == 1.5
    temperature = LearnedTemperature(pi, initial=0.5)
    updater = VanillaPG(pi, optax.sgd(0.0), EntropyRegularizer(pi, beta=temperature))
    assert float(updater.update(tb, ZEROS)["VanillaPG/loss"]) == pytest.approx(one, rel=1e-5)
    temperature.value = 1.0
    assert float(updater.update(tb, ZEROS)["VanillaPG/loss"]) == pytest.approx(2 * one, rel=1e-5)


def test_regularizers_that_do_not_fit():
    pi = policy()
    with pytest.raises(TypeError, match=r"VanillaPG: expected a coax.regularizers.Regularizer, got float"):
        VanillaPG(pi, None, 0.1)
    stranger = coax.Policy(lambda S, is_training: {"logits": hk.Linear(ref.N)(S)}, ref.DISCRETE)
    with pytest.raises(ValueError, match=r"VanillaPG: expected a regularizer of pi itself, got one of another Policy"):
        VanillaPG(pi, None, EntropyRegularizer(stranger))


# --- states -----------------------------------------------------------------------------------------------------------


def batch_norm(S, is_training):
    S = hk.BatchNorm(True, True, decay_rate=0.9)(S, is_training)
    return {"logits": hk.Linear(ref.N)(S)}


@pytest.mark.gate
def test_the_function_state_is_that_of_training():
    pi, tb, adv = coax.Policy(batch_norm, ref.DISCRETE, random_seed=1), ref.batch(), np.linspace(-1, 1, ref.B)
    _, function_state, _ = VanillaPG(pi, SGD).grads_and_metrics(tb, adv)
    mean = next(x["average"] for path, x in function_state.items() if "mean" in path)
    # after one more update the averages, corrected for their start, lean towards the batch
    before = next(x["hidden"] for path, x in pi.function_state.items() if "mean" in path)
    hidden = next(x["hidden"] for path, x in function_state.items() if "mean" in path)
    np.testing.assert_allclose(hidden, 0.9 * before + 0.1 * tb.S.mean(axis=0, keepdims=True), rtol=1e-4, atol=1e-6)
    assert mean.shape == before.shape
    for regularizer in (None, EntropyRegularizer(pi, beta=1.0)):
        updater = VanillaPG(pi.copy(), SGD, regularizer and EntropyRegularizer(pi, beta=1.0))
        updater.update(tb, adv)
        new = next(x["hidden"] for path, x in updater.pi.function_state.items() if "mean" in path)
        np.testing.assert_allclose(new, hidden, rtol=1e-5)


def test_gradients_that_are_not_finite_leave_the_policy_alone():
    pi, tb = policy(), ref.batch()
    updater = VanillaPG(pi, optax.adam(0.1))
    adv = np.where(np.arange(ref.B) == 3, np.inf, 1.0)
    before, optimizer_state = ref.params_of(pi)["w"], updater.optimizer_state
    with pytest.raises(RuntimeError, match=r"VanillaPG.*'w'"):
        updater.update(tb, adv, wait=True)
    np.testing.assert_array_equal(ref.params_of(pi)["w"], before)
    jax.tree.map(np.testing.assert_array_equal, updater.optimizer_state, optimizer_state)
    updater.update(tb, np.ones(ref.B), wait=True)
    # a first step of Adam has the length of its rate
    step = np.abs(ref.params_of(pi)["w"] - before)
    np.testing.assert_allclose(step, 0.1, rtol=1e-3)


def test_an_action_that_the_policy_excludes():
    env, tb = ref.DISCRETE, ref.batch()
    excluding = lambda S, is_training: {"logits": ref.categorical(S, is_training)["logits"].at[:, 0].set(-jnp.inf)}
    pi = coax.Policy(excluding, env, random_seed=1)
    assert (tb.A == 0).any()
    with pytest.raises(RuntimeError, match="An action that the policy excludes has no gradient"):
        VanillaPG(pi).update(tb, np.ones(ref.B), wait=True)


def test_grads_may_be_applied_by_hand():
    pi, tb, adv = policy(), ref.batch(), np.linspace(-1, 1, ref.B)
    twin = pi.copy(deep=True)
    one, two = VanillaPG(pi, optax.adam(0.1)), VanillaPG(twin, optax.adam(0.1))
    one.update(tb, adv)
    grads, function_state, _ = two.grads_and_metrics(tb, adv)
    two.apply_grads(grads, function_state)
    np.testing.assert_allclose(ref.params_of(pi)["w"], ref.params_of(twin)["w"], rtol=1e-6)


def test_the_optimizer_may_be_replaced():
    pi, tb, adv = policy(), ref.batch(), np.linspace(-1, 1, ref.B)
    updater = VanillaPG(pi, optax.sgd(0.1))
    updater.optimizer = optax.sgd(0.5)
    before, grads = ref.params_of(pi)["w"], updater.grads_and_metrics(tb, adv)[0]["~"]["w"]
    updater.update(tb, adv)
    np.testing.assert_allclose(ref.params_of(pi)["w"], before - 0.5 * np.asarray(grads), rtol=1e-5)


def test_the_parts():
    pi = policy()
    regularizer = EntropyRegularizer(pi)
    updater = PPOClip(pi, None, regularizer, 0.3)
    assert updater.pi is pi
    assert updater.regularizer is regularizer
    assert updater.children == (pi, regularizer)
    assert isinstance(updater, PolicyObjective)
    assert updater.normalize_advantage is False
    with pytest.raises(AttributeError, match="pi"):
        updater.pi = pi
    with pytest.raises(TypeError, match=r"VanillaPG: expected pi to be a coax.Policy, got V"):
        VanillaPG(coax.V(lambda S, is_training: hk.Linear(1)(S)[:, 0], ref.DISCRETE))


@pytest.mark.gate
@pytest.mark.parametrize("name", ["DeterministicPG", "SoftPG", "VanillaPG"])
def test_inside_a_compiled_function(name):
    pi = policy()
    q = coax.Q(ref.q_type1, ref.DISCRETE, random_seed=1)
    make = {
        "DeterministicPG": lambda pi: DeterministicPG(pi, q, optax.adam(0.1)),
        "SoftPG": lambda pi: SoftPG(pi, [q], optax.adam(0.1)),
        "VanillaPG": lambda pi: VanillaPG(pi, optax.adam(0.1), EntropyRegularizer(pi, beta=0.1)),
    }[name]
    tb = ref.batch(extra_info={"Adv": np.linspace(-1, 1, ref.B).astype(np.float32)})
    twin = pi.copy(deep=True)
    eager, lifted = make(pi), make(twin)
    update = coax.jit(lifted.update, over=lifted)
    for _ in range(3):
        a, b = eager.update(tb), update(tb)
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ref.params_of(pi)["w"], ref.params_of(twin)["w"], rtol=1e-5)


@pytest.mark.gate
def test_applying_gradients_renews_the_random_numbers():
    # a sample of a wide policy: two steps that change nothing see two samples
    pi = policy(discrete=False)
    q = coax.Q(ref.q_box, ref.BOX, random_seed=1)
    tb, updater = ref.batch(discrete=False), SoftPG(pi, [q])
    found = []
    for _ in range(3):
        grads, function_state, metrics = updater.grads_and_metrics(tb)
        updater.apply_grads(jax.tree.map(jnp.zeros_like, grads), function_state)
        found.append(float(metrics["SoftPG/loss"]))
    assert len(set(found)) == 3


@pytest.mark.parametrize("name", ["target_func", "objective_func"])
def test_methods_that_nothing_calls_any_more(name):
    with pytest.raises(TypeError, match=rf"Mine.{name}: expected no such method, because nothing calls it"):
        type("Mine", (VanillaPG,), {name: lambda *args: None})


def test_numbers_that_it_was_not_made_with():
    with pytest.raises(AttributeError, match=r"PPOClip was made without dual_clip.*Fix: make one with it"):
        PPOClip(policy()).dual_clip = 3.0
