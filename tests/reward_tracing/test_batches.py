import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coax.reward_tracing import TransitionBatch, check_batch, concatenate, needs_a_next, require_a_next


def make(size=3, **more):
    x = np.arange(size, dtype=np.float32)
    return TransitionBatch(**{"S": x, "A": x, "logP": x, "Rn": x, "In": x + 1, "S_next": x, **more})


def test_check_batch():
    tb = make()
    assert check_batch(tb) is tb
    jax.jit(check_batch)(tb)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"S": {"x": (np.zeros(3), np.zeros((4, 3)))}},
            r"transition_batch\.S\['x'\]\[1\]: expected the batch size of Rn, 3, got length 4",
        ),
        (
            {"W": np.zeros(1)},
            r"transition_batch\.W: expected the batch size of Rn, 3, got length 1\. Fix: give every field",
        ),
        ({"In": np.float32(0)}, r"transition_batch\.In: expected a leading axis, got a scalar"),
        ({"extra_info": {"Adv": np.zeros(2)}}, r"transition_batch\.extra_info\['Adv'\]: expected .* 3, got length 2"),
    ],
)
def test_lengths_that_disagree(wrong, text):
    with pytest.raises(ValueError, match=text):
        check_batch(make(**wrong))


def test_check_batch_of_something_else():
    with pytest.raises(TypeError, match="transition_batch: expected a TransitionBatch, got tuple"):
        check_batch((1, 2))


def test_concatenate():
    tb = concatenate([make(2, A_next=np.array([5, 6])), make(1, A_next=np.array([7]))])
    assert tb.Rn.tolist() == [0, 1, 0]
    assert tb.A_next.tolist() == [5, 6, 7]
    assert tb.idx.tolist() == [0, 1, 0]
    assert isinstance(tb.Rn, np.ndarray)
    assert isinstance(concatenate([make(2, S=jnp.zeros(2)), make(1)]).S, jax.Array)


def test_concatenate_wrong_arguments():
    with pytest.raises(ValueError, match="batches: expected at least one TransitionBatch, got none"):
        concatenate([])
    with pytest.raises(
        ValueError, match=r"batches: expected equal structures.*Fix: give all batches the same optional"
    ):
        concatenate([make(), make(A_next=np.zeros(3))])


@pytest.mark.parametrize("how", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_needs_a_next(how):
    nan = np.nan
    marked = make(A_next=np.zeros(3), logP_next=np.array([nan, nan, 0.0]), In=np.array([0.5, 0.0, 0.5]))
    # the second row does not bootstrap
    assert how(needs_a_next)(marked).tolist() == [True, False, False]
    assert how(needs_a_next)(make(In=np.array([0.5, 0.0, 0.5]))).tolist() == [True, False, True]
    assert how(needs_a_next)(make(A_next=np.zeros(3))).tolist() == [False] * 3


def test_require_a_next():
    require_a_next(make(A_next=np.zeros(3), logP_next=np.zeros(3)), "Sarsa")
    with pytest.raises(ValueError, match=r"Sarsa: expected A_next in the batch, got None\. Fix: use NStep"):
        require_a_next(make(), "Sarsa")
    marked = make(A_next=np.zeros(3), logP_next=np.array([0.0, np.nan, np.nan]))
    with pytest.raises(ValueError, match=r"Sarsa: .* none for 2 of 3 rows \(first: 1\).*Fix: at a truncation pass"):
        require_a_next(marked, "Sarsa")
    jax.jit(lambda tb: require_a_next(tb, "Sarsa"))(marked)
