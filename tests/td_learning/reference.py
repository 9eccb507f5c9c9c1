"""TD learning in NumPy, with the gradients worked out by hand.

The function is ``q(s, a) = tanh(s @ w)[a]``, of states ``v(s) = tanh(s @ w)``: ``dq/dw = (1 - q^2) s`` in column a.
"""

import types

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from coax.reward_tracing import TransitionBatch

B, OBS, N = 7, 3, 4
ENV = types.SimpleNamespace(
    observation_space=gymnasium.spaces.Box(-10, 10, (OBS,)), action_space=gymnasium.spaces.Discrete(N)
)


# --- what learns ------------------------------------------------------------------------------------------------------


def _weights(*shape):
    return hk.get_parameter("w", shape, init=hk.initializers.RandomNormal(0.7))


def state_value(S, is_training):
    return jnp.tanh(S @ _weights(OBS))


def type1(S, A, is_training):
    # not linear in A: a soft action would give another value than the mean over actions
    return jnp.tanh(jnp.sum((S @ _weights(OBS, N)) * A, axis=-1))


def type2(S, is_training):
    return jnp.tanh(S @ _weights(OBS, N))


def weights_of(function):
    return np.array(function.params["~"]["w"], float)


# --- what it learns from ----------------------------------------------------------------------------------------------


def batch(seed=0, size=B, **fields):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return TransitionBatch(
        **{
            "S": normal(size, OBS),
            "A": rng.integers(0, N, size),
            "logP": np.zeros(size, np.float32),
            "Rn": 2 * normal(size),
            "In": np.where(np.arange(size) % 3 == 1, 0, 0.9).astype(np.float32),
            "S_next": normal(size, OBS),
            "A_next": rng.integers(0, N, size),
            "logP_next": np.zeros(size, np.float32),
            **fields,
        }
    )


def rows_of(tb, rows):
    return jax.tree.map(lambda x: x[rows], tb)


# --- losses: per sample, and minus the slope --------------------------------------------------------------------------


def linex(y_true, y_pred, w=None):
    """A custom loss, as a user would write it: too low is worse than too high, so the arguments cannot be swapped."""
    each = jnp.exp(y_true - y_pred) - (y_true - y_pred) - 1
    return jnp.mean(each if w is None else w * each)


LOSSES = {
    "huber": lambda e: (np.where(abs(e) < 1, e**2 / 2, abs(e) - 0.5), np.clip(e, -1, 1)),
    "mse": lambda e: (e**2 / 2, e),
    "linex": lambda e: (np.exp(e) - e - 1, np.exp(e) - 1),
}


def log_transform(x, c=2.0):
    return np.sign(x) * c * np.log1p(abs(x) / c)


def exp_transform(y, c=2.0):
    return np.sign(y) * c * np.expm1(abs(y) / c)


# --- one update -------------------------------------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def bootstrap_value(kind, w, w_targ, tb, f_inv=lambda y: y, number=None):
    """What is bootstrapped from, f64[B], row by row."""
    values = []
    for s_next, a_next in zip(np.asarray(tb.S_next, float), tb.A_next, strict=True):
        q, q_targ = f_inv(np.tanh(s_next @ w)), f_inv(np.tanh(s_next @ w_targ))
        if kind == "SimpleTD":
            value = q_targ
        elif kind == "Sarsa":
            value = q_targ[a_next]
        elif kind == "ExpectedSarsa":  # epsilon-greedy on the raw output of q
            p = np.full(N, number / N)
            p[np.argmax(s_next @ w)] += 1 - number
            value = sum(p[a] * q_targ[a] for a in range(N))
        elif kind == "QLearning":
            value = max(q_targ)
        elif kind == "DoubleQLearning":
            value = q[np.argmax(q_targ)]
        elif kind == "DoubleQLearning/q":
            value = q_targ[np.argmax(q)]
        elif kind == "SoftQLearning":
            value = number * np.log(sum(np.exp(q_targ[a] / number) for a in range(N)))
        values.append(value)
    return np.array(values)


def update(w, tb, v_next, loss, f=lambda x: x, weights=None, rate=0.1):
    """One step of stochastic gradient descent, as a dict of everything there is to know about it."""
    S, Rn, In = (np.asarray(x, float) for x in (tb.S, tb.Rn, tb.In))
    weights = np.asarray(tb.W if weights is None else weights, float)
    columns = w.reshape(OBS, -1)
    A = np.asarray(tb.A) if w.ndim == 2 else np.zeros(len(Rn), int)
    size = np.sum(weights != 0)
    grad, losses, errors = np.zeros_like(columns), [], []
    for i in range(len(Rn)):
        y = np.tanh(S[i] @ columns[:, A[i]])
        target = f(Rn[i] + In[i] * v_next[i])
        each, error = LOSSES[loss](target - y)
        losses.append(weights[i] * each)
        errors.append(error if weights[i] else 0.0)
        grad[:, A[i]] -= weights[i] / size * error * (1 - y**2) * S[i]
    return {
        "w": w - rate * grad.reshape(w.shape),
        "grad": grad.reshape(w.shape),
        "td_error": np.array(errors),
        "metrics": {
            "loss": sum(losses) / size,
            "td_error": sum(weights * errors) / size,
            "grads_max": abs(grad).max(),
            "grads_norm": np.sqrt((grad**2).sum()),
        },
    }
