"""A temperature that learns: its loss, its targets, and everything that reads it."""

import math
import types

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces

import coax
from coax.policy_objectives import VanillaPG
from coax.regularizers import EntropyRegularizer, KLDivRegularizer, LearnedTemperature
from coax.regularizers._target_entropy import default_target_entropy
from coax.td_learning import SimpleTD
from coax.value_losses import mse

from ..policy_objectives import reference as ref
from ..policy_objectives.reference import replace

SGD = optax.sgd(0.5)


def policy(discrete=True):
    func, env = (ref.categorical, ref.DISCRETE) if discrete else (ref.gaussian, ref.BOX)
    return coax.Policy(func, env, random_seed=3)


def on(action_space, **kwargs):
    """A policy over other actions; its outputs are those of the prior."""
    env = types.SimpleNamespace(observation_space=ref.DISCRETE.observation_space, action_space=action_space)
    dist = kwargs.get("proba_dist") or coax.proba_dists.ProbaDist(action_space)

    def func(S, is_training):
        one = hk.get_parameter("one", (), init=jnp.ones)
        return jax.tree.map(lambda x: one * jnp.zeros((S.shape[0], *x.shape[1:])) + x, dist.default_priors)

    return coax.Policy(func, env, random_seed=1, **kwargs)


def mean_entropy(pi, tb):
    return ref.mean(replace(tb, W=np.ones(ref.B)), [ref.entropy(ref.params_of(pi), s) for s in tb.S.astype(float)])


# --- learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discrete", [True, False])
def test_a_step_by_hand(discrete):
    pi, tb = policy(discrete), ref.batch(discrete=discrete)
    temperature = LearnedTemperature(pi, target_entropy=0.4, initial=2.0, optimizer=SGD)
    rows = zip([ref.entropy(ref.params_of(pi), s) for s in tb.S.astype(float)], tb.W.astype(float), strict=True)
    excess = np.mean([w * (entropy - 0.4) for entropy, w in rows])
    metrics = temperature.update(tb)
    name = "LearnedTemperature"
    np.testing.assert_allclose(metrics[f"{name}/loss"], 2 * excess, rtol=1e-5)
    np.testing.assert_allclose(metrics[f"{name}/temperature"], 2, rtol=1e-6)
    np.testing.assert_allclose(metrics[f"{name}/entropy"], mean_entropy(pi, tb), rtol=1e-5)
    np.testing.assert_allclose(metrics[f"{name}/grads_norm"], abs(2 * excess), rtol=1e-5)
    # the slope with respect to the logarithm is the temperature times the excess
    assert temperature.value == pytest.approx(2 * math.exp(-0.5 * 2 * excess), rel=1e-5)


def test_it_falls_where_there_is_more_entropy_than_the_target_asks_for():
    pi, tb = policy(), ref.batch()
    for target, falls in [(0.0, True), (5.0, False)]:
        temperature = LearnedTemperature(pi, target, optimizer=SGD)
        temperature.update(tb)
        assert (temperature.value < 1) is falls
    # at the target nothing moves
    even = replace(tb, W=np.ones(ref.B, np.float32))
    temperature = LearnedTemperature(pi, mean_entropy(pi, tb), optimizer=SGD)
    temperature.update(even)
    assert temperature.value == pytest.approx(1, abs=1e-6)


def test_the_policy_ends_up_at_the_target():
    # a table of logits that wants the first action, and an entropy that keeps it from being sure: H = 0.9 nats
    env = ref.DISCRETE
    func = lambda S, is_training: {"logits": hk.get_parameter("w", (ref.N,), init=jnp.zeros) + 0 * S[:, :1]}
    pi = coax.Policy(func, env, random_seed=1)
    q = coax.Q(
        lambda S, is_training: (
            hk.get_parameter("q", (ref.N,), init=hk.initializers.Constant(jnp.array([1.0, 0.0, 0.0, 0.0])))
            + 0 * S[:, :1]
        ),
        env,
        random_seed=1,
    )
    temperature = LearnedTemperature(pi, target_entropy=0.9, optimizer=optax.sgd(0.2))
    actor = coax.policy_objectives.SoftPG(pi, [q], optax.sgd(2.0), EntropyRegularizer(pi, beta=temperature))
    tb = ref.batch()

    def step():
        actor.update(tb)
        temperature.update(tb)

    jax.block_until_ready(jax.tree.leaves(coax.scan(step, length=2000, over=(actor, temperature))))
    p = ref.softmax(np.asarray(pi.params["~"]["w"], float))
    assert -sum(p * np.log(p)) == pytest.approx(0.9, abs=0.01)
    # what maximises p @ q + temperature * entropy is proportional to exp(q / temperature)
    assert math.log(p[0] / p[1]) == pytest.approx(1 / temperature.value, rel=0.02)


def test_rows_of_weight_0_count_for_nothing():
    pi, tb = policy(), ref.batch()
    dead = np.arange(ref.B) % 3 == 1
    spoilt = replace(tb, S=np.where(dead[:, None], np.float32(np.nan), tb.S), W=np.where(dead, 0, 1))
    temperature = LearnedTemperature(pi, target_entropy=0.4, optimizer=SGD)
    metrics = temperature.update(spoilt)
    want = np.mean([ref.entropy(ref.params_of(pi), s) for s in tb.S[~dead].astype(float)])
    np.testing.assert_allclose(metrics["LearnedTemperature/entropy"], want, rtol=1e-5)
    np.testing.assert_allclose(metrics["LearnedTemperature/loss"], want - 0.4, rtol=1e-5)


# --- targets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pi", "target"),
    [
        (lambda: on(spaces.Discrete(4)), 0.98 * math.log(4)),
        (lambda: on(spaces.MultiDiscrete([2, 3])), 0.98 * (math.log(2) + math.log(3))),
        # -1 per dimension for a Box from -1 to 1; one that is three times as wide has log 3 more
        (
            lambda: on(
                spaces.Box(-1, 1, (2,)), proba_dist=coax.proba_dists.SquashedNormalDist(spaces.Box(-1, 1, (2,)))
            ),
            -2,
        ),
        (
            lambda: on(
                spaces.Box(-1, 5, (2,)), proba_dist=coax.proba_dists.SquashedNormalDist(spaces.Box(-1, 5, (2,)))
            ),
            -2 + 2 * math.log(3),
        ),
        # in logit space x = 2 sigmoid(z) - 1 has slope 1/2 in the middle
        (lambda: on(spaces.Box(-1, 5, (3,))), 3 * (math.log(2) - 1)),
        (
            lambda: on(spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 1, (1,))})),
            0.98 * math.log(2) + math.log(2) - 1,
        ),
    ],
    ids=["discrete", "multi", "squashed", "wide", "normal", "dict"],
)
def test_default_targets(pi, target):
    assert LearnedTemperature(pi()).target_entropy == pytest.approx(target, rel=1e-6)


def test_a_narrow_normal_and_a_narrow_squashed_law_have_the_same_target():
    # in the middle of the Box, both with standard deviation 0.01 of the action: the slope of tanh is 1 there, that of
    # 2 sigmoid - 1 is 1/2. One entropy is that of z, the other of the action.
    box = spaces.Box(-1, 1, (1,))
    width = lambda x: {"mu": jnp.zeros((1, 1)), "logvar": jnp.full((1, 1), 2 * math.log(x))}
    in_z = float(coax.proba_dists.NormalDist(box).entropy(width(0.02))[0])
    squashed = coax.proba_dists.SquashedNormalDist(box)
    over_x = float(squashed.entropy(width(0.01))[0])
    targets = LearnedTemperature(on(box)), LearnedTemperature(on(box, proba_dist=squashed))
    assert in_z - over_x == pytest.approx(targets[0].target_entropy - targets[1].target_entropy, abs=1e-3)


def test_the_target_may_be_set():
    pi, tb = policy(), ref.batch()
    temperature = LearnedTemperature(pi, optimizer=SGD)
    temperature.target_entropy = 0.25
    assert temperature.target_entropy == 0.25
    loss = float(temperature.update(tb)["LearnedTemperature/loss"])
    rows = zip([ref.entropy(ref.params_of(pi), s) for s in tb.S.astype(float)], tb.W.astype(float), strict=True)
    assert loss == pytest.approx(np.mean([w * (entropy - 0.25) for entropy, w in rows]), rel=1e-5)


# --- who reads it -----------------------------------------------------------------------------------------------------


def test_a_target_reads_it_as_it_is():
    pi, tb = policy(), ref.batch(In=np.full(ref.B, 0.9, np.float32))
    v = coax.V(lambda S, is_training: S @ hk.get_parameter("w", (ref.OBS,), init=jnp.zeros), ref.DISCRETE)
    temperature = LearnedTemperature(pi, target_entropy=0.0, optimizer=SGD)
    for make, sign in ((EntropyRegularizer, 1), (KLDivRegularizer, -1)):
        updater = SimpleTD(v, optimizer=SGD, loss_function=mse, policy_regularizer=make(pi, beta=temperature))
        entropy = np.array([ref.entropy(ref.params_of(pi), s) for s in tb.S_next.astype(float)])
        amount = entropy if sign == 1 else math.log(ref.N) - entropy
        for value in (0.5, 2.0):
            temperature.value = value
            np.testing.assert_allclose(updater.td_error(tb), sign * 0.9 * value * amount, atol=1e-5)
        temperature.update(tb)
        np.testing.assert_allclose(updater.td_error(tb), sign * 0.9 * temperature.value * amount, atol=1e-5)
        assert temperature.value != 2.0


def test_inside_one_compiled_function():
    pi, tb = policy(), ref.batch()
    twin = pi.copy(deep=True)

    def make(pi):
        temperature = LearnedTemperature(pi, target_entropy=0.4, optimizer=SGD)
        return VanillaPG(pi, optax.adam(0.1), EntropyRegularizer(pi, beta=temperature)), temperature

    (eager, one), (lifted, other) = make(pi), make(twin)

    def learn(actor, temperature):
        metrics = actor.update(tb, np.zeros(ref.B, np.float32))
        return metrics, temperature.update(tb)

    compiled = coax.jit(lambda: learn(lifted, other), over=(lifted, other))
    for _ in range(3):
        a, b = learn(eager, one), compiled()
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(list(x.values()), list(y.values()), rtol=1e-5, atol=1e-6)
    assert one.value == pytest.approx(other.value, rel=1e-6)
    assert one.value < 0.9
    assert eager.regularizer.beta == pytest.approx(one.value, rel=1e-6)


# --- the object -------------------------------------------------------------------------------------------------------


def test_the_state_round_trip():
    pi, tb = policy(), ref.batch()
    temperature = LearnedTemperature(pi, target_entropy=0.4, optimizer=optax.adam(0.1))
    temperature.update(tb)
    saved = coax.utils.loads(coax.utils.dumps(temperature.state))
    temperature.update(tb)
    after = temperature.value
    other = LearnedTemperature(pi, target_entropy=0.7, optimizer=optax.adam(0.1))
    other.state = saved
    assert other.target_entropy == pytest.approx(0.4)
    other.update(tb)
    assert other.value == pytest.approx(after, rel=1e-6)


def test_what_is_not_finite_leaves_it_alone():
    def func(S, is_training):
        return {"mu": S[:, :2] * hk.get_parameter("one", (), init=jnp.ones), "logvar": S[:, 1:] * jnp.nan}

    pi = coax.Policy(func, ref.BOX, random_seed=1)
    temperature = LearnedTemperature(pi, initial=0.7)
    with pytest.raises(RuntimeError, match=r"LearnedTemperature: the gradient .*log_temperature.* was not finite"):
        temperature.update(ref.batch(discrete=False), wait=True)
    assert temperature.value == pytest.approx(0.7, rel=1e-6)


def test_observations_that_are_not_finite():
    # also where the law is categorical, whose entropy leaves out what has probability 0
    temperature = LearnedTemperature(policy(), initial=0.7)
    with pytest.raises(RuntimeError, match="LearnedTemperature: the gradient"):
        temperature.update(replace(ref.batch(), S=np.full((ref.B, ref.OBS), np.nan, np.float32)), wait=True)
    assert temperature.value == pytest.approx(0.7, rel=1e-6)


def test_arguments_of_the_wrong_kind():
    pi = policy()
    with pytest.raises(TypeError, match="LearnedTemperature: expected a policy, got float"):
        LearnedTemperature(0.2)
    for initial in (0, -1.0, np.inf, "1", None):
        with pytest.raises(ValueError, match="LearnedTemperature: expected initial to be a positive number"):
            LearnedTemperature(pi, initial=initial)
    temperature = LearnedTemperature(pi)
    with pytest.raises(ValueError, match=r"LearnedTemperature.value: expected it to be a positive number, got -1"):
        temperature.value = -1
    with pytest.raises(TypeError, match="target_entropy: expected a number"):
        LearnedTemperature(pi, target_entropy="low")
    with pytest.raises(TypeError, match="expected an optax optimizer"):
        LearnedTemperature(pi, optimizer=0.1)
    assert temperature.value == 1
    with pytest.raises(ValueError, match=r"transition_batch.S"):
        temperature.update(replace(ref.batch(), S=np.zeros((ref.B, 7), np.float32)))


def test_there_is_no_default_for_other_laws():
    with pytest.raises(
        TypeError, match=r"target_entropy: expected a number, because there is no default for object.*F"
    ):
        default_target_entropy(object())


def test_weights_that_are_none():
    temperature = LearnedTemperature(policy())
    for tb in (replace(ref.batch(), W=np.ones((ref.B, 1), np.float32)), jax.tree.map(lambda x: x[:0], ref.batch())):
        with pytest.raises(
            ValueError, match=r"LearnedTemperature: expected W with shape \[B\] and at least one row, g"
        ):
            temperature.update(tb)


def test_a_batch_of_only_rows_of_weight_0_changes_nothing():
    temperature = LearnedTemperature(policy(), target_entropy=0.4, optimizer=optax.adam(0.1))
    temperature.update(ref.batch())
    before = jax.tree.map(np.array, (temperature.log_temperature, temperature.optimizer_state))
    spoilt = replace(ref.batch(), S=np.full((ref.B, ref.OBS), np.nan, np.float32), W=np.zeros(ref.B, np.float32))
    metrics = temperature.update(spoilt, wait=True)
    jax.tree.map(np.testing.assert_array_equal, (temperature.log_temperature, temperature.optimizer_state), before)
    assert metrics["LearnedTemperature/loss"] == 0
    assert np.isfinite(list(metrics.values())).all()


def test_what_was_not_finite_is_said_at_the_next_call():
    # the standard deviation is 1 in both dimensions
    func = lambda S, is_training: {"mu": S[:, :2], "logvar": S[:, :2] * hk.get_parameter("u", (), init=jnp.zeros)}
    pi = coax.Policy(func, ref.BOX, random_seed=1)
    temperature = LearnedTemperature(pi, target_entropy=0.4, initial=0.7, optimizer=SGD)
    good = pi.params
    pi.params = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), good)
    temperature.update(ref.batch(discrete=False))
    jax.block_until_ready(temperature.state)
    pi.params = good
    with pytest.raises(RuntimeError, match=r"Look at the entropy of the policy"):
        temperature.update(ref.batch(discrete=False))
    assert temperature.value == pytest.approx(0.7, rel=1e-6)
    even = replace(ref.batch(discrete=False), W=np.ones(ref.B, np.float32))
    temperature.update(even, wait=True)
    entropy = math.log(2 * math.pi * math.e)
    assert temperature.value == pytest.approx(0.7 * math.exp(-0.5 * 0.7 * (entropy - 0.4)), rel=1e-5)


def test_a_fresh_state():
    temperature = LearnedTemperature(policy(), target_entropy=0.4, initial=0.7, optimizer=optax.adam(0.1))
    temperature.update(ref.batch())
    temperature.target_entropy = 0.6
    temperature.state = temperature.init(jax.random.key(1))
    assert temperature.value == pytest.approx(0.7, rel=1e-6)
    assert temperature.target_entropy == pytest.approx(0.6)
    assert int(temperature.optimizer_state[0].count) == 0


def test_it_may_be_set_inside_a_compiled_function():
    pi = policy()
    temperature = LearnedTemperature(pi, target_entropy=0.4)
    regularizer = EntropyRegularizer(pi, beta=temperature)

    @coax.jit(over=regularizer)
    def call(x):
        temperature.value = x
        return (
            temperature.value,
            regularizer.beta,
            regularizer.function({"logits": jnp.zeros((1, 4))}, regularizer.beta),
        )

    np.testing.assert_allclose(
        jnp.stack([jnp.ravel(x)[0] for x in call(0.25)]), [0.25, 0.25, -math.log(4) / 4], rtol=1e-5
    )
    assert temperature.value == pytest.approx(0.25)


def test_many_seeds_at_once():
    pi, tb = policy(), ref.batch()
    temperature = LearnedTemperature(pi, target_entropy=0.4, optimizer=SGD)
    init, apply = coax.transform(lambda: temperature.update(tb), over=temperature)
    states = jax.vmap(lambda key: init(key))(jax.random.split(jax.random.key(0), 3))
    _, new = jax.vmap(apply)(states)
    for i in range(3):
        params = {"w": np.asarray(states[pi]["params"]["~"]["w"][i], float)}
        excess = ref.mean(tb, [ref.entropy(params, s) - 0.4 for s in tb.S.astype(float)])
        np.testing.assert_allclose(new[temperature]["log_temperature"][i], -0.5 * excess, rtol=1e-4)
