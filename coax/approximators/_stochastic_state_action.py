"""How a function of state and action with a distribution as output is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._dist_rule import DistRule
from ._distributional import check_output_like, per_action
from ._function import like_input, with_leading
from ._rule import FunctionRule

__all__ = ("StochasticStateAction", "stochastic_rule")


def stochastic_rule(owner: str, forward: FunctionRule, dist: Any, kind: str) -> DistRule:
    """The rule of a function of state and action whose output are the parameters of a distribution.

    Raises
    ------
    TypeError
        If the output has another structure, shapes or dtypes.
    """
    lead = (1,) if forward.modeltype == 1 else (1, int(forward.action_space.n))  # type: ignore[union-attr]
    hint = f"look at coax.{owner}.example_data(...).type{forward.modeltype}.output"
    check_output_like(forward.output, dist.default_priors, lead, owner, hint)
    return DistRule.shared(forward, dist, kind)


class StochasticStateAction:
    """Mixin of the stochastic functions of state and action; it has no state."""

    # from the classes that it is mixed with
    _ask: Any
    _inputs: Any
    _outcome: Any
    _sampler: Any
    _statistic: Any
    action_space: Any
    function_type1: Any
    function_type2: Any
    proba_dist: Any
    rule: Any

    def __call__(self, s: Any, a: Any = None, return_logp: bool = False) -> Any:
        """Sample an outcome of an action, or of all (Discrete) actions; for one observation or a batch of them.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        a : action, or pytree of arrays [..., *act], optional
            With the leading axes of `s`. Left out (Discrete actions only): all of them.
        return_logp : bool, optional
            Return the log-probability of the outcome too.

        Returns
        -------
        outcome
            Values: f32[...] with `a`, f32[..., A] without. Observations: as they come from the environment, leaves
            [..., *obs]; without `a` a list with one entry per action. NumPy arrays; inside a trace jax arrays.
        logp : f32[...] with `a`, f32[..., A] without
            Only with `return_logp`.

        Raises
        ------
        ValueError
            If the actions are not Discrete and `a` is left out, or shapes do not fit the spaces.
        """
        everywhere, batches, lead = self._inputs(s, a, "a call without a")
        if not return_logp:
            return self._outcome(self._ask("sample", everywhere, *batches), everywhere, lead)
        x, logp = self._ask("sample_with_logp", everywhere, *batches)
        return self._outcome(x, everywhere, lead), like_input(logp, lead)

    def mean(self, s: Any, a: Any = None) -> Any:
        """The mean outcome of an action, or of all actions. Shapes as for a call.

        Of values it is the expectation; of observations it is what ``proba_dist.mean`` stands for, in a Box the image
        of ``mu``.
        """
        everywhere, batches, lead = self._inputs(s, a, "mean(s)")
        what = "expectation" if self.rule.kind == "values" else "mean_element"
        return self._outcome(self._ask(what, everywhere, *batches), everywhere, lead)

    def mode(self, s: Any, a: Any = None) -> Any:
        """What ``proba_dist.mode`` of an action, or of all actions, stands for. Shapes as for a call."""
        everywhere, batches, lead = self._inputs(s, a, "mode(s)")
        return self._outcome(self._ask("mode", everywhere, *batches), everywhere, lead)

    def dist_params(self, s: Any, a: Any = None) -> Any:
        """The parameters of the distribution, leaves [..., *shape]; without `a` a list with one entry per action."""
        everywhere, batches, lead = self._inputs(s, a, "dist_params(s)")
        found = with_leading(self._ask("dist_params", everywhere, *batches), lead)
        return per_action(found, int(self.action_space.n), len(lead)) if everywhere else found

    # --- pure functions of preprocessed inputs, as scripts for 0.1.13 use them; X are variates

    @property
    def sample_func_type1(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S, A) -> (X, logP)``, leaves [B, ...]."""
        return self._sampler(self.function_type1)

    @property
    def sample_func_type2(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> (X, logP)``, leaves [B, A, ...]."""
        return self._sampler(self.function_type2)

    @property
    def mean_func_type1(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S, A) -> X``, leaves [B, ...]."""
        return self._statistic(self.function_type1, self.proba_dist.mean)

    @property
    def mean_func_type2(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> X``, leaves [B, A, ...]."""
        return self._statistic(self.function_type2, self.proba_dist.mean)

    @property
    def mode_func_type1(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S, A) -> X``, leaves [B, ...]."""
        return self._statistic(self.function_type1, self.proba_dist.mode)

    @property
    def mode_func_type2(self) -> Callable[..., Any]:
        """``(params, function_state, rng, S) -> X``, leaves [B, A, ...]."""
        return self._statistic(self.function_type2, self.proba_dist.mode)
