"""Models of the next state with one outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .._stateful import refuse_in_trace
from ..typing import AbstractTransitionModel
from ..utils import check_preprocessors
from ._checks import check_space
from ._dist_rule import DistRule
from ._distributional import Distributional, check_output_like, default_dist, per_action
from ._example_data import ModelTypes, array_output, like_params, state_action_examples, state_examples
from ._function import Function, with_leading
from ._state_action import StateAction, state_action_rule

__all__ = ("TransitionModel",)


class TransitionModel(Function, StateAction, Distributional, AbstractTransitionModel):
    r"""A deterministic model of the next state, :math:`s' = f_\theta(s, a)`.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        Type 1: ``func(S, A, is_training)``; type 2, for Discrete actions: ``func(S, is_training)``. A Haiku function of
        preprocessed observations and actions; or one of the other forms that :class:`coax.V` takes. It
        returns the next observation as it would be preprocessed, with leaves [B, ...] in type 1 and [B, A, ...] in
        type 2. See :meth:`example_data`.
    env : gymnasium.Env, or anything with ``observation_space`` and ``action_space``
        Where observations and actions come from.
    observation_preprocessor : callable, optional
        ``func(rng, S)`` from raw observations to what `func` sees, and returns. Default: ``preprocess_variate`` of
        ``coax.proba_dists.ProbaDist(env.observation_space)``, so that of a Box the function sees logits, of Discrete
        observations one-hot vectors.
    observation_postprocessor : callable, optional
        ``func(rng, X, index=0)`` from a batch of what `func` returns to the observation at an index. Default: the
        inverse of the default preprocessor. One's own preprocessor needs one's own postprocessor for ``p(s, a)``.
    action_preprocessor : callable, optional
        ``func(rng, A)`` from raw actions to what `func` sees. Default: that of the space.
    random_seed : int or key[], optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If a space is not a gymnasium space or has no distribution, or `func` has another signature or output, or is of
        type 2 while the actions are not Discrete.

    Examples
    --------
    >>> def func(S, A, is_training):
    ...     return hk.Linear(S.shape[-1])(jnp.concatenate([S, A], axis=-1))
    >>> p = coax.TransitionModel(func, env)
    """

    def __init__(
        self,
        func: Any,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        observation_postprocessor: Callable[..., Any] | None = None,
        action_preprocessor: Callable[..., Any] | None = None,
        random_seed: Any = None,
    ):
        owner = "TransitionModel"
        dist = default_dist(check_space(env, "observation_space", owner))
        observe = dist.preprocess_variate if observation_preprocessor is None else observation_preprocessor
        forward = state_action_rule(owner, func, env, observe, action_preprocessor)
        lead = (1,) if forward.modeltype == 1 else (1, int(forward.action_space.n))  # type: ignore[union-attr]
        hint = f"look at coax.TransitionModel.example_data(env).type{forward.modeltype}.output"
        example = jax.eval_shape(forward.observed, jax.random.key(0), forward.example[0])
        check_output_like(forward.output, example, lead, owner, hint)
        self._postprocessor = observation_postprocessor
        views = observe, dist.preprocess_variate
        self._has_way_back = observation_postprocessor is not None or check_preprocessors(
            dist.space, *views, random_seed=0
        )
        self._set_up(forward, random_seed, DistRule.shared(forward, dist, "points"))

    @property
    def observation_postprocessor(self) -> Callable[..., Any]:
        """``func(rng, X, index=0)`` from a batch of what the function returns to one observation."""
        return self.rule.dist.postprocess_variate if self._postprocessor is None else self._postprocessor

    def __call__(self, s: Any, a: Any = None) -> Any:
        """The next observation after an action, or after all (Discrete) actions; for one observation or a batch.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        a : action, or pytree of arrays [..., *act], optional
            With the leading axes of `s`. Left out (Discrete actions only): all of them.

        Returns
        -------
        observation, or pytree of arrays [..., *obs]
            NumPy arrays; inside a trace jax arrays. Without `a` a list with one entry per action.

        Raises
        ------
        ValueError
            If the actions are not Discrete and `a` is left out, shapes do not fit the spaces, or there is an
            observation_preprocessor of one's own without an observation_postprocessor.
        """
        if not self._has_way_back:
            raise ValueError(
                "TransitionModel: expected an observation_postprocessor, because observation_preprocessor is not that "
                "of coax.proba_dists.ProbaDist(env.observation_space), got None. Fix: pass "
                "observation_postprocessor=func(rng, X, index=0), its inverse."
            )
        everywhere, batches, lead = self._inputs(s, a, "p(s)")
        if self._postprocessor is None:
            return self._outcome(self._ask("point", everywhere, *batches), everywhere, lead)
        refuse_in_trace(self, "observation_postprocessor")
        X = self._ask("dist_params", everywhere, *batches)
        if not everywhere:
            return self._postprocessed(X, lead)
        return [self._postprocessed(x, lead) for x in per_action(X, int(self.action_space.n), 1)]

    def _postprocessed(self, X: Any, lead: tuple[int, ...]) -> Any:
        """What the user's postprocessor makes of a batch, one row at a time."""
        rows = range(jax.tree.leaves(X)[0].shape[0])
        found = [self._postprocessor(jax.random.key(0), X, index=i) for i in rows]  # type: ignore[misc]
        if not found:
            raise ValueError(
                "TransitionModel: expected at least one observation, got an empty batch, for which a custom "
                "observation_postprocessor gives nothing. Fix: skip the call."
            )
        if lead == ():
            return found[0]
        return with_leading(jax.tree.map(lambda *leaves: np.stack(leaves), *found), lead)

    @classmethod
    def example_data(
        cls,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        action_preprocessor: Callable[..., Any] | None = None,
        batch_size: int = 1,
        random_seed: Any = None,
    ) -> ModelTypes:
        """What the two types of `func` receive and must return: see :class:`coax.approximators.ExampleData`."""
        if observation_preprocessor is None:
            space = check_space(env, "observation_space", cls.__name__)
            observation_preprocessor = default_dist(space).preprocess_variate
        S = state_examples(cls, env, observation_preprocessor, array_output, 1, 0).inputs.args.S
        preprocessors = observation_preprocessor, action_preprocessor
        return state_action_examples(cls, env, *preprocessors, like_params(S), batch_size, random_seed)
