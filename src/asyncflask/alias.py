"""`install_as_flask`: make `import flask` give this package, for extensions and apps that say so.

Both names stand for the same modules: a second copy would have other context variables. Import
hooks for the name `flask`, by which monitoring libraries patch it, run as they do for Flask.
Likewise `import flask_socketio` gives `asyncflask.socketio`: the extension itself is for WSGI
servers.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from traceback import walk_tb
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

import click
from werkzeug.local import LocalProxy

if TYPE_CHECKING:
    from importlib.abc import InspectLoader, Loader
    from importlib.metadata import Distribution, DistributionFinder

_HERE: Final = __name__.partition(".")[0]
_OURS: Final = {"flask": _HERE, "flask_socketio": f"{_HERE}.socketio"}

_PYTHONS_FINDERS: Final = (
    importlib.machinery.BuiltinImporter,
    importlib.machinery.FrozenImporter,
    importlib.machinery.PathFinder,
)

_WITH_FLASK: Final = (
    *("app", "blueprints", "config", "ctx", "globals", "helpers", "json", "logging", "sessions"),
    *("signals", "templating", "views", "wrappers"),
)
"""The submodules that are imported along with `flask`, as Flask does it, so that import hooks for
them run: an app which says `from asyncflask.views import View` never asks for `flask.views`."""


class _Finder:
    """Finds the module `asyncflask.x` for the name `flask.x`. (A finder and a loader by what they
    have: `importlib.abc`, with the classes that say so, takes long to import.)"""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in _OURS:
            return None
        ours = importlib.util.find_spec(_ours(name))
        if ours is None:
            return None
        spec = importlib.machinery.ModuleSpec(
            name, cast("Loader", _Loader(ours)), origin=ours.origin
        )
        spec.submodule_search_locations = ours.submodule_search_locations
        return spec

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        # What it is for calls this; nobody else has to import `importlib.metadata`.
        from ._distribution import find_flask

        if context.name is None or context.name.lower() == "flask":
            yield find_flask(context)


class _Loader:
    """Loads a module under its name in Flask.

    Import hooks wrap `exec_module`, and go by the `__name__` of the module that they gave it. So
    that module is a `_Face` with the alias's name. What stays in `sys.modules` is the module
    itself: a loader may replace it there.
    """

    def __init__(self, ours: importlib.machinery.ModuleSpec) -> None:
        self._ours = ours

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Face(spec.name, importlib.import_module(self._ours.name))

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = importlib.import_module(self._ours.name)
        if name == "flask":
            for submodule in _WITH_FLASK:
                importlib.import_module(f"{name}.{submodule}")

    def get_code(self, name: str) -> CodeType | None:
        """For `python -m flask`."""
        loader = cast("InspectLoader", self._ours.loader)
        return loader.get_code(self._ours.name)


class _Face(ModuleType):
    """What import hooks are given: it reads, sets and deletes the attributes of a module, under
    another name."""

    _module: ModuleType

    def __init__(self, name: str, module: ModuleType) -> None:
        super().__init__(name)
        object.__setattr__(self, "_module", module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OF_IMPORTS:
            super().__setattr__(name, value)
        else:
            setattr(self._module, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._module, name)

    def __dir__(self) -> list[str]:
        return dir(self._module)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        return vars(self._module)


_OF_IMPORTS: Final = frozenset(
    ("__name__", "__spec__", "__loader__", "__package__", "__path__", "__file__", "__cached__")
)
"""What the import system and its hooks set on the module that they import."""


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


def advise(error: BaseException) -> None:
    """Add a note to an error in a context of ours that comes from an extension's use of the real
    Flask: that one has no context."""
    flask = sys.modules.get("flask")
    if flask is None or flask is sys.modules[_HERE]:
        return
    if isinstance(error, RuntimeError) and str(error).startswith("Working outside of "):
        users = set(users_of_flask())
        user = next((name for name in _modules_of(error) if name in users), None)
        condition = ""
    elif isinstance(error, AttributeError) and error.name and error.obj is None:
        # As `current_user` of Flask-Login is without a request.
        user = next(users_of_flask(), None)
        condition = "If this is None because there is no request: "
    else:
        return
    if user is None:
        return
    note = (
        f"{condition}{user.partition('.')[0]!r} uses the real Flask, which does not know this"
        f" app and its requests. Write {_LINES} in the program's first lines."
    )
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _modules_of(error: BaseException) -> Iterator[str]:
    """The modules whose code the error went through, from where it was raised."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        yield frame.f_globals.get("__name__", "")


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

    Import hooks for `flask` run now, or as soon as they are registered.

    Raises `RuntimeError` if the real Flask has been imported, and says by what.
    """
    flask = sys.modules.get("flask")
    if flask is not None and flask is not sys.modules[_HERE]:
        raise RuntimeError(f"The real Flask was imported earlier, {_what_to_write()}")
    if not is_installed_as_flask():
        _place(_Finder())
    importlib.import_module("flask")


def _place(finder: _Finder) -> None:
    """Put it into `sys.meta_path` behind import hooks, which ask the finders behind them, and
    before what would find the real Flask."""
    places = (at for at, other in enumerate(sys.meta_path) if other in _PYTHONS_FINDERS)
    sys.meta_path.insert(next(places, 0), finder)
    spec, ours = importlib.util.find_spec("flask"), sys.modules[_HERE].__spec__
    if spec is None or ours is None or spec.origin != ours.origin:
        sys.meta_path.remove(finder)
        sys.meta_path.insert(0, finder)


def install_as_flask_if_asked() -> None:
    """Call `install_as_flask` if the environment says ``FLASK_AS_FLASK=1``.

    The entry point by which `opentelemetry-instrument` calls it before it imports what it is to
    instrument, which is before the program's first line.
    """
    if click.BOOL.convert(os.environ.get(AS_FLASK) or "0", None, None):
        install_as_flask()


AS_FLASK: Final = "FLASK_AS_FLASK"
"""The variable that asks for it, of the command `asyncflask` too."""


def _what_to_write() -> str:
    if in_flasks_command():
        return "by its command. Write 'asyncflask' instead of 'flask' on the command line."
    user = next(users_of_flask(), None)
    if user is None:
        return f"by a module that has been unloaded. Write {_LINES} in the program's first lines."
    if _OTEL_STARTER in sys.modules and user.startswith("opentelemetry."):
        return (
            f"by {user!r}, before the program's first line. Set {AS_FLASK}=1 in the environment"
            " of 'opentelemetry-instrument': then it instruments asyncflask."
        )
    package = user.partition(".")[0]
    where = "the import of 'flask'" if user == "__main__" else f"what imports {package!r}"
    return f"by {user!r}. Write {_LINES} above {where}."


_LINES: Final = "'import asyncflask; asyncflask.install_as_flask()'"
_OTEL_STARTER: Final = "opentelemetry.instrumentation.auto_instrumentation"
