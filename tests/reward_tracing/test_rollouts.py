"""Transitions of whole rollouts: by hand, and against the tracers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.reward_tracing import (
    LambdaReturn,
    MonteCarlo,
    NStep,
    Rollout,
    check_batch,
    lambda_transitions,
    monte_carlo_transitions,
    n_step_transitions,
    needs_a_next,
)

from .streams import FIELDS, assert_same_rows, rollouts, traced

U = float("nan")  # an unknown propensity


def by_hand(end="terminated", dtype=np.float32):
    """Rewards 1, 2, 4 in states 10, 20, 30 with actions 1, 2, 3 and propensities -1, -2, -3; then state 40.

    Then a row that is no step, and an episode that has only begun: 50 to 60 with reward 8.
    """
    return Rollout(
        S=np.array([10, 20, 30, 40, 50]),
        A=np.array([1, 2, 3, 4, 5]),
        logP=np.array([-1, -2, -3, -4, -5], dtype),
        R=np.array([1, 2, 4, np.nan, 8], dtype),
        terminated=np.array([False, False, end == "terminated", True, False]),
        truncated=np.array([False, False, end == "truncated", False, False]),
        S_next=np.array([20, 30, 40, 50, 60]),
        mask=np.array([True, True, True, False, True]),
    )


def table(batch, *fields):
    check_batch(batch)
    return [row for row, w in zip(zip(*(x.tolist() for x in fields), strict=True), batch.W, strict=True) if w]


N_STEPS = {
    # one step on there is the next action; after the end none is known
    ("terminated", 1): [
        (10, 1, 0.5, 20, 2, -2),
        (20, 2, 0.5, 30, 3, -3),
        (30, 4, 0, 40, 3, -3),
        (50, 8, 0.5, 60, 5, U),
    ],
    # 1 + 2/2 ; 2 + 4/2 ; 4
    ("terminated", 2): [(10, 2, 0.25, 30, 3, -3), (20, 4, 0, 40, 2, -2), (30, 4, 0, 40, 3, -3), (50, 8, 0.5, 60, 5, U)],
    # 1 + 2/2 + 4/4
    ("terminated", 3): [(10, 3, 0, 40, 1, -1), (20, 4, 0, 40, 2, -2), (30, 4, 0, 40, 3, -3), (50, 8, 0.5, 60, 5, U)],
    ("truncated", 1): [
        (10, 1, 0.5, 20, 2, -2),
        (20, 2, 0.5, 30, 3, -3),
        (30, 4, 0.5, 40, 3, U),
        (50, 8, 0.5, 60, 5, U),
    ],
    ("truncated", 2): [
        (10, 2, 0.25, 30, 3, -3),
        (20, 4, 0.25, 40, 2, U),
        (30, 4, 0.5, 40, 3, U),
        (50, 8, 0.5, 60, 5, U),
    ],
    ("truncated", 9): [
        (10, 3, 0.125, 40, 1, U),
        (20, 4, 0.25, 40, 2, U),
        (30, 4, 0.5, 40, 3, U),
        (50, 8, 0.5, 60, 5, U),
    ],
}


@pytest.mark.parametrize(("end", "n"), N_STEPS)
def test_n_steps_by_hand(end, n):
    tb = n_step_transitions(by_hand(end), n, 0.5)
    got = table(tb, tb.S, tb.Rn, tb.In, tb.S_next, tb.A_next, tb.logP_next)
    np.testing.assert_array_equal(got, N_STEPS[end, n])
    assert tb.A.tolist() == [1, 2, 3, 4, 5]
    assert tb.W.tolist() == [1, 1, 1, 0, 1]
    assert (tb.Rn[3], tb.In[3], tb.idx.tolist()) == (0, 0, [0, 1, 2, 3, 4])
    unknown = [True] * (1 if n == 1 else min(n, 3)) if end == "truncated" else []
    assert needs_a_next(tb).tolist() == [False] * (3 - len(unknown)) + unknown + [False, True]


@pytest.mark.parametrize(("end", "n"), [("terminated", 3), ("truncated", 9)])
def test_whole_episodes_by_hand(end, n):
    tb = monte_carlo_transitions(by_hand(end), 0.5)
    got = table(tb, tb.S, tb.Rn, tb.In, tb.S_next, tb.A_next, tb.logP_next)
    np.testing.assert_array_equal(got, N_STEPS[end, n])


@pytest.mark.parametrize(
    ("end", "want"),
    # Values are a tenth of the state; gamma and lambda 1/2. TD errors: 1 + 2/2 - 1 = 1 ; 2 + 3/2 - 2 = 1.5 ;
    # 4 + 4/2 - 3 = 3, or 4 - 3 = 1 if the episode terminates there ; 8 + 6/2 - 5 = 6. What follows weighs 1/4.
    [
        ("terminated", [(10, 1 + 1.75 / 4, 20, 2), (20, 1.5 + 1 / 4, 30, 3), (30, 1, 40, 3), (50, 6, 60, 5)]),
        ("truncated", [(10, 1 + 2.25 / 4, 20, 2), (20, 1.5 + 3 / 4, 30, 3), (30, 3, 40, 3), (50, 6, 60, 5)]),
    ],
)
def test_lambda_returns_by_hand(end, want):
    rollout = by_hand(end)
    v, v_next = rollout.S / 10, np.where(rollout.terminated, np.nan, rollout.S_next / 10)
    v[3] = np.nan
    tb = lambda_transitions(rollout, 0.5, 0.5, v, v_next)
    assert table(tb, tb.S, tb.extra_info["Adv"], tb.S_next, tb.A_next) == want
    assert tb.extra_info["V"].tolist() == [1, 2, 3, 0, 5]
    np.testing.assert_array_equal(tb.Rn, tb.extra_info["Adv"] + tb.extra_info["V"])
    assert not tb.In.any()
    assert tb.W.tolist() == [1, 1, 1, 0, 1]
    assert tb.logP_next.tolist() == [-2, -3, -3, -4, -5]


# --- against the tracers


@settings(max_examples=60)
@given(rollouts(), st.sampled_from([1, 2, 5]), st.sampled_from([0.0, 0.9, 1.0]))
def test_n_steps_as_traced(drawn, n, gamma):
    rollout, _, steps = drawn
    batch = check_batch(n_step_transitions(rollout, n, gamma))
    # where nothing is bootstrapped from, S_next may be any state
    names = FIELDS if gamma else ("S", "A", "logP", "Rn", "In", "W")
    compare(batch, rollout, [traced(NStep(n, gamma), as_in(column)) for column in steps], names)


@settings(max_examples=40)
@given(rollouts(), st.sampled_from([0.9, 1.0]))
def test_whole_episodes_as_traced(drawn, gamma):
    rollout, _, steps = drawn
    want = []
    for column in steps:
        batch = traced(MonteCarlo(gamma), as_in(column))
        order = np.argsort(batch.S[:, 0], kind="stable")  # observations have ascending numbers
        want.append(jax.tree.map(lambda x, order=order: x[order], batch))
    compare(monte_carlo_transitions(rollout, gamma), rollout, want)


@settings(max_examples=60)
@given(rollouts(), st.sampled_from([0.0, 0.9, 1.0]), st.sampled_from([0.0, 0.8, 1.0]))
def test_lambda_returns_as_traced(drawn, gamma, lambda_):
    rollout, _, steps = drawn
    v_next = np.where(rollout.terminated, np.nan, value(rollout.S_next))
    batch = check_batch(lambda_transitions(rollout, gamma, lambda_, value(rollout.S), v_next))
    want = [traced(LambdaReturn(None, gamma, lambda_, value), as_in(column)) for column in steps]
    compare(batch, rollout, want)
    for name in ("Adv", "V"):
        for e, tb in enumerate(want):
            mine = np.reshape(batch.extra_info[name], rollout.R.shape)[:, e][rollout.mask[:, e]]
            np.testing.assert_allclose(mine, tb.extra_info[name], rtol=1e-4, atol=1e-5)


def value(S):
    return np.asarray(S) @ np.array([0.3, 0.1], np.float32)


def as_in(column):
    """The steps with what a rollout says of them, and no more."""
    names = ("s", "a", "r", "done", "truncated", "logp", "s_next")
    return [{name: step[name] for name in names} for step in column]


def compare(batch, rollout, want, names=FIELDS):
    T, E = rollout.R.shape
    for e, tb in enumerate(want):
        rows = rollout.mask & (np.arange(E) == e)
        assert tb.batch_size == rows.sum()
        assert_same_rows(batch, rows.ravel(), tb, names)
    # what is no step is a window of its own
    for x in (batch.Rn, batch.In, batch.W, batch.A_next):
        assert not x[~rollout.mask.ravel()].any()
    assert np.isnan(batch.S_next[~rollout.mask.ravel()]).all()
    np.testing.assert_array_equal(batch.idx, np.arange(T * E))


# --- kinds of arrays


CALLS = {
    "n = 1": lambda ro, gamma: n_step_transitions(ro, 1, gamma),
    "n = 2": lambda ro, gamma: n_step_transitions(ro, 2, gamma),
    "whole episodes": monte_carlo_transitions,
    "lambda": lambda ro, gamma: lambda_transitions(ro, gamma, 0.8, ro.S["x"][..., 0], ro.S_next["x"][..., 0]),
}


def nested(T=6, E=3):
    rng = np.random.default_rng(0)
    S, S_next = ({"x": rng.normal(size=(T, E, 2)).astype(np.float32), "y": rng.integers(9, size=(T, E))} for _ in "12")
    ends = rng.integers(4, size=(T, E))
    A, (logP, R) = (rng.integers(3, size=(T, E)), rng.normal(size=(T, E, 4))), rng.normal(size=(2, T, E))
    return Rollout(S, A, logP.astype(np.float32), R, ends == 1, ends == 2, S_next, rng.random((T, E)) < 0.8)


def assert_close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), got, want)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.gate
def test_all_gears_agree(call):
    rollout = nested()
    want = call(rollout, 0.9)
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(want))
    assert [x.dtype for x in (want.logP, want.Rn, want.In, want.logP_next, want.W)] == [np.float32] * 5
    assert want.S["x"].shape == (18, 2)
    on_device = jax.tree.map(jnp.asarray, rollout)
    for got in (
        call(on_device, 0.9),
        call(rollout, jnp.float32(0.9)),
        call(rollout._replace(R=jnp.asarray(rollout.R)), 0.9),
        jax.jit(call)(rollout, 0.9),
    ):
        assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(got))
        assert_close(got, want)
    zeros = jax.tree.map(jnp.zeros_like, on_device)
    two = jax.tree.map(lambda *xs: jnp.stack(xs), zeros, on_device)
    assert_close(jax.tree.map(lambda x: x[1], jax.vmap(call)(two, jnp.array([0.5, 0.9]))), want)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_each_environment_by_itself(call):
    rollout = nested()
    want = call(rollout, 0.9)
    for e in range(3):
        one = call(jax.tree.map(lambda x, e=e: x[:, e], rollout), 0.9)
        each = jax.tree.map(lambda x, e=e: x[e::3], want)
        each.idx = one.idx
        assert_close(one, each)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_no_step_counts_for_nothing(call, on_device):
    rollout = jax.tree.map(jnp.asarray, nested()) if on_device else nested()

    def spoil(x):
        there = rollout.mask.reshape(*rollout.mask.shape, *(1,) * (x.ndim - 2))
        return np.where(there, x, np.nan if x.dtype.kind == "f" else True if x.dtype == bool else 7)

    spoiled = Rollout(*(jax.tree.map(spoil, x) for x in rollout[:-1]), rollout.mask)
    got, want = call(spoiled, 0.9), call(rollout, 0.9)
    rows = np.asarray(rollout.mask).ravel()
    assert_close(*(jax.tree.map(lambda x: np.asarray(x)[rows], tb) for tb in (got, want)))
    for x in (got.Rn, got.In, got.W, *(got.extra_info or {}).values()):
        assert not np.any(x[~rows])


def test_a_gap_inside_of_an_episode():
    # states 0, 10, -, 30 with rewards 1, 2, -, 4: the window ends in front of the gap, with the true next state
    rollout = Rollout(
        S=np.array([0, 10, 20, 30]),
        A=np.arange(4),
        logP=np.zeros(4),
        R=np.array([1.0, 2.0, np.nan, 4.0]),
        terminated=np.zeros(4, bool),
        truncated=np.zeros(4, bool),
        S_next=np.array([10, 20, 25, 40]),
        mask=np.array([True, True, False, True]),
    )
    for tb in (n_step_transitions(rollout, 9, 0.5), monte_carlo_transitions(rollout, 0.5)):
        got = table(tb, tb.S, tb.Rn, tb.In, tb.S_next)
        assert got == [(0, 2, 0.25, 20), (10, 2, 0.5, 20), (30, 4, 0.5, 40)]


def test_integer_rewards():
    rollout = by_hand()._replace(R=np.array([1, 2, 4, 0, 8]))
    assert n_step_transitions(rollout, 2, 0.5).Rn.tolist() == [2, 4, 4, 0, 8]
    assert n_step_transitions(jax.tree.map(jnp.asarray, rollout), 2, 0.5).Rn.tolist() == [2, 4, 4, 0, 8]


def test_precision():
    with jax.enable_x64(True):
        rollout = jax.tree.map(jnp.asarray, by_hand(dtype=np.float64))
        for batch in (n_step_transitions(rollout, 2, 0.1), monte_carlo_transitions(rollout, 0.1)):
            assert all(x.dtype == np.float64 for x in (batch.logP, batch.Rn, batch.In, batch.W, batch.logP_next))
            assert batch.In[4] == 0.1


# --- errors


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda ro: n_step_transitions(tuple(ro), 1, 0.9),
            TypeError,
            r"n_step_transitions: expected a .*Rollout, got tu",
        ),
        (lambda ro: n_step_transitions(ro, 0, 0.9), ValueError, r"n: expected at least 1, got 0"),
        (lambda ro: n_step_transitions(ro, 1, 1.1), ValueError, r"gamma: expected a number in \[0, 1\], got 1\.1"),
        (lambda ro: n_step_transitions(ro, 1, None), TypeError, r"gamma: expected a number, got None"),
        (
            lambda ro: n_step_transitions(ro._replace(S={"x": ro.S[1:]}), 1, 0.9),
            ValueError,
            r"n_step_transitions: expected S\['x'\] to have the leading axes of R, \[5\], got \[4\]\. Fix: put time in",
        ),
        (
            lambda ro: monte_carlo_transitions(ro._replace(mask=ro.mask[:, None]), 0.9),
            ValueError,
            r"monte_carlo_transitions: expected mask to have the leading axes of R, \[5\], got \[5, 1\]",
        ),
        (
            lambda ro: monte_carlo_transitions(ro._replace(R=1.0), 0.9),
            ValueError,
            r"expected R of shape \[T\] or .*\[\]",
        ),
        (
            lambda ro: monte_carlo_transitions(jax.tree.map(lambda x: x[:0], ro), 0.9),
            ValueError,
            r"expected R of shape \[T\] or \[T, E\] with T >= 1, got \[0\]",
        ),
        (
            lambda ro: lambda_transitions(ro, 0.9, 0.9, ro.R[:1], ro.R),
            ValueError,
            r"lambda_transitions: expected arrays of one shape .* v \(1,\)",
        ),
        (
            lambda ro: lambda_transitions(ro, 0.9, 1.5, ro.R, ro.R),
            ValueError,
            r"expected lambda_ in \[0, 1\], got 1\.5",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(by_hand())
