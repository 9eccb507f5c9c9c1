"""A process that is killed while it saves leaves a file that can be loaded, and all that it said was saved."""

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import warnings

import numpy as np
import pytest

from coax.checkpoint import Checkpointer

SIZE = 3 << 20  # bytes, so that a process is killed as often within an array as between files


def content(step):
    return {"x": np.random.default_rng(step).integers(256, size=SIZE, dtype=np.uint8), "zeros": np.full(SIZE, step % 7)}


def save_for_ever(folder, said):
    checkpointer = Checkpointer(folder, keep=2)
    found = checkpointer.restore_latest(x=None, step=0)
    for step in itertools.count(1 + (found["step"] if found else 0)):
        checkpointer.save(step, x=content(step), step=step)
        said.send(step)


def keep_busy():
    while True:
        sum(range(10**6))


def last_words(listening):
    """What was still in the pipe."""
    said = [0]
    with contextlib.suppress(EOFError):
        while True:
            said.append(listening.recv())
    return said


@pytest.mark.parametrize("kills", [pytest.param(10, marks=pytest.mark.gate), pytest.param(200, marks=pytest.mark.full)])
def test_killed_at_any_moment(kills, tmp_path):
    """Under load. After every kill the latest file is good, and not older than what was said to be saved."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, "coax"])
    rng, latest = random.Random(0), 0
    load = [processes.Process(target=keep_busy, daemon=True) for _ in range(os.cpu_count() or 1)]
    for each in load:
        each.start()
    try:
        for _ in range(kills):
            listening, saying = processes.Pipe(duplex=False)
            child = processes.Process(target=save_for_ever, args=(tmp_path / "run", saying), daemon=True)
            child.start()
            saying.close()
            latest = max(latest, listening.recv())  # it is at work
            child.join(timeout=rng.uniform(0, 0.2))
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            latest = max(latest, *last_words(listening))
            checkpointer = Checkpointer(tmp_path / "run")
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # no file was damaged
                found = checkpointer.restore_latest(x=None, step=0)
            assert latest <= checkpointer.step == found["step"] <= latest + 1
            for name, want in content(checkpointer.step).items():
                np.testing.assert_array_equal(found["x"][name], want)
    finally:
        for each in load:
            each.kill()
    assert latest > kills
