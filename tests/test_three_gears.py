"""One step function in a Python loop, in a compiled loop, and as one of several seeds: the same training."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax
from coax.envs import CartPole, JaxVectorEnv, Pendulum

N, BATCH, EVERY, DELAY, SEGMENT = 4, 16, 10, 2, 8
FIRST = 2 * BATCH // N  # steps before the first update


def network(n):
    """A network in the default precision, whatever that of the observations is."""
    return lambda X: hk.Sequential([hk.Linear(8), jnp.tanh, hk.Linear(n)])(jnp.asarray(X, float))


def dqn():
    env = JaxVectorEnv(CartPole(), N, max_episode_steps=40, random_seed=1)
    q = coax.Q(lambda S, is_training: network(2)(S), env, random_seed=1)
    q_targ = q.copy()
    pi = coax.EpsilonGreedy(q, epsilon=0.3)
    tracer = coax.reward_tracing.DeviceNStep(n=3, gamma=0.9, env=env)
    buffer = coax.experience_replay.DeviceReplayBuffer(256, env, random_seed=1)
    qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(0.01))
    schedule = coax.utils.StepwiseLinearFunction((0, 1.0), (50, 0.1))

    def fill():
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A := pi(env.observation))
        buffer.add(*tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask))

    def step(t):
        pi.epsilon = schedule(t)
        fill()
        metrics = qlearning.update(buffer.sample(BATCH))
        coax.cond(t % EVERY == 0, lambda: q_targ.soft_update(q, tau=1.0), lambda: None, over=(q_targ, q))
        return metrics["QLearning/loss"]

    return step, fill, 1, (env, pi, q_targ, tracer, buffer, qlearning)


def ppo():
    env = JaxVectorEnv(CartPole(), N, max_episode_steps=40, random_seed=1)
    pi = coax.Policy(lambda S, is_training: {"logits": network(2)(S)}, env, random_seed=1)
    v = coax.V(lambda S, is_training: network(1)(S).ravel(), env, random_seed=1)
    simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.adam(0.01))
    ppo_clip = coax.policy_objectives.PPOClip(pi, optimizer=optax.adam(0.01), normalize_advantage=True)

    def learn(batch):
        return ppo_clip.update(batch) | simple_td.update(batch)

    def step(t):
        rows = coax.training.rollout(env, pi, SEGMENT)
        batch = coax.reward_tracing.lambda_transitions(rows, 0.9, 0.95, v(rows.S), v(rows.S_next))
        order = jax.random.permutation(pi.rng, SEGMENT * N).reshape(-1, BATCH)
        halves = jax.tree.map(lambda x: jnp.asarray(x)[order], batch)
        metrics = coax.scan(learn, xs=halves, over=(ppo_clip, simple_td))

        def once_more():
            ppo_clip.update(batch)

        coax.cond(t % EVERY == 0, once_more, lambda: None, over=ppo_clip)
        return metrics["PPOClip/loss"].sum()

    return step, lambda: None, SEGMENT, (env, pi, v, simple_td, ppo_clip)


def sac():
    env = JaxVectorEnv(Pendulum(), N, max_episode_steps=40, random_seed=1)

    def law(S, is_training):
        mu, logvar = jnp.split(network(2)(S), 2, axis=-1)
        return {"mu": mu, "logvar": logvar}

    def value(S, A, is_training):
        return network(1)(jnp.concatenate([S, A], axis=-1)).ravel()

    dist = coax.proba_dists.SquashedNormalDist(env.single_action_space)
    pi = coax.Policy(law, env, proba_dist=dist, random_seed=1)
    qs = coax.Ensemble(coax.Q(value, env), members=2, random_seed=1)
    qs_targ = qs.copy()
    tracer = coax.reward_tracing.DeviceNStep(n=1, gamma=0.9, env=env)
    buffer = coax.experience_replay.DeviceReplayBuffer(256, env, random_seed=1)
    temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(0.01))
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
    critic = coax.td_learning.SoftClippedDoubleQLearning(
        qs, [pi], qs_targ, optimizer=optax.adam(0.01), policy_regularizer=entropy
    )
    soft_pg = coax.policy_objectives.SoftPG(pi, qs, optimizer=optax.adam(0.01), regularizer=entropy)

    def fill():
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A := pi(env.observation))
        buffer.add(*tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask))

    def step(t):
        fill()
        batch = buffer.sample(BATCH)
        metrics = critic.update(batch)

        def delayed():
            soft_pg.update(batch)
            temperature.update(batch)

        coax.cond(t % DELAY == 0, delayed, lambda: None, over=(soft_pg, temperature))
        qs_targ.soft_update(qs, tau=0.1)
        return metrics["SoftClippedDoubleQLearning/loss"]

    return step, fill, 1, (env, pi, qs_targ, tracer, buffer, critic, soft_pg, temperature)


def numbers(states):
    """All leaves of some states; keys as the integers that they are."""

    def leaf(x):
        return np.asarray(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    return jax.tree.map(leaf, dict(enumerate(states)))


def compare(name, found, true, tolerance):
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(true), strict=True):
        where = f"{name}: {jax.tree_util.keystr(path)}"
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=where)


def check(make, steps, tolerance):
    step, fill, length, over = make()
    turns = range(1, steps // length + 1)  # of so many steps each

    def train():
        coax.scan(fill, FIRST, over=over)
        return coax.scan(step, over=over, xs=jnp.array(turns))

    init, apply = coax.transform(train, over=over)
    keys = jax.random.split(jax.random.key(7), 3)
    loss, states = jax.jit(jax.vmap(apply))(jax.vmap(init)(keys))
    fresh = jax.jit(init)(keys[1])
    objs = list(fresh)
    as_seed = numbers(jax.tree.map(lambda x: x[1], [states[obj] for obj in objs]))

    for obj in objs:
        obj.state = fresh[obj]
    compiled = coax.jit(train, over=over)()
    as_scan = numbers(obj.state for obj in objs)

    for obj in objs:
        obj.state = fresh[obj]
    for _ in range(FIRST):
        fill()
    in_python = [step(t) for t in turns]
    as_python = numbers(obj.state for obj in objs)

    compare("seed and scan", as_seed, as_scan, tolerance)
    compare("scan and Python", as_scan, as_python, tolerance)
    np.testing.assert_allclose(compiled, np.stack(in_python), rtol=100 * tolerance, atol=tolerance)
    np.testing.assert_allclose(loss[1], compiled, rtol=100 * tolerance, atol=tolerance)
    assert not np.allclose(loss[0], loss[1])  # another seed is another training


@pytest.mark.full
@pytest.mark.parametrize("make", [dqn, ppo, sac])
def test_100_steps_in_float32(make):
    check(make, 100, 1e-5)


@pytest.mark.full
@pytest.mark.parametrize("make", [dqn, ppo, sac])
def test_1000_steps_in_float64(make):
    with jax.enable_x64(True):
        check(make, 1000, 1e-6)


@pytest.mark.gate
def test_numbers_that_differ_between_seeds():
    env = JaxVectorEnv(CartPole(), N, max_episode_steps=40, random_seed=1)
    q = coax.Q(lambda S, is_training: network(2)(S), env, random_seed=1)
    pi = coax.EpsilonGreedy(q, epsilon=0.3)
    tracer = coax.reward_tracing.DeviceNStep(n=2, gamma=0.9, env=env)
    qlearning = coax.td_learning.QLearning(q, optimizer=optax.inject_hyperparams(optax.adam)(learning_rate=0.5))

    def step():
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A := pi(env.observation))
        qlearning.update(tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask)[0])
        return A

    def train(epsilon, learning_rate, gamma):
        pi.epsilon, tracer.gamma = epsilon, gamma
        optimizer_state = qlearning.optimizer_state
        hyperparams = {**optimizer_state.hyperparams, "learning_rate": learning_rate}
        qlearning.optimizer_state = optimizer_state._replace(hyperparams=hyperparams)
        return coax.scan(step, 20, over=(env, pi, tracer, qlearning))

    init, apply = coax.transform(train, over=(env, pi, tracer, qlearning))
    keys = jax.random.split(jax.random.key(3), 4)
    epsilons, rates, gammas = (
        jnp.array([0.0, 0.3, 0.6, 1.0]),
        jnp.array([0.0, 0.001, 0.005, 0.02]),
        jnp.linspace(0, 1, 4),
    )
    A, states = jax.jit(jax.vmap(apply))(jax.vmap(init)(keys), epsilons, rates, gammas)
    for i in range(4):
        # the same by a policy, a tracer and an optimizer that were made with these numbers
        for obj, state in init(keys[i]).items():
            obj.state = state
        pi.epsilon, tracer.gamma = float(epsilons[i]), float(gammas[i])
        alone = coax.td_learning.QLearning(q, optimizer=optax.adam(float(rates[i])))
        actions = []
        for _ in range(20):
            S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, a := pi(env.observation))
            alone.update(tracer.add(S, a, R, terminated, truncated=truncated, s_next=S_next, mask=mask)[0])
            actions.append(a)
        np.testing.assert_array_equal(A[i], actions)
        params = jax.tree.map(lambda x, i=i: x[i], states[q]["params"])
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), params, q.params)
