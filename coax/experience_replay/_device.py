"""A replay buffer in device memory that is sampled uniformly."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._donation import InPlace
from .._entries import Rng
from .._sharing import Rule
from .._stateful import is_tracing
from ..reward_tracing import TransitionBatch
from ._base import as_size
from ._device_base import BaseDeviceReplayBuffer, Rows, as_mask
from ._draws import without_replacement
from ._layout import Layout
from ._ring import Ring

__all__ = ("DeviceReplayBuffer",)


class UniformRule(Rule):
    """Pure functions of transitions that are drawn uniformly.

    Parameters
    ----------
    capacity : int
    layout : Layout
    """

    changes = ("stores", "ring")  # the entries of the state that are changed in place

    def __init__(self, capacity: int, layout: Layout):
        self.rows = Rows(capacity, layout)
        self.empty = self.rows.empty
        self.read = jax.jit(self.rows.read)
        self.add = InPlace(self._add, "DeviceReplayBuffer.add")
        self.sample = jax.jit(self._sample, static_argnums=3)

    def _add(self, given: dict[str, Any], rest: dict[str, Any], leaves: list[Any], mask: Any) -> dict[str, Any]:
        return self.rows.put(given, leaves, mask)[0]

    def _sample(
        self, given: dict[str, Any], rest: dict[str, Any], rng: Rng, count: int
    ) -> tuple[TransitionBatch, jax.Array]:
        ring = Ring.of(given["ring"])
        ages = without_replacement(rng.next_key, count, ring.size, self.rows.capacity) + 1
        places, idx = ring.at_age(ages, self.rows.capacity)
        rows = self.rows.get(given["stores"], places)
        batch = self.rows.layout.unpacked(rows, idx)
        batch.W = jnp.where(jnp.arange(count) < ring.size, batch.W, 0)
        return batch, ring.after(rows).packed


class DeviceReplayBuffer(BaseDeviceReplayBuffer):
    """Keeps the latest transitions in device memory, and draws from them uniformly, in a compiled loop too.

    It is the twin of :class:`SimpleReplayBuffer`: the same methods mean the same. All memory is allocated when it is
    made, and what is added is written in place. `logP`, `Rn`, `In`, `logP_next` and `W` are float32. A transition is
    stored as it is: observations that belong to several of them are stored as often.

    Parameters
    ----------
    capacity : int
        How many transitions are kept, at least 1 and at most 2^30. When it is reached, the oldest make room.
    example : gymnasium.Env, gymnasium.vector.VectorEnv or TransitionBatch [B, ...]
        Says which fields transitions have, and their shapes and dtypes. It is not kept. From an environment it follows
        that there is no next action, and no `extra_info`. In a batch there may be ``jax.ShapeDtypeStruct`` in place of
        arrays. Fields of what is added that the example does not have (None) are left out.
    random_seed : int or key[], optional
        By default the operating system gives one.

    Raises
    ------
    TypeError, ValueError
        If `capacity` is not an integer or out of range, or `example` says nothing about transitions.

    Warnings
    --------
    Never change a buffer in a :func:`coax.cond` (or ``jax.lax.cond``): XLA copies what goes through a branch, here all
    that is held, at every step. It is an error in ``over=`` of a :func:`coax.cond`. Leave out rows with
    ``add(batch, mask)``, sample always, and let only the update depend on a condition.

    Notes
    -----
    The state has the entries ``stores`` (for each dtype one array [capacity, D] with all fields of this dtype side by
    side), ``ring`` (i32[4]: the place of the next transition, how many are held, the running number of the next one,
    and 0) and ``rng``. Whoever reads ``buffer.state`` holds on to the arrays, so the next :meth:`add` copies them once.

    Running numbers are i32. After 2^31 - 1 transitions they go on at -2^31, which is no harm.

    References
    ----------
    Lin (1992), Self-improving reactive agents based on reinforcement learning, planning and teaching, section 3.4;
    Mnih et al. (2015), Methods, "Training algorithm for deep Q-networks".

    Examples
    --------
    >>> buffer = coax.experience_replay.DeviceReplayBuffer(capacity=1000, example=batch, random_seed=7)
    >>> @coax.jit(over=buffer)
    ... def add_and_sample(batch):
    ...     buffer.add(batch)
    ...     return buffer.sample(batch_size=2)
    >>> add_and_sample(batch).batch_size
    2
    >>> len(buffer)
    4
    """

    def __init__(self, capacity: int, example: Any, random_seed: Any = None):
        super().__init__(capacity, random_seed)
        self._rule: UniformRule = UniformRule.shared(self._capacity, Layout.of(example))
        self._start()

    def add(self, transition_batch: TransitionBatch, mask: Any = None) -> None:
        """Store transitions.

        Parameters
        ----------
        transition_batch : TransitionBatch [B, ...]
            At most as many as there is room for. What is stored counts in `idx` the transitions that were added since
            the buffer was empty: 0, 1, 2, ...
        mask : bool[B], optional
            False for rows that are to be left out, for instance those of :func:`coax.envs.transition` that are no
            steps. By default all are stored.

        Raises
        ------
        TypeError
            If it is no :class:`coax.reward_tracing.TransitionBatch`, lacks fields of the example, or has other dtypes.
        ValueError
            If the shape of a field is another one, or there are too many transitions. All errors name the field, and
            then nothing is stored.
        """
        leaves = self._rule.rows.layout.leaves_of(transition_batch, self._capacity)
        mask = as_mask(mask, len(leaves[0]))
        if len(leaves[0]):
            self._change(self._rule.add, self._rule.changes, leaves, mask)

    def sample(self, batch_size: int = 32) -> TransitionBatch:
        """Draw transitions uniformly, without replacement.

        Parameters
        ----------
        batch_size : int, optional
            How many, B; at most the capacity.

        Returns
        -------
        TransitionBatch [B, ...]
            In random order, as jax arrays. Inside of a compiled function, which cannot raise, the last rows have
            ``W = 0`` if there are less than B transitions, and so they count for nothing in an update.

        Raises
        ------
        TypeError
            If `batch_size` is not an integer.
        ValueError
            If it is less than 1, or more than there can be; outside of a compiled function also if it is more than
            there are.
        """
        size = as_size(batch_size)
        most = self._capacity if is_tracing() else len(self)
        if not 0 < size <= most:
            what, fix = "in the buffer", "wait until len(buffer) >= batch_size"
            if is_tracing():
                what, fix = "that there is room for", "pass a smaller one, or make the buffer larger"
            raise ValueError(
                f"batch_size: expected a number from 1 to the {most} transitions {what}, got {batch_size}. Fix: {fix}."
            )
        return self._draw(size)
