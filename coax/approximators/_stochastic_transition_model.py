"""Models of the next state with a distribution as output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..proba_dists import BaseProbaDist
from ..typing import AbstractStochastic, AbstractTransitionModel
from ._checks import check_space
from ._distributional import Distributional, check_dist
from ._example_data import ModelTypes, like_params, state_action_examples
from ._function import Function
from ._state_action import StateAction, state_action_rule
from ._stochastic_state_action import StochasticStateAction, stochastic_rule

__all__ = ("StochasticTransitionModel",)


class StochasticTransitionModel(
    Function, StochasticStateAction, StateAction, Distributional, AbstractTransitionModel, AbstractStochastic
):
    r"""A distribution over next states, :math:`\mathbb{P}_\theta(S'|s,a)`.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        Type 1: ``func(S, A, is_training)``; type 2, for Discrete actions: ``func(S, is_training)``. A Haiku function of
        preprocessed observations and actions; or one of the other forms that :class:`coax.V` takes. It
        returns the parameters of a distribution over observations, as :class:`coax.Policy` does over actions, with
        leaves [B, ...] in type 1 and [B, A, ...] in type 2. See :meth:`example_data`.
    env : gymnasium.Env, or anything with ``observation_space`` and ``action_space``
        Where observations and actions come from.
    observation_preprocessor : callable, optional
        ``func(rng, S)`` from raw observations to what `func` sees. Default: ``proba_dist.preprocess_variate``.
    action_preprocessor : callable, optional
        ``func(rng, A)`` from raw actions to what `func` sees. Default: that of the space.
    proba_dist : distribution, optional
        Default: ``coax.proba_dists.ProbaDist(env.observation_space)``.
    random_seed : int or key[], optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If a space is not a gymnasium space or has no distribution, or `func` has another signature or output, or is of
        type 2 while the actions are not Discrete.
    ValueError
        If `proba_dist` is one over other observations.

    Examples
    --------
    >>> def func(S, A, is_training):
    ...     X = jnp.concatenate([S, A], axis=-1)
    ...     return {"logits": hk.Linear(env.observation_space.n)(X)}
    >>> p = coax.StochasticTransitionModel(func, env)
    """

    def __init__(
        self,
        func: Any,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        action_preprocessor: Callable[..., Any] | None = None,
        proba_dist: BaseProbaDist | None = None,
        random_seed: Any = None,
    ):
        owner = "StochasticTransitionModel"
        dist = check_dist(owner, check_space(env, "observation_space", owner), proba_dist)
        observe = dist.preprocess_variate if observation_preprocessor is None else observation_preprocessor
        forward = state_action_rule(owner, func, env, observe, action_preprocessor)
        self._set_up(forward, random_seed, stochastic_rule(owner, forward, dist, "elements"))

    @property
    def observation_postprocessor(self) -> Callable[..., Any]:
        """``func(rng, X, index=0)`` from a batch of variates to one observation."""
        return self.proba_dist.postprocess_variate

    @classmethod
    def example_data(
        cls,
        env: Any,
        action_preprocessor: Callable[..., Any] | None = None,
        proba_dist: BaseProbaDist | None = None,
        batch_size: int = 1,
        random_seed: Any = None,
    ) -> ModelTypes:
        """What the two types of `func` receive and must return: see :class:`coax.approximators.ExampleData`."""
        dist = check_dist(cls.__name__, check_space(env, "observation_space", cls.__name__), proba_dist)
        output = like_params(dist.default_priors)
        preprocessors = dist.preprocess_variate, action_preprocessor
        return state_action_examples(cls, env, *preprocessors, output, batch_size, random_seed)
