"""The code on the pages of the documentation runs, from top to bottom."""

import pathlib
import re

import numpy as np
import pytest

DOC = pathlib.Path(__file__).parents[1] / "doc"


def code_of(name):
    """What is in the code blocks of a page."""
    blocks = re.findall(r"^\.\. code:: python\n\n((?:    .*\n|\n)+)", (DOC / name).read_text(), re.MULTILINE)
    return "\n".join(re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks)


def run(name):
    space = {}
    exec(compile(code_of(name), name, "exec"), space)
    return space


@pytest.mark.gate
def test_compiled_loops():
    space = run("compiled_loops.rst")
    assert space["losses"].shape == (1000,)
    assert space["metrics"]["PPOClip/loss"].shape == (10, 16)
    assert space["lengths"].min() >= 8  # no pole falls sooner
    assert space["walks"].observation.tolist() == [5] * 64


@pytest.mark.gate
def test_many_seeds():
    space = run("many_seeds.rst")
    # the learning rates rise from 0.01; with the lowest, 2,000 steps do not take the values from 1 to those of the way
    # to the goal, and with the highest they do
    returns = np.asarray(space["returns"])
    assert returns.shape == (64,)
    assert returns[-16:].mean() > returns[:16].mean()
    optimizer_state = space["states"][space["qlearning"]]["optimizer_state"]
    np.testing.assert_array_equal(optimizer_state.hyperparams["learning_rate"], space["rates"])
