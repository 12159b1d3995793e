"""The socket in a WebSocket's environ, used as WSGI libraries use it: in sync handlers, with
frames written and read by wsproto."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.events import Message as WSMessage

from asyncflask import Flask, request, session, websocket
from asyncflask.asgi.client import WebSocketDenied, WebSocketSession
from asyncflask.async_testing import AsyncClient
from asyncflask.sessions import SecureCookieSessionInterface


class Library:
    """The server's side of the protocol on the socket of *environ*."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.socket = environ["werkzeug.socket"]
        self.connection = WSConnection(ConnectionType.SERVER)
        lines = [
            f"{key[5:].replace('_', '-')}: {value}"
            for key, value in environ.items()
            if key.startswith("HTTP_")
        ]
        self.connection.receive_data("\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode())
        (event,) = self.connection.events()
        assert isinstance(event, Request)
        self.request = event

    def accept(self, subprotocol: str | None = None) -> Library:
        self.send(AcceptConnection(subprotocol=subprotocol))
        return self

    def send(self, event: Event) -> None:
        data = self.connection.send(event)
        for at in range(0, len(data), 60_000):  # as if it came in parts
            self.socket.send(data[at : at + 60_000])

    def event(self) -> Event | None:
        """The next one, `None` for the end of the connection."""
        for event in self.connection.events():
            return event
        data = self.socket.recv(4096)
        if not data:
            return None
        self.connection.receive_data(data)
        return self.event()

    def message(self) -> str | bytes:
        """The next whole message."""
        parts: list[Any] = []
        while True:
            event = self.event()
            assert isinstance(event, WSMessage)
            parts.append(event.data)
            if event.message_finished:
                empty: Any = type(parts[0])()
                return empty.join(parts)  # type: ignore[no-any-return]


Handler = Callable[[Library], Any]


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "for tests"
    return app


def client_of(app: Flask, handler: Handler, **options: Any) -> WebSocketSession:
    """A client of *handler*, which is given the library with the handshake answered."""

    @app.get("/", **ws)
    def view() -> Any:
        library = Library(request.environ).accept()
        with closing(library.socket):
            return handler(library)

    return WebSocketSession(app, "/", **options)


ws: Any = {"websocket": True}


async def end_of(client: WebSocketSession) -> tuple[int, str]:
    with pytest.raises(WebSocketDisconnect) as caught:
        await client.receive()
    return caught.value.code, caught.value.reason or ""


def echo(library: Library) -> None:
    message = library.message()
    if isinstance(message, str):
        library.send(TextMessage(message))
    else:
        library.send(BytesMessage(message))


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 1_000_000])
@pytest.mark.parametrize("character", ["x", b"x"])
async def test_messages(app: Flask, character: Any, size: int) -> None:
    async with client_of(app, echo) as client:
        await client.send(character * size)
        assert await client.receive() == character * size


async def test_message_in_fragments(app: Flask) -> None:
    def handler(library: Library) -> None:
        library.send(TextMessage("a", message_finished=False))
        library.send(Ping())
        library.send(TextMessage("ä", message_finished=False))
        library.send(TextMessage("b"))
        library.send(BytesMessage(b"c", message_finished=False))
        library.send(BytesMessage(b"d"))

    async with client_of(app, handler) as client:
        assert await client.receive() == "aäb"
        assert await client.receive() == b"cd"


async def test_subprotocol(app: Flask) -> None:
    @app.get("/", **ws)
    def handler() -> Any:
        library = Library(request.environ)
        assert library.request.subprotocols == ["a", "b"]
        library.accept("b").socket.close()

    async with WebSocketSession(app, "/", subprotocols=["a", "b"]) as client:
        assert client.accepted_subprotocol == "b"


async def test_compression_is_not_offered(app: Flask) -> None:
    def handler(library: Library) -> None:
        assert library.request.extensions == []

    headers = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    async with client_of(app, handler, headers=headers) as client:
        assert await end_of(client) == (1000, "")


async def test_pings_are_answered(app: Flask) -> None:
    def handler(library: Library) -> None:
        library.send(Ping(b"payload"))
        event = library.event()
        assert isinstance(event, Pong)
        assert event.payload == b"payload"

    async with client_of(app, handler) as client:
        assert await end_of(client) == (1000, "")


async def test_pongs_are_taken(app: Flask) -> None:
    def handler(library: Library) -> None:
        library.send(Pong())
        echo(library)

    async with client_of(app, handler) as client:
        await client.send("a")
        assert await client.receive() == "a"


async def test_what_was_sent_before_the_end_arrives(app: Flask) -> None:
    def handler(library: Library) -> str:
        for number in range(100):
            library.send(TextMessage(str(number)))
        return "nobody reads this"

    async with client_of(app, handler) as client:
        assert [await client.receive() for _ in range(100)] == [str(n) for n in range(100)]
        assert await end_of(client) == (1000, "")


async def test_closed_by_the_handler(app: Flask) -> None:
    def handler(library: Library) -> None:
        library.send(TextMessage("last"))
        library.send(CloseConnection(4001, "reason"))

    async with client_of(app, handler) as client:
        assert await client.receive() == "last"
        assert await end_of(client) == (4001, "reason")


async def test_closed_by_the_handler_without_a_code(app: Flask) -> None:
    def handler(library: Library) -> None:
        library.socket.sendall(b"\x88\x00")

    async with client_of(app, handler) as client:
        assert await end_of(client) == (1000, "")


async def test_error(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def handler(library: Library) -> None:
        library.send(TextMessage("before"))
        raise LookupError("seen in the log")

    async with client_of(app, handler) as client:
        assert await client.receive() == "before"
        assert await end_of(client) == (1011, "")
    assert "seen in the log" in caplog.text


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"code": 4002, "reason": "enough"}, CloseConnection(4002, "enough")),
        ({"code": 1005}, CloseConnection(1005, "")),
        ({"code": 1006}, None),
    ],
)
async def test_client_leaves(app: Flask, message: Message, expected: Any) -> None:
    seen: list[Any] = []
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handler(library: Library) -> None:
        seen.extend([library.message(), library.event()])
        loop.call_soon_threadsafe(ended.set)

    async with client_of(app, handler) as client:
        await client.send("a")
        await client._to_app.put({"type": "websocket.disconnect", **message})
        await asyncio.wait_for(ended.wait(), 10)
    assert seen == ["a", expected]


async def test_client_leaves_while_the_handler_sends(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()

    def handler(library: Library) -> None:
        try:
            while True:
                library.send(TextMessage("x" * 10_000))
        except OSError:
            ended.set()

    caplog.set_level(logging.ERROR)
    async with client_of(app, handler) as client:
        await client.receive()
    assert await asyncio.to_thread(ended.wait, 10)
    assert caplog.text == ""


async def test_client_that_sends_and_does_not_read(app: Flask) -> None:
    """It is cut off; a library that reads and writes on one thread is not left waiting."""
    app.config["WEBSOCKET_SEND_TIMEOUT"] = 0.1
    served, ended = app.asgi_app, threading.Event()

    async def not_read(scope: Any, receive: Any, send: Any) -> None:
        async def stuck(message: Message) -> None:
            if message["type"] == "websocket.send":
                await asyncio.Event().wait()
            await send(message)

        await served(scope, receive, stuck)

    def handler(library: Library) -> None:
        frame = library.connection.send(BytesMessage(b"x" * 100_000))
        try:
            while library.socket.recv(100):
                library.socket.sendall(frame)
        except OSError:
            ended.set()

    app.asgi_app = not_read  # type: ignore[method-assign]
    async with client_of(app, handler) as client:
        for _ in range(50):
            await client.send(b"x" * 100_000)
        assert await asyncio.to_thread(ended.wait, 10)
        assert (await end_of(client))[0] == 1013


async def test_server_stops(app: Flask) -> None:
    seen: list[Any] = []

    def handler(library: Library) -> None:
        library.send(TextMessage("ready"))
        seen.append(library.event())

    async with client_of(app, handler) as client:
        await client.receive()
        await app._conversations.stop(10)
        assert await end_of(client) == (1012, "")
    assert seen == [CloseConnection(1012, "")]


async def test_a_handler_that_waits_takes_no_slot(app: Flask) -> None:
    app.config["WORKER_THREADS"] = 1
    app.add_url_rule("/plain", "plain", lambda: "answered")
    async with client_of(app, echo) as client, AsyncClient(app) as other:
        assert (await other.get("/plain")).text == "answered"
        assert (await other.get("/plain")).text == "answered"
        await client.send("a")
        assert await client.receive() == "a"


async def test_session_interface_that_works_on_the_thread(app: Flask) -> None:
    class Interface(SecureCookieSessionInterface):
        """Not the one that is known to wait for nothing."""

    app.session_interface = Interface()

    @app.get("/", **ws)
    def handler() -> Any:
        session["user"] = "ann"
        Library(request.environ).accept().socket.close()

    async with WebSocketSession(app, "/") as client:
        assert any(name == "set-cookie" for name, _ in client.response_headers)
        assert await end_of(client) == (1000, "")


async def test_refused(app: Flask) -> None:
    @app.get("/", **ws)
    def handler() -> Any:
        library = Library(request.environ)
        library.send(RejectConnection(status_code=401))
        library.socket.close()

    with pytest.raises(WebSocketDenied) as caught:
        async with WebSocketSession(app, "/"):
            pytest.fail("must not be run")
    assert caught.value.status_code == 403


async def test_in_an_async_handler(app: Flask) -> None:
    errors: list[Exception] = []

    @app.websocket("/")
    async def handler() -> None:
        try:
            Library(request.environ).accept()
        except RuntimeError as error:
            errors.append(error)
        await websocket.send("ours")

    async with WebSocketSession(app, "/") as client:
        assert await client.receive() == "ours"
    assert "await websocket.receive()" in str(errors[0])


async def test_looking_at_the_environ_opens_nothing(app: Flask) -> None:
    @app.websocket("/")
    def handler() -> Any:
        assert "EnvironSocket" in repr(request.environ)
        assert not hasattr(request.environ["werkzeug.socket"], "__len__")
        return "denied", 418

    with pytest.raises(WebSocketDenied) as caught:
        async with WebSocketSession(app, "/"):
            pytest.fail("must not be run")
    assert caught.value.status_code == 418


async def test_replaced_pipeline(app: Flask) -> None:
    """An extension may run the whole pipeline from sync code."""
    original = app.full_dispatch_request
    app.full_dispatch_request = lambda: original()  # type: ignore[method-assign]
    async with client_of(app, echo) as client:
        await client.send("a")
        assert await client.receive() == "a"
        assert await end_of(client) == (1000, "")
