"""How Sphinx builds these pages: ``sphinx-build -W --keep-going -b html docs docs/_build/html``.

Settings only. Nothing is fetched while building.
"""

from __future__ import annotations

from asyncflask._version import __version__

project = "asyncflask"
author = "The asyncflask authors"
project_copyright = "The asyncflask authors"
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = [
    "_build",
    "applications-table.rst",
    "benchmarks-aims.rst",
    "benchmarks-table.rst",
    "ecosystem-table.rst",
    "performance-table.rst",
    "rooms-table.rst",
    "servers-table.rst",
]

# The docstrings say `name` for code, of which much has no page of its own to link to.
default_role = "code"
highlight_language = "python"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("ASGIApp", "Scope", "Receive", "Send", "Message")}

# What is copied are the commands, without prompts and what they print.
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
pygments_dark_style = "a11y-high-contrast-dark"  # as by day; the theme's own underlines imports
html_title = f"asyncflask {__version__}"
