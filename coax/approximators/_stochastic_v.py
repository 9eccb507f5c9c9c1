"""State-value functions with a distribution over values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..typing import AbstractStochastic, AbstractV
from ..value_transforms import as_value_transform
from ._checks import STATE, check_signature, check_space
from ._dist_rule import DistRule
from ._distributional import Distributional, StochasticState, check_output_like
from ._example_data import ExampleData, like_params, state_examples
from ._function import Function, like_input, with_leading
from ._rule import FunctionRule
from ._value_dists import interval_dist

__all__ = ("StochasticV",)


class StochasticV(Function, StochasticState, Distributional, AbstractV, AbstractStochastic):
    r"""A distribution over returns, :math:`\mathbb{P}_\theta(G|s)`, in bins of equal width.

    Parameters
    ----------
    func : callable, pair of callables, or Flax module
        ``func(S, is_training) -> {'logits': f32[B, K]}``, a Haiku function of preprocessed observations S, leaves
        [B, ...]; or one of the other forms that :class:`coax.V` takes. See :meth:`example_data`.
    env : gymnasium.Env, or anything with an ``observation_space``
        Where the observations come from.
    value_range : (float, float)
        The lowest and the highest return that is to be expected, in the original space.
    num_bins : int, optional
        K, the number of bins.
    observation_preprocessor : callable, optional
        ``func(rng, S)`` from raw observations to what `func` sees. Default: that of the space.
    value_transform : ValueTransform or pair of callables, optional
        The bins are of equal width in the transformed space. It must increase.
    random_seed : int or key[], optional
        Seed of the parameters and of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If the space is not a gymnasium space, `func` has another signature or output, or `value_range` is no range.

    References
    ----------
    Bellemare, Dabney and Munos (2017), section 4.

    Examples
    --------
    >>> def func(S, is_training):
    ...     return {"logits": hk.Linear(51)(S)}
    >>> v = coax.StochasticV(func, env, value_range=(0, 1))
    """

    def __init__(
        self,
        func: Any,
        env: Any,
        value_range: tuple[float, float],
        num_bins: int = 51,
        observation_preprocessor: Callable[..., Any] | None = None,
        value_transform: Any = None,
        random_seed: Any = None,
    ):
        space = check_space(env, "observation_space", "StochasticV")
        names = check_signature(func, (STATE,), "StochasticV")
        transform = as_value_transform(value_transform)
        self._value_range, dist = interval_dist("StochasticV", value_range, num_bins, transform)
        forward = FunctionRule.shared(func, names, space, None, observation_preprocessor, None, transform)
        hint = "look at coax.StochasticV.example_data(env, value_range).output"
        check_output_like(forward.output, dist.default_priors, (1,), "StochasticV", hint)
        self._set_up(forward, random_seed, DistRule.shared(forward, dist, "values"))

    @property
    def value_range(self) -> tuple[float, float]:
        """The lowest and the highest return, in the original space."""
        return self._value_range

    @property
    def num_bins(self) -> int:
        """K, the number of bins."""
        return self.proba_dist.num_bins

    def __call__(self, s: Any, return_logp: bool = False) -> Any:
        """Sample a return for one observation, or for each in a batch with any leading axes.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        return_logp : bool, optional
            Return the log-probability of its bin too.

        Returns
        -------
        value : f32[...]
            The centre of a bin, in the original space: a NumPy array, inside a trace a jax array.
        logp : f32[...]
            Only with `return_logp`.
        """
        S, lead = self._observations(s)
        out = self._ask("sample_with_logp" if return_logp else "sample", False, S)
        return with_leading(out, lead)

    def mean(self, s: Any) -> Any:
        """The expected return f32[...], in the original space."""
        S, lead = self._observations(s)
        return like_input(self._ask("expectation", False, S), lead)

    def mode(self, s: Any) -> Any:
        """The centre of the most likely bin f32[...], in the original space."""
        S, lead = self._observations(s)
        return like_input(self._ask("mode", False, S), lead)

    def dist_params(self, s: Any) -> dict[str, Any]:
        """``{'logits': f32[..., K]}``."""
        S, lead = self._observations(s)
        return with_leading(self._ask("dist_params", False, S), lead)

    @classmethod
    def example_data(
        cls,
        env: Any,
        value_range: tuple[float, float],
        num_bins: int = 51,
        observation_preprocessor: Callable[..., Any] | None = None,
        value_transform: Any = None,
        batch_size: int = 1,
        random_seed: Any = None,
    ) -> ExampleData:
        """What `func` receives and must return: see :class:`coax.approximators.ExampleData`."""
        _, dist = interval_dist("StochasticV", value_range, num_bins, as_value_transform(value_transform))
        output = like_params(dist.default_priors)
        return state_examples(cls, env, observation_preprocessor, output, batch_size, random_seed)
