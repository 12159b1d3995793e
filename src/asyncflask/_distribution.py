"""What `importlib.metadata.distribution("flask")` finds after `install_as_flask`. Not in
`alias.py`, since importing `importlib.metadata` takes longer than most of this package."""

from __future__ import annotations

import os
import re
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from typing import Any

from ._version import FLASK_VERSION

_HEADERS = f"Metadata-Version: 2.1\nName: Flask\nVersion: {FLASK_VERSION}\n"


class FlaskDistribution(Distribution):
    """The Flask release that asyncflask replaces, with the files and requirements of the
    installed one."""

    def __init__(self, installed: Distribution | None) -> None:
        self._installed = installed

    def read_text(self, filename: str) -> str | None:
        text = None if self._installed is None else self._installed.read_text(filename)
        if filename not in ("METADATA", "PKG-INFO"):
            return text
        if text is None:
            return _HEADERS if filename == "METADATA" and self._installed is None else None
        return re.sub("^Version:.*", f"Version: {FLASK_VERSION}", text, count=1, flags=re.M)

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        if self._installed is None:
            raise FileNotFoundError("Flask is not installed; asyncflask takes its place.")
        return self._installed.locate_file(path)


def find_flask(context: DistributionFinder.Context) -> FlaskDistribution:
    """Return the distribution `flask`, with what is installed on the path of *context*."""
    flask = DistributionFinder.Context(name="flask", path=context.path)
    return FlaskDistribution(next(iter(MetadataPathFinder.find_distributions(flask)), None))
