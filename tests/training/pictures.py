"""An environment whose pictures say which step they show."""

import gymnasium
import numpy as np


class Film(gymnasium.Env):
    """Episodes of so many steps. The picture at step t is of the color (20 * t, 100, last action); its size is odd."""

    metadata = {"render_modes": ["rgb_array", "ansi", "human"]}  # noqa: RUF012
    observation_space = gymnasium.spaces.Discrete(100)
    action_space = gymnasium.spaces.Discrete(5)

    def __init__(self, length=4, render_mode="rgb_array"):
        self.length, self.render_mode = length, render_mode
        self.t, self.action, self.rendered = 0, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.action = 0, 0
        return 0, {}

    def step(self, action):
        self.t, self.action = self.t + 1, int(action)
        return self.t, 1.0, self.t == self.length, False, {}

    def render(self):
        self.rendered += 1
        if self.render_mode == "ansi":
            return f"step {self.t}, action {self.action}"
        if self.render_mode == "human":
            return None
        return np.full((15, 21, 3), (20 * self.t, 100, self.action), np.uint8)
