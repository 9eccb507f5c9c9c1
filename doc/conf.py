"""How the site is built: ``python -m sphinx -W -n doc doc/_build/html``, without network."""

import sys
from pathlib import Path

import coax

sys.path.insert(0, str(Path(__file__).parent))

project = "coax"
author = copyright = "The coax authors"
version = release = coax.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "_api",
    "_offer_notebooks",
]
exclude_patterns = ["_build", "_notebooks"]
nitpicky = True

# --- theme

html_theme = "furo"
html_title = f"coax {version}"
html_static_path = ["_static"]
html_css_files, html_js_files = ["coax.css"], ["coax.js"]
html_favicon = html_logo = "_static/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style, pygments_dark_style = "a11y-light", "a11y-dark"  # each of their colours can be read
mathjax_path = "mathjax/tex-svg-full.js"  # all that formulas need is in this one file
copybutton_selector = "div:not(.highlight-text) > div.highlight pre"  # what was printed is not copied
copybutton_exclude = ".linenos, .gp, .go"  # of an interactive session, what was typed

# --- docstrings

napoleon_numpy_docstring, napoleon_google_docstring = True, False
napoleon_use_param = napoleon_use_rtype = False  # what they say of types and shapes is read, not looked up
napoleon_custom_sections = [("Attributes", "params_style")]

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
toc_object_entries = False  # the table above an API lists its names; the contents of a page are its sections
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
autodoc_type_aliases = {name: f"coax.typing.{name}" for name in ("Array", "Key", "Params", "PyTree", "Shape")}
autodoc_default_options = {"members": True, "inherited-members": True}
autosummary_generate = False

# What is referred to and is no part of this site; names of coax are never excused.
_PACKAGES = ["jax", "jaxlib", "numpy", "np", "gymnasium", "optax", "haiku", "hk", "matplotlib", "PIL", "wandb"]
_STANDARD = ["abc", "collections", "logging", "os", "pathlib", "types", "typing"]
nitpick_ignore_regex = [("py:.*", rf"({'|'.join(_PACKAGES + _STANDARD)})\..+")]
