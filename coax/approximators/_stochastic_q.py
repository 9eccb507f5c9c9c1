"""State-action value functions with a distribution over values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..typing import AbstractQ, AbstractStochastic
from ..value_transforms import as_value_transform
from ._distributional import Distributional
from ._example_data import ModelTypes, like_params, state_action_examples
from ._function import Function
from ._state_action import StateAction, state_action_rule
from ._stochastic_state_action import StochasticStateAction, stochastic_rule
from ._value_dists import value_dist

__all__ = ("StochasticQ",)


class StochasticQ(Function, StochasticStateAction, StateAction, Distributional, AbstractQ, AbstractStochastic):
    r"""A distribution over returns, :math:`\mathbb{P}_\theta(G|s,a)`: in bins of equal width, or as quantiles.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        Type 1: ``func(S, A, is_training)``; type 2, for Discrete actions: ``func(S, is_training)``. A Haiku function of
        preprocessed observations and actions; or one of the other forms that :class:`coax.V` takes. It
        returns, with leaves [B, ...] in type 1 and [B, A, ...] in type 2:

        * bins: ``{'logits': f32[..., K]}``
        * quantiles: ``{'values': f32[..., K], 'quantile_fractions': f32[..., K]}``. The fractions are the function's
          own choice: fixed ones (``coax.utils.quantiles``) as in QR-DQN, or drawn at each call
          (``coax.utils.quantiles_uniform``) as in IQN.

        See :meth:`example_data`.
    env : gymnasium.Env, or anything with ``observation_space`` and ``action_space``
        Where observations and actions come from. If it says where a mask of allowed actions lies
        (:class:`coax.wrappers.ActionMasking`), what is made of q leaves out the others; ``q(s)`` itself does not.
    value_range : (float, float), optional
        The lowest and the highest return that is to be expected, in the original space: bins. None: quantiles.
    num_bins : int, optional
        K, the number of bins or quantiles.
    observation_preprocessor, action_preprocessor : callable, optional
        ``func(rng, X)`` from raw elements to what `func` sees. Default: those of the spaces (Discrete: one-hot).
    value_transform : ValueTransform or pair of callables, optional
        The distribution is one over transformed values; what calls return is transformed back. It must increase.
    random_seed : int or key[], optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If a space is not a gymnasium space, `func` has another signature or output, is of type 2 while the actions are
        not Discrete, or `value_range` is no range.
    ValueError
        If the mask of the environment does not fit the actions.

    References
    ----------
    Bellemare, Dabney and Munos (2017), section 4 (bins); Dabney et al. (2018), "Distributional reinforcement learning
    with quantile regression", and "Implicit quantile networks for distributional reinforcement learning".

    Examples
    --------
    >>> def func(S, is_training):
    ...     logits = hk.Linear(env.action_space.n * 51)(S)
    ...     return {"logits": logits.reshape(-1, env.action_space.n, 51)}
    >>> q = coax.StochasticQ(func, env, value_range=(0, 1))
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
        transform = as_value_transform(value_transform)
        self._value_range, dist = value_dist("StochasticQ", value_range, num_bins, transform)
        forward = state_action_rule("StochasticQ", func, env, observation_preprocessor, action_preprocessor, transform)
        self._num_bins = int(num_bins)
        self._set_up(forward, random_seed, stochastic_rule("StochasticQ", forward, dist, "values"))

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The lowest and the highest return, in the original space; None for quantiles."""
        return self._value_range

    @property
    def num_bins(self) -> int:
        """K, the number of bins or quantiles."""
        return self._num_bins

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
        _, dist = value_dist("StochasticQ", value_range, num_bins, as_value_transform(value_transform))
        output = like_params(dist.default_priors)
        preprocessors = observation_preprocessor, action_preprocessor
        return state_action_examples(cls, env, *preprocessors, output, batch_size, random_seed)
