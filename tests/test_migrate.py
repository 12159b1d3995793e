"""`asyncflask migrate`: the rewritten sources, and its notes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result

from asyncflask.migrate import migrate_command
from support.releases import older

pytestmark = pytest.mark.skipif(
    older("click", 8, 2), reason="The CliRunner of older releases mixes stdout and stderr."
)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(migrate_command, [str(argument) for argument in arguments])


def migrated(folder: Path, origin: str, source: str, name: str = "app.py") -> str:
    """What becomes of *source*, which a second run leaves alone."""
    path = folder / name
    path.write_text(dedent(source), "utf-8")
    result = run("--from", origin, "--write", folder)
    assert result.exit_code == 0, result.output
    text = path.read_text("utf-8")
    again = run("--from", origin, "--diff", folder)
    assert (again.exit_code, again.stdout) == (0, ""), again.output
    assert path.read_text("utf-8") == text
    compile(text, path, "exec")
    return text


FLASK = {
    "from": (
        "from flask import Flask as F, g  # both",
        "from asyncflask import Flask as F, g  # both",
    ),
    "a submodule": ("from flask.views import View", "from asyncflask.views import View"),
    "a module": ("import flask\nflask.g", "import asyncflask\nasyncflask.g"),
    "as": ("import flask as f\nf.g", "import asyncflask as f\nf.g"),
    "a module in a package": (
        "import flask.views\nflask.views.View",
        "import asyncflask.views\nasyncflask.views.View",
    ),
    "several lines": (
        "from flask import (\n    Flask,  # one\n    g,\n)",
        "from asyncflask import (\n    Flask,  # one\n    g,\n)",
    ),
    "another variable of that name": (
        "import flask\n\n\ndef f(flask):\n    return flask.g",
        "import asyncflask\n\n\ndef f(flask):\n    return flask.g",
    ),
    "attributes and arguments": (
        "import flask\nx.flask.g(flask=1)",
        "import asyncflask\nx.flask.g(flask=1)",
    ),
    "in a function": (
        "def f():\n    from flask import g\n    return g",
        "def f():\n    from asyncflask import g\n    return g",
    ),
    "elsewhere": (
        "from flask import escape, g",
        "from markupsafe import escape\nfrom asyncflask import g",
    ),
    "what does not exist": (
        "from flask import g, nothing",
        "# asyncflask: There is no 'nothing' here: see 'Differences from Flask' in the"
        " documentation.\n"
        "from flask import nothing\nfrom asyncflask import g",
    ),
    "a name in a string": (
        "import flask\nmock.patch('flask.g')",
        "import asyncflask\n"
        "# asyncflask: 'flask.g' names a package that the project no longer uses.\n"
        "mock.patch('flask.g')",
    ),
    "an extension": (
        '"""App."""\n\nfrom flask import Flask\nfrom flask_login import LoginManager\n\n'
        "app = Flask(__name__)",
        '"""App."""\n\nfrom asyncflask import Flask\nfrom asyncflask import install_as_flask\n\n'
        "install_as_flask()\n\nfrom flask_login import LoginManager\n\napp = Flask(__name__)",
    ),
    "an extension in a factory": (
        "from flask import Flask\n\n\ndef create_app():\n    import flask_login\n"
        "    return Flask('x')",
        "from asyncflask import Flask\nfrom asyncflask import install_as_flask\n\n"
        "install_as_flask()\n\n\ndef create_app():\n    import flask_login\n    return Flask('x')",
    ),
    "what must be replaced": (
        "import flask_sse",
        "# asyncflask: flask_sse: Replace it: return an 'asyncflask.EventStream'.\n"
        "import flask_sse",
    ),
}

QUART = {
    "the app": (
        "from quart import Quart\napp: Quart = Quart(__name__)",
        "from asyncflask import Flask\napp: Flask = Flask(__name__)",
    ),
    "the app of a module": (
        "import quart\napp = quart.Quart(__name__)",
        "import asyncflask\napp = asyncflask.Flask(__name__)",
    ),
    "the app in a string": (
        "from quart import Quart\ndef f(app: 'Quart'): pass",
        "from asyncflask import Flask as Quart\ndef f(app: 'Quart'): pass",
    ),
    "another Flask": (
        "from quart import Quart\nclass Flask: pass\napp = Quart('x')",
        "from asyncflask import Flask as Quart\nclass Flask: pass\napp = Quart('x')",
    ),
    "several modules": (
        "from quart import Quart, Websocket, ResponseReturnValue\nWebsocket",
        "from asyncflask import Flask\nfrom asyncflask.asgi.websocket import WebSocket\n"
        "from asyncflask.typing import ResponseReturnValue\nWebSocket",
    ),
    "values of a request": (
        "from quart import request as r\n"
        "async def f(): return (await r.form)['a'], await r.get_json()",
        "from asyncflask import request as r\nasync def f(): return r.form['a'], r.get_json()",
    ),
    "lines": (
        "from quart import request\nasync def f():\n    a = (\n"
        "        await request.get_json()  # it\n    )",
        "from asyncflask import request\nasync def f():\n    a = (\n"
        "        request.get_json()  # it\n    )",
    ),
    "another request": (
        "import quart\nasync def f(request): await request.get_json()",
        "import asyncflask\n"
        "# asyncflask: If this is a request or response, remove 'await'; if it is"
        " the test client's, write 'response.json()'.\n"
        "async def f(request): await request.get_json()",
    ),
    "a request that is passed on": (
        "from quart import Request\nasync def f(r: Request): return await r.form",
        "from asyncflask import Request\nasync def f(r: Request): return r.form",
    ),
    "functions": (
        "import quart\nasync def f(): return await quart.make_response(await quart.flash('x'))",
        "import asyncflask\nasync def f(): return asyncflask.make_response(asyncflask.flash('x'))",
    ),
    "names of several modules on lines of their own": (
        "from quart import (\n    Websocket,\n    g,  # one\n    ResponseReturnValue,\n)",
        "from asyncflask.asgi.websocket import (\n    WebSocket,\n)\n"
        "from asyncflask import (\n    g,  # one\n)\n"
        "from asyncflask.typing import (\n    ResponseReturnValue,\n)",
    ),
    "a value that is passed on": (
        "from quart import request\nasync def f():\n    await gather(request.form)",
        "from asyncflask import request\nasync def f():\n"
        "    # asyncflask: 'request.form' is a value here, not a coroutine.\n"
        "    await gather(request.form)",
    ),
    "a body in pieces": (
        "from quart import request\nasync def f():\n    return [b async for b in request.body]",
        "from asyncflask import request\nasync def f():\n    # asyncflask: Write 'async for ... in"
        " request.stream', with 'stream=True' on the route.\n"
        "    return [b async for b in request.body]",
    ),
    "a method that is replaced": (
        "from quart import Quart\nclass App(Quart):\n    async def make_response(self, value):\n"
        "        return await super().make_response(value)",
        "from asyncflask import Flask\nclass App(Flask):\n"
        "    # asyncflask: 'make_response' is a 'def' method here, as in Flask.\n"
        "    async def make_response(self, value):\n"
        "        return super().make_response(value)",
    ),
    "a coroutine that is passed on": (
        "from quart import render_template\nasync def f():\n"
        "    await gather(render_template('x'))",
        "from asyncflask import render_template\nasync def f():\n"
        "    # asyncflask: 'render_template(...)' is a value here, not a coroutine.\n"
        "    await gather(render_template('x'))",
    ),
    "a response": (
        "from quart import make_response\nasync def f():\n    r = await make_response('x')\n"
        "    return await r.get_data()",
        "from asyncflask import make_response\nasync def f():\n    r = make_response('x')\n"
        "    return r.get_data()",
    ),
    "a method of the app": (
        "from quart import current_app\nasync def f(): await current_app.make_response('x')",
        "from asyncflask import current_app\nasync def f(): current_app.make_response('x')",
    ),
    "an upload": (
        "from quart import request\nasync def f(model):\n    files = await request.files\n"
        "    await files['a'].save('b')\n    await model.save()",
        "from asyncflask import request\nasync def f(model):\n    files = request.files\n"
        "    files['a'].save('b')\n    await model.save()",
    ),
    "run_sync": (
        "from quart.utils import run_sync\nasync def f(): return await run_sync(g)(1, x=2)",
        "from asyncflask import run_sync\nasync def f(): return await run_sync(g, 1, x=2)",
    ),
    "run_sync for later": (
        "from quart.utils import run_sync\nf = run_sync(g)",
        "from asyncflask import run_sync\n# asyncflask: Here, 'await run_sync(f, x)' calls f."
        " It does not return a function.\nf = run_sync(g)",
    ),
    "arguments of a WebSocket": (
        "from quart import websocket\nasync def f(): await websocket.send(websocket.args['a'])",
        "from asyncflask import websocket, request\n"
        "async def f(): await websocket.send(request.args['a'])",
    ),
    "arguments of a WebSocket, in full": (
        "import quart\nasync def f(): quart.websocket.args",
        "import asyncflask\nasync def f(): asyncflask.request.args",
    ),
    "add_websocket": (
        "app.add_websocket('/', view_func=f)",
        "app.add_url_rule('/', view_func=f, websocket=True)",
    ),
    "static_folder": (
        "import quart\napp.static_folder / 'a'",
        "from pathlib import Path\nimport asyncflask\nPath(app.static_folder) / 'a'",
    ),
    "the app's folder": (
        "app.root_path / 'a'\napp.root_path.joinpath('a')",
        "from pathlib import Path\nPath(app.root_path) / 'a'\n"
        "# asyncflask: 'app.root_path' is a string here. Write 'Path(app.root_path)'.\n"
        "app.root_path.joinpath('a')",
    ),
    "a WebSocket that is refused": (
        "from quart.testing import WebsocketResponseError\nraises(WebsocketResponseError)",
        "# asyncflask: It is raised when the client connects, at 'async with'.\n"
        "from asyncflask.async_testing import WebSocketDenied\nraises(WebSocketDenied)",
    ),
    "a client that leaves": (
        "import asyncio\n@app.websocket('/')\nasync def ws():\n    try:\n        pass\n"
        "    except asyncio.CancelledError:\n        pass",
        "import asyncio\n@app.websocket('/')\nasync def ws():\n    # asyncflask: When the"
        " client leaves, receive and send raise 'WebSocketDisconnect' here, not"
        " CancelledError.\n    try:\n        pass\n    except asyncio.CancelledError:\n      "
        "  pass",
    ),
    "a key of the configuration": (
        "app.config['BACKGROUND_TASK_SHUTDOWN_TIMEOUT'] = 1",
        "app.config['SHUTDOWN_TIMEOUT'] = 1",
    ),
    "a key without effect": (
        "app.config['PREFER_SECURE_URLS'] = True",
        "# asyncflask: 'PREFER_SECURE_URLS': write PREFERRED_URL_SCHEME = 'https'.\n"
        "app.config['PREFER_SECURE_URLS'] = True",
    ),
    "a hook": (
        "@app.websocket('/')\nasync def ws(): pass\n@app.before_request\nasync def f(): pass",
        "@app.websocket('/')\nasync def ws(): pass\n# asyncflask: This runs for WebSockets"
        " too. If it must not, start it with 'if has_websocket_context():"
        " return'.\n@app.before_request\nasync def f(): pass",
    ),
    "a push": (
        "from quart import make_push_promise",
        "# asyncflask: There is no 'make_push_promise' here: browsers no longer support"
        " HTTP/2 push.\n"
        "from quart import make_push_promise",
    ),
    "a client": (
        "async def test():\n    client = app.test_client()\n"
        "    response = await client.post('/', form={'a': 1}, query_string={'b': 2})\n"
        "    assert await response.get_data() == b''\n"
        "    assert await response.get_data(as_text=True) == ''\n"
        "    assert (await (await client.get('/')).get_json())['a']\n",
        "from asyncflask.async_testing import AsyncClient\nasync def test():\n"
        "    client = AsyncClient(app)\n"
        "    response = await client.post('/', data={'a': 1}, params={'b': 2})\n"
        "    assert response.content == b''\n    assert response.text == ''\n"
        "    assert (await client.get('/')).json()['a']\n",
    ),
    "a client of a fixture": (
        "@pytest.fixture\ndef browser(app):\n    return app.test_client()\n"
        "async def test(browser):\n    r = await browser.put('/', data=b'1')\n    await r.json",
        "from asyncflask.async_testing import AsyncClient\n@pytest.fixture\ndef browser(app):\n"
        "    return AsyncClient(app)\n"
        "async def test(browser):\n    r = await browser.put('/', content=b'1')\n    r.json()",
    ),
    "a client that starts the app": (
        "async def test():\n    async with app.test_app() as it:\n        c = it.test_client()",
        "from asyncflask.async_testing import AsyncClient\n"
        "from asyncflask.asgi.lifespan import lifespan\nasync def test():\n"
        "    async with lifespan(app):\n        c = AsyncClient(app)",
    ),
    "a client in a block, which does not start the app": (
        "async def test():\n    async with app.test_app() as a, a.test_client() as c:\n"
        "        f(a=a, b=x.a)",
        "from asyncflask.async_testing import AsyncClient\n"
        "from asyncflask.asgi.lifespan import lifespan\nasync def test():\n"
        "    async with lifespan(app), AsyncClient(app, lifespan=False) as c:\n"
        "        f(a=app, b=x.a)",
    ),
    "a WebSocket of a client": (
        "async def test():\n    c = app.test_client()\n    async with c.websocket('/') as ws:\n"
        "        await ws.disconnect()",
        "from asyncflask.async_testing import AsyncClient\nasync def test():\n"
        "    c = AsyncClient(app)\n    async with c.websocket_connect('/') as ws:\n"
        "        await ws.close()",
    ),
    "a response whose attributes differ": (
        "async def test():\n    r = await app.test_client().get('/')\n    assert r.mimetype",
        "from asyncflask.async_testing import AsyncClient\nasync def test():\n"
        "    r = await AsyncClient(app).get('/')\n    # asyncflask: httpx's response has no"
        " 'mimetype'. Write: response.headers[\"content-type\"].\n    assert r.mimetype",
    ),
    "a response of somewhere": (
        "async def test(r):\n    await r.get_json()",
        "async def test(r):\n    # asyncflask: If this is a request or response, remove"
        " 'await'; if it is the test client's, write 'response.json()'.\n"
        "    await r.get_json()",
    ),
}

SOCKETIO = {
    "from": (
        "from flask_socketio import SocketIO, \\\n    emit",
        "from asyncflask.socketio import SocketIO, \\\n    emit",
    ),
    "a module": (
        "import flask_socketio\nflask_socketio.emit('x')",
        "import asyncflask.socketio\nasyncflask.socketio.emit('x')",
    ),
    "Flask": ("from flask import request", "from asyncflask import request"),
    "async_mode": (
        "from flask_socketio import SocketIO\nSocketIO(async_mode='gevent')",
        "from asyncflask.socketio import SocketIO\n"
        "# asyncflask: 'async_mode' has no effect here: remove it.\n"
        "SocketIO(async_mode='gevent')",
    ),
    "eventlet": (
        "import eventlet\neventlet.monkey_patch()\n\nfrom flask import g",
        "# asyncflask: 'eventlet.monkey_patch()' was removed: asyncio needs no patched sockets.\n"
        "\nfrom asyncflask import g",
    ),
    "gevent": (
        "from gevent import monkey; monkey.patch_all()\nimport flask",
        "# asyncflask: 'gevent.monkey.patch_all()' was removed: asyncio needs no patched sockets."
        "\nimport asyncflask",
    ),
    "eventlet for more": (
        "import eventlet\neventlet.monkey_patch()\neventlet.sleep(1)",
        "# asyncflask: eventlet: Remove it: asyncflask runs on asyncio and needs no patched"
        " sockets.\nimport eventlet\n# asyncflask: 'eventlet.monkey_patch()' was removed:"
        " asyncio needs no patched sockets.\n# asyncflask: 'eventlet.sleep' does not work"
        " on asyncio's loop.\neventlet.sleep(1)",
    ),
}


FLASKS_TESTS = {
    "a variable": (
        "def test():\n    client = app.test_client()\n    r = client.get('/', query_string={})\n"
        "    assert r.data == b'x'"
    ),
    "no variable": "def test():\n    assert app.test_client().get('/').mimetype == 'text/html'",
    "with": "def test():\n    with app.test_client() as c:\n        c.post('/', data=b'x')",
    "of the module": "c = app.test_client()\ndef test():\n    assert c.get('/').data == b'x'",
    "unittest": (
        "class Test(TestCase):\n    def setUp(self):\n        self.c = app.test_client()\n"
        "    def test(self):\n        r = self.c.open('/')\n"
        "        r = self.c.post('/', data={'a': 'b'})\n        assert r.status == '200 OK'"
    ),
    "a fixture": (
        "@pytest.fixture\ndef client():\n    return app.test_client()\n\n"
        "def test(client):\n    r = client.post('/', data={'a': 'b'})\n    assert r.location"
    ),
    "in a coroutine function": (
        "async def test():\n    c = app.test_client()\n    assert c.get('/', data=b'x').data"
    ),
}
"""Tests written for Flask in a project that has Quart too."""


@pytest.mark.parametrize("source", FLASKS_TESTS.values(), ids=FLASKS_TESTS)
def test_tests_without_await_stay(tmp_path: Path, source: str) -> None:
    source = f"import pytest\n\n{source}"
    assert migrated(tmp_path, "quart", source) == source


def test_results_that_are_awaited_later(tmp_path: Path) -> None:
    before = (
        "import asyncio\n\nasync def test():\n    c = app.test_client()\n"
        "    r = c.get('/')\n    r = await r\n    await asyncio.gather(c.get('/a'), c.get('/b'))\n"
    )
    assert "AsyncClient(app)" in migrated(tmp_path, "quart", before)


def test_fixtures_of_the_same_name_in_a_mixed_project(tmp_path: Path) -> None:
    fixture = "import pytest\n\n@pytest.fixture\ndef client(app):\n    return app.test_client()\n"
    of_flask = "def test(client):\n    assert client.get('/').data == b'x'\n"
    of_quart = "async def test(client):\n    r = await client.get('/')\n    assert r.mimetype\n"
    for folder, test in ("flasks", of_flask), ("quarts", of_quart):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "conftest.py").write_text(fixture)
        (tmp_path / folder / "test_it.py").write_text(test)
    run("--from", "quart", "--write", tmp_path)
    assert (tmp_path / "flasks" / "conftest.py").read_text() == fixture
    assert (tmp_path / "flasks" / "test_it.py").read_text() == of_flask
    assert "AsyncClient(app)" in (tmp_path / "quarts" / "conftest.py").read_text()
    assert "httpx's response has no" in (tmp_path / "quarts" / "test_it.py").read_text()


def test_fixture_that_is_used_in_both_ways(tmp_path: Path) -> None:
    after = migrated(
        tmp_path,
        "quart",
        "import pytest\n\n@pytest.fixture\ndef client(app):\n    return app.test_client()\n\n"
        "def test(client):\n    assert client.get('/').data == b'x'\n\n"
        "async def test_async(client):\n    r = await client.get('/')\n",
    )
    assert "# asyncflask: Some tests use this client without 'await'. Give them" in after
    assert "    return AsyncClient(app)" in after
    assert "client.get('/').data" in after


def test_project_without_an_app(tmp_path: Path) -> None:
    path = tmp_path / "views.py"
    path.write_text("from flask import request\nfrom flask_login import current_user\n")
    note = (
        "No file creates an app, but the project uses extensions of Flask (flask_login). Where"
        " the app is created, call asyncflask.install_as_flask() above their imports."
    )
    assert note in run("--from", "flask", "--write", tmp_path).stdout
    (tmp_path / "app.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    assert note not in run("--from", "flask", "--write", tmp_path).stdout


def test_project_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "views.py"
    path.write_text("from flask import request\n")
    note = "No file imports 'quart': are these the right files, and the right '--from'?"
    assert note in run("--from", "quart", "--write", tmp_path).stdout
    path.write_text("from asyncflask import request\n")  # a second run
    assert note not in run("--from", "quart", "--write", tmp_path).stdout


@pytest.mark.parametrize(("before", "after"), FLASK.values(), ids=FLASK)
def test_flask(tmp_path: Path, before: str, after: str) -> None:
    assert migrated(tmp_path, "flask", before) == after


@pytest.mark.parametrize(("before", "after"), QUART.values(), ids=QUART)
def test_quart(tmp_path: Path, before: str, after: str) -> None:
    assert migrated(tmp_path, "quart", before) == after


@pytest.mark.parametrize(("before", "after"), SOCKETIO.values(), ids=SOCKETIO)
def test_socketio(tmp_path: Path, before: str, after: str) -> None:
    assert migrated(tmp_path, "flask-socketio", before) == after


def test_package_with_a_factory(tmp_path: Path) -> None:
    """The module that makes the app imports the one that imports the extension."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "models.py").write_text("from flask_sqlalchemy import SQLAlchemy\n")
    text = migrated(
        tmp_path,
        "flask",
        """\
        import flask

        from .models import db

        def create_app():
            return flask.Flask(__name__)
        """,
        "shop/__init__.py",
    )
    assert text.startswith(
        "import asyncflask\n\nfrom asyncflask import install_as_flask\n\n"
        "install_as_flask()\n\nfrom .models import db\n"
    )
    assert "asyncflask" not in (tmp_path / "shop" / "models.py").read_text()


def test_diff_is_a_patch(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    source = "from flask import Flask, nothing\napp = Flask(__name__)"
    path.write_text(source)
    result = run("--from", "flask", "--diff", tmp_path)
    assert result.exit_code == 1
    assert path.read_text() == source
    assert "-from flask import Flask, nothing\n" in result.stdout
    assert "+from asyncflask import Flask\n" in result.stdout
    assert f"{path}:1: There is no 'nothing' here" in result.stderr
    assert "Read 1 files: 1 would change, 1 notes to follow up." in result.stderr


def test_bytes_mode_and_other_files_stay(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_bytes("# -*- coding: latin-1 -*-\r\nimport flask  # é\r\n".encode("latin-1"))
    path.chmod(0o755)
    other = tmp_path / "other.py"
    other.write_text("import math")
    os.utime(other, (1, 1))
    link = tmp_path / "link.py"
    link.symlink_to(path)
    assert run("--from", "flask", "--write", link, other).exit_code == 0
    assert path.read_bytes() == "# -*- coding: latin-1 -*-\r\nimport asyncflask  # é\r\n".encode(
        "latin-1"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert link.is_symlink()
    assert other.stat().st_mtime == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["app.py", "link.py", "other.py"]


def test_lines_of_windows_in_what_is_added(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_bytes(b"import math\r\nx = app.root_path / 'a'\r\nimport quart\r\nquart.no\r\n")
    run("--from", "quart", "--write", path)
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n") == 6


def test_form_feed_in_a_diff(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text("import flask\nx = '\f'\n")
    assert " x = '\f'\n" in run("--from", "flask", "--diff", path).stdout


def test_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError("no")

    path = tmp_path / "app.py"
    path.write_text("import flask")
    monkeypatch.setattr("os.replace", refuse)
    result = run("--from", "flask", "--write", path)
    assert (result.exit_code, result.stderr) == (1, f"{path}: cannot be written: no.\n")
    assert [file.name for file in tmp_path.iterdir()] == ["app.py"]
    assert path.read_text() == "import flask"


def test_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_bytes(b"\xef\xbb\xbfimport flask\n")
    run("--from", "flask", "--write", path)
    assert path.read_bytes() == b"\xef\xbb\xbfimport asyncflask\n"


def test_unreadable_files_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def:")
    (tmp_path / "bytes.py").write_bytes(b"'\xff'")
    (tmp_path / "good.py").write_text("import flask")
    result = run("--from", "flask", "--write", tmp_path)
    assert result.exit_code == 0
    assert f"{tmp_path / 'bad.py'}: skipped, because it cannot be read: " in result.output
    assert f"{tmp_path / 'bytes.py'}: skipped, because it cannot be read: " in result.output
    assert (tmp_path / "good.py").read_text() == "import asyncflask"


def test_one_of_both(tmp_path: Path) -> None:
    result = run("--from", "flask", tmp_path)
    assert result.exit_code == 2
    assert "Pass --diff to print the changes, or --write to make them." in result.output


def test_without_libcst(tmp_path: Path) -> None:
    """The command line needs it for this command only."""
    (tmp_path / "libcst.py").write_text("raise ModuleNotFoundError(name='libcst')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-m", "asyncflask", "migrate", "--from", "flask", "--diff", tmp_path],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "Error: 'asyncflask migrate' needs libcst. Install it with:"
        " pip install 'asyncflask[migrate]'\n"
    )
