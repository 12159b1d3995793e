"""`Response.call_on_close`: the function is called when the client has the response, whatever
serves the app. Use it for work that the client must not wait for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.raw import APPS, TESTS, Diary, get
from support.servers import Process, Server

TARGET = f"{APPS}.close_after_sending:app"

KINDS = {
    "uvicorn": None,
    "uvicorn-wrapped": None,
    "gunicorn-threads": ["--threads", "4"],
    "gunicorn-gevent": ["-k", "gevent"],
}


class Site:
    def __init__(self, server: Process, diary: Diary) -> None:
        self.server = server
        self.diary = diary


@pytest.fixture(scope="module", params=KINDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    diary = Diary(tmp_path_factory.mktemp("diary") / "diary")
    env = {**diary.env, "WRAPPED": "wrapped" if "wrapped" in request.param else ""}
    server: Process
    if (args := KINDS[request.param]) is None:
        server = Server(TARGET, app_dir=TESTS, env=env)
    else:
        command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:{port}", *args]
        server = Process([*command, "--no-control-socket", TARGET], cwd=TESTS, env=env)
    with server:
        yield Site(server, diary)


@pytest.mark.parametrize("view", ["sync", "async"])
def test_client_does_not_wait(site: Site, view: str) -> None:
    reply = get(site.server, f"/{view}?id={view}")
    assert (reply.status, reply.body) == (200, b"body")
    assert site.diary.of(view) == []
    get(site.server, "/received")
    site.diary.wait(view, "closed in time")


def test_error_comes_too_late_for_the_response(site: Site) -> None:
    reply = get(site.server, "/raises")
    assert (reply.status, reply.body) == (200, b"body")


def test_test_client_sees_the_end(tmp_path: Path) -> None:
    """A test need not close the response for the function to be called."""
    from asyncflask import Flask, make_response

    app = Flask("closing", root_path=str(tmp_path))
    closed: list[bool] = []

    @app.get("/")
    def view():  # type: ignore[no-untyped-def]
        response = make_response("body")
        response.call_on_close(lambda: closed.append(True))
        return response

    response = app.test_client().get("/")
    assert closed == [True]
    assert response.text == "body"
