import importlib
import sys

import pytest

from coax.utils import reload_recursive


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "reloaded_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from . import leaf\nimport json\nLOADS = globals().get('LOADS', 0) + 1\nX = leaf.X\n"
    )
    (folder / "leaf.py").write_text("import reloaded_package\nLOADS = globals().get('LOADS', 0) + 1\nX = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield importlib.import_module("reloaded_package")
    for name in [name for name in sys.modules if name.startswith("reloaded_package")]:
        del sys.modules[name]


@pytest.mark.parametrize("by_name", [False, True])
def test_leaves_first_each_once(package, by_name):
    path = package.leaf.__file__
    with open(path, "w") as file:
        file.write("import reloaded_package\nLOADS = globals().get('LOADS', 0) + 1\nX = 22\n")
    reload_recursive("reloaded_package" if by_name else package)
    assert (package.LOADS, package.leaf.LOADS) == (2, 2)
    assert package.X == 22


def test_wants_a_module():
    with pytest.raises(TypeError, match=r"module: expected a module or its name, got int. Fix: "):
        reload_recursive(3)
