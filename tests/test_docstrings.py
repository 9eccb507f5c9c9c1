"""Every example in a docstring runs, with the names that the fixture defines, and shows what it says."""

import ast
import contextlib
import doctest
from pathlib import Path

import gymnasium
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coax

ROOT = Path(coax.__file__).parent

# Examples that need modules of extras, by the file.
NEEDS = {
    "_grid_world.py": ("matplotlib",),
    "_learning_curves.py": ("matplotlib",),
    "_progress_bar.py": ("tqdm",),
    "_recording.py": ("PIL", "pygame"),
    "_tensorboard.py": ("tensorboardX",),
}
PARSER = doctest.DocTestParser()


def documented(path):
    """The docstrings of a file, with their names and lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield getattr(node, "name", path.stem), getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def with_examples():
    for path in sorted(ROOT.rglob("*.py")):
        for name, line, text in documented(path):
            if ">>>" in text:
                where = f"{path.relative_to(ROOT)}:{name}"
                yield pytest.param(text, path, line, id=where)


@pytest.fixture(scope="module")
def well_known_names():
    """What every example may use, made once: no example relies on what these have learned."""
    env = coax.wrappers.TrainMonitor(gymnasium.make("FrozenLakeNonSlippery-v0"))
    q = coax.Q(lambda S, is_training: hk.Linear(4, w_init=jnp.zeros)(S), env, random_seed=1)
    v = coax.V(lambda S, is_training: hk.Linear(1)(S).ravel(), env, random_seed=2)
    q_targ = q.copy()
    batch = coax.reward_tracing.get_transition_batch(env, batch_size=4, gamma=0.9, random_seed=3)
    s, _ = env.reset(seed=13)
    with contextlib.closing(env):
        yield {
            "coax": coax,
            "gymnasium": gymnasium,
            "hk": hk,
            "jax": jax,
            "jnp": jnp,
            "np": np,
            "optax": optax,
            "env": env,
            "s": s,
            "q": q,
            "q_targ": q_targ,
            "v": v,
            "func_p": lambda S, A, is_training: hk.Linear(S.shape[-1])(jnp.concatenate([S, A], axis=-1)),
            "func_v": lambda S, is_training: hk.Linear(1)(S).ravel(),
            "func_r": lambda S, is_training: hk.Linear(4)(S),
            "pi": coax.EpsilonGreedy(q, epsilon=0.1),
            "qlearning": coax.td_learning.QLearning(q, q_targ=q_targ, optimizer=optax.sgd(0.1)),
            "simple_td": coax.td_learning.SimpleTD(v, optimizer=optax.sgd(0.1)),
            "tracer": coax.reward_tracing.NStep(n=1, gamma=0.9),
            "batch": batch,
        }


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path, monkeypatch):
    """Examples write files, and begin where there are none."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "path", "line"), list(with_examples()))
def test_the_example_runs(text, path, line, well_known_names):
    for module in NEEDS.get(path.name, ()):
        pytest.importorskip(module)
    complaints = []
    example = PARSER.get_doctest(text, dict(well_known_names), path.stem, str(path), line)
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=complaints.append)
    assert outcome.attempted
    assert not outcome.failed, "".join(complaints)


def test_there_are_examples():
    assert len(list(with_examples())) >= 15


@pytest.mark.parametrize("text", [">>> undefined", ">>> 1 + 1\n3", ">>> coax"])
def test_a_wrong_example_would_be_found(text, well_known_names):
    with pytest.raises(AssertionError, match="Failed example"):
        test_the_example_runs(text, Path("x.py"), 1, well_known_names)
