"""Beside each download of an example, the site offers its notebook."""

import re

import notebooks
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform


class Beside(SphinxTransform):
    """``:download:`examples/cartpole/dqn.py <...>``` becomes that and "(notebook)"."""

    default_priority = 500

    def apply(self):
        """To a page that was read."""
        for link in list(self.document.findall(addnodes.download_reference)):
            found = re.search(r"examples/(.+)\.py$", link["reftarget"])
            if found:
                options = {"refdoc": link["refdoc"], "reftype": "download", "refdomain": "", "refexplicit": True}
                other = addnodes.download_reference("", reftarget=f"/_notebooks/{found[1]}.ipynb", **options)
                other += nodes.inline("", "notebook", classes=["download"])
                place = link.parent.index(link) + 1
                link.parent[place:place] = [nodes.Text(" ("), other, nodes.Text(")")]


def setup(app):
    """As Sphinx asks for it."""
    app.connect("builder-inited", lambda app: notebooks.write())
    app.add_transform(Beside)
    return {"parallel_read_safe": True}
