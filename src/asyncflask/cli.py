"""The command line: the program `asyncflask`, and the commands that come with it.

The environment variables are Flask's (`FLASK_APP`, `FLASK_DEBUG`, `FLASK_RUN_PORT`, ...). How an
app is found is in `commands.py`, how it is served in `serving.py`. That, and uvicorn, are only
imported where they are used: extensions import this file for `with_appcontext` alone.
"""

from __future__ import annotations

import ast
import code
import importlib.metadata
import inspect
import os
import platform
import sys
import traceback
import typing as t
from collections.abc import Callable
from operator import itemgetter
from ssl import SSLContext
from types import CodeType

import click
from click.core import ParameterSource
from werkzeug.routing import Rule
from werkzeug.serving import is_running_from_reloader
from werkzeug.utils import import_string

from ._version import FLASK_VERSION, __version__
from .alias import install_as_flask, users_of_flask
from .asgi.waiting import wait
from .check import check_command
from .commands import AppGroup as AppGroup
from .commands import NoAppException as NoAppException
from .commands import ScriptInfo as ScriptInfo
from .commands import find_app_by_string as find_app_by_string
from .commands import find_best_app as find_best_app
from .commands import locate_app as locate_app
from .commands import pass_script_info as pass_script_info
from .commands import prepare_import as prepare_import
from .commands import with_appcontext as with_appcontext
from .ctx import _cv_app, current_app_ctx
from .helpers import get_debug_flag
from .migrate import migrate_command
from .sansio.app import App

if t.TYPE_CHECKING:
    from starlette.routing import Mount

    from .serving import SSLSetting

PLUGINS: t.Final = "flask.commands"
"""The group of entry points that are commands, as for Flask's program."""


# -- the options of the program -------------------------------------------------------------


def get_version(ctx: click.Context, param: click.Parameter, value: t.Any) -> None:
    """Print the versions and leave: the callback of `--version`."""
    if not value or ctx.resilient_parsing:
        return
    click.echo(
        f"Python {platform.python_version()}\n"
        f"asyncflask {__version__}, with the API of Flask {FLASK_VERSION}\n"
        f"Werkzeug {importlib.metadata.version('werkzeug')}",
        color=ctx.color,
    )
    ctx.exit()


version_option = click.Option(
    ["--version"],
    help="Show the versions of Python, asyncflask and Werkzeug.",
    expose_value=False,
    callback=get_version,
    is_flag=True,
    is_eager=True,
)


def _set_app(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        ctx.ensure_object(ScriptInfo).app_import_path = value
    return value


# Eager, so that the app's commands are in the help. `--help` is eager too: this one comes first
# in the list. Without arguments at all, see `FlaskGroup.parse_args`.
_app_option = click.Option(
    ["-A", "--app"],
    metavar="IMPORT",
    help=(
        "Where the app or its factory is: 'module:name', 'module:name(args)' or a file."
        " 'app', 'application', 'create_app' and 'make_app' are found without a name."
    ),
    is_eager=True,
    expose_value=False,
    callback=_set_app,
)


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> bool | None:
    source = ctx.get_parameter_source(param.name) if param.name else None
    if source in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP):
        return None  # Not given: what the environment says stays.
    # In the environment, a factory sees it already.
    os.environ["FLASK_DEBUG"] = "1" if value else "0"
    return value


_debug_option = click.Option(
    ["--debug/--no-debug"],
    help="Turn debug mode on or off.",
    expose_value=False,
    callback=_set_debug,
)


def _dotenv() -> t.Any:
    """The package python-dotenv, or `None`. Looked for when needed: it may be absent."""
    return import_string("dotenv", silent=True)


def _env_file_callback(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> str | None:
    if value is not None and _dotenv() is None:
        raise click.BadParameter(
            "An env file needs python-dotenv: pip install python-dotenv", ctx=ctx, param=param
        )
    if value is not None or ctx.obj.load_dotenv_defaults:
        load_dotenv(value, load_defaults=ctx.obj.load_dotenv_defaults)
    return value


# Eager and first, so that the other options can be in the file.
_env_file_option = click.Option(
    ["-e", "--env-file"],
    type=click.Path(exists=True, dir_okay=False),
    help=(
        "Set environment variables from this file, in front of '.env' and '.flaskenv'. Those"
        " that are set already stay. Needs python-dotenv."
    ),
    is_eager=True,
    expose_value=False,
    callback=_env_file_callback,
)


class FlaskGroup(AppGroup):
    """A program for one app: the built-in commands, those of the app, and those of installed
    packages (entry points in the group `flask.commands`).

    :param add_default_commands: have `run`, `shell` and `routes`.
    :param create_app: called without arguments for the app, in place of `--app`.
    :param add_version_option: have `--version`.
    :param load_dotenv: load `.env` and `.flaskenv`.
    :param set_debug_flag: set the app's `debug` from `FLASK_DEBUG`.
    :param extra: for `click.Group`.
    """

    def __init__(
        self,
        add_default_commands: bool = True,
        create_app: Callable[..., App] | None = None,
        add_version_option: bool = True,
        load_dotenv: bool = True,
        set_debug_flag: bool = True,
        **extra: t.Any,
    ) -> None:
        # Options with callbacks, not parameters of the group: those stay for users.
        params: list[click.Parameter] = list(extra.pop("params", None) or ())
        params += (_env_file_option, _app_option, _debug_option)
        if add_version_option:
            params.append(version_option)
        settings = extra.setdefault("context_settings", {})
        settings.setdefault("auto_envvar_prefix", "FLASK")

        super().__init__(params=params, **extra)
        self.create_app = create_app
        self.load_dotenv = load_dotenv
        self.set_debug_flag = set_debug_flag
        if add_default_commands:
            for command in (run_command, shell_command, routes_command):
                self.add_command(command)
        self._loaded_plugin_commands = False

    def _load_plugin_commands(self) -> None:
        if not self._loaded_plugin_commands:
            for entry in importlib.metadata.entry_points(group=PLUGINS):
                self._load_plugin_command(entry)
            self._loaded_plugin_commands = True

    def _load_plugin_command(self, entry: importlib.metadata.EntryPoint) -> None:
        """Add the command of an installed package, unless it cannot work here: say why."""
        package = entry.module.partition(".")[0]
        try:
            command = entry.load()
        except ImportError as e:
            why, for_flask = str(e), (e.name or "").partition(".")[0] == "flask"
        else:
            why = f"{package!r} uses the real Flask, which knows nothing of this app."
            for_flask = any(user.partition(".")[0] == package for user in users_of_flask())
            if not for_flask:
                self.add_command(command, entry.name)
                return
        if for_flask:
            why += " Write 'asyncflask --as-flask' to have it use asyncflask."
        click.secho(f"No command '{entry.name}': {why}", err=True, fg="yellow")

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """A command of a package, else of the program, else of the app, in its context."""
        plugins: tuple[importlib.metadata.EntryPoint, ...] = ()
        if not self._loaded_plugin_commands:
            plugins = tuple(importlib.metadata.entry_points(group=PLUGINS, name=name))
        if not plugins:
            command = super().get_command(ctx, name)
            if command is not None:  # These are there even if the app is not.
                return command

        # The app goes first: it may be what makes packages import asyncflask for flask.
        app: App | None = None
        error: Exception | None = None
        try:
            app = ctx.ensure_object(ScriptInfo).load_app()
        except Exception as e:
            error = e
        for entry in plugins:
            self._load_plugin_command(entry)
        command = super().get_command(ctx, name)
        if command is not None:
            return command

        if isinstance(error, NoAppException):
            click.secho(f"Error: {error.format_message()}\n", err=True, fg="red")
            return None
        if error is not None:
            raise error
        assert app is not None
        # Before the command's parameters are parsed, so that their callbacks have it.
        current = _cv_app.get(None)
        if current is None or current.app is not app:
            ctx.with_resource(app.app_context())
        return app.cli.get_command(ctx, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands. An app that cannot be loaded is an error shown."""
        names: set[str] = set()
        try:
            names.update(ctx.ensure_object(ScriptInfo).load_app().cli.list_commands(ctx))
        except NoAppException as e:
            click.secho(f"Error: {e.format_message()}\n", err=True, fg="red")
        except Exception:
            click.secho(f"{traceback.format_exc()}\n", err=True, fg="red")
        self._load_plugin_commands()
        names.update(super().list_commands(ctx))
        return sorted(names)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: t.Any,
    ) -> click.Context:
        """As Click's, with a `ScriptInfo` as its `obj`."""
        # Makes `app.run()` do nothing: called while a module is imported, it would not return.
        os.environ["FLASK_RUN_FROM_CLI"] = "true"

        if "obj" not in extra and "obj" not in self.context_settings:
            extra["obj"] = ScriptInfo(
                create_app=self.create_app,
                set_debug_flag=self.set_debug_flag,
                load_dotenv_defaults=self.load_dotenv,
            )
        return super().make_context(info_name, args, parent=parent, **extra)

    def invoke(self, ctx: click.Context) -> t.Any:
        """Run the command. One of this group's options that stands behind the command is an error
        that says where it belongs."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            option = error.option_name
            of_group = next((each for each in self.params if option in each.opts), None)
            if of_group is None or error.ctx is None:
                raise
            value = "" if getattr(of_group, "is_flag", False) else " ..."
            raise click.UsageError(
                f"The option '{option}' belongs before the command: write"
                f" 'asyncflask {option}{value} {error.ctx.info_name}'.",
                error.ctx,
            ) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As Click's. For the help, the app is needed, and may be named in the environment."""
        no_args = not args and self.no_args_is_help
        if no_args or (len(args) == 1 and args[0] in self.get_help_option_names(ctx)):
            _env_file_option.handle_parse_result(ctx, {}, [])
            _app_option.handle_parse_result(ctx, {}, [])
        try:
            return super().parse_args(ctx, args)
        except click.ClickException:
            ctx.close()  # Click does not, and the help has entered an app context.
            raise


def load_dotenv(path: str | os.PathLike[str] | None = None, load_defaults: bool = True) -> bool:
    """Set environment variables from files, the nearest `.env` and `.flaskenv` from the working
    directory up. *path* counts before `.env`, that before `.flaskenv`, and variables that are
    set already before all. The files are UTF-8.

    :param path: one more file.
    :param load_defaults: `False`: only that.
    :return: whether there were variables. `False` without python-dotenv.
    """
    dotenv = _dotenv()
    if dotenv is None:
        if path or os.path.isfile(".env") or os.path.isfile(".flaskenv"):
            click.secho(" * Tip: for .env files, install python-dotenv.", fg="yellow", err=True)
        return False

    files = [dotenv.find_dotenv(name, usecwd=True) for name in (".flaskenv", ".env")]
    data: dict[str, str | None] = {}
    for file in (*(files if load_defaults else ()), path):
        if file and os.path.isfile(file):
            data |= dotenv.dotenv_values(file, encoding="utf-8")

    for key, value in data.items():
        if value is not None:
            os.environ.setdefault(key, value)
    return bool(data)


# -- run ------------------------------------------------------------------------------------


def show_server_banner(debug: bool, app_import_path: str | None) -> None:
    """Say what is served, once, not at every reload."""
    if is_running_from_reloader():
        return
    if app_import_path is not None:
        click.echo(f" * Serving asyncflask app '{app_import_path}'")
    if debug is not None:
        click.echo(f" * Debug mode: {'on' if debug else 'off'}")


class CertParamType(click.Path):
    """The option `--cert`: a file, `adhoc`, or where an `ssl.SSLContext` can be imported."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, resolve_path=True)

    def convert(
        self, value: t.Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> t.Any:
        """:raises click.BadParameter: if it is nothing of these."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            if str(value).lower() == "adhoc":
                if import_string("cryptography", silent=True) is None:
                    raise click.BadParameter(
                        "A generated certificate ('--cert adhoc') needs cryptography: pip install"
                        " cryptography",
                        ctx,
                        param,
                    ) from None
                return "adhoc"

            context = import_string(str(value), silent=True)
            if isinstance(context, SSLContext):
                return context
            raise


def _validate_key(ctx: click.Context, param: click.Parameter, value: t.Any) -> t.Any:
    """Make the two options `--cert` and `--key` one, a pair, if the former is a file."""
    cert = ctx.params.get("cert")
    is_file = bool(cert) and cert != "adhoc" and not isinstance(cert, SSLContext)

    if value is None:
        if is_file:
            raise click.BadParameter('Needed with a "--cert" that is a file.', ctx, param)
    elif is_file:
        ctx.params["cert"] = cert, value
    elif cert:
        what = '"adhoc"' if cert == "adhoc" else "an SSLContext"
        raise click.BadParameter(f'Not needed: "--cert" is {what}.', ctx, param)
    else:
        raise click.BadParameter('It is the key of a "--cert", which is missing.', ctx, param)
    return value


class SeparatedPathType(click.Path):
    """An option that is a list of paths, separated as in `PATH` (`:`, on Windows `;`)."""

    def convert(
        self, value: t.Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> t.Any:
        """:raises click.BadParameter: if one of them is none."""
        convert = super().convert  # `super()` does not work in a comprehension before 3.12.
        return [convert(item, param, ctx) for item in self.split_envvar_value(value)]


# What uvicorn's command has and `run` takes over: where to write it instead.
_NOT_AFTER_DASHES: t.Final = {
    "app": "'--app'",
    "host": "'--host'",
    "port": "'--port'",
    "reload": "'--reload'",
    "reload_dirs": "'--extra-files'",
    "reload_includes": "'--extra-files'",
    "reload_excludes": "'--exclude-patterns'",
    "reload_delay": "'--reload'",
    "workers": "'--workers'",
    "ssl_certfile": "'--cert'",
    "ssl_keyfile": "'--key'",
    "env_file": "'asyncflask --env-file'",
    "app_dir": "'asyncflask --app' with a path",
    "factory": "'asyncflask --app', which knows factories,",
    "interface": "",
    "version": "'asyncflask --version'",
}


def _parse_uvicorn_options(
    ctx: click.Context, param: click.Parameter, args: tuple[str, ...]
) -> dict[str, t.Any]:
    """Options for `uvicorn.Config`, by uvicorn's description of them."""
    import uvicorn

    params = [param for param in uvicorn.main.params if param.name not in _NOT_AFTER_DASHES]
    command = click.Command(
        "uvicorn", params=params, help="Options of uvicorn that 'run' hands on."
    )
    try:
        given = command.make_context(f"{ctx.command_path} --", list(args))
    except click.NoSuchOption as e:
        for known in uvicorn.main.params:
            if e.option_name in known.opts:
                instead = _NOT_AFTER_DASHES[known.name or ""]
                hint = f" Write {instead} before it." if instead else ""
                raise click.UsageError(
                    f"'{e.option_name}' has no place after the '--'.{hint}", e.ctx
                ) from None
        raise
    options = {
        name: value
        for name, value in given.params.items()
        if given.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if "headers" in options:
        headers = [header.partition(":") for header in options["headers"]]
        if not all(colon for _, colon, _ in headers):
            raise click.UsageError("A '--header' is a name, a colon and a value.", given)
        options["headers"] = [(name, value.lstrip()) for name, _, value in headers]
    return options


class _RunCommand(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as e:
            import uvicorn

            if any(e.option_name in param.opts for param in uvicorn.main.params):
                raise click.UsageError(
                    f"'{e.option_name}' is an option of uvicorn. Write it after '--'.", e.ctx
                ) from None
            raise


@click.command("run", cls=_RunCommand, short_help="Serve the app, for development.")
@click.option("--host", "-h", default="127.0.0.1", help="The interface to listen on.")
@click.option("--port", "-p", default=5000, help="The port to listen on.")
@click.option(
    "--cert",
    type=CertParamType(),
    help="Serve HTTPS with this certificate: a file, 'adhoc', or the import of an SSLContext.",
    is_eager=True,
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    callback=_validate_key,
    expose_value=False,
    help="The file of the certificate's key.",
)
@click.option(
    "--reload/--no-reload",
    default=None,
    help="Restart when code changes. Default: in debug mode.",
)
@click.option(
    "--debugger/--no-debugger",
    default=None,
    help="Answer errors with the interactive debugger. Default: in debug mode.",
)
@click.option(
    "--livereload/--no-livereload",
    default=None,
    help="Reload pages in the browser when code, templates or static files change. Default: with"
    " '--reload'.",
)
@click.option(
    "--with-threads/--without-threads",
    default=True,
    help="Without effect: sync code always runs in threads.",
)
@click.option(
    "--extra-files",
    default=None,
    type=SeparatedPathType(),
    help=f"More files whose change counts, separated by {os.path.pathsep!r}.",
)
@click.option(
    "--exclude-patterns",
    default=None,
    type=SeparatedPathType(),
    help=(
        f"Files whose change does not count, as fnmatch patterns separated by {os.path.pathsep!r}."
    ),
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    help="How many processes serve. With more than one there is no reloader. Default: 1.",
)
@click.argument(
    "uvicorn_options",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[-- UVICORN_OPTIONS]",
    callback=_parse_uvicorn_options,
)
@pass_script_info
def run_command(
    info: ScriptInfo,
    host: str,
    port: int,
    reload: bool | None,
    debugger: bool | None,
    livereload: bool | None,
    with_threads: bool,
    cert: SSLSetting,
    extra_files: list[str] | None,
    exclude_patterns: list[str] | None,
    workers: int,
    uvicorn_options: dict[str, t.Any],
) -> None:
    """Serve the app on this machine, with uvicorn.

    For development: '--debug' turns on the reloader, for the browser's pages too, and the
    debugger. To deploy, run 'uvicorn module:app'.

    Uvicorn's options come after '--', as in 'asyncflask run -- --ws wsproto'. The list of
    them: 'asyncflask run -- --help'.
    """
    from .serving import CannotServe, failing_with, serve

    debug = get_debug_flag()
    debugger = debug if debugger is None else debugger
    app: t.Any
    try:
        app = info.load_app()
    except Exception as error:
        if not (debugger and is_running_from_reloader()):
            raise
        # The debugger shows it, and the page reloads when the error is mended.
        cause = error.__context__ if isinstance(error, NoAppException) else None
        app = failing_with(cause if isinstance(cause, Exception) else error)
    show_server_banner(debug, info.app_import_path)
    try:
        serve(
            app,
            host,
            port,
            reload=debug and workers == 1 if reload is None else reload,
            debugger=debugger,
            livereload=livereload,
            extra_files=extra_files,
            exclude_patterns=exclude_patterns,
            ssl=cert,
            workers=workers,
            load=info.load_app,
            **uvicorn_options,
        )
    except CannotServe as e:
        raise click.UsageError(str(e)) from e


run_command.params.insert(0, _debug_option)


# -- shell ----------------------------------------------------------------------------------


@click.command("shell", short_help="Open a Python shell for the app.")
@with_appcontext
def shell_command() -> None:
    """Open a Python shell in a context of the app, with the names that its shell context
    processors give."""
    app = current_app_ctx().app
    names: dict[str, t.Any] = {}

    startup = os.environ.get("PYTHONSTARTUP")  # as in Python's shell
    if startup and os.path.isfile(startup):
        with open(startup, "rb") as file:
            exec(compile(file.read(), startup, "exec"), names)
    names.update(app.make_shell_context())

    hook = getattr(sys, "__interactivehook__", None)
    if hook is not None:
        # Not at the top: both modules take hold of the terminal, and not every Python has them.
        readline = import_string("readline", silent=True)
        rlcompleter = import_string("rlcompleter", silent=True)
        if readline is not None and rlcompleter is not None:
            # By default it would complete the names of this program.
            readline.set_completer(rlcompleter.Completer(names).complete)
        hook()

    _Shell(names).interact(
        f"Python {sys.version} on {sys.platform}\n"
        f"App: {app.import_name}\n"
        f"Instance: {app.instance_path}\n"
        "'await' works here.",
        exitmsg="",
    )


class _Shell(code.InteractiveConsole):
    """Python's shell, with `await`, `async for` and `async with` at the top level.

    What awaits runs on the loop on which sync code has its coroutines run (`ensure_sync`,
    async commands), so both share what belongs to a loop; everything else, in this thread.
    """

    def __init__(self, names: dict[str, t.Any]) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def runcode(self, code: CodeType) -> None:
        """Called for each input that is complete."""
        if not code.co_flags & inspect.CO_COROUTINE:
            super().runcode(code)
            return
        try:
            wait(eval(code, self.locals))
        except SystemExit:
            raise
        except BaseException as e:
            # Not the frames that wait for the user's.
            tb = e.__traceback__
            while tb is not None and tb.tb_frame.f_code is not code:
                tb = tb.tb_next
            self._show(e.with_traceback(tb))

    def _show(self, error: BaseException) -> None:
        try:
            raise error
        except BaseException:
            self.showtraceback()


# -- routes ---------------------------------------------------------------------------------


@click.command("routes", short_help="List the routes of the app.")
@click.option(
    "--sort",
    "-s",
    type=click.Choice(("endpoint", "methods", "domain", "rule", "match")),
    default="endpoint",
    help="The column to sort by; 'match' is the order in which rules are tried.",
)
@click.option("--all-methods", is_flag=True, help="With HEAD and OPTIONS.")
@with_appcontext
def routes_command(sort: str, all_methods: bool) -> None:
    """List the routes: endpoint, methods, rule; and apps that are mounted."""
    app = current_app_ctx().app
    host_matching = app.url_map.host_matching
    mounts: tuple[Mount, ...] = tuple(getattr(app, "_mounts", ()))
    rows = [
        *(_mount_row(mount) for mount in mounts if mount.path),
        *(_rule_row(rule, host_matching, all_methods) for rule in app.url_map.iter_rules()),
        *(_mount_row(mount) for mount in mounts if not mount.path),  # asked after the routes
    ]
    if not rows:
        click.echo("No routes were registered.")
        return

    if sort in _COLUMNS:
        rows.sort(key=itemgetter(_COLUMNS.index(sort)))
    headers = ("Endpoint", "Methods", "Host" if host_matching else "Subdomain", "Rule")
    columns = list(zip(headers, *rows, strict=True))
    if not any(columns[_COLUMNS.index("domain")][1:]):
        del columns[_COLUMNS.index("domain")]
    widths = [max(map(len, column)) for column in columns]
    header, *lines = zip(*columns, strict=True)
    for line in (header, ["-" * width for width in widths], *lines):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


_COLUMNS: t.Final = ("endpoint", "methods", "domain", "rule")
_AUTOMATIC: t.Final = {"HEAD", "OPTIONS"}


def _rule_row(rule: Rule, host_matching: bool, all_methods: bool) -> tuple[str, str, str, str]:
    if rule.websocket:
        methods = "WEBSOCKET"
    else:
        shown = (rule.methods or set()) - (set() if all_methods else _AUTOMATIC)
        methods = ", ".join(sorted(shown))
    domain = rule.host if host_matching else rule.subdomain
    return str(rule.endpoint), methods, domain or "", rule.rule


def _mount_row(mount: Mount) -> tuple[str, str, str, str]:
    return mount.name or type(mount.app).__name__, "MOUNT", "", f"{mount.path}/..."


# -- the program ----------------------------------------------------------------------------


def _set_as_flask(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        install_as_flask()


_as_flask_option = click.Option(
    ["--as-flask"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_as_flask,
    help="Have 'import flask' give asyncflask, for an app and extensions written for Flask.",
)

cli = FlaskGroup(
    name="asyncflask",
    help="""\
Run an asyncflask application, or commands of it.

For one in 'hello.py': asyncflask --app hello run --debug

Name the application with '--app' or in the environment variable 'FLASK_APP', or have it in a
file 'wsgi.py' or 'app.py' in the current directory.
""",
)


cli.add_command(check_command)
cli.add_command(migrate_command)

# Behind the environment files, which may say it: FLASK_AS_FLASK=1.
cli.params.insert(cli.params.index(_env_file_option) + 1, _as_flask_option)


def as_flask() -> App:
    """The app that `FLASK_APP` names, or the one of `wsgi.py` or `app.py`, with `import flask`
    giving asyncflask. For a server that is to serve an app written for Flask:
    ``FLASK_APP=module uvicorn --factory asyncflask.cli:as_flask``.

    :raises SystemExit: if it cannot be loaded, after saying why.
    """
    from .serving import load_or_exit

    install_as_flask()
    info = ScriptInfo(os.environ.get("FLASK_APP"), set_debug_flag=False)
    return load_or_exit(info.load_app)


def main() -> None:
    """Run the program: the console script `asyncflask`."""
    cli.main()


if __name__ == "__main__":
    main()
