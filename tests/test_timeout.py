"""`timeout=` of routes: what the client receives when a view takes too long, and what the view
does."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from asyncflask import Flask, request
from asyncflask.async_testing import AsyncClient
from support.servers import Process, python_path

TOO_SHORT = 0.05
SECONDS = 45.0


class Seen:
    """What the hooks of an app have seen, and when a view may go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.ended = threading.Event()
        self.teardown: list[tuple[int, BaseException | None]] = []
        self.after: list[int] = []
        self.view: list[int] = []


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    yield seen
    seen.go_on.set()


@pytest.fixture
def app(seen: Seen) -> Flask:
    app = Flask("timeout", static_folder=None)

    @app.after_request
    def after(response: Any) -> Any:
        seen.after.append(response.status_code)
        return response

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        seen.teardown.append((threading.get_ident(), error))
        seen.ended.set()

    @app.get("/quick/sync", timeout=SECONDS)
    def quick() -> str:
        return "quick"

    @app.get("/quick/async", timeout=SECONDS)
    async def quick_async() -> str:
        return "quick"

    @app.get("/slow/async", timeout=TOO_SHORT)
    async def slow_async() -> str:
        await asyncio.sleep(SECONDS)
        raise AssertionError

    @app.route("/slow/sync", methods=["GET", "POST"], timeout=TOO_SHORT)
    def slow() -> str:
        seen.go_on.wait(SECONDS)
        seen.view.append(threading.get_ident())
        if "fail" in request.args:
            raise ValueError("too late")
        return "nobody sees this"

    @app.get("/own", timeout=SECONDS)
    async def own() -> str:
        raise TimeoutError("of the view's own")

    return app


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_in_time(app: Flask, colour: str) -> None:
    async with AsyncClient(app) as client:
        assert (await client.get(f"/quick/{colour}")).text == "quick"


async def test_async_view_is_cancelled(app: Flask, seen: Seen) -> None:
    app.register_error_handler(503, lambda error: ("mine", 503))
    async with AsyncClient(app) as client:
        response = await client.get("/slow/async")
    assert (response.status_code, response.text) == (503, "mine")
    assert seen.after == [503]
    assert len(seen.teardown) == 1


async def test_sync_view_runs_on(app: Flask, seen: Seen) -> None:
    go_on_when_answered(app, seen)
    async with AsyncClient(app) as client:
        response = await client.get("/slow/sync")
    assert response.status_code == 503
    assert "too long" in response.text
    assert seen.after == []  # it was answered before there was a response to be seen
    assert [thread for thread, _ in seen.teardown] == seen.view  # torn down when it had ended


async def test_late_errors_are_logged(
    app: Flask, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    go_on_when_answered(app, seen)
    async with AsyncClient(app) as client:
        assert (await client.get("/slow/sync?fail=1")).status_code == 503
    assert "A view raised an exception after its timeout" in caplog.text
    assert "too late" in caplog.text


def go_on_when_answered(app: Flask, seen: Seen) -> None:
    """The view that waits goes on when its client has been answered."""

    class GoOn:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def sent(message: Any) -> None:
                if message["type"] == "http.response.start":
                    seen.go_on.set()
                await send(message)

            await self.app(scope, receive, sent)

    app.add_middleware(GoOn)


def test_under_wsgi_the_answer_is_the_same(app: Flask, seen: Seen) -> None:
    go_on_when_answered(app, seen)
    response = app.test_client().get("/slow/sync")
    assert response.status_code == 503
    assert len(seen.teardown) == 1


async def test_own_errors_are_others(app: Flask) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    async with AsyncClient(app) as client:
        assert (await client.get("/own")).status_code == 500


def test_options_are_checked(app: Flask) -> None:
    with pytest.raises(TypeError, match=r"receive\(timeout="):
        app.websocket("/ws", timeout=3)(lambda: None)
    with pytest.raises(TypeError, match="number of seconds"):
        app.get("/x", timeout="3")(lambda: "x")


SERVED = """
import threading, time
from asyncflask import Flask, request

app = Flask("served", static_folder=None)
go_on = threading.Event()
ended = []  # with what the requests above were torn down

@app.get("/sync", timeout=0.2)
def sync():
    go_on.wait(45)
    return "nobody sees this"

@app.get("/async", timeout=0.2)
async def asynchronous():
    import asyncio
    await asyncio.sleep(45)

@app.teardown_request
def teardown(error):
    if request.path != "/go-on":
        ended.append(type(error).__name__)

@app.get("/go-on")
async def set_go_on():
    go_on.set()
    return ended
"""


def test_served(tmp_path: Path) -> None:
    (tmp_path / "served_app.py").write_text(SERVED)
    command = [sys.executable, "-m", "uvicorn", "served_app:app", "--port", "{port}"]
    with (
        Process(command, env=python_path(tmp_path)) as server,
        httpx.Client(base_url=server.url, timeout=SECONDS) as client,
    ):
        # The client has its answer while the view still waits, and may go on asking.
        assert client.get("/sync").status_code == 503
        assert client.head("/sync").content == b""
        assert client.get("/async").status_code == 503
        assert client.get("/go-on").status_code == 200
        while len(ended := client.get("/go-on").json()) < 3:
            pass
        assert sorted(ended) == ["Answered", "Answered", "NoneType"]
