import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.errors import EpisodeDoneError, InsufficientCacheError, StateError
from coax.returns import n_step_windows
from coax.reward_tracing import NStep, concatenate, needs_a_next

from .streams import assert_rows, episodes, is_over, transition

# Rewards 1, 2, 4 in states 10, 20, 30 with actions 1, 2, 3 and propensities -1, -2, -3; gamma 1/2; then state 40.
STEPS = [(10, 1, 1.0, -1.0), (20, 2, 2.0, -2.0), (30, 3, 4.0, -3.0)]
UNKNOWN = float("nan")


def trace(n, **end):
    """The table of one episode of three steps: rows of (S, A, Rn, In, S_next, A_next, logP_next)."""
    tracer = NStep(n, gamma=0.5)
    rows = []
    for i, (s, a, r, logp) in enumerate(STEPS):
        tracer.add(s, a, r, done=False, logp=logp) if i < 2 else tracer.add(s, a, r, logp=logp, **end)
        while tracer:
            tb = tracer.pop()
            fields = (tb.S, tb.A, tb.Rn, tb.In, tb.S_next, tb.A_next, tb.logP_next)
            assert all(x.shape == (1,) for x in fields)
            rows.append(tuple(x.item() for x in fields))
    assert len(tracer) == 0
    return rows


@pytest.mark.parametrize(
    ("n", "want"),
    [
        (1, [(10, 1, 1, 0.5, 20, 2, -2), (20, 2, 2, 0.5, 30, 3, -3), (30, 3, 4, 0, 30, 3, -3)]),
        # 1 + 2/2 ; 2 + 4/2 ; 4
        (2, [(10, 1, 2, 0.25, 30, 3, -3), (20, 2, 4, 0, 20, 2, -2), (30, 3, 4, 0, 30, 3, -3)]),
        # 1 + 2/2 + 4/4
        (3, [(10, 1, 3, 0, 10, 1, -1), (20, 2, 4, 0, 20, 2, -2), (30, 3, 4, 0, 30, 3, -3)]),
        (9, [(10, 1, 3, 0, 10, 1, -1), (20, 2, 4, 0, 20, 2, -2), (30, 3, 4, 0, 30, 3, -3)]),
    ],
)
def test_done_only(n, want):
    assert trace(n, done=True) == want


@pytest.mark.parametrize(
    ("n", "want"),
    [
        (1, [(10, 1, 1, 0.5, 20, 2, -2), (20, 2, 2, 0.5, 30, 3, -3), (30, 3, 4, 0, 40, 3, -3)]),
        (2, [(10, 1, 2, 0.25, 30, 3, -3), (20, 2, 4, 0, 40, 2, -2), (30, 3, 4, 0, 40, 3, -3)]),
        (3, [(10, 1, 3, 0, 40, 1, -1), (20, 2, 4, 0, 40, 2, -2), (30, 3, 4, 0, 40, 3, -3)]),
    ],
)
@pytest.mark.parametrize("truncated", [False, True])
def test_terminated_with_the_terminal_observation(n, want, truncated):
    assert trace(n, done=True, truncated=truncated, s_next=40) == want


@pytest.mark.parametrize(
    ("n", "want"),
    [
        (1, [(10, 1, 1, 0.5, 20, 2, -2), (20, 2, 2, 0.5, 30, 3, -3), (30, 3, 4, 0.5, 40, 4, -4)]),
        (2, [(10, 1, 2, 0.25, 30, 3, -3), (20, 2, 4, 0.25, 40, 4, -4), (30, 3, 4, 0.5, 40, 4, -4)]),
        (3, [(10, 1, 3, 0.125, 40, 4, -4), (20, 2, 4, 0.25, 40, 4, -4), (30, 3, 4, 0.5, 40, 4, -4)]),
        (9, [(10, 1, 3, 0.125, 40, 4, -4), (20, 2, 4, 0.25, 40, 4, -4), (30, 3, 4, 0.5, 40, 4, -4)]),
    ],
)
def test_truncated(n, want):
    assert trace(n, done=False, truncated=True, s_next=40, a_next=4, logp_next=-4) == want
    unmarked = trace(n, done=False, truncated=True, s_next=40, a_next=4)
    assert [row[-2:] for row in unmarked if row[4] == 40] == [(4, 0)] * sum(row[4] == 40 for row in want)


def test_truncated_without_the_next_action_is_marked():
    got = trace(2, done=False, truncated=True, s_next=40)
    assert [row[:5] for row in got] == [(10, 1, 2, 0.25, 30), (20, 2, 4, 0.25, 40), (30, 3, 4, 0.5, 40)]
    assert got[0][5:] == (3, -3)
    assert [row[5] for row in got[1:]] == [2, 3]
    assert np.isnan([row[6] for row in got[1:]]).all()


@settings(max_examples=200, deadline=None)
@given(episodes(), st.integers(1, 7), st.sampled_from([0.0, 0.9, 1.0]), st.sampled_from(["pop", "flush", "flush late"]))
def test_against_a_slow_reference(stream, n, gamma, how):
    tracer, got = NStep(n, gamma), []
    for episode in stream:
        for step in episode:
            tracer.add(**step)
            if how == "flush late" and not (step["done"] or step["truncated"]):
                continue
            if how != "pop" and tracer:
                got.append(tracer.flush())
            while tracer:
                got.append(tracer.pop())
    want = [transition(episode, t, n, gamma) for episode in stream for t in range(len(episode))]
    want = [row for row in want if row is not None]
    if how == "flush late" and tracer:
        got.append(tracer.flush())
    assert not tracer
    if want:
        assert_rows(concatenate(got), want)
    assert len(tracer) == (0 if is_over(stream[-1]) else min(n, len(stream[-1])))


@settings(max_examples=40, deadline=None)
@given(episodes(), st.sampled_from([1, 2, 3]))
def test_same_as_the_functions_of_whole_rollouts(stream, n):
    gamma = 0.9
    if not is_over(stream[-1]):
        stream[-1][-1]["done"] = True
    tracer, batches = NStep(n, gamma), []
    for step in (step for episode in stream for step in episode):
        tracer.add(**step)
        batches += [tracer.pop() for _ in range(len(tracer)) if tracer]
    tb = concatenate(batches)
    steps = [step for episode in stream for step in episode]
    following = [s.get("s_next", t["s"]) for s, t in zip(steps, [*steps[1:], steps[-1]], strict=True)]
    size = 30  # padded, so that one compilation serves all
    pad = np.zeros(size - len(steps))
    rewards = np.append([step["r"] for step in steps], pad).astype(np.float32)
    discount = np.append([gamma * (not step["done"]) for step in steps], pad).astype(np.float32)
    cut = np.append([step["done"] or step["truncated"] for step in steps], pad).astype(bool)
    rn, in_, last = (x[: len(steps)] for x in WINDOWS(rewards, discount, cut, n))
    np.testing.assert_allclose(tb.Rn, rn, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tb.In, in_, rtol=1e-5)
    bootstraps = tb.In != 0
    np.testing.assert_array_equal(tb.S_next[bootstraps], np.stack(following)[last][bootstraps])


WINDOWS = jax.jit(n_step_windows, static_argnums=3)


def test_when_a_transition_can_be_popped():
    tracer = NStep(2, 0.9)
    seen = []
    for i in range(4):
        tracer.add(i, 0, 0.0, done=False, s_next=i + 1)
        seen.append((len(tracer), bool(tracer)))
    # the action after the window is known only with the step after it, whether s_next was given or not
    assert seen == [(1, False), (2, False), (3, True), (4, True)]
    assert tracer.flush().S.tolist() == [0, 1]


def test_a_given_next_action_saves_the_wait():
    tracer = NStep(2, 0.5)
    tracer.add(10, 1, 1.0, False, s_next=20, a_next=2)
    assert not tracer
    tracer.add(20, 2, 2.0, False, s_next=30, a_next=3, logp_next=-3.0)
    tb = tracer.pop()
    assert (tb.Rn, tb.In, tb.S_next, tb.A_next, tb.logP_next) == (2.0, 0.25, 30, 3, -3.0)
    assert not tracer
    tracer.add(30, 7, 2.0, False)
    assert not tracer
    # what was said is used whether it is popped early or late
    late = NStep(1, 0.5)
    late.add(10, 1, 1.0, False, s_next=20, a_next=2, logp_next=-2.0)
    late.add(21, 9, 1.0, False, -9.0)
    assert [x.item() for x in late.pop()[5:8]] == [20, 2, -2]


def test_flushed_batch():
    tracer = NStep(1, 0.9)
    for i in range(3):
        tracer.add(np.full(4, i, np.uint8), np.array([0.5]), 1, i == 2, w=0.5)
    tb = tracer.flush()
    assert tb.idx.tolist() == [0, 1, 2]
    assert (tb.S.shape, tb.S.dtype, tb.A.shape, tb.A.dtype) == ((3, 4), np.uint8, (3, 1), np.float64)
    for x in (tb.logP, tb.Rn, tb.In, tb.logP_next, tb.W):
        assert x.dtype == np.float32
    assert tb.W.tolist() == [0.5] * 3
    assert not tracer


def test_nested_observations_and_actions():
    tracer = NStep(1, 0.9)
    for i in range(2):
        tracer.add({"x": np.full(3, i), "y": (i, 2.0)}, (i, np.float32(7)), 1.0, done=i == 1)
    tb = tracer.pop()
    assert tb.S_next["x"].tolist() == [[1, 1, 1]]
    assert [x.tolist() for x in tb.S_next["y"]] == [[1], [2.0]]
    assert isinstance(tb.A, tuple)
    assert tb.A[1].dtype == np.float32
    assert tracer.flush().S["y"][0].tolist() == [1]


@pytest.mark.parametrize(
    "r", [1, True, np.float32(1), np.float64(1), np.int64(1), np.array(1.0), jnp.float32(1), jnp.bfloat16(1)]
)
def test_any_scalar_is_a_number(r):
    tracer = NStep(1, 0.9)
    number = 1 if r is True else r  # a reward may be a bool, a propensity may not
    tracer.add(0, 0, r, np.bool_(True), logp=number, w=number)
    tb = tracer.pop()
    assert (tb.Rn, tb.logP, tb.W) == (1, 1, 1)
    assert tb.In == 0


def test_nan_rewards_are_kept():
    tracer = NStep(1, 0.9)
    tracer.add(0, 0, float("nan"), True)
    assert np.isnan(tracer.pop().Rn).all()


def extras(n, steps, **end):
    tracer = NStep(n, 0.9, record_extra_info=True)
    for i in range(steps):
        more = end if i == steps - 1 else {"done": False}
        tracer.add(10 * i, i, float(i), logp=-float(i), w=i + 1.0, **more)
    return tracer.flush().extra_info


def test_extra_info():
    info = extras(2, 3, done=True)
    assert set(info) == {"states", "actions", "rewards", "dones", "log_props", "weights"}
    assert all(len(entries) == 3 for entries in info.values())
    # transitions in columns of each entry; beyond the end the last step is repeated
    assert np.transpose(info["states"]).tolist() == [[0, 10, 20], [10, 20, 20], [20, 20, 20]]
    assert np.transpose(info["actions"]).tolist() == [[0, 1, 2], [1, 2, 2], [2, 2, 2]]
    assert np.transpose(info["dones"]).tolist() == [[False, False, True], [False, True, True], [True, True, True]]
    assert np.transpose(info["rewards"]).tolist() == [[0, 1, 2], [1, 2, 2], [2, 2, 2]]
    assert np.transpose(info["log_props"]).tolist() == [[0, -1, -2], [-1, -2, -2], [-2, -2, -2]]
    assert np.transpose(info["weights"]).tolist() == [[1, 2, 3], [2, 3, 3], [3, 3, 3]]
    assert info["rewards"][0].dtype == np.float32


def test_extra_info_dones_of_an_episode_of_n_plus_two_steps():
    for n in (1, 3, 5):
        dones = extras(n, n + 2, done=True)["dones"]
        assert [int(done.sum()) for done in dones] == list(range(1, n + 2))


def test_extra_info_of_a_truncated_episode():
    info = extras(2, 3, done=False, truncated=True, s_next=30, a_next=3, logp_next=-3.0)
    assert np.transpose(info["states"]).tolist() == [[0, 10, 20], [10, 20, 30], [20, 30, 30]]
    assert np.transpose(info["actions"]).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert np.transpose(info["log_props"]).tolist() == [[0, -1, -2], [-1, -2, -3], [-2, -3, -3]]
    # no step ended the episode; nothing follows the last observation
    assert np.transpose(info["dones"]).tolist() == [[False, False, False], [False, False, True], [False, True, True]]


def test_extra_info_is_never_popped_before_its_last_step():
    tracer = NStep(1, 0.9, record_extra_info=True)
    tracer.add(0, 0, 0.0, False, s_next=1, a_next=1)
    assert not tracer
    tracer.add(1, 1, 5.0, False)
    assert tracer.pop().extra_info["rewards"][1] == 5.0


def test_the_mark_of_a_row_stays_with_it():
    tracer = NStep(1, 0.9)
    tracer.add(0, 0, 0.0, False)
    tracer.add(1, 1, 0.0, False, truncated=True, s_next=2)
    batch = concatenate([tracer.pop(), tracer.pop()])
    assert needs_a_next(batch).tolist() == [False, True]


def test_adding_after_the_end():
    tracer = NStep(2, 0.9)
    tracer.add(0, 0, 0.0, True)
    with pytest.raises(
        EpisodeDoneError, match=r"NStep\.add: .* last 1 transitions wait\. Fix: take them \(while tracer"
    ):
        tracer.add(1, 0, 0.0, False)
    tracer.pop()
    tracer.add(1, 0, 0.0, False, truncated=True, s_next=2)
    with pytest.raises(EpisodeDoneError):
        tracer.add(1, 0, 0.0, False)
    tracer.reset()
    tracer.add(1, 0, 0.0, False)
    assert len(tracer) == 1


@pytest.mark.parametrize("take", ["pop", "flush"])
def test_nothing_to_pop(take):
    tracer = NStep(1, 0.9)
    with pytest.raises(
        InsufficientCacheError, match=r"NStep: expected a transition to pop, got 0 steps.*Fix: pop only"
    ):
        getattr(tracer, take)()
    tracer.add(0, 0, 0.0, False)
    with pytest.raises(InsufficientCacheError, match="got 1 steps"):
        getattr(tracer, take)()


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"truncated": True}, ValueError, r"truncated=True: expected s_next.*Fix: pass s_next="),
        ({"r": np.zeros(1)}, TypeError, r"r: expected a number, got shape \(1,\)\. Fix: pass the scalar of one step"),
        ({"r": None}, TypeError, "r: expected a number, got None"),
        ({"r": "1"}, TypeError, "r: expected a number, got '1'"),
        ({"logp": np.zeros(2)}, TypeError, r"logp: expected a number, got shape \(2,\)"),
        ({"w": None}, TypeError, "w: expected a number"),
        ({"done": np.array([True, False])}, TypeError, r"done: expected a bool, got shape \(2,\)"),
        ({"truncated": np.zeros(2)}, TypeError, r"truncated: expected a bool, got shape \(2,\)"),
        ({"done": "no"}, TypeError, r"done: expected a bool, got 'no'\. Fix: pass a bool"),
        ({"done": None}, TypeError, "done: expected a bool, got None"),
        ({"done": 0.0}, TypeError, r"done: expected a bool, got 0\.0"),
        ({"done": np.float32(1)}, TypeError, "done: expected a bool, got "),
        ({"done": 2}, TypeError, "done: expected a bool, got 2"),
        ({"truncated": None}, TypeError, "truncated: expected a bool, got None"),
        ({"truncated": [True]}, TypeError, r"truncated: expected a bool, got shape \(1,\)"),
        ({"logp": True}, TypeError, r"logp: expected a number, got the bool True\. Fix: pass truncated= by name"),
        ({"logp": np.False_}, TypeError, r"logp: .*Fix: pass truncated= by name"),
        ({"logp": jnp.array(True)}, TypeError, r"logp: .*Fix: pass truncated= by name"),
        ({"w": False}, TypeError, r"w: expected a number, got the bool False\. Fix: pass truncated= by name"),
        ({"s_next": 3, "a_next": 0, "logp_next": True}, TypeError, r"logp_next: expected a number, got the bool True"),
        ({"a_next": 3}, ValueError, r"a_next: expected it with the observation.*Fix: pass s_next too"),
        ({"s_next": 3, "logp_next": 0.5}, ValueError, r"logp_next: expected it with the action.*Fix: pass a_next too"),
    ],
)
def test_wrong_arguments_change_nothing(wrong, error, text):
    tracer = NStep(1, 0.9)
    with pytest.raises(error, match=text):
        tracer.add(**{"s": 0, "a": 0, "r": 0.0, "done": False, **wrong})
    assert len(tracer) == 0


@pytest.mark.parametrize("flags", [(True,), (False,), (True, 1.0), (np.bool_(False), 3)])
def test_a_flag_by_position_is_not_a_propensity(flags):
    tracer = NStep(1, 0.9)
    with pytest.raises(TypeError, match=r"Fix: pass truncated= by name"):
        tracer.add(0, 0, 0.0, False, *flags)
    assert len(tracer) == 0


@pytest.mark.parametrize("flag", [bool, np.bool_, int, np.int64, np.uint8, np.array, jnp.array])
def test_what_may_be_a_flag(flag):
    tracer = NStep(1, 0.5)
    tracer.add(0, 0, 1.0, flag(False))
    assert not tracer
    tracer.add(1, 0, 1.0, flag(False), truncated=flag(True), s_next=2)
    assert tracer.flush().In.tolist() == [0.5, 0.5]
    tracer.add(0, 0, 1.0, flag(True), truncated=flag(False))
    assert tracer.flush().In.tolist() == [0.0]


@pytest.mark.parametrize(
    ("n", "gamma", "error", "text"),
    [
        (0, 0.9, ValueError, "n: expected at least 1, got 0"),
        (1.5, 0.9, TypeError, r"n: expected an integer, got 1\.5"),
        (1, 1.1, ValueError, r"gamma: expected a number in \[0, 1\], got 1\.1"),
        (1, -0.1, ValueError, "gamma: expected a number in"),
        (1, float("nan"), ValueError, "gamma: expected a number in"),
        (1, None, TypeError, "gamma: expected a number, got None"),
        (1, "a", TypeError, r"gamma: expected a number, got 'a'\. Fix: pass for instance gamma=0\.99"),
    ],
)
def test_wrong_constructor_arguments(n, gamma, error, text):
    with pytest.raises(error, match=text):
        NStep(n, gamma)


def test_attributes():
    tracer = NStep(np.int64(3), np.float32(0.5), record_extra_info=True)
    assert (tracer.n, tracer.gamma, tracer.record_extra_info) == (3, 0.5, True)
    with pytest.raises(AttributeError, match=r"NStep\.n is fixed at construction\. Fix: make a new tracer"):
        tracer.n = 5


def test_inside_a_compiled_function():
    tracer = NStep(1, 0.9)

    @jax.jit
    def f(s):
        tracer.add(s, 0, 0.0, False)
        return s

    with pytest.raises(
        StateError, match=r"NStep\.add lives in host memory.*Fix: use coax\.reward_tracing\.DeviceNStep"
    ):
        f(1.0)
    assert len(tracer) == 0
