"""A small stateful object with known behaviour, for the tests of the state protocol."""

import jax
import jax.numpy as jnp

import coax


class Counter(coax.Stateful):
    """Counts, and walks at random."""

    def __init__(self, seed=0, name=None):
        self.state = self.init(jax.random.key(seed))
        if name is not None:
            self.name = name

    def init(self, key):
        return {"n": jnp.int32(0), "x": jnp.zeros(3), "rng": coax.Rng.seeded(key)}

    def step(self, by=1):
        """Count, and return the count before."""
        state = self.state
        x = state["x"] + jax.random.normal(state["rng"].next_key, (3,))
        self.state = {"n": state["n"] + by, "x": x, "rng": state["rng"].advanced()}
        return state["n"]

    @property
    def n(self):
        return self.state["n"]


class Pair(coax.Stateful):
    """Refers to two objects, and reads one of them when it starts."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.state = {"seen": first.state["x"]}

    def init(self, key):
        return {"seen": self.first.state["x"] + 1}

    @property
    def children(self):
        return self.first, self.second
