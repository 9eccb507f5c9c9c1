import copy

import jax
import numpy as np
import pytest
import scipy.stats
from gymnasium import spaces

import coax
from coax.approximators._random_policy import uniform_sample

from . import functions as fn

INF = np.inf
MORE = {
    "bytes": spaces.Box(0, 255, (3,), np.uint8),
    "small integers": spaces.Box(-3, 2, (2,), np.int32),
    "half bounded": spaces.Box(np.float32([-INF, 1, -INF, 0]), np.float32([2, INF, INF, 5])),
    "double": spaces.Box(np.array([0.1, -0.3]), np.array([0.1 + 1e-9, 0.7]), dtype=np.float64),
    "widest": spaces.Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (4,)),
    "point": spaces.Box(1, 1, (2,)),
}
SPACES = {**fn.SPACES, **MORE}


def policy(space, seed=0):
    return coax.RandomPolicy(fn.env_of(action_space=space), random_seed=seed)


@pytest.mark.parametrize("name", SPACES)
def test_actions_are_in_the_space(name):
    space = SPACES[name]
    pi = policy(space)
    for _ in range(20):
        assert space.contains(pi(fn.observations()))
        assert space.contains(pi.mode(fn.observations()))
    action, logp = pi(fn.observations(), return_logp=True)
    assert space.contains(action)
    assert np.shape(logp) == ()
    assert np.isfinite(logp)


@pytest.mark.gate
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("lead", [(2,), (2, 3)])
def test_leading_axes(name, lead):
    space = SPACES[name]
    actions, logp = policy(space)(fn.observations(*lead), return_logp=True)
    assert logp.shape == lead
    for index in np.ndindex(*lead):
        one = jax.tree.map(lambda x: x[index], actions)  # noqa: B023
        one = int(one) if isinstance(space, spaces.Discrete) else jax.tree.map(np.asarray, one)
        assert space.contains(one), one


def test_a_single_discrete_action_is_an_int():
    assert type(policy(spaces.Discrete(3))(fn.observations())) is int
    batch = policy(spaces.Discrete(3))(fn.observations(4))
    assert batch.dtype == np.int64


@pytest.mark.parametrize(
    ("space", "logp"),
    [
        (spaces.Discrete(5, start=-2), -np.log(5)),
        (spaces.MultiDiscrete([[2, 3], [4, 2]]), -np.log(2 * 3 * 4 * 2)),
        (spaces.MultiBinary((2, 3)), -6 * np.log(2)),
        (spaces.Box(-1, 3, (2, 3)), -6 * np.log(4)),
        (spaces.Box(-1, 3, ()), -np.log(4)),
        (spaces.Box(0, 255, (3,), np.uint8), -3 * np.log(256)),
        (spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 2, (2,)))), -np.log(3) - 2 * np.log(2)),
        (spaces.Dict({"a": spaces.Discrete(3), "b": spaces.MultiBinary(2)}), -np.log(3) - 2 * np.log(2)),
        (SPACES["widest"], -4 * (np.log(2) + np.log(float(np.finfo(np.float32).max)))),
    ],
)
def test_logp_by_hand(space, logp):
    np.testing.assert_allclose(policy(space)(fn.observations(), return_logp=True)[1], logp, rtol=1e-6)
    np.testing.assert_allclose(policy(space)(fn.observations(3), return_logp=True)[1], np.full(3, logp), rtol=1e-6)


def test_logp_where_a_bound_is_missing():
    space = MORE["half bounded"]
    x, logp = policy(space)(fn.observations(50), return_logp=True)
    # exponential below 2 and above 1, normal, uniform on [0, 5]
    each = [
        scipy.stats.expon.logpdf(2 - x[:, 0]),
        scipy.stats.expon.logpdf(x[:, 1] - 1),
        scipy.stats.norm.logpdf(x[:, 2]),
        np.full(50, -np.log(5)),
    ]
    np.testing.assert_allclose(logp, sum(each), rtol=1e-4, atol=1e-5)


@pytest.mark.gate
def test_laws():
    def draw(space):
        return np.asarray(uniform_sample(space, jax.random.key(0), (5000,))[0])

    x = draw(MORE["half bounded"])
    for column, law in enumerate(
        (
            lambda v: scipy.stats.expon.sf(2 - v),
            lambda v: scipy.stats.expon.cdf(v - 1),
            scipy.stats.norm.cdf,
            lambda v: v / 5,
        )
    ):
        assert scipy.stats.kstest(x[:, column], law).pvalue > 1e-3
    for space, first, n in ((spaces.Discrete(5, start=-2), -2, 5), (spaces.Box(-3, 2, (), np.int32), -3, 6)):
        counts = np.bincount(draw(space) - first, minlength=n)
        assert len(counts) == n
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
    for column, (first, n) in enumerate(((1, 2), (-1, 3), (0, 4))):
        counts = np.bincount(draw(SPACES["multi discrete"])[:, column] - first, minlength=n)
        assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert scipy.stats.binomtest(int(draw(spaces.MultiBinary(2)).sum()), 10000, 0.5).pvalue > 1e-3


def test_the_generator_of_the_environment_is_left_alone():
    env = fn.env_of(action_space=spaces.Box(0, 1, (2,)))
    env.action_space.seed(3)
    want = spaces.Box(0, 1, (2,), seed=3).sample()
    pi = coax.RandomPolicy(env, random_seed=0)
    pi(fn.observations())
    np.testing.assert_array_equal(env.action_space.sample(), want)


def test_seeds():
    draws = lambda pi: [pi(fn.observations()) for _ in range(20)]
    space = spaces.Discrete(100)
    pi = policy(space, 1)
    first = draws(pi)
    assert first == draws(policy(space, 1))
    assert first != draws(policy(space, 2))
    assert first != draws(pi)
    pi.random_seed = 1
    assert pi.random_seed == 1
    assert first == draws(pi)
    assert coax.RandomPolicy(fn.ENV).random_seed != coax.RandomPolicy(fn.ENV).random_seed
    with pytest.raises(AttributeError):
        pi.action_space = space


def test_copies_and_storage_continue_identically():
    pi = policy(SPACES["nested"])
    pi(fn.observations())
    others = [pi.copy(), copy.deepcopy(pi), coax.utils.loads(coax.utils.dumps(pi))]
    want = pi(fn.observations())
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, other(fn.observations()), want)


@pytest.mark.gate
def test_compiled():
    a, b = policy(SPACES["nested"]), policy(SPACES["nested"])
    compiled = coax.jit(lambda s: b(s, return_logp=True), over=b)
    for _ in range(2):
        want, got = a(fn.observations(4), return_logp=True), compiled(fn.observations(4))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), want, got)


def test_dist_params():
    assert policy(spaces.Discrete(3)).dist_params(fn.observations())["logits"].tolist() == [0, 0, 0]
    box = policy(spaces.Box(0, 1, (2,))).dist_params(fn.observations())
    assert (box["mu"].tolist(), box["logvar"].tolist()) == ([0, 0], [15, 15])
    with pytest.raises(NotImplementedError, match=r"RandomPolicy\.dist_params of MultiBinary.*Fix:"):
        policy(spaces.MultiBinary(2)).dist_params(fn.observations())


def test_without_an_observation_space():
    env = type(fn.ENV)(action_space=spaces.Discrete(3))
    assert coax.RandomPolicy(env, 0)("anything") in range(3)


def test_errors():
    with pytest.raises(
        TypeError, match=r"RandomPolicy: expected env.action_space to be a gymnasium.Space, got str.*Fix:"
    ):
        coax.RandomPolicy(fn.env_of(action_space="Discrete"))
    with pytest.raises(TypeError, match=r"space: expected Discrete, Box, .* got Text.*Fix:"):
        coax.RandomPolicy(fn.env_of(action_space=spaces.Text(3)))
    with pytest.raises(ValueError, match=r"expected shape \[\.\.\., 3\], got shape \(4,\)"):
        policy(spaces.Discrete(3))(np.zeros(4))
