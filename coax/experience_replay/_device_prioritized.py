"""A replay buffer in device memory that is sampled in proportion to priorities."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._donation import InPlace
from .._entries import Number, Rng
from .._sharing import Rule
from .._stateful import is_tracing
from ..reward_tracing import TransitionBatch
from ..utils import at_least_one
from ._checks import as_advantages, as_ids, check_priorities, nothing_to_draw
from ._device_base import BaseDeviceReplayBuffer, Rows, as_mask
from ._layout import Layout
from ._ring import NOWHERE, Ring
from ._sums import draw_stratified, empty_tree, set_leaves, value_at, with_leaves

__all__ = ("DevicePrioritizedReplayBuffer",)

_MOST = 1e30  # of a number one may set
_LEAST = 1e-30  # of a priority that is not 0, so that it does not become 0 by rounding
_OF_PRIORITIES = ("ring", "tree", "highest")  # the entries of the state that change with them
Entries = dict[str, Any]


class PrioritizedRule(Rule):
    """Pure functions of transitions that are drawn in proportion to their priorities.

    Parameters
    ----------
    capacity : int
    layout : Layout
    """

    changes = ("stores", *_OF_PRIORITIES)  # the entries of the state that are changed in place

    def __init__(self, capacity: int, layout: Layout):
        self.rows = Rows(capacity, layout)
        self.read = jax.jit(self.rows.read)
        self.most = float(np.finfo(np.float32).max) / 4 / capacity  # so that the sum of all is finite
        self.add = InPlace(self._add, "DevicePrioritizedReplayBuffer.add")
        self.update = InPlace(self._update, "DevicePrioritizedReplayBuffer.update")
        self.rescale = InPlace(self._rescale, "DevicePrioritizedReplayBuffer.alpha")
        self.sample = jax.jit(self._sample, static_argnums=3)

    def empty(self) -> Entries:
        """The entries of the state of an empty buffer that are changed in place."""
        tree = empty_tree(self.rows.capacity)
        return {**self.rows.empty(), "tree": tree, "highest": jnp.ones((), jnp.float32)}

    def _add(self, given: Entries, rest: Entries, leaves: list[Any], Adv: Any, mask: Any) -> Entries:
        new, places = self.rows.put(given, leaves, mask)
        priorities = jnp.full(len(leaves[0]), given["highest"])
        if Adv is not None:
            priorities = self._priorities(Adv, rest, instead=priorities)
        return self._with_priorities(new, places, places, priorities)

    def _update(self, given: Entries, rest: Entries, idx: Any, Adv: Any) -> Entries:
        ring = Ring.of(given["ring"])
        held = ring.places_of(jnp.asarray(idx, jnp.int32) + ring.seen, self.rows.capacity)
        priorities = self._priorities(Adv, rest, instead=value_at(given["tree"], held))
        order = jnp.arange(len(held))
        repeated = jnp.any((held[:, None] == held) & (order[:, None] < order), axis=1)  # the last one counts
        return self._with_priorities(given, held, jnp.where(repeated, NOWHERE, held), priorities)

    def _with_priorities(self, given: Entries, held: Any, places: Any, priorities: Any) -> Entries:
        highest = jnp.max(jnp.where(held == NOWHERE, 0, priorities), initial=given["highest"])
        tree, read = set_leaves(given["tree"], places, priorities)
        return {**given, "tree": tree, "highest": highest, "ring": Ring.of(given["ring"]).after({"tree": read}).packed}

    def _priorities(self, Adv: Any, rest: Entries, instead: jax.Array) -> jax.Array:
        """The priorities f32[B] of advantages; `instead` where these are not finite, or too large."""
        base = jnp.abs(jnp.asarray(Adv, jnp.float32)) + jnp.asarray(rest["epsilon"], jnp.float32)
        new = base ** jnp.asarray(rest["alpha"], jnp.float32)
        return jnp.where(new <= self.most, jnp.where(base > 0, jnp.maximum(new, _LEAST), 0), instead)

    def _rescale(self, given: Entries, rest: Entries, alpha: Any) -> Entries:
        """The priorities that another `alpha` makes of them."""
        ratio = jnp.asarray(alpha / rest["alpha"], jnp.float32)

        def scaled(x: jax.Array) -> jax.Array:
            return jnp.where(x > 0, jnp.clip(x**ratio, _LEAST, self.most), 0)

        leaves = scaled(given["tree"][0])
        return {**given, "tree": with_leaves(leaves), "highest": scaled(given["highest"]), "alpha": alpha}

    def _sample(self, given: Entries, rest: Entries, rng: Rng, count: int) -> tuple[TransitionBatch, jax.Array]:
        ring, tree = Ring.of(given["ring"]), given["tree"]
        drawn = draw_stratified(tree, jax.random.uniform(rng.next_key, (count,), jnp.float32))
        places = jnp.minimum(drawn, self.rows.capacity - 1)  # only where there are none to draw from
        rows, priorities = self.rows.get(given["stores"], places), value_at(tree, places)
        batch = self.rows.layout.unpacked(rows, ring.number_at(places, self.rows.capacity))
        # N and the sum of all are in each of these weights, and so in the largest, which belongs to the rarest.
        weights = (priorities / jnp.min(priorities)) ** -jnp.asarray(rest["beta"], jnp.float32)
        batch.W = jnp.where(priorities > 0, batch.W * weights, 0)
        return batch, ring.after({**rows, "priorities": priorities[:, None]}).packed


class _Alpha(Number):
    """A number that the priorities follow."""

    def __set__(self, obj: Any, value: Any) -> None:
        dtype = self._state_of(obj)[self._name].dtype
        traced = isinstance(value, jax.core.Tracer)
        new = jax.lax.convert_element_type(value, dtype) if traced else self.leaf(value, type(obj).__name__)
        obj._rescale(new if traced else new.astype(dtype))


class DevicePrioritizedReplayBuffer(BaseDeviceReplayBuffer):
    r"""Keeps the latest transitions in device memory, and draws from them in proportion to their priorities.

    It is the twin of :class:`PrioritizedReplayBuffer`, where the formulas are: the same methods mean the same, in a
    compiled loop too. How transitions are stored is told in :class:`DeviceReplayBuffer`. Priorities are float32.

    Parameters
    ----------
    capacity : int
        How many transitions are kept, at least 1 and at most 2^30. When it is reached, the oldest make room.
    example : gymnasium.Env, gymnasium.vector.VectorEnv or TransitionBatch [B, ...]
        Says which fields transitions have, see :class:`DeviceReplayBuffer`.
    alpha : float, optional
        How much the priorities matter, positive. It may be set at any time; the priorities follow.
    beta : float, optional
        How much of the bias is put right, at least 0; with 1 it is all. It may be set at any time, in a compiled loop
        too.
    epsilon : float, optional
        Added to advantages that come, so that there is a chance for each transition; at least 0. With 0, those without
        an advantage are never drawn. It may be set at any time.
    random_seed : int or key[], optional
        By default the operating system gives one.

    Raises
    ------
    TypeError, ValueError
        If a number is none, or out of range, or `example` says nothing about transitions.

    Warnings
    --------
    Never change a buffer in a :func:`coax.cond` (or ``jax.lax.cond``): XLA copies what goes through a branch, here all
    that is held, at every step. It is an error in ``over=`` of a :func:`coax.cond`. Leave out rows with
    ``add(batch, mask=mask)``, sample always, and let only the update depend on a condition.

    Notes
    -----
    To the state of a :class:`DeviceReplayBuffer` come ``tree`` (f32[N, 16] for each level: the priorities, and the sums
    of those below), ``highest`` (f32[]: the highest priority so far), and ``alpha``, ``beta`` and ``epsilon``.

    A priority that is positive is at least 1e-30 and at most a quarter of the largest float32 number, divided by
    the capacity.

    References
    ----------
    Schaul et al. (2016), Prioritized experience replay, sections 3.3 and 3.4 and appendix B.2.1.

    Examples
    --------
    >>> buffer = coax.experience_replay.DevicePrioritizedReplayBuffer(1000, example=batch, alpha=0.6, random_seed=7)
    >>> buffer.add(batch, Adv=np.array([0.1, 2.0, 0.0, -3.0]))
    >>> sample = buffer.sample(batch_size=2)
    >>> buffer.update(sample.idx, Adv=np.array([0.5, 0.25]))
    """

    alpha = _Alpha(0, _MOST, exclusive=True)
    beta = Number(0, _MOST)
    epsilon = Number(0, _MOST)

    def __init__(
        self,
        capacity: int,
        example: Any,
        alpha: float = 1.0,
        beta: float = 1.0,
        epsilon: float = 1e-4,
        random_seed: Any = None,
    ):
        super().__init__(capacity, random_seed)
        cls, numbers = type(self), {"alpha": alpha, "beta": beta, "epsilon": epsilon}
        leaves = {name: getattr(cls, name).leaf(x, cls.__name__) for name, x in numbers.items()}
        self._rule: PrioritizedRule = PrioritizedRule.shared(self._capacity, Layout.of(example))
        self._start(**leaves)

    def _rescale(self, alpha: Any) -> None:
        """Set `alpha`, and the priorities with it."""
        if not is_tracing():
            state = self._peek()
            with np.errstate(over="ignore"):
                highest = np.float64(state["highest"]) ** (float(alpha) / float(state["alpha"]))
            if not highest <= self._rule.most:
                raise ValueError(
                    f"alpha: expected finite priorities, got {highest} for the highest one. "
                    "Fix: pass a smaller alpha; nothing was changed."
                )
        self._change(self._rule.rescale, _OF_PRIORITIES, alpha)

    def add(self, transition_batch: TransitionBatch, Adv: Any = None, mask: Any = None) -> None:
        """Store transitions.

        Parameters
        ----------
        transition_batch : TransitionBatch [B, ...]
            At most as many as there is room for. What is stored counts in `idx` the transitions that were added since
            the buffer was empty: 0, 1, 2, ...
        Adv : f32[B], optional
            What their priorities come from, e.g. TD errors. By default they get the highest priority that any had so
            far, so that they are soon drawn (Schaul et al., 2016, algorithm 1). So do those, if they are on the device
            already, whose priority would not be finite.
        mask : bool[B], optional
            False for rows that are to be left out. By default all are stored.

        Raises
        ------
        TypeError
            If it is no :class:`coax.reward_tracing.TransitionBatch`, lacks fields of the example, or has other dtypes.
        ValueError
            If the shape of a field is another one, or there are too many transitions, or not as many advantages as
            transitions, or the sum of the priorities would not be finite, if they are in host memory. After these
            errors all is as before.
        """
        leaves = self._rule.rows.layout.leaves_of(transition_batch, self._capacity)
        count = len(leaves[0])
        given, mask = None if Adv is None else self._advantages(Adv, count), as_mask(mask, count)
        if count:
            self._change(self._rule.add, self._rule.changes, leaves, given, mask)

    def update(self, idx: Any, Adv: Any) -> None:
        """Give transitions new priorities.

        Parameters
        ----------
        idx : i32[B]
            Which ones: the field `idx` of a batch. Those that had to make room meanwhile are left out; of equal ones
            the last counts.
        Adv : f32[B]
            What their priorities come from, e.g. TD errors. If they are on the device already, a transition whose
            priority would not be finite keeps the one that it has.

        Raises
        ------
        TypeError
            If `idx` does not hold integers.
        ValueError
            If there are not as many advantages as ids, or the sum of the priorities would not be finite, if they are
            in host memory. Then no priority is changed.
        """
        numbers = as_ids(idx)
        given = self._advantages(Adv, len(numbers))
        if len(numbers):
            self._change(self._rule.update, _OF_PRIORITIES, numbers, given)

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
            As jax arrays. Its `W` is what was stored times the weights. Inside of a compiled function, which cannot
            raise, all have ``W = 0`` if there is no transition to be drawn, and so they count for nothing in an update.

        Raises
        ------
        TypeError
            If `batch_size` is not an integer.
        ValueError
            If it is less than 1.
        RuntimeError
            Outside of a compiled function, if there is no transition to be drawn.
        """
        size = at_least_one("batch_size", batch_size, 32)
        if not is_tracing() and not np.asarray(self._peek()["tree"][-1]).any():
            raise nothing_to_draw(self)
        return self._draw(size)

    def _advantages(self, Adv: Any, count: int) -> Any:
        """The advantages [B] as one array, checked as far as that takes no waiting for the device."""
        given = as_advantages(Adv, count)
        if not isinstance(given, jax.Array) and not is_tracing():
            with np.errstate(over="ignore"):
                priorities = (np.abs(given.astype(np.float64)) + self.epsilon) ** self.alpha
            check_priorities("Adv", priorities, self._rule.most)
        return given
