"""Sphinx settings of the documentation site; `make docs` builds it, and every warning is an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]
os.environ["QT_API"] = "pyqt5"

import made_pages  # noqa: E402 - the folder of this file is no package
from sphinx.application import Sphinx  # noqa: E402

from napari_cellseg import __version__  # noqa: E402

project = "napari-cellseg"
author = "The napari-cellseg authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "style.md"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "code"  # in docstrings, single backquotes are names of this package
copybutton_selector = "div:not(.no-copy) > div.highlight > pre"

html_theme = "pydata_sphinx_theme"
html_title = "napari-cellseg"
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 8,
}
html_sidebars = {"index": [], "install": [], "faq": [], "comparison": []}

made_pages.write_all(DOCS)


def setup(app: Sphinx) -> None:
    """Make links to files of the repository links to their pages; they work on both sides then."""

    def on_read(_app: Sphinx, _page: str, content: list[str]) -> None:
        content[0] = (
            content[0]
            .replace("](../CONTRIBUTING.md", "](contributing.md")
            .replace("](../CHANGELOG.md", "](changelog.md")
        )

    app.connect("source-read", on_read)
