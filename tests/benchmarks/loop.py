"""The speed of a Python loop with coax, beside what one would write by hand.

Run ``python -m tests.benchmarks.loop``; ``--quick`` is rougher, and ``--write`` puts the table into
``doc/benchmarks/loop.rst``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import jax
import numpy as np
import optax

import coax
import coax.reward_tracing
import coax.sinks
import coax.td_learning
import coax.wrappers
from coax.reward_tracing import TransitionBatch

from . import by_hand
from .sac import sac_step
from .steps import GAMMA, RATE, cartpole, dqn_step, eight_or_one, frozen_lake_step, params_by_hand
from .stochastic import box_policy, discrete_policy, mean_of_bins
from .timing import as_table, compare, compare_processes, machine, write_page

PAGE = Path(__file__).parents[2] / "doc" / "benchmarks" / "loop.rst"


# --- single calls -----------------------------------------------------------------------------------------------------


def acting(policy_class, explore):
    env = cartpole()
    s = env.observation_space.sample() * 0 + np.float32(0.1)
    pi = policy_class(coax.Q(by_hand.mlp, env, random_seed=1))
    network = by_hand.cartpole_network(env)
    act, params, key = by_hand.make_act(network, explore), params_by_hand(network), jax.random.key(1)
    number, count = np.float32(0.1), 0

    def other():
        nonlocal count
        count += 1
        return np.asarray(act(params, number, key, np.uint32(count), s)).item()

    return lambda: pi(s), other


def valuing():
    env = cartpole()
    s = np.full(4, 0.1, np.float32)
    q, network = coax.Q(by_hand.mlp, env, random_seed=1), by_hand.cartpole_network(env)
    values, params = by_hand.make_values(network), params_by_hand(network)
    return lambda: q(s), lambda: np.asarray(values(params, s))


def random_fields(size):
    rng = np.random.default_rng(0)
    S, S_next = rng.normal(size=(2, size, 4)).astype(np.float32)
    Rn, In = rng.random((2, size), np.float32)
    return S, rng.integers(2, size=size), Rn, In, S_next


def updating(size, donate=False):
    env, fields = cartpole(), random_fields(size)
    q = coax.Q(by_hand.mlp, env, random_seed=1)
    qlearning = coax.td_learning.QLearning(q, q_targ=q.copy(), optimizer=optax.adam(RATE))
    S, A, Rn, In, S_next = fields
    batch = TransitionBatch(S, A, np.zeros(size, np.float32), Rn, In, S_next)

    network, optimizer = by_hand.cartpole_network(env), optax.adam(RATE)
    target = params_by_hand(network)
    params = jax.tree.map(lambda x: jax.device_put(x, may_alias=False), target)
    optimizer_state = jax.jit(optimizer.init)(params)
    update, rows = by_hand.make_update(network, optimizer, donate), (*fields, np.ones(size, np.float32))

    report = metrics = None

    def mine():
        nonlocal metrics
        metrics = qlearning.update(batch)

    def other():
        nonlocal params, optimizer_state, report
        params, optimizer_state, report = update(params, optimizer_state, target, rows)

    # not for the parameters: handing them out would make the next update copy them
    return mine, other, lambda: jax.block_until_ready((metrics, report))


def tracing(n):
    tracer, other = coax.reward_tracing.NStep(n, GAMMA), by_hand.NStepDeque(n, GAMMA)
    s = np.zeros(4, np.float32)
    for _ in range(n):
        tracer.add(s, 1, 1.0, False)
        other.add(s, 1, 1.0, False)

    def mine():
        tracer.add(s, 1, 1.0, False)
        return tracer.pop()

    def theirs():
        other.add(s, 1, 1.0, False)
        return other.pop()

    return mine, theirs


def monitored(*sinks):
    """A step of an environment with a monitor, which gets a metric."""
    env = coax.wrappers.TrainMonitor(cartpole(), level=logging.WARNING, sinks=sinks)
    q = coax.Q(by_hand.mlp, env, random_seed=1)
    S, A, Rn, In, S_next = random_fields(1)
    batch = TransitionBatch(S, A, np.zeros(1, np.float32), Rn, In, S_next)
    metrics = coax.td_learning.QLearning(q, optimizer=optax.adam(RATE)).update(batch)
    env.reset(seed=1)
    actions = [0, 1]

    def step():
        actions.reverse()
        *_, terminated, truncated, _ = env.step(actions[0])
        env.record_metrics(metrics)
        if terminated or truncated:
            env.reset()

    return step


def monitoring():
    bare = cartpole()
    bare.reset(seed=1)
    actions = [0, 1]

    def other():
        actions.reverse()
        *_, terminated, truncated, _ = bare.step(actions[0])
        if terminated or truncated:
            bare.reset()

    return monitored(), other


def watching():
    folder = Path(tempfile.mkdtemp())
    bar = coax.sinks.ProgressBar(10**9, file=open(os.devnull, "w"), disable=False)  # noqa: SIM115 - as long as the bar
    sinks = coax.sinks.CSV(folder / "run.csv"), coax.sinks.JSONLines(folder / "run.jsonl"), bar
    return monitored(*sinks), monitored()


# --- the table --------------------------------------------------------------------------------------------------------

# These hand out finished results, and take turns one by one: in a loop something always lies between two calls, and
# back to back it depends on a microsecond whether jax's threads have gone to sleep in between.
ANSWERS = (
    ("pi(s), EpsilonGreedy", lambda: acting(coax.EpsilonGreedy, by_hand.epsilon_greedy), 1.5),
    ("pi(s), BoltzmannPolicy", lambda: acting(coax.BoltzmannPolicy, by_hand.boltzmann), 1.5),
    ("q(s)", valuing, 1.5),
    ("pi(s), Policy", lambda: discrete_policy(with_logp=False), 1.5),
    ("pi(s, return_logp=True), Policy", lambda: discrete_policy(with_logp=True), 1.5),
    ("pi(S), Policy, 64 rows", lambda: discrete_policy(with_logp=False, rows=64), 1.5),
    ("pi(s, return_logp=True), Policy over a Box", box_policy, 1.5),
    ("q.mean(s), StochasticQ, 51 bins", mean_of_bins, 1.5),
)
# Of these the device may do a part while the next one begins, or they are a whole step: 50 calls take turns with 50.
STEPS = (
    ("update, batch 1", lambda: updating(1), 1.3),
    ("update, batch 32", lambda: updating(32), 1.3),
    ("update, batch 256", lambda: updating(256), 1.3),
    ("update, batch 32; by hand with donation", lambda: updating(32, donate=True), None),
    ("tracer.add + pop, n = 1", lambda: tracing(1), None),
    ("tracer.add + pop, n = 5", lambda: tracing(5), None),
    ("monitor.step + record_metrics; env.step", monitoring, None),
    ("FrozenLake Q-learning, whole step", frozen_lake_step, None),
    ("CartPole DQN, whole step", dqn_step, 1.3),
    ("the same with coax.jit over update and soft_update", lambda: dqn_step(fused=True), 1.3),
    ("the same; by hand with donation", lambda: dqn_step(fused=True, donate=True), None),
    ("SAC on Pendulum, all updates one by one", lambda: sac_step(fused=False), None),
    ("the same with coax.jit", lambda: sac_step(fused=True), 1.3),
)
# Both sides are coax: the first column has eight environments at once.
EIGHT = (
    ("DQN, 8 environments, an update for 8 steps; one, an update for each", lambda: eight_or_one(1), 0.333),
    ("the same; one, an update for 8 steps", lambda: eight_or_one(8), None),
)
# A step, and what is written at the end of an episode, every 40 steps or so.
WATCHED = (("monitor.step + record_metrics", watching, 1.3),)
START = ("tests.benchmarks.start_coax", "tests.benchmarks.start_by_hand")


def measure(quick, only):
    repeats, calls = (15, 50) if quick else (80, 50)

    def rows(table, *turns):
        return [compare(row[0], row[1](), row[2], *turns) for row in table if only in row[0]]

    found = [*rows(ANSWERS, repeats * calls, 1), *rows(STEPS, repeats, calls)]
    eight = rows(EIGHT, repeats, 10)
    sinks = rows(WATCHED, repeats, 1000)
    start = compare_processes(START, {"first update": 1.5}, 3 if quick else 9) if only in "start" else []
    return (
        ("Microseconds a call", found, {}),
        ("Microseconds for 8 steps of environments", eight, {"columns": ("eight", "one")}),
        ("Microseconds for a step, with CSV, JSON lines and a bar, or none", sinks, {"columns": ("sinks", "none")}),
        ("Milliseconds from the start of the interpreter, without a compilation cache", start, {}),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only the calls whose names contain this, or 'start'"
    )
    given = parser.parse_args()
    tables = measure(given.quick, given.only)
    report = "\n\n".join(f"{title}:\n\n{as_table(rows, **kwargs)}" for title, rows, kwargs in tables if rows)
    names = ("jax", "jaxlib", "dm-haiku", "optax", "gymnasium", "numpy")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    report += f"\n\n{machine()}; Python {sys.version.split()[0]}, coax {coax.__version__}, {versions}."
    print(report)
    if given.write:
        write_page(PAGE, ".. the table is written by the command above\n", report)


if __name__ == "__main__":
    main()
