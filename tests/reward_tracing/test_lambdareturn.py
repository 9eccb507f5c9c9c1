import copy
import pickle

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coax
from coax.errors import EpisodeDoneError, InsufficientCacheError, StateError
from coax.reward_tracing import LambdaReturn, check_batch, concatenate, needs_a_next

from .streams import episodes, is_over


def tenth(S):
    return np.asarray(S, np.float32) / 10


def first_tenth(S):
    return S[:, 0] / 10


class Counting:
    """Values of observations, with a note of what was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, S):
        self.asked.append(np.asarray(S).tolist())
        return tenth(S)


# Rewards 1, 2, 4 in states 10, 20, 30, so values 1, 2, 3, and 4 in state 40; gamma and lambda 1/2.
STEPS = [(10, 1, 1.0), (20, 2, 2.0), (30, 3, 4.0)]
# TD errors: 1 + 2/2 - 1 = 1 ; 2 + 3/2 - 2 = 1.5 ; 4 + 4/2 - 3 = 3, or 4 - 3 = 1 if the episode terminates there.
# Advantages weigh what follows with 1/4.
TERMINATED = [(10, 1 + 1.75 / 4, 20, 2), (20, 1.5 + 1 / 4, 30, 3), (30, 1.0, 30, 3)]
TRUNCATED = [(10, 1 + 2.25 / 4, 20, 2), (20, 1.5 + 3 / 4, 30, 3), (30, 3.0, 40, 3)]


def rows(tb):
    """Rows of (S, Adv, S_next, A_next), once it is clear that Rn is the advantage plus the value, and In is 0."""
    check_batch(tb)
    np.testing.assert_allclose(tb.extra_info["V"], tb.S / 10)
    np.testing.assert_allclose(tb.Rn, tb.extra_info["Adv"] + tb.extra_info["V"])
    assert (tb.In == 0).all()
    return list(zip(*(x.tolist() for x in (tb.S, tb.extra_info["Adv"], tb.S_next, tb.A_next)), strict=True))


def play(tracer, **end):
    for i, (s, a, r) in enumerate(STEPS):
        tracer.add(s, a, r, **(end if i == 2 else {"done": False}))
    return tracer


@pytest.mark.parametrize("n", [3, 9, None])
@pytest.mark.parametrize("take", ["pop", "flush"])
@pytest.mark.parametrize(
    ("end", "want"),
    [({"done": True}, TERMINATED), ({"done": False, "truncated": True, "s_next": 40}, TRUNCATED)],
)
def test_by_hand(n, take, end, want):
    tracer = play(LambdaReturn(n, 0.5, 0.5, tenth), **end)
    assert tracer
    got = rows(tracer.flush()) if take == "flush" else [row for _ in range(3) for row in rows(tracer.pop())]
    assert got == want
    assert not tracer
    assert len(tracer) == 0


def test_a_full_segment_is_bootstrapped_though_the_episode_goes_on():
    tracer = play(LambdaReturn(2, 0.5, 0.5, tenth), done=False)
    # 1 + 1.5/4 ; 1.5: nothing of the third step, but the value of its state
    assert rows(tracer.flush()) == [(10, 1 + 1.5 / 4, 20, 2), (20, 1.5, 30, 3)]
    assert (len(tracer), bool(tracer)) == (1, False)
    tracer.add(40, 4, 6.0, True)
    # the second segment: 3 + (6 - 4)/4 ; 6 - 4
    assert rows(tracer.flush()) == [(30, 3.5, 40, 4), (40, 2.0, 40, 4)]


def test_when_a_segment_can_be_popped():
    v = Counting()
    tracer, seen = LambdaReturn(2, 0.5, 0.5, v), []
    for s in range(5):
        tracer.add(s, 0, 0.0, False)
        seen.append((len(tracer), bool(tracer)))
    assert seen == [(1, False), (2, False), (3, True), (4, True), (5, True)]
    assert v.asked == []
    assert tracer.flush().S.tolist() == [0, 1, 2, 3]  # two segments, of which each ends with its second step
    assert len(tracer) == 1
    tracer.add(5, 0, 0.0, False, s_next=6)
    assert tracer  # what follows was said
    assert tracer.pop().S == 4
    assert v.asked[2:] == [[4, 5], [5, 6]]
    assert (len(tracer), bool(tracer)) == (1, True)
    tracer.add(7, 0, 0.0, False)
    assert tracer.flush().S.tolist() == [5]
    assert len(v.asked) == 4
    whole = LambdaReturn(None, 0.5, 0.5, v)
    for s in range(5):
        whole.add(s, 0, 0.0, False, s_next=s + 1)
        assert not whole
    whole.add(5, 0, 0.0, True)
    assert whole.flush().batch_size == 6


def test_two_calls_for_a_segment_whose_lengths_are_few():
    for count, n, size in [(1, 9, 1), (3, 9, 4), (5, 9, 8), (8, 9, 8), (9, 9, 9), (6, None, 8), (5, 6, 6)]:
        v = Counting()
        tracer = LambdaReturn(n, 0.5, 0.5, v)
        for s in range(count):
            tracer.add(s, 0, 0.0, s == count - 1, s_next=s + 1)
        for _ in range(count):
            tracer.pop()
        filled = [count - 1] * (size - count)
        assert v.asked == [[*range(count), *filled], [*range(1, count + 1), *(s + 1 for s in filled)]]


def test_values_are_those_when_the_first_is_popped():
    scale = [1.0]
    tracer = play(LambdaReturn(None, 0.5, 0.5, lambda S: scale[0] * tenth(S)), done=True)
    assert tracer.pop().extra_info["V"] == 1
    scale[0] = 5.0
    assert tracer.flush().extra_info["V"].tolist() == [2, 3]


def reference(stream, n, gamma, lambda_, v):
    """Rows of (S, A, logP, W, S_next, Rn, Adv, V) of finished segments, each as a sum over what follows."""
    out = []
    for episode in stream:
        for start in range(0, len(episode), n):
            segment = episode[start : start + n]
            end = start + len(segment)
            over = end == len(episode) and is_over(episode)
            known = end < len(episode) or (len(segment) == n and "s_next" in segment[-1])
            if not over and not known:
                continue
            following = [x["s"] for x in episode[start + 1 : end + 1]]
            if len(following) < len(segment):
                following.append(segment[-1].get("s_next", segment[-1]["s"]))
            terminated = over and segment[-1]["done"]
            then = [v(s) for s in following[:-1]] + [0.0 if terminated else v(following[-1])]
            errors = [x["r"] + gamma * y - v(x["s"]) for x, y in zip(segment, then, strict=True)]
            for t, x in enumerate(segment):
                adv = sum((gamma * lambda_) ** k * error for k, error in enumerate(errors[t:]))
                value = v(x["s"])
                out.append((x["s"], x["a"], x["logp"], x["w"], following[t], value + adv, adv, value))
    return out


@settings(max_examples=150, deadline=None)
@given(
    episodes(),
    st.sampled_from([1, 2, 3, 9]),
    st.sampled_from([(0.9, 0.8), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)]),
    st.sampled_from(["pop", "flush", "pop one", "late"]),
)
def test_against_a_slow_reference(stream, n, shares, how):
    tracer, got = LambdaReturn(n, *shares, first_tenth), []
    for episode in stream:
        for step in episode:
            tracer.add(**step)
            over = step["done"] or step["truncated"]
            if how == "flush" and tracer:
                got.append(tracer.flush())
            if how == "pop one" and tracer:
                got.append(tracer.pop())
            while tracer and (how == "pop" or over):
                got.append(tracer.pop())
    while tracer:
        got.append(tracer.pop())
    want = reference(stream, n, *shares, lambda s: float(s[0]) / 10)
    assert sum(tb.batch_size for tb in got) == len(want)
    if not want:
        return
    tb = check_batch(concatenate(got))
    columns = [np.stack(column) for column in zip(*want, strict=True)]
    fields = (tb.S, tb.A, tb.logP, tb.W, tb.S_next, tb.Rn, tb.extra_info["Adv"], tb.extra_info["V"])
    for x, y in zip(fields, columns, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    assert not needs_a_next(tb).any()
    assert np.isfinite(tb.logP_next).all()


def test_extra_info_survives_slicing_and_concatenation():
    tb = play(LambdaReturn(None, 0.5, 0.5, tenth), done=True).flush()
    for name in ("Adv", "V"):
        assert (tb.extra_info[name].shape, tb.extra_info[name].dtype) == ((3,), np.float32)
    assert (tb.Rn.dtype, tb.In.dtype, tb.idx.tolist()) == (np.float32, np.float32, [0, 1, 2])
    again = concatenate(list(tb.to_singles())[::-1])
    assert rows(again) == TERMINATED[::-1]
    assert rows(jax.tree.map(lambda x: x[1:], tb)) == TERMINATED[1:]


def test_next_actions():
    tracer = LambdaReturn(2, 0.5, 0.5, tenth)
    tracer.add(10, 1, 0.0, False, -1.0)
    tracer.add(20, 2, 0.0, False, -2.0, s_next=30, a_next=7, logp_next=-7.0)
    tracer.add(31, 3, 0.0, False, -3.0)
    tb = tracer.flush()
    assert [x.tolist() for x in (tb.S_next, tb.A_next, tb.logP_next)] == [[20, 30], [2, 7], [-2, -7]]
    tracer.add(40, 4, 0.0, False, -4.0, truncated=True, s_next=50)
    tb = tracer.flush()
    assert [x.tolist() for x in (tb.S_next, tb.A_next, tb.logP_next)] == [[40, 50], [4, 4], [-4, -4]]


def test_nested_observations_and_values_on_the_device():
    tracer = LambdaReturn(None, 0.5, 1.0, lambda S: jnp.asarray(S["x"][:, 0] + S["y"][0]))
    for i in range(3):
        tracer.add({"x": np.full(2, i, np.float32), "y": (i,)}, i, 1.0, i == 2)
    tb = tracer.flush()
    assert tb.extra_info["V"].tolist() == [0, 2, 4]
    assert tb.Rn.tolist() == [1.75, 1.5, 1.0]  # 1 + (1 + 1/2)/2 ; 1 + 1/2 ; 1
    assert tb.S_next["y"][0].tolist() == [1, 2, 2]


def test_what_v_says_of_a_terminal_observation_does_not_matter():
    tracer = LambdaReturn(None, 0.5, 0.5, lambda S: np.where(np.asarray(S) > 30, np.nan, tenth(S)))
    got = rows(play(tracer, done=True, s_next=40).flush())
    assert got == [*TERMINATED[:2], (30, 1.0, 40, 3)]


# --- state ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(episodes(), st.integers(0, 24), st.integers(0, 2))
def test_restored_anywhere_it_goes_on_identically(stream, where, pops):
    steps = [step for episode in stream for step in episode]
    tracer = LambdaReturn(3, 0.9, 0.8, first_tenth)

    def run(tracer, steps, pops=100):
        out = []
        for step in steps:
            tracer.add(**step)
            out += [tracer.pop() for _ in range(100 if step["done"] or step["truncated"] else pops) if tracer]
        while tracer and pops == 100:
            out.append(tracer.pop())
        return out

    run(tracer, steps[:where], pops)
    others = [LambdaReturn(3, 0.9, 0.8, first_tenth), copy.copy(tracer), copy.deepcopy(tracer)]
    others.append(pickle.loads(pickle.dumps(tracer)))
    others[0].state = state = tracer.state
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(state))

    def rest(tracer):
        first = [tracer.pop() for _ in range(100) if tracer]
        return first + run(tracer, steps[where:])

    want = rest(tracer)
    for other in others:
        got = rest(other)
        assert len(got) == len(want)
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_array_equal(x, y)


def test_values_are_part_of_the_state():
    scale = [1.0]
    tracer = play(LambdaReturn(None, 0.5, 0.5, lambda S: scale[0] * tenth(S)), done=True)
    tracer.pop()
    state, scale[0] = tracer.state, 5.0
    tracer.reset()
    assert not tracer
    tracer.state = state
    assert rows(tracer.flush()) == TERMINATED[1:]


@pytest.mark.parametrize("shape", [(4, 3), (1, 2)])
def test_a_state_that_does_not_fit(shape):
    tracer = play(LambdaReturn(None, 0.5, 0.5, tenth), done=True)
    text = r"LambdaReturn\.state\['traced'\]: expected at most 3 rows of rn, adv, v, got "
    with pytest.raises(TypeError, match=text):
        tracer.state = {**tracer.state, "traced": np.zeros(shape)}
    assert rows(tracer.flush()) == TERMINATED


def test_with_a_value_function_of_coax():
    env = gymnasium.make("FrozenLake-v1")
    v = coax.V(lambda S, is_training: hk.Linear(1)(S).ravel(), env, random_seed=1)
    tracer = LambdaReturn(4, 0.9, 0.8, v)
    assert tracer.children == (v,)
    assert LambdaReturn(4, 0.9, 0.8, tenth).children == ()
    for s in range(3):
        tracer.add(s, 0, 1.0, s == 2)
    tb = tracer.flush()
    np.testing.assert_allclose(tb.extra_info["V"], [v(s) for s in range(3)], rtol=1e-5)
    # a method counts as the object whose it is
    assert LambdaReturn(4, 0.9, 0.8, v.__call__).children == (v,)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_nothing_to_pop_and_adding_after_the_end():
    tracer = LambdaReturn(2, 0.9, 0.9, tenth)
    with pytest.raises(InsufficientCacheError, match="LambdaReturn: expected a transition to pop, got 0 steps"):
        tracer.pop()
    tracer.add(0, 0, 0.0, False)
    with pytest.raises(InsufficientCacheError, match="got 1 steps"):
        tracer.flush()
    tracer.add(0, 0, 0.0, True)
    with pytest.raises(EpisodeDoneError, match=r"LambdaReturn\.add: .* last 2 transitions wait"):
        tracer.add(0, 0, 0.0, False)
    tracer.pop()
    with pytest.raises(EpisodeDoneError, match="last 1 transitions wait"):
        tracer.add(0, 0, 0.0, False)
    tracer.pop()
    tracer.add(0, 0, 0.0, False)
    assert (len(tracer), bool(tracer)) == (1, False)


@pytest.mark.parametrize("take", ["pop", "flush"])
def test_values_of_another_shape(take):
    tracer = play(LambdaReturn(None, 0.5, 0.5, lambda S: tenth(S)[:, None]), done=True)
    with pytest.raises(ValueError, match=r"v: expected values of shape \(4,\) for 4 observations, got \(4, 1\)\. Fix:"):
        getattr(tracer, take)()
    assert len(tracer) == 3


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((0, 0.9, 0.9, tenth), ValueError, "n: expected at least 1, got 0"),
        ((1.5, 0.9, 0.9, tenth), TypeError, r"n: expected an integer, got 1\.5"),
        ((1, 1.1, 0.9, tenth), ValueError, r"gamma: expected a number in \[0, 1\], got 1\.1"),
        ((1, 0.9, -0.1, tenth), ValueError, r"lambda_: expected a number in \[0, 1\], got -0\.1\. Fix: pass .*0\.95"),
        ((1, 0.9, None, tenth), TypeError, "lambda_: expected a number, got None"),
        ((1, 0.9, 0.9, 3.0), TypeError, r"v: expected a function of observations, got 3\.0\. Fix: pass for instance"),
    ],
)
def test_wrong_constructor_arguments(args, error, text):
    with pytest.raises(error, match=text):
        LambdaReturn(*args)


def test_attributes():
    tracer = LambdaReturn(np.int64(3), np.float32(0.5), 1, tenth)
    assert (tracer.n, tracer.gamma, tracer.lambda_, tracer.v) == (3, 0.5, 1.0, tenth)
    for name in ("n", "gamma", "lambda_", "v"):
        with pytest.raises(
            AttributeError, match=f"LambdaReturn.{name} is fixed at construction. Fix: make a new tracer"
        ):
            setattr(tracer, name, 1)


def test_inside_a_compiled_function():
    tracer = LambdaReturn(1, 0.9, 0.9, tenth)

    @jax.jit
    def f(s):
        tracer.add(s, 0, 0.0, False)
        return s

    with pytest.raises(
        StateError, match=r"LambdaReturn\.add lives in .*Fix: use coax\.reward_tracing\.lambda_transitions"
    ):
        f(1.0)
