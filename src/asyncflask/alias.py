"""`install_as_flask`: make `import flask` give this package, for extensions and apps that say so.

The modules are the very same ones, under both names: a second copy would have context variables
of its own. Likewise `import flask_socketio` gives `asyncflask.socketio`: the extension itself is
made for WSGI servers.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import click
from werkzeug.local import LocalProxy

if TYPE_CHECKING:
    from importlib.metadata import Distribution, DistributionFinder

_HERE: Final = __name__.partition(".")[0]
_OURS: Final = {"flask": _HERE, "flask_socketio": f"{_HERE}.socketio"}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the module `asyncflask.x` for the name `flask.x`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in _OURS:
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

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        # What it is for calls this; nobody else has to import `importlib.metadata`.
        from ._distribution import FlaskDistribution

        if context.name is None or context.name.lower() == "flask":
            yield FlaskDistribution()


def _ours(name: str) -> str:
    package, dot, module = name.partition(".")
    return _OURS[package] + dot + module


def users_of_flask() -> Iterator[str]:
    """The modules that hold something of the real Flask, in the order of their import."""
    proxies = {
        id(value)
        for value in vars(sys.modules.get("flask.globals", _NOTHING)).values()
        if type(value) is LocalProxy  # not by `isinstance`: a proxy asks what it stands for
    }
    for name, module in list(sys.modules.items()):
        if not _is_flask(name) and any(
            id(value) in proxies or _is_flask(_origin(value))
            for value in list(getattr(module, "__dict__", {}).values())
        ):
            yield name


_NOTHING: Final = ModuleType("nothing")


def _is_flask(name: object) -> bool:
    return isinstance(name, str) and (name == "flask" or name.startswith("flask."))


def _origin(value: Any) -> object:
    """The module that a module, class or function is, or comes from."""
    if issubclass(type(value), ModuleType):
        return value.__name__
    if issubclass(type(value), type | FunctionType):
        return value.__module__
    return None


def in_flasks_command() -> bool:
    """Whether it is the real Flask's command that is running this code."""
    context = click.get_current_context(silent=True)
    return context is not None and type(context.obj).__module__ == "flask.cli"


def is_installed_as_flask() -> bool:
    """Whether `install_as_flask` has been called."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def install_as_flask() -> None:
    """From now on `import flask` gives asyncflask, in extensions too. Call it before anything
    imports them, in the first lines of the program.

    Raises `RuntimeError` if the real Flask has been imported, and says by what.
    """
    flask = sys.modules.get("flask")
    if flask is not None and flask is not sys.modules[_HERE]:
        raise RuntimeError(f"The real Flask has been imported already, {_what_to_write()}")
    if not is_installed_as_flask():
        sys.meta_path.insert(0, _Finder())


def _what_to_write() -> str:
    if in_flasks_command():
        return "by its command. Write 'asyncflask' in place of 'flask' on the command line."
    lines = "'import asyncflask; asyncflask.install_as_flask()'"
    user = next(users_of_flask(), None)
    if user is None:
        return f"by a module that has been unloaded. Write {lines} in the program's first lines."
    package = user.partition(".")[0]
    where = "the import of 'flask'" if user == "__main__" else f"what imports {package!r}"
    return f"by {user!r}. Write {lines} above {where}."
