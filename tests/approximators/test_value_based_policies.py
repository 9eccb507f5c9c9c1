import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from gymnasium import spaces

import coax
from coax import BoltzmannPolicy, EpsilonGreedy
from coax.approximators._value_based_policies import boltzmann_logits, epsilon_greedy_logits
from coax.value_transforms import LogTransform

from . import functions as fn

HOW = pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
S = fn.observations(5)


def q_of(func=fn.type2, seed=1, env=fn.ENV, **kwargs):
    return coax.Q(func, env, random_seed=seed, **kwargs)


def constant(S, is_training):
    """q = (1, 3, 3, 2) whatever the state."""
    return jnp.tile(jnp.array([1.0, 3.0, 3.0, 2.0]), (S.shape[0], 1))


def q_values(q, s=S):
    return np.tanh(np.asarray(s, float) @ fn.weights_of(q))


def greedy_probs(q, epsilon, s=S):
    best = q_values(q, s).argmax(axis=-1)
    return epsilon / fn.N + (1 - epsilon) * np.eye(fn.N)[best]


def probs(pi, s=S):
    return np.exp(scipy.special.log_softmax(np.asarray(pi.dist_params(s)["logits"], float), axis=-1))


# --- pure functions ---------------------------------------------------------------------------------------------------


@HOW
def test_epsilon_greedy_by_hand(how):
    q = jnp.array([[1.0, 3.0, 3.0, 2.0], [1.0, 1.0, 1.0, 1.0], [0.0, -1.0, -2.0, -3.0]])
    # epsilon / 4 = 0.05 for all; the remaining 0.8 goes to the best, in equal parts
    want = [[0.05, 0.45, 0.45, 0.05], [0.25, 0.25, 0.25, 0.25], [0.85, 0.05, 0.05, 0.05]]
    logits = how(lambda q: epsilon_greedy_logits(q, 0.2))(q)
    np.testing.assert_allclose(np.exp(logits), want, rtol=1e-5)
    np.testing.assert_allclose(np.exp(logits).sum(axis=-1), 1, rtol=1e-5)


def test_epsilon_at_its_ends():
    q = jnp.array([[1.0, 3.0, 3.0, 2.0]])
    np.testing.assert_allclose(np.exp(epsilon_greedy_logits(q, 0.0)), [[0, 0.5, 0.5, 0]], atol=1e-14)
    np.testing.assert_allclose(np.exp(epsilon_greedy_logits(q, 1.0)), [[0.25] * 4], rtol=1e-5)
    assert np.isfinite(epsilon_greedy_logits(q, 0.0)).all()


@HOW
def test_boltzmann_by_hand(how):
    # differences of log 2 at temperature 1, of 2 log 2 at temperature 1/2
    q = jnp.log(jnp.array([[1.0, 2.0, 4.0, 1.0]]))
    softmax = lambda t: jax.nn.softmax(how(lambda q: boltzmann_logits(q, t))(q))
    np.testing.assert_allclose(softmax(1.0), np.array([[1, 2, 4, 1]]) / 8, rtol=1e-5)
    np.testing.assert_allclose(softmax(0.5), np.array([[1, 4, 16, 1]]) / 22, rtol=1e-5)
    np.testing.assert_allclose(softmax(1e-4), [[0, 0, 1, 0]], atol=1e-7)
    np.testing.assert_allclose(softmax(1e6), [[0.25] * 4], rtol=1e-5)


# --- distributions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("func", [fn.type1, fn.type2])
def test_distributions(func):
    q = q_of(func)
    np.testing.assert_allclose(probs(EpsilonGreedy(q, 0.2)), greedy_probs(q, 0.2), rtol=1e-4)
    want = scipy.special.softmax(q_values(q) / 0.3, axis=-1)
    np.testing.assert_allclose(probs(BoltzmannPolicy(q, 0.3)), want, rtol=1e-4)
    logits = EpsilonGreedy(q, 0.2).dist_params(S[0])["logits"]
    assert logits.shape == (fn.N,)
    np.testing.assert_allclose(np.exp(logits).sum(), 1, rtol=1e-5)


def test_the_raw_output_counts_not_what_is_transformed_back():
    q = q_of(value_transform=LogTransform(2.0))
    want = scipy.special.softmax(q_values(q) / 0.3, axis=-1)
    np.testing.assert_allclose(probs(BoltzmannPolicy(q, 0.3)), want, rtol=1e-4)


def test_it_follows_its_q_function():
    q = q_of()
    pi = EpsilonGreedy(q, 0.2)
    np.testing.assert_allclose(probs(pi), greedy_probs(q, 0.2), rtol=1e-4)
    q.params = q_of(seed=7).params
    np.testing.assert_allclose(probs(pi), greedy_probs(q, 0.2), rtol=1e-4)


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 3, -2])
@pytest.mark.parametrize(("cls", "number"), [(EpsilonGreedy, 0.4), (BoltzmannPolicy, 0.5)])
def test_the_law_of_actions(cls, number, start):
    env = fn.env_of(action_space=spaces.Discrete(fn.N, start=start))
    pi = cls(q_of(env=env), number)
    many = np.broadcast_to(S[0], (20000, fn.OBS))
    actions, logp = pi(many, return_logp=True)
    assert actions.dtype == env.action_space.dtype
    want = probs(pi, S[0])
    counts = np.bincount(actions - start, minlength=fn.N)
    assert scipy.stats.chisquare(counts, 20000 * want).pvalue > 1e-3
    np.testing.assert_allclose(logp, np.log(want)[actions - start], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.unique(pi.mode(many)), [want.argmax() + start])


def test_greedy_without_epsilon():
    q = q_of()
    pi = EpsilonGreedy(q, 0.0)
    many = np.repeat(S, 200, axis=0)
    actions, logp = pi(many, return_logp=True)
    np.testing.assert_array_equal(actions, q_values(q, many).argmax(axis=-1))
    np.testing.assert_allclose(logp, 0, atol=1e-6)


def test_the_mode_breaks_ties_at_random():
    pi = EpsilonGreedy(q_of(constant), 0.2)
    counts = np.bincount(pi.mode(np.zeros((4000, fn.OBS), np.float32)), minlength=4)
    assert counts[0] == counts[3] == 0
    assert scipy.stats.chisquare(counts[1:3]).pvalue > 1e-3
    assert len({pi.mean(S[0]) for _ in range(30)}) == 2  # from call to call, too


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 1, 3), (0,)])
def test_leading_axes(lead):
    pi = EpsilonGreedy(q_of(), 0.5)
    s = fn.observations(*lead)
    action, logp = pi(s, return_logp=True)
    for a in (action, pi(s), pi.mode(s), pi.mean(s)):
        if lead == ():
            assert type(a) is int
            assert pi.action_space.contains(a)
        else:
            assert isinstance(a, np.ndarray)
            assert a.shape == lead
            assert a.dtype == pi.action_space.dtype
    assert np.shape(logp) == lead
    assert logp.dtype == jax.dtypes.canonicalize_dtype(float)
    logits = pi.dist_params(s)["logits"]
    assert logits.shape == (*lead, fn.N)
    want = np.take_along_axis(scipy.special.log_softmax(logits, axis=-1), np.asarray(action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(logp, want, rtol=1e-4, atol=1e-6)


def test_reproducible_from_the_seed_of_q():
    draw = lambda seed: [EpsilonGreedy(q_of(seed=seed), 1.0)(fn.observations(20)).tolist() for _ in range(2)]
    first, second = draw(1)
    assert first == second
    assert first != draw(2)[0]


def test_two_policies_of_one_q_function_draw_apart():
    q = q_of()
    a, b = EpsilonGreedy(q, 1.0), EpsilonGreedy(q, 1.0)
    s = fn.observations(20)
    assert a(s).tolist() != b(s).tolist()
    assert a(s).tolist() != a(s).tolist()


def test_a_random_q_function():
    """Each call sees another dropout mask."""
    pi = BoltzmannPolicy(q_of(fn.with_dropout), 1.0)
    seen = []
    for _ in range(5):
        seen.append(pi.dist_params(S[0])["logits"].tolist())
        pi(S[0])
    assert len(set(map(tuple, seen))) > 1


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["python", "compiled"])
@pytest.mark.parametrize(("cls", "name"), [(EpsilonGreedy, "epsilon"), (BoltzmannPolicy, "temperature")])
def test_setting_a_number_takes_effect_at_once(cls, name, how):
    q = q_of()
    pi = cls(q, 0.5)
    logits = lambda s: pi.dist_params(s)["logits"]
    if how == "compiled":
        logits = coax.jit(logits, over=pi)
    for number in (0.5, 1, np.float64(0.125), np.float32(0.25), jnp.float32(0.75)):
        setattr(pi, name, number)
        assert type(getattr(pi, name)) is float
        assert getattr(pi, name) == float(number)
        want = np.log(greedy_probs(q, float(number)) + 1e-15) if name == "epsilon" else q_values(q) / float(number)
        np.testing.assert_allclose(logits(S), want, rtol=1e-4, atol=1e-5)


def test_setting_a_number_inside_a_compiled_function():
    pi = EpsilonGreedy(q_of(), 0.5)

    @coax.jit(over=pi)
    def decay():
        pi.epsilon = pi.epsilon * 0.5

    decay()
    decay()
    assert pi.epsilon == 0.125


def test_defaults_and_wrong_numbers():
    assert EpsilonGreedy(q_of()).epsilon == pytest.approx(0.1)
    assert BoltzmannPolicy(q_of()).temperature == pytest.approx(0.02)
    pi = EpsilonGreedy(q_of(), 0.25)
    for wrong in ("0.1", None, True, [0.1]):
        with pytest.raises(TypeError, match=r"EpsilonGreedy\.epsilon: expected a number, got .*Fix:"):
            pi.epsilon = wrong
        with pytest.raises(TypeError, match=r"EpsilonGreedy\.epsilon: expected a number, got .*Fix:"):
            EpsilonGreedy(pi.q, wrong)
    assert pi.epsilon == 0.25


# --- in a trace -------------------------------------------------------------------------------------------------------


@pytest.mark.gate
def test_compiled_calls_give_what_plain_ones_give():
    def draws(lift):
        pi = EpsilonGreedy(q_of(env=fn.env_of(action_space=spaces.Discrete(fn.N, start=2))), 0.7)

        def act(s):
            a, logp = pi(s, return_logp=True)
            return a, logp, pi.mode(s), pi.dist_params(s)["logits"]

        act = coax.jit(act, over=pi) if lift else act
        return [act(s) for s in (S[0], S[1], S)[:2]], act(S)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), draws(False), draws(True))


# --- members ----------------------------------------------------------------------------------------------------------


def test_what_it_is_made_of():
    q = q_of()
    pi = EpsilonGreedy(q)
    assert pi.q is q
    assert pi.children == (q,)
    assert pi.action_space == q.action_space
    assert pi.observation_space == q.observation_space
    assert pi.observation_preprocessor is q.observation_preprocessor
    assert pi.action_preprocessor is q.action_preprocessor
    assert pi.proba_dist.space == q.action_space
    assert set(pi.state) == {"epsilon", "rng"}
    assert len({float(jax.random.uniform(pi.rng)) for _ in range(3)}) == 3
    with pytest.raises(AttributeError):
        pi.q = q_of(seed=2)


@pytest.mark.parametrize("name", ["q", "proba_dist", "rule"])
def test_what_is_compiled_in_cannot_be_set(name):
    pi = EpsilonGreedy(coax.Q(fn.type2, fn.ENV))
    before = getattr(pi, name)
    text = rf"EpsilonGreedy\.{name} is fixed at construction. Fix: make a new policy"
    with pytest.raises(AttributeError, match=text):
        setattr(pi, name, None)
    assert getattr(pi, name) is before


def test_functions_of_preprocessed_input():
    q = q_of()
    pi = EpsilonGreedy(q, 0.2)
    key = jax.random.key(0)
    dist_params, nothing = pi.function(pi.params, pi.function_state, key, S, False)
    assert nothing is None
    np.testing.assert_allclose(np.exp(dist_params["logits"]), greedy_probs(q, 0.2), rtol=1e-4)
    np.testing.assert_allclose(pi.mean_func(pi.params, pi.function_state, key, S), greedy_probs(q, 0.2), rtol=1e-4)
    mode = np.asarray(pi.mode_func(pi.params, pi.function_state, key, S))
    np.testing.assert_array_equal(mode.argmax(axis=-1), q_values(q).argmax(axis=-1))
    np.testing.assert_allclose(mode.max(axis=-1), 1, atol=1e-3)
    many = np.broadcast_to(S[0], (4000, fn.OBS))
    X, logP = pi.sample_func(pi.params, pi.function_state, key, many)
    np.testing.assert_allclose(np.sum(X, axis=-1), 1)
    assert scipy.stats.chisquare(np.sum(X, axis=0), 4000 * greedy_probs(q, 0.2)[0]).pvalue > 1e-3
    np.testing.assert_allclose(logP, (np.log(greedy_probs(q, 0.2)[0]) * X).sum(axis=-1), rtol=1e-4)


def test_params():
    q, other = q_of(), q_of(seed=2)
    pi, pi2 = EpsilonGreedy(q, 0.25), EpsilonGreedy(other, 0.5)
    assert set(pi.params) == {"epsilon", "q"}
    pi.params = pi2.params
    assert pi.epsilon == 0.5
    np.testing.assert_array_equal(q.params["~"]["w"], other.params["~"]["w"])
    before = fn.weights_of(q)
    wrong = {"epsilon": pi.params["epsilon"], "q": {"~": {"w": np.zeros((1, 1), np.float32)}}}
    with pytest.raises(TypeError, match=r"EpsilonGreedy\.params.*\['q'\]\['~'\]\['w'\]: expected float32\[3, 4\]"):
        pi.params = wrong
    with pytest.raises(TypeError, match=r"epsilon.* is missing"):
        pi.params = {"q": q.params}
    np.testing.assert_array_equal(fn.weights_of(q), before)
    with_state = EpsilonGreedy(q_of(fn.with_batch_norm))
    with_state.function_state = jax.tree.map(lambda x: x + 1, with_state.function_state)
    np.testing.assert_array_equal(
        with_state.q.function_state["batch_norm/~/mean_ema"]["counter"],
        with_state.function_state["batch_norm/~/mean_ema"]["counter"],
    )


def test_copies():
    q = q_of()
    pi = EpsilonGreedy(q, 0.25)
    shallow, deep = pi.copy(), copy.deepcopy(pi)
    pi.epsilon = 0.5
    assert shallow.epsilon == deep.epsilon == 0.25
    assert shallow.q is q
    assert deep.q is not q
    other = coax.utils.loads(coax.utils.dumps(pi))
    s = fn.observations(20)
    assert other.epsilon == 0.5
    assert other(s).tolist() == pi(s).tolist()


@pytest.mark.parametrize("cls", [EpsilonGreedy, BoltzmannPolicy])
def test_wrong_q_functions(cls):
    with pytest.raises(TypeError, match=rf"{cls.__name__}: expected a q-function, got V\. Fix:"):
        cls(coax.V(fn.state_value, fn.ENV))
    box = coax.Q(fn.any_type1, fn.env_of(action_space=spaces.Box(-1, 1, (2,))))
    with pytest.raises(TypeError, match=rf"{cls.__name__}: expected a q-function of Discrete actions, got Box.*Fix:"):
        cls(box)
