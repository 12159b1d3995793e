"""`install_as_flask`: make `import flask` give this package, for extensions and apps that say so.

The modules are the very same ones, under both names: a second copy would have context variables
of its own.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

_HERE: Final = __name__.partition(".")[0]


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the module `asyncflask.x` for the name `flask.x`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "flask" and not name.startswith("flask."):
            return None
        ours = _HERE + name.removeprefix("flask")
        if importlib.util.find_spec(ours) is None:
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(_HERE + spec.name.removeprefix("flask"))
        # The import system replaces the module's own by the alias's; `exec_module` undoes that.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        alias = module.__spec__
        assert alias is not None
        module.__spec__ = alias.loader_state


def install_as_flask() -> None:
    """From now on `import flask` gives asyncflask, in extensions too. Call it before anything
    imports them, in the first lines of the program.

    Raises `RuntimeError` if the real Flask has been imported.
    """
    flask = sys.modules.get("flask")
    if flask is not None and flask is not sys.modules[_HERE]:
        raise RuntimeError(
            "The real Flask has been imported already"
            f" (from {getattr(flask, '__file__', None)!r}), by an extension perhaps. Write"
            " 'import asyncflask; asyncflask.install_as_flask()' above every other import."
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
