import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from coax.returns import discounted_returns

from .reference import rollouts


def test_by_hand():
    # gamma 1/2; t=1 terminates, t=3 is truncated, the rollout ends at t=4
    # G4 = 5 + .5*20 = 15 ; G3 = 4 + .5*10 = 9 ; G2 = 3 + .5*9 = 7.5 ; G1 = 2 ; G0 = 1 + .5*2 = 2
    rewards = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0])
    discount = jnp.array([0.5, 0.0, 0.5, 0.5, 0.5])
    cut = jnp.array([False, True, False, True, False])
    v_next = jnp.array([np.nan, np.nan, np.nan, 10.0, 20.0])
    want = [2.0, 2.0, 7.5, 9.0, 15.0]
    np.testing.assert_allclose(discounted_returns(rewards, discount, cut, v_next), want)
    np.testing.assert_allclose(jax.jit(discounted_returns)(rewards, discount, cut, v_next), want)
    two = [jnp.stack([x, x]) for x in (rewards, discount, cut, v_next)]
    np.testing.assert_allclose(jax.vmap(discounted_returns)(*two), [want, want])
    # without values nothing follows: G4 = 5 ; G3 = 4 ; G2 = 3 + .5*4 = 5
    np.testing.assert_allclose(discounted_returns(rewards, discount, cut), [2.0, 2.0, 5.0, 4.0, 5.0])


def reference(rewards, discount, cut, v_next):
    def g(t):
        if discount[t] == 0:
            return rewards[t]
        if cut[t] or t == len(rewards) - 1:
            return rewards[t] + discount[t] * v_next[t]
        return rewards[t] + discount[t] * g(t + 1)

    return [g(t) for t in range(len(rewards))]


@settings(max_examples=60, deadline=None)
@given(rollouts())
def test_against_recursion_per_episode(rollout):
    rewards, discount, cut, v_next = rollout
    want = np.stack([reference(*(x[:, e] for x in rollout)) for e in range(rewards.shape[1])], axis=1)
    got = jax.jit(discounted_returns)(rewards, discount, cut, v_next)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_gradient_ignores_what_is_not_looked_at():
    discount, cut = jnp.array([0.5, 0.0, 0.5]), jnp.array([False, True, True])
    v_next = jnp.array([np.nan, np.nan, 3.0])
    grad = jax.grad(lambda v: discounted_returns(jnp.ones(3), discount, cut, v).sum())(v_next)
    np.testing.assert_allclose(grad, [0.0, 0.0, 0.5])


def test_termination_is_a_cut_even_if_it_is_not_said():
    got = discounted_returns([1, 2], [0.0, 0.5], [False, False], [7.0, 8.0])
    np.testing.assert_allclose(got, [1.0, 6.0])


def test_shapes_that_disagree():
    with pytest.raises(ValueError, match=r"rewards \(3,\), discount \(3, 1\), cut \(3,\)\. Fix: reshape"):
        discounted_returns(np.zeros(3), np.zeros((3, 1)), np.zeros(3, bool))
    with pytest.raises(ValueError, match=r"rewards \(3,\), v_next \(4,\)"):
        discounted_returns(np.zeros(3), np.zeros(3), np.zeros(3, bool), np.zeros(4))
    with pytest.raises(ValueError, match=r"expected arrays \[T, \.\.\.\] with T >= 1, got shape \(0,\)"):
        discounted_returns(np.zeros(0), np.zeros(0), np.zeros(0, bool))
