"""What a good JAX programmer would write without coax, in the plain style: the other column of the benchmark.

Keys are folded from a counter inside the compiled function, NumPy goes straight into it, all numbers to report come out
as one array, and a step whose gradients are not finite changes nothing. Buffers are donated only where it says so.
"""

from __future__ import annotations

import functools
from collections import deque

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax


def mlp(S, is_training=False):
    """Action values for CartPole: f32[B, 2]."""
    return hk.Sequential([hk.Linear(64), jax.nn.relu, hk.Linear(64), jax.nn.relu, hk.Linear(2)])(S)


def table(S, A, is_training=False):
    """Values of one-hot states and actions: f32[B]."""
    return hk.Sequential([hk.Linear(1, w_init=jnp.zeros), jnp.ravel])(jax.vmap(jnp.kron)(S, A))


# --- networks: values of all actions, f32[B, A], and of one, f32[B], from raw observations and actions ----------------


class Network:
    """Pure functions of parameters."""

    def __init__(self, init, values, value):
        self.init, self.values, self.value = init, values, value


def cartpole_network(env):
    forward = hk.without_apply_rng(hk.transform(mlp))
    low, high = env.observation_space.low, env.observation_space.high

    def values(params, S):
        return forward.apply(params, jnp.clip(S, low, high))

    def value(params, S, A):
        return jnp.take_along_axis(values(params, S), A[:, None], axis=1)[:, 0]

    return Network(lambda key: forward.init(key, jnp.zeros((1, 4))), values, value)


def frozen_lake_network(env):
    forward = hk.without_apply_rng(hk.transform(table))
    n_states, n_actions = int(env.observation_space.n), int(env.action_space.n)

    def values(params, S):
        states = jnp.repeat(jax.nn.one_hot(S, n_states), n_actions, axis=0)
        actions = jnp.tile(jnp.eye(n_actions), (S.shape[0], 1))
        return forward.apply(params, states, actions).reshape(-1, n_actions)

    def value(params, S, A):
        return forward.apply(params, jax.nn.one_hot(S, n_states), jax.nn.one_hot(A, n_actions))

    def init(key):
        return forward.init(key, jnp.zeros((1, n_states)), jnp.zeros((1, n_actions)))

    return Network(init, values, value)


# --- acting -----------------------------------------------------------------------------------------------------------


def epsilon_greedy(q, epsilon, key):
    u = jax.random.uniform(key, (2,))
    return jnp.where(u[0] < epsilon, (u[1] * q.shape[-1]).astype(jnp.int32), jnp.argmax(q))


def boltzmann(q, temperature, key):
    return jax.random.categorical(key, q / temperature)


def make_values(network):
    return jax.jit(lambda params, s: network.values(params, s[None])[0])


def make_act(network, explore):
    @jax.jit
    def act(params, number, key, count, s):
        return explore(network.values(params, s[None])[0], number, jax.random.fold_in(key, count))

    return act


# --- learning ---------------------------------------------------------------------------------------------------------


def step(network, optimizer, params, target, optimizer_state, batch):
    """One step of Q-learning with Huber's loss: new parameters, optimizer state, f32[5] to report."""
    S, A, Rn, In, S_next, W = batch
    goal = Rn + In * network.values(target, S_next).max(axis=-1)

    def cost(params):
        error = goal - network.value(params, S, A)
        return jnp.mean(W * optax.losses.huber_loss(error)), error

    (loss, error), grads = jax.value_and_grad(cost, has_aux=True)(params)
    leaves = jax.tree.leaves(grads)
    fine = jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
    updates, new_state = optimizer.update(grads, optimizer_state, params)
    new = optax.apply_updates(params, updates), new_state
    new = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, (params, optimizer_state))
    biggest = jnp.stack([jnp.abs(leaf).max() for leaf in leaves]).max()
    td_error = jnp.mean(W * jnp.clip(error, -1, 1))
    return *new, jnp.stack([loss, td_error, biggest, optax.global_norm(grads), fine])


def make_update(network, optimizer, donate=False):
    """``update(params, optimizer_state, target, batch)``, compiled."""

    @functools.partial(jax.jit, donate_argnums=(0, 1) if donate else ())
    def update(params, optimizer_state, target, batch):
        return step(network, optimizer, params, target, optimizer_state, batch)

    return update


def make_online_update(network, optimizer):
    """``update(params, optimizer_state, batch)`` without a target network, compiled."""

    @jax.jit
    def update(params, optimizer_state, batch):
        return step(network, optimizer, params, params, optimizer_state, batch)

    return update


def make_dqn_update(network, optimizer, tau, donate=False):
    """The same, and the target network trails behind: one dispatch for both."""

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2) if donate else ())
    def update(params, optimizer_state, target, batch):
        params, optimizer_state, report = step(network, optimizer, params, target, optimizer_state, batch)
        return params, optimizer_state, optax.incremental_update(params, target, tau), report

    return update


# --- data -------------------------------------------------------------------------------------------------------------


class Ring:
    """The last transitions, as rows of NumPy arrays."""

    def __init__(self, capacity, seed=0):
        self.S, self.S_next = np.zeros((capacity, 4), np.float32), np.zeros((capacity, 4), np.float32)
        self.A, self.Rn, self.In = np.zeros(capacity, np.int64), *np.zeros((2, capacity), np.float32)
        self.capacity, self.n, self.rng = capacity, 0, np.random.default_rng(seed)

    def add(self, s, a, r, in_, s_next):
        i = self.n % self.capacity
        self.S[i], self.A[i], self.Rn[i], self.In[i], self.S_next[i] = s, a, r, in_, s_next
        self.n += 1

    def sample(self, size):
        i = self.rng.integers(min(self.n, self.capacity), size=size)
        return self.S[i], self.A[i], self.Rn[i], self.In[i], self.S_next[i]


class NStepDeque:
    """Transitions over n steps, as rows of length 1; no checks, no truncation, no extras."""

    def __init__(self, n, gamma):
        self.n, self.gamma, self.steps, self.powers = n, gamma, deque(), [gamma**k for k in range(n)]

    def add(self, s, a, r, done):
        self.steps.append((s, a, r))

    def pop(self):
        s_next, a_next, _ = self.steps[-1]
        s, a, _ = self.steps[0]
        rn = 0.0
        for power, (_, _, r) in zip(self.powers, self.steps, strict=False):
            rn += power * r
        self.steps.popleft()
        one = np.float32
        return (
            s[None],
            np.array([a]),
            np.array([rn], one),
            np.array([self.gamma**self.n], one),
            s_next[None],
            np.array([a_next]),
        )
