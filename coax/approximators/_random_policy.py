"""The policy that knows nothing."""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from .._entries import Rng, as_seed
from .._stateful import Stateful, is_tracing, refuse_in_trace
from ..proba_dists import mask_parts
from ..utils import make_cast, make_element, single_space
from ._action_mask import find_mask
from ._checks import check_space
from ._distributional import default_dist

__all__ = ("RandomPolicy", "uniform_sample")

spaces = gymnasium.spaces


def uniform_sample(
    space: gymnasium.Space, key: jax.Array, lead: tuple[int, ...] = (), mask: Any = None
) -> tuple[Any, jax.Array]:
    """Elements of a space, drawn as ``space.sample()`` draws them, and their log-probabilities.

    A bounded interval is uniform, one bounded on one side is exponential from there, an unbounded one is normal.

    Parameters
    ----------
    space : gymnasium.Space
        Discrete, MultiDiscrete, MultiBinary, Box, or a Tuple or Dict of them.
    key : key[]
    lead : tuple of int
        Leading axes of the result.
    mask : optional
        Which choices are allowed, in the forms that :class:`coax.ActionMask` describes, with the leading axes.

    Returns
    -------
    x : pytree of arrays [*lead, *shape]
    logp : f32[*lead]
    """
    if mask is not None and not isinstance(space, spaces.Tuple | spaces.Dict):
        return _sample_allowed(space, key, lead, mask)
    if isinstance(space, spaces.Discrete):
        x = jax.random.randint(key, lead, 0, int(space.n)) + int(space.start)
        return x, jnp.full(lead, -np.log(int(space.n)), jnp.float32)
    if isinstance(space, spaces.MultiDiscrete):
        start = jnp.asarray(getattr(space, "start", 0))
        x = jax.random.randint(key, (*lead, *space.shape), 0, jnp.asarray(space.nvec)) + start
        return x, jnp.full(lead, -np.log(space.nvec).sum(), jnp.float32)
    if isinstance(space, spaces.MultiBinary):
        x = jax.random.bernoulli(key, shape=(*lead, *space.shape)).astype(space.dtype)
        return x, jnp.full(lead, -np.log(2) * np.prod(space.shape), jnp.float32)
    if isinstance(space, spaces.Tuple | spaces.Dict):
        parts = dict(enumerate(space.spaces)) if isinstance(space, spaces.Tuple) else dict(space.spaces)
        masks = [None] * len(parts) if mask is None else mask_parts("mask", mask, list(parts), space)
        keys = jax.random.split(key, len(parts))
        rows = zip(parts.items(), keys, masks, strict=True)
        drawn = {name: uniform_sample(part, k, lead, allowed) for (name, part), k, allowed in rows}
        found = {name: pair[0] for name, pair in drawn.items()}
        logp = sum((pair[1] for pair in drawn.values()), jnp.zeros(lead))
        return tuple(found.values()) if isinstance(space, spaces.Tuple) else found, logp
    assert isinstance(space, spaces.Box)  # the last kind that check_space lets through
    return _sample_box(space, key, lead)


def _sample_allowed(
    space: gymnasium.Space, key: jax.Array, lead: tuple[int, ...], mask: Any
) -> tuple[jax.Array, jax.Array]:
    """Elements of a space without parts, uniform over what a mask allows."""
    dist = default_dist(space)
    flat = jax.tree.map(lambda leaf: jnp.zeros((*lead, *leaf.shape[1:])), dist.default_priors)
    dist_params = dist.masked(flat, mask)
    x = dist.sample_element(dist_params, key)
    return x, dist.log_proba(dist_params, dist.from_element(x))


def _sample_box(space: spaces.Box, key: jax.Array, lead: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    shape = (*lead, *space.shape)
    below, above = space.bounded_below, space.bounded_above
    if np.issubdtype(space.dtype, np.integer):
        first = space.low.astype(np.int64)
        width = np.clip(space.high.astype(np.int64) - first + 1, 1, np.iinfo(np.int32).max)
        drawn = jnp.asarray(first) + jax.random.randint(key, shape, 0, width)
        return drawn.astype(space.dtype), jnp.full(lead, -np.log(width).sum(), jnp.float32)
    dtype = jax.dtypes.canonicalize_dtype(space.dtype)
    low, high = np.where(below, space.low, 0).astype(float), np.where(above, space.high, 1).astype(float)
    log_width = np.log(np.where((below & above) & (high > low), high - low, 1)).astype(dtype)
    low, high = low.astype(dtype), high.astype(dtype)
    keys = jax.random.split(key, 3)
    uniform = jax.random.uniform(keys[0], shape, dtype)
    waiting = jax.random.exponential(keys[1], shape, dtype)
    normal = jax.random.normal(keys[2], shape, dtype)
    bounded, one_sided = below & above, below ^ above
    between = jnp.clip(low * (1 - uniform) + high * uniform, low, high)  # the width of a box may overflow
    x = jnp.where(bounded, between, jnp.where(below, low + waiting, high - waiting))
    x = jnp.where(bounded | one_sided, x, normal)
    each = jnp.where(bounded, -log_width, jnp.where(one_sided, -waiting, jax.scipy.stats.norm.logpdf(normal)))
    return x, each.sum(axis=tuple(range(len(lead), each.ndim))) + jnp.zeros(lead)


class RandomPolicy(Stateful):
    """Draws actions without looking at the observation, as ``env.action_space.sample()`` does.

    Only at the mask of allowed actions it looks, if the environment says where that is.

    Parameters
    ----------
    env : gymnasium.Env, or anything with an ``action_space``
        Where the actions come from. Its own random generator is left alone.
    random_seed : int or key[], optional
        Seed of the random stream. Default: one from the operating system.

    Raises
    ------
    TypeError
        If the action space is not a gymnasium space, or of a kind that cannot be drawn from.
    """

    def __init__(self, env: Any, random_seed: Any = None):
        self._action_space = check_space(env, "action_space", "RandomPolicy")
        observations = single_space(env, "observation_space")
        self._cast_observation = None if observations is None else make_cast(observations)
        self._mask = find_mask(env)
        self._element = make_element(self._action_space)
        self._draw = jax.jit(self._sample, static_argnums=1)
        self.random_seed = random_seed

    @property
    def action_space(self) -> gymnasium.Space:
        """Where the actions come from."""
        return self._action_space

    @property
    def random_seed(self) -> Any:
        """The seed, an int or a key. Setting it starts the random stream anew."""
        return self._random_seed

    @random_seed.setter
    def random_seed(self, seed: Any) -> None:
        refuse_in_trace(self, "random_seed = ...")
        seed = as_seed(seed)
        self._write({"rng": Rng.seeded(seed)})
        self._random_seed = seed

    def init(self, key: jax.Array) -> dict[str, Any]:
        """A fresh random stream."""
        return {"rng": Rng.seeded(key)}

    def _sample(self, rng: Rng, lead: tuple[int, ...], mask: Any) -> tuple[Any, jax.Array]:
        return uniform_sample(self.action_space, rng.next_key, lead, mask)

    def __call__(self, s: Any, return_logp: bool = False) -> Any:
        """An action for an observation, or one for each in a batch with any leading axes.

        Parameters
        ----------
        s : observation, or pytree of arrays [..., *obs]
        return_logp : bool, optional
            Return the log-probability f32[...] of the action too.
        """
        S, lead = (None, ()) if self._cast_observation is None else self._cast_observation(s)
        mask = None if self._mask is None else self._mask(S)
        if mask is not None and not is_tracing():
            self._mask.check_values(S, self.action_space)  # type: ignore[union-attr]
        rng = self._peek()["rng"]
        self._write({"rng": rng.advanced()})
        action, logp = self._draw(rng, lead, mask)
        if not is_tracing():
            action, logp = self._element(action), np.asarray(logp)
        return (action, logp) if return_logp else action

    def mode(self, s: Any) -> Any:
        """Another random action: none is likelier than the others."""
        return self(s)

    def dist_params(self, s: Any) -> dict[str, np.ndarray]:
        """Discrete: ``{'logits': f32[A]}``, zeros, or -inf for what a mask excludes; Box: a wide normal.

        Raises
        ------
        NotImplementedError
            For other spaces.
        """
        if isinstance(self.action_space, spaces.Discrete):
            n = int(self.action_space.n)
            allowed = np.ones(n, bool) if self._mask is None else np.asarray(self._mask(s)).astype(bool)
            return {"logits": np.where(allowed, 0, -np.inf).astype(np.float32)}
        if isinstance(self.action_space, spaces.Box):
            shape = self.action_space.shape
            return {"mu": np.zeros(shape, np.float32), "logvar": np.full(shape, 15, np.float32)}
        raise NotImplementedError(f"RandomPolicy.dist_params of {self.action_space}. Fix: use env.action_space itself.")
