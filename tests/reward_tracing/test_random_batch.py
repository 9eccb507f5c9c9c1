from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

from coax.reward_tracing import check_batch, get_transition_batch

ENV = SimpleNamespace(
    observation_space=spaces.Dict({"x": spaces.Box(0, 1, (2, 3)), "y": spaces.Tuple([spaces.Discrete(3)])}),
    action_space=spaces.Discrete(4),
)


def test_every_field():
    tb = check_batch(get_transition_batch(ENV, batch_size=50, gamma=0.7, random_seed=1))
    assert tb.batch_size == 50
    for s in (tb.S, tb.S_next):
        assert all(ENV.observation_space.contains({"x": s["x"][i], "y": (s["y"][0][i],)}) for i in range(50))
        assert s["x"].dtype == np.float32
    for a in (tb.A, tb.A_next):
        assert set(a.tolist()) == {0, 1, 2, 3}
    for logp in (tb.logP, tb.logP_next):
        assert ((np.log(0.0099) < logp) & (logp < 0)).all()
    assert (np.abs(tb.Rn) <= 5).all()
    assert set(tb.In.tolist()) == {0.0, float(np.float32(0.7))}
    assert ((tb.W >= 0.01) & (tb.W <= 100)).all()
    for x in (tb.logP, tb.Rn, tb.In, tb.logP_next, tb.W):
        assert x.dtype == np.float32
    assert tb.idx.tolist() == list(range(50))


def test_seed():
    assert get_transition_batch(ENV, 3, random_seed=1) == get_transition_batch(ENV, 3, random_seed=1)
    assert get_transition_batch(ENV, 3, random_seed=1) != get_transition_batch(ENV, 3, random_seed=2)
    assert get_transition_batch(ENV).batch_size == 1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"batch_size": 0}, "batch_size: expected a positive integer, got 0"),
        ({"batch_size": 1.5}, r"batch_size: expected a positive integer, got 1\.5"),
        ({"gamma": 2}, r"gamma: expected a number in \[0, 1\], got 2\.0"),
        ({"gamma": None}, "gamma: expected a number, got None"),
    ],
)
def test_wrong_arguments(wrong, text):
    with pytest.raises(TypeError, match=text):
        get_transition_batch(ENV, **wrong)
