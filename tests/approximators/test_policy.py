"""Policies with a network: the actions, their log-probabilities, and how the object behaves."""

import copy
import functools
import itertools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from gymnasium import spaces

import coax
from coax.errors import StateError
from coax.proba_dists import CategoricalDist, NormalDist, ProbaDist, SquashedNormalDist
from tests.compilations import compilations

from . import functions as fn
from . import laws

S = fn.observations(5)
MANY = np.broadcast_to(S[0], (20_000, fn.OBS))
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([6, 1], np.float32))
DISCRETE = fn.SPACES["discrete"]


def env_of(actions, observations=None):
    return fn.env_of(observations, actions)


@functools.cache
def policy(name, seed=1):
    """One policy for each space of actions; nothing that tests do to it matters to others."""
    return coax.Policy(laws.of_state(fn.SPACES[name]), env_of(fn.SPACES[name]), random_seed=seed)


def constant(actions, params, **kwargs):
    """A policy that does not look at the observation."""
    return coax.Policy(laws.always(params), env_of(actions), random_seed=1, **kwargs)


def leaves(pi):
    return jax.tree.map(np.array, (pi.params, pi.function_state))


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def count_of(pi):
    return int(pi.state["rng"].count)


# --- actions ----------------------------------------------------------------------------------------------------------


def check_actions(space, lead, actions, logp):
    for a in actions:
        laws.assert_like_the_space(space, a, lead)
        assert all(space.contains(laws.row(a, i)) for i in np.ndindex(lead))
    assert type(logp) is np.ndarray
    assert logp.shape == lead
    assert logp.dtype == np.float32


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name == "nested" else []) for name in fn.SPACES]
)
def test_actions(name):
    """Elements of the space, the log-probability of the very action, the mode; and a batch is its rows."""
    space, pi, s = fn.SPACES[name], policy(name), fn.observations(2, 3)
    assert pi.action_space == space
    a, logp = pi(s, return_logp=True)
    modes, params, again = pi.mode(s), pi.dist_params(s), pi.log_proba(s, a)
    check_actions(space, (2, 3), (a, modes), logp)
    assert jax.tree.map(np.shape, params) == laws.shapes(space, 2, 3)
    np.testing.assert_array_equal(again, logp)
    for i in np.ndindex(2, 3):
        one, mode = laws.row(params, i), pi.mode(s[i])
        want = laws.log_proba(space, one, laws.row(a, i))
        np.testing.assert_allclose(logp[i], want, rtol=1e-4, atol=1e-4)
        laws.assert_close(laws.row(modes, i), laws.mode(space, one))
        check_actions(space, (), (mode,), pi.log_proba(s[i], mode))
        laws.assert_close(mode, laws.row(modes, i))
        laws.assert_close(pi.dist_params(s[i]), one)
        np.testing.assert_allclose(pi.log_proba(s[i], laws.row(a, i)), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["discrete", "scalar box", "multi discrete", "tuple"])
@pytest.mark.parametrize("lead", [(), (2, 0)])
@pytest.mark.gate
def test_other_leading_axes(name, lead):
    space, pi, s = fn.SPACES[name], policy(name), fn.observations(*lead)
    a, logp = pi(s, return_logp=True)
    check_actions(space, lead, (a, pi(s), pi.mean(s), pi.mode(s)), logp)
    np.testing.assert_array_equal(pi.log_proba(s, a), logp)
    means, params = pi.mean(S), pi.dist_params(S)
    for i in range(5):  # the most likely of the discrete ones; a Gaussian has one centre
        laws.assert_close(laws.row(means, i), laws.mode(space, laws.row(params, i)))


def test_by_hand_discrete():
    # probabilities 1/10, ..., 4/10 of the actions 3, ..., 6
    pi = constant(spaces.Discrete(4, start=3), {"logits": np.log([1, 2, 3, 4])})
    a, logp = pi(MANY, return_logp=True)
    assert scipy.stats.chisquare(np.bincount(a - 3), np.array([2000, 4000, 6000, 8000])).pvalue > 1e-3
    np.testing.assert_allclose(logp, np.log((a - 2) / 10), rtol=1e-5)
    np.testing.assert_allclose([pi.log_proba(S[0], k) for k in (3, 6)], np.log([0.1, 0.4]), rtol=1e-5)
    assert pi.mode(S[0]) == pi.mean(S[0]) == 6
    np.testing.assert_allclose(pi.dist_params(S[0])["logits"], np.log([1, 2, 3, 4]), rtol=1e-6)


def test_by_hand_box():
    # sigmoid(0) = 1/2 and sigmoid(log 3) = 3/4: -2 + 8 / 2 = 2, and 3/4
    pi = constant(BOX, {"mu": [0, np.log(3)], "logvar": [0, np.log(4)]})
    np.testing.assert_allclose(pi.mode(S[0]), [2, 0.75], rtol=1e-6)
    np.testing.assert_allclose(pi.mean(S[0]), [2, 0.75], rtol=1e-6)
    # there the density is that of two Gaussians of deviations 1 and 2 at their centres: 1 / (2 pi * 1 * 2)
    np.testing.assert_allclose(pi.log_proba(S[0], [2, 0.75]), -np.log(4 * np.pi), rtol=1e-5)
    # 4 = -2 + 8 * 3/4, so that z = log 3, at a distance of log 3 from 0
    want = -np.log(4 * np.pi) - np.log(3) ** 2 / 2
    np.testing.assert_allclose(pi.log_proba(S[0], [4, 0.75]), want, rtol=1e-5)


def test_by_hand_multi_discrete_of_rank_2():
    # row by row: 2 * 2 entries with 2, 3, 2, 2 choices, the last of them from 7 on
    actions = spaces.MultiDiscrete([[2, 3], [2, 2]], start=[[0, 0], [0, 7]])
    thirds = ({"logits": np.log([1, 3])}, {"logits": [9, 0, 0]}, {"logits": [0, 0]}, {"logits": np.log([4, 1])})
    pi = constant(actions, thirds)
    # 3/4 * 1/(e^9 + 2) * 1/2 * 1/5
    want = np.log(0.75) - np.log(np.exp(9) + 2) + np.log(0.5) + np.log(0.2)
    np.testing.assert_allclose(pi.log_proba(S[0], [[1, 2], [0, 8]]), want, rtol=1e-5)
    mode = pi.mode(S[0])
    np.testing.assert_array_equal(mode[[0, 0, 1], [0, 1, 1]], [1, 0, 7])


@pytest.mark.parametrize("name", ["multi discrete", "multi binary"])
def test_the_law_of_many_entries(name):
    """Entries are independent, with the probabilities of their own logits."""
    space, pi = fn.SPACES[name], policy(name)
    probs = [scipy.special.softmax(np.asarray(part["logits"], float)) for part in pi.dist_params(S[0])]
    joint = functools.reduce(np.multiply.outer, probs)
    cells = (pi(MANY) - (space.start if name == "multi discrete" else 0)).reshape(len(MANY), -1)
    counts = np.zeros(joint.shape)
    np.add.at(counts, tuple(cells.T), 1)
    assert scipy.stats.chisquare(counts.ravel(), len(MANY) * joint.ravel()).pvalue > 1e-3


def test_the_law_in_a_tuple():
    """The parts are independent: the number is a Gaussian in logit space, whatever the choice."""
    space, pi = fn.SPACES["tuple"], policy("tuple")
    choice, box = pi.dist_params(S[0])
    k, x = pi(MANY)
    want = scipy.special.softmax(np.asarray(choice["logits"], float))
    assert scipy.stats.chisquare(np.bincount(k - 1, minlength=3), len(MANY) * want).pvalue > 1e-3
    z = (laws.logits_of(space[1], x) - box["mu"]) / np.exp(np.asarray(box["logvar"]) / 2)
    for part in (z, z[k == 1], z[k == 3]):
        for column in part.T:
            assert scipy.stats.kstest(column, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z.T)[0, 1]) < 4 / np.sqrt(len(MANY))


@pytest.mark.parametrize("actions", [spaces.Discrete(4, start=-1), spaces.MultiDiscrete([4], start=[-1])])
def test_ties_of_the_mode_are_broken_at_random(actions):
    params = {"logits": [0.0, 1.0, 1.0, 1.0]}
    pi = constant(actions, params if isinstance(actions, spaces.Discrete) else (params,))
    for modes in (pi.mode(MANY), pi.mean(MANY)):
        counts = np.bincount(np.ravel(modes) + 1, minlength=4)
        assert counts[0] == 0
        assert scipy.stats.chisquare(counts[1:]).pvalue > 1e-3
    one_by_one = {int(np.squeeze(pi.mode(S[0]))) for _ in range(30)}
    assert one_by_one == {0, 1, 2}


# --- at the bounds of a Box -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [20.0, -20.0, 1e4])
@pytest.mark.parametrize("dist", [None, SquashedNormalDist(BOX), ProbaDist(BOX, box=SquashedNormalDist)])
def test_saturated_actions(mu, dist):
    pi = constant(BOX, {"mu": [mu, mu], "logvar": [-1.0, 0.0]}, proba_dist=dist)
    a, logp = pi(S, return_logp=True)
    np.testing.assert_allclose(a, np.broadcast_to(BOX.high if mu > 0 else BOX.low, (5, 2)), atol=1e-7)
    assert np.isfinite(logp).all()
    np.testing.assert_allclose(pi.log_proba(S, a), logp, rtol=1e-6)


def test_boxes_of_integers():
    bytes_ = spaces.Box(0, 255, (3,), np.uint8)
    pi = constant(bytes_, {"mu": [0.0, 30, -30], "logvar": [0.0, 0, 0]})
    np.testing.assert_array_equal(pi.mode(S[0])[1:], [255, 0])
    assert pi.mode(S[0])[0] in (127, 128)  # 255 / 2
    a, logp = pi(S, return_logp=True)
    assert a.dtype == np.uint8
    np.testing.assert_allclose(pi.log_proba(S, a), logp, rtol=1e-6)


# --- another distribution ---------------------------------------------------------------------------------------------


def test_the_density_over_the_box():
    dist = ProbaDist(BOX, box=functools.partial(SquashedNormalDist, clip_logvar=(-10.0, 4.0)))
    params = {"mu": [0.3, -0.5], "logvar": [-1.0, 0.5]}
    pi = constant(BOX, params, proba_dist=dist)
    assert pi.proba_dist is dist
    # x = centre + half the width * tanh(y)
    centre, half = np.array([2, 0.5]), np.array([4, 0.5])
    np.testing.assert_allclose(pi.mode(S[0]), centre + half * np.tanh(params["mu"]), rtol=1e-5)
    a, logp = pi(S, return_logp=True)
    y = np.arctanh((a.astype(float) - centre) / half)
    want = scipy.stats.norm.logpdf(y, params["mu"], np.exp(np.array(params["logvar"]) / 2))
    want = (want - np.log(half * (1 - np.tanh(y) ** 2))).sum(axis=-1)
    np.testing.assert_allclose(logp, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(pi.log_proba(S, a), want, rtol=1e-4, atol=1e-4)
    many = np.arctanh((pi(MANY) - centre) / half)[:, 0]
    assert scipy.stats.kstest((many - 0.3) / np.exp(-0.5), "norm").pvalue > 1e-3


@pytest.mark.parametrize("dist", [CategoricalDist(DISCRETE), ProbaDist(spaces.Discrete(5, start=-2))])
def test_an_own_distribution(dist):
    pi = constant(DISCRETE, {"logits": [0.0, 0, 0, 0, 5]}, proba_dist=dist)
    assert pi.mode(S[0]) == 2
    assert pi.proba_dist is dist or pi.proba_dist == dist


@pytest.mark.parametrize(
    ("dist", "error", "text"),
    [
        (
            CategoricalDist(spaces.Discrete(5)),
            ValueError,
            "Policy: expected proba_dist over Discrete(5, start=-2), got one over Discrete(5). Fix: make it",
        ),
        (ProbaDist(spaces.Discrete(4, start=-2)), ValueError, "got one over Discrete(4, start=-2)"),
        (NormalDist(BOX), ValueError, "got one over Box("),
        ("normal", TypeError, "Policy: expected proba_dist to be a distribution of coax.proba_dists, got str. Fix: "),
        (CategoricalDist, TypeError, "got ABCMeta. Fix: pass e.g. coax.proba_dists.ProbaDist(env.action_space)"),
    ],
)
def test_a_wrong_distribution(dist, error, text):
    for make in (
        lambda: constant(DISCRETE, {"logits": [0.0] * 5}, proba_dist=dist),
        lambda: coax.Policy.example_data(env_of(DISCRETE), proba_dist=dist),
    ):
        with pytest.raises(error) as caught:
            make()
        assert text in str(caught.value)


# --- what comes in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "a", "error", "text"),
    [
        ("discrete", 3, ValueError, "a: expected elements of Discrete(5, start=-2), got values from 3 to 3. Fix: "),
        ("discrete", 0.0, TypeError, "a: expected integers for Discrete(5, start=-2), got float64"),
        ("discrete", [0, 0], ValueError, "expected actions with the leading axes of the observations, (), got (2,)"),
        ("box", np.full((2, 3), 1.5), ValueError, "got values from 1.5 to 1.5. Fix: clip them to the bounds"),
        ("box", np.full((2, 3), np.nan), ValueError, "got values from nan to nan"),
        ("box", np.zeros((3, 2)), ValueError, "a: expected shape [..., 2, 3], got shape (3, 2). Fix: "),
        ("tuple", (1, [0.5, -0.5]), ValueError, "a[1]: expected elements of Box(0.0, 1.0, (2,), float32), got values"),
        ("tuple", (0, [0.5, 0.5]), ValueError, "a[0]: expected elements of Discrete(3, start=1), got values from 0"),
        ("multi discrete", [0, 0, 0], ValueError, "a: expected elements of MultiDiscrete("),
        ("multi binary", np.full((2, 3), 2), ValueError, "a: expected elements of MultiBinary((2, 3))"),
    ],
)
def test_actions_outside_of_the_space(name, a, error, text):
    pi = policy(name)
    before = count_of(pi)
    with pytest.raises(error) as caught:
        pi.log_proba(S[0], a)
    assert text in str(caught.value)
    if error is ValueError:  # arrays on the device are looked at, too
        with pytest.raises(ValueError, match="Fix: "):
            pi.log_proba(S[0], jax.tree.map(jnp.asarray, a, is_leaf=lambda x: isinstance(x, list)))
    assert count_of(pi) == before


@pytest.mark.parametrize("call", ["__call__", "mean", "mode", "dist_params"])
def test_wrong_observations(call):
    pi = policy("discrete")
    before = count_of(pi)
    with pytest.raises(
        ValueError, match=r"s: expected shape \[\.\.\., 3\], got shape \(5, 2\)\. Fix:|.*shape \(5, 2\)"
    ):
        getattr(pi, call)(S[:, :2])
    assert count_of(pi) == before


@pytest.mark.parametrize("name", ["nested", "discrete"])
def test_observations_of_any_structure(name):
    observations = fn.SPACES[name]
    pi = coax.Policy(laws.of_state(DISCRETE), env_of(DISCRETE, observations), random_seed=1)
    s, rows = fn.batch_of(observations, (4,))
    params = pi.dist_params(s)
    for i, one in enumerate(rows):
        laws.assert_close(pi.dist_params(one), laws.row(params, i))
        assert DISCRETE.contains(pi(one))


def on_host(rng, X):
    return np.concatenate([np.asarray(X), np.asarray(X) ** 2], axis=-1)


def test_a_preprocessor_that_runs_on_the_host():
    first = lambda S, is_training: {"logits": hk.Linear(5, w_init=hk.initializers.RandomNormal(1.0))(S)}
    pi = coax.Policy(first, env_of(DISCRETE), observation_preprocessor=on_host, random_seed=1)
    assert pi.observation_preprocessor is on_host
    w = np.asarray(pi.params["linear"]["w"], float)
    assert w.shape == (2 * fn.OBS, 5)
    X = np.concatenate([S, S**2], axis=-1).astype(float)
    np.testing.assert_allclose(pi.dist_params(S)["logits"], X @ w, rtol=1e-4, atol=1e-5)
    a, logp = pi(S, return_logp=True)
    want = scipy.special.log_softmax(X @ w, axis=-1)[np.arange(5), a + 2]
    np.testing.assert_allclose(logp, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pi.log_proba(S, a), want, rtol=1e-4, atol=1e-5)
    with pytest.raises(StateError, match=r"observation_preprocessor <function on_host.*cannot be traced.*Fix:"):
        coax.jit(lambda s: pi(s), over=pi)(S)


# --- inside a trace ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["discrete", "box", "tuple"])
@pytest.mark.gate
def test_compiled_it_does_the_same(name):
    pi, a = policy(name).copy(), fn.batch_of(fn.SPACES[name], (5,))[0]
    other = pi.copy()

    def use(pi, s, a):
        return pi(s), pi(s, return_logp=True), pi.mode(s), pi.mean(s), pi.dist_params(s), pi.log_proba(s, a)

    compiled = coax.jit(lambda s, a: use(other, s, a), over=other)
    for _ in range(2):
        want, got = use(pi, S, a), compiled(S, a)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(got))
        laws.assert_close(*(jax.tree.map(np.asarray, tree) for tree in (got, want)), atol=1e-4)
    assert count_of(pi) == count_of(other)


def test_scanned_it_does_the_same():
    pi = policy("tuple").copy()
    other = pi.copy()
    got = coax.scan(lambda s: other(s, return_logp=True), over=other, xs=S)
    for i in range(5):
        (k, x), logp = pi(S[i], return_logp=True)
        assert k == got[0][0][i]
        np.testing.assert_allclose(got[0][1][i], x, rtol=1e-5)
        np.testing.assert_allclose(got[1][i], logp, rtol=1e-4)


# --- one dispatch -----------------------------------------------------------------------------------------------------


CALLS = {
    "pi(s)": lambda pi, s, a: pi(s),
    "pi(s, return_logp=True)": lambda pi, s, a: pi(s, return_logp=True),
    "pi.mean(s)": lambda pi, s, a: pi.mean(s),
    "pi.mode(s)": lambda pi, s, a: pi.mode(s),
    "pi.dist_params(s)": lambda pi, s, a: pi.dist_params(s),
    "pi.log_proba(s, a)": lambda pi, s, a: pi.log_proba(s, a),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.usefixtures("caches_are_on")
def test_one_program_and_only_once(call):
    pi, act = policy("tuple"), CALLS[call]
    deep = pi.copy(deep=True)
    s, a = fn.observations(2, seed=3), (np.array([1, 3]), np.full((2, 2), 0.25, np.float32))
    jax.clear_caches()  # so that also the smallest program would be compiled again, and be seen
    with compilations() as found:
        act(pi, s, a)
    assert len(found) == 1
    with compilations() as found:
        act(pi, s, a)
        act(pi.copy(), fn.observations(2, seed=4), a)
        act(deep, s.reshape(2, 1, 3), jax.tree.map(lambda x: x[:, None], a))
    assert found == []


# --- the object -------------------------------------------------------------------------------------------------------


def test_what_it_is():
    pi = policy("box")
    checks = {name: getattr(coax.utils, name)(pi) for name in dir(coax.utils) if name.startswith("is_")}
    roles = ("is_policy", "is_stochastic", "is_vfunction", "is_qfunction", "is_transition_model", "is_reward_function")
    assert [checks[name] for name in roles] == [True, True, False, False, False, False]
    assert set(pi.state) == {"params", "function_state", "rng"}
    for name in ("proba_dist", "action_space", "observation_space", "function", "sample_func"):
        with pytest.raises(AttributeError):
            setattr(pi, name, None)


def test_a_seed_decides_on_all_that_is_random():
    func = laws.of_state(DISCRETE)
    a, b, c = (coax.Policy(func, env_of(DISCRETE), random_seed=seed) for seed in (5, 5, 6))
    equal(leaves(a), leaves(b))
    draws = [a(MANY[:50]).tolist() for _ in range(3)]
    assert draws[0] != draws[1]
    assert draws == [b(MANY[:50]).tolist() for _ in range(3)]
    c.params = a.params
    assert draws != [c(MANY[:50]).tolist() for _ in range(3)]
    c.random_seed = 5
    assert draws == [c(MANY[:50]).tolist() for _ in range(3)]


@pytest.mark.parametrize("how", ["shallow", "deep", "copy.copy", "copy.deepcopy", "stored"])
def test_copies(how):
    pi = policy("tuple").copy()
    make = {
        "shallow": lambda: pi.copy(),
        "deep": lambda: pi.copy(deep=True),
        "copy.copy": lambda: copy.copy(pi),
        "copy.deepcopy": lambda: copy.deepcopy(pi),
        "stored": lambda: coax.utils.loads(coax.utils.dumps(pi)),
    }
    other = make[how]()
    for _ in range(3):
        equal(other(S, return_logp=True), pi(S, return_logp=True))  # the same random stream
    before = leaves(pi)
    other.params = jax.tree.map(lambda x: x + 1, other.params)
    equal(leaves(pi), before)
    assert other.action_space == pi.action_space
    assert other.proba_dist == pi.proba_dist
    if how != "stored":
        assert other.rule is pi.rule


def test_soft_update_by_hand():
    # 2 + 1/4 * (10 - 2)
    pi, other = policy("discrete").copy(), policy("discrete").copy()
    pi.params, other.params = (jax.tree.map(lambda x, y=y: jnp.full_like(x, y), pi.params) for y in (2.0, 10.0))
    pi.soft_update(other, 0.25)
    assert {float(x) for leaf in jax.tree.leaves(pi.params) for x in np.unique(leaf)} == {4.0}
    with pytest.raises(TypeError, match=r"soft_update: expected a Policy, got Q\. Fix:"):
        pi.soft_update(coax.Q(fn.type2, fn.ENV), 0.5)


def test_setting_something_else_as_params():
    pi = policy("discrete").copy()
    before = leaves(pi)
    with pytest.raises(TypeError, match=r"Policy\.state\['params'\]\['linear'\]\['w'\]: expected float32\[3, 5\], got"):
        pi.params = {"linear": {**pi.params["linear"], "w": np.zeros((3, 4), np.float32)}}
    with pytest.raises(TypeError, match=r"\['params'\]\['linear'\]\['b'\].* is missing"):
        pi.params = {"linear": {"w": pi.params["linear"]["w"]}}
    equal(leaves(pi), before)


def with_batch_norm(S, is_training):
    return {"logits": hk.Linear(5)(hk.BatchNorm(True, True, 0.9)(S, is_training))}


def test_haiku_state():
    pi = coax.Policy(with_batch_norm, env_of(DISCRETE), random_seed=1)
    assert set(pi.function_state) == {"batch_norm/~/mean_ema", "batch_norm/~/var_ema"}
    moments = {"batch_norm/~/mean_ema": [1.0, -1.0, 0.5], "batch_norm/~/var_ema": [4.0, 1.0, 0.25]}
    state = {name: {**pi.function_state[name], "average": jnp.array([x])} for name, x in moments.items()}
    pi.function_state = state
    pi(S), pi.mode(S)
    equal(jax.tree.map(np.array, pi.function_state), jax.tree.map(np.array, state))
    mean, var = moments.values()
    w = np.asarray(pi.params["linear"]["w"], float)
    want = ((S - mean) / np.sqrt(np.array(var) + 1e-5)) @ w  # scale 1 and offset 0
    np.testing.assert_allclose(pi.dist_params(S)["logits"], want, rtol=1e-4, atol=1e-5)


def with_dropout(S, is_training):
    mask = jax.random.bernoulli(hk.next_rng_key(), 0.5, (S.shape[0], 5))
    return {"logits": jnp.where(mask, 20.0, 0.0)}


def test_haiku_rng():
    """The mask of the network and the sample are drawn from different keys."""
    pi = coax.Policy(with_dropout, env_of(DISCRETE), random_seed=1)
    rows = pi.dist_params(MANY[:4000])["logits"]
    assert abs(np.mean(rows > 0) - 0.5) < 4 * 0.5 / np.sqrt(rows.size)
    assert np.any(pi.dist_params(MANY[:4000])["logits"] != rows)
    a, logp = pi(MANY[:4000], return_logp=True)
    assert scipy.stats.chisquare(np.bincount(a + 2, minlength=5)).pvalue > 1e-3
    kept = np.exp(logp[logp > -10])  # one of k kept ones: 1/k
    np.testing.assert_allclose(kept, 1 / np.round(1 / kept), rtol=1e-5)
    assert set(np.round(1 / kept)) == {1, 2, 3, 4, 5}


def test_a_network_that_draws_from_the_key_itself():
    """Noise of the sample's own key would cancel against these logits, and the first action would always win."""
    init = lambda rng, S, is_training: {}
    apply = lambda params, rng, S, is_training: {"logits": -jax.random.gumbel(rng, (S.shape[0], 5))}
    pi = coax.Policy((init, apply), env_of(DISCRETE), random_seed=1)
    for a in (pi(MANY), pi(MANY, return_logp=True)[0]):
        assert scipy.stats.chisquare(np.bincount(a + 2, minlength=5)).pvalue > 1e-3


def test_policies_of_one_function_share_what_is_compiled():
    func = laws.of_state(BOX)
    other_box = spaces.Box(np.array([-2, 0], np.float32), np.array([6, 1], np.float32))
    a, b = coax.Policy(func, env_of(BOX)), coax.Policy(func, env_of(other_box))
    assert a.rule is b.rule
    assert a.random_seed != b.random_seed
    assert coax.Policy(func, env_of(BOX), proba_dist=ProbaDist(BOX)).rule is a.rule
    assert coax.Policy(func, env_of(BOX), proba_dist=SquashedNormalDist(BOX)).rule is not a.rule
    assert coax.Policy(func, env_of(spaces.Box(-2, 6, (2,)))).rule is not a.rule
    again = coax.utils.loads(coax.utils.dumps({"a": a, "b": b}))
    assert again["a"].rule is again["b"].rule


# --- old helpers ------------------------------------------------------------------------------------------------------


def test_functions_of_preprocessed_observations():
    pi = policy("discrete")
    args = pi.params, pi.function_state, jax.random.key(0)
    probs = scipy.special.softmax(np.asarray(pi.dist_params(S)["logits"], float), axis=-1)
    np.testing.assert_allclose(pi.mean_func(*args, S), probs, rtol=1e-5)
    np.testing.assert_array_equal(np.argmax(pi.mode_func(*args, S), axis=-1), probs.argmax(axis=-1))
    X, logP = pi.sample_func(*args, MANY)
    k = np.argmax(X, axis=-1)
    np.testing.assert_allclose(np.sum(X, axis=-1), 1, rtol=1e-5)
    assert scipy.stats.chisquare(np.bincount(k, minlength=5), len(MANY) * probs[0]).pvalue > 1e-3
    np.testing.assert_allclose(logP, np.log(probs[0])[k], rtol=1e-4)
    shifted = jax.tree.map(jnp.zeros_like, pi.params)  # it is the given parameters that count
    np.testing.assert_allclose(pi.mean_func(shifted, *args[1:], S), np.full((5, 5), 0.2), rtol=1e-6)


def test_functions_of_preprocessed_observations_box():
    pi = policy("box")
    args = pi.params, pi.function_state, jax.random.key(0), S
    params = jax.tree.map(lambda x: np.asarray(x, float), pi.dist_params(S))
    np.testing.assert_allclose(pi.mean_func(*args), params["mu"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pi.mode_func(*args), params["mu"], rtol=1e-5, atol=1e-6)
    X, logP = jax.jit(pi.sample_func)(*args)
    want = scipy.stats.norm.logpdf(X, params["mu"], np.exp(params["logvar"] / 2)).sum(axis=(1, 2))
    np.testing.assert_allclose(logP, want, rtol=1e-4)
    dist_params, state = pi.function(*args, False)
    laws.assert_close(dist_params, params)
    assert state == {}


# --- wrong functions --------------------------------------------------------------------------------------------------

PAIR = spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 1, (3,))))
ENDS = ". Fix: look at coax.Policy.example_data(env).output."


def zeros(*shape, dtype=jnp.float32):
    return lambda S: jnp.zeros((S.shape[0], *shape), dtype)


@pytest.mark.parametrize(
    ("actions", "func", "text"),
    [
        (
            DISCRETE,
            zeros(5),
            "Policy: expected func to return the structure {'logits': f32[1, 5]}, got f32[1, 5]" + ENDS,
        ),
        (
            DISCRETE,
            lambda S: {"logit": zeros(5)(S)},
            "Policy: expected func to return the structure {'logits': f32[1, 5]}, got {'logit': f32[1, 5]}" + ENDS,
        ),
        (
            PAIR,
            lambda S: ({"logits": zeros(2)(S)},),
            "Policy: expected func to return the structure ({'logits': f32[1, 2]}, {'logvar': f32[1, 3], "
            "'mu': f32[1, 3]}), got ({'logits': f32[1, 2]},)" + ENDS,
        ),
        (DISCRETE, lambda S: None, "got None" + ENDS),
        (
            DISCRETE,
            lambda S: {"logits": zeros(4)(S)},
            "Policy: func(...)['logits']: expected shape (1, 5) for a batch of 1, got (1, 4)" + ENDS,
        ),
        (
            DISCRETE,
            lambda S: {"logits": zeros(5, dtype=jnp.int32)(S)},
            "Policy: func(...)['logits']: expected a jax array of a floating dtype, got int32" + ENDS,
        ),
        (
            PAIR,
            lambda S: ({"logits": zeros(2)(S)}, {"mu": zeros(3)(S), "logvar": zeros()(S)}),
            "Policy: func(...)[1]['logvar']: expected shape (1, 3) for a batch of 1, got (1,)" + ENDS,
        ),
        (
            spaces.Dict(x=BOX),
            lambda S: {"x": {"mu": zeros(2, dtype=bool)(S), "logvar": zeros(2)(S)}},
            "Policy: func(...)['x']['mu']: expected a jax array of a floating dtype, got bool" + ENDS,
        ),
        (
            spaces.MultiBinary(2),
            lambda S: {"logits": zeros(2)(S)},
            "Policy: expected func to return the structure ({'logits': f32[1, 2]}, {'logits': f32[1, 2]}), got {'lo",
        ),
    ],
)
def test_another_output(actions, func, text):
    with pytest.raises(TypeError) as caught:
        coax.Policy(lambda S, is_training: func(S), env_of(actions))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("func", "env", "text"),
    [
        (fn.type1, fn.ENV, "Policy: expected the signature func(S, is_training), got func(S, A, is_training). Fix: "),
        (None, fn.ENV, "Policy: expected a function, got NoneType. Fix: "),
        (fn.type2, fn.env_of("Box"), "Policy: expected env.observation_space to be a gymnasium.Space, got str. Fix: "),
        (
            fn.type2,
            fn.env_of(None, "Discrete"),
            "Policy: expected env.action_space to be a gymnasium.Space, got str. Fix: ",
        ),
        (
            fn.type2,
            env_of(spaces.Text(5)),
            "space: expected Discrete, Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of these, got Text",
        ),
    ],
)
def test_other_wrong_arguments(func, env, text):
    with pytest.raises(TypeError) as caught:
        coax.Policy(func, env)
    assert text in str(caught.value)


def test_lists_do_for_tuples():
    pi = coax.Policy(lambda S, is_training: [{"logits": zeros(2)(S)}, {"logits": zeros(2)(S)}], env_of(PAIRS))
    assert PAIRS.contains(pi(S[0]))


PAIRS = spaces.MultiBinary(2)


# --- double precision -------------------------------------------------------------------------------------------------


def test_double_precision():
    space = spaces.Tuple((spaces.Discrete(3, start=1), spaces.Box(0, 1, (2,), np.float64)))
    with jax.enable_x64(True):
        pi = coax.Policy(laws.of_state(space), env_of(space), random_seed=1)
        params, (a, logp) = pi.dist_params(S), pi(S, return_logp=True)
        laws.assert_like_the_space(space, a, (5,))
        assert all(x.dtype == np.float64 for x in jax.tree.leaves((params, pi.params, logp)))
        w = pi.params["linear"]
        np.testing.assert_allclose(params[0]["logits"], np.tanh(S.astype(float) / 10) @ w["w"] + w["b"], rtol=1e-12)
        want = [laws.log_proba(space, laws.row(params, i), laws.row(a, i)) for i in range(5)]
        np.testing.assert_allclose(logp, want, rtol=1e-10)
        np.testing.assert_allclose(pi.log_proba(S, a), want, rtol=1e-10)


def test_all_products_are_tried():
    """The oracle itself: probabilities of all actions add up to one."""
    space, pi = fn.SPACES["multi discrete"], policy("multi discrete")
    rows = itertools.product(*(range(k, k + n) for n, k in zip(space.nvec, space.start, strict=True)))
    rows = np.array(list(rows))
    logp = pi.log_proba(np.broadcast_to(S[1], (len(rows), fn.OBS)), rows)
    np.testing.assert_allclose(np.exp(logp.astype(float)).sum(), 1, rtol=1e-5)


def test_a_network_that_loses_the_batch_axis():
    def one_logvar(S, is_training):
        return {"mu": hk.Linear(1)(S), "logvar": hk.get_parameter("logvar", (1, 1), init=jnp.zeros)}

    env = fn.env_of(action_space=spaces.Box(-1, 1, (1,)))
    text = r"Policy: func\(\.\.\.\)\['logvar'\]: expected one row per row of the input, got shape \(1, 1\)"
    with pytest.raises(TypeError, match=text):
        coax.Policy(one_logvar, env)
    with pytest.raises(
        TypeError, match=r"V: func\(\.\.\.\): expected one row per row.*got shape \(1,\) for a batch of 2.*Fix:"
    ):
        coax.V(lambda S, is_training: jnp.mean(S, axis=(0, 1), keepdims=True)[0], fn.ENV)


def test_a_distribution_in_the_place_of_a_preprocessor():
    dist = coax.proba_dists.CategoricalDist(fn.ENV.action_space)
    with pytest.raises(
        TypeError, match=r"observation_preprocessor: expected a function .*, got CategoricalDist\. Fix:"
    ):
        coax.Policy(lambda S, is_training: {"logits": hk.Linear(fn.N)(S)}, fn.ENV, dist)
