"""The entropy along a transition: which states count, with which discount, and where it goes in a target."""

import types

import haiku as hk
import jax
import numpy as np
import optax
import pytest

import coax
from coax.policy_objectives import VanillaPG
from coax.regularizers import LearnedTemperature, NStepEntropyRegularizer
from coax.td_learning import SimpleTD
from coax.value_losses import mse
from tests.compilations import compilations

from ..policy_objectives import reference as ref

SGD = optax.sgd(0.0)
GAMMA, N_STEPS = 0.8, 3


def policy(discrete=True):
    func, env = (ref.categorical, ref.DISCRETE) if discrete else (ref.gaussian, ref.BOX)
    return coax.Policy(func, env, random_seed=3)


def observation(i):
    return np.random.default_rng((7, i)).normal(size=ref.OBS).astype(np.float32)


def traced(ends, discrete=True):
    """Transitions of n = 3 steps, and for each the states at the offsets 0, 1, ... that are part of its episode.

    `ends` says how each episode ends: pairs of its length, and whether it terminates.
    """
    tracer = coax.reward_tracing.NStep(N_STEPS, GAMMA, record_extra_info=True)
    batches, known, i = [], [], 0
    for length, terminates in ends:
        states = [observation(i + t) for t in range(length + 1)]
        i += length + 1
        for t in range(length):
            last = t == length - 1
            a = t % ref.N if discrete else np.full(2, 0.5 * t, np.float32)
            truncated = {"truncated": True, "s_next": states[-1]} if last and not terminates else {}
            truncated = truncated or ({"s_next": states[-1]} if last else {})
            tracer.add(states[t], a, 1.0, last and terminates, -0.1, **truncated)
        batches.append(tracer.flush())
        # nothing is chosen in a terminal state; in the last one of a truncated episode something is
        there = states[:-1] if terminates else states
        known += [there[t : t + N_STEPS + 1] for t in range(length)]
    return coax.reward_tracing.concatenate(batches), known


ENDS = [(6, True), (2, True), (5, False), (1, False)]


def terms(pi, known, offsets, beta=0.3, gamma=GAMMA):
    params = ref.params_of(pi)
    each = lambda states, n: gamma**n * ref.entropy(params, states[n].astype(float)) if n < len(states) else 0.0
    return np.array([-beta * sum(each(states, n) for n in offsets) for states in known])


@pytest.mark.gate
@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("offsets", [[0], [3], [0, 1, 2], [0, 2], (1, 3), range(1, 4), np.array([2])])
def test_the_states_of_the_episode_count(discrete, offsets):
    pi = policy(discrete)
    tb, known = traced(ENDS, discrete)
    regularizer = NStepEntropyRegularizer(pi, offsets, beta=0.3, gamma=GAMMA)
    values, metrics = regularizer.batch_eval(
        pi.params, regularizer.hyperparams, pi.function_state, jax.random.key(0), tb
    )
    np.testing.assert_allclose(values, terms(pi, known, offsets), rtol=1e-5, atol=1e-6)
    params = ref.params_of(pi)
    entropies = [ref.entropy(params, states[n].astype(float)) for states in known for n in offsets if n < len(states)]
    np.testing.assert_allclose(metrics["EntropyRegularizer/entropy"], np.mean(entropies), rtol=1e-5)
    np.testing.assert_allclose(metrics["EntropyRegularizer/beta"], 0.3, rtol=1e-6)
    assert regularizer.n == tuple(int(n) for n in offsets)


def test_valid_from_done_by_hand():
    dones = np.array([[False, False, True], [False, True, False], [True, False, False], [False, False, True]])
    want = [[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(NStepEntropyRegularizer.valid_from_done(dones), want)
    over = np.array([[False, True], [True, True], [True, True], [True, True]])
    for func in (NStepEntropyRegularizer.valid_from_done, jax.jit(NStepEntropyRegularizer.valid_from_done)):
        np.testing.assert_array_equal(func(over), [[1, 1], [1, 0], [0, 0], [0, 0]])


def state_value(S, is_training):
    return S @ hk.get_parameter("w", (ref.OBS,), init=hk.initializers.RandomNormal(0.7))


@pytest.mark.parametrize("offsets", [[3], range(1, 4), range(3)])
def test_in_a_target_it_is_a_part_of_the_return(offsets):
    pi, v = policy(), coax.V(state_value, ref.DISCRETE, random_seed=2)
    tb, known = traced(ENDS)
    regularizer = NStepEntropyRegularizer(pi, offsets, beta=0.3, gamma=GAMMA)
    w = ref.params_of(v)["w"]
    bonus = -terms(pi, known, offsets)
    want = tb.Rn + bonus + np.where(tb.In == 0, 0, tb.In * (tb.S_next @ w)) - tb.S @ w
    updater = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=regularizer)
    np.testing.assert_allclose(updater.td_error(tb), want, atol=1e-5)


def test_in_a_loss_it_is_differentiated_everywhere():
    pi = policy()
    tb, known = traced(ENDS)
    regularizer = NStepEntropyRegularizer(pi, range(3), beta=0.3, gamma=GAMMA)

    def objective(params):
        policy_like = types.SimpleNamespace(params={"~": params})
        return -terms(policy_like, known, range(3)).mean()

    grads, _, metrics = VanillaPG(pi, SGD, regularizer).grads_and_metrics(tb, np.zeros(len(tb.W)))
    ref.assert_grads(grads, objective, ref.params_of(pi))
    np.testing.assert_allclose(metrics["VanillaPG/loss"], -objective(ref.params_of(pi)), rtol=1e-5)


@pytest.mark.gate
def test_numbers_may_be_set():
    pi = policy()
    tb, known = traced(ENDS)
    regularizer = NStepEntropyRegularizer(pi, [0, 2])
    assert (regularizer.beta, regularizer.gamma) == (pytest.approx(0.001), pytest.approx(0.99))
    updater = VanillaPG(pi, SGD, regularizer)
    zeros = np.zeros(len(tb.W))
    updater.update(tb, zeros)
    regularizer.beta, regularizer.gamma = 2.0, 0.5
    want = terms(pi, known, [0, 2], 2.0, 0.5).mean()
    np.testing.assert_allclose(updater.update(tb, zeros)["VanillaPG/loss"], want, rtol=1e-5)
    with pytest.raises(ValueError, match="gamma"):
        regularizer.gamma = 1.5


def test_rows_of_weight_0_are_not_reported():
    pi = policy()
    tb, known = traced([(6, True)])
    dead = np.array([False, True, False, False, True, False])
    tb = ref.replace(tb, W=np.where(dead, 0, 1).astype(np.float32))
    metrics = VanillaPG(pi, SGD, NStepEntropyRegularizer(pi, [0, 1])).update(tb, np.zeros(6))
    params = ref.params_of(pi)
    alive = [states for states, out in zip(known, dead, strict=True) if not out]
    entropies = [ref.entropy(params, states[n].astype(float)) for states in alive for n in (0, 1) if n < len(states)]
    np.testing.assert_allclose(metrics["VanillaPG/EntropyRegularizer/entropy"], np.mean(entropies), rtol=1e-5)


def test_offsets_that_are_none():
    pi = policy()
    for n in (5, "5", [0.5], np.array([[1]]), {1, 2}):
        with pytest.raises(TypeError, match="n: expected a list, tuple, range or array of integers"):
            NStepEntropyRegularizer(pi, n)
    for n in ([], [-1], [1, 1]):
        with pytest.raises(ValueError, match="n: expected at least one offset, none negative and each once"):
            NStepEntropyRegularizer(pi, n)


def test_batches_that_do_not_say_what_comes():
    pi = policy()
    updater = VanillaPG(pi, SGD, NStepEntropyRegularizer(pi, [4]))
    tb, _ = traced(ENDS)
    with pytest.raises(
        ValueError, match=r"expected at least 5 states .* for the offset 4, got 4\. Fix: trace with NStep"
    ):
        updater.update(tb, np.zeros(len(tb.W)))
    with pytest.raises(
        TypeError, match=r"extra_info to be a dict with 'states' and 'dones', got NoneType\. Fix: trace"
    ):
        updater.update(ref.batch(), np.zeros(ref.B))
    with pytest.raises(TypeError, match=r"got the keys \['Adv'\]"):
        updater.update(ref.batch(extra_info={"Adv": np.zeros(ref.B, np.float32)}))


def test_a_function_of_state_and_action():
    law = lambda S, A, is_training: {"logits": hk.Linear(3)(S)}
    model = coax.StochasticRewardFunction(law, ref.DISCRETE, value_range=(0, 1), num_bins=3)
    with pytest.raises(TypeError, match="expected a function of the state, got a StochasticRewardFunction"):
        NStepEntropyRegularizer(model, [1])


# --- more targets -----------------------------------------------------------------------------------------------------


def partial_returns(pi, tb, known, offsets, w, beta=0.3, f_inverse=lambda x: x):
    """Rewards and bonuses along the way, and the value of what follows."""
    v_next = np.where(tb.In == 0, 0, tb.In * f_inverse(tb.S_next.astype(float) @ w))
    return tb.Rn - terms(pi, known, offsets, beta) + v_next


def test_a_target_in_a_transformed_space():
    pi, (tb, known) = policy(), traced(ENDS)
    v = coax.V(state_value, ref.DISCRETE, value_transform=coax.value_transforms.LogTransform(2.0), random_seed=2)
    w = ref.params_of(v)["w"]
    f, f_inverse = lambda x: 2 * np.sign(x) * np.log1p(abs(x) / 2), lambda y: 2 * np.sign(y) * np.expm1(abs(y) / 2)
    want = f(partial_returns(pi, tb, known, [1, 2, 3], w, f_inverse=f_inverse)) - tb.S @ w
    regularizer = NStepEntropyRegularizer(pi, [1, 2, 3], beta=0.3, gamma=GAMMA)
    updater = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=regularizer)
    np.testing.assert_allclose(updater.td_error(tb), want, atol=1e-4)


def test_a_target_that_is_a_law():
    pi, (tb, known) = policy(), traced(ENDS)
    v = coax.StochasticV(law_of_values, ref.DISCRETE, (-10, 10), num_bins=5, random_seed=2)
    w, centres = ref.params_of(v)["w"], np.array([-8.0, -4.0, 0.0, 4.0, 8.0])
    value = lambda S: np.array([ref.softmax(s @ w) @ centres for s in S.astype(float)])
    want = tb.Rn - terms(pi, known, [1, 3]) + tb.In * value(tb.S_next) - value(tb.S)
    regularizer = NStepEntropyRegularizer(pi, [1, 3], beta=0.3, gamma=GAMMA)
    updater = SimpleTD(v, loss_function=mse, policy_regularizer=regularizer)
    np.testing.assert_allclose(updater.td_error(tb), want, rtol=1e-4, atol=1e-4)


def law_of_values(S, is_training):
    return {"logits": S @ hk.get_parameter("w", (ref.OBS, 5), init=hk.initializers.RandomNormal(0.7))}


def test_rows_of_weight_0_in_a_target():
    pi, (tb, known) = policy(), traced(ENDS)
    v = coax.V(state_value, ref.DISCRETE, random_seed=2)
    w = ref.params_of(v)["w"]
    want = partial_returns(pi, tb, known, [0, 3], w) - tb.S @ w
    dead = np.arange(len(tb.W)) % 3 == 1
    tb = ref.replace(tb, W=np.where(dead, 0, 1).astype(np.float32))
    for x in (tb.S, tb.S_next, *tb.extra_info["states"]):
        x[dead] = np.nan
    regularizer = NStepEntropyRegularizer(pi, [0, 3], beta=0.3, gamma=GAMMA)
    updater = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=regularizer)
    metrics, errors = updater.update(tb, return_td_error=True, wait=True)
    np.testing.assert_allclose(errors, np.where(dead, 0, want), atol=1e-5)
    alive = [states for states, out in zip(known, dead, strict=True) if not out]
    params = ref.params_of(pi)
    entropies = [ref.entropy(params, states[n].astype(float)) for states in alive for n in (0, 3) if n < len(states)]
    np.testing.assert_allclose(metrics["SimpleTD/EntropyRegularizer/entropy"], np.mean(entropies), rtol=1e-5)


def test_no_state_that_contributes():
    # one step that ended the episode: there is nothing at the offset 1
    pi, (tb, _) = policy(), traced([(1, True)])
    v = coax.V(state_value, ref.DISCRETE, random_seed=2)
    regularizer = NStepEntropyRegularizer(pi, [1], beta=0.3, gamma=GAMMA)
    updater = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=regularizer)
    metrics, errors = updater.update(tb, return_td_error=True)
    np.testing.assert_allclose(errors, 1.0 - tb.S @ ref.params_of(v)["w"], rtol=1e-5)
    assert metrics["SimpleTD/EntropyRegularizer/entropy"] == 0


def test_from_a_replay_buffer():
    pi, (tb, known) = policy(), traced(ENDS)
    v = coax.V(state_value, ref.DISCRETE, random_seed=2)
    w = ref.params_of(v)["w"]
    each = zip(tb.S, partial_returns(pi, tb, known, [1, 3], w) - tb.S @ w, strict=True)
    known_errors = {s.tobytes(): error for s, error in each}
    buffer = coax.experience_replay.SimpleReplayBuffer(100, random_seed=0)
    buffer.add(tb)
    drawn = buffer.sample(len(buffer))
    regularizer = NStepEntropyRegularizer(pi, [1, 3], beta=0.3, gamma=GAMMA)
    updater = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=regularizer)
    np.testing.assert_allclose(updater.td_error(drawn), [known_errors[s.tobytes()] for s in drawn.S], atol=1e-5)


def test_setting_numbers_compiles_nothing(request):
    pi, (tb, known) = policy(), traced(ENDS)
    v = coax.V(state_value, ref.DISCRETE, random_seed=2)
    temperature = LearnedTemperature(pi)
    regularizer = NStepEntropyRegularizer(pi, [1, 3], temperature, gamma=GAMMA)
    updater = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=regularizer)
    plain = np.asarray(SimpleTD(v, loss_function=mse).td_error(tb))
    lifted = coax.jit(lambda tb: updater.td_error(tb), over=updater)
    updater.td_error(tb), lifted(tb)
    with compilations() as found:
        for beta, gamma in ((0.5, 0.25), (2.0, 1.0), (0.125, 0.0)):
            temperature.value, regularizer.gamma = beta, gamma
            for errors in (updater.td_error(tb), lifted(tb)):
                want = -terms(pi, known, [1, 3], beta, gamma)
                np.testing.assert_allclose(np.asarray(errors) - plain, want, atol=1e-5)
    assert request.config.getoption("checking_leaks") or found == []


def test_preprocessors_that_run_on_the_host():
    def doubled(rng, S):
        return 2 * np.asarray(S, np.float32)

    def func(S, is_training):
        return ref.categorical(S, is_training)

    pi, on_host = (coax.Policy(func, ref.DISCRETE, preprocessor, random_seed=3) for preprocessor in (None, doubled))
    on_host.params = jax.tree.map(lambda x: x / 2, pi.params)
    tb, _ = traced(ENDS)
    zeros = np.zeros(len(tb.W))
    losses = [
        VanillaPG(x, SGD, NStepEntropyRegularizer(x, [0, 2])).update(tb, zeros)["VanillaPG/loss"] for x in (pi, on_host)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
