"""A user's programs in all three gears, fully annotated: ``tests/test_typing.py`` checks their types strictly.

It runs too: ``python -m tests.typed_program``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax
from coax.typing import Array, Key, Metrics, Params

STEPS = int(os.environ.get("COAX_STEPS", 300))


def q_func(S: jax.Array, is_training: bool) -> jax.Array:
    values: jax.Array = hk.Sequential([hk.Linear(8), jax.nn.relu, hk.Linear(2)])(S)
    return values


def v_func(S: jax.Array, is_training: bool) -> jax.Array:
    value: jax.Array = hk.Sequential([hk.Linear(8), jax.nn.relu, hk.Linear(1), jnp.ravel])(S)
    return value


def pi_func(S: jax.Array, is_training: bool) -> dict[str, jax.Array]:
    return {"logits": hk.Linear(2)(S)}


class Last(coax.sinks.Sink):
    """A sink of one's own."""

    T: int = 0

    def write(self, T: int, numbers: Any, metrics: Any) -> None:
        self.T = T


class Walk(coax.envs.FunctionalEnv):
    """An environment of one's own."""

    observation_space = gymnasium.spaces.Discrete(11)
    action_space = gymnasium.spaces.Discrete(2)
    max_episode_steps = 100

    def reset(self, key: Key) -> tuple[jax.Array, jax.Array]:
        s = jnp.int32(5)
        return s, s

    def step(self, state: Any, action: Any, key: Key) -> coax.envs.Outcome:
        s = state + 2 * action - 1
        return coax.envs.Outcome(s, s, reward=1.0 * (s == 10), terminated=(s == 0) | (s == 10))


def python_loop(folder: Path) -> float:
    """DQN with a replay buffer and a target network, and what is saved of it."""
    last = Last()
    csv = coax.sinks.CSV(folder / "log.csv")
    env = coax.wrappers.TrainMonitor(gymnasium.make("CartPole-v1"), sinks=[last, csv])
    q = coax.Q(q_func, env, random_seed=1)
    q_targ: coax.Q = q.copy()
    pi = coax.EpsilonGreedy(q, epsilon=0.1)
    schedule = coax.utils.StepwiseLinearFunction((0, 1.0), (STEPS, 0.1))
    tracer = coax.reward_tracing.NStep(n=2, gamma=0.99)
    buffer = coax.experience_replay.SimpleReplayBuffer(capacity=1000, random_seed=1)
    optimizer: optax.GradientTransformation = optax.adam(0.01)
    loss: Callable[..., jax.Array] = coax.value_losses.mse
    qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optimizer, loss_function=loss)

    s = env.reset(seed=1)[0]
    while env.T < STEPS:
        pi.epsilon = float(schedule(env.T))
        a: int = pi(s)
        s_next, r, terminated, truncated, _ = env.step(a)
        tracer.add(s, a, float(r), terminated, truncated=truncated, s_next=s_next)
        while tracer:
            batch: coax.reward_tracing.TransitionBatch = tracer.pop()
            buffer.add(batch)
        if len(buffer) >= 32:
            metrics: Metrics = qlearning.update(buffer.sample(16))
            env.record_metrics(metrics)
            q_targ.soft_update(q, tau=0.1)
        s = s_next
        if terminated or truncated:
            s = env.reset()[0]

    path = folder / "checkpoint.safetensors"
    coax.save(path, q=q, q_targ=q_targ, qlearning=qlearning, buffer=buffer)
    coax.load(path, q=q, q_targ=q_targ, qlearning=qlearning, buffer=buffer)
    params: Params = q.params
    values: Array = q(s)
    found = coax.training.evaluate(env.unwrapped, pi.mode, episodes=1, seed=2)
    env.close()
    return float(values[0]) + len(params) + float(found.returns.mean()) + last.T


def vector_loop() -> float:
    """PPO over several environments, with entropy."""
    made = gymnasium.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync")
    env = coax.wrappers.TrainMonitor(coax.wrappers.NormalizeObservation(made))
    pi = coax.Policy(pi_func, env, random_seed=1)
    v = coax.V(v_func, env, random_seed=1)
    tracer = coax.reward_tracing.LambdaReturn(n=8, gamma=0.99, lambda_=0.95, v=v, num_envs=4)
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.01)
    ppo = coax.policy_objectives.PPOClip(pi, regularizer=entropy, optimizer=optax.adam(0.01))
    simple_td = coax.td_learning.SimpleTD(v, optimizer=optax.adam(0.01))
    env.reset(seed=1)
    loss = 0.0
    while env.T < STEPS:
        A, logP = pi(env.observation, return_logp=True)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
        tracer.add(S, A, R, terminated, logP, truncated=truncated, s_next=S_next, mask=mask)
        if tracer:
            batch = tracer.flush()
            env.record_metrics(merged := ppo.update(batch) | simple_td.update(batch))
            loss = merged["PPOClip/loss"]
    return float(loss)


def mean_and_variance(S: jax.Array, is_training: bool) -> dict[str, jax.Array]:
    return {"mu": hk.Linear(1)(S), "logvar": hk.Linear(1)(S)}


def value_of_action(S: jax.Array, A: jax.Array, is_training: bool) -> jax.Array:
    value: jax.Array = hk.Linear(1)(jnp.concatenate([S, A], axis=-1)).ravel()
    return value


def continuous_actions() -> float:
    """SAC with a temperature that is learned."""
    env = coax.wrappers.TrainMonitor(gymnasium.make("Pendulum-v1"))
    dist = coax.proba_dists.SquashedNormalDist(env.action_space)
    pi = coax.Policy(mean_and_variance, env, proba_dist=dist, random_seed=1)
    q1, q2 = (coax.Q(value_of_action, env, random_seed=seed) for seed in (1, 2))
    q_targs: list[coax.Q] = [q1.copy(), q2.copy()]
    temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(0.001))
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
    critic = coax.td_learning.ClippedDoubleQLearning(
        q1, pi_targ_list=[pi], q_targ_list=q_targs, optimizer=optax.adam(0.001), policy_regularizer=entropy
    )
    actor = coax.policy_objectives.SoftPG(pi, [q1, q2], optimizer=optax.adam(0.001), regularizer=entropy)
    batch = coax.reward_tracing.get_transition_batch(env, batch_size=8, gamma=0.99, random_seed=1)
    metrics: Metrics = critic.update(batch) | actor.update(batch) | temperature.update(batch)
    return float(sum(metrics.values()))


def compiled_loop() -> np.ndarray:
    """Q-learning over environments inside JAX, for several seeds at once."""
    env = coax.envs.JaxVectorEnv(coax.envs.FrozenLake(is_slippery=False), num_envs=4)
    q = coax.Q(lambda S, is_training: hk.Linear(4)(S), env, random_seed=1)
    pi = coax.EpsilonGreedy(q, epsilon=0.1)
    tracer = coax.reward_tracing.DeviceNStep(n=1, gamma=0.9, env=env)
    buffer = coax.experience_replay.DeviceReplayBuffer(capacity=1000, example=env, random_seed=1)
    qlearning = coax.td_learning.QLearning(q, optimizer=optax.sgd(0.5))
    objects = (env, pi, tracer, buffer, qlearning)

    @coax.jit(over=qlearning)
    def learn(batch: coax.reward_tracing.TransitionBatch) -> jax.Array:
        metrics, td_error = qlearning.update(batch, return_td_error=True)
        loss: jax.Array = metrics["QLearning/loss"]
        return loss + td_error.mean()

    def step(t: jax.Array) -> jax.Array:
        A = pi(env.observation)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
        batch, valid = tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask)
        buffer.add(batch, valid)
        sample = buffer.sample(4)
        cost = coax.cond(t % 4 == 3, lambda: learn(sample), lambda: jnp.zeros(()), over=qlearning)
        mean: jax.Array = R.mean() + cost
        return mean

    def train() -> jax.Array:
        rewards: jax.Array = coax.scan(step, over=objects, xs=jnp.arange(STEPS // 10))
        return rewards

    init, apply = coax.transform(train, over=objects)
    keys = jax.random.split(jax.random.key(1), 2)
    rewards, states = jax.vmap(apply)(jax.vmap(init)(keys))
    coax.check(states)
    return np.asarray(rewards)


def by_hand() -> float:
    """The mathematics alone, and an environment of one's own."""
    walks = coax.envs.JaxVectorEnv(Walk(), num_envs=3, random_seed=1)
    target: Array = coax.td_learning.greedy_value(jnp.ones((2, 3)))
    rewards, steps = np.ones(4, np.float32), np.full(4, 0.9, np.float32)
    G: Array = coax.returns.discounted_returns(rewards, steps, cut=np.zeros(4, bool))
    bins = coax.proba_dists.CategoricalDist(gymnasium.spaces.Discrete(3))
    x: jax.Array = bins.sample({"logits": jnp.zeros((1, 3))}, jax.random.key(1))
    state: dict[str, Any] = walks.state
    return float(target.sum()) + float(G[0]) + float(x.sum()) + len(state)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(python_loop(Path(folder)))
    print(vector_loop(), continuous_actions(), compiled_loop().mean(), by_hand())


if __name__ == "__main__":
    main()
