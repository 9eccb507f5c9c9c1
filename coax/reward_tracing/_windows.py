"""From single transitions to batches of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from ._rows import batch_of_one, stack
from ._transition_batch import TransitionBatch

__all__ = ("Window", "batched", "single")


class Window(NamedTuple):
    """One transition, without a batch axis."""

    s: Any
    a: Any
    s_next: Any
    a_next: Any
    numbers: tuple[float, float, float, float, float]  # logp, rn, in_, logp_next, w
    extra_info: Any


def single(window: Window) -> TransitionBatch:
    """A batch of one transition, made without copying observations."""
    numbers = np.array(window.numbers, np.float32)
    return TransitionBatch(
        S=batch_of_one(window.s),
        A=batch_of_one(window.a),
        logP=numbers[0:1],
        Rn=numbers[1:2],
        In=numbers[2:3],
        S_next=batch_of_one(window.s_next),
        A_next=batch_of_one(window.a_next),
        logP_next=numbers[3:4],
        W=numbers[4:5],
        idx=np.zeros(1, np.int32),
        extra_info=None if window.extra_info is None else jax.tree.map(batch_of_one, window.extra_info),
    )


def batched(windows: list[Window]) -> TransitionBatch:
    """A batch of several transitions."""
    logp, rn, in_, logp_next, w = np.array([window.numbers for window in windows], np.float32).T.copy()
    infos = [window.extra_info for window in windows]
    return TransitionBatch(
        S=stack([window.s for window in windows]),
        A=stack([window.a for window in windows]),
        logP=logp,
        Rn=rn,
        In=in_,
        S_next=stack([window.s_next for window in windows]),
        A_next=stack([window.a_next for window in windows]),
        logP_next=logp_next,
        W=w,
        idx=np.arange(len(windows), dtype=np.int32),
        extra_info=None if infos[0] is None else jax.tree.map(lambda *xs: stack(xs), *infos),
    )
