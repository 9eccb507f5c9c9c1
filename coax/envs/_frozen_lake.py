"""A lake to cross, in JAX."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from ._functional import FunctionalEnv, Outcome

__all__ = ("FrozenLake",)

_MAPS = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
}
_BY_MAP = -1  # as many steps as suit the map
_MOVES = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])  # left, down, right, up: (row, column)


@dataclasses.dataclass(frozen=True)
class FrozenLake(FunctionalEnv):
    """Cross a frozen lake without falling into a hole: Gymnasium's ``FrozenLake-v1``, in JAX.

    Two environments with the same parameters are equal.

    Parameters
    ----------
    desc : sequence of str, optional
        The map, one string per row, all of one length: ``S`` a place to start from (one or several, each as likely),
        ``F`` ice, ``H`` a hole, ``G`` a goal.
    map_name : str, optional
        ``"4x4"`` or ``"8x8"``, unless `desc` is given.
    is_slippery : bool, optional
        Whether a step may go to one side of where it should.
    success_rate : float, optional
        The probability that a step on slippery ice goes where it should. Either side has half of the rest.
    reward_schedule : tuple of 3 floats, optional
        The reward for reaching a goal, a hole, and ice.
    max_episode_steps : int or None, optional
        After how many steps an episode is cut off, unless :class:`JaxVectorEnv` is told otherwise. By default 200 on
        the map ``"8x8"``, and 100 on all others.

    Raises
    ------
    TypeError, ValueError
        If a parameter is none of these.

    Notes
    -----
    The observation is ``row * columns + column``. Action 0 goes to the left, 1 down, 2 to the right and 3 up; a step
    off the map stays where it is. An episode terminates in a hole and at a goal.

    Examples
    --------
    >>> lake = coax.envs.FrozenLake(["SFFFF", "FHHHF", "SFFFG"], is_slippery=False)
    >>> env = coax.envs.JaxVectorEnv(lake, num_envs=8, random_seed=13)
    """

    desc: Sequence[str] | None = None
    map_name: str | None = dataclasses.field(default="4x4", repr=False, compare=False)
    is_slippery: bool = True
    success_rate: float = 1 / 3
    reward_schedule: tuple[float, float, float] = (1, 0, 0)
    max_episode_steps: int | None = dataclasses.field(default=_BY_MAP, kw_only=True)
    observation_space: spaces.Discrete = dataclasses.field(init=False, repr=False, compare=False)
    action_space: spaces.Discrete = dataclasses.field(
        default_factory=lambda: spaces.Discrete(4), init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        desc = _named(self.map_name) if self.desc is None else _rows(self.desc)
        rewards = tuple(self.reward_schedule)
        if len(rewards) != 3 or not all(isinstance(r, numbers.Real) for r in rewards):
            raise ValueError(
                f"reward_schedule: expected three numbers, got {self.reward_schedule!r}. "
                "Fix: pass the rewards for (goal, hole, ice), such as (1, 0, 0)."
            )
        if not 0 <= self.success_rate <= 1:
            raise ValueError(
                f"success_rate: expected a probability, got {self.success_rate!r}. "
                "Fix: pass a number from 0 to 1, such as 1 / 3."
            )
        steps = self.max_episode_steps
        if steps == _BY_MAP:
            steps = 200 if desc == _MAPS["8x8"] else 100
        space = spaces.Discrete(len(desc) * len(desc[0]))
        checked = {"desc": desc, "reward_schedule": rewards, "max_episode_steps": steps, "observation_space": space}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @functools.cached_property
    def _letters(self) -> np.ndarray:
        """The map, U[places]."""
        return np.array([list(row) for row in self.desc]).ravel()  # type: ignore[union-attr]

    @functools.cached_property
    def _next(self) -> np.ndarray:
        """Where a step in each direction leads to, i64[places, 4]. None leads out of a hole or a goal."""
        shape = len(self.desc), len(self.desc[0])  # type: ignore[arg-type, index]
        places = np.stack(np.unravel_index(np.arange(self._letters.size), shape), -1)
        row, column = np.moveaxis(np.clip(places[:, None] + _MOVES, 0, np.array(shape) - 1), -1, 0)
        return np.where(self._over[:, None], np.arange(self._letters.size)[:, None], row * shape[1] + column)

    @functools.cached_property
    def _over(self) -> np.ndarray:
        """Whether a place is terminal, bool[places]."""
        return np.isin(self._letters, ("H", "G"))

    @functools.cached_property
    def _rewards(self) -> np.ndarray:
        """The reward of a step in each direction, f32[places, 4]. There is none in a hole or at a goal."""
        goal, hole, ice = self.reward_schedule
        reached = np.select([self._letters == "G", self._letters == "H"], [goal, hole], ice)[self._next]
        return np.where(self._over[:, None], 0, reached).astype(np.float32)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Any of the places to start from."""
        starts = np.flatnonzero(self._letters == "S")
        state = jnp.asarray(starts)[jax.random.randint(key, (), 0, starts.size)]
        return state, state

    def step(self, state: jax.Array, action: Any, key: jax.Array) -> Outcome:
        """One step, on slippery ice maybe to one side."""
        if self.is_slippery:
            u, miss = jax.random.uniform(key), (1 - self.success_rate) / 2
            action = action + (u >= 1 - miss).astype(int) - (u < miss)
        direction = action % 4
        state, reward = jnp.asarray(self._next)[state, direction], jnp.asarray(self._rewards)[state, direction]
        return Outcome(state, state, reward, jnp.asarray(self._over)[state], jnp.bool_(False))


def _named(map_name: Any) -> tuple[str, ...]:
    if map_name not in _MAPS:
        raise ValueError(
            f"map_name: expected one of {list(_MAPS)}, got {map_name!r}. Fix: pass one of these, or a map of your own "
            "as desc=..., such as gymnasium.envs.toy_text.frozen_lake.generate_random_map(seed=13)."
        )
    return _MAPS[map_name]


def _rows(desc: Any) -> tuple[str, ...]:
    """A map, checked."""
    fix = 'Fix: pass one string per row, such as ["SFF", "FHG"].'
    if isinstance(desc, str | bytes) or not isinstance(desc, Iterable):
        raise TypeError(f"desc: expected a sequence of str, got {desc!r}. {fix}")
    rows = tuple("".join(x.decode() if isinstance(x, bytes) else x for x in row) for row in desc)
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError(f"desc: expected rows of one length, got the lengths {[len(row) for row in rows]}. {fix}")
    unknown = sorted(set("".join(rows)) - set("SFHG"))
    if unknown:
        raise ValueError(f"desc: expected the letters S, F, H and G, got {''.join(unknown)!r}. {fix}")
    if "S" not in "".join(rows):
        raise ValueError(f"desc: expected a place to start from, got none in {rows}. Fix: put an S into the map.")
    return rows
