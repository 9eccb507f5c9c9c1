"""Example data: what a forward-pass function receives and must return, for every class and space."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import coax
from coax.approximators import ExampleData
from coax.proba_dists import ProbaDist, SquashedNormalDist

from . import functions as fn
from . import laws

K, B = 5, 3
RANGE = (0.0, 1.0)
BINS = {"value_range": RANGE, "num_bins": K}
ARGS = {"StochasticV": BINS, "StochasticRewardFunction": BINS}
STATE = ("V", "Policy", "StochasticV")
REWARDS, MODELS = ("RewardFunction", "StochasticRewardFunction"), ("TransitionModel", "StochasticTransitionModel")
STATE_ACTION = ("Q", "StochasticQ", *REWARDS, *MODELS)
DISCRETE = spaces.Discrete(4, start=2)
CASES = [
    *((name, kind) for name in fn.SPACES for kind in ("V", "Policy", "TransitionModel", "StochasticTransitionModel")),
    *(("tuple", kind) for kind in ("Q", "RewardFunction", "StochasticV", "StochasticQ", "StochasticRewardFunction")),
]


def settings(kind):
    return ARGS.get(kind, {})


def data_of(kind, env, **kwargs):
    return getattr(coax, kind).example_data(env, **settings(kind), **kwargs)


def variates(space, *lead):
    """Observations as models see them: one-hot vectors and logits, with shapes as leaves."""
    if isinstance(space, spaces.Discrete):
        return (*lead, int(space.n))
    if isinstance(space, spaces.Box):
        return (*lead, *space.shape)
    if isinstance(space, spaces.Dict):
        return {key: variates(part, *lead) for key, part in space.spaces.items()}
    return [variates(part, *lead) for part in laws.parts(space)]


def wanted_output(kind, env, *lead):
    """Shapes of the output, by hand."""
    if kind in ("V", "Q", "RewardFunction"):
        return lead
    if kind in ("StochasticV", "StochasticRewardFunction"):
        return {"logits": (*lead, K)}
    if kind == "StochasticQ":
        return {"values": (*lead, 51), "quantile_fractions": (*lead, 51)}
    if kind == "TransitionModel":
        return variates(env.observation_space, *lead)
    return laws.shapes(env.action_space if kind == "Policy" else env.observation_space, *lead)


def as_float(tree):
    """Whether all leaves are jax arrays of floats."""
    return all(isinstance(x, jax.Array) and x.dtype == np.float32 for x in jax.tree.leaves(tree))


def shapes_of(tree):
    return jax.tree.map(np.shape, tree)


def network_for(example):
    """A function that returns zeros like an example, for any batch."""
    flat, structure = jax.tree.flatten(example)

    def zeros(S):
        batch = jax.tree.leaves(S)[0].shape[0]
        return jax.tree.unflatten(structure, [jnp.zeros((batch, *x.shape[1:])) for x in flat])

    return (lambda S, is_training: zeros(S)), (lambda S, A, is_training: zeros(S))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_round_trip(name, kind):
    """Structure, shapes and dtypes; a function that returns such an output is accepted, and initialised with it."""
    space = fn.SPACES[name]
    env = fn.env_of(DISCRETE, space) if kind == "Policy" else fn.env_of(space, DISCRETE)
    cls, data = getattr(coax, kind), data_of(kind, env, batch_size=B, random_seed=7)
    types = [(None, data)] if kind in STATE else [(1, data.type1), (2, data.type2)]
    for modeltype, example in types:
        lead = (B, 4) if modeltype == 2 else (B,)
        args = example.inputs.args
        assert args.is_training is True
        assert example.inputs.static_argnums == ((2,) if modeltype == 1 else (1,))
        assert args._fields == (("S", "A", "is_training") if modeltype == 1 else ("S", "is_training"))
        assert shapes_of(example.output) == wanted_output(kind, env, *lead)
        assert as_float(example.output)
        if kind in MODELS:
            assert shapes_of(args.S) == variates(space, B)
        elif name == "tuple":
            assert shapes_of(args.S) == ((B, 4) if kind == "Policy" else ((B, 3), (B, 2)))
        if modeltype == 1:
            assert args.A.shape == (B, 4)
            np.testing.assert_array_equal(np.sum(args.A, axis=-1), 1)  # one-hot
        func = network_for(example.output)[modeltype == 1]
        f = cls(func, env, **settings(kind))
        assert getattr(f, "modeltype", None) == modeltype
        assert jax.tree.map(lambda x: (x.shape[1:], x.dtype), f._forward.output) == jax.tree.map(
            lambda x: (x.shape[1:], x.dtype), example.output
        )
        counted = lambda *args: hk.Linear(2)(laws.features(*args[:-1]))
        params = hk.transform(counted).init(jax.random.key(0), *args)
        assert params["linear"]["w"].shape[1] == 2


EVERY_KIND = pytest.mark.parametrize("kind", [*STATE, *STATE_ACTION])


@EVERY_KIND
def test_actions_of_a_box_leave_no_second_type(kind):
    env = fn.env_of(None, spaces.Box(-1, 1, (2, 3)))
    data = data_of(kind, env, batch_size=B)
    if kind in STATE:
        assert isinstance(data, ExampleData)
    else:
        assert data.type2 is None
        assert data.type1.inputs.args.A.shape == (B, 2, 3)
        assert "type2=None" in repr(data)


@EVERY_KIND
def test_a_seed_decides(kind):
    first, same, other, fresh = (data_of(kind, fn.ENV, random_seed=seed) for seed in (1, 1, 2, None))
    equal = lambda a, b: all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    assert equal(first, same)
    assert not equal(first, other)
    assert not equal(first, fresh)
    example = first if kind in STATE else first.type1
    assert all(x.shape[0] == 1 for x in jax.tree.leaves((example.inputs.args.S, example.output)))


@EVERY_KIND
@pytest.mark.parametrize("wrong", [0, -1, 2.0, None])
def test_no_size_of_a_batch(kind, wrong):
    with pytest.raises(ValueError, match=r"batch_size: expected a positive integer, got .*Fix: "):
        data_of(kind, fn.ENV, batch_size=wrong)


@EVERY_KIND
def test_no_spaces(kind):
    with pytest.raises(TypeError, match=rf"{kind}: expected env\.observation_space to be a gymnasium\.Space, got str"):
        data_of(kind, fn.env_of("Box", DISCRETE))
    if kind not in ("V", "StochasticV"):
        with pytest.raises(TypeError, match=rf"{kind}: expected env\.action_space to be a gymnasium\.Space, got str"):
            data_of(kind, fn.env_of(None, "Discrete"))


def seen(rng, X):
    return {"x": jnp.tanh(X), "n": jnp.sum(X, axis=-1)}


def acted_on_host(rng, A):
    return np.stack([np.asarray(A), -np.asarray(A)], axis=-1).astype(np.float32)


@pytest.mark.parametrize("kind", [kind for kind in (*STATE, *STATE_ACTION) if kind != "StochasticTransitionModel"])
def test_preprocessors(kind):
    data = data_of(kind, fn.ENV, observation_preprocessor=seen, batch_size=B)
    example = data if kind in STATE else data.type2
    assert shapes_of(example.inputs.args.S) == {"x": (B, 3), "n": (B,)}
    assert np.abs(example.inputs.args.S["x"]).max() <= 1
    if kind == "TransitionModel":
        assert shapes_of(example.output) == {"x": (B, 4, 3), "n": (B, 4)}


@pytest.mark.parametrize("kind", STATE_ACTION)
def test_action_preprocessors(kind):
    A = data_of(kind, fn.ENV, action_preprocessor=acted_on_host, batch_size=20, random_seed=7).type1.inputs.args.A
    assert isinstance(A, jax.Array)
    np.testing.assert_array_equal(A[:, 0], -A[:, 1])
    assert set(np.asarray(A[:, 0])) == {0, 1, 2, 3}


def test_other_distributions():
    box = spaces.Box(-1, 1, (2,))
    dist = ProbaDist(box, box=SquashedNormalDist)
    assert shapes_of(coax.Policy.example_data(fn.env_of(None, box), proba_dist=dist).output) == laws.shapes(box, 1)
    data = coax.StochasticTransitionModel.example_data(fn.env_of(box), proba_dist=dist, batch_size=50, random_seed=0)
    assert np.abs(data.type1.inputs.args.S).max() <= 1  # no logits
    assert shapes_of(coax.StochasticQ.example_data(fn.ENV, RANGE, 7).type2.output) == {"logits": (1, 4, 7)}


def test_text():
    env = fn.env_of(spaces.Discrete(2), spaces.Discrete(3, start=1))
    data = coax.StochasticQ.example_data(env, RANGE, 5, batch_size=2, random_seed=0)
    assert jax.tree.map(np.shape, data.type1.output) == {"logits": (2, 5)}
    lines = repr(data).splitlines()
    # without the numbers after shape and dtype
    assert [line.split(", min=")[0] for line in lines] == [
        "ModelTypes(",
        "  type1=ExampleData(",
        "    inputs=Inputs(",
        "      args=ArgsType1(",
        "        S=array(shape=(2, 2), dtype=float32",
        "        A=array(shape=(2, 3), dtype=float32",
        "        is_training=True),",
        "      static_argnums=(",
        "        2)),",
        "    output={",
        "      'logits': array(shape=(2, 5), dtype=float32",
        "  type2=ExampleData(",
        "    inputs=Inputs(",
        "      args=ArgsType2(",
        "        S=array(shape=(2, 2), dtype=float32",
        "        is_training=True),",
        "      static_argnums=(",
        "        1)),",
        "    output={",
        "      'logits': array(shape=(2, 3, 5), dtype=float32",
    ]
    assert lines[4].endswith(", min=0, median=0.5, max=1),")  # one-hot
    assert lines[5].endswith(", min=0, median=0, max=1),")
    assert lines[-1].endswith(")}))")


def test_text_of_a_policy():
    env = fn.env_of(spaces.Box(1, 1.5, (2,)), spaces.MultiBinary(2))
    text = repr(coax.Policy.example_data(env, observation_preprocessor=lambda rng, X: 0 * X, random_seed=0))
    assert text.startswith(
        "ExampleData(\n"
        "  inputs=Inputs(\n"
        "    args=ArgsType2(\n"
        "      S=array(shape=(1, 2), dtype=float32, min=0, median=0, max=0),\n"
        "      is_training=True),\n"
        "    static_argnums=(\n"
        "      1)),\n"
        "  output=(\n"
        "    {\n"
        "      'logits': array(shape=(1, 2), dtype=float32, min="
    )
