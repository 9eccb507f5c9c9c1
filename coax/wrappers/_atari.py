"""What is usually done to the screen of an Atari game before it is learned from."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

__all__ = ("AtariPreprocessing",)

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue


class AtariPreprocessing(gymnasium.Wrapper):
    """Skip frames, and make a small grey picture of the last two that are not skipped.

    An action is repeated for `frame_skip` frames, whose rewards are added up. What is observed is the brighter of the
    last two frames at each point, because the console drew some objects in every second frame only, in grey, averaged
    over areas. Nothing but NumPy is needed.

    Parameters
    ----------
    env : gymnasium.Env
        A game that skips no frames itself: ``gymnasium.make("ALE/Pong-v5", frameskip=1, obs_type="grayscale")``. Frames
        are u8[height, width], or u8[height, width, 3] in colour, which takes longer.
    frame_skip : int, optional
        For how many frames an action is taken, at least 1.
    size : int, optional
        Height and width of the picture.
    noop_max : int, optional
        At most so many frames without an action, drawn uniformly, come before an episode begins.
    terminal_on_life_loss : bool, optional
        Say that an episode terminated when a life is lost. The game goes on after ``reset``.

    Raises
    ------
    TypeError
        If observations are no frames.
    ValueError
        If one of the numbers is too small, or the game skips frames.

    References
    ----------
    Mnih et al. (2015), Human-level control through deep reinforcement learning, Methods; Machado et al. (2018),
    Revisiting the Arcade Learning Environment, section 4, against `terminal_on_life_loss`.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        *,
        frame_skip: int = 4,
        size: int = 84,
        noop_max: int = 30,
        terminal_on_life_loss: bool = False,
    ):
        super().__init__(env)
        for name, number, least in (("frame_skip", frame_skip, 1), ("size", size, 1), ("noop_max", noop_max, 0)):
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise ValueError(f"{name}: expected an int of at least {least}, got {number!r}. Fix: leave it out.")
        space = env.observation_space
        if not isinstance(space, gymnasium.spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
            raise TypeError(
                f"env: expected frames u8[height, width] or u8[height, width, 3], got {space}. "
                'Fix: gymnasium.make("ALE/Pong-v5", frameskip=1, obs_type="grayscale").'
            )
        skipped = getattr(env.unwrapped, "_frameskip", 1)
        if skipped != 1:
            raise ValueError(f"env: expected a game that skips no frames, got frameskip={skipped}. Fix: frameskip=1.")
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size), np.uint8)
        self._frame_skip, self._noop_max = frame_skip, noop_max
        self._terminal_on_life_loss = terminal_on_life_loss
        height, width, *_ = space.shape
        self._rows, self._columns = cells_and_shares(height, size), cells_and_shares(width, size)
        self._lives, self._goes_on = 0, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; after the loss of a life, unless `seed` or `options` is given, the game goes on."""
        if self._goes_on and seed is None and options is None:
            frame, _, terminated, truncated, info = self.env.step(0)
            if not (terminated or truncated):
                return self._begun(frame, info)
        frame, info = self.env.reset(seed=seed, options=options)
        for _ in range(self.np_random.integers(self._noop_max + 1)):
            frame, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                frame, info = self.env.reset(options=options)
        return self._begun(frame, info)

    def _begun(self, frame: np.ndarray, info: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        self._lives, self._goes_on = info.get("lives", 0), False
        return self._picture(frame, frame), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take an action for several frames, fewer at the end of an episode."""
        total, frames = 0.0, []
        for _ in range(self._frame_skip):
            frame, r, terminated, truncated, info = self.env.step(action)
            frames.append(frame)
            total += float(r)
            if self._terminal_on_life_loss and not (terminated or truncated):
                self._goes_on = terminated = info.get("lives", 0) < self._lives
            if terminated or truncated:
                break
        self._lives = info.get("lives", 0)
        return self._picture(frames[-1], frames[max(-2, -len(frames))]), total, terminated, truncated, info

    def _picture(self, frame: np.ndarray, before: np.ndarray) -> np.ndarray:
        both = np.maximum(frame, before)
        grey = both if both.ndim == 2 else np.einsum("hwc,c->hw", both, _LUMINANCE)
        low = sum(share[:, None] * grey[cells] for cells, share in self._rows)
        small = sum(share * low[:, cells] for cells, share in self._columns)
        return np.rint(small).astype(np.uint8)


def cells_and_shares(old: int, new: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Averages over areas, as a sum of few terms: each of `new` cells of the same total length overlaps few of `old`.

    A matrix product would do as well, but its threads would wait for those of jax, and those for them.

    Returns
    -------
    list of (i64[new], f32[new])
        The terms: which cell, and how large a share of the new one it is.
    """
    edges = np.arange(new + 1) * old / new
    first = np.floor(edges[:-1]).astype(int)
    terms = []
    for k in range(int(np.max(np.ceil(edges[1:]) - first))):
        cells = np.minimum(first + k, old - 1)
        overlap = np.minimum(edges[1:], first + k + 1) - np.maximum(edges[:-1], first + k)
        terms.append((cells, (np.clip(overlap, 0, None) * new / old).astype(np.float32)))
    return terms
