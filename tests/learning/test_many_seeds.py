"""One training function: as a Python loop, as a scan, and mapped over seeds, with equal results.

The environment is written in JAX, so that the whole of the training can be compiled.
"""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from tests.environments import JaxLake

N_SEEDS = 8
PRECISE = (True, 1_000, 1e-6)  # x64, steps, tolerance
QUICK = (False, 100, 1e-5)
IN_BOTH_PRECISIONS = pytest.mark.parametrize(
    ("x64", "n_steps", "tolerance"),
    [
        pytest.param(*PRECISE, marks=pytest.mark.full, id="x64"),
        pytest.param(*QUICK, marks=pytest.mark.gate, id="f32"),
    ],
)


class Training:
    """Double Q-learning with a trailing target network, one transition a step."""

    def __init__(self):
        self.env = JaxLake()

        def func(S, is_training):
            return hk.Sequential([hk.Linear(8), jnp.tanh, hk.Linear(4)])(S)

        self.q = coax.Q(func, self.env, random_seed=1)
        self.q_targ = self.q.copy()
        self.pi = coax.EpsilonGreedy(self.q, epsilon=0.3)
        self.updater = coax.td_learning.DoubleQLearning(self.q, q_targ=self.q_targ, optimizer=optax.adam(0.01))
        self.over = (self.env, self.pi, self.updater)

    def step(self):
        s = self.env.observation
        a = self.pi(s)
        s_next, r, terminated, _ = self.env.step(a)
        row = jax.tree.map(lambda x: jnp.asarray(x)[None], (s, a, 0.0, r, 0.9 * ~terminated, s_next))
        S, A, logP, Rn, In, S_next = row
        batch = coax.reward_tracing.TransitionBatch(S=S, A=A, logP=logP, Rn=Rn, In=In, S_next=S_next)
        metrics = self.updater.update(batch)
        self.q_targ.soft_update(self.q, tau=0.05)
        return {"loss": metrics["DoubleQLearning/loss"], "r": r, "s": s}

    def lifted(self, n_steps):
        return coax.transform(lambda: coax.scan(self.step, length=n_steps, over=self.over), over=self.over)

    def start_from(self, states):
        for obj in states:
            obj.state = states[obj]

    def states(self):
        return {obj: obj.state for obj in (self.env, self.q, self.q_targ, self.pi, self.updater)}


def keys():
    return jax.random.split(jax.random.key(3), N_SEEDS)


def numbers(tree):
    """The leaves as NumPy arrays, keys as what they consist of."""

    def leaf(x):
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if is_key else x)

    return [leaf(x) for x in jax.tree.leaves(tree)]


def assert_equal(left, right, tolerance):
    left, right = numbers(left), numbers(right)
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def one_seed(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def in_order(states, training):
    return [states[obj] for obj in training.states()]


def stacked(outs):
    return jax.tree.map(lambda *xs: np.stack(xs), *outs)


@pytest.mark.gate
def test_target_is_online_for_every_seed_after_init():
    training = Training()
    states = jax.vmap(training.lifted(1).init)(keys())
    weights = jax.tree.leaves(states[training.q]["params"])[-1]
    assert weights.shape[0] == N_SEEDS
    assert len(np.unique(np.asarray(weights).reshape(N_SEEDS, -1), axis=0)) == N_SEEDS  # each seed has its own
    assert_equal(states[training.q]["params"], states[training.q_targ]["params"], 0)


@IN_BOTH_PRECISIONS
def test_vmap_over_8_seeds_is_8_runs(x64, n_steps, tolerance):
    with jax.enable_x64(x64):
        training = Training()
        init, apply = training.lifted(n_steps)
        start = jax.vmap(init)(keys())
        metrics, end = jax.jit(jax.vmap(apply))(start)
        assert all(x.dtype == (np.float64 if x64 else np.float32) for x in jax.tree.leaves(end[training.q]["params"]))
        run = jax.jit(apply)
        for i in range(N_SEEDS):
            alone = init(keys()[i])
            assert_equal(alone, one_seed(start, i), tolerance)
            metrics_alone, end_alone = run(alone)
            assert_equal(metrics_alone, one_seed(metrics, i), tolerance)
            assert_equal(end_alone, one_seed(end, i), tolerance)


@IN_BOTH_PRECISIONS
def test_python_loop_is_scan_is_one_of_the_mapped_seeds(x64, n_steps, tolerance):
    with jax.enable_x64(x64):
        training = Training()
        init, apply = training.lifted(n_steps)
        start = jax.vmap(init)(keys())
        metrics, end = jax.jit(jax.vmap(apply))(start)
        i = 5
        metrics, end = one_seed(metrics, i), in_order(one_seed(end, i), training)
        assert 0 < np.count_nonzero(np.diff(metrics["s"])) < n_steps  # it walks, and sometimes into a wall

        training.start_from(one_seed(start, i))
        by_scan = coax.scan(training.step, length=n_steps, over=training.over)
        assert_equal(by_scan, metrics, tolerance)
        assert_equal(list(training.states().values()), end, tolerance)

        training.start_from(one_seed(start, i))
        by_hand = stacked([training.step() for _ in range(n_steps)])
        assert_equal(by_hand, metrics, tolerance)
        assert_equal(list(training.states().values()), end, tolerance)
