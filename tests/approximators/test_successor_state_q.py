"""One step ahead: by hand in a small table, and on a line."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from gymnasium import spaces

import coax
from coax.value_transforms import LogTransform

from . import functions as fn
from .test_policy import compilations

# two actions, 5 and 6, in three states, -1, 0 and 1
TABLE = fn.env_of(spaces.Discrete(3, start=-1), spaces.Discrete(2, start=5))
STATES, ACTIONS = np.arange(-1, 2), np.array([5, 6])
NEXT = np.array(  # p(s' | s, a), [s, a, s']
    [
        [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]],
        [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]],
        [[0.0, 0.25, 0.75], [0.1, 0.8, 0.1]],
    ]
)
REWARD = np.array([[1.0, 1.5], [0.5, 3.0], [0.0, 4.0]])
VALUE = np.array([10.0, -4.0, 2.0])
LINE = fn.env_of(spaces.Box(-8, 8, ()), spaces.Box(-1, 1, ()))
LOG = LogTransform(2.0)


def looked_up(table):
    """``func(S, is_training)`` and ``func(S, A, is_training)`` that read a table [s, a, ...]."""
    rows = jnp.asarray(table, jnp.float32)
    return (
        lambda S, A, is_training: jnp.einsum("bs,ba,sa...->b...", S, A, rows),
        lambda S, is_training: jnp.einsum("bs,sa...->ba...", S, rows),
    )


def logits_of(probs):
    return np.log(np.maximum(probs, 1e-30))


def func_v(S, is_training):
    return S @ jnp.asarray(VALUE, jnp.float32)


P = [lambda *args, f=f: {"logits": f(*args)} for f in looked_up(logits_of(NEXT))]
FUNC_P = [
    lambda S, A, is_training: P[0](S, A, is_training),
    lambda S, is_training: P[1](S, is_training),
]
FUNC_R = looked_up(REWARD)

# bins with the centres 0, 2 and 4; rewards by their probabilities
BINS = np.array([[[0.5, 0, 0.5], [0, 1, 0]], [[1, 0, 0], [0, 0, 1]], [[0.2, 0.5, 0.3], [0, 0.5, 0.5]]])
MEAN_REWARD = BINS @ [0, 2, 4]


def bins_v(S, is_training):
    # of a mean state, the mixture of the laws
    laws = jnp.array([[1.0, 0, 0], [0, 0.5, 0.5], [0, 0, 1]])  # means 0, 3 and 4
    return {"logits": jnp.log(jnp.maximum(S @ laws, 1e-30))}


def make(p_type=1, r_type=1, gamma=0.9, v=None, r=None):
    p = coax.StochasticTransitionModel(FUNC_P[p_type - 1], TABLE, random_seed=1)
    see = {"observation_preprocessor": p.observation_preprocessor}
    v = coax.V(func_v, TABLE, **see) if v is None else v(see)
    r = coax.RewardFunction(FUNC_R[r_type - 1], TABLE, **see) if r is None else r(see)
    return coax.SuccessorStateQ(v, p, r, gamma=gamma)


def close(got, want, **kwargs):
    np.testing.assert_allclose(got, want, **{"rtol": 1e-5, "atol": 1e-5, **kwargs})


# --- values -----------------------------------------------------------------------------------------------------------


def test_one_value_by_hand():
    # r = 0.5; next states -1, 0, 1 with 0.2, 0.3, 0.5: 0.5 + 0.9 * (0.2 * 10 - 0.3 * 4 + 0.5 * 2) = 0.5 + 0.9 * 1.8
    close(make()(0, 5), 2.12)
    close(make(gamma=0.0)(0, 5), 0.5)


@pytest.mark.parametrize("p_type", [1, 2])
@pytest.mark.parametrize("r_type", [1, 2])
def test_the_expectation_over_next_states(p_type, r_type):
    q = make(p_type, r_type)
    want = np.array([[REWARD[i, k] + 0.9 * sum(NEXT[i, k] * VALUE) for k in range(2)] for i in range(3)])
    close(q(STATES), want)
    for i, k in np.ndindex(3, 2):
        close(q(STATES[i], ACTIONS[k]), want[i, k])
        close(q(STATES[i])[k], want[i, k])
    close(q(STATES[None], np.array([[6, 5, 6]])), [[want[0, 1], want[1, 0], want[2, 1]]])
    assert isinstance(q(0, 5), np.ndarray)
    assert (q(0, 5).shape, q(0).shape, q(STATES[:0]).shape, q(0, 5).dtype) == ((), (2,), (0, 2), np.float32)
    compiled = coax.jit(lambda s, a: (q(s), q(s, a)), over=q)
    for got, shown in zip(compiled(STATES, ACTIONS[[0, 1, 1]]), (want, want[np.arange(3), [0, 1, 1]]), strict=True):
        assert isinstance(got, jax.Array)
        close(got, shown)


def test_the_next_state_on_a_line():
    # the model adds a to the logit of s in (-8, 8); v sees logits and is not linear; r = -s_logit * a
    p = coax.TransitionModel(lambda S, A, is_training: S + A, LINE)
    see = {"observation_preprocessor": p.observation_preprocessor}
    v = coax.V(lambda S, is_training: S**2, LINE, **see)
    r = coax.RewardFunction(lambda S, A, is_training: -S * A, LINE, **see)
    q = coax.SuccessorStateQ(v, p, r, gamma=0.5)
    s, a = np.array([-4.0, 0, 6]), np.array([1.0, 0.5, -0.25])
    z = scipy.special.logit((s + 8) / 16)
    close(q(s, a), -z * a + 0.5 * (z + a) ** 2)
    close(q(6.0, -0.25), -z[2] * a[2] + 0.5 * (z[2] + a[2]) ** 2)
    for call in (lambda: q(s), lambda: q.function_type2):
        with pytest.raises(ValueError, match=r"expected a Discrete action space, got Box.*Fix: "):
            call()


@pytest.mark.parametrize("r_type", [1, 2])
def test_stochastic_values_and_rewards(r_type):
    func_r = [lambda *args, f=f: {"logits": jnp.log(jnp.maximum(f(*args), 1e-30))} for f in looked_up(BINS)]
    named = (lambda S, A, is_training: func_r[0](S, A, is_training)), (lambda S, is_training: func_r[1](S, is_training))
    q = make(
        v=lambda see: coax.StochasticV(bins_v, TABLE, (-1, 5), 3, **see),
        r=lambda see: coax.StochasticRewardFunction(named[r_type - 1], TABLE, (-1, 5), 3, **see),
    )
    want = MEAN_REWARD + 0.9 * NEXT @ [0, 3, 4]
    close(q(STATES), want)
    close(q(STATES, ACTIONS[[1, 0, 1]]), want[np.arange(3), [1, 0, 1]])
    close(q.function_type2(q.params, q.function_state, jax.random.key(0), np.eye(3, dtype=np.float32), False)[0], want)


def test_value_transforms():
    """Calls are in the original space, whatever the transforms of v and r; the pure functions in that of v."""
    q = make(
        v=lambda see: coax.V(
            lambda S, is_training: LOG.transform_func(S @ jnp.asarray(VALUE, jnp.float32)),
            TABLE,
            value_transform=LOG,
            **see,
        ),
        r=lambda see: coax.RewardFunction(
            lambda S, is_training: jnp.arcsinh(FUNC_R[1](S, is_training)),
            TABLE,
            value_transform=(jnp.arcsinh, jnp.sinh),
            **see,
        ),
    )
    want = REWARD + 0.9 * NEXT @ VALUE
    assert q.value_transform is q.v.value_transform
    close(q(STATES), want, rtol=1e-4)
    close(q(0, 6), want[1, 1], rtol=1e-4)
    S, A = np.eye(3, dtype=np.float32), np.eye(2, dtype=np.float32)[[0, 1, 1]]
    transformed = np.sign(want) * 2 * np.log1p(np.abs(want) / 2)
    args = q.params, q.function_state, jax.random.key(0), S
    close(q.function_type2(*args, False)[0], transformed, rtol=1e-4)
    close(q.function_type1(*args, A, False)[0], transformed[np.arange(3), [0, 1, 1]], rtol=1e-4)
    pi = coax.BoltzmannPolicy(q, 0.5)
    close(pi.dist_params(STATES)["logits"], transformed / 0.5, rtol=1e-4)
    out, _ = pi.function(pi.params, pi.function_state, jax.random.key(0), S, False)
    close(out["logits"], transformed / 0.5, rtol=1e-4)


def test_functions_take_their_numbers_from_the_parameters():
    q = make(2, 2)
    S, A = np.eye(3, dtype=np.float32), np.eye(2, dtype=np.float32)[[0, 1, 1]]
    params = {**q.params, "gamma": 0.1}
    out, state = jax.jit(q.function_type1, static_argnums=5)(params, q.function_state, None, S, A, False)
    close(out, (REWARD + 0.1 * NEXT @ VALUE)[np.arange(3), [0, 1, 1]])
    assert set(state) == {"v", "p", "r"}
    assert set(q.params) == {"v", "p", "r", "gamma"}


# --- the discount -----------------------------------------------------------------------------------------------------


def test_the_discount_can_be_set(request):
    q = make()
    pi = coax.EpsilonGreedy(q, 0.0)
    q(STATES), q(0, 5), pi(STATES), pi.mode(STATES)
    q.gamma = 0.8
    q(STATES), q(0, 5), pi(STATES), pi.mode(STATES)
    with compilations() as found:
        for gamma in (0.0, 1, np.float64(0.25), 0.9):
            q.gamma = gamma
            want = REWARD + float(gamma) * NEXT @ VALUE
            close(q(STATES), want)
            close(q(0, 5), want[1, 0])
            np.testing.assert_array_equal(pi.mode(STATES), ACTIONS[want.argmax(axis=-1)])
            np.testing.assert_array_equal(pi(STATES), ACTIONS[want.argmax(axis=-1)])
            assert q.gamma == pytest.approx(gamma)
    assert found == [] or request.config.getoption("checking_leaks")
    # without and with a discount other actions are the best
    best = [(REWARD + gamma * NEXT @ VALUE).argmax(axis=-1).tolist() for gamma in (0.0, 0.9)]
    assert best[0] != best[1]
    for wrong, error in ((-0.1, ValueError), (1.1, ValueError), ("1", TypeError)):
        with pytest.raises(error, match=r"SuccessorStateQ\.gamma: expected a number.*Fix:"):
            q.gamma = wrong
        with pytest.raises(error, match=r"SuccessorStateQ\.gamma: expected a number"):
            make(gamma=wrong)
    assert q.gamma == pytest.approx(0.9)


def test_it_follows_its_parts():
    p = coax.TransitionModel(lambda S, A, is_training: S + A * fn.weights(), LINE, random_seed=1)
    see = {"observation_preprocessor": p.observation_preprocessor}
    v = coax.V(lambda S, is_training: S * fn.weights(), LINE, **see)
    r = coax.RewardFunction(lambda S, A, is_training: A * fn.weights(), LINE, **see)
    q = coax.SuccessorStateQ(v, p, r, gamma=0.5)
    for w_v, w_p, w_r in ((1.0, 2, 3), (-2, 0.5, 0.25)):
        for f, w in ((v, w_v), (p, w_p), (r, w_r)):
            f.params = {"~": {"w": jnp.float32(w)}}
        close(q(0.0, 0.5), 0.5 * w_r + 0.5 * w_v * 0.5 * w_p)
    assert q.children == (v, p, r)
    assert set(q.state) == {"gamma", "rng"}


# --- what it is -------------------------------------------------------------------------------------------------------


def test_members():
    q = make()
    assert coax.utils.is_qfunction(q)
    roles = ("vfunction", "reward_function", "transition_model", "policy", "stochastic")
    assert not any(getattr(coax.utils, f"is_{role}")(q) for role in roles)
    assert (q.observation_space, q.action_space) == (TABLE.observation_space, TABLE.action_space)
    for name in ("observation_preprocessor", "observation_postprocessor", "action_preprocessor"):
        assert getattr(q, name) == getattr(q.p, name)
    for name in ("v", "p", "r", "rule", "params", "function_state", "observation_space"):
        with pytest.raises(AttributeError):
            setattr(q, name, None)
    assert q.copy().v is q.v
    assert q.copy(deep=True).rule is q.rule
    stored = coax.utils.loads(coax.utils.dumps(q))
    close(stored(STATES), q(STATES))
    assert stored.gamma == q.gamma


def test_the_same_parts_share_what_is_compiled():
    assert make().rule is make(gamma=0.5).rule
    assert make().rule is not make(2).rule


# --- wrong parts ------------------------------------------------------------------------------------------------------


def test_parts_that_see_different_things():
    p = coax.StochasticTransitionModel(FUNC_P[0], TABLE)
    see = {"observation_preprocessor": p.observation_preprocessor}
    v, r = coax.V(func_v, TABLE, **see), coax.RewardFunction(FUNC_R[0], TABLE, **see)
    halves = {"observation_preprocessor": lambda rng, X: p.observation_preprocessor(rng, X) / 2}
    for wrong in (
        (coax.V(func_v, TABLE, **halves), p, r),
        (v, p, coax.RewardFunction(FUNC_R[0], TABLE, **halves)),
    ):
        with pytest.warns(
            UserWarning, match=r"v, p and r preprocess observations in different ways.*Fix: make v and r w"
        ):
            coax.SuccessorStateQ(*wrong)


def test_other_roles():
    q = make()
    v, p, r = q.children
    value = coax.Q(lambda S, is_training: S[:, :2], TABLE)
    stand_in = types.SimpleNamespace()
    for wrong, text in (
        ((p, v, r), "expected v to be a coax.V or its stochastic form, got StochasticTransitionModel"),
        ((v, r, p), "expected p to be a coax.TransitionModel or its stochastic form, got RewardFunction"),
        ((v, p, v), "expected r to be a coax.RewardFunction or its stochastic form, got V"),
        ((v, p, value), "expected r to be a coax.RewardFunction or its stochastic form, got Q"),
        ((stand_in, p, r), "expected v to be a coax.V or its stochastic form, got SimpleNamespace"),
        ((v, q, r), "expected p to be a coax.TransitionModel or its stochastic form, got SuccessorStateQ"),
    ):
        with pytest.raises(TypeError) as caught:
            coax.SuccessorStateQ(*wrong)
        assert f"SuccessorStateQ: {text}. Fix: pass them in the order v, p, r." in str(caught.value)


def test_other_spaces():
    _, p, r = make().children
    wider = fn.env_of(spaces.Discrete(4), TABLE.action_space)
    more = fn.env_of(TABLE.observation_space, spaces.Discrete(2))
    v = coax.V(lambda S, is_training: S[:, 0], wider)
    with pytest.raises(ValueError, match=r"expected v to have the observation_space of p, Discrete.*got Discrete\(4\)"):
        coax.SuccessorStateQ(v, p, r)
    r = coax.RewardFunction(FUNC_R[0], more, observation_preprocessor=p.observation_preprocessor)
    v = coax.V(func_v, TABLE, observation_preprocessor=p.observation_preprocessor)
    with pytest.raises(
        ValueError, match=r"expected r to have the action_space of p, Discrete.*got Discrete\(2\)\. Fix:"
    ):
        coax.SuccessorStateQ(v, p, r)


def test_wrong_inputs():
    q = make()
    with pytest.raises(ValueError, match=r"actions: expected the leading axes of the observations, \(3,\), got \(2,\)"):
        q(STATES, ACTIONS)
    with pytest.raises(ValueError, match=r"expected elements of Discrete\(2, start=5\), got values from 7 to 7"):
        q(0, 7)
    with pytest.raises(ValueError, match=r"expected elements of Discrete\(3, start=-1\), got values from 2 to 2"):
        q(2)


# --- double precision, host-only preprocessors ------------------------------------------------------------------------


def test_double_precision():
    with jax.enable_x64(True):
        rows = jnp.asarray(REWARD / 3)
        p = coax.StochasticTransitionModel(
            lambda S, is_training: {"logits": jnp.einsum("bs,sat->bat", S, jnp.asarray(NEXT))}, TABLE
        )
        see = {"observation_preprocessor": p.observation_preprocessor}
        v = coax.V(lambda S, is_training: S @ jnp.asarray(VALUE / 3), TABLE, **see)
        r = coax.RewardFunction(lambda S, is_training: S @ rows, TABLE, **see)
        want = REWARD / 3 + 0.7 * scipy.special.softmax(NEXT, axis=-1) @ (VALUE / 3)
        np.testing.assert_allclose(coax.SuccessorStateQ(v, p, r, gamma=0.7)(STATES), want, rtol=1e-10)


def on_host(rng, X):
    return np.eye(3, dtype=np.float32)[np.asarray(X) + 1].reshape(-1, 3)


def test_preprocessors_that_run_on_the_host():
    see = {"observation_preprocessor": on_host}
    p = coax.TransitionModel(looked_up(NEXT)[1], TABLE, **see)
    q = coax.SuccessorStateQ(coax.V(func_v, TABLE, **see), p, coax.RewardFunction(FUNC_R[0], TABLE, **see))
    close(q(STATES), REWARD + 0.9 * NEXT @ VALUE)
    close(q(0, 6), (REWARD + 0.9 * NEXT @ VALUE)[1, 1])
    np.testing.assert_array_equal(
        coax.EpsilonGreedy(q, 0.0)(STATES), ACTIONS[(REWARD + 0.9 * NEXT @ VALUE).argmax(axis=-1)]
    )
