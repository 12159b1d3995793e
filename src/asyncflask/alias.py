"""`install_as_flask`: makes `import flask` import this package, in extensions and apps.

Both names refer to the same modules, since a second copy would have other context variables.
Import hooks for the name `flask`, which monitoring libraries use to patch it, run as they do
for Flask. Likewise, `import flask_socketio` imports `asyncflask.socketio`; the extension itself
only works with WSGI servers.
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
"""The submodules that are imported with `flask`, as in Flask, so that their import hooks run:
an app that uses `from asyncflask.views import View` never imports `flask.views`."""


class _Finder:
    """Finds the module `asyncflask.x` for the name `flask.x`."""

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
        # Imported here, so that nobody else has to import `importlib.metadata`.
        from ._distribution import find_flask

        if context.name is None or context.name.lower() == "flask":
            yield find_flask(context)


class _Loader:
    """Loads a module under its Flask name.

    Import hooks wrap `exec_module`, and go by the `__name__` of the module passed to it. So
    that module is a `_Face` with the alias's name. `sys.modules` keeps the module itself: a
    loader may replace it there.
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
        """Return the code for `python -m flask`."""
        loader = cast("InspectLoader", self._ours.loader)
        return loader.get_code(self._ours.name)


class _Face(ModuleType):
    """The module that import hooks see: it reads, sets and deletes the attributes of another
    module, under another name."""

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
"""The attributes that the import system and its hooks set on an imported module."""


def _ours(name: str) -> str:
    package, dot, module = name.partition(".")
    return _OURS[package] + dot + module


def users_of_flask() -> Iterator[str]:
    """Yield the modules that use something of the real Flask, in order of import."""
    proxies = {
        id(value)
        for value in vars(sys.modules.get("flask.globals", _NOTHING)).values()
        if type(value) is LocalProxy  # not `isinstance`, which asks the object behind a proxy
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
    """Return the name of a module, or of the module that a class or function is from."""
    if issubclass(type(value), ModuleType):
        return value.__name__
    if issubclass(type(value), type | FunctionType):
        return value.__module__
    return None


def advise(error: BaseException) -> None:
    """Add a note to an error that an extension causes in our context by using the real Flask,
    which has no context."""
    flask = sys.modules.get("flask")
    if flask is None or flask is sys.modules[_HERE]:
        return
    if isinstance(error, RuntimeError) and str(error).startswith("Working outside of "):
        users = set(users_of_flask())
        user = next((name for name in _modules_of(error) if name in users), None)
        condition = ""
    elif isinstance(error, AttributeError) and error.name and error.obj is None:
        # For example, Flask-Login's `current_user` without a request.
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
    """Yield the names of the modules that the error passed through, innermost first."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        yield frame.f_globals.get("__name__", "")


def in_flasks_command() -> bool:
    """Return `True` if the real Flask's command is running this code."""
    click = sys.modules.get("click")
    context = click and click.get_current_context(silent=True)
    return context is not None and type(context.obj).__module__ == "flask.cli"


def is_installed_as_flask() -> bool:
    """Return `True` if `install_as_flask` was called."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def install_as_flask() -> None:
    """Make `import flask` import asyncflask from now on, in extensions too. Call it in the
    first lines of the program, before extensions are imported.

    Import hooks for `flask` run now, or when they are registered.

    :raises RuntimeError: if the real Flask was already imported. The message says by what.
    """
    flask = sys.modules.get("flask")
    if flask is not None and flask is not sys.modules[_HERE]:
        raise RuntimeError(f"The real Flask was imported earlier, {_what_to_write()}")
    if not is_installed_as_flask():
        _place(_Finder())
    importlib.import_module("flask")


def _place(finder: _Finder) -> None:
    """Insert *finder* into `sys.meta_path` after import hooks, which ask the finders after
    them, and before the finder of the real Flask."""
    places = (at for at, other in enumerate(sys.meta_path) if other in _PYTHONS_FINDERS)
    sys.meta_path.insert(next(places, 0), finder)
    spec, ours = importlib.util.find_spec("flask"), sys.modules[_HERE].__spec__
    if spec is None or ours is None or spec.origin != ours.origin:
        sys.meta_path.remove(finder)
        sys.meta_path.insert(0, finder)


def install_as_flask_if_asked() -> None:
    """Call `install_as_flask` if the environment variable ``FLASK_AS_FLASK`` is ``1``.

    This is an entry point, for `opentelemetry-instrument` to call before it imports what it
    instruments and so before the program's first line.
    """
    from click import BOOL

    if BOOL.convert(os.environ.get(AS_FLASK) or "0", None, None):
        install_as_flask()


AS_FLASK: Final = "FLASK_AS_FLASK"
"""The environment variable that requests it, also for the command `asyncflask`."""


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
