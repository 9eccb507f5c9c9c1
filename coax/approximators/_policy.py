"""Policies with a network of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np

from ..proba_dists import BaseProbaDist
from ..typing import AbstractPolicy, AbstractStochastic
from ..utils import make_cast
from ..value_transforms import IDENTITY
from ._action_mask import find_mask
from ._checks import STATE, check_bounds, check_signature, check_space
from ._dist_rule import DistRule
from ._distributional import Distributional, StochasticState, check_dist, check_output_like
from ._example_data import ExampleData, like_params, state_examples
from ._function import Function, flat_batch, like_input, with_leading
from ._rule import FunctionRule

__all__ = ("Policy",)


class Policy(Function, StochasticState, Distributional, AbstractPolicy, AbstractStochastic):
    r"""A stochastic policy :math:`\pi_\theta(a|s)`, over actions from any space.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        ``func(S, is_training) -> dist_params``, a Haiku function of preprocessed observations S, leaves [B, ...]; or
        one of the other forms that :class:`coax.V` takes. What it must return depends on the actions:

        ================================ ===========================================================
        Discrete, n actions              ``{'logits': f32[B, n]}``
        Box                              ``{'mu': f32[B, *act], 'logvar': f32[B, *act]}``
        MultiDiscrete, MultiBinary       a tuple with ``{'logits': f32[B, n]}`` per entry, row by row
        Tuple, Dict                      a tuple, a dict of these
        ================================ ===========================================================

        :meth:`example_data` shows it for an environment.
    env : gymnasium.Env, or anything with ``observation_space`` and ``action_space``
        Where observations and actions come from. If it says where a mask of allowed actions lies
        (:class:`coax.wrappers.ActionMasking`), all others have probability 0.
    observation_preprocessor : callable, optional
        ``func(rng, S)`` from raw observations to what `func` sees. Default: that of the space.
    proba_dist : distribution, optional
        Default: ``coax.proba_dists.ProbaDist(env.action_space)``.
    random_seed : int or key[], optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Notes
    -----
    :attr:`function`, :attr:`sample_func` and the like see preprocessed observations, so they know no mask. In a loss of
    one's own, apply it: ``pi.proba_dist.masked(dist_params, pi.action_mask(S))``.

    Raises
    ------
    TypeError
        If a space is not a gymnasium space or has no distribution, or `func` has another signature or output.
    ValueError
        If `proba_dist` is one over other actions, or the mask of the environment does not fit the actions.

    Examples
    --------
    >>> def func(S, is_training):
    ...     return {"logits": hk.Linear(env.action_space.n, w_init=jnp.zeros)(S)}
    >>> pi = coax.Policy(func, env)
    """

    rule: DistRule

    def __init__(
        self,
        func: Any,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        proba_dist: BaseProbaDist | None = None,
        random_seed: Any = None,
    ):
        space = check_space(env, "observation_space", "Policy")
        dist = check_dist("Policy", check_space(env, "action_space", "Policy"), proba_dist)
        names = check_signature(func, (STATE,), "Policy")
        mask = find_mask(env)
        forward = FunctionRule.shared(func, names, space, None, observation_preprocessor, None, IDENTITY, mask)
        hint = "look at coax.Policy.example_data(env).output"
        check_output_like(forward.output, dist.default_priors, (1,), "Policy", hint)
        if mask is not None:
            mask.check_spaces(forward.raw_example, dist.element_space, "Policy")
        self._set_up(forward, random_seed, DistRule.shared(forward, dist, "policy"))
        self._cast_action = make_cast(dist.element_space, "a")

    @property
    def action_space(self) -> gymnasium.Space:
        """Where the actions come from."""
        return self.rule.dist.element_space

    def __call__(self, s: Any, return_logp: bool = False) -> Any:
        """Sample an action for one observation, or for each in a batch with any leading axes.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        return_logp : bool, optional
            Return the log-probability of the action too.

        Returns
        -------
        a : action, or pytree of arrays [..., *act]
            NumPy arrays in the dtypes of the space, a Python int for a single Discrete action; inside a trace jax
            arrays.
        logp : f32[...]
            Only with `return_logp`: the log-probability (or density, as `proba_dist` says) of the very action that is
            returned.
        """
        S, lead = self._situations(s)
        if not return_logp:
            return self._elements(self._ask("sample", False, S), lead)
        a, logp = self._ask("sample_with_logp", False, S)
        return self._elements(a, lead), like_input(logp, lead)

    def _situations(self, s: Any) -> tuple[Any, tuple[int, ...]]:
        """Observations to act on: each allows an action."""
        S, lead = self._observations(s)
        if self.action_mask is not None:
            self.action_mask.check_batch(S, self.action_space)
        return S, lead

    def mean(self, s: Any) -> Any:
        """The action that ``proba_dist.mean`` stands for. Shapes as for a call.

        Of Discrete actions it is the most likely one. Of a Box it is the image of ``mu``: the median of the action,
        since the map into the Box is no straight line.
        """
        S, lead = self._situations(s)
        return self._elements(self._ask("mean_element", False, S), lead)

    def mode(self, s: Any) -> Any:
        """The action that ``proba_dist.mode`` stands for. Shapes as for a call.

        Of Discrete actions it is the most likely one, ties broken at random. Of a Box it is the image of ``mu``.
        """
        S, lead = self._situations(s)
        return self._elements(self._ask("mode", False, S), lead)

    def dist_params(self, s: Any) -> Any:
        """The parameters of the distribution, leaves [..., *shape]; masked actions have logits of -inf."""
        S, lead = self._situations(s)
        return with_leading(self._ask("dist_params", False, S), lead)

    def log_proba(self, s: Any, a: Any) -> Any:
        """Log-probability f32[...] of actions, as a call with `return_logp` gives it.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        a : action, or pytree of arrays [..., *act]
            With the leading axes of `s`.

        Raises
        ------
        ValueError
            If an action lies outside of the space, or shapes do not fit.
        """
        S, lead = self._situations(s)
        A, lead_a = flat_batch(*self._cast_action(_on_host(a)))
        if lead_a != lead:
            raise ValueError(
                f"log_proba: expected actions with the leading axes of the observations, {lead}, got {lead_a}. "
                "Fix: pass one action per observation."
            )
        check_bounds("a", self.action_space, A)
        state = self._peek()
        args = state["params"], state["function_state"], state["rng"]
        return like_input(self.rule.log_proba(*args, S, None, A), lead)

    @classmethod
    def example_data(
        cls,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        proba_dist: BaseProbaDist | None = None,
        batch_size: int = 1,
        random_seed: Any = None,
    ) -> ExampleData:
        """What `func` receives and must return: see :class:`coax.approximators.ExampleData`."""
        dist = check_dist("Policy", check_space(env, "action_space", "Policy"), proba_dist)
        output = like_params(dist.default_priors)
        return state_examples(cls, env, observation_preprocessor, output, batch_size, random_seed)


def _on_host(x: Any) -> Any:
    """What is known of a pytree as NumPy arrays, so that it can be checked."""

    def leaf(x: Any) -> Any:
        return np.asarray(x) if isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer) else x

    return jax.tree.map(leaf, x)
