"""From the start of the interpreter to the first update, written by hand: Q-learning on FrozenLake."""

import time

import gymnasium
import jax
import numpy as np
import optax

from . import by_hand

print("import", time.monotonic())

env = gymnasium.make("FrozenLake-v1", is_slippery=False, max_episode_steps=20)
network = by_hand.frozen_lake_network(env)
optimizer = optax.adam(0.02)
key = jax.random.key(1)
params = jax.jit(network.init)(key)
optimizer_state = jax.jit(optimizer.init)(params)
act = by_hand.make_act(network, by_hand.boltzmann)
update = by_hand.make_online_update(network, optimizer)
print("construction", time.monotonic())

s, info = env.reset(seed=1)
a = int(act(params, np.float32(0.1), key, np.uint32(1), np.int64(s)))
print("first action", time.monotonic())

s_next, r, terminated, truncated, info = env.step(a)
a_next = int(act(params, np.float32(0.1), key, np.uint32(2), np.int64(s_next)))
row = (np.float32(r), np.float32(0 if terminated else 0.9))
batch = (np.array([s]), np.array([a]), row[0][None], row[1][None], np.array([s_next]), np.ones(1, np.float32))
params, optimizer_state, report = update(params, optimizer_state, batch)
float(report[0])
print("first update", time.monotonic())
