"""Connect Four for two players, who take turns in one environment."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from ..errors import EpisodeDoneError, UnavailableActionError

__all__ = ("ConnectFourEnv",)

_NO_ACTION = 7
_STATE_ID = re.compile(r"([12])([01])([0-7])([0-9a-f]{17})")  # 17 hexadecimal digits hold 42 digits of base 3
_TOKENS = " \N{BLACK CIRCLE}\N{WHITE CIRCLE}"


def _line_filters() -> np.ndarray:
    """The ten ways to have four in line in a square of 4 by 4: columns, rows, diagonals. u8[10, 4, 4]."""
    square = np.eye(4, dtype=np.uint8)
    columns = [np.tile(square[i], (4, 1)) for i in range(4)]
    return np.stack([*columns, *(c.T for c in columns), square, square[::-1]])


class ConnectFourEnv(gymnasium.Env):
    """The game Connect Four.

    Two players take turns: each ``step`` is a move of the player to move, and its reward is that player's. The first to
    have four tokens in line, in any of the four directions, wins.

    An observation is a ``u8[7, 7, 2]``, seen by the player who is to move. ``s[0]`` marks the columns that are not full
    (the same in both planes); ``s[1:, :, 0]`` are the tokens of the player to move, ``s[1:, :, 1]`` those of the other,
    the top row first. The planes are swapped at every move.

    Parameters
    ----------
    render_mode : 'human' or 'ansi', optional
        Whether to print the board after each move, or to return it as a string from :meth:`render`.

    Attributes
    ----------
    available_actions : i64[n]
        The columns that are not full.
    available_actions_mask : bool[7]
        The same as a mask.
    done : bool
        Whether the game is over.
    state : u8[7, 7, 2]
        The observation.
    state_id : str
        The position in 20 characters, for :meth:`set_state`.
    """

    num_rows: ClassVar[int] = 6
    num_cols: ClassVar[int] = 7
    num_players: ClassVar[int] = 2
    win_reward: ClassVar[float] = 1.0
    draw_reward: ClassVar[float] = 0.0
    loss_reward: ClassVar[float] = -1.0  # what a win is worth to the other player; no step returns it
    max_time_steps: ClassVar[int] = 42
    filters: ClassVar[np.ndarray] = _line_filters()
    metadata: dict[str, Any] = {"render_modes": ["human", "ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None):
        if render_mode not in (None, "human", "ansi"):
            raise ValueError(
                f"render_mode: expected 'human', 'ansi' or None, got {render_mode!r}. Fix: pass one of them."
            )
        self.render_mode = render_mode
        self.action_space = Discrete(self.num_cols)
        self.observation_space = MultiDiscrete(np.full((self.num_rows + 1, self.num_cols, 2), 2), dtype=np.uint8)
        self._clear()

    def _clear(self) -> None:
        self._board = np.zeros((self.num_rows, self.num_cols), np.uint8)  # 0 free, 1 first player, 2 second player
        self._player = 1
        self._last_action = _NO_ACTION
        self.done = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a game with an empty board. There is nothing random in it, and there are no options."""
        super().reset(seed=seed, options=options)
        self._clear()
        if self.render_mode == "human":
            self.render()
        return self.state, {"state_id": self.state_id}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drop a token of the player to move into a column.

        Raises
        ------
        EpisodeDoneError
            If the game is over.
        ValueError
            If `action` is not a column.
        UnavailableActionError
            If the column is full.
        """
        if self.done:
            raise EpisodeDoneError("ConnectFourEnv.step: the game is over. Fix: call env.reset() first.")
        column = self._checked(action)
        row = int(np.count_nonzero(self._board[:, column] == 0)) - 1
        self._board[row, column] = self._player
        won = _has_line(self._board == self._player)
        self.done = won or bool(self._board.all())
        self._player, self._last_action = 3 - self._player, column
        if self.render_mode == "human":
            self.render()
        return self.state, self.win_reward if won else self.draw_reward, self.done, False, {"state_id": self.state_id}

    def _checked(self, action: Any) -> int:
        if not self.action_space.contains(action):
            raise ValueError(
                f"action: expected an integer from 0 to {self.num_cols - 1}, got {action!r}. "
                "Fix: pass the number of a column."
            )
        if self._board[0, action]:
            raise UnavailableActionError(
                f"action: column {action} is full. Fix: choose one of env.available_actions: {self.available_actions}."
            )
        return int(action)

    @property
    def available_actions_mask(self) -> np.ndarray:
        return self._board[0] == 0

    @property
    def available_actions(self) -> np.ndarray:
        return np.flatnonzero(self.available_actions_mask)

    @property
    def state(self) -> np.ndarray:
        planes = np.stack([self._board == self._player, self._board == 3 - self._player], axis=-1)
        columns = np.repeat(self.available_actions_mask[None, :, None], 2, axis=-1)
        return np.concatenate([columns, planes]).astype(np.uint8)

    @property
    def state_id(self) -> str:
        cells = "".join(map(str, self._board.ravel()))
        return f"{self._player:1x}{self.done:1x}{self._last_action:1x}{int(cells, 3):017x}"

    def set_state(self, state_id: str) -> None:
        """Put the game into a position.

        Parameters
        ----------
        state_id : str
            What ``state_id`` was there: the player to move (1 or 2), whether the game is over, the last column (7:
            none yet), and the board as a number of base 3, row by row from the top, in 17 hexadecimal digits.

        Raises
        ------
        ValueError
            If it is not such a string. The game stays as it was.
        """
        parts = _STATE_ID.fullmatch(state_id) if isinstance(state_id, str) else None
        cells = np.base_repr(int(parts[4], 16), 3).zfill(self.max_time_steps) if parts else ""
        board = np.array(list(cells), np.uint8)
        if parts is None or board.size != self.max_time_steps or _floats(board.reshape(self.num_rows, self.num_cols)):
            raise ValueError(
                f"state_id: expected 20 hexadecimal digits as env.state_id gives them, got {state_id!r}. "
                "Fix: pass what env.state_id was in the position."
            )
        self._board = board.reshape(self.num_rows, self.num_cols)
        self._player, self.done, self._last_action = int(parts[1]), parts[2] == "1", int(parts[3])

    def render(self, *args: Any, **kwargs: Any) -> str | None:
        """Print the board, or return it if the render mode is 'ansi'. Arguments are ignored."""
        rows = ["|" + "|".join(f" {_TOKENS[cell]} " for cell in row) + "|" for row in self._board]
        lines = ["  " + "   ".join(map(str, range(self.num_cols))), *rows, "+" + "---+" * self.num_cols]
        board = "\n".join(lines) + "\n"
        if self.render_mode == "ansi":
            return board
        print(board)
        return None


def _has_line(mine: np.ndarray) -> bool:
    """Whether a board of one player's tokens holds four in line."""
    windows = np.lib.stride_tricks.sliding_window_view(mine, (4, 4))  # every line of four lies in such a square
    return bool((np.tensordot(windows, ConnectFourEnv.filters, ([2, 3], [1, 2])) == 4).any())


def _floats(board: np.ndarray) -> bool:
    """Whether a token lies above a free cell."""
    return bool(((board[:-1] != 0) & (board[1:] == 0)).any())
