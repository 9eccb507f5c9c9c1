"""Models of the environment: next states, with and without a distribution, and rewards."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from gymnasium import spaces

import coax
from coax.errors import StateError
from coax.proba_dists import NormalDist, ProbaDist, SquashedNormalDist
from coax.value_transforms import LogTransform

from . import functions as fn
from . import laws

N = 3
STATES = {
    "discrete": spaces.Discrete(4, start=2),
    "box": spaces.Box(np.array([-2, 0], np.float32), np.array([6, 1], np.float32)),
    "tuple": fn.SPACES["tuple"],
    "dict": spaces.Dict(x=spaces.Box(0, 255, (2,), np.uint8), y=spaces.MultiDiscrete([[2], [3]], start=[[1], [0]])),
}
BOTH_KINDS = pytest.mark.parametrize(
    ("name", "modeltype"), [("discrete", 1), ("discrete", 2), ("box", 1), ("tuple", 2), ("dict", 1)]
)
TYPES = pytest.mark.parametrize("modeltype", [1, 2])


def env_of(states, actions=None):
    return fn.env_of(states, spaces.Discrete(N, start=1) if actions is None else actions)


@functools.cache
def stochastic(name, modeltype, seed=1):
    space = STATES[name]
    func = laws.of_state_and_action(space) if modeltype == 1 else laws.of_state(space, N)
    return coax.StochasticTransitionModel(func, env_of(space), random_seed=seed)


def variates(space, *lead):
    """The structure of what a TransitionModel sees and returns: one-hot vectors and logits, with shapes as leaves."""
    if isinstance(space, spaces.Discrete):
        return (*lead, int(space.n))
    if isinstance(space, spaces.Box):
        return (*lead, *space.shape)
    if isinstance(space, spaces.Dict):
        return {key: variates(part, *lead) for key, part in space.spaces.items()}
    return [variates(part, *lead) for part in laws.parts(space)]


@functools.cache
def deterministic(name, modeltype):
    space = STATES[name]
    if modeltype == 1:
        func = lambda S, A, is_training: laws.output(laws.features(S, A), variates(space))
    else:
        func = lambda S, is_training: laws.output(laws.features(S), variates(space, N))
    return coax.TransitionModel(func, env_of(space), random_seed=1)


def nearest(space, X):
    """The element that a variate stands for."""
    if isinstance(space, spaces.Discrete):
        return int(np.argmax(X) + space.start)
    if isinstance(space, spaces.Box):
        return laws.mode(space, {"mu": X})
    if isinstance(space, spaces.Dict):
        return {key: nearest(part, X[key]) for key, part in space.spaces.items()}
    rows = tuple(nearest(*pair) for pair in zip(laws.parts(space), X, strict=True))
    return rows if isinstance(space, spaces.Tuple) else np.reshape(rows, space.shape)


def outputs(p, s, a):
    """What the function of a model gives for one observation and action."""
    S = p.observation_preprocessor(None, s)
    A = np.eye(N, dtype=np.float32)[[a - 1]]
    out, _ = p.function_type1(p.params, p.function_state, jax.random.key(0), S, A, False)
    return laws.row(out, 0)


# --- one outcome ------------------------------------------------------------------------------------------------------


@BOTH_KINDS
@pytest.mark.gate
def test_next_states(name, modeltype):
    space, p = STATES[name], deterministic(name, modeltype)
    assert p.modeltype == modeltype
    s, rows = fn.batch_of(space, (4,))
    a = np.array([1, 3, 2, 1])
    found, everything = p(s, a), p(s)
    laws.assert_like_the_space(space, found, (4,))
    assert type(everything) is list
    assert len(everything) == N
    for i in range(4):
        laws.assert_close(laws.row(found, i), nearest(space, outputs(p, rows[i], a[i])))
        for k in range(N):
            laws.assert_like_the_space(space, everything[k], (4,))
            laws.assert_close(laws.row(everything[k], i), nearest(space, outputs(p, rows[i], k + 1)))
    one, all_of_one = p(rows[0], 1), p(rows[0])
    laws.assert_like_the_space(space, one, ())
    assert space.contains(one)
    laws.assert_close(one, laws.row(found, 0))
    for k in range(N):
        laws.assert_close(all_of_one[k], laws.row(everything[k], 0))
    with pytest.raises(ValueError, match=r"expected elements of Discrete\(3, start=1\), got values from 4 to 4\. Fix:"):
        p(rows[0], 4)


def test_next_states_by_hand():
    # the observation (2, 0.5) has the logits (0, 0); with a log 3 added 3/4 of the width is below: (4, 3/4)
    box = STATES["box"]
    func = lambda S, A, is_training: S + jnp.log(3.0) * A[:, :1]
    p = coax.TransitionModel(func, env_of(box))
    np.testing.assert_allclose(p([2, 0.5], 1), [4, 0.75], rtol=1e-6)
    np.testing.assert_allclose(p([2, 0.5], 2), [2, 0.5], rtol=1e-6)
    np.testing.assert_allclose(p([4, 0.75], 1), [5.2, 0.9], rtol=1e-6)  # logits log 9: 9/10
    np.testing.assert_allclose(p.observation_preprocessor(None, np.array([[4, 0.75]])), [[np.log(3)] * 2], rtol=1e-5)
    np.testing.assert_allclose(p.observation_postprocessor(None, np.log([[3, 9]])), [4, 0.9], rtol=1e-5)


def halves(rng, X):
    return jnp.asarray(X, jnp.float32) / 2


def doubles(rng, X, index=0):
    return np.asarray(2 * X[index])


@TYPES
def test_an_own_postprocessor(modeltype):
    box = spaces.Box(-100, 100, (2,))
    shift = lambda A: A @ jnp.array([0.0, 1.0, 2.0])
    type1 = lambda S, A, is_training: S + shift(A)[:, None]
    type2 = lambda S, is_training: S[:, None] + shift(jnp.eye(N))[:, None]
    p = coax.TransitionModel({1: type1, 2: type2}[modeltype], env_of(box), halves, doubles)
    assert p.observation_postprocessor is doubles
    assert p.observation_preprocessor is halves
    s = np.array([[3, 5], [1, 0]], np.float32)
    # 2 * (s / 2 + k) for the k-th action
    np.testing.assert_allclose(p(s, [2, 3]), s + np.array([[2], [4]]))
    np.testing.assert_allclose(p(s[0], 3), s[0] + 4)
    for k, found in enumerate(p(s)):
        np.testing.assert_allclose(found, s + 2 * k)
    for k, found in enumerate(p(s[1])):
        np.testing.assert_allclose(found, s[1] + 2 * k)
    assert p(s.reshape(1, 2, 2), [[1, 1]]).shape == (1, 2, 2)
    with pytest.raises(StateError, match="observation_postprocessor"):
        coax.jit(lambda s: p(s, 1), over=p)(s[0])


def test_actions_of_a_box():
    box = STATES["box"]
    func = lambda S, A, is_training: S + A
    p = coax.TransitionModel(func, env_of(box, spaces.Box(-1, 1, (2,))))
    # logits 0 and log(3), and 0.5 added to both
    want = scipy.special.expit([0.5, np.log(3) + 0.5]) * [8, 1] - [2, 0]
    np.testing.assert_allclose(p([2, 0.75], [0.5, 0.5]), want, rtol=1e-6)
    with pytest.raises(ValueError, match=r"p\(s\): expected a Discrete action space, got Box.*Fix: "):
        p([2, 0.5])


# --- a distribution ---------------------------------------------------------------------------------------------------


@pytest.mark.full
@BOTH_KINDS
def test_laws_of_next_states(name, modeltype):
    space, p = STATES[name], stochastic(name, modeltype)
    s, rows = fn.batch_of(space, (4,))
    a = np.array([1, 3, 2, 1])
    params, modes, means = p.dist_params(s, a), p.mode(s, a), p.mean(s, a)
    x, logp = p(s, a, return_logp=True)
    xs, logps = p(s, return_logp=True)
    every_param, every_mode = p.dist_params(s), p.mode(s)
    assert logp.shape == (4,)
    assert logps.shape == (4, N)
    assert all(type(found) is list and len(found) == N for found in (xs, every_param, every_mode, p(s), p.mean(s)))
    for i in range(4):
        one = laws.row(params, i)
        laws.assert_close(one, outputs(p, rows[i], a[i]))
        laws.assert_close(laws.row(every_param[a[i] - 1], i), one)
        want = laws.mode(space, one)
        for found in (modes, means, every_mode[a[i] - 1]):
            laws.assert_like_the_space(space, found, (4,))
            laws.assert_close(laws.row(found, i), want)
        assert space.contains(laws.row(x, i))
        np.testing.assert_allclose(logp[i], laws.log_proba(space, one, laws.row(x, i)), rtol=1e-4, atol=1e-4)
        for k in range(N):
            law = laws.log_proba(space, laws.row(every_param[k], i), laws.row(xs[k], i))
            np.testing.assert_allclose(logps[i, k], law, rtol=1e-4, atol=1e-4)
    laws.assert_like_the_space(space, p(rows[0], 1), ())
    assert space.contains(p.mode(rows[0])[2])
    laws.assert_close(p.dist_params(rows[0])[1], laws.row(every_param[1], 0))


def test_the_law_of_samples():
    p = stochastic("discrete", 2)
    s = np.full(20_000, 3)
    probs = [scipy.special.softmax(np.asarray(one["logits"], float)) for one in p.dist_params(3)]
    for k, x in enumerate(p(s)):
        assert scipy.stats.chisquare(np.bincount(x - 2, minlength=4), 20_000 * probs[k]).pvalue > 1e-3
    x = p(s, np.full(20_000, 2))
    assert scipy.stats.chisquare(np.bincount(x - 2, minlength=4), 20_000 * probs[1]).pvalue > 1e-3


def test_an_own_distribution():
    box = STATES["box"]
    dist = ProbaDist(box, box=SquashedNormalDist)
    func = laws.of_state_and_action(box)
    p = coax.StochasticTransitionModel(func, env_of(box), proba_dist=dist)
    assert p.proba_dist is dist
    mu = np.asarray(p.dist_params([2, 0.5], 1)["mu"], float)
    np.testing.assert_allclose(p.mode([2, 0.5], 1), [2 + 4 * np.tanh(mu[0]), 0.5 + np.tanh(mu[1]) / 2], rtol=1e-5)
    np.testing.assert_allclose(p.observation_preprocessor(None, np.array([[2, 0.5]])), [[2, 0.5]])  # no logits here
    for wrong, error in ((NormalDist(spaces.Box(0, 1, (2,))), ValueError), ("normal", TypeError)):
        with pytest.raises(error, match="StochasticTransitionModel: expected proba_dist "):
            coax.StochasticTransitionModel(func, env_of(box), proba_dist=wrong)


@pytest.mark.parametrize("make", [deterministic, stochastic])
@pytest.mark.gate
def test_compiled_it_does_the_same(make):
    p = make("tuple", 1).copy()
    other = p.copy()
    s, _ = fn.batch_of(STATES["tuple"], (4,))
    compiled = coax.jit(lambda s, a: (other(s), other(s, a)), over=other)
    for _ in range(2):
        want, got = (p(s), p(s, np.array([1, 2, 3, 1]))), compiled(s, np.array([1, 2, 3, 1]))
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(got))
        laws.assert_close(jax.tree.map(np.asarray, got), jax.tree.map(np.asarray, want))


@pytest.mark.parametrize("make", [deterministic, stochastic])
def test_copies_and_storage(make):
    p = make("discrete", 1)
    other = p.copy()
    assert other.rule is p.rule
    stored = coax.utils.loads(coax.utils.dumps(p))
    for copy in (stored, p.copy(deep=True)):
        twin = p.copy()
        np.testing.assert_array_equal(copy(np.arange(2, 6), np.ones(4, int)), twin(np.arange(2, 6), np.ones(4, int)))
    old = jax.tree.map(np.array, p.params)
    other.params = jax.tree.map(lambda x: x + 4, p.params)
    other.soft_update(p, 0.75)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y + 1, rtol=1e-5), other.params, old)


# --- rewards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("func", [fn.type1, fn.type2])
def test_rewards(func):
    r = coax.RewardFunction(func, fn.ENV, value_transform=LogTransform(1.0), random_seed=1)
    S = fn.observations(5)
    want = np.tanh(S.astype(float) @ fn.weights_of(r))
    want = np.sign(want) * np.expm1(np.abs(want))
    np.testing.assert_allclose(r(S), want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(r(S, np.array([0, 1, 2, 3, 0])), want[np.arange(5), [0, 1, 2, 3, 0]], rtol=1e-4)
    np.testing.assert_allclose(r(S[0], 2), want[0, 2], rtol=1e-4)
    assert r.copy().rule is r.rule is coax.Q(func, fn.ENV, value_transform=LogTransform(1.0)).rule


def test_roles():
    names = ("vfunction", "qfunction", "reward_function", "transition_model", "policy", "stochastic")
    objs = deterministic("box", 1), stochastic("box", 1), coax.RewardFunction(fn.type2, fn.ENV)
    found = [[name for name in names if getattr(coax.utils, f"is_{name}")(obj)] for obj in objs]
    assert found == [["transition_model"], ["transition_model", "stochastic"], ["qfunction", "reward_function"]]


# --- old helpers ------------------------------------------------------------------------------------------------------


@pytest.mark.gate
@TYPES
def test_functions_of_preprocessed_inputs(modeltype):
    p = stochastic("discrete", modeltype)
    S, A = np.eye(4, dtype=np.float32), np.eye(N, dtype=np.float32)[[0, 2, 1, 0]]
    args = p.params, p.function_state, jax.random.key(0), S
    logits = np.stack([one["logits"] for one in p.dist_params(np.arange(2, 6))], axis=1).astype(float)
    probs, taken = scipy.special.softmax(logits, axis=-1), (np.arange(4), [0, 2, 1, 0])
    np.testing.assert_allclose(p.mean_func_type2(*args), probs, rtol=1e-4)
    np.testing.assert_allclose(p.mean_func_type1(*args, A), probs[taken], rtol=1e-4)
    np.testing.assert_array_equal(np.argmax(p.mode_func_type2(*args), -1), logits.argmax(-1))
    np.testing.assert_array_equal(np.argmax(p.mode_func_type1(*args, A), -1), logits[taken].argmax(-1))
    X, logP = p.sample_func_type2(*args)
    np.testing.assert_allclose(
        logP, np.take_along_axis(np.log(probs), np.argmax(X, -1)[..., None], -1)[..., 0], rtol=1e-4
    )
    X, logP = p.sample_func_type1(*args, A)
    np.testing.assert_allclose(logP, np.log(probs[taken])[np.arange(4), np.argmax(X, -1)], rtol=1e-4)


# --- wrong arguments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: coax.TransitionModel(lambda S, A, is_training: S[:, :1], env_of(STATES["box"])),
            "TransitionModel: func(...): expected shape (1, 2) for a batch of 1, got (1, 1). Fix: look at "
            "coax.TransitionModel.example_data(env).type1.output.",
        ),
        (
            lambda: coax.TransitionModel(lambda S, is_training: S, env_of(STATES["box"])),
            "TransitionModel: func(...): expected shape (1, 3, 2) for a batch of 1, got (1, 2). Fix: look at "
            "coax.TransitionModel.example_data(env).type2.output.",
        ),
        (
            lambda: coax.TransitionModel(lambda S, A, is_training: S.astype(int), env_of(STATES["box"])),
            "TransitionModel: func(...): expected a jax array of a floating dtype, got int32. Fix: ",
        ),
        (
            lambda: coax.TransitionModel(lambda S, A, is_training: S["x"], env_of(STATES["dict"])),
            "TransitionModel: expected func to return the structure {'x': f32[1, 2], 'y': (f32[1, 2], f32[1, 3])}, got "
            "f32[1, 2]. Fix: ",
        ),
        (
            lambda: coax.TransitionModel(
                lambda S, A, is_training: {**S, "y": [S["y"][1], S["y"][0]]}, env_of(STATES["dict"])
            ),
            "TransitionModel: func(...)['y'][0]: expected shape (1, 2) for a batch of 1, got (1, 3). Fix: ",
        ),
        (
            lambda: coax.StochasticTransitionModel(lambda S, A, is_training: S, env_of(STATES["box"])),
            "StochasticTransitionModel: expected func to return the structure {'logvar': f32[1, 2], 'mu': f32[1, 2]}, "
            "got f32[1, 2]. Fix: look at coax.StochasticTransitionModel.example_data(...).type1.output.",
        ),
        (
            lambda: coax.StochasticTransitionModel(
                lambda S, is_training: {"logits": jnp.zeros((S.shape[0], 4, N))}, env_of(STATES["discrete"])
            ),
            "StochasticTransitionModel: func(...)['logits']: expected shape (1, 3, 4) for a batch of 1, got (1, 4, 3).",
        ),
        (
            lambda: coax.StochasticTransitionModel(lambda S, is_training: S, env_of(STATES["box"], STATES["box"])),
            "StochasticTransitionModel: expected a Discrete action space for func(S, is_training), got Box(",
        ),
        (
            lambda: coax.TransitionModel(lambda S, a, is_training: S, env_of(STATES["box"])),
            "TransitionModel: expected the signature func(S, A, is_training) or func(S, is_training), got func(S, a",
        ),
        (
            lambda: coax.TransitionModel(fn.type1, fn.env_of(spaces.Text(3))),
            "space: expected Discrete, Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of these, got Text",
        ),
        (
            lambda: coax.TransitionModel(fn.type1, fn.env_of("Box")),
            "TransitionModel: expected env.observation_space to be a gymnasium.Space, got str. Fix: ",
        ),
        (
            lambda: coax.RewardFunction(lambda S, A, is_training: S, fn.ENV),
            "RewardFunction: expected func to return shape (1,) for a batch of 1, got (1, 3). Fix: ",
        ),
        (
            lambda: coax.RewardFunction(fn.type2, fn.env_of(action_space=STATES["box"])),
            "RewardFunction: expected a Discrete action space for func(S, is_training), got Box(",
        ),
    ],
)
def test_wrong_functions(make, text):
    with pytest.raises(TypeError) as caught:
        make()
    assert text in str(caught.value)


# --- double precision -------------------------------------------------------------------------------------------------


def test_double_precision():
    box = spaces.Box(-2, 6, (2,), np.float64)
    with jax.enable_x64(True):
        p = coax.TransitionModel(lambda S, A, is_training: S + 0.3 * A[:, 1:], env_of(box))
        s = np.array([1 / 3, 5.0])
        z = scipy.special.logit((s + 2) / 8) + np.array([0, 0.3])
        assert p(s, 3).dtype == np.float64
        np.testing.assert_allclose(p(s, 3), 8 * scipy.special.expit(z) - 2, rtol=1e-12)
        func = lambda S, A, is_training: {"mu": S, "logvar": jnp.zeros_like(S)}
        q = coax.StochasticTransitionModel(func, env_of(box))
        x, logp = q(s, 1, return_logp=True)
        want = laws.log_proba(box, {"mu": scipy.special.logit((s + 2) / 8), "logvar": np.zeros(2)}, x)
        np.testing.assert_allclose(logp, want, rtol=1e-10)


def test_a_preprocessor_without_a_way_back():
    p = coax.TransitionModel(
        lambda S, A, is_training: S, fn.ENV, observation_preprocessor=lambda rng, X: jnp.reshape(X, (-1, fn.OBS)) / 10
    )
    with pytest.raises(ValueError, match=r"TransitionModel: expected an observation_postprocessor.*Fix:"):
        p(fn.observations(), 0)
    p = coax.TransitionModel(
        lambda S, A, is_training: S + 1,
        fn.ENV,
        observation_preprocessor=lambda rng, X: jnp.reshape(X, (-1, fn.OBS)) / 10,
        observation_postprocessor=lambda rng, X, index=0: 10 * np.asarray(X[index]),
    )
    np.testing.assert_allclose(p(fn.observations(), 0), fn.observations() + 10, rtol=1e-5)
