"""PPO and DQN on CartPole with Rejax, without its evaluations."""

from __future__ import annotations

import flax.linen as nn
import gymnax
import jax.numpy as jnp
import rejax
from rejax.networks import DiscretePolicy, DiscreteQNetwork, EpsilonGreedyPolicy, VNetwork


def ppo(num_envs, segment, epochs, minibatches, hidden, steps):
    """The training by PPO, from a key."""
    network = {"hidden_layer_sizes": hidden, "activation": nn.tanh}
    return training(
        rejax.PPO,
        {"actor": DiscretePolicy(2, **network), "critic": VNetwork(**network)},
        steps,
        num_envs=num_envs,
        num_steps=segment,
        num_epochs=epochs,
        num_minibatches=minibatches,
        learning_rate=2.5e-4,
        max_grad_norm=0.5,
        gamma=0.99,
        gae_lambda=0.95,
        clip_eps=0.2,
        vf_coef=0.5,
        ent_coef=0.01,
    )


def dqn(num_envs, capacity, batch_size, updates, begin, sync, hidden, steps):
    """The training by DQN, from a key."""
    network = EpsilonGreedyPolicy(DiscreteQNetwork)(hidden_layer_sizes=hidden, activation=nn.relu, action_dim=2)
    return training(
        rejax.DQN,
        {"agent": network},
        steps,
        num_envs=num_envs,
        num_epochs=updates,
        buffer_size=capacity,
        fill_buffer=begin,
        batch_size=batch_size,
        target_update_freq=sync,
        polyak=0.0,
        ddqn=False,
        exploration_fraction=0.5,
        learning_rate=2.5e-4,
        gamma=0.99,
    )


def training(algorithm, networks, steps, **settings):
    env, params = gymnax.make("CartPole-v1")
    algorithm = algorithm.create(
        env=env,
        env_params=params,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
        **settings,
    )
    return algorithm.replace(eval_callback=lambda algorithm, state, rng: jnp.zeros(()), **networks).train
