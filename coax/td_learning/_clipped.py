"""TD learning towards what several q-functions agree on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._entries import Fixed, Number
from .._sharing import Rule
from .._updater import check_kind, check_reduction, checked_list, count_networks
from ..approximators import Ensemble, Policy
from ..proba_dists import EmpiricalQuantileDist
from ..regularizers import Regularizer
from ..typing import AbstractPolicy, AbstractQ
from ._backups import Backup, Choose, Reduce, several_greedy_backup, several_policies_backup
from ._base import TDLearning

__all__ = ("ClippedDoubleQLearning", "SoftClippedDoubleQLearning", "TruncatedQuantileLearning")


class Smoothing(Rule):
    """Noise on the actions of a target, as TD3 puts it there; the numbers are the updater's own.

    Parameters
    ----------
    space : gymnasium.spaces.Box
    """

    def __init__(self, space: gymnasium.spaces.Box):
        self.low, self.high = space.low, space.high

    def __call__(self, A: Any, key: jax.Array, own: dict[str, Any]) -> jax.Array:
        """Actions f32[B, ...] with noise, inside the Box."""
        half = (self.high - self.low) / 2
        noise = own["target_noise"] * jax.random.normal(key, A.shape, A.dtype)
        clip = own["target_noise_clip"]
        return jnp.clip(A + half * jnp.clip(noise, -clip, clip), self.low, self.high)


class Several:
    """Mixin of the updaters with several target networks; it has no state."""

    _targ_name = "q_targ_list"

    q = Fixed("_main", "The function, or the ensemble, that learns.")
    q_targ = Fixed("_main", "The same as :attr:`q`: the target looks at :attr:`q_targ_list`.")
    q_targ_list = Fixed("_targs", "The functions, or ensembles, that the target looks at.")
    pi_targ_list = Fixed("_pis", "The policies that the target looks at.")
    target_noise = Number(0)
    target_noise_clip = Number(0)

    _set_up: Any  # from TDLearning

    def _set_up_several(
        self,
        q: Any,
        pi_targ_list: Any,
        q_targ_list: Any,
        sampled: bool,
        reduce: Reduce,
        noise: tuple[float | None, float],
        at_least: int,
        *args: Any,
    ) -> None:
        """Find what the target looks at, and how; `noise` is the deviation and the cut-off, `args` go to the base."""
        name = type(self).__name__
        check_member(self, "q", q)
        discrete = isinstance(q.action_space, gymnasium.spaces.Discrete)
        targs = checked_list(
            self, "q_targ_list", q_targ_list, (AbstractQ, Ensemble), "q-functions, e.g. [q1_targ, q2_targ]"
        )
        if discrete:
            if pi_targ_list is not None:
                warnings.warn(f"{name}: pi_targ_list is not used for Discrete actions", UserWarning, stacklevel=3)
            pis = ()
        else:
            pis = checked_list(self, "pi_targ_list", pi_targ_list, Policy, "policies, e.g. [pi_targ]")
        smooth = None if noise[0] is None else _smoothing(name, q.action_space)
        _check_laws(name, targs)
        networks = count_networks(targs)
        count = networks * (networks if discrete else len(pis))
        if (networks if discrete else count) < at_least:
            raise ValueError(
                f"{name}: expected at least {at_least} values to choose from, got {networks} q-functions"
                f"{'' if discrete else f' and {len(pis)} policies'}. Fix: pass more, or an ensemble of them."
            )
        if reduce.how != "truncate":
            check_reduction(reduce.how, reduce.subset, networks)
        self._draws = (sampled and not discrete) or smooth is not None or reduce.subset is not None
        self._members = getattr(q, "members", None)
        if discrete:
            backup = Backup(several_greedy_backup, (reduce,))
        else:
            backup = Backup(several_policies_backup, (Choose(sampled, smooth), reduce))
        numbers = smooth and {
            "target_noise": type(self).target_noise.leaf(noise[0], name),
            "target_noise_clip": type(self).target_noise_clip.leaf(noise[1], name),
        }
        optimizer, loss_function, policy_regularizer, clip_weights = args
        self._set_up(q, targs, backup, optimizer, loss_function, policy_regularizer, clip_weights, pis, numbers)


class ClippedDoubleQLearning(Several, TDLearning):
    r"""TD learning towards the lowest of several estimates of the value of the next action.

    .. math:: R^{(n)}_t + I^{(n)}_t \min_{i,j} q_j(S_{t+n}, A_i)

    For Discrete actions :math:`A_i` is what target network i likes best, else it is the mode of policy i. The arguments
    are those of :class:`TDLearning`, and these:

    Parameters
    ----------
    q : coax.Q, coax.StochasticQ or coax.Ensemble
        What learns.
    pi_targ_list : list of coax.Policy, optional
        Who says the next action, where it is not Discrete.
    q_targ_list : list of q-functions, or coax.Ensemble
        What the target looks at.
    reduction : {'min', 'mean'}, optional
        What is made of the values: of laws 'min' takes the one with the lowest expectation, 'mean' mixes them.
    subset : int, optional
        Look at so many of the target networks only, drawn anew at each update, as REDQ does. Default: all.
    target_noise, target_noise_clip : float, optional
        Standard deviation of normal noise on the next action, and where the noise is cut off; both in units of half
        the width of the Box. TD3 has 0.2 and 0.5. Given at construction, they may be set at any time. Default: none.

    Raises
    ------
    TypeError
        If one of the lists is no list, or holds something else.
    ValueError
        If there are fewer than two values to choose from, or a number is out of its range.

    References
    ----------
    Fujimoto, van Hoof and Meger (2018), section 4.2, and 5.3 for `target_noise`; `subset` is that of Chen et al.
    (2021), algorithm 1.
    """

    def __init__(
        self,
        q: AbstractQ | Ensemble,
        pi_targ_list: Sequence[AbstractPolicy] | None = None,
        q_targ_list: Sequence[AbstractQ] | Ensemble | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
        *,
        reduction: str = "min",
        subset: int | None = None,
        target_noise: float | None = None,
        target_noise_clip: float = 0.5,
        clip_weights: tuple[float, float] | None = None,
    ):
        more = Reduce(reduction, subset), (target_noise, target_noise_clip), 2
        base = optimizer, loss_function, policy_regularizer, clip_weights
        self._set_up_several(q, pi_targ_list, q_targ_list, False, *more, *base)


class SoftClippedDoubleQLearning(Several, TDLearning):
    r"""TD learning towards the lowest of several estimates of the value of a sampled next action, as in SAC.

    As :class:`ClippedDoubleQLearning`, with :math:`A_i` a sample of policy i where actions are not Discrete, and
    without `target_noise`. The entropy of the policy comes in with a `policy_regularizer`.

    References
    ----------
    Haarnoja et al. (2018), section 4.2; Fujimoto, van Hoof and Meger (2018), section 4.2.
    """

    def __init__(
        self,
        q: AbstractQ | Ensemble,
        pi_targ_list: Sequence[AbstractPolicy] | None = None,
        q_targ_list: Sequence[AbstractQ] | Ensemble | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
        *,
        reduction: str = "min",
        subset: int | None = None,
        clip_weights: tuple[float, float] | None = None,
    ):
        more = Reduce(reduction, subset), (None, 0.0), 2
        base = optimizer, loss_function, policy_regularizer, clip_weights
        self._set_up_several(q, pi_targ_list, q_targ_list, True, *more, *base)


class TruncatedQuantileLearning(Several, TDLearning):
    r"""TD learning towards the pooled quantiles of several q-functions, without the highest of them: TQC.

    The next action is a sample of the policy; of Discrete ones it is the best one. The arguments are those of
    :class:`SoftClippedDoubleQLearning` without `reduction` and `subset`, and `drop`.

    Parameters
    ----------
    q : coax.StochasticQ with quantiles, or coax.Ensemble of them
        What learns.
    drop : int, optional
        How many quantiles are left out, for each of the functions.

    Raises
    ------
    TypeError
        If the q-functions have no quantiles, or not equally many.
    ValueError
        If nothing would be left.

    References
    ----------
    Kuznetsov et al. (2020), "Controlling overestimation bias with truncated mixture of continuous distributional
    quantile critics", section 3.
    """

    drop = Fixed("_drop", "How many quantiles of each function are left out.")

    def __init__(
        self,
        q: AbstractQ | Ensemble,
        pi_targ_list: Sequence[AbstractPolicy] | None = None,
        q_targ_list: Sequence[AbstractQ] | Ensemble | None = None,
        optimizer: optax.GradientTransformation | None = None,
        loss_function: Callable[..., Any] | None = None,
        policy_regularizer: Regularizer | None = None,
        *,
        drop: int = 2,
        clip_weights: tuple[float, float] | None = None,
    ):
        name = type(self).__name__
        dist = getattr(getattr(q, "rule", None), "dist", None)
        if not isinstance(dist, EmpiricalQuantileDist):
            raise TypeError(
                f"{name}: expected q to have quantiles as output, got {type(q).__name__}. "
                "Fix: pass a coax.StochasticQ without value_range, or an ensemble of them."
            )
        if not isinstance(drop, int | np.integer) or isinstance(drop, bool) or not 0 <= drop < dist.num_quantiles:
            raise ValueError(
                f"{name}: expected drop to be an int from 0 to {dist.num_quantiles - 1}, got {drop!r}. Fix: 2 of 25."
            )
        self._drop = drop
        targs = q_targ_list if isinstance(q_targ_list, list | tuple) else [q_targ_list]
        for targ in targs:
            other = getattr(getattr(targ, "rule", None), "dist", dist)
            if not isinstance(other, EmpiricalQuantileDist) or other.num_quantiles != dist.num_quantiles:
                raise TypeError(
                    f"{name}: expected q_targ_list to have {dist.num_quantiles} quantiles each, as q has, got {other}. "
                    "Fix: pass copies of what learns."
                )
        more = Reduce("truncate", None, int(drop)), (None, 0.0), 1
        base = optimizer, loss_function, policy_regularizer, clip_weights
        self._set_up_several(q, pi_targ_list, q_targ_list, True, *more, *base)


def check_member(updater: Any, argument: str, q: Any) -> None:
    """Refuse what is neither a q-function nor an ensemble of them."""
    if not isinstance(q, Ensemble):
        check_kind(updater, argument, q, AbstractQ, "a coax.Q, or a coax.Ensemble")


def _smoothing(owner: str, space: Any) -> Smoothing:
    floats = isinstance(space, gymnasium.spaces.Box) and np.issubdtype(space.dtype, np.floating)
    if not floats or not space.is_bounded():
        raise TypeError(
            f"{owner}: expected a Box of floats with bounds for target_noise, got {space}. Fix: leave target_noise out."
        )
    return Smoothing.shared(space)


def _check_laws(owner: str, targs: tuple) -> None:
    """Refuse laws that cannot be laid side by side."""
    dists = [getattr(targ.rule, "dist", None) for targ in targs]
    sizes = sorted(
        {dist.default_priors[next(iter(dist.default_priors))].shape[-1] for dist in dists if dist is not None}
    )
    if len(sizes) > 1:
        raise ValueError(
            f"{owner}: expected all of q_targ_list to have as many bins or quantiles, got {sizes}. "
            "Fix: make them with the same num_bins."
        )
