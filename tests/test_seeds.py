"""One seed in a script reaches everything by arguments; what gets none draws from the operating system."""

import inspect
import random

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coax
from coax import envs, experience_replay, plotting, reward_tracing, training, utils
from tests import learners

DISCRETE = learners.spaces(learners.DISCRETE)


def words(x):
    """An array in host memory; keys as the integers that they are."""
    is_key = hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def values(S, is_training):
    return hk.Linear(3)(S)


def value(S, is_training):
    return values(S, is_training)[..., 0]


def logits(S, is_training):
    return {"logits": values(S, is_training)}


def bins(S, is_training):
    return {"logits": hk.Linear(5)(S)}


def bins_of_actions(S, is_training):
    return {"logits": hk.Linear(15)(S).reshape(-1, 3, 5)}


def next_observation(S, is_training):
    return hk.Linear(9)(S).reshape(-1, 3, 3)


def next_law(S, is_training):
    both = hk.Linear(18)(S).reshape(-1, 3, 2, 3)
    return {"mu": both[:, :, 0], "logvar": both[:, :, 1]}


def state_of(make, *args, **kwargs):
    return lambda seed: make(*args, random_seed=seed, **kwargs).state


def drawn(make, *args, **kwargs):
    return lambda seed: make(*args, random_seed=seed, **kwargs).rnd.random(3)


def examples(cls, *args, **kwargs):
    return lambda seed: cls.example_data(DISCRETE, *args, random_seed=seed, **kwargs)


def noisy(rng, X):
    """Half of its output is zero, by chance."""
    return jax.random.bernoulli(rng, shape=np.shape(X)) * 1.0


def blank(rng, X):
    return jnp.zeros(np.shape(X))


LAW = dict(value_range=(-1, 1), num_bins=5)
EXAMPLE = reward_tracing.get_transition_batch(DISCRETE, random_seed=0)

# What a seed decides, of each public function and class that takes one.
SEEDED = {
    "V": state_of(coax.V, value, DISCRETE),
    "Q": state_of(coax.Q, values, DISCRETE),
    "Policy": state_of(coax.Policy, logits, DISCRETE),
    "StochasticV": state_of(coax.StochasticV, bins, DISCRETE, **LAW),
    "StochasticQ": state_of(coax.StochasticQ, bins_of_actions, DISCRETE, **LAW),
    "TransitionModel": state_of(coax.TransitionModel, next_observation, DISCRETE),
    "StochasticTransitionModel": state_of(coax.StochasticTransitionModel, next_law, DISCRETE),
    "RewardFunction": state_of(coax.RewardFunction, values, DISCRETE),
    "StochasticRewardFunction": state_of(coax.StochasticRewardFunction, bins_of_actions, DISCRETE, **LAW),
    "RandomPolicy": state_of(coax.RandomPolicy, DISCRETE),
    "Ensemble": lambda seed: coax.Ensemble(coax.Q(values, DISCRETE), random_seed=seed).state,
    "SimpleReplayBuffer": state_of(experience_replay.SimpleReplayBuffer, 5),
    "PrioritizedReplayBuffer": state_of(experience_replay.PrioritizedReplayBuffer, 5),
    "DeviceReplayBuffer": state_of(experience_replay.DeviceReplayBuffer, 5, EXAMPLE),
    "DevicePrioritizedReplayBuffer": state_of(experience_replay.DevicePrioritizedReplayBuffer, 5, EXAMPLE),
    "OrnsteinUhlenbeckNoise": drawn(utils.OrnsteinUhlenbeckNoise),
    "SumTree": drawn(utils.SumTree, 5),
    "JaxVectorEnv": state_of(envs.JaxVectorEnv, envs.CartPole(), 2),
    "get_transition_batch": lambda seed: reward_tracing.get_transition_batch(DISCRETE, 4, random_seed=seed),
    "check_preprocessors": lambda seed: [
        utils.check_preprocessors(learners.BOX, noisy, blank, num_samples=1, random_seed=each)
        for each in ([seed] * 64 if seed is None else fan(seed))
    ],
    "safe_sample": lambda seed: utils.safe_sample(learners.BOX, seed=seed),
    "bootstrap_band": lambda seed: plotting.bootstrap_band(np.arange(20.0), np.mean, random_seed=seed),
    "evaluate": lambda seed: training.evaluate(envs.JaxVectorEnv(envs.CartPole(), 8, random_seed=0), act, 32, seed),
    "V.example_data": examples(coax.V),
    "Q.example_data": examples(coax.Q),
    "Policy.example_data": examples(coax.Policy),
    "StochasticV.example_data": examples(coax.StochasticV, **LAW),
    "StochasticQ.example_data": examples(coax.StochasticQ, **LAW),
    "TransitionModel.example_data": examples(coax.TransitionModel),
    "StochasticTransitionModel.example_data": examples(coax.StochasticTransitionModel),
    "RewardFunction.example_data": examples(coax.RewardFunction),
    "StochasticRewardFunction.example_data": examples(coax.StochasticRewardFunction, **LAW),
}
FAST = {"Q", "Ensemble", "RandomPolicy", "PrioritizedReplayBuffer", "DeviceReplayBuffer", "SumTree", "safe_sample"}
EACH = [pytest.param(name, marks=[pytest.mark.gate] * (name not in FAST)) for name in SEEDED]

# Seeds of pictures, and of what is played for them, in the tests of those.
ELSEWHERE = {"learning_curves", "plot_seeds", "record_episode", "seed_curves"}


def fan(seed):
    """Many seeds that follow from one, of its kind."""
    return [seed + 1000 * i for i in range(64)] if isinstance(seed, int) else list(jax.random.split(seed, 64))


def act(S):
    return jnp.zeros(8, int)


def public(module=coax):
    """All public functions and classes, and the methods of classes that make something, by name."""
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.ismodule(found):
            yield from public(found)
        elif callable(found) and not inspect.isabstract(found):
            yield name, found
            if inspect.isclass(found) and hasattr(found, "example_data"):
                yield f"{name}.example_data", found.example_data


def takes_a_seed(found):
    try:
        names = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return False
    return "random_seed" in names or "seed" in names


def test_the_table_is_complete():
    assert {name for name, found in public() if takes_a_seed(found)} - ELSEWHERE == set(SEEDED)


def numbers(tree):
    return [words(x) for x in jax.tree.leaves(tree)]


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    return all(map(np.array_equal, numbers(one), numbers(other)))


@pytest.mark.parametrize("name", EACH)
def test_seeds(name):
    make = SEEDED[name]
    assert same(make(1), make(1))
    assert not same(make(1), make(2))
    assert same(make(jax.random.key(1)), make(jax.random.key(1)))
    assert not same(make(jax.random.key(1)), make(jax.random.key(2)))
    assert same(make(jax.random.key(1)), make(jax.random.PRNGKey(1)))  # of the older kind


@pytest.mark.parametrize("name", EACH)
def test_without_a_seed(name):
    """The global generators decide nothing, and are left as they are."""
    made = []
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        before = random.getstate(), np.random.get_state()  # noqa: NPY002
        made.append(SEEDED[name](None))
        after = random.getstate(), np.random.get_state()  # noqa: NPY002
        assert before[0] == after[0]
        assert all(map(np.array_equal, before[1], after[1]))
    assert not same(*made)


@pytest.mark.parametrize("name", ["Q", "Ensemble", "RandomPolicy", "JaxVectorEnv", "DeviceReplayBuffer"])
def test_a_key_is_a_seed(name):
    """In JAX an int is but a name of a key."""
    make = SEEDED[name]
    assert same(make(7), make(jax.random.key(7)))


@pytest.mark.parametrize("seed", ["7", 1.5, np.zeros(3)])
@pytest.mark.parametrize("name", ["Q", "SimpleReplayBuffer", "JaxVectorEnv", "SumTree"])
def test_what_is_no_seed(name, seed):
    with pytest.raises(TypeError, match=r"seed: expected an integer or a key, got .* Fix: pass for instance 13"):
        SEEDED[name](seed)


def test_init_with_a_key_is_construction_with_it():
    key = jax.random.key(3)
    for obj in (
        coax.Q(values, DISCRETE, random_seed=key),
        coax.Ensemble(coax.Q(values, DISCRETE), random_seed=key),
        envs.JaxVectorEnv(envs.CartPole(), 2, random_seed=key),
        experience_replay.SimpleReplayBuffer(5, random_seed=key),
    ):
        assert same(obj.init(key), obj.state)


def test_the_seed_can_be_read_and_set():
    q = coax.Q(values, DISCRETE, random_seed=jax.random.key(3))
    assert q.random_seed == jax.random.key(3)
    first, second = q.rng, q.rng
    q.random_seed = jax.random.key(3)
    assert [q.rng, q.rng] == [first, second]
    q.random_seed = 5
    assert q.random_seed == 5
    assert q.rng != first


@pytest.mark.parametrize("seed", [3, jax.random.key(3)])
def test_what_is_built_on_a_function_follows_from_its_seed(seed):
    def build(seed):
        q = coax.Q(values, DISCRETE, random_seed=seed)
        pis = coax.EpsilonGreedy(q), coax.EpsilonGreedy(q), coax.BoltzmannPolicy(q)
        qlearning = coax.td_learning.QLearning(q)
        return [words(obj.state["rng"].key).tolist() for obj in (q, *pis, qlearning)]

    assert build(seed) == build(seed)
    assert len(set(map(tuple, build(seed)))) == 5  # each has a stream of its own
    other = build(4 if isinstance(seed, int) else jax.random.key(4))
    assert not {tuple(each) for each in build(seed)} & {tuple(each) for each in other}


@pytest.mark.gate
def test_members_of_an_ensemble_follow_from_its_seed():
    def dropped(S, is_training):
        return hk.Linear(3)(hk.dropout(hk.next_rng_key(), 0.5, S))  # draws when it is called

    qs, same_qs = (coax.Ensemble(coax.Q(dropped, DISCRETE), members=2, random_seed=1) for _ in range(2))
    S = np.ones((16, 3), np.float32)
    np.testing.assert_array_equal(qs[0](S), same_qs[0](S))
    assert not np.array_equal(qs[0](S) == 0, qs[1](S) == 0)


# --- parallel environments --------------------------------------------------------------------------------------------


def test_environments_inside_jax_differ():
    env = envs.JaxVectorEnv(envs.CartPole(), 16, random_seed=1)
    assert len(np.unique(env.observation, axis=0)) == 16
    first = env.observation
    env.reset()
    assert len(np.unique(np.concatenate([first, env.observation]), axis=0)) == 32
    env.reset(seed=5)
    again = env.observation
    env.reset(seed=5)
    np.testing.assert_array_equal(env.observation, again)


@pytest.mark.gate
def test_environments_inside_jax_differ_where_they_draw_in_each_step():
    env = envs.JaxVectorEnv(envs.FrozenLake(is_slippery=True), 64, random_seed=1)
    env.step(np.ones(64, int))  # down, or by chance to the left (which stays) or to the right
    counts = np.bincount(env.observation, minlength=16)
    # each by one chance in three: of 64, between 10 and 33 with a probability above 0.999
    assert all(10 <= counts[s] <= 33 for s in (0, 1, 4))
    assert counts[[0, 1, 4]].sum() == 64


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_environments_of_gymnasium_differ(mode):
    env = coax.wrappers.TrainMonitor(gymnasium.make_vec("CartPole-v1", num_envs=8, vectorization_mode=mode))
    S, _ = env.reset(seed=1)
    assert len(np.unique(S, axis=0)) == 8
    np.testing.assert_array_equal(env.reset(seed=1)[0], S)
    assert not np.array_equal(env.reset()[0], S)


@pytest.mark.gate
@pytest.mark.parametrize(
    "make",
    [
        lambda: envs.JaxVectorEnv(envs.CartPole(), 8, random_seed=0),
        lambda: gymnasium.make_vec("CartPole-v1", num_envs=8, vectorization_mode="sync"),
    ],
)
def test_episodes_of_an_evaluation_differ(make):
    pi = coax.RandomPolicy(make(), random_seed=0)
    lengths = training.evaluate(make(), pi, episodes=32, seed=3).lengths
    assert len(np.unique(lengths)) > 8
    np.testing.assert_array_equal(lengths, training.evaluate(make(), pi, episodes=32, seed=3).lengths)
    assert not np.array_equal(lengths, training.evaluate(make(), pi, episodes=32, seed=4).lengths)


@pytest.mark.gate
def test_seeds_at_once_differ():
    env = envs.JaxVectorEnv(envs.CartPole(), 2, random_seed=0)
    q = coax.Q(lambda S, is_training: hk.Linear(2)(S), env, random_seed=0)
    pi = coax.EpsilonGreedy(q, epsilon=0.5)

    def step():
        return envs.transition(env, pi(env.observation)).S_next

    init, apply = coax.transform(step, over=(env, pi))
    S, states = jax.vmap(apply)(jax.vmap(init)(jax.random.split(jax.random.key(1), 5)))
    assert len(np.unique(S.reshape(10, 4), axis=0)) == 10
    assert len(np.unique(states[q]["params"]["linear"]["w"].reshape(5, -1), axis=0)) == 5
