"""PPO and DQN on CartPole with coax: loops to be compiled, or run as they are."""

from __future__ import annotations

import functools
from typing import NamedTuple

import haiku as hk
import jax
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


class Loop(NamedTuple):
    """What makes one training.

    Attributes
    ----------
    phases : list of (callable, int, array or None)
        A turn of a loop, which returns the rewards and the ends of episodes in it; how many; and what each is given.
    over : tuple of coax.Stateful
        What they use.
    """

    phases: list
    over: tuple


def mlp(sizes, activation, outputs, scale=1.0):
    def forward(S):
        layers = []
        for size in sizes:
            layers += [hk.Linear(size, w_init=hk.initializers.Orthogonal(np.sqrt(2))), activation]
        return hk.Sequential([*layers, hk.Linear(outputs, w_init=hk.initializers.Orthogonal(scale))])(S)

    return forward


# --- PPO --------------------------------------------------------------------------------------------------------------


def ppo(num_envs, segment, epochs, minibatches, hidden, steps, like="purejaxrl", unjitted=False):
    """The loop of PPO: in each turn one segment is played, and learned from several times over.

    Like Rejax it clips the elements of gradients, not their norm, and the learning rate stays as it is.
    """
    size, batch_size = num_envs * segment, num_envs * segment // minibatches
    turns = steps // size
    env = coax.envs.JaxVectorEnv(coax.envs.CartPole(), num_envs, random_seed=1)
    actor, critic = mlp(hidden, jax.nn.tanh, 2, 0.01), mlp(hidden, jax.nn.tanh, 1)
    pi = coax.Policy(lambda S, is_training: {"logits": actor(S)}, env, random_seed=2)
    v = coax.V(lambda S, is_training: critic(S).ravel(), env, random_seed=3)

    if like == "rejax":
        adam = optax.chain(optax.clip(0.5), optax.adam(2.5e-4))
    else:
        rate = optax.linear_schedule(2.5e-4, 0, turns * epochs * minibatches)
        adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate, eps=1e-5))
    entropy = coax.regularizers.EntropyRegularizer(pi, beta=0.01)
    learner = coax.policy_objectives.PPOClip(pi, adam, entropy, epsilon=0.2, normalize_advantage=True)
    critic_learner = coax.td_learning.SimpleTD(v, optimizer=adam, loss_function=coax.value_losses.mse, clip_change=0.2)
    over = (env, learner, critic_learner)
    scan = functools.partial(coax.scan, over=over, unjitted=unjitted)

    def play():
        A, logP = pi(env.observation, return_logp=True)
        row = coax.envs.transition(env, A)
        return coax.reward_tracing.Rollout(row.S, A, logP, row.R, row.terminated, row.truncated, row.S_next, row.mask)

    def learn(batch):
        batch.S_next = batch.S  # nothing is bootstrapped: In is 0. So all of it is valued once
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

    return Loop([(turn, turns, None)], over)


# --- DQN --------------------------------------------------------------------------------------------------------------


def dqn(num_envs, capacity, batch_size, updates, begin, sync, hidden, steps, like=None, unjitted=False):
    """The loop of DQN: in each turn one step of each environment, and, when there is enough to draw from, updates."""
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
    scan = functools.partial(coax.scan, over=over, unjitted=unjitted)
    epsilon = optax.linear_schedule(1.0, 0.05, steps // 2)

    def play(taken):
        """One step of each environment, after so many were taken."""
        pi.epsilon = epsilon(taken)
        A = pi(env.observation)
        S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
        batch, there = tracer.add(S, A, R, terminated, truncated=truncated, s_next=S_next, mask=mask)
        buffer.add(batch, mask=there)
        return R, terminated | truncated

    def learn(taken):
        result = play(taken)
        for _ in range(updates):
            qlearning.update(buffer.sample(batch_size))
        return result

    def period(taken):
        """The turns until the target network is renewed. With loops in loops there is nothing to decide in them."""
        result = scan(learn, xs=taken)
        q_targ.soft_update(q, tau=1.0)
        return result

    taken = np.arange(0, steps, num_envs, dtype=np.int32)
    first, rest = taken[taken < begin], taken[taken >= begin].reshape(-1, sync // num_envs)
    return Loop([(play, len(first), first), (period, len(rest), rest)], over)


# --- how to run a loop ------------------------------------------------------------------------------------------------


def training(loop):
    """From a key to the result: a training that begins anew each time, to be compiled."""

    def everything():
        return [coax.scan(turn, turns, loop.over, xs) for turn, turns, xs in loop.phases]

    init, apply = coax.transform(everything, over=loop.over)
    return lambda key: apply(init(key))


class InPython:
    """The same turns in a Python loop, which goes on from where it is."""

    def __init__(self, loop):
        self.loop = loop

    def __call__(self, key):
        for turn, turns, xs in self.loop.phases:
            for i in range(turns):
                result = turn() if xs is None else turn(xs[i])
        return result, [obj.state for obj in self.loop.over]

    def prepare(self, key):
        """Nothing is compiled beforehand; the first run, which does not count, compiles what it calls."""
        return self


class InTurn:
    """As many trainings as there are seeds, one after the other."""

    def __init__(self, one, seeds):
        self.one, self.seeds = one, seeds

    def prepare(self, key):
        """Compile it once, for all seeds."""
        program = jax.jit(self.one).lower(key).compile()
        return lambda key: [jax.block_until_ready(program(key)) for key in jax.random.split(key, self.seeds)]


def ppo_training(**settings):
    return training(ppo(**settings))


def dqn_training(**settings):
    return training(dqn(**settings))


def ppo_python(**settings):
    return InPython(ppo(**settings, unjitted=True))


def dqn_python(**settings):
    return InPython(dqn(**settings, unjitted=True))


def dqn_at_once(seeds, **settings):
    one = dqn_training(**settings)
    return lambda key: jax.vmap(one)(jax.random.split(key, seeds))


def dqn_in_turn(seeds, **settings):
    return InTurn(dqn_training(**settings), seeds)
