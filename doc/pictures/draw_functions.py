"""Draws the functions that the pages about concepts speak of: ``python doc/pictures/draw_functions.py``.

Each picture is drawn with the functions of coax themselves, and written next to this file. Needs matplotlib.
"""

import pathlib
import sys
import types

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import coax

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = pathlib.Path(__file__).parent
CARD, INK, FAINT, EDGE = "#fbfbf8", "#22303c", "#55626c", "#d5d8d2"
BLUE, ORANGE, GREEN, PURPLE = "#2b6cb0", "#c2621b", "#2f855a", "#6b46c1"
STYLE = {
    "figure.facecolor": CARD,
    "axes.facecolor": CARD,
    "savefig.facecolor": CARD,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8e2",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "text.color": INK,
    "font.size": 10,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.hashsalt": "coax",
}


def panels(n, height=3.1):
    """A row of n axes on a card."""
    figure, axes = plt.subplots(1, n, figsize=(8.4, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    figure.patch.set(edgecolor=EDGE, linewidth=2)
    return figure, np.atleast_1d(axes)


def value_losses():
    """The loss of one error, for each loss function."""
    losses = coax.value_losses
    figure, (left, middle, right) = panels(3)
    e = jnp.linspace(-3, 3, 301)
    zero = jnp.zeros_like(e)
    left.plot(e, losses.mse_each(zero, e), color=BLUE, label="mse")
    left.plot(e, losses.huber_each(zero, e), color=ORANGE, label="huber")
    left.set(title="values", xlabel="prediction minus target", ylabel="loss", ylim=(0, 4.6))
    for tau, color in ((0.1, BLUE), (0.5, GREEN), (0.9, ORANGE)):
        each = losses.quantile_huber_each(zero[:, None], e[:, None], jnp.full((len(e), 1), tau))
        middle.plot(e, each, color=color, label=rf"$\tau$ = {tau}")
    middle.set(title="quantiles: quantile_huber", xlabel="prediction minus target")
    right.plot(e, losses.logloss_sign_each(zero + 1, e), color=BLUE, label="label +1")
    right.plot(e, losses.logloss_sign_each(zero - 1, e), color=ORANGE, label="label -1")
    right.set(title="labels: logloss_sign", xlabel="logit")
    for axes in (left, middle, right):
        axes.legend()
    return figure


def value_transforms():
    """The transform, and how far apart values are in its space."""
    figure, (left, right) = panels(2)
    x = jnp.linspace(-100, 100, 801)
    for scale, color in ((1.0, BLUE), (10.0, ORANGE), (100.0, GREEN)):
        f, _ = coax.value_transforms.LogTransform(scale)
        left.plot(x, f(x), color=color, label=f"scale = {scale:g}")
        right.plot(x, jax.vmap(jax.grad(f))(x), color=color)
    left.plot(x, x, color=FAINT, linewidth=1, linestyle=":", label="identity")
    left.set(title="f(x): what is learned", xlabel="return x", ylim=(-75, 75))
    left.legend()
    right.set(title="slope of f: how much an error of 1 weighs", xlabel="return x", ylim=(0, 1.05))
    return figure


def proba_dists():
    """Densities over a Box of two distributions, and a law that is brought back to its bins."""
    figure, (left, middle, right) = panels(3, height=3.3)
    box = gymnasium.spaces.Box(-1, 1, ())
    x = jnp.linspace(-0.998, 0.998, 400)
    kinds = ((0.0, 0.5, BLUE), (0.0, 2.0, ORANGE), (1.0, 0.7, GREEN))
    for axes, dist in ((left, coax.proba_dists.NormalDist(box)), (middle, coax.proba_dists.SquashedNormalDist(box))):
        for mu, sigma, color in kinds:
            params = {"mu": jnp.full_like(x, mu), "logvar": jnp.full_like(x, 2 * np.log(sigma))}
            log_density = dist.log_proba(params, dist.from_element(x))
            if axes is left:  # that of the variate: to see it over the Box, add the logarithm of the slope
                log_density += jnp.log(jax.vmap(jax.grad(dist.from_element))(x))
            label = rf"$\mu$ = {mu:g}, $\sigma$ = {sigma:g}"
            axes.plot(x, jnp.exp(log_density), color=color, label=label)
        axes.set(title=type(dist).__name__, xlabel="action in the Box", ylim=(0, 3))
        axes.legend(loc="upper center", fontsize=8)
    left.set(ylabel="density")

    dist = coax.proba_dists.DiscretizedIntervalDist(gymnasium.spaces.Box(-0.5, 10.5, ()), num_bins=11)
    probs = jnp.zeros(11).at[jnp.array([2, 4, 8])].set(jnp.array([0.3, 0.5, 0.2]))
    moved = dist.affine_transform({"logits": jnp.log(probs)}, scale=0.9, shift=1.0)
    right.bar(dist.atoms - 0.15, probs, width=0.3, color="#9db8d6", label="Z")
    right.vlines(1 + 0.9 * dist.atoms[[2, 4, 8]], 0, [0.3, 0.5, 0.2], color=PURPLE, linestyle=":", label="1 + 0.9 Z")
    right.bar(dist.atoms + 0.15, dist.mean(moved), width=0.3, color=ORANGE, label="on the bins")
    right.set(title="project", xlabel="return", ylabel="probability", ylim=(0, 0.72), xticks=range(0, 11, 2))
    right.legend(fontsize=8)
    return figure


def regularizers():
    """What a bonus for entropy, or a price for leaving a prior, does to a policy with two actions."""
    figure, (left, right) = panels(2)
    p = jnp.linspace(1e-4, 1 - 1e-4, 500)
    dist = coax.proba_dists.CategoricalDist(gymnasium.spaces.Discrete(2))
    params = {"logits": jnp.log(jnp.stack([p, 1 - p], axis=-1))}
    prior = {"logits": jnp.log(jnp.array([0.2, 0.8]))}
    terms = (
        (left, dist.entropy(params), r"value + $\beta$ entropy"),
        (right, -dist.kl_divergence(params, prior), r"value - $\beta$ KL to the prior (0.2, 0.8)"),
    )
    for axes, term, title in terms:
        for beta, color in ((0.0, FAINT), (0.5, BLUE), (1.0, GREEN), (3.0, ORANGE)):
            total = p + beta * term  # the better action is worth 1, the other one 0
            best = int(jnp.argmax(total))
            axes.plot(p, total, color=color, label=rf"$\beta$ = {beta:g}")
            axes.plot(p[best], total[best], "o", color=color, markersize=5)
        axes.set(title=title, xlabel="probability of the better action")
        axes.legend(fontsize=8)
    right.set(ylim=(-2.2, 1.15))
    return figure


def policy_objectives():
    """What PPO maximises, over the ratio of probabilities; and what weights an imitation gives to advantages."""
    figure, (left, right) = panels(2)
    space = gymnasium.spaces.Discrete(1)
    env = types.SimpleNamespace(observation_space=space, action_space=gymnasium.spaces.Discrete(2))
    pi = coax.Policy(lambda S, is_training: {"logits": hk.Linear(2, w_init=jnp.zeros)(S)}, env)  # probabilities 1/2

    def objective(updater, ratio, adv):
        row = coax.reward_tracing.TransitionBatch.from_single(0, 0, np.log(0.5 / ratio), 0, False, 0.9, 0)
        _, _, metrics = updater.grads_and_metrics(row, np.array([adv]))
        return -float(metrics[f"{type(updater).__name__}/loss"])

    plain = coax.policy_objectives.PPOClip(pi, epsilon=0.2)
    dual = coax.policy_objectives.PPOClip(pi, epsilon=0.2, dual_clip=1.5)
    ratios = np.linspace(0.03, 2.2, 110)
    for updater, adv, color, style, label in (
        (plain, 1.0, BLUE, "-", "advantage 1"),
        (plain, -1.0, ORANGE, "-", "advantage -1"),
        (dual, -1.0, GREEN, "--", "the same, dual_clip = 1.5"),
    ):
        left.plot(ratios, [objective(updater, r, adv) for r in ratios], style, color=color, label=label)
    left.axvline(1, color=FAINT, linewidth=1, linestyle=":")
    left.set(title=r"PPOClip, $\epsilon$ = 0.2", ylabel="objective", ylim=(-2.4, 2.6))
    left.set_xlabel("ratio of probabilities, new to old")
    left.legend(fontsize=8, loc="upper right")

    adv = np.linspace(-3, 3, 61)
    for temperature, color in ((0.5, ORANGE), (1.0, GREEN), (2.0, BLUE)):
        cloning = coax.policy_objectives.CrossEntropy(pi, temperature=temperature, max_weight=5.0)
        weights = [objective(cloning, 1.0, a) / np.log(0.5) for a in adv]
        right.plot(adv, weights, color=color, label=f"temperature = {temperature:g}")
    right.set(title="CrossEntropy, max_weight = 5", xlabel="advantage", ylabel="weight of the action")
    right.legend(fontsize=8, loc="upper left")
    return figure


DRAWN = [value_losses, value_transforms, proba_dists, regularizers, policy_objectives]


def main(names):
    """Draw the pictures of these names, or all."""
    for draw in DRAWN:
        if names and draw.__name__ not in names:
            continue
        with plt.rc_context(STYLE):
            figure = draw()
            figure.savefig(HERE / f"{draw.__name__}.svg", metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
