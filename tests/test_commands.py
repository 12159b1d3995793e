"""Commands of apps: hints for an app that is not found, and commands that start the app."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from asyncflask import Blueprint, Flask, g
from asyncflask.cli import (
    FlaskGroup,
    NoAppException,
    ScriptInfo,
    pass_script_info,
    with_appcontext,
)
from support.commands import CliRunner

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def imports() -> Iterator[None]:
    """What is imported is gone after each test."""
    path, modules = sys.path[:], set(sys.modules)
    yield
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


# -- an app that is not found -----------------------------------------------------------------


def not_found(path: str) -> str:
    """What is said of an app that is not at *path*."""
    with pytest.raises(NoAppException) as caught:
        ScriptInfo(path).load_app()
    return caught.value.message


SHOP = """
    from asyncflask import Flask

    class Shop(Flask):
        pass

    shop = Shop(__name__)
    site = Flask("site")

    @shop.get("/sop")
    def sop():
        return "a view"

    def create_shop():
        return Shop("made")

    def create_later():
        from asyncflask import Flask
        return Flask("later")
"""


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sho", "Did you mean 'shops:shop'?"),
        ("create_shp", "Did you mean 'shops:create_shop'?"),
        ("creat_later()", "Did you mean 'shops:create_later'?"),
        (
            "nothing",
            "It has: 'shops:shop', 'shops:site', 'shops:create_shop', 'shops:create_later'.",
        ),
    ],
)
def test_misspelt_names_are_those_of_apps_and_factories(
    write: Write, name: str, hint: str
) -> None:
    write("shops.py", SHOP)
    assert not_found(f"shops:{name}").endswith(hint)


def test_names_of_views_are_not_suggested(write: Write) -> None:
    write("shops.py", "def index():\n    return 'a view of a blueprint'\n")
    assert not_found("shops:indx") == (
        "The module 'shops' has no 'indx'. It has no Flask app or factory at all."
    )


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("shps", "Did you mean 'shops'?"),
        ("shps:shop", "Did you mean 'shops'?"),
        ("stores.sops", "Did you mean 'stores.shops'?"),
        ("store", "Did you mean 'stores'?"),
        ("shops.shop", "Did you mean 'shops:shop'?"),
        ("shops.sop", "on Python's path."),
        ("zzz", "For 'app.py', leave out '--app'."),
    ],
)
def test_misspelt_modules(write: Write, path: str, hint: str) -> None:
    write("shops.py", SHOP)
    write("app.py", "")
    write("stores/__init__.py", "")
    write("stores/shops.py", SHOP)
    assert not_found(path).endswith(hint)


# -- commands for which the app is started ----------------------------------------------------


class Pool:
    """What the hooks of `app` open."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @property
    def is_open(self) -> bool:
        return self.events.count("open") > self.events.count("close")


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def app(pool: Pool) -> Flask:
    """Its lifespan opens the pool; every app context has used it."""

    @asynccontextmanager
    async def lifespan(app: Flask) -> AsyncIterator[dict[str, Any]]:
        pool.events.append("open")
        try:
            yield {"pool": pool}
        finally:
            pool.events.append("close")

    app = Flask("commands", static_folder=None, lifespan=lifespan)
    app.teardown_appcontext(lambda error: pool.events.append("teardown"))

    @app.cli.command(lifespan=True)
    async def use() -> None:
        pool.events.append("use" if pool.is_open else "closed")

    @app.cli.command()
    def plain() -> None:
        pool.events.append("use" if pool.is_open else "closed")

    return app


def invoke(app: Flask, *args: str, **options: Any) -> Result:
    return CliRunner().invoke(FlaskGroup(create_app=lambda: app), args, **options)


ENDED = ["teardown", "close", "teardown"]
"""The context of the command, the pool, the context of the lifespan."""

STARTED = ["open", "use", *ENDED]


def test_command_for_which_the_app_is_started(app: Flask, pool: Pool) -> None:
    assert invoke(app, "use").exit_code == 0
    assert pool.events == STARTED


def test_other_commands_do_not_start_the_app(app: Flask, pool: Pool) -> None:
    assert invoke(app, "plain").exit_code == 0
    assert pool.events == ["closed", "teardown"]


def test_option_starts_the_app_for_any_command(app: Flask, pool: Pool) -> None:
    for command in "plain", "use":
        pool.events.clear()
        assert invoke(app, "--lifespan", command).exit_code == 0
        assert pool.events == STARTED


def test_option_starts_the_app_for_the_shell(
    app: Flask, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sys, "__interactivehook__", raising=False)  # keeps the terminal open
    app.shell_context_processor(lambda: {"pool": pool})
    assert invoke(app, "--lifespan", "shell", input="pool.events.append('use')").exit_code == 0
    assert pool.events == STARTED


@pytest.mark.parametrize("group", ["blueprint", "nested", "click"])
def test_commands_everywhere(app: Flask, pool: Pool, group: str) -> None:
    def command() -> None:
        pool.events.append("use" if pool.is_open else "closed")

    if group == "blueprint":
        blueprint = Blueprint("things", __name__)
        blueprint.cli.command("do", lifespan=True)(command)
        app.register_blueprint(blueprint)
    elif group == "nested":
        app.cli.group("things")(lambda: None).command("do", lifespan=True)(command)
    else:
        things = click.Group("things")
        things.command("do")(with_appcontext(lifespan=True)(command))
        app.cli.add_command(things)
    result = invoke(app, "things", "do")
    assert (result.exit_code, pool.events) == (0, STARTED), result.output


def test_command_that_is_not_the_apps(app: Flask, pool: Pool) -> None:
    @click.command()
    @with_appcontext(lifespan=True)
    async def command() -> None:
        pool.events.append("use" if pool.is_open else "closed")

    CliRunner().invoke(command, obj=ScriptInfo(create_app=lambda: app), catch_exceptions=False)
    assert pool.events == STARTED


def test_context_of_the_options_is_that_of_the_command(app: Flask, pool: Pool) -> None:
    def callback(ctx: click.Context, param: click.Parameter, value: str) -> str:
        g.value = value
        return value

    @app.cli.command(lifespan=True)
    @click.option("--value", callback=callback)
    async def show(value: str) -> None:
        click.echo(g.value)

    assert invoke(app, "show", "--value", "x").output == "x\n"


def test_state(app: Flask, pool: Pool) -> None:
    @app.cli.command(lifespan=True)
    @pass_script_info
    async def state(info: ScriptInfo) -> None:
        assert info.lifespan_state == {"pool": pool}

    for result in (
        invoke(app, "state"),
        app.test_cli_runner().invoke(args=["state"]),
        app.test_cli_runner(lifespan=True).invoke(args=["state"]),
    ):
        assert result.exit_code == 0, result.exception


def test_app_that_is_started_already_is_not_started_again(app: Flask, pool: Pool) -> None:
    assert app.test_cli_runner(lifespan=True).invoke(args=["use"]).exit_code == 0
    assert pool.events == STARTED
    pool.events.clear()
    with app.test_client(lifespan=True):
        assert invoke(app, "use").exit_code == 0
        assert pool.events == ["open", "use", "teardown"]


def test_app_that_cannot_be_started(app: Flask, pool: Pool) -> None:
    @app.before_serving
    async def connect() -> None:
        raise ConnectionError("no database")

    result = invoke(app, "use")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The app could not be started:\n\nTraceback")
    assert result.stderr.endswith("ConnectionError: no database\n\n")
    assert "use" not in pool.events


def test_app_that_cannot_be_stopped(app: Flask) -> None:
    app.after_serving(lambda: 1 / 0)
    result = invoke(app, "use")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The app could not be stopped:\n\nTraceback")
    assert "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize("stops", [True, False])
def test_command_that_fails(app: Flask, pool: Pool, stops: bool) -> None:
    """Its error is what is seen, and not that of the shutdown."""
    if not stops:
        app.after_serving(lambda: 1 / 0)

    @app.cli.command(lifespan=True)
    def fail() -> None:
        raise LookupError("command")

    result = invoke(app, "fail")
    assert isinstance(result.exception, LookupError)
    assert pool.events == ["open", *ENDED]
    assert ("could not be stopped" in result.stderr) is not stops


def test_status_of_a_command_stays(app: Flask, pool: Pool) -> None:
    @app.cli.command(lifespan=True)
    @click.pass_context
    def leave(ctx: click.Context) -> None:
        ctx.exit(3)

    assert invoke(app, "leave").exit_code == 3
    assert pool.events == ["open", *ENDED]


def test_lifespan_needs_an_app_context(app: Flask) -> None:
    with pytest.raises(TypeError, match="Remove 'with_appcontext=False'"):
        app.cli.command(lifespan=True, with_appcontext=False)


@pytest.mark.parametrize("command", ["sync", "asynchronous"])
def test_ctrl_c(write: Write, command: str) -> None:
    """The command ends, then its context, then the app."""
    write(
        "app.py",
        """
        import asyncio
        import time
        from asyncflask import Flask

        app = Flask(__name__)
        app.before_serving(lambda: print("started"))
        app.after_serving(lambda: print("stopped"))
        app.teardown_appcontext(lambda error: print("context ended"))

        @app.cli.command(lifespan=True)
        def sync():
            try:
                print("ready", flush=True)
                while True:
                    time.sleep(1)
            finally:
                print("command ended")

        @app.cli.command(lifespan=True)
        async def asynchronous():
            try:
                print("ready", flush=True)
                await asyncio.Event().wait()
            finally:
                for _ in range(10):
                    await asyncio.sleep(0)
                print("command ended")
        """,
    )
    with subprocess.Popen(
        [sys.executable, "-m", "asyncflask", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["started\n", "ready\n"]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert output == "command ended\ncontext ended\nstopped\ncontext ended\n"
    assert errors.strip() == "Aborted!"
    assert process.returncode == 1
