"""A replay buffer that is sampled in proportion to priorities."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import jax
import numpy as np

from ..reward_tracing import TransitionBatch
from ..utils import SumTree, at_least_one
from ._base import BaseReplayBuffer
from ._checks import as_advantages, as_ids, check_priorities, nothing_to_draw
from ._transitions import Transitions

__all__ = ("PrioritizedReplayBuffer",)

_LARGEST = np.finfo(np.float64).max / 4


class PrioritizedReplayBuffer(BaseReplayBuffer):
    r"""Keeps the latest transitions, and draws from them in proportion to their priorities.

    The priority of a transition, and the chance that it is drawn, are

    .. math:: p_i = (|\mathcal{A}_i| + \epsilon)^\alpha \qquad P_i = p_i \Big/ \sum_j p_j

    where the advantage :math:`\mathcal{A}_i` is what it is to be judged by, in most cases its TD error. What this does
    to an expectation is put right by weights, which :meth:`sample` multiplies `W` with,

    .. math:: w_i = (N P_i)^{-\beta} \Big/ \max_j\, (N P_j)^{-\beta}

    with N for the number of transitions held and the maximum over the batch. How transitions are stored is told in
    :class:`SimpleReplayBuffer`.

    Parameters
    ----------
    capacity : int
        How many transitions are kept, at least 1. When it is reached, the oldest make room.
    alpha : float, optional
        How much the priorities matter, positive. It may be set at any time; the priorities follow.
    beta : float, optional
        How much of the bias is put right, at least 0; with 1 it is all. It may be set at any time.
    epsilon : float, optional
        Added to advantages that come, so that there is a chance for each transition; at least 0. With 0, those without
        an advantage are never drawn. It may be set at any time.
    random_seed : int or key[], optional
        By default the operating system gives one.
    frame_axis : int, optional
        See :class:`SimpleReplayBuffer`.

    Raises
    ------
    TypeError, ValueError
        If a number is none, or out of range.

    References
    ----------
    Schaul et al. (2016), Prioritized experience replay, sections 3.3 and 3.4 and appendix B.2.1.

    Examples
    --------
    >>> buffer = coax.experience_replay.PrioritizedReplayBuffer(capacity=1000, alpha=0.6, beta=0.4, random_seed=7)
    >>> buffer.add(batch, Adv=np.array([0.1, 2.0, 0.0, -3.0]))
    >>> batch = buffer.sample(batch_size=2)
    >>> buffer.update(batch.idx, Adv=np.array([0.5, 0.25]))
    """

    instead: ClassVar[str] = (
        "add and sample outside of it, and pass the batch as an argument; or use a "
        "coax.experience_replay.DevicePrioritizedReplayBuffer"
    )

    def __init__(
        self,
        capacity: int,
        alpha: float = 1.0,
        beta: float = 1.0,
        epsilon: float = 1e-4,
        random_seed: Any = None,
        *,
        frame_axis: int | None = None,
    ):
        super().__init__(capacity, random_seed, frame_axis)
        self._alpha = _as_number("alpha", alpha, positive=True)
        self._beta = _as_number("beta", beta)
        self._epsilon = _as_number("epsilon", epsilon)
        self._forget()

    def _forget(self) -> None:
        self._tree = SumTree(self._capacity, random_seed=0)  # its own generator is not used
        self._highest = 1.0

    @property
    def alpha(self) -> float:
        """How much the priorities matter. Setting it changes those of all transitions, from p to p^(new / old)."""
        return self._alpha

    @alpha.setter
    def alpha(self, new: float) -> None:
        self._on_host("alpha")
        new = _as_number("alpha", new, positive=True)
        with np.errstate(over="ignore"):
            priorities = np.append(self._tree.values, self._highest) ** (new / self._alpha)
        self._check_finite("alpha", priorities)
        self._tree.set_values(None, priorities[:-1])
        self._alpha, self._highest = new, float(priorities[-1])

    @property
    def beta(self) -> float:
        """How much of the bias is put right."""
        return self._beta

    @beta.setter
    def beta(self, new: float) -> None:
        self._on_host("beta")
        self._beta = _as_number("beta", new)

    @property
    def epsilon(self) -> float:
        """What is added to the size of advantages that come from now on."""
        return self._epsilon

    @epsilon.setter
    def epsilon(self, new: float) -> None:
        self._on_host("epsilon")
        self._epsilon = _as_number("epsilon", new)

    @property
    def nbytes(self) -> int:
        """How many bytes the arrays take, also those of rows that are still empty."""
        return super().nbytes + self._tree.nbytes

    def add(self, transition_batch: TransitionBatch, Adv: Any = None) -> None:
        """Store transitions.

        Parameters
        ----------
        transition_batch : TransitionBatch [B, ...]
            It is copied and not changed. In the copy `idx` counts the transitions that were added since the buffer was
            empty: 0, 1, 2, ...
        Adv : f32[B], optional
            What their priorities come from, e.g. TD errors. By default they get the highest priority that any had so
            far, so that they are soon drawn (Schaul et al., 2016, algorithm 1).

        Raises
        ------
        TypeError
            If it is no :class:`coax.reward_tracing.TransitionBatch`, or has other fields or dtypes than those stored.
        ValueError
            If the shape of a field is another one, or there are not as many advantages as transitions, or the sum of
            the priorities would not be finite. After these errors all is as before.
        """
        self._on_host("add")
        self._check_batch(transition_batch)
        count = len(transition_batch.Rn)
        self._add(transition_batch, np.full(count, self._highest) if Adv is None else self._priorities(Adv, count))

    def update(self, idx: Any, Adv: Any) -> None:
        """Give transitions new priorities.

        Parameters
        ----------
        idx : i32[B]
            Which ones: the field `idx` of a batch. Those that had to make room meanwhile are left out; of equal ones
            the last counts.
        Adv : f32[B]
            What their priorities come from, e.g. TD errors.

        Raises
        ------
        TypeError
            If `idx` does not hold integers.
        ValueError
            If there are not as many advantages as ids, or the sum of the priorities would not be finite. Then no
            priority is changed.
        """
        self._on_host("update")
        numbers = np.asarray(as_ids(idx))
        new = self._priorities(Adv, len(numbers))
        held = (numbers >= self._count - len(self)) & (numbers < self._count)
        self._set(numbers[held], new[held])

    def sample(self, batch_size: int = 32) -> TransitionBatch:
        """Draw transitions, with replacement, one from each of `batch_size` equal shares of the sum of all priorities.

        So a transition comes as often as its chance says, on average, and more regularly than in independent draws. One
        of priority 0 never does.

        Parameters
        ----------
        batch_size : int, optional
            How many, B.

        Returns
        -------
        TransitionBatch [B, ...]
            Its `W` is what was stored times the weights.

        Raises
        ------
        TypeError
            If `batch_size` is not an integer.
        ValueError
            If it is less than 1.
        RuntimeError
            If there is no transition to be drawn.
        """
        self._on_host("sample")
        size = at_least_one("batch_size", batch_size, 32)
        total = self._tree.root_value
        if not total > 0:
            raise nothing_to_draw(self)
        places = self._tree.inverse_cdf((np.arange(size) + self._generator.random(size)) / size)
        batch = self._read(self._count - 1 - (self._count - 1 - places) % self._capacity)
        # N and the sum of all are in each of these weights, and so in the largest, which belongs to the rarest.
        drawn = self._tree.values[places]
        batch.W = batch.W * ((drawn / drawn.min()) ** -self._beta).astype(np.float32)
        return batch

    def clear(self) -> None:
        """Forget all transitions, and what they look like. The numbers in `idx` start again from 0."""
        super().clear()
        self._forget()

    def _priorities(self, Adv: Any, count: int) -> np.ndarray:
        """The priorities f64[B] that come from advantages."""
        given = np.asarray(as_advantages(Adv, count), np.float64)
        with np.errstate(over="ignore"):
            new = (np.abs(given) + self._epsilon) ** self._alpha
        self._check_finite("Adv", new)
        return new

    def _keep_rows(self, transitions: Transitions, numbers: np.ndarray, priorities: Any, rows: slice) -> None:
        self._set(numbers, priorities[rows])
        super()._keep_rows(transitions, numbers, priorities, rows)

    def _set(self, numbers: np.ndarray, priorities: np.ndarray) -> None:
        if len(numbers):
            self._tree.set_values(numbers % self._capacity, priorities)
            self._highest = max(self._highest, float(priorities.max()))

    def _check_finite(self, name: str, priorities: np.ndarray) -> None:
        """Whether the priorities, and the sum of as many as there is room for, are finite."""
        check_priorities(name, priorities, _LARGEST / self._capacity)

    # --- the state protocol

    def init(self, key: jax.Array | None) -> dict[str, Any]:
        """The state of an empty buffer, with a generator seeded by the key."""
        return {**super().init(key), **self._settings(1.0), "priorities": None}

    def _settings(self, highest: float) -> dict[str, np.ndarray]:
        numbers = {"alpha": self._alpha, "beta": self._beta, "epsilon": self._epsilon, "highest": highest}
        return {name: np.array(x, np.float64) for name, x in numbers.items()}

    def _stream(self) -> dict[str, Any]:
        priorities = self._tree.values[self._places(self._count)] if self else None
        return {**super()._stream(), **self._settings(self._highest), "priorities": priorities}

    def _checked(self, new: Any) -> dict[str, Any]:
        new = super()._checked(new)
        priorities, held = new["priorities"], min(int(new["count"]), self._capacity)
        want = f"float64[{held}]" if held else "None"
        got = "None" if priorities is None else f"{priorities.dtype}{list(np.shape(priorities))}"
        where = f"{type(self).__name__}.state['priorities']: expected"
        if got != want:
            raise TypeError(f"{where} {want}, got {got}. Fix: give the state of a buffer of the same capacity.")
        if held and not (np.isfinite(priorities) & (priorities >= 0)).all():
            raise TypeError(f"{where} finite numbers of at least 0. Fix: give the state of a buffer.")
        for name in self._settings(1.0):
            if not 0 <= new[name] < np.inf:
                raise TypeError(
                    f"{type(self).__name__}.state['{name}']: expected a number of at least 0, got {new[name]}. "
                    "Fix: give the state of a buffer."
                )
        return new

    def _take_over(self, new: dict[str, Any]) -> None:
        super()._take_over(new)
        self._forget()
        self._alpha, self._beta, self._epsilon = (float(new[name]) for name in ("alpha", "beta", "epsilon"))
        if new["priorities"] is not None:
            self._tree.set_values(self._places(self._count), new["priorities"])
        self._highest = float(new["highest"])

    def __copy__(self) -> Self:
        new = super().__copy__()
        new._tree = SumTree(self._capacity, random_seed=0)
        new._tree.set_values(None, self._tree.values)
        return new


def _as_number(name: str, x: Any, *, positive: bool = False) -> float:
    fix = f"Fix: pass for instance {name}=0.5."
    if isinstance(x, bool) or not isinstance(x, int | float | np.floating | np.integer):
        raise TypeError(f"{name}: expected a number, got {x!r}. {fix}")
    if not 0 <= x < np.inf or (positive and x == 0):
        raise ValueError(
            f"{name}: expected a {'positive number' if positive else 'number of at least 0'}, got {x!r}. {fix}"
        )
    return float(x)
