"""The program `asyncflask` as users run it: serving, reloading, and commands of packages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from support.servers import Process, Server, python_path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="tests by POSIX signals")

PROGRAM = [sys.executable, "-m", "asyncflask"]
SECONDS = 60

SOURCE = """
    import os
    from PACKAGE import Flask, websocket

    def create_app(name, *, number=1):
        app = Flask(name)

        @app.get("/")
        def index():
            kind = Flask.__module__
            return {"pid": os.getpid(), "name": name, "number": number, "kind": kind}

        @app.get("/broken")
        async def broken():
            raise LookupError("broken on purpose")

        @app.websocket("/ws")
        async def ws():
            await websocket.send(str(os.getpid()))
            async for message in websocket:
                await websocket.send(message)

        @app.after_serving
        async def stop():
            with open("stopped", "a") as file:
                file.write("x")

        return app

    app = create_app("plain")
"""


def write(path: Path, source: str = SOURCE, package: str = "asyncflask") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(source).replace("PACKAGE", package), "utf-8")


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def serving(folder: Path, *args: str, before: tuple[str, ...] = (), **env: str) -> Process:
    command = [*PROGRAM, *before, "run", "--port", "{port}", *args]
    return Process(command, cwd=folder, env=env)


def get(server: Process, path: str = "/") -> dict[str, Any] | None:
    """The JSON, or `None` if nobody answers, or with an error."""
    try:
        response = httpx.get(server.url + path, timeout=SECONDS)
    except httpx.TransportError:
        return None
    return dict(response.json()) if response.is_success else None


def text_of(server: Process) -> str:
    try:
        return httpx.get(server.url, timeout=SECONDS).text
    except httpx.TransportError:
        return ""


def open_websocket(server: Process, stack: ExitStack) -> tuple[ClientConnection, str]:
    """A WebSocket, and the process that serves it."""
    connection = stack.enter_context(connect(f"{server.ws_url}/ws"))
    return connection, str(connection.recv(SECONDS))


def close_code(connection: ClientConnection) -> int | None:
    with pytest.raises(Exception, match="1012"):
        connection.recv(SECONDS)
    return connection.close_code


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen()
        except OSError:
            return False
        return True


# -- run


@pytest.mark.parametrize(
    ("file", "package", "before", "env", "expected"),
    [
        (
            "made.py",
            "flask",
            ("--as-flask", "--app", "made:create_app('x', number=3)"),
            {},
            {"name": "x", "number": 3, "kind": "asyncflask.app"},
        ),
        ("wsgi.py", "asyncflask", (), {}, {"name": "plain", "number": 1}),
        ("sub/made.py", "asyncflask", ("-A", "sub/made.py:app"), {}, {"name": "plain"}),
        ("made.py", "flask", (), {"FLASK_APP": "made", "FLASK_AS_FLASK": "1"}, {"name": "plain"}),
    ],
)
def test_workers(
    tmp_path: Path,
    file: str,
    package: str,
    before: tuple[str, ...],
    env: Mapping[str, str],
    expected: Mapping[str, Any],
) -> None:
    write(tmp_path / file, package=package)
    with ExitStack() as stack:
        server = serving(tmp_path, "--workers", "2", before=before, **env)
        stack.enter_context(server)
        sockets: dict[str, ClientConnection] = {}

        def open_another() -> bool:
            connection, pid = open_websocket(server, stack)
            sockets.setdefault(pid, connection)
            return len(sockets) == 2

        until(open_another)
        seen = get(server)
        assert seen is not None
        assert expected.items() <= seen.items()
        assert str(seen["pid"]) in sockets
        assert server.stop() == 0
        assert [close_code(connection) for connection in sockets.values()] == [1012, 1012]
        port = server.port
    assert (tmp_path / "stopped").read_text() == "xx"
    assert is_free(port)


def test_reload(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    write(path)
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, "--debug"))
        connection, _ = open_websocket(server, stack)
        write(path, SOURCE.replace('"plain"', '"changed"'))
        assert close_code(connection) == 1012
        until(lambda: (get(server) or {}).get("name") == "changed")

        write(path, "def (")
        until(lambda: "SyntaxError" in server.output)
        until(lambda: "SyntaxError: invalid syntax" in text_of(server))
        assert "def (" in server.output
        write(path, SOURCE.replace('"plain"', '"repaired"'))
        until(lambda: (get(server) or {}).get("name") == "repaired")
        body = httpx.get(f"{server.url}/broken", timeout=SECONDS).text
        assert "LookupError: broken on purpose" in body

        assert server.stop(signal.SIGINT) == 0
        port = server.port
    assert (tmp_path / "stopped").read_text() == "xxx"
    assert is_free(port)


def test_alias_in_the_reloaded_process(tmp_path: Path) -> None:
    write(tmp_path / "app.py", package="flask")
    with serving(tmp_path, "--reload", before=("--as-flask",)) as server:
        seen = get(server)
        assert seen is not None
        assert seen["kind"] == "asyncflask.app"


def test_options_of_uvicorn(tmp_path: Path) -> None:
    write(tmp_path / "app.py")
    options = ("--header", "X-Own: yes: 1", "--ws", "wsproto", "--no-server-header")
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, "--", *options))
        headers = httpx.get(server.url, timeout=SECONDS).headers
        assert headers["X-Own"] == "yes: 1"
        assert "Server" not in headers
        connection, pid = open_websocket(server, stack)
        assert pid == str(server._process and server._process.pid)
        connection.close()


def test_limit_of_uvicorn(tmp_path: Path) -> None:
    write(tmp_path / "app.py")
    with serving(tmp_path, "--", "--limit-concurrency", "1") as server:
        assert httpx.get(server.url, timeout=SECONDS).status_code == 503


# -- an app whose source is not touched


@pytest.mark.parametrize("args", [[], ["--workers", "2"]])
def test_factory_for_servers(tmp_path: Path, args: list[str]) -> None:
    write(tmp_path / "untouched.py", package="flask")
    env = {"FLASK_APP": "untouched:create_app('x')"}
    target = "asyncflask.cli:as_flask"
    with Server(target, args=["--factory", *args], cwd=tmp_path, env=env) as server:
        until(lambda: get(server))
        seen = get(server)
        assert seen is not None
        assert (seen["name"], seen["kind"]) == ("x", "asyncflask.app")
        if args:
            # uvicorn's own command has its parent process end with 0.
            assert server.stop() == 0


@pytest.mark.parametrize("source", ["", "import no_such_module", "def ("])
def test_factory_without_an_app(tmp_path: Path, source: str) -> None:
    write(tmp_path / "app.py", source)
    command = [sys.executable, "-m", "uvicorn", "--factory", "asyncflask.cli:as_flask"]
    done = run(tmp_path, *command, "--port", "0", "--workers", "2")
    assert "failed to start" in done.stderr  # and not tried again and again
    assert ("SyntaxError" if source == "def (" else "Error: ") in done.stderr


# -- commands


def run(
    folder: Path, *command: str, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def asyncflask(folder: Path, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return run(folder, *PROGRAM, *args, **kwargs)


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (("--app", "web"), {}),
        (("--app", "web.py"), {}),
        (("--app", "web:app"), {}),
        (("--app", "web:create_app"), {}),
        (("--app", "web:create_app(number=1)"), {}),
        ((), {"FLASK_APP": "web"}),
        (("--env-file", "settings"), {}),
        ((), {}),
    ],
)
def test_command_of_an_app_named_in_each_way(
    tmp_path: Path, args: tuple[str, ...], env: dict[str, str]
) -> None:
    write(
        tmp_path / "web.py",
        """
        import os
        from asyncflask import Blueprint, Flask, current_app

        bp = Blueprint("bp", __name__)

        @bp.cli.command()
        async def show():
            print(current_app.name, os.environ.get("COLOUR"))

        def create_app(number=0):
            app = Flask("web")
            app.register_blueprint(bp)
            return app

        app = create_app()
        """,
    )
    (tmp_path / "settings").write_text("FLASK_APP=web\nCOLOUR=green")
    (tmp_path / ".env").write_text("COLOUR=blue")
    if not args and not env:
        (tmp_path / ".flaskenv").write_text("FLASK_APP=web\nCOLOUR=red")
    colour = "green" if "settings" in args else "blue"
    assert asyncflask(tmp_path, *args, "bp", "show", **env).stdout == f"web {colour}\n"


SHELL = """
await query()
plain()
x = await query()
x
await query(True)
async def inner():
    g.there = 1

await inner()
g.there
for _ in range(2):
    print(await query())

exit(3)
"""


def test_shell_awaits(tmp_path: Path) -> None:
    write(
        tmp_path / "app.py",
        """
        import asyncio
        from asyncflask import Flask, current_app

        app = Flask("web")
        loops = set()

        async def query(fail=False):
            await asyncio.sleep(0)
            loops.add(asyncio.get_running_loop())
            if fail:
                raise LookupError("on purpose")
            return f"{current_app.name} {len(loops)}"

        @app.shell_context_processor
        def names():
            return {"query": query, "plain": lambda: app.ensure_sync(query)()}
        """,
    )
    done = asyncflask(tmp_path, "shell", stdin=SHELL)
    assert done.returncode == 3
    assert done.stdout.count("'web 1'") == 3  # one loop for all
    assert done.stdout.count("\nweb 1\n") + done.stdout.count("... web 1\n") == 2
    assert ">>> 1\n" in done.stdout
    # The user's frames only.
    assert 'line 1, in <module>\n  File "' in done.stderr
    assert "asyncflask/asgi" not in done.stderr
    assert "LookupError: on purpose" in done.stderr


# -- commands of packages


REAL = {
    "flask/__init__.py": "from .app import Flask as Flask\nfrom .cli import command as command\n",
    "flask/app.py": "class Flask:\n    pass\n",
    "flask/cli.py": """
        import click
        class ScriptInfo: pass
        def command(f): return f

        @click.command()
        @click.pass_context
        def main(ctx):
            ctx.obj = ScriptInfo()
            import app
        """,
    "flask/__main__.py": "from .cli import main\nmain()\n",
}
"""What there is of the real Flask, for these tests."""

NONE: dict[str, str] = {
    "flask.py": "raise ModuleNotFoundError(\"No module named 'flask'\", name='flask')\n"
}
"""As if the real Flask were not installed."""

PLUGIN = {
    "ext/__init__.py": "",
    "ext/cli.py": """
        import click
        from flask import Flask

        @click.command()
        def db():
            print("db of", Flask.__module__)
        """,
    "ext-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: ext\nVersion: 1\n",
    "ext-1.dist-info/entry_points.txt": "[flask.commands]\ndb = ext.cli:db\n",
}
OURS = "import asyncflask\napp = asyncflask.Flask('x')\n"
INSTALLS = "import asyncflask\nasyncflask.install_as_flask()\nimport ext.cli\n" + OURS


def site(folder: Path, *contents: Mapping[str, str]) -> dict[str, str]:
    """Packages, and the environment in which they are found."""
    for files in contents:
        for name, text in files.items():
            write(folder / "site" / name, text)
    return python_path(folder / "site")


@pytest.mark.parametrize(
    ("real", "args", "app", "expected"),
    [
        (True, ["--as-flask", "db"], OURS, "db of asyncflask.app"),
        (False, ["--as-flask", "db"], OURS, "db of asyncflask.app"),
        (True, ["db"], INSTALLS, "db of asyncflask.app"),  # by the app, which goes first
        (True, ["--help"], INSTALLS, "\n  db"),
        (True, ["--as-flask", "db"], "def (", "db of asyncflask.app"),
        (True, ["--as-flask", "db"], None, "db of asyncflask.app"),
        (True, ["routes"], OURS, "/static/"),
    ],
)
def test_command_of_a_package(
    tmp_path: Path, real: bool, args: list[str], app: str | None, expected: str
) -> None:
    env = site(tmp_path, PLUGIN, REAL if real else NONE)
    if app is not None:
        write(tmp_path / "app.py", app)
    done = asyncflask(tmp_path, *args, **env)
    assert expected in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_command_of_a_package_in_place_of_ours(tmp_path: Path) -> None:
    points = "ext-1.dist-info/entry_points.txt"
    env = site(tmp_path, {**PLUGIN, points: PLUGIN[points].replace("db =", "routes =")}, NONE)
    write(tmp_path / "app.py", OURS)
    assert asyncflask(tmp_path, "--as-flask", "routes", **env).stdout == "db of asyncflask.app\n"
    done = asyncflask(tmp_path, "routes", **env)
    assert "No command 'routes': No module named 'flask'" in done.stderr
    assert "/static/" in done.stdout


@pytest.mark.parametrize("args", [["db"], ["--help"]])
@pytest.mark.parametrize("real", [True, False])
def test_command_of_a_package_that_uses_the_real_flask(
    tmp_path: Path, args: list[str], real: bool
) -> None:
    env = site(tmp_path, PLUGIN, REAL if real else NONE)
    write(tmp_path / "app.py", OURS)
    done = asyncflask(tmp_path, *args, **env)
    assert "No command 'db': " in done.stderr
    assert ("'ext' uses the real Flask" in done.stderr) == real
    assert "'asyncflask --as-flask'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [(), ("--app", "app:app"), ("--app", "app:thing")])
def test_app_of_the_real_flask(tmp_path: Path, args: tuple[str, ...]) -> None:
    env = site(tmp_path, REAL)
    write(tmp_path / "app.py", "from flask import Flask\nthing = app = Flask()\n")
    done = asyncflask(tmp_path, *args, "routes", **env)
    assert done.returncode == 2
    assert (
        "is an app of the real Flask. To run it on asyncflask, write 'asyncflask --as-flask'"
        in done.stderr
    )


def test_app_under_the_command_of_the_real_flask(tmp_path: Path) -> None:
    env = site(tmp_path, REAL)
    write(tmp_path / "app.py", OURS)
    done = run(tmp_path, sys.executable, "-m", "flask", **env)
    assert "The app 'x' is an asyncflask app," in done.stderr
    assert "Write 'asyncflask' instead of 'flask'." in done.stderr

    write(tmp_path / "app.py", INSTALLS)
    done = run(tmp_path, sys.executable, "-m", "flask", **env)
    assert "Write 'asyncflask' instead of 'flask' on the command line." in done.stderr


def test_no_warning_under_our_own(tmp_path: Path) -> None:
    env = site(tmp_path, REAL)
    write(tmp_path / "app.py", "import flask\n" + OURS)
    done = asyncflask(tmp_path, "routes", **env)
    assert (done.returncode, done.stderr) == (0, "")
