"""Whole steps of a training loop, with coax and by hand."""

from __future__ import annotations

import logging

import gymnasium
import jax
import numpy as np
import optax

import coax
import coax.envs
import coax.experience_replay
import coax.reward_tracing
import coax.td_learning
import coax.wrappers

from . import by_hand

RATE, GAMMA, TAU, BATCH_SIZE = 0.001, 0.99, 0.01, 32


def cartpole():
    return gymnasium.make("CartPole-v1")


def params_by_hand(network):
    return jax.jit(network.init)(jax.random.key(1))


def frozen_lake_step():
    return coax_frozen_lake_step(), frozen_lake_step_by_hand()


def coax_frozen_lake_step():
    env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"), level=logging.WARNING)
    q = coax.Q(by_hand.table, env, random_seed=1)
    pi = coax.BoltzmannPolicy(q, temperature=0.1)
    qlearning = coax.td_learning.QLearning(q, optimizer=optax.adam(0.02))
    tracer = coax.reward_tracing.NStep(n=1, gamma=0.9)
    s, _ = env.reset(seed=1)

    def step():
        nonlocal s
        a = pi(s)
        s_next, r, terminated, truncated, _ = env.step(a)
        tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
        while tracer:
            env.record_metrics(qlearning.update(tracer.pop()))
        s = env.reset()[0] if terminated or truncated else s_next

    return step


def frozen_lake_step_by_hand():
    env = gymnasium.make("FrozenLake-v1", is_slippery=False, max_episode_steps=20)
    network, optimizer, key = by_hand.frozen_lake_network(env), optax.adam(0.02), jax.random.key(1)
    params = params_by_hand(network)
    optimizer_state = jax.jit(optimizer.init)(params)
    act, update = by_hand.make_act(network, by_hand.boltzmann), by_hand.make_online_update(network, optimizer)
    temperature, weight, count, reports = np.float32(0.1), np.ones(1, np.float32), 0, []
    s, _ = env.reset(seed=1)

    def step():
        nonlocal s, params, optimizer_state, count, reports
        count += 1
        a = np.asarray(act(params, temperature, key, np.uint32(count), np.int64(s))).item()
        s_next, r, terminated, truncated, _ = env.step(a)
        Rn, In = np.array([[r], [0.0 if terminated else 0.9]], np.float32)
        batch = (np.array([s]), np.array([a]), Rn, In, np.array([s_next]), weight)
        params, optimizer_state, report = update(params, optimizer_state, batch)
        reports.append(report)
        s = s_next
        if terminated or truncated:
            np.mean(jax.device_get(reports), axis=0)
            reports, (s, _) = [], env.reset()

    return step


def dqn_step(fused=False, donate=False):
    return coax_dqn_step(fused), dqn_step_by_hand(donate)


def dqn_parts(env, fused, num_envs=None):
    """Policy, tracer, buffer, and what learns from a batch."""
    q = coax.Q(by_hand.mlp, env, random_seed=1)
    q_targ, pi = q.copy(), coax.EpsilonGreedy(q, epsilon=0.1)
    qlearning = coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.adam(RATE))
    tracer = coax.reward_tracing.NStep(n=1, gamma=GAMMA, num_envs=num_envs)
    buffer = coax.experience_replay.SimpleReplayBuffer(capacity=10_000, random_seed=1)

    def learn(batch):
        metrics = qlearning.update(batch)
        q_targ.soft_update(q, tau=TAU)
        return metrics

    return pi, tracer, buffer, coax.jit(learn, over=(qlearning, q_targ)) if fused else learn


def coax_dqn_step(fused, update_every=1):
    env = coax.wrappers.TrainMonitor(cartpole(), level=logging.WARNING)
    pi, tracer, buffer, learn = dqn_parts(env, fused)
    s, _ = env.reset(seed=1)
    t = 0

    def step():
        nonlocal s, t
        t += 1
        a = pi(s)
        s_next, r, terminated, truncated, _ = env.step(a)
        tracer.add(s, a, r, terminated, truncated=truncated, s_next=s_next)
        while tracer:
            buffer.add(tracer.pop())
        if len(buffer) >= BATCH_SIZE and t % update_every == 0:
            env.record_metrics(learn(buffer.sample(BATCH_SIZE)))
        s = env.reset()[0] if terminated or truncated else s_next

    return step


def vector_dqn_step():
    """One step of each of eight environments, and one update."""
    env = gymnasium.make_vec("CartPole-v1", num_envs=8, vectorization_mode="sync")
    env = coax.wrappers.TrainMonitor(env, level=logging.WARNING)
    pi, tracer, buffer, learn = dqn_parts(env, fused=True, num_envs=8)
    env.reset(seed=1)

    def step():
        A = pi(env.observation)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
        tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask)
        if tracer:
            buffer.add(tracer.flush())
        if len(buffer) >= BATCH_SIZE:
            env.record_metrics(learn(buffer.sample(BATCH_SIZE)))

    return step


def eight_or_one(update_every):
    """Eight steps: of eight environments, and of one after the other."""
    one = coax_dqn_step(fused=True, update_every=update_every)

    def steps():
        for _ in range(8):
            one()

    return vector_dqn_step(), steps


def dqn_step_by_hand(donate):
    env, ring, weights = cartpole(), by_hand.Ring(10_000), np.ones(BATCH_SIZE, np.float32)
    network, optimizer, key = by_hand.cartpole_network(env), optax.adam(RATE), jax.random.key(1)
    params = params_by_hand(network)
    target = jax.tree.map(lambda x: jax.device_put(x, may_alias=False), params)
    optimizer_state = jax.jit(optimizer.init)(params)
    act = by_hand.make_act(network, by_hand.epsilon_greedy)
    update = by_hand.make_dqn_update(network, optimizer, TAU, donate)
    epsilon, count = np.float32(0.1), 0
    s, _ = env.reset(seed=1)

    def step():
        nonlocal s, params, optimizer_state, target, count
        count += 1
        a = np.asarray(act(params, epsilon, key, np.uint32(count), s)).item()
        s_next, r, terminated, truncated, _ = env.step(a)
        ring.add(s, a, r, 0.0 if terminated else GAMMA, s_next)
        rows = (*ring.sample(BATCH_SIZE), weights)
        params, optimizer_state, target, _ = update(params, optimizer_state, target, rows)
        s = env.reset()[0] if terminated or truncated else s_next

    return step
