import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coax.returns import discounted_returns, n_step_returns, n_step_windows

from .reference import rollouts

WINDOWS = jax.jit(n_step_windows, static_argnums=3)
RETURNS = jax.jit(n_step_returns, static_argnums=4)

# gamma 1/2; t=1 terminates, t=3 is truncated, the rollout ends at t=5
REWARDS = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
DISCOUNT = jnp.array([0.5, 0.0, 0.5, 0.5, 0.5, 0.5])
CUT = jnp.array([False, True, False, True, False, False])
BY_HAND = {
    1: ([1, 2, 3, 4, 5, 6], [0.5, 0, 0.5, 0.5, 0.5, 0.5], [0, 1, 2, 3, 4, 5]),
    # 1 + 2/2, terminated ; 2 ; 3 + 4/2 over two steps ; 4, truncated after one ; 5 + 6/2 over two ; 6, the rollout ends
    2: ([2, 2, 5, 4, 8, 6], [0, 0, 0.25, 0.5, 0.25, 0.5], [1, 1, 3, 3, 5, 5]),
    # no window has three steps here
    3: ([2, 2, 5, 4, 8, 6], [0, 0, 0.25, 0.5, 0.25, 0.5], [1, 1, 3, 3, 5, 5]),
}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("how", ["plain", "jit", "vmap"])
def test_by_hand(n, how):
    def f(*args):
        return n_step_windows(*args, n)

    if how == "vmap":
        got = jax.tree.map(lambda x: x[1], jax.vmap(f)(*(jnp.stack([x, x]) for x in (REWARDS, DISCOUNT, CUT))))
    else:
        got = {"plain": f, "jit": jax.jit(f)}[how](REWARDS, DISCOUNT, CUT)
    for x, want in zip(got, BY_HAND[n], strict=True):
        np.testing.assert_allclose(x, want)
    assert got.last.dtype == jnp.int32


def test_three_full_steps():
    # 1 + 2/2 + 4/4 = 3, then v_next of t=2 times 1/8: 3 + 80/8 = 13
    got = n_step_returns(jnp.array([1.0, 2.0, 4.0, 8.0]), jnp.full(4, 0.5), jnp.zeros(4, bool), jnp.full(4, 80.0), 3)
    # 2 + 4/2 + 8/4 = 6, + 10 ; 4 + 8/2 = 8, + 20 ; 8 + 40
    np.testing.assert_allclose(got, [13.0, 16.0, 28.0, 48.0])


def reference(rewards, discount, cut, n):
    windows = []
    for t in range(len(rewards)):
        rn, factor, i = 0.0, 1.0, t
        while True:
            rn += factor * rewards[i]
            factor *= discount[i]
            if cut[i] or factor == 0 or i - t == n - 1 or i == len(rewards) - 1:
                break
            i += 1
        windows.append((rn, factor, i))
    return windows


@settings(max_examples=80, deadline=None)
@given(rollouts(), st.sampled_from([1, 2, 3, 9]))
def test_against_a_loop_per_window(rollout, n):
    rewards, discount, cut, v_next = rollout
    got = WINDOWS(rewards, discount, cut, n)
    returns = RETURNS(rewards, discount, cut, v_next, n)
    for e in range(rewards.shape[1]):
        for t, (rn, in_, last) in enumerate(reference(rewards[:, e], discount[:, e], cut[:, e], n)):
            np.testing.assert_allclose(got.rn[t, e], rn, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(got.in_[t, e], in_, rtol=1e-5)
            assert got.last[t, e] == last
            value = 0 if in_ == 0 else in_ * v_next[last, e]
            np.testing.assert_allclose(returns[t, e], rn + value, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(rollouts())
def test_windows_longer_than_the_rollout_are_monte_carlo(rollout):
    rewards, discount, cut, v_next = rollout
    want = discounted_returns(rewards, discount, cut, v_next)
    np.testing.assert_allclose(RETURNS(rewards, discount, cut, v_next, 100), want, rtol=1e-4, atol=1e-4)


def test_what_is_wrong_with_n():
    with pytest.raises(ValueError, match="n: expected at least 1, got 0"):
        n_step_windows(REWARDS, DISCOUNT, CUT, 0)
    with pytest.raises(TypeError, match=r"n: expected an integer, got 1\.5"):
        n_step_windows(REWARDS, DISCOUNT, CUT, 1.5)


def test_shapes_that_disagree():
    with pytest.raises(ValueError, match=r"n_step_windows: expected arrays of one shape .*cut \(5,\)"):
        n_step_windows(REWARDS, DISCOUNT, CUT[:5], 2)
    with pytest.raises(ValueError, match=r"n_step_returns: .*rewards \(6,\), v_next \(1,\)"):
        n_step_returns(REWARDS, DISCOUNT, CUT, np.zeros(1), 2)
