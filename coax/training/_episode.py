"""One episode of a policy, watched step by step, of which the training takes no notice."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import gymnasium

from .._entries import fresh_seed, key_of_seed
from .._stateful import collect, refuse_on_host
from ..approximators import RandomPolicy
from ..utils import steps_itself
from ..wrappers import LastObservation, TrainMonitor
from ._evaluate import _own_streams
from ._turns import objects_of

__all__ = ("episode", "host_env")


def host_env(caller: str, env: Any) -> Any:
    """The environment, checked: a single one, which Python steps and which can be rendered.

    Raises
    ------
    TypeError
        If it is another one.
    """
    if not steps_itself(env):
        refuse_on_host(env)
    if not isinstance(env, gymnasium.Env):
        raise TypeError(
            f"{caller}: expected a single gymnasium.Env, got {type(env).__name__}. "
            "Fix: make one to look at, such as gymnasium.make('CartPole-v1', render_mode='rgb_array')."
        )
    return env


def episode(
    env: Any, policy: Callable[..., Any] | None, max_steps: int | None = None, seed: int | None = None
) -> Generator[Any]:
    """Play one episode: gives the environment, without monitors, after the reset and after each step.

    Parameters
    ----------
    env : gymnasium.Env
    policy : callable or None
        A function of observations that returns actions; None is for random ones.
    max_steps : int, optional
        After how many steps to stop in any case.
    seed : int, optional
        Of the environment, and of the policy in this episode.
    """
    play = RandomPolicy(env, random_seed=seed) if policy is None else policy
    objects_of(None, play, ())  # which complains before anything is played
    key = key_of_seed(fresh_seed() if seed is None else seed)
    with _unwatched(env) as inner, _own_streams(collect(objects_of(inner, play, ())), key):
        s, _ = inner.reset(seed=seed)
        yield inner
        for _ in itertools.count() if max_steps is None else range(max_steps):
            s, _, terminated, truncated, _ = inner.step(play(s))
            yield inner
            if terminated or truncated:
                return


@contextlib.contextmanager
def _unwatched(env: Any) -> Iterator[Any]:
    """The environment without its monitors, wherever they are, for a while.

    Afterwards what remembers the last observation has none: the next one comes from a reset, since the episode that was
    under way is no more.
    """
    outside: Any = env
    while isinstance(outside, TrainMonitor):
        outside = outside.env
    taken_out = []
    for layer in _layers(outside):
        within = layer.env
        while isinstance(within, TrainMonitor):
            within = within.env
        if within is not layer.env:
            taken_out.append((layer, layer.env))
            layer.env = within
    try:
        yield outside
    finally:
        for layer, within in taken_out:
            layer.env = within
        for layer in (env, *(each.env for each in _layers(env))):
            if isinstance(layer, TrainMonitor | LastObservation):
                layer._last = ()


def _layers(env: Any) -> Iterator[Any]:
    """The wrappers, from the outside."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
