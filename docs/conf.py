"""Sphinx settings; `make docs` builds with warnings as errors."""

from importlib import metadata

project = "Astrolabe"
author = "The Astrolabe developers"
copyright = author  # noqa: A001 - Sphinx wants this name
release = metadata.version("astrolabe-platform")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
suppress_warnings: list[str] = []

html_theme = "furo"
html_title = "Astrolabe"
html_show_copyright = False
html_show_sourcelink = False
