"""Draws the pictures of transitions, buffers, environments and what is around them.

``python doc/pictures/data_and_environments.py`` writes them all beside itself; with names, only these. Plots show
numbers that coax computes. It needs ``pip install 'coax[plots]'``.
"""

import contextlib
import io
import pathlib
import re
import sys

import gymnasium
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import coax

HERE = pathlib.Path(__file__).parent
GAMMA = "\N{GREEK SMALL LETTER GAMMA}"
SANS, MONO = "Helvetica, Arial, sans-serif", "'DejaVu Sans Mono', Menlo, Consolas, monospace"
INK, NOTE, LINE, CARD, EDGE = "#22303c", "#55626c", "#5b6770", "#fbfbf8", "#d5d8d2"
PLAIN = ("#ffffff", "#9aa5ad")
BLUE, ORANGE, GREEN, RED, GREY = (
    ("#e4eef8", "#2b6cb0"),
    ("#fdf3e7", "#c2621b"),
    ("#e6f4ea", "#2f855a"),
    ("#fbe9e7", "#b83232"),
    ("#eef0f1", "#9aa5ad"),
)


class Drawing:
    """An SVG file on a light card."""

    def __init__(self, width, height, label):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="{SANS}" font-size="14" fill="{INK}" role="img" aria-label="{label}">',
            '<defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
            f'<path d="M0 0 L10 5 L0 10 z" fill="{LINE}"/></marker></defs>',
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{CARD}" stroke="{EDGE}"/>',
        ]

    def box(self, x, y, w, h, kind=PLAIN, dashed=False, radius=5):
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}" fill="{kind[0]}" stroke="{kind[1]}" '
            f'stroke-width="1.3"{dash}/>'
        )

    def text(self, x, y, text, anchor="start", size=14, color=INK, bold=False, mono=False):
        """Text, with subscripts written as ``_{...}`` and superscripts as ``^{...}``."""
        more = (' font-weight="bold"' if bold else "") + (f' font-family="{MONO}"' if mono else "")
        body = "".join(_spans(text, size))
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{color}"{more} '
            f'xml:space="preserve">{body}</text>'
        )

    def cell(self, x, y, w, h, text, kind=PLAIN, size=14, **kwargs):
        """A box with text in the middle."""
        self.box(x, y, w, h, kind)
        self.text(x + w / 2, y + h / 2 + size * 0.35, text, anchor="middle", size=size, **kwargs)

    def path(self, d, color=LINE, width=1.4, arrow=False, dashed=False):
        more = (' marker-end="url(#a)"' if arrow else "") + (' stroke-dasharray="5 4"' if dashed else "")
        self.parts.append(f'<path d="{d}" fill="none" stroke="{color}" stroke-width="{width}"{more}/>')

    def arrow(self, x0, y0, x1, y1, **kwargs):
        self.path(f"M{x0} {y0} L{x1} {y1}", arrow=True, **kwargs)

    def save(self, name):
        (HERE / name).write_text("\n".join([*self.parts, "</svg>"]) + "\n")


def _spans(text, size):
    """Text as spans, those of sub- and superscripts small and shifted."""
    for part in re.split(r"([_^]\{[^}]*\})", text):
        plain = part.replace("&", "&amp;").replace("<", "&lt;")
        if part[:2] in ("_{", "^{"):
            shift = 0.28 * size if part[0] == "_" else -0.35 * size
            yield f'<tspan dy="{shift:.1f}" font-size="{0.75 * size:.1f}">{plain[2:-1]}</tspan>'
            yield f'<tspan dy="{-shift:.1f}" font-size="{size}">\N{ZERO WIDTH SPACE}</tspan>'
        elif part:
            yield f"<tspan>{plain}</tspan>"


# --- returns, reward_tracing ------------------------------------------------------------------------------------------


def ends_in_a_rollout():
    """What discount, cut and v_next are where episodes end."""
    d = Drawing(760, 330, "a rollout of six steps with a termination and a truncation")
    left, width, step = 150, 82, 98
    d.text(
        24, 34, "six steps: one episode terminates, one is cut off, and one goes on when the rollout ends", bold=True
    )
    rows = ["reward", "terminated", "truncated", "discount", "cut", "value in v_next"]
    for i, row in enumerate(rows):
        d.text(24, 74 + 34 * i, row, size=13, mono=True, color=NOTE)
    columns = [
        ("r_{0}", "", "", GAMMA, "", "v(s_{1})"),
        ("r_{1}", "yes", "", "0", "cut", "none"),
        ("r_{2}", "", "", GAMMA, "", "v(s_{3})"),
        ("r_{3}", "", "yes", GAMMA, "cut", "v(last)"),
        ("r_{4}", "", "", GAMMA, "", "v(s_{5})"),
        ("r_{5}", "", "", GAMMA, "cut", "v(s_{6})"),
    ]
    for t, column in enumerate(columns):
        x = left + step * t
        kinds = [BLUE if t < 2 else GREEN if t < 4 else ORANGE] + [PLAIN] * 5
        if column[4]:
            kinds[4] = RED
        for i, (text, kind) in enumerate(zip(column, kinds, strict=True)):
            d.cell(x, 55 + 34 * i, width, 28, text, kind)
    y = 282
    for t, column in enumerate(columns):
        x = left + step * t + width / 2
        d.text(x, y + 4, f"G_{{{t}}}", anchor="middle")
        if not column[4]:
            d.arrow(x + step - 18, y, x + 20, y)
    d.text(24, y + 4, "returns", size=13, mono=True, color=NOTE)
    d.text(left, 314, "An arrow: the later return is part of the earlier one. None crosses a cut.", size=13, color=NOTE)
    d.save("ends_in_a_rollout.svg")


def n_step_windows():
    """The windows of a tracer with n=3, up to a termination and up to a truncation."""
    d = Drawing(760, 452, "windows of three steps in an episode that terminated and in one that was truncated")
    titles = (
        ("The episode terminated after five steps:", "T", "terminal", RED),
        ("It was cut off by a time limit:", "s_{5}", "true last observation", GREEN),
    )
    ends = (((f"{GAMMA}^{{3}}", "s_{3}"), (f"{GAMMA}^{{3}}", "s_{4}"), ("0", "any"), ("0", "any"), ("0", "any")),)
    ends += (
        (
            (f"{GAMMA}^{{3}}", "s_{3}"),
            (f"{GAMMA}^{{3}}", "s_{4}"),
            (f"{GAMMA}^{{3}}", "s_{5}"),
            (f"{GAMMA}^{{2}}", "s_{5}"),
            (GAMMA, "s_{5}"),
        ),
    )
    for k, ((title, last, note, kind), rows) in enumerate(zip(titles, ends, strict=True)):
        top = 20 + 216 * k
        d.text(24, top + 14, title, bold=True)
        for t in range(6):
            x = 40 + 78 * t
            d.cell(x, top + 26, 38, 28, last if t == 5 else f"s_{{{t}}}", kind if t == 5 else BLUE)
            if t < 5:
                d.arrow(x + 38, top + 40, x + 76, top + 40)
                d.text(x + 57, top + 34, f"r_{{{t}}}", anchor="middle", size=13, color=NOTE)
        d.text(486, top + 45, note, size=12, color=kind[1])
        d.text(560, top + 64, "In", size=13, bold=True, anchor="middle")
        d.text(640, top + 64, "S_next", size=13, bold=True, anchor="middle")
        for t, (in_, s_next) in enumerate(rows):
            y, stop = top + 84 + 22 * t, min(t + 3, 5)
            x0, x1 = 59 + 78 * t, 59 + 78 * stop
            d.path(f"M{x0} {y} L{x1} {y}", color=ORANGE[1], width=7)
            d.path(f"M{x0} {y - 6} L{x0} {y + 6}", color=ORANGE[1])
            d.path(f"M{x1} {y - 6} L{x1} {y + 6}", color=ORANGE[1])
            d.text(560, y + 9, in_, anchor="middle")
            d.text(640, y + 9, s_next, anchor="middle", color=NOTE if s_next == "any" else INK)
    d.save("n_step_windows.svg")


def lambda_weights():
    """How much each n-step return counts in a lambda-return of an episode with ten steps left."""
    with plot("lambda_weights.svg", 7.6, 2.9, 3) as axes:
        for ax, lambda_, color in zip(axes, (0.5, 0.8, 0.95), (BLUE, ORANGE, GREEN), strict=True):
            # The n-step return counts as much as a reward of 1 at the end of its window alone, all other values being 0
            weights = []
            for n in range(1, 11):
                v_next = (np.arange(1, 11) == n).astype(float)
                returns = coax.returns.lambda_returns(np.zeros(10), np.ones(10), np.zeros(10), v_next, lambda_)
                weights.append(float(returns[0]))
            ax.bar(range(1, 11), weights, color=color[1], width=0.7)
            ax.set_title(f"λ = {lambda_}", fontsize=11)
            ax.set_xticks([1, 4, 7, 10])
            ax.set_xlabel("n")
            ax.set_ylim(0, 0.7)
        axes[0].set_ylabel("weight of the n-step return")


# --- experience_replay ------------------------------------------------------------------------------------------------


def sum_tree():
    """A sum tree over eight priorities, and four stratified draws."""
    d = Drawing(760, 400, "a tree of sums over eight priorities, and one draw from each quarter of the total")
    levels = [[3, 1, 4, 0, 2, 2, 1, 3]]
    while len(levels[-1]) > 1:
        levels.append([a + b for a, b in zip(levels[-1][::2], levels[-1][1::2], strict=True)])
    left, unit = 60, 40
    d.text(24, 32, "sums: a change of one priority touches one node on each level", bold=True)
    where = {}
    for depth, level in enumerate(reversed(levels)):
        y = 52 + 54 * depth
        for i in range(len(level)):
            x = left + 16 * unit * (2 * i + 1) / (2 * len(level))
            where[depth, i] = (x, y)
    for (depth, i), (x, y) in where.items():
        if depth:
            px, py = where[depth - 1, i // 2]
            d.path(f"M{px} {py + 28} L{x} {y}", color=EDGE if (depth, i) not in _PATH else BLUE[1], width=1.6)
    for (depth, i), (x, y) in where.items():
        value = levels[len(levels) - 1 - depth][i]
        d.cell(x - 22, y, 44, 28, str(value), BLUE if (depth, i) in _PATH else PLAIN)
    _draws(d, levels[0], left, unit)
    d.save("sum_tree.svg")


def _draws(d, priorities, left, unit):
    """The priorities end to end, and a draw from each quarter."""
    d.text(24, 278, "the priorities laid end to end, and a draw in each quarter of 16", bold=True)
    x, y = left, 308
    for i, value in enumerate(priorities):
        if value:
            kind = (BLUE, ORANGE, GREEN, RED, ORANGE, GREEN, ORANGE, BLUE)[i]
            d.cell(x, y, unit * value, 28, f"#{i}", kind, size=12)
        x += unit * value
    for k in range(5):
        d.path(f"M{left + 4 * k * unit} {y - 12} L{left + 4 * k * unit} {y + 42}", color=LINE, dashed=True)
    for position in (2.2, 7.0, 8.9, 14.1):
        d.arrow(left + unit * position, y + 62, left + unit * position, y + 31)
    d.text(left, 388, "Drawn: #0, #2, #4 and #7. #3 has priority 0 and is never drawn.", size=13, color=NOTE)


_PATH = {(0, 0), (1, 0), (2, 1), (3, 2)}  # where the second draw goes down


def stored_once():
    """Three transitions of stacks of three frames, and the frames they share."""
    d = Drawing(760, 310, "three transitions whose stacks of frames refer to the same frames")
    d.text(24, 32, "what is added: two stacks of three frames for each transition", bold=True)
    d.text(24, 262, "what is kept: each frame once, and for each transition where its frames are", bold=True)
    colors = (BLUE, ORANGE, GREEN)
    for i, kind in enumerate(colors):
        x = 40 + 240 * i
        d.box(x - 10, 46, 220, 64, PLAIN, dashed=True)
        for name, offset, first in (("S", 0, i), ("S_next", 108, i + 1)):
            d.text(x + offset, 64, name, size=12, mono=True, color=NOTE)
            for j in range(3):
                d.cell(x + offset + 31 * j, 72, 28, 28, str(first + j), kind, size=13)
        for j in range(4):  # the last one is the last of S_next
            start = x + 14 + (31 * j if j < 3 else 108 + 62)
            d.path(f"M{start} 102 L{90 + 116 * (i + j)} 194", color=kind[1], width=1.2)
    for f in range(6):
        d.cell(68 + 116 * f, 195, 44, 44, str(f), PLAIN, size=16)
    d.text(
        24, 288, "18 frames come in, 6 are kept. In a long run it is one new frame a transition.", size=13, color=NOTE
    )
    d.save("stored_once.svg")


# --- envs, wrappers ---------------------------------------------------------------------------------------------------


def autoreset_modes():
    """What one environment of several returns around the end of an episode, in each mode."""
    d = Drawing(760, 372, "three modes of beginning the next episode, and what transition makes of them")
    d.text(24, 32, "What step returns around the end of an episode s_{0}, s_{1}, s_{2} (the next: z_{0}, z_{1})")
    d.text(190, 62, "step 1", size=13, color=NOTE)
    d.text(330, 62, "step 2: the end", size=13, color=NOTE)
    d.text(490, 62, "step 3", size=13, color=NOTE)
    d.text(630, 62, "step 4", size=13, color=NOTE)
    modes = {
        "NEXT_STEP": [("s_{1}", BLUE, ""), ("s_{2}", RED, ""), ("z_{0}", GREY, "no step"), ("z_{1}", GREEN, "")],
        "SAME_STEP": [("s_{1}", BLUE, ""), ("z_{0}", GREEN, "s_{2} in info"), ("z_{1}", GREEN, ""), None],
        "DISABLED": [("s_{1}", BLUE, ""), ("s_{2}", RED, "then reset: z_{0}"), ("z_{1}", GREEN, ""), None],
    }
    for i, (mode, cells) in enumerate(modes.items()):
        y = 76 + 52 * i
        d.text(24, y + 25, mode, size=13, mono=True)
        for k, one in enumerate(cells):
            if one:
                text, kind, note = one
                d.cell(170 + 145 * k, y + 4, 56, 32, text, kind, size=15)
                d.text(234 + 145 * k, y + 25, note, size=12, color=NOTE)
    d.path("M24 244 L736 244", color=EDGE)
    d.text(24, 272, "What coax.envs.transition gives, in every mode: (S, S_next) and a mask", bold=False)
    pairs = [
        ("(s_{0}, s_{1})", BLUE, "True"),
        ("(s_{1}, s_{2})", RED, "True"),
        ("(s_{2}, z_{0})", GREY, "False"),
        ("(z_{0}, z_{1})", GREEN, "True"),
    ]
    for k, (text, kind, mask) in enumerate(pairs):
        x = 150 + 145 * k
        d.cell(x, 288, 104, 32, text, kind, size=15)
        d.text(x + 52, 340, mask, anchor="middle", size=13, mono=True, color=NOTE)
    d.text(24, 340, "mask", size=13, mono=True)
    d.text(440, 360, "the third only in NEXT_STEP", anchor="start", size=12, color=NOTE)
    d.save("autoreset_modes.svg")


def wrappers_in_order():
    """Which wrapper goes inside of which."""
    d = Drawing(760, 352, "wrappers around wrappers, from the game to the loop")
    layers = [
        ("NormalizeReward", "the loop sees scaled rewards", GREEN),
        ("TrainMonitor", "counts true rewards, remembers the observation", BLUE),
        ("NormalizeObservation, or ActionMasking", "changes what is observed", GREEN),
        ("FrameStacking", "the latest frames, as a tuple", ORANGE),
        ("AtariPreprocessing", "skips frames, small and grey", ORANGE),
        ("gymnasium.make(...)", "", PLAIN),
    ]
    for i, (name, note, kind) in enumerate(layers):
        x, y = 24 + 26 * i, 24 + 42 * i
        d.box(x, y, 712 - 52 * i, 304 - 52 * i, kind)
        d.text(x + 14, y + 26, name, size=13, mono=True)
        d.text(722 - 26 * i, y + 26, note, anchor="end", size=12, color=NOTE)
    d.save("wrappers_in_order.svg")


# --- normalizers ------------------------------------------------------------------------------------------------------


def running_moments():
    """Numbers of a walk far from zero, and what the normaliser makes of them."""
    rng = np.random.default_rng(3)
    x = 40 + np.concatenate([6 * rng.standard_normal(150), 18 + 9 * rng.standard_normal(150)])
    normalizer = coax.ObservationNormalizer(gymnasium.spaces.Box(-np.inf, np.inf, (1,)), clip=3.0)
    rows = []
    for number in x:
        normalizer.update([number])
        rows.append((normalizer.mean[0], normalizer.std[0], normalizer.norm([number])[0]))
    mean, std, normed = np.array(rows).T
    with plot("running_moments.svg", 7.6, 3.0, 2) as (raw, after):
        t = np.arange(len(x))
        raw.plot(t, x, ".", color=GREY[1], markersize=3)
        raw.plot(t, mean, color=BLUE[1])
        raw.fill_between(t, mean - std, mean + std, color=BLUE[1], alpha=0.2, linewidth=0)
        raw.set_title("what comes, with the running mean and deviation", fontsize=10)
        after.plot(t, normed, ".", color=ORANGE[1], markersize=3)
        after.axhline(0, color=LINE, linewidth=0.8)
        after.set_title("what goes out, clipped at 3", fontsize=10)
        for ax in (raw, after):
            ax.set_xlabel("observations")


# --- checkpoint, sinks, plotting, training, utils ---------------------------------------------------------------------


def checkpoint_file():
    """What is in a file."""
    d = Drawing(760, 340, "the parts of a checkpoint file")
    d.text(24, 32, "coax.save(path, q=q, pi=pi, loop=loop)", mono=True, size=13)
    d.text(79, 68, "8 bytes", anchor="middle", size=12, color=NOTE)
    d.text(563, 68, "arrays, one after another", anchor="middle", size=12, color=NOTE)
    d.box(24, 76, 712, 62)
    for x, w, text, kind in (
        (34, 90, "length", GREY),
        (132, 260, "header, in JSON", BLUE),
        (400, 76, "0", ORANGE),
        (482, 60, "1", ORANGE),
        (548, 90, "2", ORANGE),
        (644, 82, "...", ORANGE),
    ):
        d.cell(x, 88, w, 38, text, kind)
    d.path("M132 124 L28 184", color=BLUE[1])
    d.path("M392 124 L732 184", color=BLUE[1])
    d.box(24, 182, 712, 140, BLUE)
    lines = [
        ("format, versions", "of the file, of coax and of JAX"),
        ("q", "function_state, params: ... 0, 1, rng: ... 2"),
        ("pi", "epsilon: 3, rng: ..."),
        ("loop", "the numbers and strings themselves, arrays by number"),
        ("arrays", "dtype, shape, checksum and whether it is compressed"),
    ]
    for i, (name, what) in enumerate(lines):
        d.text(44, 208 + 25 * i, name, mono=True, size=13)
        d.text(210, 208 + 25 * i, what, size=13, color=NOTE)
    d.save("checkpoint_file.svg")


def monitor_and_sinks():
    """Who tells whom what, and how often."""
    d = Drawing(760, 300, "a monitor collects, and sinks write once an episode")
    d.text(24, 34, "every step", bold=True)
    d.text(330, 34, "every episode", bold=True)
    d.cell(24, 56, 170, 40, "env.step(a)", PLAIN, mono=True, size=12)
    d.cell(24, 128, 170, 40, "record_metrics(...)", PLAIN, mono=True, size=12)
    d.box(240, 52, 150, 130, BLUE)
    d.text(315, 78, "monitor", anchor="middle", bold=True)
    d.text(315, 104, "T, ep, t, G, avg_G", anchor="middle", size=12, mono=True)
    d.text(315, 128, "sums of metrics,", anchor="middle", size=12, color=NOTE)
    d.text(315, 146, "left on the device", anchor="middle", size=12, color=NOTE)
    d.arrow(194, 76, 238, 76)
    d.arrow(194, 148, 238, 148)
    sinks = ("Console", "CSV", "JSONLines", "TensorBoard, WandB", "ProgressBar", "your own")
    for i, name in enumerate(sinks):
        y = 22 + 43 * i
        d.cell(540, y, 196, 34, name, ORANGE, size=13)
        d.path(f"M390 110 C460 110 470 {y + 17} 538 {y + 17}", arrow=True)
    d.text(434, 290, "write(T, numbers, metrics)", size=12, mono=True, color=NOTE)
    d.path("M270 182 L270 221 L536 221", dashed=True, arrow=True, color=NOTE)
    d.text(280, 240, "step(T), to those that ask for it", size=12, color=NOTE)
    d.save("monitor_and_sinks.svg")


def interquartile_mean():
    """Eight seeds, one of which failed: three means, and the bootstrap band of one of them."""
    seeds = np.array([12.0, 150, 200, 204, 206, 230, 235, 240])
    rng = np.random.default_rng(0)
    drawn = coax.plotting.interquartile_mean(seeds[rng.integers(8, size=(4000, 8))], axis=1)
    low, high = coax.plotting.bootstrap_band(seeds, random_seed=0)
    with plot("interquartile_mean.svg", 7.6, 3.0, 2) as (left, right):
        middle = coax.plotting.interquartile_mean(seeds)
        left.axvspan(seeds[2] - 1.5, seeds[5] + 1.5, color=BLUE[0])
        left.plot(seeds, np.zeros(8), "o", color=GREY[1], zorder=3)
        for value, name, color, y in (
            (seeds.mean(), "mean", RED[1], 0.8),
            (np.median(seeds), "median", GREEN[1], 0.55),
            (middle, "interquartile mean", BLUE[1], 0.3),
        ):
            left.axvline(value, 0.35, color=color, linewidth=1.6)
            left.text(140, y, f"{name} {value:.1f}", color=color, ha="right", fontsize=10)
        left.set(ylim=(-0.5, 1), yticks=[], xlabel="return of each of eight seeds")
        right.hist(drawn, bins=50, color=GREY[1])
        right.axvspan(low, high, color=BLUE[1], alpha=0.15)
        right.axvline(middle, color=BLUE[1])
        right.set(yticks=[], xlabel="interquartile mean of eight seeds drawn again")
        right.set_title(f"95 % lie between {low:.0f} and {high:.0f}", fontsize=10)


def episodes_that_count():
    """Four episodes are asked for in two environments: which four."""
    d = Drawing(760, 252, "of two environments the first two episodes of each count")
    unit, left = 28, 130
    d.text(24, 34, "four episodes in two environments: the first two of each count", bold=True)
    rows = [[2, 3, 2, 4, 2, 3, 4], [9, 8, 3]]
    for i, lengths in enumerate(rows):
        x, y = left, 56 + 54 * i
        d.text(24, y + 24, f"environment {i}", size=13, color=NOTE)
        for j, length in enumerate(lengths):
            d.cell(x, y, unit * length, 36, str(length), GREEN if j < 2 else GREY, size=13)
            x += unit * length
    d.path(f"M{left + 17 * unit} 46 L{left + 17 * unit} 160", dashed=True)
    d.text(left + 17 * unit, 176, "evaluate stops here", anchor="middle", size=12, color=NOTE)
    d.text(24, 206, "what counts, 2, 3, 9, 8: the mean length is 5.5", size=13, color=GREEN[1])
    d.text(24, 230, "the four that are over first, 2, 3, 2, 9, favour short ones: the mean is 4", size=13, color=RED[1])
    d.save("episodes_that_count.svg")


def schedule_and_noise():
    """A schedule of epsilon, and Ornstein-Uhlenbeck noise beside independent noise."""
    epsilon = coax.utils.StepwiseLinearFunction((0, 1.0), (1_000_000, 0.1), (2_000_000, 0.01))
    noise = coax.utils.OrnsteinUhlenbeckNoise(sigma=0.2, theta=0.15, random_seed=5)
    walk = [noise(np.zeros(1))[0] for _ in range(200)]
    independent = 0.2 * np.random.default_rng(5).standard_normal(200)
    with plot("schedule_and_noise.svg", 7.6, 2.8, 2) as (left, right):
        t = np.linspace(-200_000, 2_500_000, 300)
        left.plot(t / 1e6, epsilon(t), color=BLUE[1])
        left.plot([p[0] / 1e6 for p in epsilon.steps], [p[1] for p in epsilon.steps], "o", color=BLUE[1], markersize=4)
        left.set(xlabel="million steps")
        left.set_title("StepwiseLinearFunction", fontsize=10)
        right.plot(independent, color=GREY[1], linewidth=0.8, label="independent")
        right.plot(walk, color=ORANGE[1], linewidth=1.3, label="Ornstein-Uhlenbeck")
        right.set(xlabel="steps")
        right.set_title("noise of the same step size", fontsize=10)
        right.legend(fontsize=8, loc="upper left")


# --- plots ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def plot(name, width, height, count):
    """A figure of some axes side by side on a light card, saved at the end of the ``with`` block."""
    mpl.rcParams.update({"svg.hashsalt": name, "font.size": 9})  # the same file each time
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=CARD)
    axes = figure.subplots(1, count)
    for ax in axes:
        ax.set_facecolor("#ffffff")
        ax.spines[["top", "right"]].set_visible(False)
    yield axes
    text = io.StringIO()
    figure.savefig(text, format="svg", facecolor=CARD, metadata={"Date": None})
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    (HERE / name).write_text("\n".join(lines) + "\n")


PICTURES = (
    ends_in_a_rollout,
    n_step_windows,
    lambda_weights,
    sum_tree,
    stored_once,
    autoreset_modes,
    wrappers_in_order,
    running_moments,
    checkpoint_file,
    monitor_and_sinks,
    interquartile_mean,
    episodes_that_count,
    schedule_and_noise,
)

if __name__ == "__main__":
    for draw in PICTURES:
        if draw.__name__ in sys.argv[1:] or not sys.argv[1:]:
            draw()
