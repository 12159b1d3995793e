"""The in-memory WebSocket client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from asyncflask.asgi.client import WebSocketDenied, WebSocketSession


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    socket = WebSocket(scope, receive, send)
    await socket.accept(
        subprotocol=next(iter(scope["subprotocols"]), None), headers=[(b"a", b"b")]
    )
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") == "close":
            await socket.close(4000, "as you wish")
            return
        await socket.send({**message, "type": "websocket.send"})


async def test_in_asynchronous_code() -> None:
    async with WebSocketSession(echo, "/path", subprotocols=["chat"]) as session:
        assert session.accepted_subprotocol == "chat"
        assert session.response_headers == [("a", "b")]
        await session.send("text")
        assert await session.receive() == "text"
        await session.send(b"bytes")
        assert await session.receive() == b"bytes"
        await session.send_json({"a": 1})
        assert await session.receive_json() == {"a": 1}


def test_in_plain_code() -> None:
    with WebSocketSession(echo, "/") as session:
        assert session.accepted_subprotocol is None
        session.send_json([1])
        assert session.receive_json() == [1]
        session.send("last")
        session.send("close")
        assert list(session) == ["last"]
        with pytest.raises(WebSocketDisconnect):
            session.receive()


async def test_plain_with_in_asynchronous_code() -> None:
    with pytest.raises(RuntimeError, match="'async with'"), WebSocketSession(echo, "/"):
        raise AssertionError("entered")


async def test_app_closes() -> None:
    async with WebSocketSession(echo, "/") as session:
        await session.send("close")
        with pytest.raises(WebSocketDisconnect) as caught:
            await session.receive()
        assert (caught.value.code, caught.value.reason) == (4000, "as you wish")
        assert [message async for message in session] == []


async def test_messages_until_the_app_closes() -> None:
    async with WebSocketSession(echo, "/") as session:
        for message in ("one", "two", "close"):
            await session.send(message)
        assert [message async for message in session] == ["one", "two"]


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_client_leaves(code: int) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        seen.append(await socket.receive())

    async with WebSocketSession(app, "/") as session:
        await session.close(code, "bye")
    assert seen == [{"type": "websocket.disconnect", "code": code, "reason": "bye"}]


@pytest.mark.parametrize(
    ("url", "base_url", "expected"),
    [
        (
            "/a%20b?q=1",
            "http://localhost",
            {"scheme": "ws", "path": "/a b", "query_string": b"q=1", "server": ("localhost", 80)},
        ),
        ("/", "https://example.org", {"scheme": "wss", "server": ("example.org", 443)}),
        ("/", "http://example.org:8000", {"scheme": "ws", "server": ("example.org", 8000)}),
        ("wss://other.example/", "http://localhost", {"scheme": "wss", "path": "/"}),
    ],
)
def test_scope(url: str, base_url: str, expected: dict[str, Any]) -> None:
    scope = WebSocketSession(echo, url, base_url=base_url).scope
    assert {key: scope[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("url", "headers", "host"),
    [
        ("/", {}, b"example.org:8000"),
        ("ws://other.example/", [], b"other.example"),
        ("/", {"Host": "own.example"}, b"own.example"),
        ("/", [("HOST", "own.example")], b"own.example"),
    ],
)
def test_host(url: str, headers: Any, host: bytes) -> None:
    session = WebSocketSession(echo, url, base_url="http://example.org:8000", headers=headers)
    hosts = [value for name, value in session.scope["headers"] if name == b"host"]
    assert hosts == [host]


class TestDenied:
    async def test_by_a_close(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.close"})

        with pytest.raises(WebSocketDenied) as caught:
            async with WebSocketSession(app, "/"):
                pytest.fail("must not be run")
        assert (caught.value.status_code, caught.value.body) == (403, b"")

    async def test_by_a_response(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            kind = "websocket.http.response"
            await receive()
            await send({"type": f"{kind}.start", "status": 401, "headers": [(b"a", b"b")]})
            await send({"type": f"{kind}.body", "body": b"who ", "more_body": True})
            await send({"type": f"{kind}.body", "body": b"are you?"})

        with pytest.raises(WebSocketDenied) as caught:
            async with WebSocketSession(app, "/"):
                pytest.fail("must not be run")
        denied = caught.value
        assert (denied.status_code, denied.headers) == (401, [("a", "b")])
        assert denied.body == b"who are you?"


class TestErrorsOfTheApp:
    async def test_before_the_handshake(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            async with WebSocketSession(app, "/"):
                pytest.fail("must not be run")

    @staticmethod
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.receive()
        raise ValueError("no")

    async def test_while_receiving(self) -> None:
        async with WebSocketSession(self.fails, "/") as session:
            await session.send("x")
            with pytest.raises(ValueError, match="no"):
                await session.receive()

    async def test_at_the_end(self) -> None:
        with pytest.raises(ValueError, match="no"):
            async with WebSocketSession(self.fails, "/"):
                pass

    async def test_not_in_place_of_the_blocks_own(self) -> None:
        with pytest.raises(LookupError):
            async with WebSocketSession(self.fails, "/"):
                raise LookupError

    async def test_end_without_a_close(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await WebSocket(scope, receive, send).accept()

        async with WebSocketSession(app, "/") as session:
            for _ in range(2):
                with pytest.raises(WebSocketDisconnect) as caught:
                    await session.receive()
                assert caught.value.code == 1006

    async def test_app_that_does_not_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await WebSocket(scope, receive, send).accept()
            await asyncio.Event().wait()

        wait = asyncio.wait
        monkeypatch.setattr(
            asyncio,
            "wait",
            lambda tasks, timeout=None: wait(tasks, timeout=timeout and 0.01),
        )
        with pytest.raises(RuntimeError, match="did not end within"):
            async with WebSocketSession(app, "/"):
                pass
