"""Random rollouts with terminations and truncations anywhere."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def rollouts(draw, gammas=(0.0, 0.5, 0.9, 1.0)):
    """Draw (rewards, discount, cut, v_next), each [T, E]; v_next is NaN where the episode terminated."""
    T, E = draw(st.sampled_from([1, 7])), 2  # few shapes, as each is compiled
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    ends = rng.choice(["goes on", "terminates", "truncated"], p=[0.6, 0.2, 0.2], size=(T, E))
    discount = np.where(ends == "terminates", 0, draw(st.sampled_from(gammas))).astype(np.float32)
    rewards, v_next = rng.normal(size=(2, T, E)).astype(np.float32)
    return rewards, discount, ends != "goes on", np.where(ends == "terminates", np.nan, v_next)
