"""A whole step of SAC on Pendulum, with coax and by hand: critics, actor, temperature and target networks."""

from __future__ import annotations

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax
import coax.policy_objectives
import coax.regularizers
import coax.td_learning
from coax.reward_tracing import TransitionBatch

BATCH, GAMMA, TAU, RATE = 256, 0.99, 0.005, 1e-3


def hidden(X):
    return hk.Sequential([hk.Linear(256), jax.nn.relu, hk.Linear(256), jax.nn.relu])(X)


def policy(S, is_training=False):
    mu, logvar = jnp.split(hk.Linear(2)(hidden(S)), 2, axis=-1)
    return {"mu": mu, "logvar": logvar}


def value(S, A, is_training=False):
    return hk.Linear(1)(hidden(jnp.concatenate([S, A], axis=-1))).ravel()


def fields():
    rng = np.random.default_rng(0)
    S, S_next = rng.uniform(-1, 1, (2, BATCH, 3)).astype(np.float32)
    A = rng.uniform(-2, 2, (BATCH, 1)).astype(np.float32)
    return S, A, rng.normal(size=BATCH).astype(np.float32), np.full(BATCH, GAMMA, np.float32), S_next


def sac_step(fused):
    """``update`` of coax and by hand, and how to wait for what is still running."""
    mine, metrics = with_coax(fused)
    other, report = by_hand()
    return mine, other, lambda: jax.block_until_ready((metrics, report))


def with_coax(fused):
    env, kept = gymnasium.make("Pendulum-v1"), []
    pi = coax.Policy(policy, env, proba_dist=coax.proba_dists.SquashedNormalDist(env.action_space), random_seed=1)
    qs = coax.Ensemble(coax.Q(value, env), members=2, random_seed=1)
    targ = qs.copy()
    temperature = coax.regularizers.LearnedTemperature(pi, optimizer=optax.adam(RATE))
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=temperature)
    critic = coax.td_learning.SoftClippedDoubleQLearning(
        qs, [pi], targ, optimizer=optax.adam(RATE), loss_function=coax.value_losses.mse, policy_regularizer=entropy
    )
    actor = coax.policy_objectives.SoftPG(pi, qs, optimizer=optax.adam(RATE), regularizer=entropy)

    def learn(batch):
        metrics = {**critic.update(batch), **actor.update(batch), **temperature.update(batch)}
        targ.soft_update(qs, tau=TAU)
        return metrics

    if fused:
        learn = coax.jit(learn, over=(critic, actor, temperature, targ))
    S, A, Rn, In, S_next = fields()
    batch = TransitionBatch(S, A, np.zeros(BATCH, np.float32), Rn, In, S_next)

    def step():
        kept[:] = [learn(batch)]

    return step, kept


def by_hand():
    """The same in plain JAX: one compiled function, with the sampled estimate of the entropy that most programs use."""
    actor_net = hk.without_apply_rng(hk.transform(policy))
    critic_net = hk.without_apply_rng(hk.transform(value))
    keys = jax.random.split(jax.random.key(1), 3)
    one = fields()
    actor = jax.jit(actor_net.init)(keys[0], one[0][:1])
    critics = jax.jit(jax.vmap(lambda key: critic_net.init(key, one[0][:1], one[1][:1])))(keys[1:])
    targets = jax.tree.map(jnp.copy, critics)
    log_alpha = jnp.zeros(())
    adam = optax.adam(RATE)
    optimizer_states = tuple(jax.jit(adam.init)(x) for x in (actor, critics, log_alpha))
    q = jax.vmap(critic_net.apply, in_axes=(0, None, None))

    def act(params, S, key):
        out = actor_net.apply(params, S)
        logvar = jnp.clip(out["logvar"], -20, 4)
        noise = jax.random.normal(key, out["mu"].shape)
        y = out["mu"] + jnp.exp(logvar / 2) * noise
        slope = 2 * (jnp.log(2.0) - y - jax.nn.softplus(-2 * y)) + jnp.log(2.0)
        logp = -0.5 * (noise**2 + logvar + jnp.log(2 * jnp.pi)) - slope
        return 2 * jnp.tanh(y), logp.sum(axis=-1)

    def stepped(grads, params, state):
        fine = jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(grads)]).all()
        updates, new_state = adam.update(grads, state, params)
        new = optax.apply_updates(params, updates), new_state
        biggest = jnp.stack([jnp.abs(x).max() for x in jax.tree.leaves(grads)]).max()
        kept = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, (params, state))
        return *kept, jnp.stack([biggest, optax.global_norm(grads)])

    @jax.jit
    def update(actor, critics, targets, log_alpha, states, key, count, batch):
        S, A, Rn, In, S_next = batch
        key_next, key_now = jax.random.split(jax.random.fold_in(key, count))
        alpha = jnp.exp(log_alpha)
        A_next, logp_next = act(actor, S_next, key_next)
        goal = Rn + In * (q(targets, S_next, A_next).min(axis=0) - alpha * logp_next)

        def critic_cost(params):
            return 0.5 * jnp.mean((q(params, S, A) - goal) ** 2, axis=1).sum()

        critic_loss, grads = jax.value_and_grad(critic_cost)(critics)
        critics, critic_state, r1 = stepped(grads, critics, states[1])

        def actor_cost(params):
            a, logp = act(params, S, key_now)
            return jnp.mean(alpha * logp - q(critics, S, a).min(axis=0)), logp

        (actor_loss, logp), grads = jax.value_and_grad(actor_cost, has_aux=True)(actor)
        actor, actor_state, r2 = stepped(grads, actor, states[0])
        alpha_loss, grad = jax.value_and_grad(lambda x: jnp.exp(x) * jnp.mean(-logp + 1.0))(log_alpha)
        log_alpha, alpha_state, r3 = stepped(grad, log_alpha, states[2])
        targets = optax.incremental_update(critics, targets, TAU)
        report = jnp.concatenate([jnp.stack([critic_loss, actor_loss, alpha_loss]), r1, r2, r3])
        return actor, critics, targets, log_alpha, (actor_state, critic_state, alpha_state), report

    key, count, batch, kept = jax.random.key(2), 0, one, []

    def step():
        nonlocal actor, critics, targets, log_alpha, optimizer_states, count
        count += 1
        actor, critics, targets, log_alpha, optimizer_states, report = update(
            actor, critics, targets, log_alpha, optimizer_states, key, np.uint32(count), batch
        )
        kept[:] = [report]

    return step, kept
