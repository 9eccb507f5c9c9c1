"""What an updater is made of: checks of its arguments, once, at construction."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..utils import space_key
from ..value_losses import huber

__all__ = ("as_bounds", "as_loss", "check_kind", "check_same_spaces")


def as_bounds(clip_weights: Any, owner: str) -> tuple[float, float] | None:
    if clip_weights is None:
        return None
    low, high = map(float, clip_weights) if np.shape(clip_weights) == (2,) else (math.nan, math.nan)
    if not 0 <= low <= high:
        raise ValueError(
            f"{owner}: expected clip_weights=(low, high) with 0 <= low <= high, got {clip_weights!r}. "
            "Fix: (0.1, 10) is what coax did up to 0.1.13."
        )
    return low, high


def as_loss(loss_function: Any, owner: str) -> Callable[..., Any]:
    """The loss, by default Huber's, after a look at what it returns.

    Raises
    ------
    TypeError
        If it is no ``loss_function(y_true, y_pred, w=None) -> f32[]``.
    """
    if loss_function is None:
        return huber
    if not callable(loss_function):
        raise TypeError(f"{owner}: expected a loss function, got {loss_function!r}. Fix: pass coax.value_losses.mse.")
    for args in (("y_true", "y_pred"), ("y_true", "y_pred", "w")):
        text = (
            f"{owner}: expected loss_function(y_true, y_pred, w=None) -> scalar, got {loss_function!r}: called as "
            f"loss_function({', '.join(args)}) with arrays f32[2] it %s. "
            "Fix: take sample weights w, which may be left out, and return the mean over the batch of w * loss."
        )
        try:
            out = jax.eval_shape(loss_function, *[jax.ShapeDtypeStruct((2,), jnp.float32)] * len(args))
        except Exception as err:  # whatever it is, this function is not a loss
            raise TypeError(text % f"raised {type(err).__name__}: {err}") from err
        if getattr(out, "shape", None) != () or not jnp.issubdtype(out.dtype, jnp.floating):
            raise TypeError(text % f"returned {out}")
    return loss_function


def check_kind(updater: Any, argument: str, value: Any, kind: type, repair: str) -> None:
    """Refuse an argument that does not play its role."""
    if not isinstance(value, kind):
        noun = kind.__name__.removeprefix("Abstract")
        raise TypeError(
            f"{type(updater).__name__}: expected {argument} to be a {noun}, got {type(value).__name__}. "
            f"Fix: pass {repair}."
        )


def check_same_spaces(updater: Any, argument: str, value: Any, main: Any) -> None:
    """Refuse a function or policy that was made for another environment than what learns."""
    for attribute in ("observation_space", "action_space"):
        want, got = getattr(main, attribute, None), getattr(value, attribute, None)
        if want is None or got is None or want == got or space_key(want) == space_key(got):
            continue
        raise ValueError(
            f"{type(updater).__name__}: expected {argument} to have the {attribute} of what learns, {want}, got {got}. "
            f"Fix: make {argument} from the same environment."
        )
    want, got = getattr(main, "action_mask", None), getattr(value, "action_mask", None)
    if want != got:
        raise ValueError(
            f"{type(updater).__name__}: expected {argument} to have the action_mask of what learns, {want}, got {got}. "
            f"Fix: make {argument} from the same environment."
        )
