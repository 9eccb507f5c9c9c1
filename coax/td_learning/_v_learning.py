"""TD learning of state values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._entries import Fixed
from .._updater import check_kind
from ..typing import AbstractV
from ._backups import state_backup
from ._base import First, TDLearning

__all__ = ("SimpleTD",)


class SimpleTD(TDLearning):
    r"""TD learning of a state-value function, towards :math:`R^{(n)}_t + I^{(n)}_t\,v(S_{t+n})`.

    The arguments are those of :class:`TDLearning`.

    References
    ----------
    Sutton and Barto (2018), sections 6.1 and 7.1.
    """

    _uses = ("S", "Rn", "In", "S_next")

    v = Fixed("_main", "The function that learns.")
    v_targ = First("_targs", "The function that the target looks at.")

    def __init__(
        self,
        v: Any,
        v_targ: Any = None,
        optimizer: Any = None,
        loss_function: Callable | None = None,
        policy_regularizer: Any = None,
        *,
        clip_weights: tuple[float, float] | None = None,
    ):
        check_kind(self, "v", v, AbstractV, "a coax.V")
        check_kind(self, "v_targ", v if v_targ is None else v_targ, AbstractV, "a coax.V, e.g. v.copy()")
        self._set_up(v, v_targ, state_backup, optimizer, loss_function, policy_regularizer, clip_weights)
