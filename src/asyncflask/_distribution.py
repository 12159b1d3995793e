"""What `importlib.metadata.version("flask")` finds under `install_as_flask`.

Not in `alias.py`, since `importlib.metadata` takes longer to import than most of this package.
"""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any

from ._version import FLASK_VERSION


class FlaskDistribution(importlib.metadata.Distribution):
    """The real Flask, to those who ask what is installed."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: Flask\nVersion: {FLASK_VERSION}\n"

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        raise FileNotFoundError("Flask is not installed: asyncflask stands for it.")
