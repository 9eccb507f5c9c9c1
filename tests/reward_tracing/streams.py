"""Random streams of steps, and what a tracer should make of them, slowly."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def episodes(draw):
    """Draw a list of episodes: each is a list of keyword arguments for `add`. The last one may not be over.

    Every observation has a number of its own. The observation after a step is said never, at truncations only, or
    always; the action there is said or not.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    says_s_next = draw(st.booleans())
    out, number = [], 0
    for _ in range(draw(st.integers(1, 4))):
        length, end = draw(st.integers(1, 6)), draw(st.sampled_from(["terminated", "truncated", "both"]))
        steps = []
        for i in range(length):
            last = i == length - 1
            step = {
                "s": np.array([number, -number], np.float32),
                "a": int(number % 7),
                "r": float(rng.normal()),
                "done": last and end != "truncated",
                "truncated": last and end != "terminated",
                "logp": -float(rng.uniform()),
                "w": float(rng.uniform()),
            }
            number += 1
            if says_s_next or (last and end == "truncated"):
                step["s_next"] = np.array([number, -number], np.float32)
            if last and end == "truncated":
                number += 1
                if draw(st.booleans()):
                    step |= {"a_next": 8, "logp_next": -2.5}
            steps.append(step)
        out.append(steps)
    if draw(st.booleans()):
        out[-1][-1] |= {"done": False, "truncated": False}
        out[-1][-1].pop("a_next", None)
        out[-1][-1].pop("logp_next", None)
    return out


def is_over(episode):
    return episode[-1]["done"] or episode[-1]["truncated"]


def transition(episode, t, n, gamma):
    """Fields of the window of n steps from t, in the order of `FIELDS`; None if it is not over."""
    first, last = episode[t], episode[-1]
    rn = sum(gamma**i * step["r"] for i, step in enumerate(episode[t : t + n]))
    head = (first["s"], first["a"], first["logp"], rn)
    if t + n < len(episode):
        then = episode[t + n]
        return (*head, gamma**n, then["s"], then["a"], then["logp"], first["w"])
    if not is_over(episode):
        return None
    if last["done"]:
        return (*head, 0.0, last.get("s_next", first["s"]), first["a"], first["logp"], first["w"])
    unknown = "a_next" not in last
    a_next, logp_next = (first["a"], np.nan) if unknown else (last["a_next"], last["logp_next"])
    return (*head, gamma ** (len(episode) - t), last["s_next"], a_next, logp_next, first["w"])


FIELDS = ("S", "A", "logP", "Rn", "In", "S_next", "A_next", "logP_next", "W")


def assert_rows(batch, rows):
    """The batch holds exactly these transitions, in this order."""
    assert batch.batch_size == len(rows)
    for name, column in zip(FIELDS, zip(*rows, strict=True), strict=True):
        np.testing.assert_allclose(getattr(batch, name), np.stack(column), rtol=1e-5, atol=1e-6, err_msg=name)
