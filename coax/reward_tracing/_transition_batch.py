"""The one currency between tracers, buffers and updaters."""

from __future__ import annotations

import copy as _copy
import operator
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ..utils import pretty_repr
from ._rows import batch_of_one
from ._scalars import FIX_GAMMA, as_flag, as_float, as_number

__all__ = ("TransitionBatch",)


class TransitionBatch:
    r"""A batch of transitions, each over a window of up to n steps.

    The target of a value function is :math:`R^n_t + I^n_t\, v(S_{t+n})`. `In` carries the whole question of episode
    ends:

    =============================================== ============= ==============================================
    the window ends because                         `In`          `S_next`
    =============================================== ============= ==============================================
    n steps were taken                              gamma^n       the state n steps on
    the episode *terminated* after k steps          0             the terminal observation, or any valid state
    the episode was *truncated* after k steps       gamma^k       the true last observation
    =============================================== ============= ==============================================

    Parameters
    ----------
    S : pytree of arrays [B, ...]
        Observations at the start of the windows.
    A : pytree of arrays [B, ...]
        Actions taken there.
    logP : f32[B]
        Log-propensities of these actions.
    Rn : f32[B]
        Partial returns :math:`\sum_{i<k} \gamma^i r_{t+i}`.
    In : f32[B]
        Bootstrap factors, see above.
    S_next : pytree of arrays [B, ...]
        Observations at the end of the windows.
    A_next, logP_next : optional
        Actions taken there, and their log-propensities. A row whose next action is not known has ``logP_next = nan``:
        see :func:`needs_a_next`.
    W : f32[B], optional
        Sample weights, by default 1. A row of weight 0 counts for nothing.
    idx : i32[B], optional
        Ids of the transitions, by default ``0, 1, ..., B - 1``. Buffers set them.
    extra_info : pytree of arrays [B, ...], optional
        Whatever else belongs to the transitions.
    """

    __slots__ = ("S", "A", "logP", "Rn", "In", "S_next", "A_next", "logP_next", "W", "idx", "extra_info")  # noqa: RUF023

    def __init__(
        self,
        S: Any,
        A: Any,
        logP: Any,
        Rn: Any,
        In: Any,
        S_next: Any,
        A_next: Any = None,
        logP_next: Any = None,
        W: Any = None,
        idx: Any = None,
        extra_info: Any = None,
    ):
        self.S = S
        self.A = A
        self.logP = logP
        self.Rn = Rn
        self.In = In
        self.S_next = S_next
        self.A_next = A_next
        self.logP_next = logP_next
        self.W = _ones_like(Rn) if W is None else W
        self.idx = np.arange(len(Rn), dtype=np.int32) if idx is None else idx
        self.extra_info = extra_info

    @classmethod
    def from_single(
        cls,
        s: Any,
        a: Any,
        logp: Any,
        r: Any,
        done: Any,
        gamma: Any,
        s_next: Any = None,
        a_next: Any = None,
        logp_next: Any = None,
        w: Any = 1,
        idx: Any = None,
        extra_info: Any = None,
        *,
        truncated: Any = False,
    ) -> TransitionBatch:
        """A batch of one transition over one step.

        Parameters
        ----------
        s, a : pytree of arrays
            One observation, one action.
        logp, r : float
            Log-propensity of the action, reward.
        done : bool
            Whether the episode terminated: `In` is then 0, else `gamma`.
        gamma : float
            Discount factor, in [0, 1].
        s_next, a_next, logp_next : optional
            The same one step on; what is left out stays None.
        w : float, optional
            Sample weight.
        idx : int, optional
            Id of the transition.
        extra_info : pytree of arrays, optional
            Gets a leading axis like everything else.
        truncated : bool, optional
            Whether the episode was cut off here, which needs `s_next`.

        Raises
        ------
        TypeError
            If `logp`, `logp_next`, `r` or `w` is not a number, `w` is negative, `gamma` is not in [0, 1], or `done` or
            `truncated` is not a bool (of NumPy or jax too) or the integer 0 or 1.
        ValueError
            If `truncated` without `s_next`.
        """
        gamma, w = as_float("gamma", gamma, FIX_GAMMA), as_number("w", w)
        if not 0 <= gamma <= 1:
            raise TypeError(f"gamma: expected a number in [0, 1], got {gamma}. {FIX_GAMMA}")
        if w < 0:
            raise TypeError(f"w: expected a weight of at least 0, got {w}. Fix: pass w=1.0.")
        done = as_flag("done", done)
        if as_flag("truncated", truncated) and not done and s_next is None:
            raise ValueError(MISSING_S_NEXT)
        return cls(
            S=batch_of_one(s),
            A=batch_of_one(a),
            logP=np.array([as_number("logp", logp)], np.float32),
            Rn=np.array([as_float("r", r)], np.float32),
            In=np.array([0 if done else gamma], np.float32),
            S_next=batch_of_one(s_next),
            A_next=batch_of_one(a_next),
            logP_next=None if logp_next is None else np.array([as_number("logp_next", logp_next)], np.float32),
            W=np.array([w], np.float32),
            idx=np.array([0 if idx is None else idx], np.int32),
            extra_info=batch_of_one(extra_info),
        )

    @property
    def batch_size(self) -> int:
        """The number of transitions."""
        return len(self.Rn)

    def to_singles(self) -> Iterator[TransitionBatch]:
        """The transitions one by one, first to last, each as a batch of size 1."""
        if self.batch_size == 1:
            yield self
            return
        leaves, tree = jax.tree.flatten(self)
        for i in range(self.batch_size):
            yield jax.tree.unflatten(tree, [leaf[i : i + 1] for leaf in leaves])

    def copy(self, deep: bool = False) -> TransitionBatch:
        """Another batch of the same arrays; with `deep` the arrays are copied too."""
        return _copy.deepcopy(self) if deep else _copy.copy(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Pairs of name and value, in the order of the fields."""
        return ((name, getattr(self, name)) for name in self.__slots__)

    def _asdict(self) -> dict[str, Any]:
        return dict(self.items())

    def __iter__(self) -> Iterator[Any]:
        return iter(_fields(self))

    def __getitem__(self, index: int | slice) -> Any:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TransitionBatch):
            return NotImplemented
        same: Any = jax.tree.structure(self) == jax.tree.structure(other)  # type: ignore[operator]
        return same and all(map(_close, jax.tree.leaves(self), jax.tree.leaves(other)))

    def __repr__(self) -> str:
        return pretty_repr(self)


MISSING_S_NEXT = (
    "truncated=True: expected s_next, the last observation of the episode, got None. "
    "Fix: pass s_next=... as env.step returned it."
)


_fields = operator.attrgetter(*TransitionBatch.__slots__)


def _flatten(tb: TransitionBatch) -> tuple[list[tuple[Any, Any]], None]:
    return [(jax.tree_util.GetAttrKey(name), value) for name, value in tb.items()], None


def _unflatten(_: None, children: Any) -> TransitionBatch:
    # Not through the constructor: jax also unflattens things that are no arrays.
    tb = object.__new__(TransitionBatch)
    for name, value in zip(TransitionBatch.__slots__, children, strict=True):
        setattr(tb, name, value)
    return tb


jax.tree_util.register_pytree_with_keys(TransitionBatch, _flatten, _unflatten, lambda tb: (_fields(tb), None))


def _ones_like(rn: Any) -> np.ndarray:
    dtype = getattr(rn, "dtype", np.dtype(np.float32))
    return np.ones(np.shape(rn), dtype if np.dtype(dtype).kind == "f" else np.float32)


def _close(x: Any, y: Any) -> bool:
    x, y = np.asarray(x), np.asarray(y)
    return x.shape == y.shape and np.allclose(x, y, equal_nan=True)
