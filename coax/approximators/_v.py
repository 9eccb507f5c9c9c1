"""State-value functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..typing import AbstractV
from ..value_transforms import as_value_transform
from ._checks import STATE, check_array_output, check_signature, check_space
from ._example_data import ExampleData, array_output, state_examples
from ._function import Function, like_input
from ._rule import FunctionRule

__all__ = ("V",)


class V(Function, AbstractV):
    r"""A state-value function :math:`v_\theta(s)`.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        ``func(S, is_training) -> f32[B]``, a Haiku function of preprocessed observations S, leaves [B, ...]. Or a pair
        of pure functions ``(init, apply)``, such as a ``haiku.Transformed``: ``init(rng, S, is_training)`` and
        ``apply(params[, state][, rng], S, is_training)``. Or an instance of a Flax (linen) module that is called so.
        See :meth:`example_data`.
    env : gymnasium.Env, or anything with an ``observation_space``
        Where the observations come from.
    observation_preprocessor : callable, optional
        ``func(rng, S)`` from raw observations to what `func` sees. Default: that of the space.
    value_transform : ValueTransform or pair of callables, optional
        The output of `func` lives in the transformed space; ``v(s)`` transforms back.
    random_seed : int or key[], optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If the space is not a gymnasium space, or `func` has another signature, output shape or dtype.

    Examples
    --------
    >>> def func(S, is_training):
    ...     return hk.Linear(1)(S).ravel()
    >>> v = coax.V(func, env)
    """

    def __init__(
        self,
        func: Any,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        value_transform: Any = None,
        random_seed: Any = None,
    ):
        space = check_space(env, "observation_space", "V")
        names = check_signature(func, (STATE,), "V")
        transform = as_value_transform(value_transform)
        rule = FunctionRule.shared(func, names, space, None, observation_preprocessor, None, transform)
        check_array_output(rule.output, (1,), "V", "return one number per row, e.g. jnp.squeeze(x, axis=-1)")
        self._set_up(rule, random_seed)

    def __call__(self, s: Any) -> np.ndarray:
        """The value of an observation, or of each in a batch with any leading axes.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]

        Returns
        -------
        f32[...]
            A NumPy array with the leading axes of `s` (none for a single one); inside a trace a jax array.
        """
        state = self._peek()
        S, lead = self._observations(s)
        out = self._forward.call_at(state["params"], state["function_state"], self._draw(state), S)
        return like_input(out, lead)

    @classmethod
    def example_data(
        cls,
        env: Any,
        observation_preprocessor: Callable[..., Any] | None = None,
        batch_size: int = 1,
        random_seed: Any = None,
    ) -> ExampleData:
        """What `func` receives and must return: see :class:`coax.approximators.ExampleData`."""
        return state_examples(cls, env, observation_preprocessor, array_output, batch_size, random_seed)
