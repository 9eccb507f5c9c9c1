"""Every public name is documented on the site, on one page, once."""

import collections
import importlib
import inspect
import re
from pathlib import Path

import coax
from tests.pages import pages, path_of

STORED = Path(__file__).with_name("public_names.txt")
DIRECTIVE = re.compile(
    r"^ *\.\. (currentmodule|(?:py:)?module|auto\w+|(?:py:)?(?:class|function|data|exception)):: (\S+)", re.M
)


def documented(text):
    """The names that a page documents: those of directives, with the module that is the current one there."""
    module = "coax"
    for kind, name in DIRECTIVE.findall(text):
        if kind.endswith("module") and not kind.startswith("auto"):
            module = name
        elif kind == "automodule":
            yield f"{kind} {name}"  # is to be avoided: it says nothing of what is on the page
        elif kind != "autosummary":
            name = name.partition("(")[0]
            yield name if name.startswith("coax.") else f"{module}.{name}"


def things():
    """The names of each public thing: for instance ``{"coax.Q", "coax.approximators.Q"}``."""
    found = collections.defaultdict(set)
    for name in STORED.read_text().split():
        part, _, attribute = name.rpartition(".")
        value = getattr(importlib.import_module(part), attribute)
        if not inspect.ismodule(value):
            found[id(value)].add(name)
    return list(found.values())


def test_every_public_name_is_documented_once():
    where = collections.defaultdict(list)
    for page in pages():
        for name in documented(path_of(page).read_text()):
            where[name].append(page)
    places = {min(names): [page for name in names for page in where[name]] for names in things()}
    missing = sorted(name for name, found in places.items() if not found)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    modules = {name: found for name, found in where.items() if name.startswith("automodule")}
    assert (missing, twice, modules) == ([], {}, {}), f"{len(missing)} are missing. Fix: an autoclass on the page"


def test_signatures_have_names():
    """Not ``(*args, **kwargs)``, as that of a class which hands on what it is made with."""
    classes = (
        getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
        for name in map(min, things())
    )
    vague = [
        cls
        for cls in classes
        if inspect.isclass(cls) and cls.__module__.startswith("coax.") and not issubclass(cls, Exception | property)
        if cls is not coax.utils.JittedFunc  # whose objects have the signature of a function
        if inspect.Parameter.VAR_POSITIONAL in (p.kind for p in inspect.signature(cls).parameters.values())
    ]
    assert vague == [coax.utils.StepwiseLinearFunction]  # takes as many points as one likes


def test_what_a_page_documents():
    text = """
.. currentmodule:: coax.returns

.. autosummary::

   vtrace

.. autofunction:: vtrace

   .. autoclass:: coax.Q
.. py:module:: coax.utils
.. autodata:: huge
.. function:: small(x) -> y
.. automodule:: coax.envs
"""
    assert list(documented(text)) == [
        "coax.returns.vtrace",
        "coax.Q",
        "coax.utils.huge",
        "coax.utils.small",
        "automodule coax.envs",
    ]
