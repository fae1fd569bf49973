"""How Sphinx builds the documentation. A warning is an error: `nox -s docs`."""

from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import xensnap

project = "xensnap"
author = "The xensnap maintainers"
release = xensnap.__version__
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

man_pages = [
    ("man/xensnap", "xensnap", "snapshots of Xen domains", [author], 1),
    ("man/xl.snapshot.cfg.5", "xl.snapshot.cfg", "what a snapshot of a domain should be", [author], 5),
]

html_theme = "furo"
html_title = f"xensnap {release}"
html_static_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings are read as source first: a word between backticks is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}


def read_sections(_app: Sphinx, what: str, _name: str, _object: object, _options: Any, lines: list[str]) -> None:
    """Turn `Args:` and its like into fields, but not under attributes.

    The extension napoleon takes every colon in an attribute's first line for the end of a type, so it is used by hand.
    """
    if what not in {"attribute", "data"}:
        lines[:] = GoogleDocstring(lines, Config(napoleon_use_rtype=False, napoleon_use_ivar=True), what=what).lines()


def keep_pictures(_app: Sphinx, what: str, _name: str, _object: object, _options: Any, lines: list[str]) -> None:
    """An indented part of a module's docstring is a drawing or an example: show it as it stands."""
    if what == "module":
        pairs = zip(["", *lines], list(lines), strict=False)
        lines[:] = [
            shown
            for before, line in pairs
            for shown in (["::", "", line] if line.startswith("    ") and not before.strip() else [line])
        ]


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", keep_pictures)
    app.connect("autodoc-process-docstring", read_sections)
