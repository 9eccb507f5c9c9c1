"""Which environments run inside JAX, and how those of other packages do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import gymnasium
from gymnasium.experimental.functional import FuncEnv

from ._from_brax import FromBrax
from ._from_gymnasium import FromGymnasium
from ._from_gymnax import FromGymnax
from ._from_pgx import FromPgx
from ._functional import FunctionalEnv

__all__ = ("as_functional",)

_ADAPTERS: Final[dict[tuple[str, str], Callable[..., FunctionalEnv]]] = {  # by package and class
    ("gymnax", "Environment"): FromGymnax,
    ("brax", "Env"): FromBrax,
    ("pgx", "Env"): FromPgx,
}
_OWN = "coax.envs.CartPole(), coax.envs.Pendulum() or coax.envs.FrozenLake()"


def as_functional(env: Any, params: Any = None) -> FunctionalEnv:
    """An environment of another package as one that runs inside JAX.

    What resets the environment or counts its steps is left out: the last observation of an episode is the true one,
    and `terminated` means a terminal state, not a time limit.

    Parameters
    ----------
    env : FunctionalEnv, or an environment of gymnax, brax, pgx or Gymnasium's functional ones
        A single environment. A :class:`FunctionalEnv` is returned as it is; the pair that ``gymnax.make`` returns
        will do.
    params : optional
        The parameters of an environment of gymnax or of a functional one of Gymnasium. By default its own.

    Returns
    -------
    FunctionalEnv
        Its `max_episode_steps` is the time limit that the package has for it: none for pgx and Gymnasium, 1000 for
        brax.

    Raises
    ------
    TypeError
        If `env` is none of these; for instance because it lives on the host, as those of ``gymnasium.make`` do.

    Examples
    --------
    >>> coax.envs.as_functional(coax.envs.CartPole())
    CartPole(sutton_barto_reward=False, max_episode_steps=500)
    >>> env, params = gymnax.make("Catch-bsuite")  # doctest: +SKIP
    >>> env = coax.envs.JaxVectorEnv(coax.envs.as_functional(env, params), num_envs=8)  # doctest: +SKIP
    """
    if params is None and isinstance(env, tuple) and len(env) == 2:
        env, params = env
    adapter = _adapter(env)
    if params is None:
        return env if adapter is None else adapter(env)
    if adapter not in (FromGymnax, FromGymnasium):
        raise TypeError(
            f"params: expected none for {type(env).__name__}, got {type(params).__name__}. "
            "Fix: give them to the environment when it is made."
        )
    return adapter(env, params)


def _adapter(env: Any) -> Callable[..., FunctionalEnv] | None:
    """What makes an environment functional, or None if it is so already."""
    if isinstance(env, FunctionalEnv):
        return None
    if isinstance(env, FuncEnv):
        return FromGymnasium
    kinds = {(kind.__module__.split(".")[0], kind.__name__) for kind in type(env).__mro__}
    for kind, adapter in _ADAPTERS.items():
        if kind in kinds:
            return adapter
    what, fix = _refused(env, kinds)
    raise TypeError(f"env: expected an environment that runs inside JAX, got {what}. Fix: {fix}.")


def _refused(env: Any, kinds: set[tuple[str, str]]) -> tuple[str, str]:
    """What an object is, and what to pass in its place."""
    name = type(env).__name__
    if ("gymnax", "GymnaxWrapper") in kinds:
        return f"{name}, a wrapper of gymnax", "pass the environment inside of it, and use wrappers of coax"
    if hasattr(env, "functional_env"):
        return f"{name}, which holds several of one", "pass env.functional_env"
    if isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv):
        if hasattr(env.unwrapped, "func_env"):
            return f"{name}, which keeps its state on the host", "pass gymnasium.make(id).unwrapped.func_env"
        return (
            f"{name}, which lives on the host",
            f"run it in a Python loop with gymnasium.make_vec(id, num_envs), or use {_OWN}",
        )
    if isinstance(env, str):
        return (
            f"the id {env!r}, and what Gymnasium makes of it lives on the host",
            f"use {_OWN}, or run gymnasium.make_vec({env!r}, num_envs) in a Python loop",
        )
    return (
        name,
        f"pass {_OWN}, an environment of gymnax, brax or pgx, or a subclass of coax.envs.FunctionalEnv of your own",
    )
