"""Calls of functions with distributions as output, with coax and by hand."""

from __future__ import annotations

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

import coax

from .steps import cartpole

BINS = 51


def hidden(S):
    return hk.Sequential([hk.Linear(64), jax.nn.relu, hk.Linear(64), jax.nn.relu])(S)


def logits_of_actions(S, is_training=False):
    return {"logits": hk.Linear(2)(hidden(S))}


def gaussian(S, is_training=False):
    x = hidden(S)
    return {"mu": hk.Linear(1)(x), "logvar": hk.Linear(1)(x)}


def logits_of_bins(S, is_training=False):
    return {"logits": hk.Linear(2 * BINS)(hidden(S)).reshape(-1, 2, BINS)}


def compiled_by_hand(func, env, read):
    """``call(s)`` of a network whose output ``read(out, key)`` turns into what is asked for."""
    low, high = env.observation_space.low, env.observation_space.high
    forward = hk.without_apply_rng(hk.transform(func))
    params = jax.jit(forward.init)(jax.random.key(1), jnp.zeros((1, *low.shape)))

    @jax.jit
    def call(params, key, count, S):
        return read(forward.apply(params, jnp.clip(S, low, high)), jax.random.fold_in(key, count))

    key, count = jax.random.key(1), 0

    def compiled(S):
        nonlocal count
        count += 1
        return call(params, key, np.uint32(count), S)

    return compiled


def action(out, key):
    return jax.random.categorical(key, out["logits"])


def action_and_logp(out, key):
    a = jax.random.categorical(key, out["logits"])
    return a, jnp.take_along_axis(jax.nn.log_softmax(out["logits"]), a[:, None], axis=1)[:, 0]


def discrete_policy(with_logp, rows=None):
    """``pi(s)`` over two actions; for a batch with `rows`."""
    env = cartpole()
    s = np.full((4,) if rows is None else (rows, 4), 0.1, np.float32)
    pi = coax.Policy(logits_of_actions, env, random_seed=1)
    call = compiled_by_hand(logits_of_actions, env, action_and_logp if with_logp else action)

    def other():
        out = call(s if rows else s[None])
        if rows:
            return tuple(map(np.asarray, out)) if with_logp else np.asarray(out)
        return (int(out[0][0]), np.asarray(out[1])[0]) if with_logp else np.asarray(out).item()

    return lambda: pi(s, return_logp=with_logp), other


def box_policy():
    """``pi(s, return_logp=True)`` over a Box."""
    env = gymnasium.make("Pendulum-v1")
    low, high = env.action_space.low, env.action_space.high
    s = np.full(3, 0.1, np.float32)
    pi = coax.Policy(gaussian, env, random_seed=1)

    def read(out, key):
        mu, logvar = out["mu"], jnp.clip(out["logvar"], -20, 20)
        noise = jax.random.normal(key, mu.shape)
        logp = -0.5 * jnp.sum(jnp.square(noise) + logvar + jnp.log(2 * jnp.pi), axis=-1)
        return low + (high - low) * jax.nn.sigmoid(mu + jnp.exp(logvar / 2) * noise), logp

    call = compiled_by_hand(gaussian, env, read)

    def other():
        a, logp = call(s[None])
        return np.asarray(a)[0], np.asarray(logp)[0]

    return lambda: pi(s, return_logp=True), other


def mean_of_bins():
    """``q.mean(s)`` of a categorical q-function, for all actions."""
    env = cartpole()
    s = np.full(4, 0.1, np.float32)
    q = coax.StochasticQ(logits_of_bins, env, value_range=(0, 500), num_bins=BINS, random_seed=1)
    width = 500 / BINS
    atoms = np.arange(width / 2, 500, width, dtype=np.float32)
    low, high = env.observation_space.low, env.observation_space.high
    forward = hk.without_apply_rng(hk.transform(logits_of_bins))
    params = jax.jit(forward.init)(jax.random.key(1), jnp.zeros((1, 4)))

    @jax.jit
    def call(params, S):
        return jax.nn.softmax(forward.apply(params, jnp.clip(S, low, high))["logits"]) @ atoms

    return lambda: q.mean(s), lambda: np.asarray(call(params, s[None]))[0]
