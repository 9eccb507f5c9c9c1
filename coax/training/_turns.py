"""One turn of a policy in an environment, and what it takes to compile it once."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .._stateful import Stateful
from ..approximators import Function, RandomPolicy
from ..envs import transition
from ..envs._transition import memory_of
from ..reward_tracing import Rollout
from ..typing import AbstractPolicy

__all__ = ("Turn", "objects_of", "take_turn", "turn_of")


_FIX = "Fix: pass pi, or pi.mode for its most likely actions"


def take_turn(env: Any, policy: Callable[..., Any]) -> Rollout:
    """One step in one environment, or in each of several: a :class:`Rollout` without the axis of time."""
    S = memory_of(env).observation
    if isinstance(policy, AbstractPolicy | RandomPolicy):
        A, logP = policy(S, return_logp=True)
    else:
        A, logP = policy(S), None
    row = transition(env, A)
    logP = np.zeros(np.shape(row.R), np.float32) if logP is None else logP
    return Rollout(row.S, A, logP, row.R, row.terminated, row.truncated, row.S_next, row.mask)


class Turn:
    """The same as a function of nothing, to compile. Refers weakly to what it uses."""

    def __init__(self, env: Any, owner: Any, function: Callable[..., Any] | None):
        self._refs = weakref.ref(env), weakref.ref(owner)
        self._function = function  # of a method, whose object is the owner

    def __call__(self) -> Rollout:
        env, owner = (ref() for ref in self._refs)
        assert owner is not None
        return take_turn(env, owner if self._function is None else types.MethodType(self._function, owner))


_TURNS: weakref.WeakKeyDictionary[Any, weakref.WeakKeyDictionary] = weakref.WeakKeyDictionary()


def turn_of(env: Any, policy: Callable[..., Any]) -> Callable[[], Rollout]:
    """The turn of this policy in this environment: the same one each time, so that it is compiled once."""
    owner, function = _parts(policy)
    try:
        by_function = _TURNS.setdefault(env, weakref.WeakKeyDictionary()).setdefault(owner, {})
    except TypeError:  # of a policy without a hash, or that cannot be referred to weakly, no program is kept
        return lambda: take_turn(env, policy)
    if function not in by_function:
        by_function[function] = Turn(env, owner, function)
    return by_function[function]


def objects_of(env: Any, policy: Callable[..., Any], over: Any) -> tuple[Stateful, ...]:
    """The stateful objects that a turn uses."""
    others = (over,) if isinstance(over, Stateful) else tuple(over) if isinstance(over, Iterable) else (over,)
    owner = _parts(policy)[0]
    return (*_objects_in(env), *((owner,) if isinstance(owner, Stateful) else ()), *others)


def _objects_in(env: Any) -> Iterator[Stateful]:
    """An environment that is stateful; of one on the host, what its wrappers normalise with."""
    if isinstance(env, Stateful):
        yield env
        return
    while env is not None:
        if isinstance(normalizer := getattr(env, "normalizer", None), Stateful):
            yield normalizer
        env = getattr(env, "env", None)


def _parts(policy: Callable[..., Any]) -> tuple[Any, Callable[..., Any] | None]:
    """What a policy belongs to, and which method of it that is."""
    if not callable(policy):
        raise TypeError(
            f"policy: expected a policy or a function of observations, got {type(policy).__name__}. {_FIX}."
        )
    if isinstance(policy, Function) and not isinstance(policy, AbstractPolicy):
        raise TypeError(
            f"policy: expected a policy or a function of observations, got a {type(policy).__name__}, which gives no "
            f"actions. {_FIX}; of action values make one with coax.EpsilonGreedy(q, epsilon=0.1)."
        )
    if isinstance(policy, types.MethodType):
        return policy.__self__, policy.__func__
    return policy, None
