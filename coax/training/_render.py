"""An episode to watch while it is played."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from ._episode import episode, host_env

__all__ = ("render_episode",)


def render_episode(env: Any, policy: Callable[..., Any] | None = None, step_delay_ms: float = 0) -> None:
    """Play one episode in a window, or print it.

    The counters of monitors around the environment do not move, and the random stream of the policy is as before. The
    environment itself is played: call it between episodes, and reset the environment before going on.

    Parameters
    ----------
    env : gymnasium.Env
        Made with ``render_mode="human"``, for a window, or ``"ansi"``, for text.
    policy : callable, optional
        A function of observations that returns actions: e.g. ``pi``, or ``pi.mode`` for its most likely actions. By
        default the actions are random.
    step_delay_ms : float, optional
        How long to wait after each step, in milliseconds.

    Raises
    ------
    TypeError
        If `env` is no single environment, or `policy` no function.
    RuntimeError
        If the environment shows nothing.

    Examples
    --------
    >>> coax.render_episode(gymnasium.make("FrozenLake-v1", render_mode="ansi"), lambda s: 0)
    <BLANKLINE>
    ...
    """
    mode = host_env("render_episode", env).render_mode
    if mode not in ("human", "ansi"):
        raise RuntimeError(
            f"render_episode: expected an environment with the render mode 'human' or 'ansi', got {mode!r}. "
            "Fix: make it with render_mode='human'; for a file, coax.training.record_episode takes 'rgb_array'."
        )
    with contextlib.closing(episode(env, policy)) as turns:
        for inner in turns:
            if mode == "ansi":  # in the other mode it shows itself
                print(inner.render())
            if step_delay_ms > 0:
                time.sleep(step_delay_ms / 1000)
