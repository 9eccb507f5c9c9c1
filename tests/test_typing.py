"""The types of coax, as a user's strict type checker sees them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import coax
from tests import typed_program

PROGRAM = Path(typed_program.__file__)
PACKAGE = Path(coax.__file__).parent
# Haiku and optax have no annotations that are meant for others. Of coax only what a user's program meets is looked at.
SETTINGS = """[mypy]
strict = true
mypy_path = installed
[mypy-haiku.*,optax.*]
ignore_missing_imports = true
[mypy-coax.*]
follow_imports = silent
"""

pytestmark = pytest.mark.gate


def check(text, folder):
    """What mypy says of a program outside of the repository."""
    pytest.importorskip("mypy")
    (folder / "program.py").write_text(text)
    (folder / "mypy.ini").write_text(SETTINGS)
    (folder / "installed").mkdir(exist_ok=True)
    link = folder / "installed" / "coax"
    if not link.exists():
        link.symlink_to(PACKAGE)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "program.py"]
    ran = subprocess.run(command, cwd=folder, env={"PATH": ""}, capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr
    return ran.stdout.splitlines()[:-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("user")


def test_a_program_of_all_three_gears(folder):
    assert check(PROGRAM.read_text(), folder) == []


def test_a_wrong_use_is_found(folder):
    lines = check(
        "import coax\n"
        "tracer = coax.reward_tracing.NStep(n=1, gamma=0.9)\n"
        "tracer.add(0, 0, 1.0)\n"
        "@coax.jit(over=())\n"
        "def half(x: float) -> float:\n"
        "    return x / 2\n"
        "half('one')\n",
        folder,
    )
    assert [int(re.match(r"program\.py:(\d+)", line)[1]) for line in lines] == [3, 7]


def test_the_program_runs(capsys):
    typed_program.main()
    assert len(capsys.readouterr().out.splitlines()) == 2
