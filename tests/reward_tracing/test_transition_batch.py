import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.reward_tracing import TransitionBatch

FIELDS = ("S", "A", "logP", "Rn", "In", "S_next", "A_next", "logP_next", "W", "idx", "extra_info")


def make(size=3, **more):
    x = np.arange(size, dtype=np.float32)
    fields = {
        "S": {"x": x, "y": (x[:, None],)},
        "A": x.astype(int),
        "logP": -x,
        "Rn": x,
        "In": x,
        "S_next": {"x": x, "y": (x[:, None],)},
    }
    return TransitionBatch(**fields, **more)


def test_fields_and_defaults():
    tb = make()
    assert TransitionBatch.__slots__ == FIELDS
    assert [name for name, _ in tb.items()] == list(tb._asdict()) == list(FIELDS)
    assert tb.W.tolist() == [1, 1, 1]
    assert tb.W.dtype == np.float32
    assert tb.idx.tolist() == [0, 1, 2]
    assert tb.idx.dtype == np.int32
    assert tb.A_next is tb.logP_next is tb.extra_info is None
    assert tb.batch_size == 3
    tb.W = tb.W * 2
    assert tb.W.tolist() == [2, 2, 2]


def test_it_is_a_tuple_of_fields():
    tb = make()
    s, a, *_, extra_info = tb
    assert s is tb.S
    assert a is tb.A is tb[1]
    assert extra_info is None
    assert tb[2:4] == (tb.logP, tb.Rn)
    with pytest.raises(TypeError):
        len(tb)
    with pytest.raises(TypeError):
        hash(tb)


def test_pytree():
    tb = make()
    leaves = jax.tree_util.tree_leaves_with_path(tb)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    assert names[:3] == [".S['x']", ".S['y'][0]", ".A"]
    assert ".A_next" not in names
    doubled = jax.jit(lambda t: jax.tree.map(lambda x: 2 * x, t))(tb)
    assert isinstance(doubled, TransitionBatch)
    assert doubled.Rn.tolist() == [0, 2, 4]
    assert doubled.A_next is None
    np.testing.assert_allclose(jax.vmap(lambda t: t.Rn + t.S["y"][0][0])(tb), [0, 2, 4])


def test_made_inside_a_trace():
    got = jax.jit(lambda x: TransitionBatch(x, x, x, x, x, x))(jnp.ones(2))
    assert got.W.tolist() == [1, 1]
    assert got.idx.tolist() == [0, 1]


def test_to_singles():
    tb = make(A_next=np.arange(3), extra_info={"n": (np.arange(3),)})
    singles = list(tb.to_singles())
    assert [single.batch_size for single in singles] == [1, 1, 1]
    assert [single.Rn.item() for single in singles] == [0, 1, 2]
    assert [single.idx.item() for single in singles] == [0, 1, 2]
    assert singles[2].S["y"][0].tolist() == [[2]]
    assert singles[2].extra_info["n"][0].tolist() == [2]
    assert singles[2].logP_next is None
    assert next(singles[1].to_singles()) is singles[1]


def test_equality():
    assert make() == make()
    assert make() != make(2)
    assert make() != make(W=np.array([1, 1, 2]))
    assert make() != make(idx=np.array([1, 1, 2]))
    assert make() != make(A_next=np.arange(3))
    assert make() != 3
    marked = make(logP_next=np.array([0, np.nan, 0]))
    assert marked == marked.copy(deep=True)
    assert marked != make(logP_next=np.zeros(3))


@pytest.mark.parametrize(
    "how", [lambda tb: tb.copy(deep=True), copy.deepcopy, lambda tb: pickle.loads(pickle.dumps(tb))]
)
def test_deep_copies(how):
    tb = make()
    new = how(tb)
    assert new == tb
    new.S["x"][:] = 7
    assert tb.S["x"].tolist() == [0, 1, 2]


def test_shallow_copy():
    tb = make()
    new = tb.copy()
    assert new.Rn is tb.Rn
    new.Rn = None
    assert tb.Rn is not None


def test_repr():
    text = repr(make(logP_next=np.array([0, np.nan, 0])))
    assert text.startswith("TransitionBatch(\n  S={\n    'x': array(shape=(3,), dtype=float32, min=0, median=1, max=2)")
    assert "logP_next=array(shape=(3,), dtype=float64, min=nan" in text
    assert "A_next=None" in text
    assert "TransitionBatch" in str(jax.eval_shape(lambda tb: tb, make()))


def test_from_single():
    tb = TransitionBatch.from_single(
        {"x": np.zeros(2)}, 3, -0.5, 2, False, 0.9, s_next={"x": np.ones(2)}, a_next=4, logp_next=-1, w=2, idx=7
    )
    assert tb.S["x"].shape == (1, 2)
    assert tb.A.tolist() == [3]
    want = {"logP": -0.5, "Rn": 2, "In": 0.9, "A_next": 4, "logP_next": -1, "W": 2, "idx": 7}
    for name, value in want.items():
        np.testing.assert_allclose(getattr(tb, name), [value])
    for x in (tb.logP, tb.Rn, tb.In, tb.logP_next, tb.W):
        assert x.dtype == np.float32
    assert tb.idx.dtype == np.int32
    bare = TransitionBatch.from_single(0, 0, 0.0, 0.0, True, 0.9)
    assert bare.In.tolist() == [0]
    assert bare.S_next is bare.A_next is bare.logP_next is bare.extra_info is None
    assert bare.idx.tolist() == [0]


@pytest.mark.parametrize("number", [np.float32, np.float64, np.array, jnp.float32])
@pytest.mark.parametrize("flag", [np.bool_, bool, jnp.bool_])
def test_from_single_takes_any_scalar(number, flag):
    tb = TransitionBatch.from_single(0, 0, number(-1.0), number(2.0), flag(False), number(0.5), w=number(1.0))
    assert (tb.logP, tb.Rn, tb.In) == (-1, 2, 0.5)
    assert TransitionBatch.from_single(0, 0, 0, 0, flag(True), number(0.5)).In == 0


def test_from_single_truncated():
    assert TransitionBatch.from_single(0, 0, 0, 0, False, 0.5, s_next=1, truncated=True).In == 0.5
    assert TransitionBatch.from_single(0, 0, 0, 0, True, 0.5, truncated=True).In == 0
    with pytest.raises(ValueError, match=r"truncated=True: expected s_next.*Fix: pass s_next="):
        TransitionBatch.from_single(0, 0, 0, 0, False, 0.5, truncated=True)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"logp": "a"}, "logp: expected a number, got 'a'"),
        ({"r": np.zeros(2)}, r"r: expected a number, got shape \(2,\)"),
        ({"logp_next": [0]}, r"logp_next: expected a number, got shape \(1,\)"),
        ({"gamma": 1.5}, r"gamma: expected a number in \[0, 1\], got 1\.5"),
        ({"gamma": None}, "gamma: expected a number, got None"),
        ({"w": -1}, r"w: expected a weight of at least 0, got -1\.0"),
        ({"w": True}, "w: expected a number, got the bool True"),
        ({"logp": False}, "logp: expected a number, got the bool False"),
        ({"logp_next": np.True_}, "logp_next: expected a number, got the bool"),
        ({"done": "no"}, "done: expected a bool, got 'no'"),
        ({"truncated": None}, "truncated: expected a bool, got None"),
        ({"done": np.zeros(2)}, r"done: expected a bool, got shape \(2,\)"),
    ],
)
def test_from_single_wrong_arguments(wrong, text):
    with pytest.raises(TypeError, match=text):
        TransitionBatch.from_single(**{"s": 0, "a": 0, "logp": 0.0, "r": 0.0, "done": False, "gamma": 0.9, **wrong})
