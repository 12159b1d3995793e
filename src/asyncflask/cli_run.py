"""The command `asyncflask run`: its options, and those it passes to uvicorn. `serving.py`,
imported with uvicorn on use, does the serving."""

from __future__ import annotations

import os
import typing as t
from ssl import SSLContext

import click
from click.core import ParameterSource
from werkzeug.serving import is_running_from_reloader
from werkzeug.utils import import_string

from .commands import NoAppException, ScriptInfo, pass_script_info
from .helpers import get_debug_flag

if t.TYPE_CHECKING:
    from .serving import SSLSetting


def show_server_banner(debug: bool, app_import_path: str | None) -> None:
    """Print what is served, once, not at every reload."""
    if is_running_from_reloader():
        return
    if app_import_path is not None:
        click.echo(f" * Serving asyncflask app '{app_import_path}'")
    if debug is not None:
        click.echo(f" * Debug mode: {'on' if debug else 'off'}")


class CertParamType(click.Path):
    """The option `--cert`: a file, `adhoc`, or the import name of an `ssl.SSLContext`."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, resolve_path=True)

    def convert(
        self, value: t.Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> t.Any:
        """Convert the value. Raises `click.BadParameter` if it is none of these."""
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
    """Combine `--cert` and `--key` into one pair, if `--cert` is a file."""
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
        raise click.BadParameter('It needs a "--cert", which is missing.', ctx, param)
    return value


class SeparatedPathType(click.Path):
    """An option with a list of paths, separated as in `PATH` (`:`, on Windows `;`)."""

    def convert(
        self, value: t.Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> t.Any:
        """Convert the value. Raises `click.BadParameter` if one of the paths is invalid."""
        convert = super().convert  # `super()` does not work in a comprehension before 3.12.
        return [convert(item, param, ctx) for item in self.split_envvar_value(value)]


# Options of uvicorn's command that `run` has itself, and what to write instead.
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
    "factory": "'asyncflask --app', which supports factories,",
    "interface": "",
    "version": "'asyncflask --version'",
}


def _parse_uvicorn_options(
    ctx: click.Context, param: click.Parameter, args: tuple[str, ...]
) -> dict[str, t.Any]:
    """Parse options for `uvicorn.Config`, as uvicorn's command does."""
    import uvicorn

    params = [param for param in uvicorn.main.params if param.name not in _NOT_AFTER_DASHES]
    command = click.Command("uvicorn", params=params, help="Options that 'run' passes to uvicorn.")
    try:
        given = command.make_context(f"{ctx.command_path} --", list(args))
    except click.NoSuchOption as e:
        for known in uvicorn.main.params:
            if e.option_name in known.opts:
                instead = _NOT_AFTER_DASHES[known.name or ""]
                hint = f" Write {instead} before it." if instead else ""
                raise click.UsageError(
                    f"'{e.option_name}' is not allowed after the '--'.{hint}", e.ctx
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
            raise click.UsageError("A '--header' must be a name, a colon and a value.", given)
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
    help="Serve HTTPS with this certificate: a file, 'adhoc', or an SSLContext's import name.",
    is_eager=True,
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    callback=_validate_key,
    expose_value=False,
    help="The file with the certificate's key.",
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
    help="No effect: sync code always runs in threads.",
)
@click.option(
    "--extra-files",
    default=None,
    type=SeparatedPathType(),
    help=f"More files to watch, separated by {os.path.pathsep!r}.",
)
@click.option(
    "--exclude-patterns",
    default=None,
    type=SeparatedPathType(),
    help=(f"Files not to watch, as fnmatch patterns separated by {os.path.pathsep!r}."),
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    help="The number of processes. With more than one, there is no reloader. Default: 1.",
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
    """Serve the app with uvicorn, for development.

    '--debug' enables the debugger and restarts the server, and reloads pages in the browser,
    when files change. To deploy, run 'uvicorn module:app'.

    Put uvicorn's own options after '--', as in 'asyncflask run -- --ws wsproto'. To list them,
    run 'asyncflask run -- --help'.
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
        # The debugger shows it, and the page reloads when the error is fixed.
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
