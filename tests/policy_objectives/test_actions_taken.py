"""Objectives of the actions that were taken: policy gradient, clipped surrogate, imitation."""

import functools
import math
import warnings

import haiku as hk
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.policy_objectives import CrossEntropy, PPOClip, VanillaPG

from . import reference as ref
from .reference import replace

SGD = optax.sgd(1.0)
DISCRETE = [True, False]
KINDS = pytest.mark.parametrize("discrete", DISCRETE, ids=["discrete", "box"])


def policy(discrete, seed=3):
    func, env = (ref.categorical, ref.DISCRETE) if discrete else (ref.gaussian, ref.BOX)
    return coax.Policy(func, env, random_seed=seed)


def advantages(seed=5):
    return np.random.default_rng(seed).normal(size=ref.B)


def with_ratios(pi, tb, ratios):
    """The batch as if the actions had been chosen by a policy, so that the ratios are these."""
    params = ref.params_of(pi)
    logP = [ref.log_pi(params, s, a) - math.log(r) for (s, a, _, _), r in zip(ref.rows_of(tb), ratios, strict=True)]
    return replace(tb, logP=np.array(logP, np.float32))


# eight rows: both signs of the advantage, ratios inside of the bounds 0.8 and 1.2, above and below, and far above
ADV = np.array([1.5, 0.7, 2.5, -1.0, -0.6, -2.0, 1.0, -1.5], np.float32)
RATIOS = [1.1, 1.5, 0.6, 0.9, 1.4, 0.5, 6.0, 7.0]


# --- against the loops ------------------------------------------------------------------------------------------------


@KINDS
def test_policy_gradient(discrete):
    pi, tb, adv = policy(discrete), ref.batch(discrete=discrete), advantages()
    params = ref.params_of(pi)

    def objective(params):
        return ref.mean(
            tb, [x * ref.log_pi(params, s, a) for (s, a, _, _), x in zip(ref.rows_of(tb), adv, strict=True)]
        )

    updater = VanillaPG(pi, SGD)
    grads, _, metrics = updater.grads_and_metrics(tb, adv)
    ref.assert_grads(grads, objective, params)
    np.testing.assert_allclose(metrics["VanillaPG/loss"], -objective(params), rtol=1e-5)
    np.testing.assert_allclose(metrics["VanillaPG/loss_bare"], -objective(params), rtol=1e-5)
    # what update does is a step of the optimizer against these gradients
    updater.update(tb, adv)
    for name, x in ref.params_of(pi).items():
        np.testing.assert_allclose(x, params[name] - grads["~"][name], rtol=1e-5, atol=1e-6)


@KINDS
@pytest.mark.parametrize("dual_clip", [None, 3.0])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("epsilon", [0.2, 0.45])
def test_clipped_surrogate(discrete, dual_clip, normalize, epsilon):
    pi, adv = policy(discrete), ADV.astype(float)
    tb = with_ratios(pi, ref.batch(discrete=discrete), RATIOS)
    known = (adv - adv.mean()) / adv.std() if normalize else adv

    def objective(params):
        ratios = [math.exp(ref.log_pi(params, s, a) - logp) for s, a, logp, _ in ref.rows_of(tb)]
        pairs = zip(ratios, known, strict=True)
        return ref.mean(tb, [ref.surrogate(r, x, epsilon, dual_clip) for r, x in pairs])

    updater = PPOClip(pi, SGD, None, epsilon, normalize_advantage=normalize, dual_clip=dual_clip)
    grads, _, metrics = updater.grads_and_metrics(tb, adv)
    params = ref.params_of(pi)
    ref.assert_grads(grads, objective, params)
    np.testing.assert_allclose(metrics["PPOClip/loss_bare"], -objective(params), rtol=1e-5)
    outside = sum(not 1 - epsilon < r < 1 + epsilon for r in RATIOS) / len(RATIOS)
    assert float(metrics["PPOClip/clip_fraction"]) == pytest.approx(outside)
    assert float(metrics["PPOClip/kl_div_old"]) == pytest.approx(
        np.mean([r - 1 - math.log(r) for r in RATIOS]), rel=1e-4
    )


@KINDS
@pytest.mark.parametrize("temperature", [None, 0.7])
def test_imitation(discrete, temperature):
    pi, tb, adv = policy(discrete), ref.batch(discrete=discrete), advantages()
    weights = np.ones(ref.B) if temperature is None else np.minimum(np.exp(adv / temperature), 3.0)
    assert temperature is None or 0 < sum(weights == 3.0) < ref.B

    def objective(params):
        pairs = zip(ref.rows_of(tb), weights, strict=True)
        return ref.mean(tb, [w * ref.log_pi(params, s, a) for (s, a, _, _), w in pairs])

    updater = CrossEntropy(pi, SGD, temperature=temperature, max_weight=3)
    grads, _, metrics = updater.grads_and_metrics(tb, None if temperature is None else adv)
    ref.assert_grads(grads, objective, ref.params_of(pi))
    np.testing.assert_allclose(metrics["CrossEntropy/loss"], -objective(ref.params_of(pi)), rtol=1e-5)
    if temperature is not None:
        assert float(metrics["CrossEntropy/weight"]) == pytest.approx(weights.mean(), rel=1e-5)


# --- by hand ----------------------------------------------------------------------------------------------------------


def uniform(S, is_training):
    """Two actions, each with probability 1/2."""
    return {"logits": jnp.zeros((S.shape[0], 1)) + hk.get_parameter("logits", (2,), init=jnp.zeros)}


def coin():
    env = type("Env", (), {**vars(ref.DISCRETE)})
    env.action_space = ref.gymnasium.spaces.Discrete(2)
    return coax.Policy(uniform, env, random_seed=0)


def toss(ratio=1.0, n=1, **fields):
    """A batch of action 0, of which the policy that acted had the probability ``0.5 / ratio``."""
    full = functools.partial(np.full, n)
    return coax.reward_tracing.TransitionBatch(
        S=np.zeros((n, ref.OBS), np.float32),
        A=full(0),
        logP=full(math.log(0.5 / ratio), np.float32),
        Rn=full(0, np.float32),
        In=full(0, np.float32),
        S_next=np.zeros((n, ref.OBS), np.float32),
        **fields,
    )


def gradient_of(updater, tb, adv):
    grads, _, metrics = updater.grads_and_metrics(tb, np.array(adv, np.float32))
    return np.asarray(grads["~"]["logits"]), metrics


def test_policy_gradient_by_hand():
    # the slope of log p_0 is (1 - p_0, -p_1) = (0.5, -0.5); times the advantage, and downhill
    grads, metrics = gradient_of(VanillaPG(coin(), SGD), toss(), [3.0])
    np.testing.assert_allclose(grads, [-1.5, 1.5], rtol=1e-6)
    np.testing.assert_allclose(metrics["VanillaPG/loss"], 3 * math.log(2), rtol=1e-6)
    # a ratio of 2: 2 - 1 - log 2
    _, metrics = gradient_of(VanillaPG(coin(), SGD), toss(2.0), [3.0])
    np.testing.assert_allclose(metrics["VanillaPG/kl_div_old"], 0.30685282, rtol=1e-6)


@pytest.mark.parametrize(
    ("ratio", "adv", "objective", "slope"),
    [
        (1.0, 2.0, 2.0, 1.0),  # inside: Adv * ratio, with slope Adv * ratio * (1 - p)
        (1.5, 2.0, 2.4, 0.0),  # better, but far enough: 1.2 * 2
        (0.4, 2.0, 0.8, 0.4),  # too far the wrong way: the way back is open
        (1.5, -2.0, -3.0, -1.5),
        (0.4, -2.0, -1.6, 0.0),  # 0.8 * -2
        (5.0, -2.0, -10.0, -5.0),
    ],
)
def test_the_clipped_surrogate_by_hand(ratio, adv, objective, slope):
    grads, metrics = gradient_of(PPOClip(coin(), SGD), toss(ratio), [adv])
    np.testing.assert_allclose(metrics["PPOClip/loss"], -objective, rtol=1e-5)
    np.testing.assert_allclose(grads, [-slope, slope], rtol=1e-5, atol=1e-7)


def test_the_dual_bound_by_hand():
    updater = PPOClip(coin(), SGD, dual_clip=3)
    for ratio, adv, objective, slope in [(5.0, -2.0, -6.0, 0.0), (2.0, -2.0, -4.0, -2.0), (5.0, 2.0, 2.4, 0.0)]:
        grads, metrics = gradient_of(updater, toss(ratio), [adv])
        np.testing.assert_allclose(metrics["PPOClip/loss"], -objective, rtol=1e-5)
        np.testing.assert_allclose(grads, [-slope, slope], rtol=1e-5, atol=1e-7)
    updater.dual_clip = 2
    _, metrics = gradient_of(updater, toss(5.0), [-2.0])
    np.testing.assert_allclose(metrics["PPOClip/loss"], 4.0, rtol=1e-5)


def test_a_ratio_that_no_float_can_hold():
    tb = replace(toss(), logP=np.float32([-500]))
    grads, metrics = gradient_of(PPOClip(coin(), SGD), tb, [2.0])
    np.testing.assert_allclose(metrics["PPOClip/loss"], -2.4, rtol=1e-6)
    np.testing.assert_array_equal(grads, 0)
    grads, metrics = gradient_of(PPOClip(coin(), SGD, dual_clip=3), tb, [-2.0])
    np.testing.assert_allclose(metrics["PPOClip/loss"], 6, rtol=1e-6)
    np.testing.assert_array_equal(grads, 0)
    pi = coin()
    before = np.array(pi.params["~"]["logits"])
    with pytest.raises(RuntimeError, match="PPOClip"):
        PPOClip(pi, SGD).update(tb, np.float32([-2.0]), wait=True)
    np.testing.assert_array_equal(pi.params["~"]["logits"], before)


def test_epsilon_takes_effect_at_once():
    updater = PPOClip(coin(), SGD, epsilon=0.1)
    assert updater.hyperparams["epsilon"] == np.float32(0.1)
    for epsilon, objective in [(0.1, 2.2), (0.3, 2.6), (2.0, 3.0)]:
        updater.epsilon = epsilon
        assert updater.epsilon == pytest.approx(epsilon)
        assert float(gradient_of(updater, toss(1.5), [2.0])[1]["PPOClip/loss"]) == pytest.approx(-objective, rel=1e-5)
    # with an epsilon of 1 or more there is no lower bound: 0.4 * -2
    assert float(gradient_of(updater, toss(0.4), [-2.0])[1]["PPOClip/loss"]) == pytest.approx(0.8, rel=1e-5)


def test_the_weights_of_imitation_by_hand():
    updater = CrossEntropy(coin(), SGD, temperature=2)
    # exp(2 log 3 / 2) = 3
    grads, metrics = gradient_of(updater, toss(), [2 * math.log(3)])
    np.testing.assert_allclose(metrics["CrossEntropy/loss"], 3 * math.log(2), rtol=1e-5)
    np.testing.assert_allclose(grads, [-1.5, 1.5], rtol=1e-5)
    assert updater.max_weight == 20
    assert float(gradient_of(updater, toss(), [1e6])[1]["CrossEntropy/weight"]) == pytest.approx(20)
    updater.temperature = 1
    assert float(gradient_of(updater, toss(), [2 * math.log(3)])[1]["CrossEntropy/weight"]) == pytest.approx(9)


def test_normalized_advantages_by_hand():
    # mean 2 and deviation 1 over the rows that count; the third does not
    tb = toss(n=3, W=np.float32([1, 1, 0]))
    _, metrics = gradient_of(PPOClip(coin(), SGD, normalize_advantage=True), tb, [1.0, 3.0, np.nan])
    np.testing.assert_allclose(metrics["PPOClip/loss"], 0, atol=1e-6)
    tb = toss(n=3, W=np.float32([1, 2, 0]))
    _, metrics = gradient_of(PPOClip(coin(), SGD, normalize_advantage=True), tb, [1.0, 3.0, np.nan])
    np.testing.assert_allclose(metrics["PPOClip/loss"], -(1 * -1 + 2 * 1) / 2, rtol=1e-5)
    # one alone has no deviation: it is kept
    _, metrics = gradient_of(PPOClip(coin(), SGD, normalize_advantage=True), toss(), [5.0])
    np.testing.assert_allclose(metrics["PPOClip/loss"], -5, rtol=1e-6)


def test_equal_advantages_are_normalized_to_zero():
    tb = toss(n=33)
    for value in (100.1, -3.3, 0.0):
        _, metrics = gradient_of(PPOClip(coin(), SGD, normalize_advantage=True), tb, [value] * 33)
        assert float(metrics["PPOClip/loss"]) == 0


# --- weights, masks ---------------------------------------------------------------------------------------------------


MAKE = {
    "vanilla": lambda pi, **kw: VanillaPG(pi, SGD, **kw),
    "ppo": lambda pi, **kw: PPOClip(pi, SGD, normalize_advantage=True, **kw),
    "cross_entropy": lambda pi, **kw: CrossEntropy(pi, SGD, temperature=1, **kw),
}


@pytest.mark.parametrize("name", MAKE)
def test_rows_of_weight_0_count_for_nothing(name):
    pi, tb, adv = policy(False), ref.batch(discrete=False), advantages()
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.1)
    updater = MAKE[name](pi, regularizer=entropy)
    dead = np.arange(ref.B) % 3 == 1
    few = replace(
        tb, **{field: getattr(tb, field)[~dead] for field in ("S", "A", "logP", "Rn", "In", "S_next", "W", "idx")}
    )
    spoilt = replace(
        tb,
        S=np.where(dead[:, None], np.float32(np.nan), tb.S),
        A=np.where(dead[:, None], np.float32(np.nan), tb.A),
        logP=np.where(dead, np.float32(np.nan), tb.logP),
        W=np.where(dead, np.float32(0), tb.W),
    )
    expected, _, expected_metrics = updater.grads_and_metrics(replace(few, logP=few.logP - 0.1), adv[~dead])
    got, _, metrics = updater.grads_and_metrics(replace(spoilt, logP=spoilt.logP - 0.1), np.where(dead, np.nan, adv))
    for key in expected["~"]:
        np.testing.assert_allclose(got["~"][key], expected["~"][key], rtol=1e-4, atol=1e-6)
    for key, x in expected_metrics.items():
        np.testing.assert_allclose(metrics[key], x, rtol=1e-4, atol=1e-6, err_msg=key)


def test_clipped_weights():
    tb = toss(n=2, W=np.float32([0.01, 100]))
    _, metrics = gradient_of(VanillaPG(coin(), SGD, clip_weights=(0.1, 10)), tb, [1.0, 1.0])
    np.testing.assert_allclose(metrics["VanillaPG/loss"], (0.1 + 10) / 2 * math.log(2), rtol=1e-5)


def test_masked_actions():
    env = type("Env", (), {})
    spaces = ref.gymnasium.spaces
    env.observation_space = spaces.Dict({"x": spaces.Box(-10, 10, (ref.OBS,)), "legal": spaces.MultiBinary(2)})
    env.action_space, env.action_mask = spaces.Discrete(2), coax.ActionMask("legal")
    pi = coax.Policy(lambda S, is_training: uniform(S["x"], is_training), env, random_seed=0)
    tb = toss(n=2)
    tb = replace(
        tb, S={"x": tb.S, "legal": np.int8([[1, 0], [1, 1]])}, S_next={"x": tb.S, "legal": np.int8([[1, 1]] * 2)}
    )
    grads, metrics = gradient_of(VanillaPG(pi, SGD), tb, [1.0, 1.0])
    # the only action that is allowed has probability 1, whatever its logit; log 1 = 0
    np.testing.assert_allclose(metrics["VanillaPG/loss"], math.log(2) / 2, rtol=1e-6)
    np.testing.assert_allclose(grads, [-0.25, 0.25], rtol=1e-6)
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=1.0)
    _, metrics = gradient_of(VanillaPG(pi, SGD, entropy), tb, [0.0, 0.0])
    np.testing.assert_allclose(metrics["VanillaPG/loss"], -math.log(2) / 2, rtol=1e-6)


# --- where advantages and log-probabilities come from -----------------------------------------------------------------


def test_advantages_come_with_the_batch():
    updater = VanillaPG(coin(), optax.sgd(0.0))
    tb = toss(n=2, extra_info={"Adv": np.float32([1, 2]), "V": np.float32([0, 0])})
    np.testing.assert_allclose(updater.update(tb)["VanillaPG/loss"], 1.5 * math.log(2), rtol=1e-6)
    _, metrics = gradient_of(updater, tb, [10.0, 10.0])  # those that are passed count
    np.testing.assert_allclose(metrics["VanillaPG/loss"], 10 * math.log(2), rtol=1e-6)


@pytest.mark.parametrize("adv", [None, np.ones(3), np.ones((2, 1)), 1.0, [1.0]])
def test_advantages_that_do_not_fit(adv):
    updater = PPOClip(coin(), SGD)
    before = np.array(updater.pi.params["~"]["logits"])
    with pytest.raises(ValueError, match=r"PPOClip: expected one advantage per transition, Adv with shape \(2,\), got"):
        updater.update(toss(2.0, n=2), adv)
    np.testing.assert_array_equal(updater.pi.params["~"]["logits"], before)


def test_advantages_may_be_a_list_or_on_the_device():
    updater = VanillaPG(coin(), optax.sgd(0.0))
    for adv in ([1.0, 2.0], [1, 2], np.array([1, 2]), jnp.array([1.0, 2.0]), np.array([1.0, 2.0])):
        np.testing.assert_allclose(updater.update(toss(n=2), adv)["VanillaPG/loss"], 1.5 * math.log(2), rtol=1e-6)


def test_imitation_without_temperature_takes_no_advantages():
    with pytest.raises(ValueError, match="expected no advantages, because it was made without a temperature"):
        CrossEntropy(coin()).update(toss(), np.float32([1]))
    with pytest.raises(AttributeError, match="made without temperature"):
        CrossEntropy(coin()).temperature = 1.0
    # what a tracer put there does not matter
    tb = toss(extra_info={"Adv": np.float32([7])})
    np.testing.assert_allclose(CrossEntropy(coin()).update(tb)["CrossEntropy/loss"], math.log(2), rtol=1e-6)


def test_log_probabilities_that_were_not_recorded():
    updater = PPOClip(coin(), SGD)
    with pytest.warns(UserWarning, match=r"PPOClip: expected the log-probabilities .* return_logp=True") as record:
        updater.update(replace(toss(), logP=np.float32([0])), [1.0])
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        updater.update(toss(), [1.0])
        VanillaPG(coin(), SGD).update(replace(toss(), logP=np.float32([0])), [1.0])
    assert PPOClip.REQUIRES_PROPENSITIES is True
    assert VanillaPG.REQUIRES_PROPENSITIES is False
    assert CrossEntropy.REQUIRES_PROPENSITIES is False


def test_numbers_out_of_range():
    for kwargs in ({"epsilon": -0.1}, {"dual_clip": 1.0}, {"dual_clip": 0.5}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            PPOClip(coin(), **kwargs)
    for kwargs in ({"temperature": 0.0}, {"temperature": -1.0}, {"max_weight": 0.0}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            CrossEntropy(coin(), **kwargs)
