"""PPO and DQN on CartPole in the manner of PureJaxRL: the whole training is one function of a key.

Own code, written from what PureJaxRL's programs do (Lu et al., 2022, "Discovered policy optimisation"): gymnax with its
automatic reset and a wrapper that counts returns, flax, optax, distrax and flashbax, and one `jax.lax.scan` around all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import distrax
import flashbax
import flax.linen as nn
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.linen.initializers import constant, orthogonal
from flax.training.train_state import TrainState
from gymnax.wrappers.purerl import LogWrapper

GAMMA = 0.99


class Transition(NamedTuple):
    done: jax.Array
    action: jax.Array
    value: jax.Array
    reward: jax.Array
    log_prob: jax.Array
    obs: jax.Array
    info: Any


class ActorCritic(nn.Module):
    """Two networks, next to each other."""

    hidden: tuple

    @nn.compact
    def __call__(self, x):
        heads = []
        for outputs, scale in ((2, 0.01), (1, 1.0)):
            y = x
            for size in self.hidden:
                y = nn.tanh(nn.Dense(size, kernel_init=orthogonal(np.sqrt(2)), bias_init=constant(0.0))(y))
            heads.append(nn.Dense(outputs, kernel_init=orthogonal(scale), bias_init=constant(0.0))(y))
        return distrax.Categorical(logits=heads[0]), jnp.squeeze(heads[1], axis=-1)


def ppo(num_envs, segment, epochs, minibatches, hidden, steps):
    """The training by PPO, from a key."""
    env, env_params = gymnax.make("CartPole-v1")
    env = LogWrapper(env)
    size = num_envs * segment
    turns = steps // size
    network = ActorCritic(hidden)

    def rate(count):
        return 2.5e-4 * (1.0 - (count // (minibatches * epochs)) / turns)

    def train(rng):
        rng, key = jax.random.split(rng)
        tx = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate=rate, eps=1e-5))
        params = network.init(key, jnp.zeros(env.observation_space(env_params).shape))
        state = TrainState.create(apply_fn=network.apply, params=params, tx=tx)
        rng, key = jax.random.split(rng)
        obs, env_state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), env_params)

        def turn(carry, _):
            def env_step(carry, _):
                state, env_state, last_obs, rng = carry
                rng, key = jax.random.split(rng)
                pi, value = network.apply(state.params, last_obs)
                action = pi.sample(seed=key)
                log_prob = pi.log_prob(action)
                rng, key = jax.random.split(rng)
                obs, env_state, reward, done, info = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
                    jax.random.split(key, num_envs), env_state, action, env_params
                )
                row = Transition(done, action, value, reward, log_prob, last_obs, info)
                return (state, env_state, obs, rng), row

            carry, rows = jax.lax.scan(env_step, carry, None, segment)
            state, env_state, last_obs, rng = carry
            _, last_value = network.apply(state.params, last_obs)
            advantages, targets = gae(rows, last_value)

            def epoch(carry, _):
                def learn(state, batch):
                    grads, _ = jax.grad(ppo_loss, has_aux=True)(state.params, network, *batch)
                    return state.apply_gradients(grads=grads), None

                state, rng = carry
                rng, key = jax.random.split(rng)
                order = jax.random.permutation(key, size)
                batch = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), (rows, advantages, targets))
                batch = jax.tree.map(lambda x: jnp.take(x, order, axis=0), batch)
                batches = jax.tree.map(lambda x: x.reshape(minibatches, -1, *x.shape[1:]), batch)
                return (jax.lax.scan(learn, state, batches)[0], rng), None

            (state, rng), _ = jax.lax.scan(epoch, (state, rng), None, epochs)
            return (state, env_state, last_obs, rng), rows.info

        rng, key = jax.random.split(rng)
        return jax.lax.scan(turn, (state, env_state, obs, key), None, turns)

    return train


def gae(rows, last_value):
    """Advantages and value targets; a truncated episode counts as one that terminated."""

    def backward(carry, row):
        advantage, next_value = carry
        delta = row.reward + GAMMA * next_value * (1 - row.done) - row.value
        advantage = delta + GAMMA * 0.95 * (1 - row.done) * advantage
        return (advantage, row.value), advantage

    _, advantages = jax.lax.scan(backward, (jnp.zeros_like(last_value), last_value), rows, reverse=True, unroll=16)
    return advantages, advantages + rows.value


def ppo_loss(params, network, rows, advantages, targets):
    """Of the policy, of the value (clipped), and of the entropy."""
    pi, value = network.apply(params, rows.obs)
    clipped = rows.value + (value - rows.value).clip(-0.2, 0.2)
    value_loss = 0.5 * jnp.maximum(jnp.square(value - targets), jnp.square(clipped - targets)).mean()
    ratio = jnp.exp(pi.log_prob(rows.action) - rows.log_prob)
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    policy_loss = -jnp.minimum(ratio * advantages, jnp.clip(ratio, 0.8, 1.2) * advantages).mean()
    entropy = pi.entropy().mean()
    return policy_loss + 0.5 * value_loss - 0.01 * entropy, (value_loss, policy_loss, entropy)


# --- DQN --------------------------------------------------------------------------------------------------------------


class QNetwork(nn.Module):
    hidden: tuple

    @nn.compact
    def __call__(self, x):
        for size in self.hidden:
            x = nn.relu(nn.Dense(size)(x))
        return nn.Dense(2)(x)


class DQNState(TrainState):
    target: Any
    taken: Any


def dqn(num_envs, capacity, batch_size, updates, begin, sync, hidden, steps):
    """The training by DQN, from a key."""
    env, env_params = gymnax.make("CartPole-v1")
    env = LogWrapper(env)
    network = QNetwork(hidden)
    buffer = flashbax.make_flat_buffer(
        max_length=capacity,
        min_length=batch_size,
        sample_batch_size=batch_size,
        add_sequences=False,
        add_batch_size=num_envs,
    )
    buffer = buffer.replace(
        init=jax.jit(buffer.init),
        add=jax.jit(buffer.add, donate_argnums=0),
        sample=jax.jit(buffer.sample),
        can_sample=jax.jit(buffer.can_sample),
    )
    step_all = jax.vmap(env.step, in_axes=(0, 0, 0, None))

    def train(rng):
        rng, key = jax.random.split(rng)
        obs, env_state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), env_params)
        _, one_state = env.reset(key, env_params)
        one_obs, _, reward, done, _ = env.step(key, one_state, jnp.int32(0), env_params)
        buffer_state = buffer.init({"obs": one_obs, "action": jnp.int32(0), "reward": reward, "done": done})
        rng, key = jax.random.split(rng)
        params = network.init(key, one_obs)
        state = DQNState.create(
            apply_fn=network.apply,
            params=params,
            target=jax.tree.map(jnp.copy, params),
            tx=optax.adam(2.5e-4),
            taken=0,
        )

        def act(rng, values, taken):
            key_action, key_explore = jax.random.split(rng)
            epsilon = jnp.clip((0.05 - 1.0) / (steps // 2) * taken + 1.0, 0.05)
            random = jax.random.randint(key_action, shape=(num_envs,), minval=0, maxval=2)
            return jnp.where(jax.random.uniform(key_explore, (num_envs,)) < epsilon, random, values.argmax(axis=-1))

        def learn(state, rng, buffer_state):
            pair = buffer.sample(buffer_state, rng).experience
            now, then = pair.first, pair.second
            target = now["reward"] + (1 - now["done"]) * GAMMA * network.apply(state.target, then["obs"]).max(axis=-1)

            def loss(params):
                chosen = jnp.take_along_axis(network.apply(params, now["obs"]), now["action"][:, None], axis=-1)
                return jnp.mean((chosen.squeeze(axis=-1) - target) ** 2)

            value, grads = jax.value_and_grad(loss)(state.params)
            return state.apply_gradients(grads=grads), value

        def turn(carry, _):
            state, buffer_state, env_state, last_obs, rng = carry
            rng, key_act, key_step = jax.random.split(rng, 3)
            action = act(key_act, network.apply(state.params, last_obs), state.taken)
            obs, env_state, reward, done, info = step_all(
                jax.random.split(key_step, num_envs), env_state, action, env_params
            )
            state = state.replace(taken=state.taken + num_envs)
            buffer_state = buffer.add(buffer_state, {"obs": last_obs, "action": action, "reward": reward, "done": done})
            loss = 0.0
            for _ in range(updates):
                rng, key = jax.random.split(rng)
                state, loss = jax.lax.cond(
                    buffer.can_sample(buffer_state) & (state.taken > begin),
                    lambda state, key: learn(state, key, buffer_state),
                    lambda state, key: (state, jnp.float32(0)),
                    state,
                    key,
                )
            state = jax.lax.cond(
                state.taken % sync == 0,
                lambda state: state.replace(target=optax.incremental_update(state.params, state.target, 1.0)),
                lambda state: state,
                state,
            )
            report = {"taken": state.taken, "loss": loss, "returns": info["returned_episode_returns"].mean()}
            return (state, buffer_state, env_state, obs, rng), report

        rng, key = jax.random.split(rng)
        return jax.lax.scan(turn, (state, buffer_state, env_state, obs, key), None, steps // num_envs)

    return train
