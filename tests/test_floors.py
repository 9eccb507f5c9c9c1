"""Imports only go down: the floors of the package, and what may be imported late."""

import ast
import sys
from pathlib import Path

import pytest

import coax

ROOT = Path(coax.__file__).parent

# From the bottom up. Parts on one line do not import each other.
FLOORS = [
    ["_absent", "errors", "_metrics", "_requirements", "_version"],
    ["_stateful", "typing"],
    ["_donation", "_entries"],
    ["_program"],
    ["_lifting"],
    ["utils"],
    ["_sharing"],
    ["value_losses", "value_transforms", "returns", "normalizers", "sinks"],
    ["proba_dists"],
    ["reward_tracing"],
    ["experience_replay"],
    ["approximators"],
    ["_updater"],
    ["regularizers"],
    ["td_learning", "policy_objectives", "model_updaters"],
    ["envs", "wrappers", "checkpoint", "plotting"],
    ["training"],
    ["__init__"],
    ["__main__"],
]
FLOOR = {part: i for i, parts in enumerate(FLOORS) for part in parts}
OWN = {"coax"}
BASE_PACKAGES = {"cloudpickle", "gymnasium", "haiku", "jax", "lz4", "numpy", "optax"}


def part_of(file, root=ROOT):
    return file.relative_to(root).parts[0].removesuffix(".py")


def absolute(node, file, root=ROOT):
    """The dotted names that an import statement reaches, from the top: ``coax.utils.dump``."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = ["coax", *file.relative_to(root).parts[:-1]]
    base = package[: len(package) - node.level + 1] if node.level else []
    stem = [*base, *(node.module.split(".") if node.module else [])]
    return [".".join([*stem, alias.name]) for alias in node.names]


def imports(file, root=ROOT):
    """Pairs of a statement and a dotted name, late imports too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in absolute(node, file, root):
                yield node, name


def climbs(root=ROOT):
    """What imports something that is not below it."""
    for file in sorted(root.rglob("*.py")):
        here = part_of(file, root)
        if here not in FLOOR:
            yield f"{file.name}: {here} has no floor. Fix: give it one in this test"
            continue
        for node, name in imports(file, root):
            top, *rest = name.split(".")
            if top != "coax" or not rest:
                continue
            there = rest[0] if rest[0] in FLOOR else "__init__"  # a public name comes from the top of the package
            if there != here and FLOOR[there] >= FLOOR[here]:
                yield f"{file}:{node.lineno}: {here} imports {there}, which is not below it"


def late_imports(root=ROOT):
    """Imports of coax or of the base packages from inside a function."""
    for file in sorted(root.rglob("*.py")):
        top_level = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Import | ast.ImportFrom):
                        top_level.update((inner.lineno, name) for name in absolute(inner, file, root))
        for line, name in sorted(top_level):
            package = name.split(".")[0]
            if package in OWN | BASE_PACKAGES | sys.stdlib_module_names:
                yield f"{file}:{line}: imports {name} late. Fix: import it at the top of the file"


def test_imports_go_down():
    assert list(climbs()) == []


def test_only_extras_are_imported_late():
    assert list(late_imports()) == []


def test_haiku_is_imported_in_one_file():
    files = {
        file.relative_to(ROOT) for file in ROOT.rglob("*.py") for _, name in imports(file) if name.startswith("haiku")
    }
    assert files <= {Path("approximators/_forward.py")}


def test_import_at_the_top_needs_base_packages_only():
    allowed = OWN | BASE_PACKAGES | sys.stdlib_module_names
    found = set()
    for file in ROOT.rglob("*.py"):
        tree = ast.parse(file.read_text())
        found |= {
            (str(file.relative_to(ROOT)), name)
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in absolute(node, file)
            if name.split(".")[0] not in allowed
        }
    assert found == set()


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("utils/_a.py", "from ..approximators import Q", "utils imports approximators"),
        ("utils/_a.py", "def f():\n    from .. import wrappers", "utils imports wrappers"),
        ("envs/_a.py", "import coax.wrappers", "envs imports wrappers"),
        ("envs/_a.py", "from coax import wrappers", "envs imports wrappers"),
        ("envs/_a.py", "from coax import Q", "envs imports __init__"),
        ("returns/_a.py", "from ..value_losses._b import x", "returns imports value_losses"),
        ("proba_dists/_a.py", "from ..reward_tracing import x", "proba_dists imports reward_tracing"),
        ("_stateful.py", "from .utils import x", "_stateful imports utils"),
        ("typing.py", "from coax.utils import x", "typing imports utils"),
        ("nowhere/_a.py", "", "nowhere has no floor"),
        ("reward_tracing/_a.py", "from ..proba_dists import x", None),
        ("wrappers/_a.py", "from ._b import x\nfrom ..utils import y\nfrom .._stateful import z", None),
        ("__init__.py", "from .distributed import Worker", None),
    ],
)
def test_the_test_sees_a_climb(tmp_path, file, text, complaint):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    found = list(climbs(tmp_path))
    assert (complaint is None and not found) or (len(found) == 1 and complaint in found[0])


def test_the_test_sees_a_late_import(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    import ray\n    import json\n    from .b import c\n")
    assert [line.split(": ")[1].split(". ")[0] for line in late_imports(tmp_path)] == [
        "imports json late",
        "imports coax.b.c late",
    ]
