"""StochasticV, StochasticQ and StochasticRewardFunction: bins and quantiles, in the original space."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from gymnasium import spaces

import coax
from coax.proba_dists import DiscretizedIntervalDist, EmpiricalQuantileDist
from coax.value_transforms import LogTransform

from . import functions as fn

S = fn.observations(5)
A = np.array([0, 3, 1, 1, 2])
MANY = np.broadcast_to(S[0], (20_000, fn.OBS))
K, N = 7, fn.N
RANGE = (-3.0, 11.0)
LOG = LogTransform(2.0)
BOX_ACTIONS = fn.env_of(action_space=spaces.Box(-1, 1, (2,)))
TRANSFORMS = pytest.mark.parametrize("transform", [None, LOG], ids=["identity", "log"])


def linear(S, *shape):
    size = int(np.prod(shape))
    return jnp.reshape(S @ fn.weights(fn.OBS, size), (S.shape[0], *shape))


def bins_v(S, is_training):
    return {"logits": linear(S, K)}


def bins1(S, A, is_training):
    return {"logits": jnp.einsum("bnk,bn->bk", linear(S, N, K), A)}


def bins2(S, is_training):
    return {"logits": linear(S, N, K)}


def fixed1(S, A, is_training):
    values = jnp.einsum("bnk,bn->bk", linear(S, N, K), A)
    return {"values": values, "quantile_fractions": coax.utils.quantiles(S.shape[0], K)}


def fixed2(S, is_training):
    fractions = coax.utils.quantiles(S.shape[0], K)
    return {"values": linear(S, N, K), "quantile_fractions": jnp.tile(fractions[:, None], (1, N, 1))}


def random1(S, A, is_training):
    """Values that tell their fraction: 10 * action + fraction."""
    tau = coax.utils.quantiles_uniform(hk.next_rng_key(), S.shape[0], K)
    return {"values": 10 * jnp.argmax(A, axis=-1)[:, None] + tau, "quantile_fractions": tau}


def random2(S, is_training):
    tau = coax.utils.quantiles_uniform(hk.next_rng_key(), S.shape[0] * N, K).reshape(-1, N, K)
    return {"values": 10 * jnp.arange(N)[:, None] + tau, "quantile_fractions": tau}


@functools.cache
def v_of(transform=None):
    return coax.StochasticV(bins_v, fn.ENV, RANGE, K, value_transform=transform, random_seed=1)


@functools.cache
def q_of(func=bins2, transform=None, start=0):
    value_range = RANGE if func in (bins1, bins2) else None
    env = fn.env_of(action_space=spaces.Discrete(N, start=start))
    return coax.StochasticQ(func, env, value_range, K, value_transform=transform, random_seed=1)


@functools.cache
def r_of(func=bins2, transform=None):
    return coax.StochasticRewardFunction(func, fn.ENV, RANGE, K, value_transform=transform, random_seed=1)


EVERY_Q = pytest.mark.parametrize("make", [q_of, r_of], ids=["q", "r"])
BINS = pytest.mark.parametrize("func", [bins1, bins2])
FIXED = pytest.mark.parametrize("func", [fixed1, fixed2])


def forward(x):
    return np.sign(x) * 2 * np.log1p(np.abs(x) / 2)


def backward(y):
    return np.sign(y) * 2 * np.expm1(np.abs(y) / 2)


def atoms(transform):
    """Centres of equal bins in the transformed space, and what they are in the original one."""
    low, high = map(forward, RANGE) if transform else RANGE
    z = low + (np.arange(K) + 0.5) * (high - low) / K
    return z, backward(z) if transform else z


def raw(f, s=S):
    """The output of the function, [..., N, K], or [..., K] of a StochasticV."""
    w = fn.weights_of(f)
    out = np.asarray(s, float) @ w
    return out if w.shape[1] == K else out.reshape(*out.shape[:-1], N, K)


def probs(f, s=S):
    return scipy.special.softmax(raw(f, s), axis=-1)


def close(got, want, **kwargs):
    np.testing.assert_allclose(got, want, **{"rtol": 1e-4, "atol": 1e-5, **kwargs})


def at(x, a=A):
    return np.take_along_axis(x, a.reshape(-1, *(1,) * (x.ndim - 1)), axis=1)[:, 0]


# --- bins -------------------------------------------------------------------------------------------------------------


@TRANSFORMS
def test_the_atoms(transform):
    z, _ = atoms(transform)
    for f in (v_of(transform), q_of(bins2, transform), r_of(bins2, transform)):
        close(f.proba_dist.atoms, z, rtol=1e-6)
        assert f.num_bins == K
        assert f.value_range == RANGE
        assert isinstance(f.proba_dist, DiscretizedIntervalDist)
        assert (f.value_transform == LOG) == (transform is not None)


@TRANSFORMS
def test_v_by_hand(transform):
    v, (_, x) = v_of(transform), atoms(transform)
    p = probs(v)
    close(v.mean(S), p @ x)
    close(v.dist_params(S)["logits"], raw(v))
    values, logp = v(S, return_logp=True)
    index = np.abs(values[:, None] - x).argmin(axis=-1)
    close(values, x[index])
    close(logp, np.log(p)[np.arange(5), index])
    for found in (v.mean(S[0]), v.mode(S[0]), v(S[0]), v(S[0], return_logp=True)[1]):
        assert isinstance(found, np.ndarray)
        assert (found.shape, found.dtype) == ((), np.float32)


@TRANSFORMS
@BINS
@EVERY_Q
def test_q_by_hand(make, func, transform):
    q, (_, x) = make(func, transform), atoms(transform)
    p = probs(q)
    assert q.modeltype == (1 if func is bins1 else 2)
    close(q.mean(S), p @ x)
    close(q.mean(S, A), at(p @ x))
    values, logp = q(S, return_logp=True)
    index = np.abs(values[..., None] - x).argmin(axis=-1)
    close(values, x[index])
    close(logp, np.take_along_axis(np.log(p), index[..., None], axis=-1)[..., 0])
    values, logp = q(S, A, return_logp=True)
    index = np.abs(values[..., None] - x).argmin(axis=-1)
    close(values, x[index])
    close(logp, at(np.log(p))[np.arange(5), index])


@TRANSFORMS
def test_the_mode_is_an_atom(transform):
    _, x = atoms(transform)
    v = v_of(transform)
    close(v.mode(S), x[probs(v).argmax(axis=-1)])
    for make, func in ((q_of, bins1), (q_of, bins2), (r_of, bins2)):
        q = make(func, transform)
        want = x[probs(q).argmax(axis=-1)]
        close(q.mode(S), want)
        close(q.mode(S, A), at(want))


@pytest.mark.gate
@TRANSFORMS
@pytest.mark.parametrize("name", ["v", "q(s, a)", "q(s)"])
def test_the_law_of_samples(name, transform):
    f, (_, x) = v_of(transform) if name == "v" else q_of(bins2, transform), atoms(transform)
    two = np.full(len(MANY), 2)
    draws = {"v": lambda: f(MANY), "q(s, a)": lambda: f(MANY, two), "q(s)": lambda: f(MANY)[:, 2]}[name]()
    index = np.abs(draws[:, None] - x).argmin(axis=-1)
    close(draws, x[index])
    p = probs(f, S[0])
    counts = np.bincount(index, minlength=K)
    assert scipy.stats.chisquare(counts, len(MANY) * (p if name == "v" else p[2])).pvalue > 1e-3


def test_the_mean_is_that_of_the_original_space():
    # half at each of two atoms x0 and x1: (x0 + x1) / 2, and not the inverse of the mean of the transformed ones
    both = lambda S, is_training: {"logits": jnp.tile(jnp.log(jnp.array([0.5, 0.5])), (S.shape[0], 1))}
    v = coax.StochasticV(both, fn.ENV, (-2, 6), 2, value_transform=LOG)
    low, high = -2 * np.log(2), 2 * np.log(4)  # f(-2) = -2 log 2 and f(6) = 2 log 4: bins of width 3 log 2
    z = np.array([low + 1.5 * np.log(2), high - 1.5 * np.log(2)])  # -log(2) / 2 and 5 log(2) / 2
    x0, x1 = -2 * (2**0.25 - 1), 2 * (2**1.25 - 1)
    close(v.proba_dist.atoms, z, rtol=1e-6)
    close(v.mean(S[0]), (x0 + x1) / 2, rtol=1e-6)
    assert abs(v.mean(S[0]) - backward(z.mean())) > 0.3
    assert {round(float(x), 4) for x in v(MANY[:50])} == {round(x0, 4), round(x1, 4)}


@pytest.mark.parametrize("start", [0, 3, -2])
@BINS
def test_one_action_is_one_of_all(func, start):
    q = q_of(func, None, start)
    everything = q.mean(S)
    for i in range(N):
        close(q.mean(S, np.full(5, start + i)), everything[:, i], rtol=1e-5)
        close(q.mean(S[0], start + i), everything[0, i], rtol=1e-5)
    with pytest.raises(ValueError, match=r"a: expected elements of Discrete.*got values from .*Fix:|expected elements"):
        q.mean(S[0], start + N)


@pytest.mark.gate
@pytest.mark.parametrize("func", [bins2, fixed1, random2])
def test_dist_params(func):
    q = q_of(func)
    keys = {"logits"} if func is bins2 else {"values", "quantile_fractions"}
    for lead in ((), (2, 3)):
        s = fn.observations(*lead)
        found = q.dist_params(s)
        assert type(found) is list
        assert len(found) == N
        for i, one in enumerate(found):
            assert type(one) is dict
            assert set(one) == keys
            assert {leaf.shape for leaf in one.values()} == {(*lead, K)}
            again = q.dist_params(s, np.full(lead, i))
            assert set(again) == keys
            if func is not random2:
                for key in keys:
                    close(again[key], one[key])
        if func is bins2:
            close(np.stack([one["logits"] for one in found], axis=-2), raw(q, s))


@pytest.mark.parametrize("lead", [(), (2, 3), (0,)])
@pytest.mark.parametrize("func", [bins1, fixed2])
@pytest.mark.gate
def test_leading_axes(func, lead):
    q, v = q_of(func), v_of()
    s, a = fn.observations(*lead), np.ones(lead, int)
    for found in (v(s), v.mean(s), v.mode(s), q(s, a), q.mean(s, a), q.mode(s, a), *q(s, a, return_logp=True)):
        assert isinstance(found, np.ndarray)
        assert found.shape == lead
    for found in (q(s), q.mean(s), q.mode(s), *q(s, return_logp=True)):
        assert isinstance(found, np.ndarray)
        assert found.shape == (*lead, N)
    for i in np.ndindex(lead):
        close(q.mean(s[i]), q.mean(s)[i])
        close(v.mode(s[i]), v.mode(s)[i])


# --- quantiles --------------------------------------------------------------------------------------------------------


@TRANSFORMS
@FIXED
def test_quantiles_by_hand(func, transform):
    q = q_of(func, transform)
    values = backward(raw(q)) if transform else raw(q)
    assert q.modeltype == (1 if func is fixed1 else 2)
    assert q.num_bins == q.proba_dist.num_quantiles == K
    assert q.value_range is None
    assert isinstance(q.proba_dist, EmpiricalQuantileDist)
    close(q.mean(S), values.mean(axis=-1))
    close(q.mean(S, A), at(values.mean(axis=-1)))
    draws, logp = q(S, return_logp=True)
    assert np.abs(draws[..., None] - values).min(axis=-1).max() < 1e-4
    close(logp, np.full((5, N), -np.log(K)))  # all values differ
    draws, logp = q(S, A, return_logp=True)
    assert np.abs(draws[..., None] - at(values)).min(axis=-1).max() < 1e-4
    close(logp, np.full(5, -np.log(K)))
    close(q.dist_params(S, A)["quantile_fractions"], np.tile(np.arange(K) / K, (5, 1)))


def test_the_law_of_quantiles():
    q = q_of(fixed2)
    draws = q(MANY)[:, 1]
    index = np.abs(draws[:, None] - raw(q, S[0])[1]).argmin(axis=-1)
    assert scipy.stats.chisquare(np.bincount(index, minlength=K)).pvalue > 1e-3


@pytest.mark.parametrize("func", [random1, random2])
@pytest.mark.gate
def test_random_fractions(func):
    """Each call draws other fractions; values and fractions of a call belong together."""
    q = q_of(func).copy()
    other = q.copy()
    one, two = q.dist_params(S, A), q.dist_params(S, A)
    for found in (one, two):
        close(found["values"] - found["quantile_fractions"], np.tile(10 * A[:, None], (1, K)))
        assert (np.diff(found["quantile_fractions"]) > 0).all()
        close(found["quantile_fractions"][:, -1], 1)
    assert not np.array_equal(one["values"], two["values"])
    np.testing.assert_array_equal(other.dist_params(S, A)["values"], one["values"])  # the same stream
    np.testing.assert_array_equal(np.floor(q.mean(S) / 10), np.tile(np.arange(N), (5, 1)))
    np.testing.assert_array_equal(np.floor(q.mean(S, A) / 10), A)
    draws, logp = q(S, A, return_logp=True)
    assert ((draws >= 10 * A) & (draws <= 10 * A + 1)).all()
    close(logp, np.full(5, -np.log(K)))


# --- inside a trace, copies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("func", [bins1, pytest.param(random2, marks=pytest.mark.full)])
@pytest.mark.gate
def test_compiled_it_does_the_same(func):
    q, v = q_of(func).copy(), v_of(LOG).copy()
    q2, v2 = q.copy(), v.copy()

    def use(q, v, s, a):
        return q(s), q(s, a, return_logp=True), q.mean(s), q.mode(s, a), q.dist_params(s), v(s), v.mean(s), v.mode(s)

    compiled = coax.jit(lambda s, a: use(q2, v2, s, a), over=(q2, v2))
    for s, a in ((S, A), (S[0], 1)):
        want, got = use(q, v, s, a), compiled(s, a)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(got))
        jax.tree.map(close, got, want)
    scanned = coax.scan(lambda s: v2(s, return_logp=True), over=v2, xs=S)
    one_by_one = [v(s, return_logp=True) for s in S]
    for i in range(2):
        close(scanned[i], [pair[i] for pair in one_by_one])


def test_copies_and_soft_updates():
    q = q_of(bins2)
    other, twin = q.copy(), coax.StochasticQ(bins2, fn.ENV, RANGE, K, random_seed=1)
    assert other.rule is q.rule
    assert twin.rule is q.rule
    assert r_of(bins2).rule is q.rule
    np.testing.assert_array_equal(twin.mean(S), q.mean(S))
    w = fn.weights_of(q)
    other.params = jax.tree.map(lambda x: jnp.full_like(x, 3), q.params)
    other.soft_update(q, 0.25)
    close(fn.weights_of(other), 0.75 * 3 + 0.25 * w, rtol=1e-6)
    stored = coax.utils.loads(coax.utils.dumps(q))
    np.testing.assert_array_equal(stored(S), q.copy()(S))
    assert stored.value_range == RANGE
    with pytest.raises(TypeError, match=r"soft_update: expected a StochasticQ, got StochasticRewardFunction\. Fix:"):
        q.soft_update(r_of(bins2), 0.5)


# --- old helpers ------------------------------------------------------------------------------------------------------


@BINS
@pytest.mark.gate
def test_functions_of_preprocessed_inputs(func):
    q = q_of(func)
    p, one_hot = probs(q), np.eye(N, dtype=np.float32)[A]
    args = q.params, q.function_state, jax.random.key(0), S
    close(q.function_type2(*args, False)[0]["logits"], raw(q))
    close(q.function_type1(*args, one_hot, False)[0]["logits"], at(raw(q)))
    close(q.mean_func_type2(*args), p)
    close(q.mean_func_type1(*args, one_hot), at(p))
    np.testing.assert_array_equal(np.argmax(q.mode_func_type2(*args), axis=-1), p.argmax(axis=-1))
    np.testing.assert_array_equal(np.argmax(q.mode_func_type1(*args, one_hot), axis=-1), at(p).argmax(axis=-1))
    X, logP = q.sample_func_type2(*args)
    assert X.shape == (5, N, K)
    close(logP, np.take_along_axis(np.log(p), np.argmax(X, axis=-1)[..., None], axis=-1)[..., 0])
    X, logP = q.sample_func_type1(*args, one_hot)
    assert X.shape == (5, K)
    close(logP, at(np.log(p))[np.arange(5), np.argmax(X, axis=-1)])


def test_functions_of_preprocessed_observations():
    v, args = v_of(), (v_of().params, v_of().function_state, jax.random.key(0), S)
    close(v.mean_func(*args), probs(v))
    np.testing.assert_array_equal(np.argmax(v.mode_func(*args), axis=-1), probs(v).argmax(axis=-1))
    X, logP = v.sample_func(*args)
    close(logP, np.log(probs(v))[np.arange(5), np.argmax(X, axis=-1)])


# --- acting on the values ---------------------------------------------------------------------------------------------


def gamble(S, A, is_training):
    """Action 0: half at each end; action 1: always the middle; the others: always the lower end."""
    laws = jnp.array([[0.5, 0, 0.5], [0, 1, 0], [1, 0, 0], [1, 0, 0]])
    return {"logits": jnp.log(A @ laws + 1e-30)}


def gamble2(S, is_training):
    laws = gamble(None, jnp.eye(N), False)["logits"]
    return {"logits": jnp.tile(laws, (S.shape[0], 1, 1))}


@pytest.mark.parametrize("func", [gamble, gamble2])
def test_value_based_policies_act_on_the_expectation(func):
    # f(x) = log(1 + x) from 0 to 6 log 2: the atoms are log 2, 3 log 2 and 5 log 2, in the original space 1, 7 and 31
    q = coax.StochasticQ(func, fn.ENV, (0, 63), 3, value_transform=LogTransform(1.0), random_seed=1)
    close(q.mean(S[0]), [16, 7, 1, 1])  # in the transformed space the first two are equal
    greedy = coax.EpsilonGreedy(q, 0.2)
    close(np.exp(greedy.dist_params(S[0])["logits"]), [0.85, 0.05, 0.05, 0.05])
    assert set(greedy.mode(S)) == {0}
    soft = coax.BoltzmannPolicy(q, 9.0)
    close(
        scipy.special.softmax(soft.dist_params(S)["logits"], axis=-1)[0],
        scipy.special.softmax([16 / 9, 7 / 9, 1 / 9, 1 / 9]),
    )
    out, _ = soft.function(soft.params, soft.function_state, jax.random.key(0), S, False)
    close(out["logits"], np.tile(np.array([16, 7, 1, 1]) / 9, (5, 1)))


def test_value_based_policies_on_random_quantiles():
    pi = coax.EpsilonGreedy(q_of(random2), 0.0)
    np.testing.assert_array_equal(pi(S), np.full(5, 3))


# --- roles ------------------------------------------------------------------------------------------------------------


def test_roles():
    names = ("vfunction", "qfunction", "reward_function", "transition_model", "policy", "stochastic")
    found = {f: [getattr(coax.utils, f"is_{name}")(f) for name in names] for f in (v_of(), q_of(), r_of())}
    assert list(found.values()) == [
        [True, False, False, False, False, True],
        [False, True, False, False, False, True],
        [False, True, True, False, False, True],
    ]


# --- wrong arguments --------------------------------------------------------------------------------------------------

MAKE = {
    "StochasticV": lambda *args, **kwargs: coax.StochasticV(bins_v, fn.ENV, *args, **kwargs),
    "StochasticQ": lambda *args, **kwargs: coax.StochasticQ(bins2, fn.ENV, *args, **kwargs),
    "StochasticRewardFunction": lambda *args, **kwargs: coax.StochasticRewardFunction(bins2, fn.ENV, *args, **kwargs),
}
EXAMPLE = {name: functools.partial(getattr(coax, name).example_data, fn.ENV) for name in MAKE}
EVERY_CLASS = pytest.mark.parametrize("owner", MAKE)


@pytest.mark.parametrize("make", [MAKE, EXAMPLE], ids=["class", "example_data"])
@pytest.mark.parametrize(
    "wrong", [(1, 1), (5, -5), (0, np.inf), (np.nan, 1), (0,), (0, 1, 2), 1.0, ("0", "1"), (False, True), {0: 1}]
)
@EVERY_CLASS
def test_no_range(owner, wrong, make):
    with pytest.raises(TypeError, match=rf"{owner}: expected value_range=\(low, high\).*, got .*Fix:"):
        make[owner](wrong, K)


@pytest.mark.parametrize("value_range", [[-3, 11], (np.float32(-3), np.int64(11))])
@EVERY_CLASS
def test_ranges_of_other_numbers(owner, value_range):
    f = MAKE[owner](value_range, K)
    assert f.value_range == (-3.0, 11.0)
    assert all(type(x) is float for x in f.value_range)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, True, None])
@EVERY_CLASS
def test_no_number_of_bins(owner, wrong):
    with pytest.raises(TypeError, match=rf"{owner}: expected num_bins to be a positive integer, got .*Fix:"):
        MAKE[owner](RANGE, wrong)


@EVERY_CLASS
def test_transforms_that_do_not_increase(owner):
    falling = (lambda x: -x, lambda x: -x)
    with pytest.raises(TypeError, match=rf"{owner}: expected value_transform to increase over \(-3.0, 11.0\), .*Fix:"):
        MAKE[owner](RANGE, K, value_transform=falling)


def test_the_range_of_rewards_of_an_environment():
    env = fn.env_of()
    env.reward_range = (-3, 11)
    r = coax.StochasticRewardFunction(bins2, env, num_bins=K)
    assert r.value_range == RANGE
    assert coax.StochasticRewardFunction(bins2, env, (0, 1), K).value_range == (0, 1)
    text = (
        r"StochasticRewardFunction: expected value_range=\(low, high\), got None, and the environment has no reward_r"
    )
    for make in (MAKE, EXAMPLE):
        with pytest.raises(TypeError, match=text):
            make["StochasticRewardFunction"]()
    env.reward_range = (-np.inf, np.inf)
    with pytest.raises(TypeError, match=r"both finite, got \(-inf, inf\)"):
        coax.StochasticRewardFunction(bins2, env)


def test_nothing_is_ignored():
    seen = lambda rng, X: X / 2
    act = lambda rng, X: jax.nn.one_hot(X, N)
    for cls in (coax.StochasticQ, coax.StochasticRewardFunction):
        f = cls(bins1, fn.ENV, RANGE, K, seen, act, LOG, 7)
        assert (f.observation_preprocessor, f.action_preprocessor) == (seen, act)
        assert (f.random_seed, f.num_bins, f.value_transform) == (7, K, LOG)
        _, x = atoms(LOG)
        close(f.mean(S), probs(f, S / 2) @ x)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: coax.StochasticV(bins_v, fn.ENV, RANGE, K + 1),
            "StochasticV: func(...)['logits']: expected shape (1, 8) for a batch of 1, got (1, 7). Fix: look at "
            "coax.StochasticV.example_data(env, value_range).output.",
        ),
        (
            lambda: coax.StochasticQ(bins1, fn.ENV, RANGE, K + 1),
            "StochasticQ: func(...)['logits']: expected shape (1, 8) for a batch of 1, got (1, 7). Fix: look at "
            "coax.StochasticQ.example_data(...).type1.output.",
        ),
        (
            lambda: coax.StochasticRewardFunction(bins_v, fn.ENV, RANGE, K),
            "StochasticRewardFunction: func(...)['logits']: expected shape (1, 4, 7) for a batch of 1, got (1, 7). "
            "Fix: look at coax.StochasticRewardFunction.example_data(...).type2.output.",
        ),
        (
            lambda: coax.StochasticQ(bins2, fn.ENV, None, K),
            "StochasticQ: expected func to return the structure {'quantile_fractions': f32[1, 4, 7], 'values': "
            "f32[1, 4, 7]}, got {'logits': f32[1, 4, 7]}. Fix: ",
        ),
        (
            lambda: coax.StochasticV(
                lambda S, is_training: {"logits": jnp.zeros((S.shape[0], K), int)}, fn.ENV, RANGE, K
            ),
            "StochasticV: func(...)['logits']: expected a jax array of a floating dtype, got int32. Fix: ",
        ),
        (
            lambda: coax.StochasticV(bins1, fn.ENV, RANGE),
            "StochasticV: expected the signature func(S, is_training), got func(S, A, is_training). Fix: ",
        ),
        (
            lambda: coax.StochasticQ(lambda A, S, is_training: S, fn.ENV, RANGE),
            "StochasticQ: expected the signature func(S, A, is_training) or func(S, is_training), got func(A, S, is_tr",
        ),
        (
            lambda: coax.StochasticQ(bins2, BOX_ACTIONS, RANGE),
            "StochasticQ: expected a Discrete action space for func(S, is_training), got Box(",
        ),
        (
            lambda: coax.StochasticV(bins_v, fn.env_of("Box"), RANGE),
            "StochasticV: expected env.observation_space to be a gymnasium.Space, got str. Fix: ",
        ),
        (
            lambda: coax.StochasticRewardFunction(bins2, fn.env_of(None, "Discrete"), RANGE),
            "StochasticRewardFunction: expected env.action_space to be a gymnasium.Space, got str. Fix: ",
        ),
    ],
)
def test_wrong_functions(make, text):
    with pytest.raises(TypeError) as caught:
        make()
    assert text in str(caught.value)


def test_all_actions_of_a_box():
    func = lambda S, A, is_training: {"logits": hk.Linear(K)(jnp.concatenate([S, A], axis=-1))}
    q = coax.StochasticQ(func, BOX_ACTIONS, RANGE, K)
    before = int(q.state["rng"].count)
    for call in (q, q.mean, q.mode, q.dist_params):
        with pytest.raises(
            ValueError, match=r"expected a Discrete action space, got Box.*Fix: pass an action too: q\(s, a\)"
        ):
            call(S[0])
    with pytest.raises(ValueError, match=r"expected a Discrete action space, got Box"):
        _ = q.function_type2
    assert int(q.state["rng"].count) == before
    a = np.full((5, 2), 0.5, np.float32)
    w, b = (np.asarray(q.params["linear"][name], float) for name in "wb")
    p = scipy.special.softmax(np.concatenate([S, a], axis=-1) @ w + b, axis=-1)
    close(q.mean(S, a), p @ atoms(None)[1])
    with pytest.raises(ValueError, match=r"expected the leading axes of the observations, \(5,\), got \(3,\)"):
        q(S, a[:3])


# --- double precision -------------------------------------------------------------------------------------------------


@TRANSFORMS
def test_double_precision(transform):
    narrow = (0.1, 0.9)  # not representable in binary

    def weights_f64(S, is_training):
        w = hk.get_parameter("w", (fn.OBS, N * K), jnp.float64, init=hk.initializers.RandomNormal(0.7))
        return {"logits": (S.astype(float) @ w).reshape(-1, N, K)}

    with jax.enable_x64(True):
        q = coax.StochasticQ(weights_f64, fn.ENV, narrow, K, value_transform=transform, random_seed=1)
        low, high = map(forward, narrow) if transform else narrow
        z = low + (np.arange(K) + 0.5) * (high - low) / K
        x = backward(z) if transform else z
        p = probs(q)
        assert q.mean(S).dtype == np.float64
        np.testing.assert_allclose(q.mean(S), p @ x, rtol=1e-10)
        values, logp = q(S, A, return_logp=True)
        index = np.abs(values[:, None] - x).argmin(axis=-1)
        np.testing.assert_allclose(values, x[index], rtol=1e-10)
        np.testing.assert_allclose(logp, at(np.log(p))[np.arange(5), index], rtol=1e-10)
