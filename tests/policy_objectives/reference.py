"""Policy objectives in NumPy, by loops over the rows; gradients by finite differences in double precision.

Of Discrete actions the logits are ``s @ w``; of a Box the law is normal in logit space, with mean ``s @ mu`` and the
logarithm of the variance ``s @ logvar``. Values are ``tanh(s @ w)[a]``, of a Box ``tanh(s @ w) + tanh(0.3 a).sum()``.
"""

import types

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from coax.reward_tracing import TransitionBatch

B, OBS, N = 8, 3, 4
LOW, HIGH = -2.0, 6.0
DISCRETE = types.SimpleNamespace(
    observation_space=gymnasium.spaces.Box(-10, 10, (OBS,)), action_space=gymnasium.spaces.Discrete(N)
)
BOX = types.SimpleNamespace(
    observation_space=gymnasium.spaces.Box(-10, 10, (OBS,)), action_space=gymnasium.spaces.Box(LOW, HIGH, (2,))
)


# --- functions --------------------------------------------------------------------------------------------------------


def _weights(name, *shape):
    return hk.get_parameter(name, shape, init=hk.initializers.RandomNormal(0.5))


def categorical(S, is_training):
    return {"logits": S @ _weights("w", OBS, N)}


def gaussian(S, is_training):
    return {"mu": S @ _weights("mu", OBS, 2), "logvar": S @ _weights("logvar", OBS, 2)}


def narrow(S, is_training):
    """Almost without noise: a sample is the mode."""
    mu = S @ _weights("mu", OBS, 2)
    return {"mu": mu, "logvar": jnp.full_like(mu, -40.0)}


def q_type1(S, A, is_training):
    # not linear in A: a soft action would give another value than the mean over actions
    return jnp.tanh(jnp.sum((S @ _weights("w", OBS, N)) * A, axis=-1))


def q_type2(S, is_training):
    return jnp.tanh(S @ _weights("w", OBS, N))


def q_box(S, A, is_training):
    return jnp.tanh(S @ _weights("w", OBS)) + jnp.sum(jnp.tanh(0.3 * A), axis=1)


def params_of(function):
    return {name: np.array(x, float) for name, x in function.params["~"].items()}


# --- what it learns from ----------------------------------------------------------------------------------------------


def batch(seed=0, discrete=True, **fields):
    rng = np.random.default_rng(seed)
    A = rng.integers(0, N, B) if discrete else rng.uniform(LOW + 0.5, HIGH - 0.5, (B, 2)).astype(np.float32)
    zeros = np.zeros(B, np.float32)
    return TransitionBatch(
        **{
            "S": rng.normal(size=(B, OBS)).astype(np.float32),
            "A": A,
            "logP": zeros,
            "Rn": zeros,
            "In": zeros,
            "S_next": np.zeros((B, OBS), np.float32),
            "W": rng.uniform(0.5, 2, B).astype(np.float32),
            **fields,
        }
    )


def replace(tb, **fields):
    """The batch with other fields."""
    return TransitionBatch(**{**{name: getattr(tb, name) for name in TransitionBatch.__slots__}, **fields})


# --- laws -------------------------------------------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def log_pi(params, s, a):
    """The log-probability, or the density in logit space, of an action."""
    if "w" in params:
        return np.log(softmax(s @ params["w"])[a])
    z = np.log((a - LOW) / (HIGH - a))
    mu, logvar = s @ params["mu"], s @ params["logvar"]
    return np.sum(-((z - mu) ** 2) / (2 * np.exp(logvar)) - logvar / 2 - np.log(2 * np.pi) / 2)


def entropy(params, s):
    if "w" in params:
        p = softmax(s @ params["w"])
        return -sum(p * np.log(p))
    return np.sum(s @ params["logvar"] + np.log(2 * np.pi) + 1) / 2


def mode(params, s):
    return LOW + (HIGH - LOW) / (1 + np.exp(-(s @ params["mu"])))


def q_of_box(q_params, s, a):
    return np.tanh(s @ q_params["w"]) + np.tanh(0.3 * a).sum()


# --- objectives, one row each -----------------------------------------------------------------------------------------


def surrogate(ratio, adv, epsilon, dual_clip=None):
    value = min(ratio * adv, max(min(ratio, 1 + epsilon), 1 - epsilon) * adv)
    return value if dual_clip is None or adv >= 0 else max(value, dual_clip * adv)


def rows_of(tb):
    """The rows that count: (S, A, logP, W) in double precision."""
    A = tb.A if tb.A.ndim == 1 else tb.A.astype(float)
    rows = zip(tb.S.astype(float), A, tb.logP.astype(float), tb.W.astype(float), strict=True)
    return [row for row in rows if row[-1] != 0]


def mean(tb, each):
    """The weighted mean of a number per row that counts."""
    rows = rows_of(tb)
    return sum(row[-1] * x for row, x in zip(rows, each, strict=True)) / len(rows)


def gradient(func, params, h=1e-6):
    """Central differences of ``func(params)``."""
    out = {}
    for name, x in params.items():
        out[name] = np.zeros_like(x)
        for i in np.ndindex(*x.shape):
            up, down = ({**params, name: x.copy()} for _ in range(2))
            up[name][i] += h
            down[name][i] -= h
            out[name][i] = (func(up) - func(down)) / (2 * h)
    return out


def assert_grads(got, func, params, atol=2e-5):
    """Gradients of a loss are minus those of what is maximised."""
    expected = gradient(func, params)
    got = jax.tree.map(np.asarray, got["~"])
    for name in params:
        np.testing.assert_allclose(-got[name], expected[name], rtol=1e-4, atol=atol, err_msg=name)
