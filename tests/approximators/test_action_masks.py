"""Masks of allowed actions: said once, on the environment, and honoured everywhere."""

import types

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from gymnasium import spaces

import coax
from coax.td_learning import _targets as targets

N = 4
SPACE = spaces.Dict({"x": spaces.Box(-10, 10, (2,)), "legal": spaces.MultiBinary(N)})
ENV = types.SimpleNamespace(
    observation_space=SPACE, action_space=spaces.Discrete(N, start=3), action_mask=coax.ActionMask("legal")
)
Q_ROW = np.array([5.0, 1.0, 2.0, 3.0])


def known_q(S, is_training):
    """The same values everywhere: 5, 1, 2, 3."""
    w = hk.get_parameter("w", (N,), init=hk.initializers.Constant(0.0))
    return jnp.zeros((S["x"].shape[0], N)) + jnp.asarray(Q_ROW, jnp.float32) + w


def known_logits(S, is_training):
    return {"logits": known_q(S, is_training)}


def observation(*legal, x=(0.5, -0.5)):
    return {"x": np.array(x, np.float32), "legal": np.array(legal, np.int8)}


def batch_of(*rows):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def q_function(**kwargs):
    return coax.Q(known_q, ENV, random_seed=0, **kwargs)


# --- policies ---------------------------------------------------------------------------------------------------------


def test_epsilon_greedy_by_hand():
    pi = coax.EpsilonGreedy(q_function(), epsilon=0.3)
    probs = np.exp(pi.dist_params(observation(0, 1, 1, 1))["logits"])
    # the best allowed value is 3: 0.7 + 0.3 / 3 = 0.8 on it, 0.3 / 3 = 0.1 on the two others, 0 on the best of all
    np.testing.assert_allclose(probs, [0, 0.1, 0.1, 0.8], rtol=1e-6)
    assert probs[0] == 0
    assert pi.mode(observation(0, 1, 1, 1)) == 3 + 3
    assert pi.mode(observation(0, 1, 1, 0)) == 3 + 2


def test_boltzmann_by_hand():
    pi = coax.BoltzmannPolicy(q_function(), temperature=0.5)
    logits = pi.dist_params(observation(0, 1, 0, 1))["logits"]
    np.testing.assert_allclose(softmax(logits), [0, 1 / (1 + np.exp(4)), 0, 1 / (1 + np.exp(-4))], rtol=1e-6)
    assert pi.mode(observation(1, 1, 0, 0)) == 3


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: coax.EpsilonGreedy(q_function(), epsilon=1.0), [1 / 3, 1 / 3, 0, 1 / 3]),
        (lambda: coax.BoltzmannPolicy(q_function(), temperature=2.0), softmax([2.5, 0.5, -np.inf, 1.5])),
        (lambda: coax.Policy(known_logits, ENV, random_seed=0), softmax([5, 1, -np.inf, 3])),
        (lambda: coax.RandomPolicy(ENV, random_seed=0), [1 / 3, 1 / 3, 0, 1 / 3]),
    ],
)
def test_the_law_of_actions(make, allowed):
    pi, n = make(), 4000
    S = batch_of(*[observation(1, 1, 0, 1)] * n)
    a, logp = pi(S, return_logp=True)
    counts = np.bincount(a - 3, minlength=N)
    keep = np.array(allowed) > 0
    assert counts[2] == 0
    assert scipy.stats.chisquare(counts[keep], n * np.array(allowed)[keep]).pvalue > 1e-3
    np.testing.assert_allclose(logp, np.log(np.array(allowed)[a - 3]), rtol=1e-5)


def test_dist_params_of_the_random_policy():
    logits = coax.RandomPolicy(ENV, random_seed=0).dist_params(observation(1, 0, 0, 1))["logits"]
    np.testing.assert_array_equal(logits, [0, -np.inf, -np.inf, 0])


def test_policy_log_proba_entropy_and_mode():
    pi = coax.Policy(known_logits, ENV, random_seed=0)
    s = observation(0, 1, 1, 0)
    p = softmax([1.0, 2.0])
    dist_params = pi.dist_params(s)
    np.testing.assert_array_equal(dist_params["logits"], [-np.inf, 1, 2, -np.inf])
    np.testing.assert_allclose(pi.proba_dist.entropy(dist_params), scipy.stats.entropy(p), rtol=1e-6)
    np.testing.assert_allclose(pi.log_proba(s, 5), np.log(p[1]), rtol=1e-6)
    assert pi.log_proba(s, 3) == -np.inf
    assert pi.mode(s) == 5
    assert pi.mean(s) == 5


def test_gradients_through_a_mask():
    dist = coax.proba_dists.CategoricalDist(ENV.action_space)
    logits = jnp.array([5.0, 1.0, 2.0, -1e4])
    mask = np.array([False, True, True, True])

    def score(logits, index):
        x = jax.nn.one_hot(index, N)
        return dist.log_proba(dist.masked({"logits": logits}, mask), x)

    p = softmax([1, 2, -1e4])
    # d log p_1 / d logits = one-hot - p on what is allowed, and exactly 0 on what is not
    np.testing.assert_allclose(jax.grad(score)(logits, 1), [0, 1 - p[0], -p[1], -p[2]], rtol=1e-6)
    assert jax.grad(score)(logits, 1)[0] == 0
    g = jax.grad(lambda x: dist.entropy(dist.masked({"logits": x}, mask)))(logits)
    h = scipy.stats.entropy(p[:2])
    np.testing.assert_allclose(g, [0, *(-p[:2] * (np.log(p[:2]) + h)), 0], rtol=1e-5)
    assert g[0] == 0


@pytest.mark.gate
def test_a_policy_over_many_parts():
    actions = spaces.Dict(
        {"box": spaces.Box(-1, 1, (2,)), "many": spaces.MultiDiscrete([2, 3]), "one": spaces.Discrete(3)}
    )
    obs = spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "one": spaces.MultiBinary(3), "many": spaces.MultiBinary(5)})
    env = types.SimpleNamespace(
        observation_space=obs,
        action_space=actions,
        action_mask=coax.ActionMask(lambda S: {"one": S["one"], "many": S["many"]}),
    )
    example = coax.Policy.example_data(env, random_seed=0).output

    def func(S, is_training):
        return jax.tree.map(lambda x: jnp.zeros((S["x"].shape[0], *x.shape[1:])), example)

    n = 500
    S = {
        "x": np.zeros((n, 2), np.float32),
        "one": np.tile(np.int8([1, 0, 1]), (n, 1)),
        "many": np.tile(np.int8([0, 1, 1, 1, 0]), (n, 1)),
    }
    for pi in (coax.Policy(func, env, random_seed=0), coax.RandomPolicy(env, random_seed=0)):
        a, logp = pi(S, return_logp=True)
        assert set(a["one"]) == {0, 2}
        assert set(map(tuple, a["many"])) == {(1, 0), (1, 1)}
        discrete = -np.log(2) - np.log(2)  # two choices for one, two for many
        if isinstance(pi, coax.RandomPolicy):
            np.testing.assert_allclose(logp, discrete - 2 * np.log(2), rtol=1e-5)  # uniform over [-1, 1]^2
        else:
            z = np.log((1 + a["box"]) / (1 - a["box"]))
            np.testing.assert_allclose(logp, discrete + scipy.stats.norm.logpdf(z).sum(-1), rtol=1e-3)


# --- targets ----------------------------------------------------------------------------------------------------------

GAMMA_N, R = 0.5, 1.0


def transitions(*legal, In=GAMMA_N):
    s, s_next = observation(1, 1, 1, 1), observation(*legal)
    return coax.reward_tracing.TransitionBatch(
        S=batch_of(s), A=np.array([3]), logP=np.zeros(1, np.float32), Rn=np.float32([R]), In=np.float32([In]),
        S_next=batch_of(s_next), A_next=None, logP_next=None, W=np.ones(1, np.float32),
    )  # fmt: skip


def td_target(updater, batch):
    """The target, from the TD error of the squared loss (whose gradient is twice the error, halved) at value 5."""
    return float(updater.td_error(batch)[0]) + Q_ROW[0]


def half_square(y_true, y_pred, w=None):
    loss = jnp.square(y_true - y_pred) / 2
    return jnp.mean(loss if w is None else w * loss)


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda q: coax.td_learning.QLearning(q, None, q.copy(), optax.sgd(1.0), half_square), 3),
        (lambda q: coax.td_learning.DoubleQLearning(q, None, q.copy(), optax.sgd(1.0), half_square), 3),
        (
            lambda q: coax.td_learning.DoubleQLearning(q, None, q.copy(), optax.sgd(1.0), half_square, select_with="q"),
            3,
        ),
        (
            lambda q: coax.td_learning.SoftQLearning(q, None, optax.sgd(1.0), half_square, temperature=2.0),
            2 * np.log(np.exp(1 / 2) + np.exp(3 / 2)),
        ),
        (
            lambda q: coax.td_learning.ExpectedSarsa(
                q, coax.EpsilonGreedy(q, epsilon=0.5), None, optax.sgd(1.0), half_square
            ),
            0.75 * 3 + 0.25 * 1,
        ),
        (
            lambda q: coax.td_learning.ExpectedSarsa(
                q, coax.Policy(known_logits, ENV, random_seed=0), None, optax.sgd(1.0), half_square
            ),
            softmax([1, 3])[0] * 1 + softmax([1, 3])[1] * 3,
        ),
    ],
)
def test_targets_look_at_allowed_actions_alone(make, value):
    updater = make(q_function())
    np.testing.assert_allclose(td_target(updater, transitions(0, 1, 0, 1)), R + GAMMA_N * value, rtol=1e-5)
    # nothing is bootstrapped from a terminal state, even where no action is left
    np.testing.assert_allclose(td_target(updater, transitions(0, 0, 0, 0, In=0)), R, rtol=1e-6)
    metrics = updater.update(transitions(0, 0, 0, 0, In=0), wait=True)
    assert all(np.isfinite(x) for x in metrics.values())
    with pytest.raises(ValueError, match="action_mask: expected at least one allowed choice in every row"):
        updater.update(transitions(0, 0, 0, 0))


def known_law(S, is_training):
    """Laws of which all mass is at 5, 1, 2 and 3."""
    atoms = jnp.arange(11)
    return {"logits": 50.0 * (atoms == known_q(S, is_training)[..., None])}


def law_function():
    return coax.StochasticQ(known_law, ENV, value_range=(-0.5, 10.5), num_bins=11, random_seed=0)


@pytest.mark.parametrize("function", [q_function, law_function])
@pytest.mark.parametrize(
    "make",
    [
        lambda q: coax.td_learning.QLearning(q, None, q.copy(), optax.sgd(1.0), half_square),
        lambda q: coax.td_learning.DoubleQLearning(q, None, q.copy(), optax.sgd(1.0), half_square),
        lambda q: coax.td_learning.ClippedDoubleQLearning(q, None, [q.copy(), q.copy()], optax.sgd(1.0), half_square),
        lambda q: coax.td_learning.SoftClippedDoubleQLearning(
            q, None, coax.Ensemble(q, members=2), optax.sgd(1.0), half_square
        ),
    ],
)
def test_the_best_action_is_an_allowed_one(make, function):
    # of the values 5, 1, 2, 3 the first and the third are not allowed
    target = td_target(make(function()), transitions(0, 1, 0, 1))
    np.testing.assert_allclose(target, R + GAMMA_N * 3, rtol=1e-5)


def test_values_need_no_allowed_action():
    np.testing.assert_allclose(q_function()(observation(0, 0, 0, 0)), Q_ROW)


def test_masks_on_the_device_are_checked_too():
    s = {**observation(1, 1, 1, 1), "legal": jnp.zeros(N, jnp.int8)}
    for pi in (coax.EpsilonGreedy(q_function()), coax.Policy(known_logits, ENV), coax.RandomPolicy(ENV)):
        with pytest.raises(ValueError, match="at least one allowed choice"):
            pi(s)


def test_one_step_look_ahead():
    def same_state(S, A, is_training):
        return S

    def value(S, is_training):
        return jnp.zeros(S["x"].shape[0])

    p = coax.TransitionModel(same_state, ENV, random_seed=0)
    r = coax.RewardFunction(known_q, ENV, observation_preprocessor=p.observation_preprocessor, random_seed=0)
    v = coax.V(value, ENV, observation_preprocessor=p.observation_preprocessor, random_seed=0)
    pi = coax.EpsilonGreedy(coax.SuccessorStateQ(v, p, r), epsilon=0.3)
    probs = np.exp(pi.dist_params(observation(0, 1, 1, 1))["logits"])
    np.testing.assert_allclose(probs, [0, 0.1, 0.1, 0.8], rtol=1e-6)
    bare = types.SimpleNamespace(observation_space=SPACE, action_space=ENV.action_space)
    other = coax.RewardFunction(known_q, bare, observation_preprocessor=p.observation_preprocessor, random_seed=0)
    with pytest.raises(ValueError, match=r"expected r to have the action_mask of p.*Fix:"):
        coax.SuccessorStateQ(v, p, other)


def test_rows_of_weight_zero_need_no_mask():
    q = q_function()
    updater = coax.td_learning.QLearning(q, None, q.copy(), optax.sgd(1.0), half_square)
    good, bad = transitions(0, 1, 0, 1), transitions(0, 0, 0, 0)
    both = jax.tree.map(lambda a, b: np.concatenate([a, b]), good, bad)
    both.W = np.float32([1, 0])
    # the live row alone: 1 + 0.5 * 3 - 5
    np.testing.assert_allclose(updater.td_error(both), [-2.5, 0], rtol=1e-6)
    both.W = np.float32([0, 1])
    with pytest.raises(ValueError, match="at least one allowed choice"):
        updater.td_error(both)


def test_targets_of_arrays():
    q, mask = np.array([5.0, 1.0, 3.0]), np.array([False, True, True])
    assert targets.greedy_value(q, mask) == 3
    assert targets.double_value(q, np.array([7.0, 8.0, 9.0]), mask) == 9
    assert targets.double_value(q, np.array([7.0, 8.0, 9.0])) == 7
    np.testing.assert_allclose(targets.soft_value(q, 2.0, mask), 2 * np.log(np.exp(0.5) + np.exp(1.5)), rtol=1e-6)


def test_a_policy_without_the_mask_is_refused():
    bare = types.SimpleNamespace(observation_space=SPACE, action_space=ENV.action_space)
    pi = coax.Policy(known_logits, bare, random_seed=0)
    with pytest.raises(ValueError, match=r"expected pi_targ to have the action_mask of what learns.*Fix:"):
        coax.td_learning.ExpectedSarsa(q_function(), pi)


# --- where the mask lies ----------------------------------------------------------------------------------------------


def test_inside_a_compiled_loop():
    pi = coax.EpsilonGreedy(q_function(), epsilon=1.0)
    S = batch_of(*[observation(1, 0, 0, 1)] * 200)
    drawn = coax.jit(lambda S: pi(S), over=(pi,))(S)
    assert set(np.asarray(drawn)) == {3, 6}


def test_host_only_preprocessor():
    def by_numpy(rng, S):
        return {"x": np.asarray(S["x"]) * 2.0, "legal": np.asarray(S["legal"])}

    q = coax.Q(known_q, ENV, observation_preprocessor=by_numpy, random_seed=0)
    assert coax.EpsilonGreedy(q, epsilon=0.0).mode(observation(0, 0, 1, 0)) == 5
    updater = coax.td_learning.QLearning(q, None, None, optax.sgd(1.0), half_square)
    np.testing.assert_allclose(td_target(updater, transitions(0, 1, 0, 1)), 2.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("where", "S"),
    [
        ("legal", {"legal": [1, 0]}),
        ((1, "legal"), (0, {"legal": [1, 0]})),
        (1, ([0, 0], [1, 0])),
        (lambda S: S["legal"], {"legal": [1, 0]}),
    ],
)
def test_the_way_to_the_mask(where, S):
    assert coax.ActionMask(where)(S) == [1, 0]
    assert coax.ActionMask(where) == coax.ActionMask(where)
    assert hash(coax.ActionMask(where)) == hash(coax.ActionMask(where))
    assert coax.ActionMask(where) != coax.ActionMask("other")


def test_two_constructions_share_what_is_compiled():
    assert q_function().rule is q_function().rule
    bare = types.SimpleNamespace(observation_space=SPACE, action_space=ENV.action_space)
    assert coax.Q(known_q, bare, random_seed=0).rule is not q_function().rule


def test_other_attributes_of_that_name_are_no_masks():
    # Taxi-v4 has a method action_mask(state)
    q = coax.Q(lambda S, is_training: hk.Linear(6)(S), gymnasium.make("Taxi-v4"))
    assert q.action_mask is None


def env_with(mask, observation_space=SPACE, action_space=ENV.action_space):
    return types.SimpleNamespace(observation_space=observation_space, action_space=action_space, action_mask=mask)


def test_errors():
    everything_excluded = observation(0, 0, 0, 0)
    for pi in (coax.EpsilonGreedy(q_function()), coax.Policy(known_logits, ENV), coax.RandomPolicy(ENV)):
        with pytest.raises(ValueError, match=r"action_mask: expected at least one allowed choice.*Fix:"):
            pi(everything_excluded)
        with pytest.raises(ValueError, match="action_mask: expected at least one allowed choice"):
            pi(batch_of(observation(1, 1, 1, 1), everything_excluded))
    for make in (lambda env: coax.Q(known_q, env), lambda env: coax.Policy(known_logits, env)):
        with pytest.raises(ValueError, match=r"ActionMask\('nothing'\): expected the observation to have a part.*Fix:"):
            make(env_with(coax.ActionMask("nothing")))
        with pytest.raises(
            ValueError, match=r"the mask at ActionMask\('x'\) does not fit the actions Discrete\(4.*\(1, 2\)"
        ):
            make(env_with(coax.ActionMask("x")))
