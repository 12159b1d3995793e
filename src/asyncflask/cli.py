"""The command line: the program `asyncflask`, its options and environment files.

The environment variables are Flask's (`FLASK_APP`, `FLASK_DEBUG`, `FLASK_RUN_PORT`, ...).
`commands.py` finds the app; the commands are in `cli_run.py`, `cli_shell.py`, `cli_routes.py`,
`check.py` and `migrate/`. This module has all names of Flask's `cli` module.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import traceback
import typing as t
from collections.abc import Callable
from contextlib import ExitStack

import click
from click.core import ParameterSource
from werkzeug.utils import import_string

from ._version import FLASK_VERSION, __version__
from .alias import install_as_flask, users_of_flask
from .check import check_command
from .cli_routes import routes_command as routes_command
from .cli_run import CertParamType as CertParamType
from .cli_run import SeparatedPathType as SeparatedPathType
from .cli_run import run_command as run_command
from .cli_run import show_server_banner as show_server_banner
from .cli_shell import shell_command as shell_command
from .commands import AppGroup as AppGroup
from .commands import NoAppException as NoAppException
from .commands import ScriptInfo as ScriptInfo
from .commands import find_app_by_string as find_app_by_string
from .commands import find_best_app as find_best_app
from .commands import locate_app as locate_app
from .commands import pass_script_info as pass_script_info
from .commands import prepare_import as prepare_import
from .commands import with_appcontext as with_appcontext
from .ctx import _cv_app
from .migrate import migrate_command
from .sansio.app import App

if t.TYPE_CHECKING:
    pass

PLUGINS: t.Final = "flask.commands"
"""The entry point group for commands, the same as for Flask's program."""


# -- the options of the program -------------------------------------------------------------


def get_version(ctx: click.Context, param: click.Parameter, value: t.Any) -> None:
    """Print the versions and exit: the callback of `--version`."""
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


# Eager, so that the app's commands are in the help. `--help` is eager too, but this option
# comes first in the list. For no arguments at all, see `FlaskGroup.parse_args`.
_app_option = click.Option(
    ["-A", "--app"],
    metavar="IMPORT",
    help=(
        "The app or its factory: 'module:name', 'module:name(args)' or a file. Without a name,"
        " 'app', 'application', 'create_app' and 'make_app' are tried."
    ),
    is_eager=True,
    expose_value=False,
    callback=_set_app,
)


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> bool | None:
    source = ctx.get_parameter_source(param.name) if param.name else None
    if source in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP):
        return None  # not given: the environment variable applies
    # In the environment, so that a factory sees it.
    os.environ["FLASK_DEBUG"] = "1" if value else "0"
    return value


_debug_option = click.Option(
    ["--debug/--no-debug"],
    help="Turn debug mode on or off.",
    expose_value=False,
    callback=_set_debug,
)


def _set_lifespan(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(ScriptInfo).lifespan = True


_lifespan_option = click.Option(
    ["--lifespan"],
    is_flag=True,
    expose_value=False,
    callback=_set_lifespan,
    help="Start the app before the command, as a server does, and stop it afterwards.",
)


def _dotenv() -> t.Any:
    """Return the package python-dotenv, or `None`. Imported on use: it may be absent."""
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


# Eager and first, so that the file can contain the other options.
_env_file_option = click.Option(
    ["-e", "--env-file"],
    type=click.Path(exists=True, dir_okay=False),
    help=(
        "Set environment variables from this file, which takes precedence over '.env' and"
        " '.flaskenv'. Variables that are already set are kept. Needs python-dotenv."
    ),
    is_eager=True,
    expose_value=False,
    callback=_env_file_callback,
)


class FlaskGroup(AppGroup):
    """A program for one app, with the built-in commands, the app's, and those of installed
    packages (entry points in the group `flask.commands`).

    :param add_default_commands: include `run`, `shell` and `routes`. Default: `True`.
    :param create_app: a function that returns the app, called without arguments instead of
        `--app`.
    :param add_version_option: include `--version`. Default: `True`.
    :param load_dotenv: load `.env` and `.flaskenv`. Default: `True`.
    :param set_debug_flag: set the app's `debug` from `FLASK_DEBUG`. Default: `True`.
    :param extra: passed to `click.Group`.
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
        # Options with callbacks, not parameters of the group: those are left to users.
        params: list[click.Parameter] = list(extra.pop("params", None) or ())
        params += (_env_file_option, _app_option, _debug_option, _lifespan_option)
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
        """Add an installed package's command, or print why it cannot work here."""
        package = entry.module.partition(".")[0]
        try:
            command = entry.load()
        except ImportError as e:
            why, for_flask = str(e), (e.name or "").partition(".")[0] == "flask"
        else:
            why = f"{package!r} uses the real Flask, which does not know this app."
            for_flask = any(user.partition(".")[0] == package for user in users_of_flask())
            if not for_flask:
                self.add_command(command, entry.name)
                return
        if for_flask:
            why += " Write 'asyncflask --as-flask' to make it use asyncflask."
        click.secho(f"No command '{entry.name}': {why}", err=True, fg="yellow")

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command: a package's, otherwise the program's, otherwise the app's, in its
        context."""
        plugins: tuple[importlib.metadata.EntryPoint, ...] = ()
        if not self._loaded_plugin_commands:
            plugins = tuple(importlib.metadata.entry_points(group=PLUGINS, name=name))
        if not plugins:
            command = super().get_command(ctx, name)
            if command is not None:  # these exist even without an app
                return command

        # The app is loaded first: it may make packages import asyncflask as flask.
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
        # Before the command's parameters are parsed, so that their callbacks can use it.
        current = _cv_app.get(None)
        if current is None or current.app is not app:
            info = ctx.ensure_object(ScriptInfo)
            info._after_context = ctx.with_resource(ExitStack())
            ctx.with_resource(app.app_context())
        found: click.Command | None = app.cli.get_command(ctx, name)
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands. If the app cannot be loaded, print the error."""
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
        """Like Click's, with a `ScriptInfo` as `obj`."""
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
        """Run the command. If one of this group's options comes after the command, raise an
        error that says where it belongs."""
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
        """Like Click's. For the help, load the app, which the environment may name."""
        no_args = not args and self.no_args_is_help
        if no_args or (len(args) == 1 and args[0] in self.get_help_option_names(ctx)):
            _env_file_option.handle_parse_result(ctx, {}, [])
            _app_option.handle_parse_result(ctx, {}, [])
        try:
            return super().parse_args(ctx, args)
        except click.ClickException:
            ctx.close()  # Click does not, and the help entered an app context
            raise


def load_dotenv(path: str | os.PathLike[str] | None = None, load_defaults: bool = True) -> bool:
    """Set environment variables from files: the nearest `.env` and `.flaskenv` from the working
    directory upwards. *path* takes precedence over `.env`, which takes precedence over
    `.flaskenv`. Variables that are already set are not changed. The files are UTF-8.

    :param path: an additional file.
    :param load_defaults: `False` to load only *path*. Default: `True`.
    :return: `True` if there were variables. `False` without python-dotenv.
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
    help="Make 'import flask' import asyncflask, for an app and extensions written for Flask.",
)

run_command.params.insert(0, _debug_option)

cli = FlaskGroup(
    name="asyncflask",
    help="""\
Run an asyncflask app, or one of its commands.

For an app in 'hello.py': asyncflask --app hello run --debug

Name the app with '--app' or the environment variable 'FLASK_APP', or put it in 'wsgi.py' or
'app.py' in the current directory.
""",
)

cli.add_command(check_command)
cli.add_command(migrate_command)

# After the environment files, which may contain FLASK_AS_FLASK=1.
cli.params.insert(cli.params.index(_env_file_option) + 1, _as_flask_option)


def as_flask() -> App:
    """Return the app named by `FLASK_APP`, or the one in `wsgi.py` or `app.py`, with `import
    flask` resolving to asyncflask. Use it to serve an app written for Flask: ``FLASK_APP=module
    uvicorn --factory asyncflask.cli:as_flask``.

    :raises SystemExit: if the app cannot be loaded, after printing why.
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
