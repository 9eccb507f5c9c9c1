"""What the site shows of the package: public names under the names that users write, shapes as code."""

import importlib
import inspect
import pkgutil
import re

from sphinx.util.nodes import make_refnode

import coax
from coax._stateful import HostStateful

TYPE_VARIABLES = ("P", "T")

# f32[B, A] or [..., *act], outside of literals and of other roles, where * would be markup
_DTYPE = r"\b(?:bool|key|bf16|[fiu](?:8|16|32|64))\[[^\[\]]*\]"
_AXES = r"(?<!\w)\[(?:[A-Z]|\.\.\.|\*\w+)(?:, [^\[\]]*)?\]"
SHAPE = re.compile(rf"(``.*?``|`[^`]*`)|({_DTYPE}|{_AXES})")


def parts():
    """The public modules."""
    yield coax
    for info in pkgutil.iter_modules(coax.__path__, "coax."):
        if not info.name.startswith("coax._"):
            yield importlib.import_module(info.name)


def public_names():
    """All public names of classes, functions and data, by the object: ``{id: [name, ...]}``, the shortest one first."""
    found = {}
    for part in parts():
        for name in part.__all__:
            value = getattr(part, name)
            if not inspect.ismodule(value):
                found.setdefault(id(value), []).append(f"{part.__name__}.{name}")
    return {key: sorted(names, key=lambda name: (name.count("."), name)) for key, names in found.items()}


PUBLIC = public_names()


def is_public(cls):
    return id(cls) in PUBLIC


def lookup(path):
    """The object at a dotted path such as ``coax.V.copy``, and what owns it; None where there is none."""
    owner, value = None, coax
    for name in path.split(".")[1:]:
        owner = value
        value = inspect.getattr_static(value, name, None) if inspect.isclass(value) else getattr(value, name, None)
        if value is None:
            return None, None
    return owner, value


def names_of(path):
    """Under which names a thing may be documented: its own, and those of members where they are inherited from."""
    owner, value = lookup(path)
    yield from PUBLIC.get(id(value), ())
    if inspect.isclass(owner):
        for cls in owner.__mro__:
            for name in PUBLIC.get(id(cls), ()):
                yield f"{name}.{path.rpartition('.')[2]}"


# --- docstrings

_shown = None  # the class whose members are being collected


def enter_class(app, name, obj, options, bases):
    """Take down the class: Sphinx does not tell what asks for its members."""
    global _shown
    _shown = obj


def described_elsewhere(app, what, name, obj, skip, options):
    """Skip members that a public class above this one has too, those of other packages, and fields of named tuples."""
    if (inspect.getdoc(obj) or "").startswith("Alias for field number"):
        return True
    if what not in ("class", "exception") or not inspect.isclass(_shown):
        return None
    origin = next((cls for cls in _shown.__mro__ if name in vars(cls)), _shown)
    if origin is _shown:
        return None
    if not origin.__module__.startswith("coax.") or origin is HostStateful:
        return True
    return any(is_public(cls) and issubclass(cls, origin) for cls in _shown.__mro__[1:]) or None


def shapes_as_code(app, what, name, obj, options, lines):
    """Before the sections are read."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[i] = SHAPE.sub(lambda found: found[1] or f"``{found[2]}``", line)
    if what in ("attribute", "property"):  # what stands before a colon in the first line would be taken for a type
        lines[:0] = ["..", ""]


def name_bases(app, what, name, obj, options, lines):
    """At the end of the docstring of a class, say where its other members are described."""
    if what != "class" or not inspect.isclass(obj):
        return
    above = [cls for cls in obj.__mro__[1:] if is_public(cls) and cls.__module__ != "coax.typing"]
    nearest = [cls for cls in above if not any(issubclass(other, cls) for other in above if other is not cls)]
    if nearest:
        links = " and ".join(f":class:`~{PUBLIC[id(cls)][0]}`" for cls in nearest)
        lines += ["", f"Its other members are those of {links}.", ""]


# --- references


def other_name(app, env, node, contnode):
    """Find what is referred to by another name than that under which it is documented."""
    if node.get("refdomain") != "py":
        return None
    python, target = env.get_domain("py"), node["reftarget"]
    page = f"concepts/{target.removeprefix('coax.')}"
    if node["reftype"] == "mod" and page in env.found_docs:
        return make_refnode(app.builder, node["refdoc"], page, "", contnode)
    private = re.match(r"coax\.(.*\.)?_\w+\.", target) and lookup(target)[1] is not None and not any(names_of(target))
    if private or target in TYPE_VARIABLES:
        return contnode  # a type that is there, in an annotation, and has no page
    module, cls = node.get("py:module"), node.get("py:class")
    for path in (target, f"{module}.{target}", f"{module}.{cls}.{target}", f"coax.{target}", f"coax.errors.{target}"):
        for name in names_of(path) if path.startswith("coax.") else ():
            if name in python.objects:
                return python.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
    return None


def setup(app):
    """As Sphinx asks for it."""
    app.connect("autodoc-process-bases", enter_class)
    app.connect("autodoc-skip-member", described_elsewhere)
    app.connect("autodoc-process-docstring", shapes_as_code, priority=400)  # napoleon comes at 500
    app.connect("autodoc-process-docstring", name_bases, priority=600)
    app.connect("missing-reference", other_name)
    return {"parallel_read_safe": True}
