"""Rewards whose returns have unit variance."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Fixed, Number
from .._sharing import Rule
from .._stateful import is_tracing, there
from ..utils import at_least_one
from ._base import BaseNormalizer, as_limit, as_rows, flat
from ._moments import LARGEST, nothing, scaled, sums, taken_in

__all__ = ("RewardNormalizer",)


class RewardRule(Rule):
    """The pure functions of a normaliser of rewards.

    Parameters
    ----------
    clip, epsilon : float
    """

    def __init__(self, clip: float, epsilon: float):
        self.clip, self.epsilon = clip, epsilon
        self.norm = jax.jit(self._norm)
        self.step = jax.jit(self._step)
        self.begin = jax.jit(self._begin)

    @staticmethod
    def init(shape: tuple[int, ...]) -> dict[str, Any]:
        state = nothing(1)
        return {**state, "returns": np.zeros(shape, state["moments"].dtype)}

    def _norm(self, state: dict[str, Any], R: jax.Array) -> jax.Array:
        R = jnp.asarray(R, state["moments"].dtype)
        return scaled(state, R[..., None], self.clip, self.epsilon)[..., 0]

    def _step(self, state: dict[str, Any], R: jax.Array, over: jax.Array, mask: jax.Array) -> tuple:
        """The state after a step, or after each of several in turn; and the rewards as they are then."""
        R = jnp.asarray(R, state["moments"].dtype)
        if R.ndim == state["returns"].ndim:
            new = self._one(state, R, over, mask)
        else:
            new, _ = jax.lax.scan(lambda state, row: (self._one(state, *row), None), state, (R, over, mask))
        return {name: new[name] for name in ("counts", "moments", "returns")}, self._norm(new, R)

    @staticmethod
    def _one(state: dict[str, Any], R: jax.Array, over: jax.Array, mask: jax.Array) -> dict[str, Any]:
        rows = mask & ~state["frozen"]
        returns = state["gamma"] * state["returns"] + R
        new = taken_in(state, [(returns.reshape(-1, 1), flat(rows))])
        # a reward that is not finite is left out, as if the step had not been taken
        returns = jnp.where(rows & (jnp.abs(returns) <= LARGEST), returns, state["returns"])
        return {**state, **new, "returns": jnp.where(rows & over, 0, returns)}

    @staticmethod
    def _begin(state: dict[str, Any], rows: jax.Array) -> dict[str, Any]:
        return {"returns": jnp.where(rows & ~state["frozen"], 0, state["returns"])}


class RewardNormalizer(BaseNormalizer):
    r"""Divides rewards by the running standard deviation of the discounted return.

    .. math::

        G_t \leftarrow \gamma\,G_{t-1} + R_t \qquad
        R_t \mapsto \mathrm{clip}\left(\frac{R_t}{\sqrt{\mathrm{Var}(G) + \epsilon}},\ -c,\ c\right)

    where :math:`G` begins at zero with every episode, and the variance is that over all steps so far. The rewards keep
    their sign: no mean is subtracted, which would change what is best to do. In a training loop,
    :class:`coax.wrappers.NormalizeReward` is the environment with one of these in it.

    Parameters
    ----------
    num_envs : int, optional
        How many environments N the rewards come from. By default from a single one, whose rewards have no axis.
    gamma : float, optional
        The discount factor. It may be set at any time.
    clip : float, optional
        What is normalised lies between -clip and clip. It may be infinite.
    epsilon : float, optional
        Added to the variance.

    Attributes
    ----------
    std : float
        The standard deviation of G over all steps that were counted.
    returns : f32[N] or f32[]
        G of the present episodes.
    count, skipped : int
        How many steps were counted, and how many were skipped.
    frozen : bool
        If True, :meth:`update` and :meth:`reset` change nothing. It may be set at any time.

    Raises
    ------
    TypeError
        If a number is none.
    ValueError
        If a number is out of range.

    Notes
    -----
    A step whose reward is NaN or infinite, or takes G beyond 1e18, is `skipped`, as if it had not been taken. While all
    returns were the same, rewards are only clipped.

    :math:`G` looks back: it is the sum of the rewards so far, the older the less, as in the paper below, which leaves
    open what becomes of it at the end of an episode. Here the last reward belongs to its episode, whether that
    terminated or was truncated, and G begins anew after it. In :class:`gymnasium.wrappers.NormalizeReward` the last
    reward of an episode that terminated is counted without those before it, and the next episode goes on with the sum
    of the last, unless it is one of several environments with ``SAME_STEP``. There, too, the moments begin as if mean 0
    and variance 1 had been seen 0.0001 times, and nothing is clipped.

    The state has the entries ``counts`` u32[2, 2], ``moments`` f32[4, 1], ``returns``, ``gamma`` and ``frozen``.

    References
    ----------
    Engstrom et al. (2020), Implementation matters in deep policy gradients: a case study on PPO and TRPO, section 3,
    "reward scaling", and algorithm 1.

    Examples
    --------
    >>> normalizer = coax.RewardNormalizer(gamma=0.5)
    >>> for r in (4, 0):  # the returns are 4 and 2: their standard deviation is 1
    ...     normalizer.update(r, False, False)
    >>> normalizer.std, normalizer.norm([3, -20])
    (1.0, array([  3., -10.], dtype=float32))
    """

    gamma = Number(0, 1)
    num_envs = Fixed("_num_envs", "How many environments the rewards come from; None: a single one.", "normaliser")
    _rule: RewardRule

    def __init__(self, num_envs: int | None = None, gamma: float = 0.99, clip: float = 10.0, epsilon: float = 1e-8):
        owner = type(self).__name__
        self._num_envs = None if num_envs is None else at_least_one("num_envs", num_envs, 8)
        self._shape = () if self._num_envs is None else (self._num_envs,)
        self._rule = RewardRule.shared(as_limit("clip", clip, owner), as_limit("epsilon", epsilon, owner))
        numbers = {"gamma": type(self).gamma.leaf(gamma, owner), "frozen": np.zeros((), bool)}
        self._write({**self._rule.init(self._shape), **numbers})

    def init(self, key: Any) -> dict[str, Any]:
        """The state before anything was counted, with the present numbers one may set."""
        return {**self._state, **self._rule.init(self._shape)}

    @property
    def std(self) -> Any:
        """The standard deviation of the returns, without epsilon."""
        std = sums(self._moments())[1][0] ** 0.5
        return std if is_tracing() else float(std)

    @property
    def returns(self) -> Any:
        """The discounted sums of the rewards of the present episodes."""
        if not is_tracing():
            self._owned -= {"returns"}
        return there(self._peek()["returns"])

    def norm(self, R: Any) -> Any:
        """Normalise rewards. This changes nothing.

        Parameters
        ----------
        R : float or f32[...]
            Of any shape.

        Returns
        -------
        f32[...]
            Of the same shape. A NumPy array outside of compiled functions.
        """
        return there(self._rule.norm(self._peek(), _as_numbers(R)))

    def update(self, R: Any, terminated: Any, truncated: Any, mask: Any = None) -> None:
        """Count the rewards of a step in each environment, or of several steps.

        Parameters
        ----------
        R : f32[N] or f32[T, N]
            Without N for a single environment. Several steps are counted in turn: a rollout.
        terminated, truncated : bool, same shape
            Whether the episode ended with this step.
        mask : bool, same shape, optional
            False for a row that is no step, as vector environments may give between two episodes. It counts for
            nothing, even if it is NaN.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        TypeError
            If the flags are no bools.
        """
        self._take_in(R, terminated, truncated, mask)

    def reset(self, mask: Any = None) -> None:
        """Forget the present episodes, as after ``env.reset()``; or those that mask bool[N] says."""
        rows = as_rows("mask", mask, self._shape, missing=True)
        self._replace(self._rule.begin(self._peek(), rows))

    def _take_in(self, R: Any, terminated: Any, truncated: Any, mask: Any = None) -> Any:
        """Count the rewards, and give them normalised."""
        R = _as_numbers(R)
        lead = R.ndim - len(self._shape)
        if lead not in (0, 1) or R.shape[lead:] != self._shape:
            want = ", ".join(["T", *map(str, self._shape)])
            raise ValueError(
                f"R: expected shape {list(self._shape)}, or [{want}] for several steps, got {list(R.shape)}. "
                "Fix: pass one reward for each environment; make the normaliser with their number as num_envs."
            )
        ends = [as_rows(n, x, R.shape, False) for n, x in (("terminated", terminated), ("truncated", truncated))]
        new, normed = self._rule.step(self._peek(), R, ends[0] | ends[1], as_rows("mask", mask, R.shape, True))
        self._replace(new)
        return there(normed)


def _as_numbers(R: Any) -> Any:
    R = R if isinstance(R, jax.Array) else np.asarray(R)
    if R.dtype.kind not in "iufb":
        raise TypeError(f"R: expected numbers, got {R.dtype}. Fix: pass the rewards as floats.")
    return R
