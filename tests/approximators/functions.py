"""Functions with known numbers, and random nested spaces."""

import types

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

import coax

OBS, N = 3, 4


def env_of(observation_space=None, action_space=None):
    return types.SimpleNamespace(
        observation_space=spaces.Box(-10, 10, (OBS,)) if observation_space is None else observation_space,
        action_space=spaces.Discrete(N) if action_space is None else action_space,
    )


ENV = env_of()
NESTED = spaces.Dict(
    {
        "box": spaces.Box(-1, 1, (2, 3)),
        "pair": spaces.Tuple((spaces.Discrete(3, start=5), spaces.MultiBinary(4))),
        "many": spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [0, 7]]),
        "deep": spaces.Dict({"bytes": spaces.Box(0, 255, (2,), np.uint8), "one": spaces.Discrete(2)}),
    }
)
SPACES = {
    "discrete": spaces.Discrete(5, start=-2),
    "box": spaces.Box(-1, 1, (2, 3)),
    "scalar box": spaces.Box(-1, 1, ()),
    "multi discrete": spaces.MultiDiscrete([2, 3, 4], start=[1, -1, 0]),
    "multi binary": spaces.MultiBinary((2, 3)),
    "tuple": spaces.Tuple((spaces.Discrete(3, start=1), spaces.Box(0, 1, (2,)))),
    "nested": NESTED,
}


def weights(*shape):
    return hk.get_parameter("w", shape, init=hk.initializers.RandomNormal(0.7))


def flat(S):
    """All leaves of a batch side by side, f32[B, ...]."""
    leaves = jax.tree.leaves(S)
    return jnp.concatenate([jnp.reshape(x, (x.shape[0], -1)).astype(jnp.float32) for x in leaves], axis=-1)


def type1(S, A, is_training):
    """``tanh(s @ w)[a]`` for a one-hot action, and not linear in it."""
    return jnp.tanh(jnp.sum((S @ weights(OBS, N)) * A, axis=-1))


def type2(S, is_training):
    return jnp.tanh(S @ weights(OBS, N))


def state_value(S, is_training):
    return jnp.tanh(S @ weights(OBS))


def any_value(S, is_training):
    return jnp.squeeze(hk.Linear(1)(flat(S)), axis=-1)


def any_type1(S, A, is_training):
    return jnp.squeeze(hk.Linear(1)(jnp.tanh(hk.Linear(8)(jnp.concatenate([flat(S), flat(A)], axis=-1)))), axis=-1)


def any_type2(S, is_training):
    return hk.Linear(N)(flat(S))


def with_dropout(S, is_training):
    return hk.Linear(N)(hk.dropout(hk.next_rng_key(), 0.5, S))


def with_batch_norm(S, is_training):
    return hk.Linear(N)(hk.BatchNorm(True, True, 0.9)(S, is_training))


def weights_of(function):
    return np.array(function.params["~"]["w"], float)


def observations(*lead, seed=0):
    return np.random.default_rng(seed).normal(size=(*lead, OBS)).astype(np.float32)


def batch_of(space, lead, seed=0):
    """Random elements with leading axes."""
    count = int(np.prod(lead))
    rng = np.random.default_rng(seed)
    rows = [coax.safe_sample(space, rng) for _ in range(count)]
    stack = lambda *xs: np.stack(xs).reshape((*lead, *np.shape(xs[0])))
    return jax.tree.map(stack, *rows), rows
