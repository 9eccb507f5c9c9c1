"""PPO and DQN on CartPole with coax: loops to be compiled, or run as they are."""

from __future__ import annotations

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coax
import coax.envs
import coax.experience_replay
import coax.policy_objectives
import coax.regularizers
import coax.reward_tracing
import coax.td_learning
import coax.training
import coax.value_losses

GAMMA = 0.99


class Loop:
    """A loop and what it uses.

    Attributes
    ----------
    turn : callable
        One turn of the loop. Returns the rewards and the ends of episodes in it.
    turns : int
        How many make one training.
    over : tuple of coax.Stateful
    steps : int
        Steps of all environments in a turn.
    """

    def __init__(self, turn, turns, over, steps, xs=None):
        self.turn, self.turns, self.over, self.steps, self.xs = turn, turns, over, steps, xs


def compiled(loop):
    """A training from a key: everything begins anew."""

    def everything():
        return coax.scan(loop.turn, loop.turns, over=loop.over, xs=loop.xs)

    init, apply = coax.transform(everything, over=loop.over)
    return lambda key: apply(init(key))


def mlp(sizes, activation, outputs, scale=1.0):
    def forward(S):
        layers = []
        for size in sizes:
            layers += [hk.Linear(size, w_init=hk.initializers.Orthogonal(np.sqrt(2))), activation]
        return hk.Sequential([*layers, hk.Linear(outputs, w_init=hk.initializers.Orthogonal(scale))])(S)

    return forward


# --- PPO --------------------------------------------------------------------------------------------------------------


def ppo(num_envs, segment, epochs, minibatches, hidden, steps, unjitted=False):
    """The loop of PPO: in each turn one segment is played, and learned from several times over."""
    size, batch_size = num_envs * segment, num_envs * segment // minibatches
    turns = steps // size
    env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), num_envs, random_seed=1)
    actor, critic = mlp(hidden, jax.nn.tanh, 2, 0.01), mlp(hidden, jax.nn.tanh, 1)
    pi = coax.Policy(lambda S, is_training: {"logits": actor(S)}, env, random_seed=2)
    v = coax.V(lambda S, is_training: critic(S).ravel(), env, random_seed=3)

    rate = optax.linear_schedule(2.5e-4, 0, turns * epochs * minibatches)
    adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate, eps=1e-5))
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.01)
    learner = coax.policy_objectives.PPOClip(pi, adam, entropy, epsilon=0.2, normalize_advantage=True)
    critic_learner = coax.td_learning.SimpleTD(v, optimizer=adam, loss_function=coax.value_losses.mse)
    over = (env, learner, critic_learner)
    scan = functools.partial(coax.scan, over=over, unjitted=unjitted)

    def play():
        A, logP = pi(env.observation, return_logp=True)
        row = coax.envs.transition(env, A)
        return coax.reward_tracing.Rollout(row.S, A, logP, row.R, row.terminated, row.truncated, row.S_next, row.mask)

    def learn(batch):
        learner.update(batch)
        critic_learner.update(batch)

    def turn():
        rows = scan(play, segment)
        batch = coax.reward_tracing.lambda_transitions(rows, GAMMA, 0.95, v(rows.S), v(rows.S_next))

        def epoch():
            order = jax.random.permutation(pi.rng, size).reshape(minibatches, batch_size)
            scan(learn, xs=jax.tree.map(lambda x: x[order], batch))

        scan(epoch, epochs)
        return rows.R, rows.terminated | rows.truncated

    return Loop(turn, turns, over, size)


# --- DQN --------------------------------------------------------------------------------------------------------------


def dqn(num_envs, capacity, batch_size, updates, begin, sync, hidden, steps):
    """The loop of DQN: in each turn one step of each environment, and some updates."""
    env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), num_envs, random_seed=1)
    forward = mlp(hidden, jax.nn.relu, 2)
    q = coax.Q(lambda S, is_training: forward(S), env, random_seed=2)
    pi = coax.EpsilonGreedy(q, epsilon=1.0)
    tracer = coax.reward_tracing.DeviceNStep(n=1, gamma=GAMMA, env=env)
    buffer = coax.experience_replay.DeviceReplayBuffer(capacity, env, random_seed=3)
    q_targ = q.copy()
    qlearning = coax.td_learning.QLearning(
        q, q_targ=q_targ, optimizer=optax.adam(2.5e-4), loss_function=coax.value_losses.mse
    )
    over = (env, pi, tracer, buffer, qlearning)
    epsilon = optax.linear_schedule(1.0, 0.05, steps // 2)

    def learn(batch):
        qlearning.update(batch)

    def copy_over():
        q_targ.soft_update(q, tau=1.0)

    def nothing(*args):
        pass

    def turn(T):
        """`T` steps were taken before."""
        pi.epsilon = epsilon(T)
        A = pi(env.observation)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
        batch, there = tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask)
        buffer.add(batch, mask=there)
        for _ in range(updates):
            coax.cond(T >= begin, learn, nothing, buffer.sample(batch_size), over=qlearning)
        coax.cond(T % sync == 0, copy_over, nothing, over=q_targ)
        return R, terminated | truncated

    turns = steps // num_envs
    return Loop(turn, turns, over, num_envs, xs=np.arange(turns, dtype=np.int32) * num_envs)


def ppo_program(**settings):
    return compiled(ppo(**settings))


def dqn_program(**settings):
    return compiled(dqn(**settings))
