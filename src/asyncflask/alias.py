"""`install_as_flask`: make `import flask` give this package, for extensions and apps that say so.

The modules are the very same ones, under both names: a second copy would have context variables
of its own.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, Final

from ._version import FLASK_VERSION

_HERE: Final = __name__.partition(".")[0]


class _Flask(importlib.metadata.Distribution):
    """What `importlib.metadata.version("flask")` finds: extensions compare it."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: Flask\nVersion: {FLASK_VERSION}\n"

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        raise FileNotFoundError(f"Flask is not installed: {_HERE} stands for it.")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the module `asyncflask.x` for the name `flask.x`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "flask" and not name.startswith("flask."):
            return None
        if importlib.util.find_spec(_ours(name)) is None:
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(_ours(spec.name))
        # The import system replaces the module's own by the alias's; `exec_module` undoes that.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        alias = module.__spec__
        assert alias is not None
        module.__spec__ = alias.loader_state

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context
    ) -> Iterator[importlib.metadata.Distribution]:
        if context.name is None or context.name.lower() == "flask":
            yield _Flask()


def _ours(name: str) -> str:
    return _HERE + name.removeprefix("flask")


def _first_importer() -> str:
    """The module that imported the real Flask: the first one that holds something of it."""
    for name, module in list(sys.modules.items()):
        if name == "flask" or name.startswith("flask."):
            continue
        for value in list(getattr(module, "__dict__", {}).values()):
            origin = value.__name__ if isinstance(value, ModuleType) else None
            if origin is None and (isinstance(value, type) or hasattr(value, "__code__")):
                origin = getattr(value, "__module__", None)
            if isinstance(origin, str) and (origin == "flask" or origin.startswith("flask.")):
                return name
    return "a module that has been unloaded"


def install_as_flask() -> None:
    """From now on `import flask` gives asyncflask, in extensions too. Call it before anything
    imports them, in the first lines of the program.

    Raises `RuntimeError` if the real Flask has been imported, and says by what.
    """
    flask = sys.modules.get("flask")
    if flask is not None and flask is not sys.modules[_HERE]:
        raise RuntimeError(
            f"The real Flask has been imported already, by {_first_importer()!r}. Write"
            " 'import asyncflask; asyncflask.install_as_flask()' above that import."
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
