"""Random streams of steps, and what a tracer should make of them, slowly."""

import numpy as np
from hypothesis import strategies as st

from coax.reward_tracing import Rollout, concatenate


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


@st.composite
def rollouts(draw, T=None):
    """Draw a rollout [T, 2], the weights [T, 2], and the steps of each environment that are in it.

    A row that is no step may follow the end of an episode, or each, and follows what is over before T. It is NaN
    wherever it can be, and its flags say anything. The true next observation of each step is said. The last step of an
    episode that is still running is said to be truncated in the steps, but not in the rollout.
    """
    gap = draw(st.sampled_from(["never", "always", "sometimes"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))

    def flags():
        return dict(zip(("done", "truncated"), rng.random(2) < 0.5, strict=True))

    rows, steps = [], []
    for _ in range(2):
        column = []
        for episode in draw(episodes()):
            following = [*episode[1:], {"s": episode[-1]["s"] + 0.5}]
            column += [{"s_next": t["s"], **s} for s, t in zip(episode, following, strict=True)]
            if gap == "always" or (gap == "sometimes" and rng.random() < 0.5):
                column.append(None)
        rows.append(column)
        steps.append([step for step in column if step is not None])
    T = T or max(map(len, rows))
    rows = [[NO_STEP | flags() if x is None else x for x in c + [None] * (T - len(c))] for c in rows]
    columns = {name: np.array([[x[name] for x in column] for column in rows]).swapaxes(0, 1) for name in NO_STEP}
    for column in steps:
        if not column[-1]["done"]:
            column[-1] = column[-1] | {"truncated": True}
    rollout = Rollout(*(columns[name] for name in NAMES), ~np.isnan(columns["r"]))
    return rollout, columns["w"], steps


NAMES = ("s", "a", "logp", "r", "done", "truncated", "s_next")
NAN = np.full(2, np.nan, np.float32)
NO_STEP = {"s": NAN, "a": 0, "logp": np.nan, "r": np.nan, "done": False, "truncated": False, "s_next": NAN, "w": np.nan}


def traced(tracer, steps):
    """What a tracer makes of steps, in the order in which they begin."""
    batches = []
    for step in steps:
        tracer.add(**step)
        if tracer:
            batches.append(tracer.flush())
    return concatenate(batches)


def assert_same_rows(batch, rows, want, names=FIELDS):
    """These rows of one batch are the first ones of another."""
    for name in names:
        got, expected = (np.asarray(getattr(tb, name)) for tb in (batch, want))
        np.testing.assert_allclose(got[rows], expected[: np.sum(rows)], rtol=1e-5, atol=1e-6, err_msg=name)
