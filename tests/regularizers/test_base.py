"""The base of the regularizers, by a hand-written one, and its effect on TD targets."""

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.regularizers import Regularizer
from coax.td_learning import QLearning, Sarsa, SimpleTD
from coax.value_losses import mse
from coax.value_transforms import LogTransform

from ..td_learning import reference as ref

TEMPERATURE = 0.5


class First(Regularizer):
    """Beta times the logit of the first action: a term that anybody can compute."""

    def __init__(self, f, beta=0.3):
        super().__init__(f, beta=beta)

    def function(self, dist_params, beta):
        return beta * dist_params["logits"][:, 0]

    def metrics_func(self, dist_params, beta):
        return {"First/beta": beta, "First/logit": dist_params["logits"][:, 0].mean()}


class Two(Regularizer):
    """Numbers of one's own."""

    alpha = coax.Number()

    def __init__(self, f, alpha=2.0):
        super().__init__(f, alpha=alpha)

    def function(self, dist_params, alpha):
        return alpha * jnp.ones(len(dist_params["logits"]))

    def metrics_func(self, dist_params, alpha):
        return {"Two/alpha": alpha}


class Undeclared(Two):
    def __init__(self, f):
        Regularizer.__init__(self, f, gamma=1.0)


def policy(seed=3):
    return coax.BoltzmannPolicy(coax.Q(ref.type2, ref.ENV, random_seed=seed), TEMPERATURE)


def first_logit(pi, S):
    return np.tanh(np.asarray(S, float) @ ref.weights_of(pi.q))[:, 0] / TEMPERATURE


# --- by itself --------------------------------------------------------------------------------------------------------


def test_batch_eval_by_hand():
    pi, tb = policy(), ref.batch()
    regularizer = First(pi)
    values, metrics = regularizer.batch_eval(
        pi.params, regularizer.hyperparams, pi.function_state, jax.random.key(0), tb
    )
    want = first_logit(pi, tb.S)  # at S, not at S_next
    np.testing.assert_allclose(values, 0.3 * want, rtol=1e-5)
    np.testing.assert_allclose(metrics["First/logit"], want.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["First/beta"], 0.3, rtol=1e-6)


def test_what_it_is_made_of():
    pi = policy()
    regularizer = First(pi, 0.7)
    assert regularizer.f is pi
    assert regularizer.children == (pi,)
    assert regularizer.beta == pytest.approx(0.7)
    regularizer.beta = 0.1
    assert regularizer.hyperparams == {"beta": pytest.approx(0.1)}
    assert regularizer.state.keys() == {"beta"}
    with pytest.raises(AttributeError):
        regularizer.f = pi


def test_numbers_of_ones_own():
    regularizer = Two(policy())
    assert regularizer.alpha == 2
    assert not hasattr(regularizer, "beta")
    with pytest.raises(AttributeError, match="Two was made without beta"):
        regularizer.beta = 1.0
    with pytest.raises(TypeError, match=r"Two.alpha: expected a number, got 'x'"):
        regularizer.alpha = "x"
    with pytest.raises(TypeError, match=r"expected gamma to be declared.*Fix: write gamma = coax\.Number\(\)"):
        Undeclared(policy())


@pytest.mark.parametrize("wrong", [None, coax.Q(ref.type2, ref.ENV), coax.RandomPolicy(ref.ENV)])
def test_not_a_distribution(wrong):
    with pytest.raises(TypeError, match=r"First: expected a function with distribution parameters, got .*Fix:"):
        First(wrong)


# --- in a target ------------------------------------------------------------------------------------------------------


def wanted(q, pi, tb, beta, loss="huber", f=lambda x: x, f_inv=lambda x: x):
    """The term is taken off the value at S_next, in the original space, so that In scales it and a 0 removes it."""
    w = ref.weights_of(q)
    v_next = ref.bootstrap_value("QLearning", w, w, tb, f_inv)
    return ref.update(w, tb, v_next - beta * first_logit(pi, tb.S_next), loss, f)


@pytest.mark.parametrize("transform", [None, LogTransform(2.0)])
def test_effect_on_the_target(transform):
    q, pi, tb = coax.Q(ref.type2, ref.ENV, value_transform=transform, random_seed=1), policy(), ref.batch()
    updater = QLearning(q, optimizer=optax.sgd(0.1), loss_function=mse, policy_regularizer=First(pi))
    transforms = () if transform is None else (ref.log_transform, ref.exp_transform)
    want = wanted(q, pi, tb, 0.3, "mse", *transforms)
    metrics, td_error = updater.update(tb, return_td_error=True)
    np.testing.assert_allclose(td_error, want["td_error"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ref.weights_of(q), want["w"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["QLearning/First/beta"], 0.3, rtol=1e-6)
    logits = first_logit(pi, tb.S_next)[tb.In != 0]  # where an episode ended there is no next state
    np.testing.assert_allclose(metrics["QLearning/First/logit"], logits.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["QLearning/loss"], want["metrics"]["loss"], rtol=1e-4)


def test_nothing_where_the_episode_ended():
    q, tb = coax.Q(ref.type2, ref.ENV, random_seed=1), ref.batch(In=np.zeros(ref.B, np.float32))
    with_term = QLearning(q, policy_regularizer=First(policy(), beta=1e6)).td_error(tb)
    np.testing.assert_allclose(with_term, QLearning(q).td_error(tb), rtol=1e-6)


def test_rows_of_weight_zero_do_not_count_in_what_is_reported():
    pi, alive = policy(), np.array([1, 3, 4])
    W = np.isin(np.arange(ref.B), alive).astype(np.float32)
    tb = ref.batch(W=W)
    tb.S_next[W == 0] = np.nan
    updater = QLearning(coax.Q(ref.type2, ref.ENV), policy_regularizer=First(pi))
    want = first_logit(pi, tb.S_next[[3]]).mean()  # the episode ended in the other two
    np.testing.assert_allclose(updater.update(tb, wait=True)["QLearning/First/logit"], want, rtol=1e-5)


@pytest.mark.parametrize("how", ["python", "compiled"])
def test_setting_beta_takes_effect_and_compiles_nothing(how):
    q, pi, tb = coax.Q(ref.type2, ref.ENV, random_seed=1), policy(), ref.batch()
    regularizer = First(pi)
    updater = QLearning(q, policy_regularizer=regularizer)
    traces = []
    original = First.function

    def counted(self, dist_params, beta):
        traces.append(1)
        return original(self, dist_params, beta)

    First.function = counted
    try:
        td_error = updater.td_error if how == "python" else coax.jit(lambda tb: updater.td_error(tb), over=updater)
        for beta in (0.3, 5.0, 0.0):
            regularizer.beta = beta
            np.testing.assert_allclose(td_error(tb), wanted(q, pi, tb, beta)["td_error"], rtol=1e-4, atol=1e-5)
        assert len(traces) == 1
    finally:
        First.function = original


def test_it_sees_the_policy_of_now():
    q = coax.Q(ref.type2, ref.ENV, random_seed=1)
    pi, tb = coax.BoltzmannPolicy(q, TEMPERATURE), ref.batch()
    updater = QLearning(q, policy_regularizer=First(pi), optimizer=optax.sgd(0.1))
    for _ in range(3):
        want = wanted(q, pi, tb, 0.3)
        updater.update(tb)
        np.testing.assert_allclose(ref.weights_of(q), want["w"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [Sarsa, SimpleTD])
def test_other_updaters(cls):
    make, func = (coax.Q, ref.type2) if cls is Sarsa else (coax.V, ref.state_value)
    f, pi, tb = make(func, ref.ENV, random_seed=1), policy(), ref.batch()
    w = ref.weights_of(f)
    v_next = ref.bootstrap_value(cls.__name__, w, w, tb) - 0.3 * first_logit(pi, tb.S_next)
    got = cls(f, loss_function=mse, policy_regularizer=First(pi)).td_error(tb)
    np.testing.assert_allclose(got, ref.update(w, tb, v_next, "mse")["td_error"], rtol=1e-4, atol=1e-5)


class AsBefore(Regularizer):
    """As a script for 0.1.13 would write it: beta is set after the base knows the function."""

    def __init__(self, f, beta=0.3):
        super().__init__(f)
        self.beta = beta

    def function(self, dist_params, beta):
        return beta * dist_params["logits"][:, 0]

    def metrics_func(self, dist_params, beta):
        return {"AsBefore/beta": beta}


def test_beta_may_be_set_after_the_base_was_made():
    pi, tb = policy(), ref.batch()
    regularizer = AsBefore(pi, 0.7)
    v = coax.V(ref.state_value, ref.ENV, random_seed=1)
    with_term = SimpleTD(v, optimizer=optax.sgd(0.0), loss_function=mse, policy_regularizer=regularizer)
    plain = np.asarray(SimpleTD(v, optimizer=optax.sgd(0.0), loss_function=mse).td_error(tb))
    for beta in (0.7, 0.2):
        regularizer.beta = beta
        np.testing.assert_allclose(
            with_term.td_error(tb) - plain, -tb.In * beta * first_logit(pi, tb.S_next), atol=1e-5
        )


def test_what_it_does_not_look_at_may_be_anything():
    tb = ref.batch(extra_info={"name": np.array(["x"] * ref.B)})
    metrics = QLearning(coax.Q(ref.type2, ref.ENV, random_seed=1), policy_regularizer=First(policy())).update(tb)
    assert np.isfinite(metrics["QLearning/loss"])


def test_a_policy_of_another_environment():
    other = type(
        "Env", (), {"observation_space": gymnasium.spaces.Box(-1, 1, (5,)), "action_space": ref.ENV.action_space}
    )
    stranger = coax.Policy(lambda S, is_training: {"logits": hk.Linear(ref.N)(S)}, other)
    with pytest.raises(ValueError, match="QLearning: expected policy_regularizer to have the observation_space"):
        QLearning(coax.Q(ref.type2, ref.ENV, random_seed=1), policy_regularizer=First(stranger))
