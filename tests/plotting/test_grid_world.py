"""Values and policies on a map: each number and each arrow where it belongs."""

import sys

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coax
from coax.plotting import plot_policy, plot_values
from tests.plotting.axes import Axes

LAKE = ["SFH", "FFG"]  # states 0 1 2 / 3 4 5
# left, down, right, up
Q = np.array(
    [
        [0.1, 0.2, 0.3, 0.1],  # to the right
        [0.5, 0.5, -1.0, 0.0],  # to the left and down: a tie
        [9.0, 0.0, 0.0, 0.0],  # a hole: nothing is drawn
        [0.0, 0.0, 0.0, 0.25],  # up
        [-2.0, -1.0, 0.875, 0.0],  # to the right
        [7.0, 7.0, 7.0, 7.0],  # the goal: nothing
    ]
)


def arrows_of(axes):
    """(column, row, direction) of each, and how long it is."""
    names = {(-1, 0): "left", (0, 1): "down", (1, 0): "right", (0, -1): "up"}
    return {(x, y, names[int(np.sign(u)), int(np.sign(v))]): abs(u) + abs(v) for x, y, u, v, _ in axes.arrows}


def in_corners(axes):
    return {(x, y): text for x, y, text in axes.texts if text not in ("S", "H", "G", "C")}


@pytest.mark.parametrize(
    "make",
    [
        lambda: LAKE,
        lambda: coax.envs.FrozenLake(LAKE),
        lambda: coax.envs.JaxVectorEnv(coax.envs.FrozenLake(LAKE), num_envs=2, random_seed=0),
        lambda: gymnasium.make("FrozenLake-v1", desc=LAKE),
        lambda: coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1", desc=LAKE)),
        lambda: gymnasium.make_vec("FrozenLake-v1", num_envs=2, desc=LAKE, vectorization_mode="sync"),
    ],
    ids=["map", "functional", "jax", "gymnasium", "monitor", "vector"],
)
def test_values_by_hand(make):
    axes = Axes()
    assert plot_values(make(), Q, axes) is axes
    # (column, row): 0.3 at state 0, 0.5 at 1, 0.25 at 3, 0.875 at 4
    assert in_corners(axes) == {(0, 0): "0.3", (1, 0): "0.5", (0, 1): "0.25", (1, 1): "0.875"}
    assert arrows_of(axes) == {
        (0, 0, "right"): 0.34,
        (1, 0, "left"): 0.34,
        (1, 0, "down"): 0.34,
        (0, 1, "up"): 0.34,
        (1, 1, "right"): 0.34,
    }
    np.testing.assert_array_equal(axes.images[0].filled(-1), [[0.3, 0.5, -1], [0.25, 0.875, -1]])
    assert axes.images[1] == r"$\max_a\, q(s, a)$"


def test_what_is_marked():
    axes = Axes()
    plot_values(LAKE, Q, axes)
    assert {text for text in axes.texts if text[2] in "SHGC"} == {(0, 0, "S"), (2, 0, "H"), (2, 1, "G")}
    dark, gold = (color for _, _, color in axes.patches)
    assert axes.patches == [(2, 0, dark), (2, 1, gold)]
    assert dark != gold
    assert axes.properties["xlim"] == (-0.5, 2.5)
    assert axes.properties["ylim"] == (1.5, -0.5)  # downwards, as rows are counted


def test_a_policy_by_hand():
    probs = np.full((6, 4), 0.25)
    probs[0] = [0.0, 0.75, 0.245, 0.005]  # one too rare to draw
    probs[1] = [0, 0, 1, 0]
    axes = Axes()
    plot_policy(LAKE, probs, axes)
    found = arrows_of(axes)
    # of a cell: from 0.09 for 0 to 0.34 for 1
    assert {key: length for key, length in found.items() if key[:2] == (0, 0)} == pytest.approx(
        {(0, 0, "down"): 0.2775, (0, 0, "right"): 0.15125}
    )
    assert {key: length for key, length in found.items() if key[:2] == (1, 0)} == {(1, 0, "right"): 0.34}
    assert sum(key[:2] == (0, 1) for key in found) == 4
    assert len(found) == 2 + 1 + 4 + 4
    assert in_corners(axes) == {(0, 0): "75%", (1, 0): "100%", (0, 1): "25%", (1, 1): "25%"}
    # as dark as likely: from 0.25 for 0 to 1 for 1
    assert sorted({ink for *_, ink in axes.arrows}) == pytest.approx([0.25 + 0.75 * p for p in (0.245, 0.25, 0.75, 1)])


def test_a_cliff_to_walk_along():
    # its actions are up, right, down, left; the start is at the bottom on the left, the goal on the right
    q = np.zeros((48, 4))
    q[36] = [-12.5, -113.0, -13.5, -13.5]  # at the start: up
    q[24:35, 1] = 1  # along the cliff: to the right
    q[35, 2] = 1  # above the goal: down
    q[0, 3] = 1
    axes = Axes()
    plot_values(gymnasium.make("CliffWalking-v1"), q, axes)
    found = arrows_of(axes)
    assert [key for key in found if key[1] >= 2] == [(x, 2, "right") for x in range(11)] + [
        (11, 2, "down"),
        (0, 3, "up"),
    ]
    assert [key for key in found if key[:2] == (0, 0)] == [(0, 0, "left")]
    assert len([key for key in found if key[:2] == (5, 0)]) == 4  # nothing is known there
    assert in_corners(axes)[0, 3] == "-12.5"
    assert [(x, y) for x, y, _ in axes.patches] == [(x, 3) for x in range(1, 12)]
    marks = {(x, y): text for x, y, text in axes.texts if text in ("S", "G", "C")}
    assert marks == {(0, 3): "S", (11, 3): "G", **{(x, 3): "C" for x in range(1, 11)}}


def test_functions_of_coax():
    env = gymnasium.make("FrozenLake-v1", desc=LAKE)
    table = jnp.asarray(Q, jnp.float32)

    def func(S, is_training):
        return S @ hk.get_parameter("table", (6, 4), init=lambda *_: table)

    q = coax.Q(func, env, random_seed=1)
    v = coax.V(lambda S, is_training: func(S, is_training).max(axis=-1), env, random_seed=1)
    for values in (q, v):
        axes = Axes()
        plot_values(env, values, axes)
        assert in_corners(axes) == {(0, 0): "0.3", (1, 0): "0.5", (0, 1): "0.25", (1, 1): "0.875"}
        assert len(arrows_of(axes)) == (5 if values is q else 0)
    assert axes.images[1] == "$v(s)$"
    axes = Axes()
    plot_policy(env, coax.EpsilonGreedy(q, epsilon=0.2), axes)
    # 0.8 + 0.2 / 4 for the best; at the tie 0.4 + 0.05
    assert in_corners(axes) == {(0, 0): "85%", (1, 0): "45%", (0, 1): "85%", (1, 1): "85%"}
    axes = Axes()
    plot_policy(env, coax.Policy(lambda S, is_training: {"logits": jnp.log(4.0) * func(S, is_training)}, env), axes)
    # 4^0.3 / (4^0.1 + 4^0.2 + 4^0.3 + 4^0.1) = 1.516 / (1.149 + 1.320 + 1.516 + 1.149) = 0.295
    assert in_corners(axes)[0, 0] == "30%"


def test_of_a_stochastic_function_the_mean():
    env = gymnasium.make("FrozenLake-v1", desc=LAKE)

    def func(S, is_training):  # all the mass on bin 2 of -1, 0, 1, 2, 3 for action 0, on bin 1 for the others
        logits = jnp.full((S.shape[0], 4, 5), -50.0).at[:, 0, 2].set(50.0).at[:, 1:, 1].set(50.0)
        return {"logits": logits + 0 * hk.get_parameter("unused", (), init=jnp.zeros)}

    q = coax.StochasticQ(func, env, value_range=(-1, 3), num_bins=5, random_seed=1)
    axes = Axes()
    plot_values(env, q, axes)
    assert set(in_corners(axes).values()) == {"1"}
    assert {key[2] for key in arrows_of(axes)} == {"left"}


@pytest.mark.gate
def test_random_streams_stay_where_they_are():
    env = gymnasium.make("FrozenLake-v1", desc=LAKE)
    q = coax.Q(lambda S, is_training: hk.dropout(hk.next_rng_key(), 0.5, hk.Linear(4)(S)), env, random_seed=1)
    pi = coax.EpsilonGreedy(q, epsilon=0.5)
    before = jax.tree.leaves((q.state["rng"], pi.state["rng"]))
    plot_values(env, q, Axes())
    plot_policy(env, pi, Axes())
    after = jax.tree.leaves((q.state["rng"], pi.state["rng"]))
    for x, y in zip(before, after, strict=True):
        x, y = (jax.random.key_data(k) if jnp.issubdtype(k.dtype, jax.dtypes.prng_key) else k for k in (x, y))
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("draw", "error", "text"),
    [
        (
            lambda: plot_values(gymnasium.make("CartPole-v1"), Q),
            TypeError,
            "env: expected a frozen lake or a cliff walk",
        ),
        (lambda: plot_values(3, Q), TypeError, "or a map, got int. Fix: pass such an environment"),
        (lambda: plot_values(["SF", "F"], Q), ValueError, r"rows of one length, got \['SF', 'F'\]"),
        (lambda: plot_values([], Q), ValueError, "rows of one length"),
        (lambda: plot_values(["SX"], Q), ValueError, "letters S, F, H and G, got 'X'"),
        (
            lambda: plot_values(LAKE, "best"),
            TypeError,
            "values: expected numbers, got str. Fix: pass a coax.Q or a coax.V",
        ),
        (lambda: plot_values(LAKE, Q[1:]), ValueError, r"each of 6 states and 4 actions, got shape \[5, 4\]"),
        (lambda: plot_values(LAKE, Q[:, 1:]), ValueError, r"got shape \[6, 3\]"),
        (
            lambda: plot_policy(LAKE, Q[:, 0]),
            ValueError,
            r"policy: expected one for each of 6 states .* got shape \[6\]",
        ),
        (lambda: plot_policy(LAKE, Q), ValueError, "policy: expected probabilities, got -2 to 9"),
        (
            lambda: plot_policy(LAKE, lambda s: 0),
            TypeError,
            "policy: expected numbers, got function. Fix: pass a policy",
        ),
    ],
)
def test_errors(draw, error, text):
    with pytest.raises(error, match=text):
        draw()


@pytest.mark.parametrize("draw", [plot_values, plot_policy])
def test_without_matplotlib(monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"matplotlib is missing. Fix: pip install 'coax\[plots\]'"):
        draw(LAKE, np.full((6, 4), 0.25))


def test_with_matplotlib(tmp_path):
    quiver = pytest.importorskip("matplotlib.quiver")
    axes = plot_values(LAKE, Q)
    (arrows,) = (item for item in axes.collections if isinstance(item, quiver.Quiver))
    np.testing.assert_allclose(arrows.X, [0.05, 0.95, 1, 0, 1.05])
    np.testing.assert_allclose(arrows.Y, [0.06, 0.06, 0.11, 1.01, 1.06])
    np.testing.assert_allclose(arrows.U, [0.34, -0.34, 0, 0, 0.34])
    np.testing.assert_allclose(arrows.V, [0, 0, 0.34, -0.34, 0])
    assert [text.get_text() for text in axes.texts].count("0.875") == 1
    axes.figure.savefig(tmp_path / "q.png")
    own = axes.figure.__class__(figsize=(3, 3)).subplots()
    assert plot_policy(LAKE, np.full((6, 4), 0.25), own) is own
    own.figure.savefig(tmp_path / "pi.png")
    assert (tmp_path / "pi.png").stat().st_size > 1000
