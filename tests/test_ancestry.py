"""At most two classes of coax in any line of descent, protocols, roles and errors aside."""

import importlib
import inspect
import pkgutil

import pytest

import coax

FREE = (
    "coax.errors",
    "coax._stateful",
    "coax._updater._rule",
    "coax._updater._shell",
    "coax.typing",
)  # protocols, roles and errors do not count
LIMIT = 2


def modules():
    for info in pkgutil.walk_packages(coax.__path__, "coax."):
        yield importlib.import_module(info.name)


def classes():
    found = {
        cls
        for module in modules()
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__.split(".")[0] == "coax"
    }
    return sorted(found, key=lambda cls: (cls.__module__, cls.__qualname__))


def depth(cls, free=FREE):
    """How many classes of coax there are in the longest line from `cls` upwards."""
    if cls.__module__.split(".")[0] != "coax" or cls.__module__ in free:
        return 0
    return 1 + max((depth(base, free) for base in cls.__bases__), default=0)


def test_no_class_is_deep():
    deep = [f"{cls.__module__}.{cls.__qualname__}: {depth(cls)}" for cls in classes() if depth(cls) > LIMIT]
    assert deep == [], "Fix: pass a function instead of subclassing"


@pytest.mark.parametrize(("levels", "expected"), [(1, 1), (2, 2), (3, 3)])
def test_the_depth_is_counted(levels, expected):
    cls = type("Role", (dict,), {"__module__": "coax.typing"})
    for i in range(levels):
        cls = type(f"C{i}", (cls,), {"__module__": "coax.somewhere"})
    assert depth(cls) == expected
