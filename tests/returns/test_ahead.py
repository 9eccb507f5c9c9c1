"""Returns with values on the way, against sums of products, and their agreement on all kinds of arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.returns import (
    discounted_returns,
    generalized_advantages,
    lambda_returns,
    n_step_returns,
    n_step_windows,
    retrace,
    vtrace,
)

from .reference import rollouts

LAMBDAS = st.sampled_from([0.0, 0.3, 1.0])

# gamma 1/2; t=1 terminates, t=3 is truncated, the rollout ends at t=5
REWARDS = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], np.float32)
DISCOUNT = np.array([0.5, 0.0, 0.5, 0.5, 0.5, 0.5], np.float32)
CUT = np.array([False, True, False, True, False, False])
V = np.array([8.0, 4.0, 2.0, 6.0, 8.0, 2.0], np.float32)
V_NEXT = np.array([4.0, np.nan, 6.0, 20.0, 2.0, 12.0], np.float32)  # v of the next step, but where there is an end
RHO = np.array([3.0, 0.5, 0.25, 2.0, 4.0, 0.5], np.float32)
ROLLOUT = (REWARDS, DISCOUNT, CUT)

# TD errors r + gamma v' - v: 1+2-8 = -5 ; 2-4 = -2 ; 3+3-2 = 4 ; 4+10-6 = 8 ; 5+1-8 = -2 ; 6+6-2 = 10
BY_HAND = {
    # lambda 1/2: 1 + (4/2 + 2/2)/2 = 2.5 ; 2 ; 3 + (6/2 + 14/2)/2 = 8 ; 4 + 20/2 = 14 ; 5 + (2/2 + 12/2)/2 = 8.5 ; 12
    lambda_returns: ((*ROLLOUT, V_NEXT, 0.5), [2.5, 2.0, 8.0, 14.0, 8.5, 12.0]),
    # gamma lambda 1/4: -5 - 2/4 ; -2 ; 4 + 8/4 ; 8 ; -2 + 10/4 ; 10
    generalized_advantages: ((*ROLLOUT, V, V_NEXT, 0.5), [-5.5, -2.0, 6.0, 8.0, 0.5, 10.0]),
    # Ratios clipped at rho_bar 2: 2, .5, .25, 2, 2, .5; at c_bar 1, times lambda 1/2: .5, .25, .125, .5, .5, .25.
    # From the back: 5 ; -4 + 5*.5*.5 = -2.75 | 16 ; 1 + 16*.5*.125 = 2 | -1 ; -10 - 1*.5*.5 = -10.25, each plus v.
    # Advantages: .5*(6 + 6 - 2) = 5 ; 2*(5 + (2 + 7)/4 - 8) = -1.5 | 2*8 ; .25*(3 + (6 + 22)/4 - 2) = 2 |
    # .5*(2 - 4) ; 2*(1 + (4 + 3)/4 - 8) = -10.5
    vtrace: (
        (*ROLLOUT, V, V_NEXT, RHO, 0.5, 2.0, 1.0),
        ([-2.25, 3.0, 4.0, 22.0, 5.25, 7.0], [-10.5, -1.0, 2.0, 16.0, -1.5, 5.0]),
    ),
    # With V as values of actions; gamma lambda min(1, rho of t+1) is .25*.5 = .125 ; - ; .25*1 = .25 ; - ; .125.
    # 8 - 5 - 2*.125 ; 4 - 2 ; 2 + 4 + 8*.25 ; 6 + 8 ; 8 - 2 + 10*.125 ; 2 + 10
    retrace: ((*ROLLOUT, V, V_NEXT, RHO, 0.5), [2.75, 2.0, 8.0, 14.0, 7.25, 12.0]),
    # 1 + 2/2 ; 2 ; 3 + (4 + 20/2)/2 ; 4 + 20/2 ; 5 + (6 + 12/2)/2 ; 6 + 12/2
    discounted_returns: ((*ROLLOUT, V_NEXT), [2.0, 2.0, 10.0, 14.0, 11.0, 12.0]),
}
EACH = pytest.mark.parametrize("f", BY_HAND, ids=lambda f: f.__name__)


def assert_close(got, want):
    assert jax.tree.structure(tuple(got)) == jax.tree.structure(tuple(want))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4), tuple(got), tuple(want))


def split(args):
    """The arrays [T], and the numbers."""
    return [x for x in args if np.ndim(x)], [x for x in args if not np.ndim(x)]


@EACH
@pytest.mark.parametrize("how", ["NumPy", "plain", "jit", "numbers too", "vmap", "trailing axes", "lists"])
def test_by_hand(f, how):
    args, want = BY_HAND[f]
    arrays, numbers = split(args)
    if how == "NumPy":
        got = f(*args)
        assert all(isinstance(x, np.ndarray) and x.dtype == np.float32 for x in jax.tree.leaves(got))
    elif how == "lists":
        got = f(*(x.tolist() for x in arrays), *numbers)
    elif how == "plain":
        got = f(*map(jnp.asarray, arrays), *numbers)
    elif how == "jit":
        got = jax.jit(lambda *xs: f(*xs, *numbers))(*arrays)
    elif how == "numbers too":
        got = jax.jit(f)(*args)
    elif how == "vmap":
        two = jax.vmap(lambda *xs: f(*xs, *numbers))(*(jnp.stack([x * 0, x]) for x in arrays))
        got = jax.tree.map(lambda x: x[1], two)
    else:
        wide = f(*(np.stack([x * 0, x, x], axis=1).reshape(6, 3, 1) for x in arrays), *numbers)
        got = jax.tree.map(lambda x: x[:, 2, 0], wide)
    if how not in ("NumPy", "lists", "trailing axes"):
        assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(got))
    assert_close(got, jax.tree.map(np.array, want, is_leaf=lambda x: isinstance(x, list)))


@EACH
def test_one_jax_array_is_enough(f):
    args, want = BY_HAND[f]
    for which in range(len(args)):
        got = f(*(jnp.asarray(x) if i == which else x for i, x in enumerate(args)))
        assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(got))
        assert_close(got, jax.tree.map(np.array, want, is_leaf=lambda x: isinstance(x, list)))


# --- sums of products -------------------------------------------------------------------------------------------------


def times(cut, t):
    """The steps from t to the end of the episode."""
    out = [t]
    while not cut[out[-1]] and out[-1] + 1 < len(cut):
        out.append(out[-1] + 1)
    return out


def value(discount, v_next, t):
    return 0.0 if discount[t] == 0 else discount[t] * v_next[t]


def mixture_of_n_step_returns(rewards, discount, cut, v_next, lambda_):
    """(1 - lambda) times the sum of lambda^(n-1) times the n-step returns; the last one gets what remains."""
    out = []
    for t in range(len(rewards)):
        steps, total = times(cut, t), 0.0
        for n in range(1, len(steps) + 1):
            factor = np.prod([discount[k] for k in steps[: n - 1]])
            g = sum(np.prod([discount[k] for k in steps[:i]]) * rewards[steps[i]] for i in range(n))
            g += factor * value(discount, v_next, steps[n - 1])
            total += lambda_ ** (n - 1) * (1 if n == len(steps) else 1 - lambda_) * g
        out.append(total)
    return np.array(out)


def sum_of_td_errors(rewards, discount, cut, v, v_next, c, lead=0):
    """Sum over k of the product of discounts and traces before k, times the TD error at k.

    The traces in the product are those of the steps t + lead, ..., t + k - 1 + lead.
    """
    out = []
    for t in range(len(rewards)):
        steps, total = times(cut, t), 0.0
        for k, i in enumerate(steps):
            product = np.prod([discount[j] * c[j + lead] for j in steps[:k]])
            total += product * (rewards[i] + value(discount, v_next, i) - v[i])
        out.append(total)
    return np.array(out)


@st.composite
def off_policy(draw):
    """Draw (rewards, discount, cut, v, v_next, rho), each [T, E]."""
    rewards, discount, cut, v_next = draw(rollouts())
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    v = rng.normal(size=rewards.shape).astype(np.float32)
    rho = np.exp(rng.normal(size=rewards.shape)).astype(np.float32)
    return rewards, discount, cut, v, v_next.astype(np.float32), rho


def by_row(reference, *arrays):
    return np.stack([reference(*(x[:, e] for x in arrays)) for e in range(arrays[0].shape[1])], axis=-1)


JITTED = {f: jax.jit(f) for f in BY_HAND}


@settings(max_examples=40, deadline=None)
@given(rollouts(), LAMBDAS)
def test_lambda_returns_mix_n_step_returns(rollout, lambda_):
    want = by_row(lambda *xs: mixture_of_n_step_returns(*xs, lambda_), *rollout)
    assert_close([lambda_returns(*rollout, lambda_)], [want])
    assert_close([JITTED[lambda_returns](*rollout, lambda_)], [want])


@settings(max_examples=40, deadline=None)
@given(off_policy(), LAMBDAS)
def test_advantages_sum_td_errors(rollout, lambda_):
    rewards, discount, cut, v, v_next, rho = rollout
    args = (rewards, discount, cut, v, v_next)
    want = by_row(sum_of_td_errors, *args, np.full_like(rho, lambda_))
    assert_close([generalized_advantages(*args, lambda_)], [want])
    assert_close([JITTED[generalized_advantages](*args, lambda_)], [want])


@settings(max_examples=40, deadline=None)
@given(off_policy(), LAMBDAS, st.sampled_from([0.5, 1.0, np.inf]), st.sampled_from([0.5, 1.0]))
def test_vtrace_sums_td_errors(rollout, lambda_, rho_bar, c_bar):
    rewards, discount, cut, v, v_next, rho = rollout
    clipped, c = np.minimum(rho, rho_bar), lambda_ * np.minimum(rho, c_bar)

    def reference(rewards, discount, cut, v, v_next, clipped, c):
        # The clipped ratio multiplies a whole TD error: as if rewards, v and v_next were all that much larger there.
        errors = sum_of_td_errors(clipped * rewards, discount, cut, clipped * v, clipped * v_next, c)
        vs, advantages = v + errors, []
        for t in range(len(rewards)):
            inside = times(cut, t)[1:]
            v_t = value(discount, v_next, t)
            if inside:
                v_t = (1 - lambda_) * v_t + lambda_ * discount[t] * vs[inside[0]]
            advantages.append(clipped[t] * (rewards[t] + v_t - v[t]))
        return np.stack([vs, advantages])

    want = by_row(reference, rewards, discount, cut, v, v_next, clipped, c)
    assert_close(vtrace(*rollout, lambda_, rho_bar, c_bar), want)
    assert_close(JITTED[vtrace](*rollout, lambda_, rho_bar, c_bar), want)


@settings(max_examples=40, deadline=None)
@given(off_policy(), LAMBDAS)
def test_retrace_sums_td_errors(rollout, lambda_):
    rewards, discount, cut, q, v_next, rho = rollout
    c = lambda_ * np.minimum(1, rho)
    want = q + by_row(lambda *xs: sum_of_td_errors(*xs, lead=1), rewards, discount, cut, q, v_next, c)
    assert_close([retrace(*rollout, lambda_)], [want])
    assert_close([JITTED[retrace](*rollout, lambda_)], [want])


# --- special cases ----------------------------------------------------------------------------------------------------


def consistent(rollout):
    """The same rollout with the value at t + 1 as `v_next`, where nothing ended."""
    rewards, discount, cut, v, v_next, rho = rollout
    return rewards, discount, cut, v, np.where(cut, v_next, np.roll(v, -1, axis=0)).astype(np.float32), rho


@settings(max_examples=20, deadline=None)
@given(off_policy(), LAMBDAS)
def test_special_cases(rollout, lambda_):
    rewards, discount, cut, v, v_next, rho = consistent(rollout)
    ones, start = np.ones_like(rho), (rewards, discount, cut)
    td0 = rewards + np.where(discount == 0, 0, discount * v_next)
    assert_close([lambda_returns(*start, v_next, 0.0)], [td0])
    assert_close([lambda_returns(*start, v_next, 1.0)], [discounted_returns(*start, v_next)])
    assert_close([generalized_advantages(*start, v, v_next, 0.0)], [td0 - v])
    returns = lambda_returns(*start, v_next, lambda_)
    assert_close([v + generalized_advantages(*start, v, v_next, lambda_)], [returns])
    assert_close(vtrace(*start, v, v_next, ones, lambda_), [returns, returns - v])
    assert_close([retrace(*start, v, v_next, ones, 1.0)], [discounted_returns(*start, v_next)])
    # where the target policy never takes the actions, nothing is looked at after the first
    assert_close([retrace(*start, v, v_next, 0 * ones, 1.0)], [td0])
    assert_close(vtrace(*start, v, v_next, 0 * ones), [v, 0 * v])


def test_clipping_by_hand():
    # Two steps, gamma 1, v = 0 everywhere, rewards 1 and 10, the end terminates, ratios 4 and 4.
    rollout = (np.array([1.0, 10.0]), np.array([1.0, 0.0]), np.array([False, True]))
    v, rho = np.zeros(2), np.full(2, 4.0)

    def vs(**clips):
        return [x.tolist() for x in vtrace(*rollout, v, v, rho, **clips)]

    # both at 1: 1 + 10, and 10
    assert vs() == [[11.0, 10.0], [11.0, 10.0]]
    # rho_bar 2: 2*1 + 1*(2*10), and 2*10; advantages 2*(1 + 20), and 2*10
    assert vs(rho_bar=2.0) == [[22.0, 20.0], [42.0, 20.0]]
    # c_bar 3: 1 + 3*10; the advantage 1 + 10 has no c
    assert vs(c_bar=3.0) == [[31.0, 10.0], [11.0, 10.0]]
    # no clipping at all: 4*1 + 4*(4*10)
    assert vs(rho_bar=np.inf, c_bar=np.inf)[0] == [164.0, 40.0]
    # the ratio at t = 1 is clipped at 1, that at t = 0 is not looked at: 1 + 10 ; 1 + 10/2
    assert retrace(*rollout, v, v, rho).tolist() == [11.0, 10.0]
    assert retrace(*rollout, v, v, np.array([np.nan, 0.5])).tolist() == [6.0, 10.0]


# --- what must not matter ---------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_the_value_after_a_termination_does_not_matter(f, rubbish, convert):
    args, want = BY_HAND[f]
    v_next = np.where(DISCOUNT == 0, rubbish, V_NEXT)
    got = f(*(convert(v_next) if x is V_NEXT else convert(x) if np.ndim(x) else x for x in args))
    assert_close(got, jax.tree.map(np.array, want, is_leaf=lambda x: isinstance(x, list)))


@EACH
@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_nan_does_not_cross_a_cut(f, convert):
    args, want = BY_HAND[f]
    rewards = REWARDS.copy()
    rewards[4] = np.nan  # the first step of the third episode
    got = f(convert(rewards), *(convert(x) if np.ndim(x) else x for x in args[1:]))
    for x, y in zip(got if f is vtrace else [got], want if f is vtrace else [want], strict=True):
        np.testing.assert_allclose(x[:4], y[:4])
        assert np.isnan(x[4])


@EACH
def test_gradients_where_nothing_is_looked_at(f):
    args, _ = BY_HAND[f]
    at = next(i for i, x in enumerate(args) if x is V_NEXT)
    total = lambda v_next: sum(x.sum() for x in jax.tree.leaves(f(*args[:at], v_next, *args[at + 1 :])))
    grad = np.asarray(jax.grad(total)(jnp.asarray(V_NEXT)))
    assert np.isfinite(grad).all()
    assert grad[1] == 0
    assert grad[5] != 0


@EACH
def test_termination_is_a_cut_even_if_it_is_not_said(f):
    args, _ = BY_HAND[f]
    cut = CUT & (DISCOUNT != 0)
    assert cut.sum() == 1
    assert_close(f(*(cut if x is CUT else x for x in args)), f(*args))


# --- errors -----------------------------------------------------------------------------------------------------------


@EACH
def test_shapes_that_disagree(f):
    args, _ = BY_HAND[f]
    for i, x in enumerate(args):
        if np.ndim(x):
            text = rf"{f.__name__}: expected arrays of one shape \[T, \.\.\.\], got rewards .*\(5,\).*Fix: reshape"
            with pytest.raises(ValueError, match=text):
                f(*(x[:5] if j == i else y for j, y in enumerate(args)))
    arrays, numbers = split(args)
    with pytest.raises(ValueError, match=r"expected arrays \[T, \.\.\.\] with T >= 1, got shape \(0,\)"):
        f(*(x[:0] for x in arrays), *numbers)
    with pytest.raises(ValueError, match=r"expected arrays \[T, \.\.\.\] with T >= 1, got shape \(\)"):
        f(*(x[0] for x in arrays), *numbers)


@pytest.mark.parametrize("f", [lambda_returns, generalized_advantages, vtrace, retrace])
@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.float32(2), float("nan")])
def test_lambda_out_of_range(f, wrong):
    arrays, _ = split(BY_HAND[f][0])
    with pytest.raises(ValueError, match=rf"{f.__name__}: expected lambda_ in \[0, 1\], got .*Fix: pass for instance"):
        f(*arrays, wrong)


def test_other_numbers():
    arrays, _ = split(BY_HAND[vtrace][0])
    with pytest.raises(ValueError, match=r"vtrace: expected rho_bar in \[0, inf\], got -1"):
        vtrace(*arrays, rho_bar=-1)
    with pytest.raises(
        ValueError, match=r"vtrace: expected one number as c_bar, got shape \(6,\)\. Fix: pass a scalar"
    ):
        vtrace(*arrays, c_bar=RHO)
    with pytest.raises(ValueError, match="lambda_returns: expected one number as lambda_"):
        lambda_returns(*ROLLOUT, V_NEXT, jnp.ones(6))


def test_integers_are_numbers():
    got = lambda_returns([1, 2], [1, 0], [0, 1], [5, 6], 1)
    assert got.tolist() == [3.0, 2.0]


@settings(max_examples=20, deadline=None)
@given(rollouts(), st.sampled_from([1, 3, 9]))
@pytest.mark.gate
def test_n_step_functions_of_numpy_arrays(rollout, n):
    windows, returns = n_step_windows(*rollout[:3], n), n_step_returns(*rollout, n)
    assert all(isinstance(x, np.ndarray) for x in (*windows, returns))
    assert windows.last.dtype == np.int32
    assert_close(windows, n_step_windows(*map(jnp.asarray, rollout[:3]), n))
    assert_close([returns], [n_step_returns(*map(jnp.asarray, rollout), n)])
    assert isinstance(n_step_returns(*rollout[:3], jnp.asarray(rollout[3]), n), jax.Array)
