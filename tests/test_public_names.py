"""What is public: a change of it is seen, and meant.

``python tests/test_public_names.py`` writes the stored list anew.
"""

import importlib
import pkgutil
import types
from pathlib import Path

import pytest

import coax

STORED = Path(__file__).with_name("public_names.txt")


def public_names():
    """All names that coax and its public parts list, as ``coax.part.name``."""
    parts = ["coax", *(f"coax.{info.name}" for info in pkgutil.iter_modules(coax.__path__) if info.name[0] != "_")]
    return sorted(f"{part}.{name}" for part in parts for name in importlib.import_module(part).__all__)


def test_public_names_are_as_stored():
    stored, present = set(STORED.read_text().split()), set(public_names())
    assert (sorted(present - stored), sorted(stored - present)) == ([], []), (
        "new names, and names that are gone. Fix: if this is meant, run `python tests/test_public_names.py`"
    )


@pytest.mark.parametrize("name", STORED.read_text().split())
def test_a_public_name_is_there(name):
    part, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(part), attribute) is not None


def test_public_parts_are_attributes_of_coax():
    parts = {info.name for info in pkgutil.iter_modules(coax.__path__) if info.name[0] != "_"}
    assert parts <= set(coax.__all__)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'coax' has no attribute 'nothing'"):
        _ = coax.nothing


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("coax.Worker", r"play several environments at once .*, or send the state of the objects, obj\.state, "),
        ("coax.utils.make_dmc", "take an environment .* from the package shimmy"),
        (
            "coax.wrappers.BoxActionsToDiscrete",
            r"use gymnasium\.wrappers\.TransformAction with a Discrete space of",
        ),
        ("coax.wrappers.BoxActionsToReals", "leave it out: the policies of coax stay inside the Box by themselves"),
        ("coax.wrappers.MetaPolicyEnv", "call the policy that was chosen in your loop"),
    ],
)
def test_a_name_of_before_says_what_to_do(name, instead):
    module, _, attribute = name.rpartition(".")
    text = f"module '{module}' has no attribute '{attribute}', which coax 0.1.13 had. Fix: {instead}"
    with pytest.raises(AttributeError, match=text):
        getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("module", ["coax", "coax.utils", "coax.wrappers"])
def test_other_names_that_are_not_there(module):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'$"):
        _ = importlib.import_module(module).nothing


def test_lazy_names(monkeypatch):
    monkeypatch.setitem(coax._LAZY, "spell_out", ("json", "dumps"))
    monkeypatch.setitem(coax._LAZY, "shelf", ("json", None))
    assert coax.spell_out([1]) == "[1]"
    assert isinstance(coax.shelf, types.ModuleType)
    assert {"shelf", "spell_out"} <= set(dir(coax))
    del coax.spell_out, coax.shelf  # once used, they are ordinary attributes


if __name__ == "__main__":
    STORED.write_text("".join(f"{name}\n" for name in public_names()))
