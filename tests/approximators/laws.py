"""Distributions over a space, said again in NumPy and SciPy, and functions that output their parameters."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats
from gymnasium import spaces


def shapes(space, *lead):
    """The structure of the distribution parameters over a space, with shapes as leaves."""
    if isinstance(space, spaces.Discrete):
        return {"logits": (*lead, int(space.n))}
    if isinstance(space, spaces.Box):
        return {"mu": (*lead, *space.shape), "logvar": (*lead, *space.shape)}
    if isinstance(space, spaces.Dict):
        return {key: shapes(part, *lead) for key, part in space.spaces.items()}
    return tuple(shapes(part, *lead) for part in parts(space))


def parts(space):
    """The spaces side by side in a Tuple, MultiDiscrete or MultiBinary space."""
    if isinstance(space, spaces.Tuple):
        return list(space.spaces)
    if isinstance(space, spaces.MultiBinary):
        return [spaces.Discrete(2)] * int(np.prod(space.shape))
    pairs = zip(space.nvec.ravel(), space.start.ravel(), strict=True)
    return [spaces.Discrete(int(n), start=int(start)) for n, start in pairs]


def is_shape(x):
    return isinstance(x, tuple) and all(isinstance(n, int) for n in x)


def features(*trees):
    """All leaves side by side and of moderate size, f32[B, F]."""
    rows = [jnp.reshape(x, (x.shape[0], int(np.prod(x.shape[1:])))) for x in jax.tree.leaves(trees)]
    return jnp.tanh(jnp.concatenate([x.astype(float) for x in rows], axis=-1) / 10)


def output(X, tree, scale=1.0):
    """A linear function of features f32[B, F] with outputs f32[B, *shape] for each shape in a tree."""

    def leaf(shape):
        size = int(np.prod(shape))
        return hk.Linear(size, w_init=hk.initializers.RandomNormal(scale))(X).reshape(X.shape[0], *shape)

    return jax.tree.map(leaf, tree, is_leaf=is_shape)


def of_state(space, *lead):
    """``func(S, is_training)`` with distribution parameters over a space."""
    return lambda S, is_training: output(features(S), shapes(space, *lead))


def of_state_and_action(space, *lead):
    """``func(S, A, is_training)`` with distribution parameters over a space."""

    return lambda S, A, is_training: output(features(S, A), shapes(space, *lead))


def always(tree):
    """``func(S, is_training)`` with the same arrays for every observation."""

    def func(S, is_training):
        batch = jax.tree.leaves(S)[0].shape[0]
        rows = lambda x: jnp.broadcast_to(jnp.asarray(x, jnp.float32), (batch, *np.shape(x)))
        return jax.tree.map(rows, tree, is_leaf=lambda x: isinstance(x, list))

    return func


# --- one element, by SciPy --------------------------------------------------------------------------------------------


def log_proba(space, params, x):
    """Log-probability of one element: over a Box the density in logit space."""
    if isinstance(space, spaces.Discrete):
        return scipy.special.log_softmax(np.asarray(params["logits"], float))[x - space.start]
    if isinstance(space, spaces.Box):
        mu, logvar = (np.asarray(params[name], float) for name in ("mu", "logvar"))
        return scipy.stats.norm.logpdf(logits_of(space, x), mu, np.exp(logvar / 2)).sum()
    if isinstance(space, spaces.Dict):
        return sum(log_proba(part, params[key], x[key]) for key, part in space.spaces.items())
    rows = x if isinstance(space, spaces.Tuple) else np.ravel(x)
    return sum(log_proba(*three) for three in zip(parts(space), params, rows, strict=True))


def logits_of(space, x):
    low, high = space.low.astype(float), space.high.astype(float)
    p = np.clip((np.asarray(x, float) - low) / (high - low), 2.0**-24, 1 - 2.0**-24)
    return scipy.special.logit(p)


def mode(space, params):
    """The most likely element, where there is only one."""
    if isinstance(space, spaces.Discrete):
        return int(np.argmax(params["logits"]) + space.start)
    if isinstance(space, spaces.Box):
        low, high = space.low.astype(float), space.high.astype(float)
        x = low + (high - low) * scipy.special.expit(np.asarray(params["mu"], float))
        return x if space.dtype.kind == "f" else np.round(x)
    if isinstance(space, spaces.Dict):
        return {key: mode(part, params[key]) for key, part in space.spaces.items()}
    rows = tuple(mode(*pair) for pair in zip(parts(space), params, strict=True))
    return rows if isinstance(space, spaces.Tuple) else np.reshape(rows, space.shape)


# --- batches ----------------------------------------------------------------------------------------------------------


def row(tree, index):
    """One row of a batch; numbers as Python numbers."""

    def leaf(x):
        x = np.asarray(x)[index]
        return x.item() if x.ndim == 0 and x.dtype.kind == "i" else np.asarray(x)

    return jax.tree.map(leaf, tree)


def assert_like_the_space(space, x, lead):
    """Structure, shapes, dtypes and types of what an environment is given."""
    if isinstance(space, spaces.Tuple):
        assert type(x) is tuple
        for part, leaf in zip(space.spaces, x, strict=True):
            assert_like_the_space(part, leaf, lead)
    elif isinstance(space, spaces.Dict):
        assert type(x) is dict
        assert list(x) == list(space.spaces)
        for key, part in space.spaces.items():
            assert_like_the_space(part, x[key], lead)
    elif isinstance(space, spaces.Discrete) and lead == ():
        assert type(x) is int
    else:
        assert type(x) is np.ndarray
        assert x.shape == (*lead, *space.shape)
        assert x.dtype == space.dtype


def assert_close(got, want, **kwargs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **{"rtol": 1e-4, "atol": 1e-5, **kwargs}), got, want)
