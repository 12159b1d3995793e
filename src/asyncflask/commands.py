"""The commands of apps: `app.cli`'s group class, and finding the app for a command. Imported
with the package, since every app has a group of commands; the program and its own commands are
in `cli.py`, from where users import all of this."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import re
import sys
import traceback
import typing as t
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from difflib import get_close_matches
from types import ModuleType

import click

from .asgi.lifespan import LifespanFailed, started
from .asgi.waiting import wait
from .ctx import _cv_app
from .debughelpers import add_advice_to_command
from .helpers import get_debug_flag, get_load_dotenv
from .sansio.app import App

F = t.TypeVar("F", bound=Callable[..., t.Any])

APP_NAMES: t.Final = ("app", "application")
FACTORY_NAMES: t.Final = ("create_app", "make_app")
FILE_NAMES: t.Final = ("wsgi.py", "app.py")
"""Where to look for an app that is not named."""


class NoAppException(click.UsageError):
    """There is no app, or it cannot be loaded."""


# -- finding the app ------------------------------------------------------------------------


def find_best_app(module: ModuleType) -> App:
    """Find the app in *module*: `app` or `application`, otherwise the only one, otherwise the
    return value of `create_app` or `make_app`, called without arguments.

    :raises NoAppException: if there is none, or more than one.
    """
    for name in APP_NAMES:
        app = getattr(module, name, None)
        if isinstance(app, App):
            return app
        _refuse_flasks(app, f"{module.__name__}:{name}")

    apps = [value for value in vars(module).values() if isinstance(value, App)]
    if len(apps) == 1:
        return apps[0]
    if apps:
        raise NoAppException(
            f"The module '{module.__name__}' has {len(apps)} Flask apps. Name one of them:"
            f" '{module.__name__}:name'."
        )

    for name in FACTORY_NAMES:
        factory = getattr(module, name, None)
        if not inspect.isfunction(factory):
            continue
        try:
            app = factory()
        except TypeError as e:
            if not _called_with_wrong_args(factory):
                raise
            raise NoAppException(
                f"The factory '{name}' in the module '{module.__name__}' cannot be called"
                f" without arguments. Pass them: '{module.__name__}:{name}(args)'."
            ) from e
        if isinstance(app, App):
            return app
        _refuse_flasks(app, f"{module.__name__}:{name}")

    for name, value in vars(module).items():
        _refuse_flasks(value, f"{module.__name__}:{name}")
    raise NoAppException(
        f"The module '{module.__name__}' has no Flask app or factory under one of the usual"
        f" names. Name it: '{module.__name__}:name'."
    )


def _refuse_flasks(value: t.Any, where: str) -> None:
    for cls in type(value).__mro__:
        if (cls.__module__, cls.__name__) == ("flask.app", "Flask"):
            raise NoAppException(
                f"{where!r} is an app of the real Flask. To run it on asyncflask, write"
                " 'asyncflask --as-flask' on the command line, or 'from asyncflask import"
                " Flask' in the module."
            )


def _called_with_wrong_args(f: Callable[..., t.Any]) -> bool:
    """Return `True` if the `TypeError` being handled came from calling *f*, not from inside it."""
    tb = sys.exc_info()[2]
    try:
        while tb is not None:
            if tb.tb_frame.f_code is f.__code__:
                return False
            tb = tb.tb_next
        return True
    finally:
        del tb  # breaks a reference cycle


def find_app_by_string(module: ModuleType, app_name: str) -> App:
    """Find the app that *app_name* names in *module*: the name of an app or a factory, or a
    call of a factory with literal arguments.

    :raises NoAppException: if there is no such app.
    """
    name, args, kwargs = _parse_app_name(app_name)
    try:
        value = getattr(module, name)
    except AttributeError as e:
        raise NoAppException(
            f"The module {module.__name__!r} has no {name!r}.{_other_names(module, name)}"
        ) from e

    if inspect.isfunction(value):
        try:
            value = value(*args, **kwargs)
        except TypeError as e:
            if not _called_with_wrong_args(value):
                raise
            raise NoAppException(
                f"The factory in the module {module.__name__!r} cannot be called as"
                f" {app_name!r}: its signature is {inspect.signature(value)}."
            ) from e

    if isinstance(value, App):
        return value
    _refuse_flasks(value, f"{module.__name__}:{app_name}")
    raise NoAppException(
        f"'{module.__name__}:{app_name}' is not a Flask app, but of type '{type(value).__name__}'."
    )


def _other_names(module: ModuleType, name: str) -> str:
    """Return advice about *name*: the most similar app or factory of *module*, or all of them
    if none is similar."""
    names = [each for each, value in vars(module).items() if _is_app_or_factory(value, module)]
    near = get_close_matches(name, names, 1)
    if near:
        return f" Did you mean '{module.__name__}:{near[0]}'?"
    if names:
        there = ", ".join(f"'{module.__name__}:{each}'" for each in names)
        return f" It has: {there}."
    return " It has no Flask app or factory at all."


def _is_app_or_factory(value: object, module: ModuleType) -> bool:
    """Return `True` for an app or a factory, without calling anything. A factory is a function
    with one of the usual names, or whose code mentions `Flask` or an app class of the module."""
    if isinstance(value, App) or not inspect.isfunction(value):
        return isinstance(value, App)
    if value.__name__ in FACTORY_NAMES:
        return True
    named = (vars(module).get(name, name) for name in value.__code__.co_names)
    return any(
        each == "Flask" or (isinstance(each, type) and issubclass(each, App)) for each in named
    )


def _parse_app_name(app_name: str) -> tuple[str, list[t.Any], dict[str, t.Any]]:
    try:
        expr = ast.parse(app_name.strip(), mode="eval").body
    except SyntaxError:
        expr = None

    match expr:
        case ast.Name(id=name):
            return name, [], {}
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            try:
                return (
                    name,
                    [ast.literal_eval(arg) for arg in args],
                    {kw.arg: ast.literal_eval(kw.value) for kw in keywords if kw.arg is not None},
                )
            except ValueError:
                raise NoAppException(
                    f"The arguments in {app_name!r} must be literals: strings, numbers, lists."
                ) from None
        case _:
            raise NoAppException(
                f"{app_name!r} must be a name, or a call such as 'create_app(\"x\")'."
            )


def prepare_import(path: str) -> str:
    """Return the module name of a file or folder, and put its parent folder first on
    `sys.path`."""
    path = os.path.realpath(path)
    stem, extension = os.path.splitext(path)
    if extension == ".py":
        path = stem
    if os.path.basename(path) == "__init__":
        path = os.path.dirname(path)

    names: list[str] = []
    while not names or os.path.exists(os.path.join(path, "__init__.py")):
        path, name = os.path.split(path)
        names.insert(0, name)

    if sys.path[0] != path:
        sys.path.insert(0, path)
    return ".".join(names)


@t.overload
def locate_app(
    module_name: str, app_name: str | None, raise_if_not_found: t.Literal[True] = True
) -> App: ...


@t.overload
def locate_app(
    module_name: str, app_name: str | None, raise_if_not_found: bool = ...
) -> App | None: ...


def locate_app(
    module_name: str, app_name: str | None, raise_if_not_found: bool = True
) -> App | None:
    """Import a module and find the app in it, by name or with `find_best_app`.

    :param raise_if_not_found: `False` to return `None` if the module is missing.
    :raises NoAppException: if the module is missing or raises an `ImportError`, or there is no
        app in it.
    """
    try:
        __import__(module_name)
    except ImportError as e:
        # A longer traceback means that the module itself raised it.
        if e.__traceback__ is not None and e.__traceback__.tb_next is not None:
            raise NoAppException(
                f"The import of {module_name!r} failed:\n\n{traceback.format_exc()}"
            ) from None
        if raise_if_not_found:
            raise NoAppException(
                f"Cannot find the module {module_name!r} in {os.getcwd()} or elsewhere on"
                f" Python's path.{_other_modules(module_name)}"
            ) from None
        return None

    module = sys.modules[module_name]
    return find_best_app(module) if app_name is None else find_app_by_string(module, app_name)


def _other_modules(module_name: str) -> str:
    """Return advice about *module_name*: the colon that a dot was meant to be, the most similar
    module beside it, or the file that is used without a name."""
    parent, _, name = module_name.rpartition(".")
    module = sys.modules.get(parent)
    if module is not None and _is_app_or_factory(vars(module).get(name), module):
        return f" Did you mean '{parent}:{name}'?"
    folder = os.path.join(sys.path[0], *parent.split("."))
    near = get_close_matches(name, _modules_in(folder), 1)
    if near:
        return f" Did you mean '{f'{parent}.' if parent else ''}{near[0]}'?"
    files = [file for file in FILE_NAMES if os.path.exists(os.path.join(folder, file))]
    return f" For '{files[0]}', leave out '--app'." if files and not parent else ""


def _modules_in(folder: str) -> Iterator[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            stem, extension = os.path.splitext(entry.name)
            if extension == ".py" or os.path.exists(os.path.join(entry, "__init__.py")):
                yield stem


class ScriptInfo:
    """Finds the app for commands, once. It is the `obj` of Click's context.

    :param app_import_path: where the app is: `module:name`, a file, or a file and a name.
    :param create_app: a function that returns the app, called without arguments instead.
    :param set_debug_flag: set the app's `debug` from `FLASK_DEBUG`. Default: `True`.
    :param load_dotenv_defaults: load `.env` and `.flaskenv`, unless `FLASK_SKIP_DOTENV` is set.
        Default: `True`.
    """

    def __init__(
        self,
        app_import_path: str | None = None,
        create_app: Callable[..., App] | None = None,
        set_debug_flag: bool = True,
        load_dotenv_defaults: bool = True,
    ) -> None:
        self.app_import_path = app_import_path
        self.create_app = create_app
        self.data: dict[t.Any, t.Any] = {}
        """A dict for whatever you want to store."""
        self.set_debug_flag = set_debug_flag
        self.load_dotenv_defaults = get_load_dotenv(load_dotenv_defaults)
        """Read by the code that loads the files; this class does not."""
        self.lifespan = False
        """`True` to start the app for every command: the option `--lifespan`."""
        self.lifespan_state: dict[str, t.Any] | None = None
        """The app's lifespan state if it was started for the command, as in `request.state`."""
        self._after_context: ExitStack | None = None
        """What runs after the command's app context has ended."""
        self._loaded_app: App | None = None

    def load_app(self) -> App:
        """Return the app. The first call imports or creates it.

        :raises NoAppException: if it cannot be found.
        """
        if self._loaded_app is None:
            app = self._find_app()
            if app is None:
                raise NoAppException(
                    "No Flask app was found. Name it with the option '--app' or the"
                    " environment variable 'FLASK_APP', or put it in 'wsgi.py' or 'app.py' in"
                    " the current directory."
                )
            if self.set_debug_flag:
                app.debug = get_debug_flag()
            self._loaded_app = app
        return self._loaded_app

    def __getstate__(self) -> dict[str, t.Any]:
        # A worker process, which receives this, finds the app itself.
        return {**vars(self), "_loaded_app": None, "_after_context": None}

    def _find_app(self) -> App | None:
        if self.create_app is not None:
            return self.create_app()
        if self.app_import_path:
            # Not the colon of a Windows drive.
            path, *names = re.split(r":(?![\\/])", self.app_import_path, maxsplit=1)
            return locate_app(prepare_import(path), names[0] if names else None)
        for path in FILE_NAMES:
            app = locate_app(prepare_import(path), None, raise_if_not_found=False)
            if app is not None:
                return app
        return None


pass_script_info = click.make_pass_decorator(ScriptInfo, ensure=True)


# -- commands in an app context -------------------------------------------------------------


def _value(result: t.Any) -> t.Any:
    """Return a command's value; for an `async def` command, run it first."""
    if not inspect.iscoroutine(result):
        return result
    running = _in_click_context(result, click.get_current_context(silent=True))
    return wait(running, to_its_end=True)  # it ends before the app is stopped


async def _in_click_context(
    coro: Coroutine[t.Any, t.Any, t.Any], ctx: click.Context | None
) -> t.Any:
    # Click's current context is per thread, and the event loop runs in another thread.
    with ctx.scope(cleanup=False) if ctx is not None else nullcontext():
        return await coro


@t.overload
def with_appcontext(f: F, /) -> F: ...


@t.overload
def with_appcontext(*, lifespan: bool = ...) -> Callable[[F], F]: ...


def with_appcontext(f: t.Any = None, /, *, lifespan: bool = False) -> t.Any:
    """Decorate *f*, sync or async, to run in an app context of the script's app, unless one is
    active. Commands of `app.cli` and `blueprint.cli` always do.

    :param lifespan: start the app before the command, as a server would, and stop it
        afterwards: `@with_appcontext(lifespan=True)`. Default: only with the option
        `--lifespan`.
    """
    if f is None:
        return functools.partial(_in_appcontext, lifespan=lifespan)
    return _in_appcontext(f, lifespan=lifespan)


def _in_appcontext(f: F, *, lifespan: bool) -> F:
    @click.pass_context
    def in_context(ctx: click.Context, /, *args: object, **kwargs: object) -> t.Any:
        current = _cv_app.get(None)
        info = ctx.find_object(ScriptInfo) if current else None
        if info is None:  # do not replace another object of the context
            info = ScriptInfo() if current else ctx.ensure_object(ScriptInfo)
        app = current.app if current else info.load_app()
        if lifespan or info.lifespan:
            stack = info._after_context
            start = ctx.with_resource if stack is None else stack.enter_context
            info.lifespan_state = start(_started(app))
        if current is None:
            ctx.with_resource(app.app_context())
        try:
            return _value(ctx.invoke(f, *args, **kwargs))
        except Exception as error:
            add_advice_to_command(error, app)
            raise

    return t.cast(F, functools.update_wrapper(in_context, f))


@contextmanager
def _started(app: t.Any) -> Iterator[dict[str, t.Any]]:
    """Start the `Flask` *app*, unless it is started already, and stop it at the end. If
    starting or stopping fails, Click shows the error; the command's own error comes first."""
    running = app._conversations.state
    if running is not None:
        yield running
        return
    lifespan = started(app)
    try:
        state = lifespan.__enter__()
    except LifespanFailed as error:
        raise click.ClickException(f"The app could not be started:\n\n{error}") from error
    try:
        yield state
    finally:
        failed = sys.exception()
        try:
            lifespan.__exit__(None, None, None)
        except LifespanFailed as error:
            message = f"The app could not be stopped:\n\n{error}"
            if failed is None or isinstance(failed, click.exceptions.Exit):
                raise click.ClickException(message) from error
            click.secho(f"Error: {message}", err=True)


def _without_appcontext(f: Callable[..., t.Any]) -> Callable[..., t.Any]:
    @functools.wraps(f)
    def called(*args: object, **kwargs: object) -> t.Any:
        return _value(f(*args, **kwargs))

    return called


class AppGroup(click.Group):
    """A Click group whose commands run in an app context and may be `async def`."""

    @t.overload
    def command(self, f: Callable[..., t.Any], /) -> click.Command: ...

    @t.overload
    def command(
        self, *args: t.Any, **kwargs: t.Any
    ) -> Callable[[Callable[..., t.Any]], click.Command]: ...

    def command(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Like Click's, with `with_appcontext` applied unless you pass `with_appcontext=False`.
        `lifespan=True` starts the app before the command and stops it afterwards."""
        lifespan = kwargs.pop("lifespan", False)
        wrap: Callable[[Callable[..., t.Any]], Callable[..., t.Any]]
        if kwargs.pop("with_appcontext", True):
            wrap = with_appcontext(lifespan=lifespan)
        elif lifespan:
            raise TypeError(
                "A command with 'lifespan' needs an app context. Remove 'with_appcontext=False'."
            )
        else:
            wrap = _without_appcontext
        if len(args) == 1 and callable(args[0]):
            return super().command(wrap(args[0]))
        decorate = super().command(*args, **kwargs)
        return lambda f: decorate(wrap(f))

    @t.overload
    def group(self, f: Callable[..., t.Any], /) -> click.Group: ...

    @t.overload
    def group(
        self, *args: t.Any, **kwargs: t.Any
    ) -> Callable[[Callable[..., t.Any]], click.Group]: ...

    def group(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Like Click's, but the group is an `AppGroup` too."""
        kwargs.setdefault("cls", AppGroup)
        if len(args) == 1 and callable(args[0]):
            return super().group(**kwargs)(_without_appcontext(args[0]))
        decorate = super().group(*args, **kwargs)
        return lambda f: decorate(_without_appcontext(f))
