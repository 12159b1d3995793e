"""The versions of this package and of the Flask API that it provides. Imports nothing, so that
everything can import it."""

from __future__ import annotations

from typing import Final

__version__ = "0.1.0"

FLASK_VERSION: Final = "3.1.3"
"""The Flask release whose names and behavior are provided."""
