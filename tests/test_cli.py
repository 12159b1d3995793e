"""The command line: finding apps, the commands, and commands that are coroutines."""

from __future__ import annotations

import asyncio
import os
import platform
import ssl
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result
from starlette.routing import Router

from asyncflask import Blueprint, Flask, current_app, g, serving
from asyncflask import cli as cli_module
from asyncflask.cli import (
    AppGroup,
    FlaskGroup,
    NoAppException,
    ScriptInfo,
    find_app_by_string,
    find_best_app,
    load_dotenv,
    locate_app,
    prepare_import,
    run_command,
    with_appcontext,
)
from support.commands import CliRunner
from support.releases import older

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the commands set in the environment, and import, is gone after each test."""
    for name in ("FLASK_APP", "FLASK_DEBUG", "FLASK_RUN_FROM_CLI", "WERKZEUG_RUN_MAIN"):
        monkeypatch.delenv(name, raising=False)
    variables, path, modules = dict(os.environ), sys.path[:], set(sys.modules)
    yield
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:] = path
    for name in sys.modules.keys() - modules:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module into a folder that is the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def app() -> Flask:
    return Flask("cli_test", static_folder=None)


def invoke(app: Flask, *args: str) -> Result:
    return CliRunner().invoke(FlaskGroup(create_app=lambda: app), args)


def module(**names: Any) -> types.ModuleType:
    made = types.ModuleType("made")
    vars(made).update(names)
    return made


# -- finding the app ------------------------------------------------------------------------


def make(name: str = "made", *, suffix: str = "") -> Flask:
    return Flask(name + suffix)


def broken() -> Flask:
    raise TypeError("inside")


@pytest.mark.parametrize("name", ["app", "application", "anything", "create_app", "make_app"])
def test_find_best_app(name: str) -> None:
    thing: Any = make if name.endswith("_app") else make()
    assert find_best_app(module(**{name: thing, "other": 1})).name == "made"


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ({}, "'made:name'"),
        ({"one": make(), "two": make()}, "2 Flask apps"),
        ({"create_app": lambda needed: make()}, r"'made:create_app\(args\)'"),
        ({"create_app": lambda: "no app"}, "'made:name'"),
    ],
)
def test_no_best_app(names: dict[str, Any], hint: str) -> None:
    with pytest.raises(NoAppException, match=hint):
        find_best_app(module(**names))


def test_error_inside_of_a_factory_is_not_hidden() -> None:
    with pytest.raises(TypeError, match="inside"):
        find_best_app(module(create_app=broken))
    with pytest.raises(TypeError, match="inside"):
        find_app_by_string(module(create_app=broken), "create_app")


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("an_app", "made"),
        ("make", "made"),
        (" make () ", "made"),
        ("make('x')", "x"),
        ("make('x', suffix='y',)", "xy"),
    ],
)
def test_find_app_by_string(expression: str, name: str) -> None:
    assert find_app_by_string(module(an_app=make(), make=make), expression).name == name


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("missing", "no 'missing'"),
        ("number", "type 'int'"),
        ("make(", "must be a name, or a call"),
        ("make[0]", "must be a name, or a call"),
        ("made.make()", "must be a name, or a call"),
        ("make(number)", "literals"),
        ("make(1, 2)", "signature is"),
    ],
)
def test_no_app_by_string(expression: str, hint: str) -> None:
    with pytest.raises(NoAppException, match=hint):
        find_app_by_string(module(make=make, number=1), expression)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("plain.py", "plain"),
        ("plain", "plain"),
        ("plain.inner", "plain.inner"),
        ("package/__init__.py", "package"),
        ("package/inner.py", "package.inner"),
    ],
)
def test_prepare_import(write: Write, tmp_path: Path, path: str, name: str) -> None:
    write("package/__init__.py", "")
    assert prepare_import(path) == name
    assert sys.path[0] == str(tmp_path.resolve())


def test_locate_app(write: Write, tmp_path: Path) -> None:
    write("good.py", "from asyncflask import Flask\nthing = Flask('good')")
    write("bad.py", "import no_such_module")
    sys.path.insert(0, str(tmp_path))
    assert locate_app("good", None).name == locate_app("good", "thing").name == "good"
    with pytest.raises(NoAppException, match="Cannot find the module 'missing'"):
        locate_app("missing", None)
    assert locate_app("missing", None, raise_if_not_found=False) is None
    with pytest.raises(NoAppException, match=r"(?s)import of 'bad' failed.*no_such_module"):
        locate_app("bad", None, raise_if_not_found=False)


@pytest.mark.parametrize("file", ["wsgi.py", "app.py"])
def test_script_info_looks_around(write: Write, file: str) -> None:
    with pytest.raises(NoAppException, match="'FLASK_APP'"):
        ScriptInfo().load_app()
    write(file, "from asyncflask import Flask\napp = Flask('around')")
    info = ScriptInfo()
    assert info.load_app().name == "around"
    assert info.load_app() is info.load_app()


@pytest.mark.parametrize("path", ["pkg.web", "pkg/web.py", "pkg/web.py:create('x')"])
def test_script_info_by_path(write: Write, path: str) -> None:
    write("pkg/__init__.py", "")
    write(
        "pkg/web.py",
        """
        from asyncflask import Flask
        app = Flask("x")
        def create(name): return Flask(name)
        """,
    )
    assert ScriptInfo(path).load_app().name == "x"


@pytest.mark.parametrize("set_debug_flag", [True, False])
def test_debug_flag(monkeypatch: pytest.MonkeyPatch, app: Flask, set_debug_flag: bool) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert not app.debug
    info = ScriptInfo(create_app=lambda: app, set_debug_flag=set_debug_flag)
    assert info.load_app().debug is set_debug_flag


# -- commands in an app context -------------------------------------------------------------


def test_command_has_the_context(app: Flask) -> None:
    torn_down: list[BaseException | None] = []
    app.teardown_appcontext(torn_down.append)

    @app.cli.command()
    @click.argument("value", callback=lambda ctx, param, value: current_app.name + value)
    def show(value: str) -> None:
        click.echo(f"{current_app.name} {value}")

    assert invoke(app, "show", "!").output == "cli_test cli_test!\n"
    assert torn_down == [None]


def test_command_without_the_context(app: Flask) -> None:
    group = AppGroup()

    @group.command("show", with_appcontext=False)
    async def show() -> None:
        click.echo(bool(current_app))

    assert CliRunner().invoke(group, ["show"], obj=ScriptInfo(create_app=None)).output == "False\n"


def test_async_command(app: Flask) -> None:
    @app.cli.command()
    @click.option("--times", default=1)
    async def work(times: int) -> None:
        g.done = 0
        for _ in range(times):
            await asyncio.sleep(0)
            g.done += 1
        context = click.get_current_context()
        click.echo(f"{context.info_name} {current_app.name} {g.done}")

    assert invoke(app, "work", "--times", "3").output == "work cli_test 3\n"
    assert work.name == "work"


def test_async_command_with_click_context(app: Flask) -> None:
    @app.cli.command()
    @click.pass_context
    async def leave(ctx: click.Context) -> None:
        ctx.exit(7)

    assert invoke(app, "leave").exit_code == 7


def test_async_command_fails(app: Flask) -> None:
    @app.cli.command()
    async def fail() -> None:
        raise LookupError("on purpose")

    assert isinstance(invoke(app, "fail").exception, LookupError)


def test_with_appcontext_on_an_async_function(app: Flask) -> None:
    @click.command()
    @with_appcontext
    async def show() -> str:
        return current_app.name

    info = ScriptInfo(create_app=lambda: app)
    assert CliRunner().invoke(show, obj=info, standalone_mode=False).return_value == "cli_test"


def test_groups(app: Flask) -> None:
    @app.cli.group()
    async def outer() -> None:
        click.echo("outer")

    @outer.command
    def inner() -> None:
        click.echo(current_app.name)

    @app.cli.group
    def bare() -> None: ...

    assert isinstance(outer, AppGroup)
    assert isinstance(bare, AppGroup)
    assert invoke(app, "outer", "inner").output == "outer\ncli_test\n"


def test_program_in_a_program(app: Flask) -> None:
    app.cli.command("show")(lambda: click.echo(current_app.name))
    outer = click.Group()
    outer.add_command(FlaskGroup(name="web", create_app=lambda: app))
    assert CliRunner().invoke(outer, ["web", "show"]).output == "cli_test\n"


def test_blueprint_command(app: Flask) -> None:
    bp = Blueprint("bp", __name__)

    @bp.cli.command()
    async def show() -> None:
        click.echo(current_app.name)

    app.register_blueprint(bp)
    assert app.test_cli_runner().invoke(args=["bp", "show"]).output == "cli_test\n"


# -- the program ----------------------------------------------------------------------------


def test_version() -> None:
    output = CliRunner().invoke(cli_module.cli, ["--version"]).output
    assert f"Python {platform.python_version()}" in output
    assert "asyncflask 0." in output
    assert "Flask 3.1.3" in output
    assert "Werkzeug 3." in output


@pytest.mark.parametrize("args", [["--help"], ["missing"]])
def test_app_that_cannot_be_loaded(write: Write, args: list[str]) -> None:
    result = CliRunner().invoke(cli_module.cli, args)
    assert "FLASK_APP" in result.stderr
    assert "Usage:" in result.stdout + result.stderr

    def create_app() -> Flask:
        raise LookupError("oh no")

    result = CliRunner().invoke(FlaskGroup(create_app=create_app), ["--help"])
    assert result.exit_code == 0
    assert "LookupError: oh no" in result.stderr


def test_help_has_the_apps_commands(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        "web.py",
        """
        from asyncflask import Flask
        app = Flask("web")
        @app.cli.command()
        def special(): "What it does."
        """,
    )
    for args in (["--app", "web", "--help"], ["--app", "web", "special", "--help"]):
        assert "What it does." in CliRunner().invoke(cli_module.cli, args).output
    monkeypatch.setenv("FLASK_APP", "web")
    assert "What it does." in CliRunner().invoke(cli_module.cli, []).output


def test_debug_option(app: Flask) -> None:
    app.cli.command("show")(lambda: click.echo(current_app.debug))
    assert invoke(app, "--debug", "show").output == "True\n"
    assert os.environ["FLASK_DEBUG"] == "1"
    assert invoke(app, "--no-debug", "show").output == "False\n"


def test_package_command_that_cannot_be_imported(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("fancy", "no_such_package.cli:fancy", "flask.commands")
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group, name=entry.name: [entry] if name == entry.name else [],
    )
    for args in (["--help"], ["fancy"]):
        stderr = invoke(app, *args).stderr
        assert "No command 'fancy': No module named 'no_such_package'\n" in stderr
    assert invoke(app, "routes").stderr == ""  # not looked for


def test_error_in_loading_the_app_is_raised_for_its_commands() -> None:
    def create_app() -> Flask:
        raise LookupError("oh no")

    with pytest.raises(LookupError, match="oh no"):
        CliRunner().invoke(FlaskGroup(create_app=create_app), ["show"], catch_exceptions=False)


def test_as_a_module(write: Write) -> None:
    write("app.py", "from asyncflask import Flask\napp = Flask('x', static_folder=None)")
    result = subprocess.run(
        [sys.executable, "-m", "asyncflask", "routes"], capture_output=True, text=True
    )
    assert result.stdout == "No routes were registered.\n"


# -- environment files ----------------------------------------------------------------------


def test_load_dotenv(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(".flaskenv", "A=flaskenv\nB=flaskenv\nC=flaskenv\nD=flaskenv")
    write(".env", "A=env\nB=env\nC=env")
    given = write("given", "A=given\nB=given\nE=火腿")
    monkeypatch.setenv("A", "set")
    assert load_dotenv(given)
    assert [os.environ[name] for name in "ABCDE"] == ["set", "given", "env", "flaskenv", "火腿"]


def test_load_dotenv_only_what_is_given(write: Write) -> None:
    write(".env", "A=env")
    assert load_dotenv(write("given", "B=given"), load_defaults=False)
    assert not load_dotenv("missing", load_defaults=False)
    assert "A" not in os.environ
    assert os.environ["B"] == "given"


def test_env_file_option(write: Write, app: Flask) -> None:
    write("given", "A=given")
    app.cli.command("show")(lambda: click.echo(os.environ["A"]))
    assert invoke(app, "--env-file", "given", "show").output == "given\n"


def test_without_dotenv(
    write: Write, app: Flask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    write(".env", "A=env")
    assert not load_dotenv()
    assert "install python-dotenv" in capsys.readouterr().err
    result = invoke(app, "--env-file", ".env", "routes")
    assert result.exit_code == 2
    assert "pip install python-dotenv" in result.stderr


# -- run ------------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(serving, "serve", lambda *args, **kwargs: calls.append((args, kwargs)))
    return calls


def test_run(app: Flask, served: list[Any]) -> None:
    result = invoke(app, "run", "-h", "::1", "-p", "80", "--no-debugger", "--debug")
    assert "Debug mode: on" in result.output
    [(args, options)] = served
    assert args == (app, "::1", 80)
    assert options == {
        "reload": True,
        "debugger": False,
        "livereload": None,
        "extra_files": None,
        "exclude_patterns": None,
        "ssl": None,
        "workers": 1,
        "load": options["load"],
    }
    assert options["load"]() is app


def test_run_by_the_environment(
    app: Flask, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_RUN_PORT", "81")
    monkeypatch.setenv("FLASK_RUN_EXTRA_FILES", os.pathsep.join(("a", "b")))
    invoke(app, "run", "--exclude-patterns", "c")
    [(args, options)] = served
    assert args == (app, "127.0.0.1", 81)
    assert (options["reload"], options["debugger"]) == (False, False)
    assert (options["extra_files"], options["exclude_patterns"]) == (["a", "b"], ["c"])


@pytest.mark.parametrize(
    ("args", "reload"), [((), True), (("--workers", "2"), False), (("--no-reload",), False)]
)
def test_run_in_debug_mode_reloads(
    app: Flask, served: list[Any], args: tuple[str, ...], reload: bool
) -> None:
    invoke(app, "run", "--debug", *args)
    assert served[0][1]["reload"] is reload


def test_run_without_reloading_pages(app: Flask, served: list[Any]) -> None:
    invoke(app, "run", "--debug", "--no-livereload")
    assert served[0][1]["livereload"] is False


def test_run_with_options_of_uvicorn(
    app: Flask, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UVICORN_BACKLOG", "7")  # is for uvicorn's own command
    args = ("--ws", "wsproto", "--limit-concurrency", "9", "--no-access-log")
    result = invoke(app, "run", "-p", "80", "--", *args, "--header", "A: b", "--header", "C:")
    assert result.exit_code == 0, result.output
    [(_, options)] = served
    assert {
        "ws": "wsproto",
        "limit_concurrency": 9,
        "access_log": False,
        "headers": [("A", "b"), ("C", "")],
    }.items() <= options.items()
    assert "backlog" not in options
    assert "host" not in options


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["--", "--wss"], "No such option"),
        (["--", "--host", "x"], "Write '--host' before it"),
        (["--", "--app-dir", "x"], "Write 'asyncflask --app' with a path before it"),
        (["--", "--interface", "wsgi"], "'--interface' is not allowed after the '--'.\n"),
        (["--", "--backlog", "x"], "'x' is not a valid integer"),
        (["--", "--header", "x"], "a name, a colon and a value"),
        (["--ws", "wsproto"], "is an option of uvicorn. Write it after '--'"),
        (["--wss"], "No such option"),
        (["x"], "unexpected extra argument"),
        (["--workers", "0"], "'--workers'"),
        (["--workers", "2", "--reload"], "The reloader works with one process"),
        (["--", "--ws", "nosuch:Protocol"], "nosuch"),
    ],
)
def test_run_with_options_that_cannot_be(write: Write, args: list[str], hint: str) -> None:
    write("app.py", "from asyncflask import Flask\napp = Flask('x')")
    result = CliRunner().invoke(cli_module.cli, ["run", *args])
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert hint in result.stderr


def test_run_shows_the_options_of_uvicorn() -> None:
    result = CliRunner().invoke(cli_module.cli, ["run", "--", "--help"])
    assert result.exit_code == 0
    assert "--limit-concurrency" in result.output
    assert "--host" not in result.output


def test_banner_is_shown_once(
    app: Flask, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    assert invoke(app, "run").output == ""


@pytest.mark.parametrize(
    "args", [["--cert", __file__], ["--key", __file__], ["--cert", "no.such"]]
)
def test_run_with_half_a_certificate(args: list[str]) -> None:
    with pytest.raises(click.BadParameter):
        run_command.make_context("run", args)


def test_run_with_a_certificate() -> None:
    for args in (["--cert", __file__, "--key", __file__], ["--key", __file__, "--cert", __file__]):
        context = run_command.make_context("run", args)
        assert context.params["cert"] == (__file__, __file__)


def test_run_with_an_ssl_context(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setitem(sys.modules, "settings", module(Context=context))
    params = run_command.make_context("run", ["--cert", "settings:Context"]).params
    assert params["cert"] is context
    with pytest.raises(click.BadParameter, match="SSLContext"):
        run_command.make_context("run", ["--cert", "settings:Context", "--key", __file__])


def test_run_with_an_adhoc_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(click.BadParameter, match="pip install"):
        run_command.make_context("run", ["--cert", "adhoc"])
    monkeypatch.setitem(sys.modules, "cryptography", module())
    assert run_command.make_context("run", ["--cert", "adhoc"]).params["cert"] == "adhoc"
    with pytest.raises(click.BadParameter, match="Not needed"):
        run_command.make_context("run", ["--cert", "adhoc", "--key", __file__])


# -- shell ----------------------------------------------------------------------------------


def test_shell(write: Write, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", str(write("startup.py", "started = True")))
    # Python 3.13's own console keeps a file open for the rest of the process.
    monkeypatch.delattr(sys, "__interactivehook__", raising=False)
    app.shell_context_processor(lambda: {"answer": 42})
    result = CliRunner().invoke(
        FlaskGroup(create_app=lambda: app), ["shell"], input="print(answer, started, app.name)\n"
    )
    assert "42 True cli_test" in result.output
    assert f"Instance: {app.instance_path}" in result.stdout + result.stderr


# -- routes ---------------------------------------------------------------------------------


def view() -> str:
    return ""


@pytest.fixture
def routes(app: Flask) -> Flask:
    app.add_url_rule("/b/<x>", "one", view, methods=["POST"])
    app.add_url_rule("/a", "two", view)
    app.websocket("/c", endpoint="three")(view)
    return app


def test_routes(routes: Flask) -> None:
    assert [line.rstrip() for line in invoke(routes, "routes").output.splitlines()] == [
        "Endpoint  Methods    Rule",
        "--------  ---------  ------",
        "one       POST       /b/<x>",
        "three     WEBSOCKET  /c",
        "two       GET        /a",
    ]
    assert "GET, HEAD, OPTIONS" in invoke(routes, "routes", "--all-methods").output


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("methods", "two one three"),
        ("rule", "two one three"),
        ("domain", "one two three"),  # there are none: as they are tried
        ("match", "one two three"),
    ],
)
def test_routes_sorted(routes: Flask, sort: str, order: str) -> None:
    lines = invoke(routes, "routes", "-s", sort).output.splitlines()[2:]
    assert [line.split()[0] for line in lines] == order.split()


def test_routes_with_mounted_apps(routes: Flask) -> None:
    routes.mount("/", Router())
    routes.mount("/m", Router(), name="mounted")
    lines = invoke(routes, "routes", "-s", "match").output.splitlines()[2:]
    assert [line.split() for line in (lines[0], lines[-1])] == [
        ["mounted", "MOUNT", "/m/..."],
        ["Router", "MOUNT", "/..."],
    ]
    lines = invoke(routes, "routes").output.splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["Router", "mounted", "one", "three", "two"]


@pytest.mark.parametrize(("host_matching", "header"), [(False, "Subdomain"), (True, "Host")])
def test_routes_of_domains(host_matching: bool, header: str) -> None:
    app = Flask("cli_test", static_folder=None, host_matching=host_matching)
    for endpoint, name in (("b", "x"), ("a", "y")):
        domain: Any = {"host" if host_matching else "subdomain": name}
        app.add_url_rule("/", endpoint, view, **domain)
    lines = invoke(app, "routes", "-s", "domain").output.splitlines()
    assert lines[0].split() == ["Endpoint", "Methods", header, "Rule"]
    assert [line.split()[0] for line in lines[2:]] == ["b", "a"]


def test_no_routes(app: Flask) -> None:
    assert invoke(app, "routes").output == "No routes were registered.\n"


@pytest.mark.skipif(
    older("click", 8, 2), reason="The CliRunner of older releases does not keep what is said."
)
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["run", "--as-flask"],
            "Error: The option '--as-flask' belongs before the command: write 'asyncflask"
            " --as-flask"
            " run'.",
        ),
        (
            ["routes", "--app", "hello"],
            "Error: The option '--app' belongs before the command: write 'asyncflask --app ..."
            " routes'.",
        ),
    ],
)
def test_an_option_behind_the_command(args: list[str], message: str) -> None:
    result = CliRunner().invoke(cli_module.cli, args)
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == message
