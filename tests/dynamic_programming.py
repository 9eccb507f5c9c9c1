"""Exact answers about small environments, from their own tables. Nothing of coax is used here.

A table is what Gymnasium's toy environments have as ``env.unwrapped.P``: ``P[s][a]`` is a list of
``(probability, s_next, reward, terminated)``.
"""

import numpy as np


def transition_arrays(P):
    """Expected reward f64[S, A], and f64[S, A, S]: the probability to go on in each state."""
    n_states, n_actions = len(P), len(P[0])
    reward, onward = np.zeros((n_states, n_actions)), np.zeros((n_states, n_actions, n_states))
    for s in range(n_states):
        for a in range(n_actions):
            for probability, s_next, r, terminated in P[s][a]:
                reward[s, a] += probability * r
                onward[s, a, s_next] += probability * (not terminated)
    return reward, onward


def best_return(P, n_steps):
    """The highest expected return within `n_steps`, f64[S], over all policies, also those that look at the clock."""
    reward, onward = transition_arrays(P)
    v = np.zeros(len(P))
    for _ in range(n_steps):
        v = (reward + onward @ v).max(axis=1)
    return v


def return_of(P, actions, n_steps):
    """The expected return within `n_steps`, f64[S], of taking ``actions[s]`` in each state s."""
    reward, onward = transition_arrays(P)
    states, v = np.arange(len(P)), np.zeros(len(P))
    for _ in range(n_steps):
        v = reward[states, actions] + onward[states, actions] @ v
    return v


def visited(P, actions, start, n_steps):
    """The states that taking ``actions[s]`` in each state s goes through, where nothing is left to chance.

    The last one is the terminal state, if it gets there within `n_steps`.
    """
    states = [start]
    for _ in range(n_steps):
        ((_, s_next, _, terminated),) = P[states[-1]][actions[states[-1]]]
        states.append(int(s_next))
        if terminated:
            break
    return states
