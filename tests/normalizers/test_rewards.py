"""Rewards in units of the standard deviation of the return, which begins anew with every episode."""

import jax
import numpy as np
import pytest

import coax
from coax import RewardNormalizer

NO = np.zeros(2, bool)


def state_of(normalizer):
    return jax.tree.map(np.asarray, normalizer.state)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def rollout(seed, T, *envs):
    rng = np.random.default_rng(seed)
    R = (3 + 2 * rng.normal(size=(T, *envs))).astype(np.float32)
    terminated, truncated, mask = rng.random((3, T, *envs)) < np.array([0.1, 0.1, 0.9]).reshape(3, *(1,) * R.ndim)
    return R, terminated, truncated, mask


def reference(R, terminated, truncated, mask, gamma):
    """Loops over environments and steps: all returns, and the present ones."""
    T, found = len(R), []
    R, terminated, truncated, mask = (np.reshape(x, (T, -1)) for x in (R, terminated, truncated, mask))
    G = np.zeros(R.shape[1])
    for t in range(T):
        for i in range(len(G)):
            if mask[t, i]:
                G[i] = R[t, i] + gamma * G[i]
                found.append(G[i])
                if terminated[t, i] or truncated[t, i]:
                    G[i] = 0
    return np.array(found), G


def test_by_hand():
    normalizer = RewardNormalizer(2, gamma=0.5, clip=4.0)
    np.testing.assert_array_equal(normalizer.norm([3.0, -9.0]), [3, -4])  # nothing is known: only clipped
    normalizer.update([4.0, 0.0], NO, NO)  # returns 4, 0
    normalizer.update([1.0, 1.0], [True, False], [False, True])  # 3, 1, and both episodes end
    np.testing.assert_array_equal(normalizer.returns, [0, 0])
    normalizer.update([2.0, 2.0], NO, NO)  # 2, 2 and not 3.5, 2.5
    np.testing.assert_array_equal(normalizer.returns, [2, 2])
    # 4, 0, 3, 1, 2, 2: mean 2, variance (4 + 4 + 1 + 1) / 6
    assert normalizer.count == 6
    assert normalizer.std == pytest.approx(np.sqrt(10 / 6), rel=1e-6)
    # no mean is taken off: the sign stays
    np.testing.assert_allclose(normalizer.norm([0.5, -0.5, 100]), [0.5 / np.sqrt(10 / 6), -0.5 / np.sqrt(10 / 6), 4])


@pytest.mark.parametrize("envs", [(), (3,)])
def test_all_returns(envs):
    normalizer = RewardNormalizer(*envs, gamma=0.9)
    rows = rollout(0, 60, *envs)
    for t, row in enumerate(zip(*rows, strict=True)):
        normalizer.update(*row)
        G, present = reference(*(x[: t + 1] for x in rows), 0.9)
        np.testing.assert_allclose(normalizer.returns.ravel(), present, rtol=1e-5)
        assert normalizer.std == pytest.approx(G.std(), rel=1e-4, abs=1e-6)
    assert normalizer.count == len(G) == rows[3].sum()
    R = np.float32([[1, -2], [3, 0.5]])
    np.testing.assert_allclose(normalizer.norm(R), R / np.sqrt(G.var() + 1e-8), rtol=1e-4)
    assert isinstance(normalizer.std, float)


@pytest.mark.parametrize("envs", [(), (3,)])
def test_a_rollout_is_its_steps(envs):
    at_once, stepwise, rows = (*(RewardNormalizer(*envs, gamma=0.9) for _ in range(2)), rollout(1, 30, *envs))
    at_once.update(*rows)
    for row in zip(*rows, strict=True):
        stepwise.update(*row)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), at_once.state, stepwise.state)
    assert at_once.count == stepwise.count > 20


def test_gamma_may_be_set():
    normalizer, other = RewardNormalizer(gamma=0.9), RewardNormalizer(gamma=0.5)
    normalizer.update(8.0, False, False)
    other.update(8.0, False, False)
    other.gamma = 0.9
    for each in (normalizer, other):
        each.update(1.0, False, False)
        assert each.returns == pytest.approx(8.2)


def test_rows_that_are_no_steps():
    normalizer = RewardNormalizer(2, gamma=0.5)
    normalizer.update([4.0, 2.0], NO, NO)
    normalizer.update([np.nan, 2.0], [True, False], NO, [False, True])
    np.testing.assert_array_equal(normalizer.returns, [4, 3])  # not even its flag counts
    assert (normalizer.count, normalizer.skipped) == (3, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_not_finite_is_skipped(bad):
    normalizer = RewardNormalizer(2, gamma=0.5)
    normalizer.update([4.0, 2.0], NO, NO)
    normalizer.update([bad, 2.0], NO, NO)
    np.testing.assert_array_equal(normalizer.returns, [4, 3])
    normalizer.update([bad, 2.0], [True, False], NO)  # the episode ends all the same
    np.testing.assert_array_equal(normalizer.returns, [0, 3.5])
    assert (normalizer.count, normalizer.skipped) == (4, 2)
    assert normalizer.std == pytest.approx(np.std([4, 2, 3, 3.5]), rel=1e-6)
    np.testing.assert_array_equal(np.isnan(normalizer.norm([np.nan, 1.0])), [True, False])


def test_reset():
    normalizer = RewardNormalizer(2, gamma=0.5)
    normalizer.update([4.0, 2.0], NO, NO)
    normalizer.reset([True, False])
    np.testing.assert_array_equal(normalizer.returns, [0, 2])
    normalizer.reset()
    np.testing.assert_array_equal(normalizer.returns, [0, 0])
    assert normalizer.count == 2


def test_frozen():
    normalizer = RewardNormalizer(2)
    normalizer.update([4.0, 2.0], NO, NO)
    normalizer.frozen = True
    before = state_of(normalizer)
    normalizer.update([4.0, 2.0], NO, ~NO)
    normalizer.reset()
    assert_same(before, state_of(normalizer))


@pytest.mark.gate
def test_python_is_scan_is_one_of_several_seeds():
    normalizer, rows = RewardNormalizer(3, gamma=0.9), rollout(2, 40, 3)

    def step(row):
        normalizer.update(*row)
        return normalizer.norm(row[0])

    in_python = np.stack([step(row) for row in zip(*rows, strict=True)])
    as_python = state_of(normalizer)
    normalizer.state = normalizer.init(jax.random.key(0))
    np.testing.assert_allclose(coax.scan(step, over=normalizer, xs=rows), in_python, rtol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), as_python, state_of(normalizer))
    init, apply = coax.transform(normalizer.update, over=normalizer)
    states = jax.vmap(init)(jax.random.split(jax.random.key(0), 2))
    twice = [np.stack([x, x]) for x in rows]
    twice[0][1] *= 3
    _, states = jax.vmap(apply)(states, *twice)
    first, second = (jax.tree.map(lambda x, i=i: np.asarray(x[i]), states[normalizer]) for i in range(2))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), first, as_python)
    np.testing.assert_allclose(second["moments"][2], 9 * first["moments"][2], rtol=1e-5)


def test_state_goes_into_a_new_one():
    normalizer, other = RewardNormalizer(3, gamma=0.9), RewardNormalizer(3)
    normalizer.update(*rollout(3, 20, 3))
    other.state = state_of(normalizer)
    for each in (normalizer, other):
        each.update(*rollout(4, 20, 3))
    assert_same(state_of(normalizer), state_of(other))
    assert other.gamma == pytest.approx(0.9)
    with pytest.raises(
        TypeError, match=r"RewardNormalizer\.state\['returns'\]: expected float32\[2\], got float32\[3\]"
    ):
        RewardNormalizer(2).state = normalizer.state


def test_a_fresh_state_has_the_numbers_that_were_set():
    normalizer = RewardNormalizer(gamma=0.9)
    normalizer.update(3.0, False, False)
    normalizer.gamma = 0.7
    normalizer.state = normalizer.init(jax.random.key(0))
    assert (normalizer.count, normalizer.gamma, float(normalizer.returns)) == (0, pytest.approx(0.7), 0)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: RewardNormalizer(0), ValueError, r"num_envs: expected at least 1, got 0"),
        (lambda: RewardNormalizer(gamma=1.5), ValueError, r"RewardNormalizer\.gamma: expected a number in \[0, 1\]"),
        (
            lambda: RewardNormalizer(clip=-1),
            ValueError,
            r"RewardNormalizer: expected a positive number as clip, got -1",
        ),
        (lambda: RewardNormalizer(epsilon=None), TypeError, r"expected a number as epsilon, got None"),
        (
            lambda: RewardNormalizer(2).update(np.zeros(3), np.zeros(3, bool), np.zeros(3, bool)),
            ValueError,
            r"R: expected shape \[2\], or \[T, 2\] for several steps, got \[3\]\. Fix: pass one reward for each",
        ),
        (lambda: RewardNormalizer(2).update(np.zeros(2), False, NO), ValueError, r"terminated: expected shape \[2\]"),
        (lambda: RewardNormalizer(2).update(np.zeros(2), NO, [0, 1]), TypeError, r"truncated: expected bools, got int"),
        (lambda: RewardNormalizer().update("x", False, False), TypeError, r"R: expected numbers, got <U1"),
        (lambda: RewardNormalizer(2).reset(np.ones(3, bool)), ValueError, r"mask: expected shape \[2\], got \[3\]"),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()
