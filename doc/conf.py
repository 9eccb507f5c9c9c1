"""How the site is built: ``python -m sphinx -W doc doc/_build/html``."""

import coax

project = "coax"
author = "The coax authors"
version = release = coax.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"coax {version}"
