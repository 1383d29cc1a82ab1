"""How the documentation is built; reference pages are written from the code just before they are read."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

import generate

project = "polyscan"
author = "The polyscan authors"
copyright = "the polyscan authors, Apache License 2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["generated/**"]  # pages take these in by their include lines
myst_heading_anchors = 3
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other packages, which have no pages here
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "polyscan"
html_copy_source = False
html_show_sphinx = False


def _generated(_: Sphinx) -> None:
    generate.write_all(Path(__file__).parent / "generated")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", _generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
