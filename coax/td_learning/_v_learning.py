"""TD learning of state values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optax

from .._entries import Fixed, Number
from .._updater import check_kind
from ..regularizers import Regularizer
from ..reward_tracing import TransitionBatch
from ..typing import AbstractStochastic, AbstractV
from ._backups import state_backup
from ._base import First, TDLearning

__all__ = ("SimpleTD",)


class SimpleTD(TDLearning):
    r"""TD learning of a state-value function, towards :math:`R^{(n)}_t + I^{(n)}_t\,v(S_{t+n})`.

    The arguments are those of :class:`TDLearning`, and one more.

    Parameters
    ----------
    clip_change : float, optional
        Where a value is further than this from the one that ``extra_info['V']`` says it had when the batch was made,
        moving on brings no lower loss: the clipped value loss of PPO. In the units of the output of `v`. Given at
        construction, it may be set at any time. Default: no clipping.

    Raises
    ------
    NotImplementedError
        If `clip_change` is given for a distribution.

    References
    ----------
    Sutton and Barto (2018), sections 6.1 and 7.1; for `clip_change` Engstrom et al. (2020), "Implementation matters in
    deep policy gradients", section 3.
    """

    _uses = ("S", "Rn", "In", "S_next")

    v = Fixed("_main", "The function that learns.")
    clip_change = Number(0, exclusive=True)
    v_targ = First("_targs", "The function that the target looks at.")

    def __init__(
        self,
        v: AbstractV,
        v_targ: AbstractV | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
        *,
        clip_change: float | None = None,
        clip_weights: tuple[float, float] | None = None,
    ):
        check_kind(self, "v", v, AbstractV, "a coax.V")
        check_kind(self, "v_targ", v if v_targ is None else v_targ, AbstractV, "a coax.V, e.g. v.copy()")
        numbers = None
        if clip_change is not None:
            if isinstance(v, AbstractStochastic):
                raise NotImplementedError(
                    "SimpleTD: expected no clip_change for a coax.StochasticV. Fix: leave it out."
                )
            self._clips_change = True
            numbers = {"clip_change": type(self).clip_change.leaf(clip_change, "SimpleTD")}
        base = optimizer, loss_function, policy_regularizer, clip_weights
        self._set_up(v, v_targ, state_backup, *base, numbers=numbers)

    def _check_more(self, tb: TransitionBatch, live: Any, found: dict[str, Any]) -> None:
        super()._check_more(tb, live, found)
        old: Any = (tb.extra_info or {}).get("V")
        if self._clips_change and np.shape(old) != np.shape(tb.W):
            raise ValueError(
                "SimpleTD: expected extra_info['V'], the value of each transition when the batch was made, for "
                f"clip_change; got shape {None if old is None else np.shape(old)}. "
                "Fix: use a tracer that records it, or leave clip_change out."
            )
        if self._clips_change:
            found["extra_info"] = {**(found.get("extra_info") or {}), "V": old}
