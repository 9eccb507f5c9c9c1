"""Models of the reward with a distribution as output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..typing import AbstractQ, AbstractRewardFunction, AbstractStochastic
from ..utils import get_env_attr
from ..value_transforms import as_value_transform
from ._distributional import Distributional
from ._example_data import ModelTypes, like_params, state_action_examples
from ._function import Function
from ._state_action import StateAction, state_action_rule
from ._stochastic_state_action import StochasticStateAction, stochastic_rule
from ._value_dists import interval_dist

__all__ = ("StochasticRewardFunction",)


class StochasticRewardFunction(
    Function, StochasticStateAction, StateAction, Distributional, AbstractQ, AbstractRewardFunction, AbstractStochastic
):
    r"""A distribution over rewards, :math:`\mathbb{P}_\theta(R|s,a)`, in bins of equal width.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        Type 1: ``func(S, A, is_training) -> {'logits': f32[B, K]}``. Type 2, for Discrete actions:
        ``func(S, is_training) -> {'logits': f32[B, A, K]}``. See :meth:`example_data`.
    env : gymnasium.Env, or anything with ``observation_space`` and ``action_space``
        Where observations and actions come from.
    value_range : (float, float), optional
        The lowest and the highest reward. Default: ``env.reward_range``, which few environments still have.
    num_bins, observation_preprocessor, action_preprocessor, value_transform, random_seed
        As for :class:`coax.StochasticQ`.

    Raises
    ------
    TypeError
        As for :class:`coax.StochasticQ`, and if no range of rewards is known.

    Examples
    --------
    >>> def func(S, A, is_training):
    ...     return {"logits": hk.Linear(51)(jnp.concatenate([S, A], axis=-1))}
    >>> r = coax.StochasticRewardFunction(func, env, value_range=(0, 1))
    """

    def __init__(
        self,
        func: Any,
        env: Any,
        value_range: tuple[float, float] | None = None,
        num_bins: int = 51,
        observation_preprocessor: Callable[..., Any] | None = None,
        action_preprocessor: Callable[..., Any] | None = None,
        value_transform: Any = None,
        random_seed: Any = None,
    ):
        owner, transform = "StochasticRewardFunction", as_value_transform(value_transform)
        self._value_range, dist = interval_dist(owner, _reward_range(env, value_range), num_bins, transform)
        forward = state_action_rule(owner, func, env, observation_preprocessor, action_preprocessor, transform)
        self._set_up(forward, random_seed, stochastic_rule(owner, forward, dist, "values"))

    @property
    def value_range(self) -> tuple[float, float]:
        """The lowest and the highest reward."""
        return self._value_range

    @property
    def num_bins(self) -> int:
        """K, the number of bins."""
        return self.proba_dist.num_bins

    @classmethod
    def example_data(
        cls,
        env: Any,
        value_range: tuple[float, float] | None = None,
        num_bins: int = 51,
        observation_preprocessor: Callable[..., Any] | None = None,
        action_preprocessor: Callable[..., Any] | None = None,
        value_transform: Any = None,
        batch_size: int = 1,
        random_seed: Any = None,
    ) -> ModelTypes:
        """What the two types of `func` receive and must return: see :class:`coax.approximators.ExampleData`."""
        transform = as_value_transform(value_transform)
        _, dist = interval_dist(cls.__name__, _reward_range(env, value_range), num_bins, transform)
        output = like_params(dist.default_priors)
        preprocessors = observation_preprocessor, action_preprocessor
        return state_action_examples(cls, env, *preprocessors, output, batch_size, random_seed)


def _reward_range(env: Any, value_range: Any) -> Any:
    found = get_env_attr(env, "reward_range", None) if value_range is None else value_range
    if found is None:
        raise TypeError(
            "StochasticRewardFunction: expected value_range=(low, high), got None, and the environment has no "
            "reward_range. Fix: pass the lowest and the highest reward."
        )
    return found
