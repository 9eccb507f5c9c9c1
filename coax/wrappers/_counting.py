"""Counting steps and episodes of environments inside JAX, as pure functions of a state."""

from __future__ import annotations

from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from .._sharing import Rule

__all__ = ("COUNTS", "SUMS", "MonitorRule")

# What is counted over an interval; t and G are those of finished episodes.
COUNTS: Final = ("steps", "episodes", "t")
SUMS: Final = ("G", "R")
_MOST = np.iinfo(np.int32).max


class MonitorRule(Rule):
    """How to count in N environments.

    Parameters
    ----------
    num_envs, every : int
    num_metrics : int
        M.
    """

    def __init__(self, num_envs: int, every: int, num_metrics: int):
        self.num_envs, self.every, self.num_metrics = num_envs, every, num_metrics
        self.count = jax.jit(self._count)
        self.begin = jax.jit(self._begin)
        self.record = jax.jit(self._record)

    def init(self, smoothing: Any) -> dict[str, Any]:
        """Counters of environments that have just been reset."""
        count = np.asarray(self.num_envs, np.int32)
        floats = jax.dtypes.canonicalize_dtype(float)
        return {
            "T": count,
            "ep": count,
            "t": np.zeros(self.num_envs, np.int32),
            "G": np.zeros(self.num_envs, floats),
            "avg_G": np.zeros((), floats),
            "n_avg_G": np.zeros((), floats),
            "smoothing": smoothing,
            **self._nothing(),
        }

    def _nothing(self) -> dict[str, Any]:
        floats = jax.dtypes.canonicalize_dtype(float)
        return {
            "counts": np.zeros(len(COUNTS), np.int32),
            "sums": np.zeros(len(SUMS), floats),
            "metrics": np.zeros((2, self.num_metrics), floats),
        }

    def _count(self, state: dict[str, Any], R: jax.Array, over: jax.Array) -> tuple[dict[str, Any], jax.Array]:
        """One step in each; and whether it is time to report."""
        n = over.sum(dtype=jnp.int32)
        R = R.astype(state["G"].dtype)
        t, G = state["t"] + 1, state["G"] + R
        counts = state["counts"] + jnp.stack([jnp.int32(self.num_envs), n, (t * over).sum(dtype=jnp.int32)])
        avg_G, n_avg_G = _averaged(state["avg_G"], state["n_avg_G"], state["smoothing"], G, over)
        state = {
            **state,
            "T": _saturated(state["T"], self.num_envs + n),
            "ep": _saturated(state["ep"], n),
            "t": jnp.where(over, 0, t),
            "G": jnp.where(over, 0, G),
            "avg_G": avg_G,
            "n_avg_G": n_avg_G,
            "counts": counts,
            "sums": state["sums"] + jnp.stack([jnp.where(over, G, 0).sum(), R.sum()]),
        }
        return state, counts[0] >= self.every

    def _begin(self, state: dict[str, Any], rows: jax.Array) -> dict[str, Any]:
        n = rows.sum(dtype=jnp.int32)
        return {
            **state,
            "T": _saturated(state["T"], n),
            "ep": _saturated(state["ep"], n),
            "t": jnp.where(rows, 0, state["t"]),
            "G": jnp.where(rows, 0, state["G"]),
        }

    def _record(self, state: dict[str, Any], values: dict[int, Any]) -> dict[str, Any]:
        """Metrics by their place in the list of names."""
        metrics = state["metrics"]
        for i, value in values.items():
            value = jnp.asarray(value, metrics.dtype)
            metrics = metrics.at[:, i].add(jnp.stack([value.sum(), jnp.asarray(value.size, metrics.dtype)]))
        return {**state, "metrics": metrics}

    @staticmethod
    def summary(state: dict[str, Any]) -> tuple:
        """What a report is written from."""
        return tuple(state[name] for name in ("T", "ep", "avg_G", "counts", "sums", "metrics"))

    def afresh(self, state: dict[str, Any], due: Any) -> dict[str, Any]:
        """The state after a report, where there was one: the interval begins anew."""
        return {**state, **{name: jnp.where(due, x, state[name]) for name, x in self._nothing().items()}}


def _averaged(avg: jax.Array, n: jax.Array, most: jax.Array, G: jax.Array, over: jax.Array) -> tuple:
    """The running mean after the episodes that are over, one after the other, and how many it knows of."""
    rank = jnp.minimum(most, n + jnp.cumsum(over))
    share = jnp.where(over, 1 / jnp.maximum(rank, 1), 0)
    # What is left of each after those that follow it.
    left = jnp.cumprod((1 - share)[::-1])[::-1]
    later = jnp.concatenate([left[1:], jnp.ones(1, left.dtype)])
    return left[0] * avg + jnp.sum(jnp.where(over, share * later * G, 0)), jnp.minimum(most, n + over.sum())


def _saturated(count: jax.Array, more: Any) -> jax.Array:
    return count + jnp.minimum(jnp.asarray(more, jnp.int32), _MOST - count)
