"""Small environments whose values are known by hand."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import coax


class OneState(gymnasium.Env):
    """One state and one reward for each action, for ever. Give it a time limit with :func:`one_state`."""

    observation_space = gymnasium.spaces.Discrete(1)

    def __init__(self, rewards):
        self.rewards = rewards
        self.action_space = gymnasium.spaces.Discrete(len(rewards))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, self.rewards[action], False, False, {}


def one_state(*rewards, max_steps):
    return gymnasium.wrappers.TimeLimit(OneState(rewards), max_steps)


class RandomWalk(gymnasium.Env):
    """Nineteen states in a row. Each step goes left or right by chance, whatever the action.

    The walk begins in the middle and ends beyond the ends, with reward -1 on the left and 1 on the right (Sutton and
    Barto 2018, example 7.1). The chance to end on the right is (i + 1) / 20 from state i, hence its value is
    (i + 1) / 20 - (19 - i) / 20 = (i - 9) / 10.
    """

    n_states = 19
    observation_space = gymnasium.spaces.Discrete(n_states)
    action_space = gymnasium.spaces.Discrete(1)
    true_values = np.arange(-9, 10) / 10

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.s = 9
        return self.s, {}

    def step(self, action):
        self.s += 1 if self.np_random.random() < 0.5 else -1
        over = not 0 <= self.s < self.n_states
        r = (-1.0 if self.s < 0 else 1.0) if over else 0.0
        return int(np.clip(self.s, 0, self.n_states - 1)), r, over, False, {}


class JaxLake(coax.Stateful):
    """A slippery 4x4 lake written in JAX: action a moves that way, or to one side of it, each by one chance in three.

    The next episode begins in the very step in which one ends: :attr:`observation` is then its first state.
    """

    observation_space = gymnasium.spaces.Discrete(16)
    action_space = gymnasium.spaces.Discrete(4)
    max_steps = 20
    lake = np.array(list("SFFFFHFHFFFHHFFG"))
    moves = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]], np.int32)  # left, down, right, up: (row, column)

    def __init__(self, seed=0):
        self.state = self.init(jax.random.key(seed))

    def init(self, key):
        return {"s": jnp.int32(0), "t": jnp.int32(0), "rng": coax.Rng.seeded(key)}

    @property
    def observation(self):
        return self.state["s"]

    def step(self, a):
        """``(s_next, r, terminated, truncated)``, where ``s_next`` is the true next state."""
        s, t, rng = self.state["s"], self.state["t"], self.state["rng"]
        slip = jax.random.randint(rng.next_key, (), -1, 2)
        row, column = jnp.clip(jnp.stack((s // 4, s % 4)) + jnp.asarray(self.moves)[(a + slip) % 4], 0, 3)
        s_next = (4 * row + column).astype(jnp.int32)
        terminated = jnp.asarray((self.lake == "H") | (self.lake == "G"))[s_next]
        truncated = (t + 1 >= self.max_steps) & ~terminated
        over = terminated | truncated
        self.state = {"s": jnp.where(over, 0, s_next), "t": jnp.where(over, 0, t + 1), "rng": rng.advanced()}
        return s_next, jnp.asarray(self.lake == "G")[s_next].astype(float), terminated, truncated
