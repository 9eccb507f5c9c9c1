"""Episodes that are known in advance: environments, and what each step of them is."""

import gymnasium
import numpy as np
from gymnasium import spaces

LIMIT = 5


class Schedule(gymnasium.Env):
    """Observations say which environment, which episode and which step this is: three numbers.

    Some episodes terminate after 1 to 4 steps; the others are cut off after 5, by a time limit around this.
    """

    action_space = spaces.Discrete(7)

    def __init__(self, number, kind="box"):
        self.number, self.episode, self.kind = number, -1, kind
        box = spaces.Box(-1, 1000, (3,), np.float32)
        self.observation_space = {
            "box": box,
            "dict": spaces.Dict({"all": box, "step": spaces.Discrete(1000)}),
            "tuple": spaces.Tuple((spaces.Discrete(1000), box)),
        }[kind]

    def observation(self):
        box = np.array([self.number, self.episode, self.t], np.float32)
        return {"box": box, "dict": {"all": box, "step": self.t}, "tuple": (self.t, box)}[self.kind]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        assert seed is None or self.episode < 0, "a seed on a later reset"
        self.episode += 1
        self.t = 0
        return self.observation(), {}

    def step(self, action):
        r = self.number + 10 * self.episode + 0.5 * self.t + 100 * int(action)
        self.t += 1
        return self.observation(), r, self.t == self.length, False, {}

    @property
    def length(self):
        return [2, 9, 1, 4, 9, 3][(self.number + 2 * self.episode) % 6]


def make(number, kind="box"):
    return gymnasium.wrappers.TimeLimit(Schedule(number, kind), LIMIT)


class Make:
    """A function that makes one of them, which other processes can read."""

    def __init__(self, number, kind="box"):
        self.number, self.kind = number, kind

    def __call__(self):
        return make(self.number, self.kind)


def numbers_in(S):
    """The three numbers f64[..., 3] of observations."""
    return np.asarray(S["all"] if isinstance(S, dict) else S[1] if isinstance(S, tuple) else S, float)


def act(S):
    """What to do: a function of the observation. Also the log-propensity."""
    x = numbers_in(S)
    A = (x[..., 0] + 3 * x[..., 1] + x[..., 2]).astype(np.int64) % 7
    return A, -0.1 * (1 + A)
