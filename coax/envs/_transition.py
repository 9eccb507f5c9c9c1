"""One step of any environment, with the true next observation.

The only place that knows what an environment does at the end of an episode.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import gymnasium

__all__ = ("Transition", "transition")


class Transition(NamedTuple):
    """What one step of an environment tells a learner.

    Attributes
    ----------
    S : observation
        The one that the action was chosen from.
    S_next : observation
        The one that the action led to, also where the episode ended: never the first one of the next episode.
    R : float
        The reward.
    terminated : bool
        Whether `S_next` is a terminal state.
    truncated : bool
        Whether the episode was cut off at `S_next`, which is not a terminal state.
    mask : bool
        False for a row that is no transition at all, as vector environments may give between two episodes. Always
        True for a single environment.
    """

    S: Any
    S_next: Any
    R: Any
    terminated: Any
    truncated: Any
    mask: Any


@functools.singledispatch
def transition(env: Any, A: Any) -> Transition:
    """Take one step, and begin the next episode where this one ended.

    Afterwards ``env.observation`` is what the next action is to be chosen from: `S_next`, or the first observation of a
    new episode. So the body of a training loop needs no branch for the end of an episode.

    Parameters
    ----------
    env : gymnasium.Env
        An environment that has been reset and remembers its last observation in ``env.observation``: one inside a
        :class:`coax.wrappers.TrainMonitor` or a :class:`coax.wrappers.LastObservation`.
    A : action
        The action to take in ``env.observation``.

    Returns
    -------
    Transition
        ``(S, S_next, R, terminated, truncated, mask)``.

    Raises
    ------
    TypeError
        If `env` is no environment, or does not remember its last observation.
    gymnasium.error.ResetNeeded
        If `env` was never reset.

    Examples
    --------
    >>> env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLake-v1"))
    >>> s, info = env.reset(seed=13)
    >>> while env.T < 10:
    ...     A, logP = pi(env.observation, return_logp=True)
    ...     S, S_next, R, terminated, truncated, mask = coax.envs.transition(env, A)
    """
    raise TypeError(
        f"transition: expected a gymnasium.Env, got {type(env).__name__}. "
        "Fix: pass one environment, inside a coax.wrappers.TrainMonitor or a coax.wrappers.LastObservation."
    )


@transition.register(gymnasium.Env)
def _single(env: gymnasium.Env, A: Any) -> Transition:
    S = _observation(env)
    S_next, R, terminated, truncated, _ = env.step(A)
    if terminated or truncated:
        env.reset()
    return Transition(S, S_next, float(R), bool(terminated), bool(truncated), True)


def _observation(env: gymnasium.Env) -> Any:
    try:
        return env.get_wrapper_attr("observation")
    except AttributeError:
        raise TypeError(
            f"transition: {env} does not remember its last observation. Fix: wrap it in coax.wrappers.TrainMonitor "
            "or coax.wrappers.LastObservation before its first reset."
        ) from None
