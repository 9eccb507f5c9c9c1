"""From whole rollouts to transitions: what a compiled loop uses in place of a tracer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from ..returns import NStepWindows, discounted_returns, generalized_advantages, lambda_returns, n_step_windows
from ..returns._rollout import as_values, module_of
from ..typing import Array
from ._scalars import as_gamma
from ._transition_batch import TransitionBatch

__all__ = ("Rollout", "lambda_transitions", "monte_carlo_transitions", "n_step_transitions")


class Rollout(NamedTuple):
    """T steps of one environment, or of E at once, with time in front: ``[T, ...]`` or ``[T, E, ...]``.

    Attributes
    ----------
    S : pytree of arrays [T, E, ...]
        Observations that the actions were chosen from.
    A : pytree of arrays [T, E, ...]
        Actions.
    logP : f32[T, E]
        Their log-propensities.
    R : f32[T, E]
        Rewards.
    terminated : bool[T, E]
        Whether `S_next` is a terminal state.
    truncated : bool[T, E]
        Whether the episode was cut off at `S_next`.
    S_next : pytree of arrays [T, E, ...]
        The *true* next observations: also where the episode ended, never the first one of the next episode.
    mask : bool[T, E]
        False for a row that is no transition at all: see :func:`coax.envs.transition`.
    """

    S: Any
    A: Any
    logP: Any
    R: Any
    terminated: Any
    truncated: Any
    S_next: Any
    mask: Any


def n_step_transitions(rollout: Rollout, n: int, gamma: Any) -> TransitionBatch:
    """The transitions over windows of n steps: those of :class:`NStep`, of a whole rollout at once.

    A window ends after n steps, or with the episode, or at the end of the rollout, or before a row that is no step,
    whichever comes first. It is bootstrapped from the true next observation of its last step, unless the episode
    terminated there. So a window that is still open at the end of the rollout is closed there, where the tracer would
    wait for more steps.

    Parameters
    ----------
    rollout : Rollout
        T steps of E environments, or of one.
    n : int
        Number of steps, at least 1.
    gamma : float
        Discount factor, in [0, 1].

    Returns
    -------
    TransitionBatch
        One transition for each step, the rows flattened to [T * E], earliest first: row ``t * E + e`` begins at time t.
        Of NumPy arrays if all that is given is of NumPy, else of jax arrays. Rows that are no step have weight 0. Where
        the action in `S_next` is not part of the rollout ``logP_next`` is NaN: see :func:`needs_a_next`.

    Raises
    ------
    TypeError, ValueError
        If `n` or `gamma` is not a number, or out of range, or the parts of the rollout differ in their leading axes.

    Examples
    --------
    >>> T = 3  # the second step terminates
    >>> rollout = coax.reward_tracing.Rollout(
    ...     S=np.array([10, 20, 30]), A=np.array([1, 2, 3]), logP=np.zeros(T), R=np.array([1.0, 2.0, 4.0]),
    ...     terminated=np.array([False, True, False]), truncated=np.zeros(T, bool),
    ...     S_next=np.array([20, 25, 40]), mask=np.ones(T, bool))
    >>> batch = coax.reward_tracing.n_step_transitions(rollout, n=2, gamma=0.5)
    >>> batch.Rn.tolist(), batch.In.tolist(), batch.S_next.tolist()
    ([2.0, 2.0, 4.0], [0.0, 0.0, 0.5], [25, 25, 40])

    References
    ----------
    Sutton and Barto (2018), section 7.1; Pardo et al. (2018), Time limits in reinforcement learning, section 3.1.
    """
    steps = _steps("n_step_transitions", rollout, gamma)
    windows = n_step_windows(steps.rewards, steps.discount, steps.cut, n)
    return _transitions(steps, windows, one_step=n == 1)


def monte_carlo_transitions(rollout: Rollout, gamma: Any) -> TransitionBatch:
    """The transitions over what is left of each episode: those of :class:`MonteCarlo`, earliest first.

    They are the :func:`n_step_transitions` with n as large as the rollout is long, in fewer steps. An episode that is
    still running at the end of the rollout is bootstrapped from there, as if it were truncated.

    Parameters
    ----------
    rollout : Rollout
        T steps of E environments, or of one.
    gamma : float
        Discount factor, in [0, 1].

    Returns
    -------
    TransitionBatch
        One transition for each step, as :func:`n_step_transitions` returns them.

    Raises
    ------
    TypeError, ValueError
        If `gamma` is not a number, or out of range, or the parts of the rollout differ in their leading axes.

    References
    ----------
    Sutton and Barto (2018), section 5.1; Pardo et al. (2018), Time limits in reinforcement learning, section 3.1.
    """
    steps = _steps("monte_carlo_transitions", rollout, gamma)
    nothing, one = steps.xp.zeros_like(steps.rewards), steps.xp.ones_like(steps.rewards)
    rn = discounted_returns(steps.rewards, steps.discount, steps.cut)
    in_ = discounted_returns(nothing, steps.discount, steps.cut, one)  # what a value of one at the end is worth
    return _transitions(steps, NStepWindows(rn, in_, _next_cut(steps)))


def lambda_transitions(rollout: Rollout, gamma: Any, lambda_: Any, v: Any, v_next: Any) -> TransitionBatch:
    """The transitions with lambda-returns and advantages: those of :class:`LambdaReturn`, of a whole rollout at once.

    The rollout is the segment: an episode that is still running at its end is bootstrapped from there.

    Parameters
    ----------
    rollout : Rollout
        T steps of E environments, or of one.
    gamma : float
        Discount factor, in [0, 1].
    lambda_ : float
        The weight of what lies further ahead, in [0, 1].
    v : f32[T, E]
        Values of the observations `S`.
    v_next : f32[T, E]
        Values of the true next observations `S_next`. Where the episode terminated it may hold anything.

    Returns
    -------
    TransitionBatch
        One transition for each step, the rows flattened as :func:`n_step_transitions` flattens them. `Rn` is the
        lambda-return, `In` is 0; in `extra_info` are the advantage ``'Adv'`` and the value ``'V'``, each f32[T * E].
        `S_next` and `A_next` are those of one step on. Rows that are no step have weight 0, and 0 in all of these
        numbers.

    Raises
    ------
    TypeError, ValueError
        If `gamma` or `lambda_` is not a number, or out of range, or the parts of the rollout differ in their leading
        axes, or the values have another shape.

    Examples
    --------
    >>> rollout = coax.reward_tracing.Rollout(
    ...     S=np.array([10, 20]), A=np.array([1, 2]), logP=np.zeros(2), R=np.array([1.0, 2.0]),
    ...     terminated=np.zeros(2, bool), truncated=np.array([False, True]),
    ...     S_next=np.array([20, 30]), mask=np.ones(2, bool))
    >>> v, v_next = rollout.S / 10, rollout.S_next / 10  # of your own value function
    >>> batch = coax.reward_tracing.lambda_transitions(rollout, 0.5, 0.5, v, v_next)
    >>> batch.Rn.tolist(), batch.extra_info["Adv"].tolist()
    ([2.375, 3.5], [1.375, 1.5])

    References
    ----------
    Sutton and Barto (2018), section 12.1; Schulman et al. (2016), High-dimensional continuous control using generalized
    advantage estimation, section 3.
    """
    name = "lambda_transitions"
    steps = _steps(name, rollout, gamma, lambda_, v, v_next)
    xp, there = steps.xp, steps.rollout.mask
    v, v_next = (xp.where(there, x, 0) for x in as_values(name, steps.rewards, v=v, v_next=v_next))
    returns = lambda_returns(steps.rewards, steps.discount, steps.cut, v_next, lambda_)
    adv = generalized_advantages(steps.rewards, steps.discount, steps.cut, v, v_next, lambda_)
    batch = _transitions(steps, NStepWindows(returns, xp.zeros_like(returns), None), one_step=True)  # type: ignore[arg-type]
    batch.extra_info = {"Adv": _numbers(adv), "V": _numbers(v)}
    return batch


# --- inside -----------------------------------------------------------------------------------------------------------


class _Steps(NamedTuple):
    """A rollout in the words of coax.returns."""

    xp: Any
    rollout: Rollout  # of arrays of the module `xp`
    rewards: Array
    discount: Array
    cut: Array


def _steps(name: str, rollout: Rollout, gamma: Any, *others: Any) -> _Steps:
    shape = _leading_shape(name, rollout)
    xp = module_of(*jax.tree.leaves((rollout, gamma, others)))
    ro = Rollout(*(jax.tree.map(xp.asarray, x) for x in rollout))
    there, terminated, truncated = (x.astype(bool) for x in (ro.mask, ro.terminated, ro.truncated))
    if not isinstance(gamma, jax.Array):
        gamma = as_gamma(gamma)
    rewards = xp.where(there, ro.R, 0)
    if not np.issubdtype(rewards.dtype, np.floating):
        rewards = rewards.astype(_number_type())
    # What is no step is a window of its own, of which nothing counts; the windows before it end in front of it.
    gap_follows = xp.concatenate([~there[1:], xp.ones((1, *shape[1:]), bool)])
    discount = xp.where(there & ~terminated, xp.asarray(gamma, rewards.dtype), xp.zeros((), rewards.dtype))
    cut = ~there | terminated | truncated | gap_follows
    return _Steps(xp, ro._replace(mask=there), rewards, discount, cut)


def _leading_shape(name: str, rollout: Rollout) -> tuple[int, ...]:
    """The shape of the rewards, with which all shapes begin."""
    if not isinstance(rollout, Rollout):
        raise TypeError(
            f"{name}: expected a coax.reward_tracing.Rollout, got {type(rollout).__name__}. "
            "Fix: pass what coax.training.rollout returned."
        )
    shape = tuple(np.shape(rollout.R))
    if not shape or not shape[0]:
        raise ValueError(f"{name}: expected R of shape [T] or [T, E] with T >= 1, got {list(shape)}. {_FIX}")
    for field, part in zip(Rollout._fields, rollout, strict=True):
        rank = len(shape) if field in ("S", "A", "S_next") else None  # numbers have no further axes
        for path, leaf in jax.tree_util.tree_leaves_with_path(part):
            if tuple(np.shape(leaf))[:rank] != shape:
                raise ValueError(
                    f"{name}: expected {field}{jax.tree_util.keystr(path)} to have the leading axes of R, "
                    f"{list(shape)}, got {list(np.shape(leaf))}. {_FIX}"
                )
    return shape


_FIX = "Fix: put time in front, then the environments if there are several, in all parts of the rollout."


def _next_cut(steps: _Steps) -> Array:
    """For each time, that of the next cut."""
    xp, T = steps.xp, len(steps.cut)
    now = xp.arange(T, dtype=xp.int32).reshape(-1, *(1,) * (steps.cut.ndim - 1))
    ends = xp.where(steps.cut, now, xp.int32(T))
    if xp is np:
        return np.minimum.accumulate(ends[::-1])[::-1]
    return jax.lax.cummin(ends, reverse=True)


def _transitions(steps: _Steps, windows: NStepWindows, one_step: bool = False) -> TransitionBatch:
    """One row for each step, [T * E]. With `one_step` all windows end where they begin."""
    xp, ro, size = steps.xp, steps.rollout, steps.rewards.size
    each = size // len(steps.rewards)
    now = xp.arange(size, dtype=xp.int32)
    rank = steps.rewards.ndim
    S, A, S_next = jax.tree.map(lambda x: x.reshape(size, *x.shape[rank:]), (ro.S, ro.A, ro.S_next))
    logP, in_, follows = _numbers(ro.logP), _numbers(windows.in_), ~steps.cut.reshape(-1)
    last = now
    if not one_step:
        last = windows.last.reshape(-1) * each + now % each
        S_next, follows = jax.tree.map(lambda x: x[last], (S_next, follows))
    # The action in S_next is that of the next step. Where there is none the window's own stands in, as in the tracers.
    then = xp.where(follows, last + each, now)
    return TransitionBatch(
        S=S,
        A=A,
        logP=logP,
        Rn=_numbers(windows.rn),
        In=in_,
        S_next=S_next,
        A_next=jax.tree.map(lambda x: x[then], A),
        logP_next=xp.where(follows | (in_ == 0), logP[then], xp.asarray(xp.nan, logP.dtype)),
        W=_numbers(ro.mask),
        idx=now,
    )


def _numbers(x: Array) -> Array:
    return x.reshape(-1).astype(_number_type())


def _number_type() -> np.dtype:
    """What the numbers of a batch are: f32, or f64 if jax is told so."""
    return jax.dtypes.canonicalize_dtype(float)
