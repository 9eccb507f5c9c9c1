"""What both prioritised buffers check, in host memory and on the device."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

__all__ = ("as_advantages", "as_ids", "check_priorities", "nothing_to_draw")


def as_ids(idx: Any) -> Any:
    """Running numbers i32[B], where they are.

    Raises
    ------
    TypeError
        If these are no integers.
    ValueError
        If there is not one axis.
    """
    numbers = idx if isinstance(idx, jax.Array) else np.asarray(idx)
    if not numbers.size:
        numbers = numbers.astype(np.int32)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"idx: expected integers, got {numbers.dtype}. Fix: pass the idx of a batch.")
    if numbers.ndim != 1:
        raise ValueError(f"idx: expected shape [B], got {list(numbers.shape)}. Fix: pass the idx of a batch.")
    return numbers


def as_advantages(Adv: Any, count: int) -> Any:
    """Advantages [B] of so many transitions, where they are.

    Raises
    ------
    TypeError
        If these are no real numbers.
    ValueError
        If there are not as many.
    """
    fix = "Fix: pass one number for each transition, e.g. updater.td_error(transition_batch)."
    given = Adv if isinstance(Adv, jax.Array) else np.asarray(Adv)
    if given.dtype.kind == "c":
        raise TypeError(f"Adv: expected real numbers, got complex ones. {fix}")
    if given.dtype == bool:
        raise TypeError(f"Adv: expected real numbers, got bools. {fix} A mask goes by its name: mask=mask.")
    if given.shape != (count,):
        raise ValueError(f"Adv: expected shape [{count}], got {list(given.shape)}. {fix}")
    return given


def check_priorities(name: str, priorities: np.ndarray, most: float) -> None:
    """Whether the priorities are so small that the sum of all is finite.

    Raises
    ------
    ValueError
        If not.
    """
    finite = priorities <= most
    if not finite.all():
        i = int(np.argmin(finite))
        raise ValueError(
            f"{name}: expected finite priorities, got {priorities[i]} at position {i}. "
            "Fix: look for infinite, NaN or huge TD errors; nothing was changed."
        )


def nothing_to_draw(buffer: Any) -> RuntimeError:
    why = "the buffer is empty. Fix: add transitions first, or wait until len(buffer) is large enough."
    if len(buffer):
        why = f"none of the {len(buffer)} transitions has a positive priority. Fix: keep epsilon positive."
    return RuntimeError(f"{type(buffer).__name__}.sample: {why}")
