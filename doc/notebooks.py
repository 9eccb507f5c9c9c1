"""Notebooks of the examples: ``python doc/notebooks.py [FOLDER]`` writes them, by default below ``doc/_notebooks``.

The docstring of a program becomes the heading, and each section (``# --- name: remark``) a heading and a cell. Building
the site writes them too, for its pages to offer. None is kept in the repository.
"""

import re
import sys
from pathlib import Path

import jupytext
import nbformat

DOC = Path(__file__).resolve().parent
EXAMPLES = DOC.parent / "examples"
FOLDER = DOC / "_notebooks"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def sentence(text):
    """With a capital at the beginning, and a stop at the end."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def text_cell(*paragraphs):
    lines = "\n\n".join(filter(None, paragraphs)).splitlines()
    return "\n".join(["# %% [markdown]", *(f"# {line}".rstrip() for line in lines)])


def as_percent(program, name):
    """The program with a mark before each cell, as jupytext reads it."""
    docstring, rest = re.fullmatch(r'"""(.+?)"""\n+(.*)', program, re.DOTALL).groups()
    title, _, remark = " ".join(docstring.split()).partition(": ")
    imports, *sections = re.split(r"^# --- (.+)\n", rest, flags=re.MULTILINE)
    cells = [text_cell(f"# {title.rstrip('.')}", sentence(remark), f"This is `examples/{name}` of coax.")]
    cells.append(f"# %%\n{imports.strip()}")
    for heading, code in zip(sections[::2], sections[1::2], strict=True):
        what, _, remark = heading.partition(": ")
        cells += [text_cell(f"## {sentence(what).rstrip('.')}", sentence(remark)), f"# %%\n{code.strip()}"]
    return "\n\n".join(cells) + "\n"


def notebook_of(path):
    """The notebook of an example, without output."""
    name = path.relative_to(EXAMPLES).as_posix()
    notebook = jupytext.reads(as_percent(path.read_text(encoding="utf-8"), name), fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i}"
    nbformat.validate(notebook)
    return notebook


def write(folder=FOLDER):
    """Write all notebooks that are not there as they should be."""
    for path in sorted(EXAMPLES.rglob("*.py")):
        file = Path(folder) / path.relative_to(EXAMPLES).with_suffix(".ipynb")
        text = nbformat.writes(notebook_of(path)) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(*sys.argv[1:])
