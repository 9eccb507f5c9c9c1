"""No tracer outlives its trace, in anything that the fast tier does."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.full
def test_the_fast_tier_passes_under_checking_leaks():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--checking-leaks", "-p", "no:cacheprovider"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
