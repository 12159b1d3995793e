"""Servers that report their start and stop in other ways than the lifespan protocol."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Send

from asyncflask import Flask, websocket
from asyncflask.asgi import servers
from asyncflask.async_testing import AsyncClient
from asyncflask.lifetime import serving
from support.asgi import http_scope


def of_server(package: str, **attributes: object) -> Any:
    """An object whose `receive` and `send` are those of the server of this package. What was sent
    is in `sent`."""

    async def receive(self: Any) -> Message:
        return {"type": self.message}

    async def send(self: Any, message: Message) -> None:
        self.sent.append(message)

    methods = {"__module__": f"{package}.protocol", "receive": receive, "send": send}
    return type("Protocol", (SimpleNamespace,), methods)(
        message="http.disconnect", sent=[], **attributes
    )


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_told", set())


@pytest.fixture
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers have set no handlers, as in Hypercorn's worker processes."""
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)


class TestHypercorn:
    """Its worker processes get no signal."""

    @pytest.mark.usefixtures("no_signals")
    async def test_stops_with_its_event(self) -> None:
        app = Flask("stops")
        app.get("/")(lambda: "x")
        terminated = asyncio.Event()
        connection = of_server("hypercorn", context=SimpleNamespace(terminated=terminated))
        async with serving(app, connection.receive):
            await app(http_scope(), connection.receive, connection.send)
            assert connection.sent[0]["status"] == 200
            assert not app.stopping
            terminated.set()
            while not app.stopping:
                await asyncio.sleep(0)

    @pytest.mark.usefixtures("no_signals")
    async def test_behind_middleware(self) -> None:
        """The first connection that shows the event is what it learns it from."""
        app = Flask("stops")
        app.get("/")(lambda: "x")
        terminated = asyncio.Event()
        connection = of_server("hypercorn", context=SimpleNamespace(terminated=terminated))

        async def send(message: Message) -> None:
            await connection.send(message)

        async with serving(app, connection.receive):
            await app(http_scope(), connection.receive, send)
            await app(http_scope(), connection.receive, connection.send)
            terminated.set()
            while not app.stopping:
                await asyncio.sleep(0)

    async def test_is_not_asked_where_signals_tell(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(signal, "getsignal", lambda number: lambda *args: None)
        monkeypatch.setattr(signal, "signal", lambda number, handler: None)
        app = Flask("stops")
        async with serving(app, of_server("hypercorn").receive):
            assert app._asks is None


class TestNoLifespan:
    async def test_is_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        app = Flask("unstarted")
        app.before_serving(lambda: None)
        app.get("/")(lambda: "x")
        connection = of_server("daphne")
        send = partial(connection.send)
        for _ in range(2):
            await app(http_scope(), connection.receive, send)
        (text,) = caplog.messages
        assert text.startswith("Daphne does not run the ASGI lifespan")
        assert "so the before_serving functions of the app 'unstarted' are not called" in text

    @pytest.mark.parametrize("software", ["gunicorn/27.0.1", ""])
    def test_under_wsgi(self, software: str, caplog: pytest.LogCaptureFixture) -> None:
        app = Flask("unstarted")
        app.after_serving(lambda: None)
        app.get("/")(lambda: "x")
        environ = {"SERVER_SOFTWARE": software}
        app.test_client().get("/", environ_overrides=environ)
        assert [text.partition(" ")[0] for text in caplog.messages] == (
            ["gunicorn"] if software else []
        )

    async def test_nothing_to_start(self, caplog: pytest.LogCaptureFixture) -> None:
        app = Flask("plain")
        app.get("/")(lambda: "x")
        connection = of_server("daphne")
        await app(http_scope(), connection.receive, connection.send)
        assert caplog.messages == []

    async def test_started(self, caplog: pytest.LogCaptureFixture) -> None:
        app = Flask("started")
        app.before_serving(lambda: None)
        app.get("/")(lambda: "x")
        async with AsyncClient(app) as client:
            assert (await client.get("/")).status_code == 200
        assert caplog.messages == []


@pytest.mark.parametrize("debug", [True, False])
async def test_debug_mode_knows_where_coroutines_are_created(debug: bool) -> None:
    app = Flask("origins")
    app.debug = debug
    async with AsyncClient(app):
        assert sys.get_coroutine_origin_tracking_depth() == (2 if debug else 0)
    assert sys.get_coroutine_origin_tracking_depth() == 0


class Handshake:
    """A WebSocket of a server of this package, from its handshake on."""

    def __init__(self, package: str, extensions: dict[str, Any]) -> None:
        self.connection = of_server(package)
        self.connection.message = "websocket.connect"
        self.scope = http_scope(headers=[("host", "localhost")])
        del self.scope["scheme"], self.scope["method"]
        self.scope.update(type="websocket", subprotocols=[], extensions=extensions)

    async def with_app(self, app: Flask, send: Send | None = None) -> list[Message]:
        receive: Receive = self.connection.receive
        await app(self.scope, receive, send or self.connection.send)
        sent: list[Message] = self.connection.sent
        return sent


@pytest.fixture
def app() -> Flask:
    app = Flask("sockets")

    @app.websocket("/")
    async def index() -> Any:
        return "no", 401

    return app


class TestWebSockets:
    async def test_denial_without_the_extension(
        self, app: Flask, caplog: pytest.LogCaptureFixture
    ) -> None:
        sent = await Handshake("gunicorn", {}).with_app(app)
        assert [message["type"] for message in sent] == ["websocket.close"]
        assert "gunicorn cannot reject a WebSocket with a response" in caplog.text
        assert "instead of the app's status 401" in caplog.text

    async def test_denial_with_it(self, app: Flask, caplog: pytest.LogCaptureFixture) -> None:
        sent = await Handshake("uvicorn", {"websocket.http.response": {}}).with_app(app)
        assert sent[0]["status"] == 401
        assert caplog.messages == []

    @pytest.mark.parametrize("package", ["granian", "uvicorn"])
    async def test_headers_of_accept(self, package: str, caplog: pytest.LogCaptureFixture) -> None:
        app = Flask("accepts")

        @app.websocket("/")
        async def index() -> None:
            await websocket.accept(headers=[("X-Room", "tea")])

        sent = await Handshake(package, {}).with_app(app)
        assert sent[0]["headers"] == [(b"x-room", b"tea")]
        assert ("Granian does not send headers" in caplog.text) is (package == "granian")

    async def test_close_code_that_is_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        app = Flask("closes")

        @app.websocket("/")
        async def index() -> None:
            await websocket.accept()
            await websocket.close(1011, "why")

        handshake = Handshake("daphne", {})

        async def send(message: Message) -> None:
            if message["type"] == "websocket.close" and 1000 < message["code"] < 3000:
                raise Exception("invalid close code")
            await handshake.connection.send(message)

        sent = await handshake.with_app(app, send)
        assert sent[-1] == {"type": "websocket.close", "code": 4011, "reason": "why"}
        assert "does not send the close code 1011: the client gets 4011" in caplog.text

    async def test_scheme_that_is_left_out(self) -> None:
        app = Flask("scheme")

        @app.websocket("/")
        async def index() -> None:
            await websocket.send(websocket.scope["scheme"])

        sent = await Handshake("daphne", {}).with_app(app)
        assert sent[1] == {"type": "websocket.send", "text": "ws"}
