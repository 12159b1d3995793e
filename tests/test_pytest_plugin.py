"""The fixtures of `asyncflask.pytest_plugin`, and `asyncflask.as_flask`, in projects on which
pytest is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

SECONDS = 120

APP = """
    from asyncflask import Flask, request, session, websocket

    app = Flask(__name__)
    app.secret_key = "test"
    happened = []

    @app.while_serving
    async def serving():
        happened.append("start")
        yield
        happened.append("stop")

    @app.get("/")
    async def index():
        return {"testing": app.testing, "happened": happened}

    @app.websocket("/ws")
    def ws():
        for message in websocket:
            websocket.send(message.upper())

    @app.cli.command()
    async def hello():
        print("Hello")
"""

TESTS = """
    import pytest
    from app import happened

    def test_client(client):
        happened.clear()
        assert client.get("/").json == {"testing": True, "happened": []}

    def test_it_was_stopped():
        assert happened == ["stop"]

    def test_websocket(client):
        with client.websocket_connect("/ws") as ws:
            ws.send("a")
            assert ws.receive() == "A"

    @pytest.mark.MARK
    async def test_async_client(async_client):
        assert (await async_client.get("/")).json()["testing"]
        async with async_client.websocket_connect("/ws") as ws:
            await ws.send("b")
            assert await ws.receive() == "B"

    def test_runner(runner):
        assert runner.invoke(args=["hello"]).output == "Hello\\n"

    def test_testing_is_reset():
        from app import app
        assert not app.testing
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text), "utf-8")


def run_pytest(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in *folder*, with the entry point that an installed asyncflask has."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov", *args],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=SECONDS,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | env,
    )


class TestFixtures:
    def test_of_an_app_that_is_found(self, tmp_path: Path) -> None:
        write(tmp_path, app=APP, test_app=TESTS.replace("MARK", "asyncio"))
        done = run_pytest(tmp_path, "-p", "asyncflask.pytest_plugin")
        assert "6 passed" in done.stdout, done.stdout + done.stderr

    def test_with_anyio_in_place_of_pytest_asyncio(self, tmp_path: Path) -> None:
        conftest = """
            import pytest
            pytest_plugins = ["asyncflask.pytest_plugin"]

            @pytest.fixture
            def anyio_backend():
                return "asyncio"
        """
        write(tmp_path, app=APP, conftest=conftest, test_app=TESTS.replace("MARK", "anyio"))
        done = run_pytest(tmp_path, "-p", "no:asyncio")
        assert "6 passed" in done.stdout, done.stdout + done.stderr

    def test_your_own_app_fixture_is_taken(self, tmp_path: Path) -> None:
        conftest = """
            import pytest
            from asyncflask import Flask
            pytest_plugins = ["asyncflask.pytest_plugin"]

            @pytest.fixture
            def app():
                app = Flask("own")
                app.add_url_rule("/", "index", lambda: "own")
                return app
        """
        test = """
            def test_own(client):
                assert client.get("/").text == "own"
        """
        write(tmp_path, app=APP, conftest=conftest, test_own=test)
        done = run_pytest(tmp_path)
        assert "1 passed" in done.stdout, done.stdout + done.stderr

    def test_the_setting_names_a_factory(self, tmp_path: Path) -> None:
        factory = """
            from asyncflask import Flask

            def make(name):
                app = Flask(name)
                app.add_url_rule("/", "index", lambda: app.name)
                return app
        """
        test = """
            def test_made(client):
                assert client.get("/").text == "made"
        """
        write(tmp_path, factory=factory, test_made=test)
        setting = "asyncflask_app=factory:make('made')"
        done = run_pytest(tmp_path, "-p", "asyncflask.pytest_plugin", "-o", setting)
        assert "1 passed" in done.stdout, done.stdout + done.stderr

    def test_no_app(self, tmp_path: Path) -> None:
        write(tmp_path, test_none="def test_none(client): ...")
        done = run_pytest(tmp_path, "-p", "asyncflask.pytest_plugin", FLASK_APP="")
        assert "write a fixture 'app' in conftest.py" in done.stdout
        assert "Traceback" not in done.stdout

    def test_off_until_named(self, tmp_path: Path) -> None:
        write(tmp_path, app=APP, test_app="def test_none(client): ...")
        assert "fixture 'client' not found" in run_pytest(tmp_path).stdout


FLASKS = """
    import flask

    def test_whose():
        assert flask.Flask.__module__ == "asyncflask.app"

    def test_request():
        app = flask.Flask(__name__)
        app.add_url_rule("/", "index", lambda: flask.request.path)
        assert app.test_client().get("/").text == "/"
"""


ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Only the plugins that are named: an installed asyncflask has its own loaded by pytest."""


class TestFrames:
    """Of asyncflask, in the traceback of a test that fails."""

    FILES = {
        "app": """
            from asyncflask import Flask

            app = Flask(__name__)
            app.testing = True

            @app.get("/")
            def index():
                return {}["missing"]

            @app.get("/none")
            async def none():
                pass
        """,
        "test_app": """
            import unittest
            from app import app

            def test_error():
                app.test_client().get("/")

            def test_error_that_asyncflask_raises():
                app.test_client().get("/none")

            class TestCase(unittest.TestCase):
                def test_error(self):
                    app.test_client().get("/")
        """,
    }

    def test_are_left_out(self, tmp_path: Path) -> None:
        write(tmp_path, **self.FILES)
        output = run_pytest(tmp_path, "--tb=short").stdout
        assert "3 failed" in output
        places = re.findall(r"^(\S+\.py):\d+: in (\w+)$", output, re.M)
        assert places == [
            *[("test_app.py", "test_error"), ("app.py", "index")],
            ("test_app.py", "test_error_that_asyncflask_raises"),
            *[("test_app.py", "test_error"), ("app.py", "index")],
        ]
        assert "The function is 'async def none' in app.py:12" in output

    def test_of_werkzeug_are_shown_where_there_is_no_asyncflask(self, tmp_path: Path) -> None:
        test = """
            from werkzeug.test import Client

            def test_other():
                def fail(environ, start_response):
                    raise ZeroDivisionError

                Client(fail).get("/")
        """
        write(tmp_path, test_other=test)
        output = run_pytest(tmp_path, "--tb=short").stdout
        assert "1 failed" in output
        assert re.search(r"werkzeug.test\.py:\d+: in run_wsgi_app", output)

    def test_are_shown_with_an_option(self, tmp_path: Path) -> None:
        write(tmp_path, **self.FILES)
        assert "dispatch.py" in run_pytest(tmp_path, "--full-trace", "-k", "test_error").stdout


class TestAsFlask:
    @pytest.mark.parametrize("processes", [(), ("-n", "2")])
    def test_by_its_name(self, tmp_path: Path, processes: tuple[str, ...]) -> None:
        write(tmp_path, conftest="from flask import Flask", test_flask=FLASKS)
        done = run_pytest(tmp_path, "-p", "asyncflask.as_flask", "-W", "error", *processes)
        assert "2 passed" in done.stdout, done.stdout + done.stderr

    def test_by_the_environment(self, tmp_path: Path) -> None:
        write(tmp_path, conftest="from flask import Flask", test_flask=FLASKS)
        done = run_pytest(tmp_path, FLASK_AS_FLASK="1")
        assert "2 passed" in done.stdout, done.stdout + done.stderr

    def test_not_by_an_environment_that_says_no(self, tmp_path: Path) -> None:
        write(tmp_path, test_imported="import sys\ndef test(): assert 'flask' not in sys.modules")
        done = run_pytest(tmp_path, FLASK_AS_FLASK="0")
        assert "1 passed" in done.stdout, done.stdout + done.stderr

    def test_by_itself_it_does_not_import_asyncflask(self, tmp_path: Path) -> None:
        code = "import sys, asyncflask_pytest; sys.exit('asyncflask' in sys.modules)"
        env = {k: v for k, v in os.environ.items() if k != "FLASK_AS_FLASK"}
        subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=SECONDS)

    @pytest.mark.parametrize(
        ("plugin", "said"),
        [
            ("asyncflask.as_flask", "Put '-p asyncflask.as_flask' before other '-p' options"),
            ("asyncflask_pytest", "Run 'pytest -p asyncflask.as_flask'"),
        ],
    )
    def test_too_late(self, tmp_path: Path, plugin: str, said: str) -> None:
        write(tmp_path, other_plugin="from flask import Flask", test_flask=FLASKS)
        done = run_pytest(
            tmp_path,
            "-p",
            "other_plugin",
            "-p",
            plugin,
            **ALONE,
            FLASK_AS_FLASK="1",
            PYTHONPATH=path(tmp_path),
        )
        assert done.returncode == pytest.ExitCode.USAGE_ERROR
        assert done.stderr.startswith("ERROR: ")
        assert "'other_plugin'" in done.stderr
        assert said in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr


def path(folder: Path) -> str:
    return os.pathsep.join((str(folder), *filter(None, [os.environ.get("PYTHONPATH")])))


def test_loop_guard_fails_a_test_that_blocks(tmp_path: Path) -> None:
    app = """
        import time
        from asyncflask import Flask

        app = Flask(__name__)
        app.config["LOOP_GUARD"] = 0.05

        @app.get("/slow")
        async def slow():
            time.sleep(0.3)
            return "x"

        @app.get("/quick")
        async def quick():
            return "x"
    """
    tests = """
        import time

        def test_slow(client, loop_guard):
            while not loop_guard:  # on a busy machine it may not come to look at once
                client.get("/slow")

        def test_quick(client, loop_guard):
            client.get("/quick")

        def test_unguarded(client):
            client.get("/slow")

        async def test_its_own_code(async_client, loop_guard):
            await async_client.get("/quick")
            time.sleep(0.3)
    """
    write(tmp_path, app=app, test_app=tests)
    done = run_pytest(tmp_path, "-p", "asyncflask.pytest_plugin", "-o", "asyncio_mode=auto")
    assert "4 passed, 1 error" in done.stdout, done.stdout
    assert "ERROR at teardown of test_slow" in done.stdout
    message = "View 'slow' (/slow) blocked the event loop for"
    assert message in done.stdout
    assert "app.py:10 in slow: time.sleep(0.3). Write 'await asyncio.sleep(...)'" in done.stdout
