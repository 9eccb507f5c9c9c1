"""The notebooks of the examples are the programs that they are made from, and run."""

import ast
import importlib.util
import re

import pytest

from tests.examples.test_examples import EXAMPLES, NAMES, ROOT
from tests.pages import DOC

nbclient, nbformat, _, _ = map(pytest.importorskip, ("nbclient", "nbformat", "jupytext", "ipykernel"))  # the extra doc

IN_GATE = {"frozen_lake/qlearning.py"}
NEEDS = {"lunar_lander": "Box2D", "atari": "ale_py", "seeds.py": "matplotlib"}

spec = importlib.util.spec_from_file_location("notebooks", DOC / "notebooks.py")
notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebooks)


def words(text):
    return set(re.findall(r"\w+", text.lower()))


def code_of(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", EXAMPLES, ids=NAMES)
def test_it_is_the_program(path):
    notebook = notebooks.notebook_of(path)  # nbformat has validated it
    docstring, *program = ast.parse(path.read_text(encoding="utf-8")).body
    assert ast.dump(ast.parse(code_of(notebook))) == ast.dump(ast.Module(program, []))
    heading = notebook.cells[0].source
    assert heading.startswith("# ")
    assert words(docstring.value.value) < words(heading)
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_they_are_written_once(tmp_path):
    notebooks.write(tmp_path)
    files = sorted(tmp_path.rglob("*.ipynb"))
    assert [file.relative_to(tmp_path).with_suffix(".py").as_posix() for file in files] == NAMES
    before = [file.stat().st_mtime_ns for file in files]
    notebooks.write(tmp_path)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert nbformat.read(files[0], as_version=4).metadata.kernelspec.name == "python3"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(*each, id=each[1], marks=pytest.mark.gate if each[1] in IN_GATE else pytest.mark.full)
        for each in zip(EXAMPLES, NAMES, strict=True)
    ],
)
def test_it_runs(path, name, tmp_path, monkeypatch):
    for part in name.split("/"):
        if part in NEEDS:
            pytest.importorskip(NEEDS[part])
    for key, value in {"COAX_STEPS": "300", "COAX_SEEDS": "2", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}.items():
        monkeypatch.setenv(key, value)
    notebook = notebooks.notebook_of(path)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
