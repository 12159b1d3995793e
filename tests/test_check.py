"""`asyncflask check`: its findings in a project's sources."""

from __future__ import annotations

import tomllib
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result

from asyncflask.check import REPLACED, TESTED, check_command

RECORDED = Path(__file__).parent / "ecosystem" / "recorded.toml"


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(check_command, arguments or [str(folder)])


def found(folder: Path, source: str) -> list[str]:
    """The findings in *source*: line and text."""
    (folder / "app.py").write_text(dedent(source), "utf-8")
    result = run(folder)
    lines = result.output.splitlines()
    path = f"{folder / 'app.py'}:"
    findings = [line.removeprefix(path) for line in lines if line.startswith(path)]
    assert result.exit_code == (1 if findings else 0), result.output
    return findings


CASES = {
    "sleep": ("import time\nasync def view(): time.sleep(1)", "2: 'time.sleep(...)' blocks"),
    "by another name": (
        "from time import sleep as nap\nasync def view(): nap(1)",
        "2: 'time.sleep(...)' blocks the event loop in async code. Write: await",
    ),
    "beside a command": (
        "import time\n@app.cli.command\nasync def work(): time.sleep(1)\n"
        "async def view(): time.sleep(1)",
        "4: 'time.sleep(...)' blocks",
    ),
    "requests": ("import requests\nasync def view(): requests.get('/')", "httpx.AsyncClient"),
    "a query": ("async def view(): db.session.execute(1)", "await run_sync(db.session.execute, "),
    "middleware": (
        "from flask import Flask\napp = Flask('x')\napp = Proxy(app)",
        "3: After this line 'app' is the middleware, not the app."
        " Write: app.wsgi_app = Proxy(app.wsgi_app)",
    ),
    "__call__": (
        "import flask\nclass App(flask.Flask):\n    def __call__(self, environ, start): pass",
        "3: '__call__' with WSGI's two arguments",
    ),
    "gevent": ("from gevent import monkey\nmonkey.patch_all()", "2: gevent: works under WSGI"),
    "eventlet": ("import eventlet", "1: eventlet: Remove it"),
    "SocketIO": ("import flask_socketio", "from asyncflask.socketio import"),
    "await": (
        "from quart import request\nasync def view(): await request.get_json()",
        "2: Remove 'await': 'request.get_json' is a value, or returns one.",
    ),
    "await of a property": (
        "from quart import request\nasync def view(): (await request.form)['a']",
        "Remove 'await': 'request.form'",
    ),
    "await of a function": (
        "import quart\nasync def view(): return await quart.render_template('a')",
        "Remove 'await': 'render_template'",
    ),
    "no Python": ("def:", "1: It cannot be read"),
    "nested too deeply": (f"x = {'+'.join(['1'] * 700)}", "1: It cannot be read"),
}


@pytest.mark.parametrize(("source", "text"), CASES.values(), ids=CASES)
def test_found(tmp_path: Path, source: str, text: str) -> None:
    (finding,) = found(tmp_path, source)
    assert text in finding


@pytest.mark.parametrize(
    "source",
    [
        "import time\ndef view(): time.sleep(1)",
        "import time\nasync def view():\n    def later(): time.sleep(1)",
        "import time\nasync def view(): await run_sync(lambda: time.sleep(1))",
        "async def view(): await db.session.execute(1)",
        "from flask import session\nasync def view(): session.get('user')",
        "from flask import Flask\napp = Flask('x')\napp.wsgi_app = Proxy(app.wsgi_app)",
        "from .time import sleep\nasync def view(): sleep(1)",
        "import time\n@app.cli.command()\nasync def work(): time.sleep(1)",
        "@click.command('work')\n@with_appcontext\nasync def work(): db.session.execute(1)",
        "\n" * 3,
    ],
)
def test_nothing_found(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, source) == []


def test_extensions(tmp_path: Path) -> None:
    source = "import flask\nfrom flask_login import x\nimport flask_unheard_of, flask_sse\n"
    (tmp_path / "app.py").write_text(source)
    output = run(tmp_path).output
    assert "  flask_login       Tested: the tests of Flask-Login pass.\n" in output
    assert "  flask_unheard_of  Unknown: run your tests with 'pytest -p asyncflask" in output
    assert "  flask_sse         Replace it: return an 'asyncflask.EventStream'.\n" in output
    assert "To run it unchanged: asyncflask --as-flask --app MODULE run" in output


@pytest.mark.parametrize("installs", [True, False])
def test_extensions_without_install_as_flask(tmp_path: Path, installs: bool) -> None:
    line = "asyncflask.install_as_flask()" if installs else ""
    (tmp_path / "app.py").write_text(f"import asyncflask\n{line}\nimport flask_login\n")
    assert ("Extensions import 'flask'." in run(tmp_path).output) is not installs


def test_folders_that_are_left_out(tmp_path: Path) -> None:
    for name in (".venv", "env", "node_modules", "site"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.py").write_text("import eventlet")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    output = run(tmp_path).output
    assert output.splitlines()[0].startswith(f"{tmp_path / 'site' / 'x.py'}:1: eventlet")
    assert "Read 1 files" in output


def test_current_directory_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.py").write_text("import eventlet")
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path).exit_code == 1
    assert CliRunner().invoke(check_command).output.startswith("app.py:1: eventlet")
    assert CliRunner().invoke(check_command, ["app.py"]).exit_code == 1
    assert CliRunner().invoke(check_command, ["missing"]).exit_code == 2


def test_what_is_called_tested_was() -> None:
    recorded = set(tomllib.loads(RECORDED.read_text("utf-8")))
    assert set(TESTED.values()) == recorded - {"Flask-SocketIO"}  # which is replaced
    assert not TESTED.keys() & REPLACED.keys()
