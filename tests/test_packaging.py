"""What is built for the package index: the package, its readme and license, and nothing else."""

import email
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import coax

ROOT = Path(coax.__file__).parents[1]
MODULES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "coax").rglob("*.py")} | {"coax/py.typed"}

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist."""
    for package in ("hatchling", "hatch_fancy_pypi_readme"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def metadata(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(file.read(name))


def test_the_wheel_carries_the_package_alone(built):
    with zipfile.ZipFile(built[0]) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        notes = {name.partition(".dist-info/")[2] for name in file.namelist()} - {""}
    assert names == MODULES
    assert notes == {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE"}


def test_the_sdist_carries_what_builds_it(built):
    with tarfile.open(built[1]) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert names - MODULES == {"LICENSE", "README.rst", "PKG-INFO", "pyproject.toml", ".gitignore"}


def test_the_version_and_the_readme(built):
    facts = metadata(built[0])
    assert facts["Version"] == coax.__version__
    assert facts["License-Expression"] == "MIT"
    assert facts["Description-Content-Type"] == "text/x-rst"
    page = facts.get_payload()
    assert page.startswith("coax\n====\n")
    assert "    pip install coax\n" in page
    assert "How to cite" in page
    assert not re.search(r"-e \.|-e '\.|\bclone\b|Where to look", page)  # who reads it there has the package only
    assert page.count("\n* ") == 12  # of the table its left column
    # the index has neither our pages nor our pictures: nothing leads there
    assert set(re.findall(r"<(\w+):", page)) == {"https"}
    assert not re.search(r"image::|^\.\. _|(?<!>)`_|<(doc|LICENSE)\b", page, re.MULTILINE)


def test_it_runs_where_it_is_installed(built, tmp_path):
    """In an environment of its own, where the packages that it needs are those of this one."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    with zipfile.ZipFile(built[0]) as file:
        file.extractall(site)
    (site / "needed.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
    program = tmp_path / "qlearning.py"
    program.write_text((ROOT / "examples/frozen_lake/qlearning.py").read_text() + "\nprint(coax.__file__)\n")
    settings = {"COAX_STEPS": "300", "JAX_PLATFORMS": "cpu"}
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run([python, program], env=environ | settings, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == str(site / "coax" / "__init__.py")


# --- what the repository says of itself


@pytest.mark.parametrize(
    "path", sorted(re.findall(r"(?:_[^:\n]+: |<|image:: )((?:doc/|LICENSE)[^>\s]*)", (ROOT / "README.rst").read_text()))
)
def test_the_readme_leads_somewhere(path):
    assert (ROOT / path).is_file()


def test_the_release_notes_are_of_this_version():
    first = re.search(r"^(\d\S+)\n-+$", (ROOT / "doc/release_notes.rst").read_text(), re.MULTILINE)
    assert first[1] == coax.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", coax.__version__)
