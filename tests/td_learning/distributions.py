"""TD learning of distributions in NumPy, by loops; gradients by finite differences.

The function is ``out(s, a) = s @ w[:, a, :]``: logits of K bins, or K quantiles at the fractions (k + 1/2) / K. A
function of the state alone has a single action. A law is a list of pairs (value, probability).
"""

import gymnasium
import haiku as hk
import jax.numpy as jnp
import numpy as np

import coax

from . import reference as ref

K, RANGE = 6, (-3.0, 3.0)
ATOMS = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]  # the middles of six bins of width 1
FRACTIONS = [(k + 0.5) / K for k in range(K)]
BOX_ENV = type(
    "Env", (), {"observation_space": ref.ENV.observation_space, "action_space": gymnasium.spaces.Box(-2, 6, (2,))}
)


# --- what learns ------------------------------------------------------------------------------------------------------


def _as_output(kind, x):
    if kind == "bins":
        return {"logits": x}
    return {"values": x, "quantile_fractions": jnp.broadcast_to(jnp.asarray(FRACTIONS), x.shape)}


def _table(n):
    return hk.get_parameter("w", (ref.OBS, n, K), init=hk.initializers.RandomNormal(0.7))


def state_action(kind):
    """Type 2."""
    return lambda S, is_training: _as_output(kind, jnp.einsum("bs,sak->bak", S, _table(ref.N)))


def state(kind):
    return lambda S, is_training: _as_output(kind, jnp.einsum("bs,sak->bak", S, _table(1))[:, 0])


def box_action(kind):
    """Type 1, not linear in the action."""

    def func(S, A, is_training):
        return _as_output(kind, jnp.einsum("bs,sak->bak", jnp.concatenate([S[:, :1], jnp.tanh(A)], 1), _table(1))[:, 0])

    return func


def q_of(kind, seed, func=state_action, env=ref.ENV, **kwargs):
    kwargs = {"value_range": RANGE if kind == "bins" else None, "num_bins": K, **kwargs}
    return coax.StochasticQ(func(kind), env, random_seed=seed, **kwargs)


# --- laws -------------------------------------------------------------------------------------------------------------


def law_of(kind, row, f_inv=lambda y: y):
    """The law that an output [K] stands for."""
    if kind == "bins":
        return [(f_inv(z), p) for z, p in zip(ATOMS, ref.softmax(row), strict=True)]
    return [(f_inv(x), 1 / K) for x in row]


def mean(law):
    return sum(x * p for x, p in law)


def backed_up(law, rn, in_):
    return [(rn + in_ * x if in_ else rn, p) for x, p in law]


# --- losses of a row --------------------------------------------------------------------------------------------------


def on_bins(law):
    """Masses of the bins: each value shares between its two neighbours, by the distance."""
    mass = np.zeros(K)
    for x, p in law:
        x = min(max(x, ATOMS[0]), ATOMS[-1])
        i = min(int(np.floor(x - ATOMS[0])), K - 2)
        part = x - ATOMS[i]  # the bins have width 1
        mass[i] += p * (1 - part)
        mass[i + 1] += p * part
    return mass


def loss_of(kind, law, row):
    if kind == "bins":
        log_p = row - row.max() - np.log(np.exp(row - row.max()).sum())
        return -sum(m * x for m, x in zip(on_bins(law), log_p, strict=True))
    total = 0.0
    for fraction, y in zip(FRACTIONS, row, strict=True):
        for x, p in law:
            d = x - y
            huber = d**2 / 2 if abs(d) < 1 else abs(d) - 0.5
            total += p * abs(fraction - (d < 0)) * huber
    return total  # N times the mean over N predictions


def gradient(func, w, h=1e-6):
    out = np.zeros_like(w)
    for i in np.ndindex(*w.shape):
        up, down = w.copy(), w.copy()
        up[i] += h
        down[i] -= h
        out[i] = (func(up) - func(down)) / (2 * h)
    return out
