"""The plugin `served`: a suite like those that are run with it, and what becomes of each test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.suites import Run, run_pytest, ways_of

SUITE = """
import io
import threading

import pytest

from asyncflask import Flask, g, redirect, request, session, stream_with_context


@pytest.fixture
def app():
    app = Flask(__name__)
    app.config.update(TESTING=True, SECRET_KEY="of this test")
    return app


def test_scope_is_a_servers(app):
    @app.get("/a b")
    def show():
        scope = request.environ["asyncflask.scope"]
        assert not [key for key in scope if key.startswith("asyncflask")]
        return [scope["raw_path"].decode(), request.host, request.remote_addr]

    answer = app.test_client().get("/a%20b?c", base_url="http://example.org")
    assert answer.json == ["/a%20b", "example.org", "127.0.0.1"]


def test_behind_a_proxy(app):
    app.add_url_rule("/", "index", lambda: [request.url, request.remote_addr])
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    answer = client.get("/", base_url="https://example.org/root")
    assert answer.json == ["https://example.org/root/", "192.0.2.1"]


def test_cookies_and_redirects(app):
    @app.post("/login")
    def login():
        session["name"] = request.form["name"]
        return redirect("/")

    app.add_url_rule("/", "index", lambda: session["name"])
    client = app.test_client()
    assert client.post("/login", data={"name": "you"}, follow_redirects=True).text == "you"
    with client.session_transaction() as opened:
        assert opened["name"] == "you"


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_errors_reach_the_test(app, error):
    @app.get("/")
    async def index():
        raise error("on purpose")

    with pytest.raises(error, match="on purpose"):
        app.test_client().get("/")


def test_error_in_a_stream(app):
    @app.get("/")
    def index():
        def generate():
            yield "first"
            raise ValueError("on purpose")

        return generate()

    with pytest.raises(ValueError, match="on purpose"):
        app.test_client().get("/").get_data()


def test_stream_that_is_left(app):
    closed = threading.Event()

    @app.get("/")
    def index():
        def generate():
            try:
                while True:
                    yield "x" * 1000
            finally:
                closed.set()

        return stream_with_context(generate())

    with app.test_client().get("/") as answer:
        assert next(answer.iter_encoded()).startswith(b"x")
    assert closed.is_set()


@pytest.mark.parametrize("streamed", [False, True])
def test_contexts_are_kept(app, streamed):
    @app.get("/")
    def index():
        g.name = session["name"] = "you"
        return stream_with_context(iter(["text"])) if streamed else "text"

    with app.test_client() as client:
        assert client.get("/?a=b").text == "text"
        assert (g.name, session["name"], request.args["a"]) == ("you", "you", "b")


def test_body_shorter_than_it_says(app):
    @app.post("/")
    def index():
        return request.get_data()

    builder = {"input_stream": io.BytesIO(b"short"), "environ_overrides": {"CONTENT_LENGTH": "9"}}
    assert app.test_client().post("/", **builder).status_code == 400


def test_environ_of_its_own(app):
    app.add_url_rule("/", "index", lambda: request.environ["REMOTE_USER"])
    answer = app.test_client().get("/", environ_base={"REMOTE_USER": "you"})
    assert answer.text == "you"
"""


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_suite(tmp_path: Path, http: str) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    suite: Run = run_pytest(
        sys.executable,
        ["-p", "served", "-p", "no:cacheprovider", "-W", "error", "--rootdir=."],
        cwd=tmp_path,
        record=tmp_path / "record.jsonl",
        variables={"SERVED_HTTP": http},
    )
    assert {t: r for t, r in suite.results.items() if r.outcome != "passed"} == {}
    assert ways_of(suite) == (
        "Requests of the test client: 10 over a socket, 1 by a bare scope, 1 by the in-process"
        " client."
    )
