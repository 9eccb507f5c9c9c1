"""The code on the pages of the documentation."""

import doctest
import re
from pathlib import Path

DOC = Path(__file__).parents[1] / "doc"

# .. code:: python, with options and an indented body, anywhere on a page; with `:class: not-run` it is only to be read
BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code(?:-block)?:: python\n(?P<options>(?:(?P=indent) +:.*\n)*)\n"
    r"(?P<body>(?:(?P=indent) +.*\n|[ ]*\n)+)",
    re.MULTILINE,
)

DIRECTIVE = re.compile(r"^ *\.\. (?:code|code-block|sourcecode)::.*$", re.MULTILINE)
KNOWN = re.compile(r" *\.\. code(-block)?:: (python|bash|text)")


def pages():
    """The names of all pages, such as ``guides/saving``."""
    paths = (path.relative_to(DOC) for path in DOC.rglob("*.rst"))
    return sorted(path.with_suffix("").as_posix() for path in paths if path.parts[0] != "_build")


def path_of(page):
    return DOC / f"{page}.rst"


def blocks(page):
    """The code blocks of a page: ``(line, code)`` of each, with the number of its first line."""
    text = path_of(page).read_text()
    for found in BLOCK.finditer(text):
        if "not-run" not in found["options"]:
            body = found["body"]
            indent = re.match(r" *", body.lstrip("\n"))[0]
            code = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
            yield text.count("\n", 0, found.start("body")) + 1, code


def run(page):
    """Run the blocks of a page from top to bottom in one namespace, and return that."""
    space = {"__name__": "__main__"}
    for line, code in blocks(page):
        if code.lstrip().startswith(">>>"):
            _run_examples(page, line, code, space)
        else:  # faults are reported with the line of the page
            exec(compile("\n" * (line - 1) + code, str(path_of(page)), "exec"), space)
    return space


def _run_examples(page, line, code, space):
    complaints = []
    examples = doctest.DocTestParser().get_doctest(code, space, page, str(path_of(page)), line - 1)
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=complaints.append, clear_globs=False)
    space.update(examples.globs)
    assert not complaints, "".join(complaints)
