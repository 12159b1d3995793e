"""The WebSocket connection, with a client made of two queues."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any
from weakref import ref

import pytest
from starlette.types import Message, Scope
from starlette.websockets import WebSocketDisconnect

from asyncflask import Flask, Response, abort
from asyncflask import websocket as current
from asyncflask.asgi import connection as module
from asyncflask.asgi import inbox
from asyncflask.asgi.threads import Driver
from asyncflask.asgi.websocket import WebSocket
from asyncflask.asgi.websocket_rules import (
    STEPS,
    State,
    WebSocketOptions,
    check_returned,
    origin_allowed,
)
from support.asgi import http_scope


@pytest.mark.parametrize(
    ("scheme", "host", "origin", "allowed", "expected"),
    [
        # no Origin: not a browser
        ("ws", "example.org", None, None, True),
        ("ws", "example.org", None, [], True),
        # the page's own host, scheme and port
        ("ws", "example.org", "http://example.org", None, True),
        ("wss", "example.org", "https://example.org", None, True),
        ("ws", "example.org:80", "http://example.org", None, True),
        ("wss", "example.org", "https://example.org:443", None, True),
        ("ws", "example.org:8000", "http://example.org:8000", None, True),
        ("ws", "EXAMPLE.org", "http://example.ORG", None, True),
        ("ws", "[::1]:8000", "http://[::1]:8000", None, True),
        ("ws", "example.org", "https://example.org", None, False),
        ("wss", "example.org", "http://example.org", None, False),
        ("ws", "example.org", "http://example.org:8000", None, False),
        ("ws", "example.org:8000", "http://example.org", None, False),
        ("ws", "example.org", "http://evil.example", None, False),
        ("ws", "example.org", "http://example.org.evil.example", None, False),
        ("ws", "example.org", "http://sub.example.org", None, False),
        # what is no origin
        ("ws", "example.org", "null", None, False),
        ("ws", "example.org", "", None, False),
        ("ws", "example.org", "example.org", None, False),
        ("ws", "example.org", "http://example.org/path", None, False),
        ("ws", "example.org", "http://user@example.org", None, False),
        ("ws", "example.org", "http://example.org?q", None, False),
        ("ws", "example.org", "http://example.org:x", None, False),
        ("ws", "example.org", "http://[::1", None, False),
        # those that are allowed
        ("ws", "example.org", "https://other.example", ["https://other.example"], True),
        ("ws", "example.org", "https://other.example:443", ["https://other.example"], True),
        ("ws", "example.org", "http://other.example", ["https://other.example"], False),
        ("ws", "example.org", "http://example.org", ["https://other.example"], True),
        ("ws", "example.org", "null", ["null"], False),
        ("ws", "example.org", "http://evil.example", ["*"], True),
        ("ws", "example.org", "null", ["*"], True),
    ],
)
def test_origin_allowed(
    scheme: str, host: str, origin: str | None, allowed: list[str] | None, expected: bool
) -> None:
    headers = [("host", host)]
    if origin is not None:
        headers.append(("origin", origin))
    assert origin_allowed(http_scope(headers=headers, scheme=scheme), allowed) is expected


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "a"), ("origin", "http://a"), ("origin", "http://a")],
        [("host", "a"), ("host", "a"), ("origin", "http://a")],
    ],
)
def test_repeated_headers(headers: list[tuple[str, str]]) -> None:
    assert not origin_allowed(http_scope(headers=headers, scheme="ws"), None)


async def turns_of_others(steps: Iterable[Awaitable[object]]) -> int:
    """How often another task runs while *steps* are awaited, one after the other."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for step in steps:
        await step
    task.cancel()
    return turns


class Client:
    """The other end, and the reader that the pipeline starts."""

    __module__ = "uvicorn.test"  # as a server's connection, which a middleware's is not

    def __init__(self, middleware: bool = False, **scope: Any) -> None:
        self.to_app: asyncio.Queue[Message] = asyncio.Queue()
        self.to_app.put_nowait({"type": "websocket.connect"})
        self.sent: list[Message] = []
        self.transport: Any = None
        self.before_send: Callable[[Message], Awaitable[None]] | None = None
        self.scope: Scope = {**http_scope(), "type": "websocket", "subprotocols": [], **scope}
        self.driver = Driver(asyncio.get_running_loop())

        async def receive() -> Message:
            return await self.to_app.get()

        async def send(message: Message) -> None:
            await self.send(message)

        server = (receive, send) if middleware else (self.to_app.get, self.send)
        self.websocket = WebSocket(self.scope, *server, self.driver, self.accept_headers)
        self.app = Flask(__name__, static_folder=None)
        self.websocket.json_module = self.app.json

    async def accept_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"set-cookie", b"session=1")]

    async def send(self, message: Message) -> None:
        if self.before_send is not None:
            await self.before_send(message)
        self.sent.append(message)

    def say(self, *messages: str | bytes) -> None:
        for data in messages:
            key = "text" if isinstance(data, str) else "bytes"
            self.to_app.put_nowait({"type": "websocket.receive", key: data})

    def leave(self, code: int = 1001, reason: str = "bye") -> None:
        self.to_app.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def run(self, handler: Callable[[WebSocket], Awaitable[Any]]) -> Any:
        """Run *handler* with the connection read beside it."""
        watch = asyncio.create_task(self.websocket.gone())
        try:
            return await asyncio.wait_for(handler(self.websocket), 30)
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def run_plain(self, handler: Callable[[WebSocket], Any]) -> Any:
        async def main() -> Any:
            return await self.driver.call(handler, self.websocket)

        async def drive(websocket: WebSocket) -> Any:
            try:
                return await self.driver.run(main())
            finally:
                self.driver.release()

        return await self.run(drive)


ACCEPTED = {
    "type": "websocket.accept",
    "subprotocol": None,
    "headers": [(b"set-cookie", b"session=1")],
}


class TestAccept:
    async def test_by_hand(self) -> None:
        client = Client(subprotocols=["chat", "superchat"])

        async def handler(websocket: WebSocket) -> None:
            assert websocket.requested_subprotocols == ["chat", "superchat"]
            assert not websocket.accepted
            await websocket.accept("superchat", headers=[("X-Name", "value")])
            assert websocket.accepted

        await client.run(handler)
        assert client.sent == [
            {
                "type": "websocket.accept",
                "subprotocol": "superchat",
                "headers": [(b"set-cookie", b"session=1"), (b"x-name", b"value")],
            }
        ]

    async def test_client_that_has_just_left(self) -> None:
        """uvicorn takes the message, does nothing with it, and raises an error for the next."""

        class Transport:
            def is_closing(self) -> bool:
                return True

        client = Client()
        client.transport = Transport()

        async def handler(websocket: WebSocket) -> None:
            await websocket.send("text")

        with pytest.raises(WebSocketDisconnect):
            await client.run(handler)
        assert client.sent == [ACCEPTED]
        assert client.websocket.closed

    @pytest.mark.parametrize("first_use", ["receive", "send", "receive_json", "send_json"])
    async def test_on_first_use(self, first_use: str) -> None:
        client = Client()
        client.say("{}")

        async def handler(websocket: WebSocket) -> None:
            args = ("{}",) if first_use.startswith("send") else ()
            await getattr(websocket, first_use)(*args)

        await client.run(handler)
        assert client.sent[0] == ACCEPTED

    async def test_twice(self) -> None:
        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            with pytest.raises(RuntimeError, match="Call 'accept' once"):
                await websocket.accept()

        await Client().run(handler)

    async def test_subprotocol_that_was_not_offered(self) -> None:
        async def handler(websocket: WebSocket) -> None:
            with pytest.raises(ValueError, match=r"'c'\. It offers \['a', 'b'\]"):
                await websocket.accept("c")

        client = Client(subprotocols=["a", "b"])
        await client.run(handler)
        assert client.sent == []

    async def test_after_the_close(self) -> None:
        async def handler(websocket: WebSocket) -> None:
            await websocket.close(4000, "no")
            with pytest.raises(RuntimeError, match="closed by its handler"):
                await websocket.accept()

        client = Client()
        await client.run(handler)
        assert client.sent == [{"type": "websocket.close", "code": 4000, "reason": "no"}]

    async def test_client_that_left_meanwhile(self) -> None:
        client = Client()

        async def gone(message: Message) -> None:
            raise OSError

        client.before_send = gone

        async def handler(websocket: WebSocket) -> None:
            with pytest.raises(WebSocketDisconnect):
                await websocket.accept()
            assert websocket.close_code == 1006

        await client.run(handler)

    @pytest.mark.parametrize(
        ("offered", "agreed"), [(["a", "b", "c"], "c"), (["b"], "b"), (["x"], None), ([], None)]
    )
    async def test_subprotocols_of_the_route(self, offered: list[str], agreed: str | None) -> None:
        client = Client(subprotocols=offered)
        client.websocket.configure(WebSocketOptions(subprotocols=["c", "b"]))
        await client.run(lambda websocket: websocket.accept())
        assert client.sent[0]["subprotocol"] == agreed
        assert client.websocket.subprotocol == agreed

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"subprotocols": "chat"}, r"Write subprotocols=\['chat'\]"),
            ({"send_policy": "drop"}, "'drop_oldest'"),
            ({"send_timeout": 0}, "above 0"),
            ({"send_queue": -1}, "above 0"),
            ({"send_queue_bytes": 0}, "above 0"),
            ({"max_message_size": 0}, "above 0"),
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any], match: str) -> None:
        with pytest.raises((TypeError, ValueError), match=match):
            WebSocketOptions(**options)


class TestMessages:
    async def test_echo(self) -> None:
        client = Client()
        client.say("text", b"bytes", "")

        async def handler(websocket: WebSocket) -> None:
            for _ in range(3):
                await websocket.send(await websocket.receive())

        await client.run(handler)
        assert client.sent == [
            ACCEPTED,
            {"type": "websocket.send", "text": "text"},
            {"type": "websocket.send", "bytes": b"bytes"},
            {"type": "websocket.send", "text": ""},
        ]

    async def test_plain_handler(self) -> None:
        client = Client()
        client.say("one", "two")

        def handler(websocket: WebSocket) -> str:
            for message in websocket.sync:
                websocket.sync.send(message)
                if message == "two":
                    client.driver.loop.call_soon_threadsafe(client.leave)
            assert websocket.closed
            return threading.current_thread().name

        assert await client.run_plain(handler) == "asyncflask-worker"
        assert [message["text"] for message in client.sent[1:]] == ["one", "two"]

    async def test_iteration_ends_with_the_client(self) -> None:
        client = Client()
        client.say("one", b"two")
        client.leave(1001, "bye")

        async def handler(websocket: WebSocket) -> list[str | bytes]:
            return [message async for message in websocket]

        assert await client.run(handler) == ["one", b"two"]
        assert (client.websocket.close_code, client.websocket.close_reason) == (1001, "bye")

    async def test_receive_after_the_end(self) -> None:
        client = Client()
        client.say("one")
        client.leave(4321, "why")

        async def handler(websocket: WebSocket) -> None:
            assert await websocket.receive() == "one"
            for _ in range(2):
                with pytest.raises(WebSocketDisconnect) as caught:
                    await websocket.receive()
                assert (caught.value.code, caught.value.reason) == (4321, "why")
            with pytest.raises(WebSocketDisconnect):
                await websocket.send("late")

        await client.run(handler)
        assert client.sent == [ACCEPTED]

    @pytest.mark.parametrize("data", ["12345", "☃☃", b"12345", "x" * 1_000])
    async def test_too_big(self, data: str | bytes) -> None:
        client = Client()
        client.websocket.configure(WebSocketOptions(max_message_size=4))
        client.say("1234", "☃", data)

        async def handler(websocket: WebSocket) -> None:
            assert await websocket.receive() == "1234"
            assert await websocket.receive() == "☃"
            with pytest.raises(WebSocketDisconnect) as caught:
                await websocket.receive()
            assert caught.value.code == 1009

        await client.run(handler)
        assert client.sent[-1]["code"] == 1009

    @pytest.mark.parametrize("data", [bytearray(b"x"), memoryview(b"x")])
    async def test_binary(self, data: Any) -> None:
        client = Client()
        await client.run(lambda websocket: websocket.send(data))
        assert client.sent[-1] == {"type": "websocket.send", "bytes": b"x"}

    @pytest.mark.parametrize("data", [{"a": 1}, 1, None])
    async def test_other_types(self, data: Any) -> None:
        async def handler(websocket: WebSocket) -> None:
            with pytest.raises(TypeError, match="send_json"):
                await websocket.send(data)

        await Client().run(handler)

    async def test_timeout(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> str:
            with pytest.raises(TimeoutError):
                await websocket.receive(timeout=0.01)
            client.say("late")
            return str(await websocket.receive(timeout=10))

        assert await client.run(handler) == "late"

    async def test_no_patience_at_all(self) -> None:
        client = Client()
        client.say(*map(str, range(200)))

        async def handler(websocket: WebSocket) -> list[str | bytes]:
            await websocket.accept()
            return [await websocket.receive(timeout=0) for _ in range(200)]

        assert await client.run(handler) == [str(number) for number in range(200)]

    async def test_timeout_of_a_plain_handler(self) -> None:
        def handler(websocket: WebSocket) -> None:
            with pytest.raises(TimeoutError):
                websocket.sync.receive(timeout=0.01)

        await Client().run_plain(handler)

    async def test_client_has_to_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox, "RECEIVED_MESSAGES", 2)
        monkeypatch.setattr(module, "AWAY_SECONDS", 0)
        client = Client()
        client.say(*map(str, range(6)))

        async def handler(websocket: WebSocket) -> list[str | bytes]:
            await websocket.accept()
            await asyncio.sleep(0.01)
            assert len(websocket._inbox) == 2
            return [await websocket.receive() for _ in range(6)]

        assert await client.run(handler) == ["0", "1", "2", "3", "4", "5"]

    async def test_send_to_a_client_that_left(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()

            async def gone(message: Message) -> None:
                raise OSError

            client.before_send = gone
            with pytest.raises(WebSocketDisconnect) as caught:
                await websocket.send("x")
            assert caught.value.code == 1006

        await client.run(handler)

    async def test_closed_while_sending(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()

            async def closed(message: Message) -> None:
                websocket._gone(1012, "restart")
                raise RuntimeError("the server's own error")

            client.before_send = closed
            for _ in range(2):
                with pytest.raises(WebSocketDisconnect) as caught:
                    await websocket.send("x")
                assert caught.value.code == 1012
                client.before_send = None

        await client.run(handler)

    async def test_error_of_the_server(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()

            async def fail(message: Message) -> None:
                raise RuntimeError("the server's own error")

            client.before_send = fail
            for _ in range(2):
                with pytest.raises(RuntimeError, match="server's own"):
                    await websocket.send("x")
            client.before_send = None
            await websocket.send("y")

        await client.run(handler)
        assert client.sent == [ACCEPTED, {"type": "websocket.send", "text": "y"}]

    async def test_others_run_while_messages_are_sent(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> int:
            await websocket.accept()
            return await turns_of_others(websocket.send(str(n)) for n in range(1_000))

        assert await client.run(handler) >= 1_000 // 64
        assert [message["text"] for message in client.sent[1:]] == [*map(str, range(1_000))]


@pytest.mark.parametrize("middleware", [False, True])
class TestReceiving:
    """By the handler itself, and by the task beside it: nobody can tell."""

    async def test_nothing_is_lost_by_who_is_cancelled(self, middleware: bool) -> None:
        client = Client(middleware)

        async def handler(websocket: WebSocket) -> list[str | bytes]:
            await websocket.accept()
            asyncio.create_task(say()).add_done_callback(lambda task: task.result())
            received: list[str | bytes] = []
            while len(received) < 300:
                try:
                    async with asyncio.timeout(0.001 if len(received) % 2 else 0):
                        received.append(await websocket.receive())
                except TimeoutError:
                    pass
            return received

        async def say() -> None:
            for number in range(300):
                client.say(str(number))
                await asyncio.sleep(0.0005 if number % 7 else 0)

        assert await client.run(handler) == [str(number) for number in range(300)]

    async def test_middleware_with_methods(self, middleware: bool) -> None:
        """What it has taken of the server and not given yet must not be lost."""
        client = Client()

        class Slow:
            async def receive(self) -> Message:
                message = await client.to_app.get()
                await asyncio.sleep(0.004)
                return message

            async def send(self, message: Message) -> None:
                await client.send(message)

        slow = Slow()
        server = (slow.receive, slow.send) if middleware else (client.to_app.get, client.send)
        client.websocket = WebSocket(client.scope, *server, client.driver, client.accept_headers)

        async def handler(websocket: WebSocket) -> list[str | bytes]:
            await websocket.accept()
            client.say(*map(str, range(20)))
            received: list[str | bytes] = []
            while len(received) < 20:
                with suppress(TimeoutError):
                    received.append(await websocket.receive(timeout=0.006))
            return received

        assert await client.run(handler) == [str(number) for number in range(20)]

    async def test_sending_only(self, middleware: bool) -> None:
        """Others get their turn, and the end is noticed, though the server takes all at once."""
        client = Client(middleware)

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            asyncio.get_running_loop().call_soon(client.leave)
            while True:
                await websocket.send("x")

        with pytest.raises(WebSocketDisconnect):
            await client.run(handler)

    async def test_order(self, middleware: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "AWAY_SECONDS", 0.001)
        client = Client(middleware)

        async def handler(websocket: WebSocket) -> list[str | bytes]:
            await websocket.accept()
            received = []
            for number in range(0, 60, 3):
                client.say(str(number))
                if number % 2:
                    await asyncio.sleep(0.003)  # some are received ahead
                client.say(str(number + 1), str(number + 2))
                received += [await websocket.receive() for _ in range(3)]
            return received

        assert await client.run(handler) == [str(number) for number in range(60)]

    async def test_two_at_a_time(self, middleware: bool) -> None:
        client = Client(middleware)

        async def handler(websocket: WebSocket) -> set[str | bytes]:
            await websocket.accept()
            tasks = [asyncio.create_task(websocket.receive()) for _ in range(4)]
            await asyncio.sleep(0.001)
            tasks[0].cancel()
            tasks[2].cancel()
            await asyncio.sleep(0.001)
            client.say("a", "b", "c")
            received = {await tasks[1], await tasks[3], await websocket.receive()}
            assert tasks[0].cancelled() and tasks[2].cancelled()
            return received

        assert await client.run(handler) == {"a", "b", "c"}

    async def test_client_that_left_is_noticed(self, middleware: bool) -> None:
        """Though the last that the handler did was to give up on a message."""
        client = Client(middleware)

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            ended = asyncio.Event()
            websocket.when_closed(ended.set)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await websocket.receive(timeout=0.001)
            client.leave()
            await asyncio.wait_for(ended.wait(), 10)

        await client.run(handler)
        assert client.websocket.close_code == 1001

    async def test_what_came_before_the_client_left(self, middleware: bool) -> None:
        client = Client(middleware)

        async def handler(websocket: WebSocket) -> list[Any]:
            assert await websocket.receive() == "a"

            async def gone(message: Message) -> None:
                raise OSError

            client.before_send = gone
            with pytest.raises(WebSocketDisconnect):
                await websocket.send("to nobody")
            return [message async for message in websocket]

        client.say("a", "b", "c")
        assert await client.run(handler) == ["b", "c"]

    async def test_during_the_handshake(self, middleware: bool) -> None:
        client = Client(middleware)

        async def slowly(message: Message) -> None:
            await asyncio.sleep(0.001)

        client.before_send = slowly
        client.say("a", "b")

        async def handler(websocket: WebSocket) -> set[Any]:
            return set(await asyncio.gather(websocket.receive(), websocket.receive()))

        assert await client.run(handler) == {"a", "b"}

    async def test_others_run_while_messages_come(self, middleware: bool) -> None:
        client = Client(middleware)
        client.say(*["x"] * 1_000)

        async def handler(websocket: WebSocket) -> int:
            await websocket.accept()
            return await turns_of_others(websocket.receive() for _ in range(1_000))

        assert await client.run(handler) >= 1_000 // 64

    async def test_cancelled_as_it_is_closed(self, middleware: bool) -> None:
        client = Client(middleware)

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            receiving = asyncio.create_task(websocket.receive())
            await asyncio.sleep(0.001)
            receiving.cancel()
            websocket.start_closing(4000)
            with pytest.raises(asyncio.CancelledError):
                await receiving

        await client.run(handler)

    async def test_closed_within_a_timeout(self, middleware: bool) -> None:
        client = Client(middleware)

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            asyncio.get_running_loop().call_later(0.001, websocket.start_closing, 4000)
            with pytest.raises(WebSocketDisconnect) as caught:
                async with asyncio.timeout(10):
                    await websocket.receive()
            assert caught.value.code == 4000
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

        await client.run(handler)


class TestJSON:
    @pytest.mark.parametrize("text", ['{"a": [1, null]}', b'{"a": [1, null]}'])
    async def test_receive(self, text: str | bytes) -> None:
        client = Client()
        client.say(text)
        assert await client.run(lambda ws: ws.receive_json()) == {"a": [1, None]}

    @pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff"], ids=range(4))
    async def test_receive_what_is_none(self, text: str | bytes) -> None:
        client = Client()
        client.say(text)
        with pytest.raises(ValueError):
            await client.run(lambda ws: ws.receive_json())

    @pytest.mark.parametrize(
        ("args", "kwargs", "expected"),
        [
            (({"a": 1},), {}, {"a": 1}),
            ((1, 2), {}, [1, 2]),
            ((), {"a": 1}, {"a": 1}),
            ((), {}, None),
        ],
    )
    async def test_send(self, args: Any, kwargs: Any, expected: Any) -> None:
        client = Client()
        await client.run(lambda ws: ws.send_json(*args, **kwargs))
        assert json.loads(client.sent[-1]["text"]) == expected

    async def test_plain_handler(self) -> None:
        client = Client()
        client.say("[1]")
        await client.run_plain(lambda ws: ws.send_json(ws.receive_json(timeout=10)))
        assert client.sent[-1] == {"type": "websocket.send", "text": "[1]"}


class TestClose:
    async def test_code_and_reason(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.close(4000, "enough")
            await websocket.close()  # nothing more happens
            assert (websocket.close_code, websocket.close_reason) == (4000, "enough")

        await client.run(handler)
        assert client.sent[1:] == [{"type": "websocket.close", "code": 4000, "reason": "enough"}]

    @pytest.mark.parametrize("code", [0, 5, 999, 1004, 1005, 1006, 1015, 2000, 5000, 70_000])
    async def test_code_that_cannot_be_sent(self, code: int) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            with pytest.raises(ValueError, match=f"{code} is not a close code"):
                await websocket.close(code)
            assert not websocket.closed

        await client.run(handler)

    @pytest.mark.parametrize(
        ("reason", "sent"),
        [
            ("x" * 123, "x" * 123),
            ("x" * 124, "x" * 123),
            ("☃" * 41, "☃" * 41),
            ("☃" * 42, "☃" * 41),
            ("x" + "☃" * 41, "x" + "☃" * 40),
            ("a\ud800b", "a?b"),
        ],
    )
    async def test_reason_that_is_too_long(self, reason: str, sent: str) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.close(4000, reason)
            assert websocket.close_reason == sent

        await client.run(handler)
        assert client.sent[1:] == [{"type": "websocket.close", "code": 4000, "reason": sent}]

    async def test_before_the_handshake(self) -> None:
        client = Client()
        await client.run(lambda websocket: websocket.close())
        assert [message["type"] for message in client.sent] == ["websocket.close"]

    async def test_wakes_who_receives(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            receiving = asyncio.create_task(websocket.receive_on_loop())
            await asyncio.sleep(0.01)
            await websocket.close(1012)
            with pytest.raises(WebSocketDisconnect) as caught:
                await receiving
            assert caught.value.code == 1012

        await client.run(handler)

    @pytest.mark.parametrize("accepted", [False, True])
    async def test_client_that_left_at_this_moment(self, accepted: bool) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            if accepted:
                await websocket.accept()

            async def gone(message: Message) -> None:
                raise OSError

            client.before_send = gone
            await websocket.close()

        await client.run(handler)
        assert client.websocket.close_code == 1000


class TestGone:
    """Until when a handler whose client has left may go on."""

    @pytest.fixture(autouse=True)
    def little_grace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.01)

    async def test_ends_with_the_client(self) -> None:
        client = Client()
        await client.websocket.accept()
        client.leave()
        await asyncio.wait_for(client.websocket.gone(), 10)

    async def test_waits_for_the_handshake(self) -> None:
        client = Client()
        client.leave()
        watch = asyncio.create_task(client.websocket.gone())
        await asyncio.sleep(0.05)
        assert not watch.done()
        await client.websocket.accept()
        await asyncio.wait_for(watch, 10)

    async def test_not_while_the_handler_takes_messages(self) -> None:
        client = Client()
        await client.websocket.accept()
        client.say("one", "two")
        client.leave()
        for _ in range(2):
            await client.websocket.receive()
        receiving = asyncio.create_task(client.websocket._news.wait())
        watch = asyncio.create_task(client.websocket.gone())
        await asyncio.sleep(0.05)
        assert not watch.done()
        receiving.cancel()
        await asyncio.wait_for(watch, 10)

    async def test_connection_that_the_server_closes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The news of it is behind messages that nobody takes."""
        monkeypatch.setattr(inbox, "RECEIVED_MESSAGES", 2)

        class Transport:
            def is_closing(self) -> bool:
                return True

        client = Client()
        await client.websocket.accept()
        client.transport = Transport()
        client.say("a", "b", "c")
        await asyncio.wait_for(client.websocket.gone(), 10)
        assert client.websocket.close_code == 1006
        assert [await client.websocket.receive() for _ in range(2)] == ["a", "b"]

    async def test_closed_by_the_handler(self) -> None:
        client = Client()
        await client.websocket.accept()
        watch = asyncio.create_task(client.websocket.gone())
        await asyncio.sleep(0)
        await client.websocket.close()
        client.leave()
        await asyncio.wait_for(watch, 10)
        assert client.websocket.close_code == 1000


class TestStalled:
    """A client that does not read."""

    @pytest.fixture(autouse=True)
    def little_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.01)
        monkeypatch.setattr(module, "CLOSE_SECONDS", 0.01)

    def client(self, **options: Any) -> Client:
        client = Client()
        client.websocket.configure(WebSocketOptions(**options))
        return client

    async def never(self, message: Message) -> None:
        await asyncio.Event().wait()

    @pytest.mark.parametrize("plain", [False, True])
    async def test_send(self, plain: bool) -> None:
        client = self.client(send_timeout=0.01)

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            client.before_send = self.never
            for _ in range(2):
                with pytest.raises(WebSocketDisconnect) as caught:
                    await websocket.send("x")
                assert caught.value.code == 1013
                assert "has not read for 0.01 s" in caught.value.reason

        def plain_handler(websocket: WebSocket) -> None:
            websocket.sync.accept()
            client.before_send = self.never
            with pytest.raises(WebSocketDisconnect) as caught:
                websocket.sync.send("x")
            assert caught.value.code == 1013

        await (client.run_plain(plain_handler) if plain else client.run(handler))
        assert client.websocket.close_code == 1013

    async def test_handler_that_does_not_notice(self) -> None:
        client = self.client(send_queue=1)
        await client.websocket.accept()
        client.before_send = self.never
        for text in "abc":
            assert client.websocket.deliver({"type": "websocket.send", "text": text}) is None
        await asyncio.wait_for(client.websocket.gone(), 10)
        assert client.websocket.close_code == 1013
        assert client.websocket.flushed
        assert client.sent == [ACCEPTED]

    async def test_that_reads_again_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = self.client(send_queue=1)
        reads = asyncio.Event()
        monkeypatch.setattr(module, "CLOSE_SECONDS", 10.0)

        async def slow(message: Message) -> None:
            await reads.wait()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            client.before_send = slow
            for text in "abc":
                websocket.deliver({"type": "websocket.send", "text": text})
            reads.set()
            with pytest.raises(WebSocketDisconnect):
                await websocket.receive()
            await websocket.close()

        await client.run(handler)
        assert client.sent[1:] == [
            {"type": "websocket.send", "text": "a"},
            {
                "type": "websocket.close",
                "code": 1013,
                "reason": "Too many messages are queued for this client.",
            },
        ]

    async def test_close(self) -> None:
        client = self.client(send_timeout=0.01)

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            client.before_send = self.never
            await websocket.close(4000)

        await client.run(handler)
        assert client.websocket.close_code == 4000
        assert client.sent == [ACCEPTED]


class TestLinger:
    """After the close, while the server has bytes for the client."""

    class Transport:
        def __init__(self, *sizes: int) -> None:
            self.sizes = list(sizes)
            self.aborted = False

        def get_write_buffer_size(self) -> int:
            if self.aborted:
                return 0
            return self.sizes.pop(0) if self.sizes[1:] else self.sizes[0]

        def abort(self) -> None:
            self.aborted = True

    @pytest.mark.parametrize(
        ("sizes", "aborted"),
        [
            ([0], False),
            ([3, 2, 1, 0], False),
            ([3, 2, 2, 2], True),
            ([1], True),
        ],
    )
    async def test_linger(self, sizes: list[int], aborted: bool) -> None:
        client = Client()
        client.websocket.configure(WebSocketOptions(send_timeout=0.001))
        transport = self.Transport(*sizes)
        client.transport = transport
        done = asyncio.Event()
        client.websocket.linger(done.set)
        await asyncio.wait_for(done.wait(), 10)
        assert transport.aborted is aborted

    async def test_nothing_is_broken_off_that_the_client_has(self) -> None:
        client = Client()
        client.transport = self.Transport(0)
        await client.run(lambda websocket: websocket.accept())
        client.websocket.abort()
        assert not client.transport.aborted

    async def test_broken_off(self) -> None:
        client = Client()
        client.transport = self.Transport(1)
        await client.run(lambda websocket: websocket.accept())
        client.websocket.abort()
        assert client.transport.aborted

    async def test_server_out_of_sight(self) -> None:
        """Behind a middleware."""
        inner = Client()
        inner.transport = self.Transport(1)

        async def send(message: Message) -> None:
            await inner.send(message)

        websocket = WebSocket(
            inner.scope, inner.to_app.get, send, inner.driver, inner.accept_headers
        )
        await websocket.accept()
        websocket.deliver({"type": "websocket.send", "text": "x"})
        await websocket.close()
        websocket.abort()
        assert websocket.flushed
        assert not inner.transport.aborted
        texts = [message.get("text", message["type"]) for message in inner.sent]
        assert texts == ["websocket.accept", "x", "websocket.close"]


class TestDelivered:
    async def test_between_what_the_handler_sends(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            websocket.deliver({"type": "websocket.send", "text": "before"})
            await websocket.accept()
            await websocket.send("own")
            websocket.deliver({"type": "websocket.send", "text": "after"})
            await websocket.close()
            websocket.deliver({"type": "websocket.send", "text": "late"})

        await client.run(handler)
        texts = [message.get("text", message["type"]) for message in client.sent]
        assert texts == ["websocket.accept", "before", "own", "after", "websocket.close"]

    async def test_by_the_server_as_the_handler_sends(self) -> None:
        client = Client()

        async def more(message: Message) -> None:
            if message["text"] == "own":
                client.websocket.deliver({"type": "websocket.send", "text": "more"})

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            client.before_send = more
            for text in ("own", "own", "last"):
                await websocket.send(text)
            client.before_send = None

        await client.run(handler)
        assert [message["text"] for message in client.sent[1:]] == [*["own", "more"] * 2, "last"]

    async def test_as_it_is_closed(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            await websocket.send("own")
            websocket.start_closing(1000)
            websocket.deliver({"type": "websocket.send", "text": "delivered"})
            with pytest.raises(WebSocketDisconnect):
                await websocket.send("late")
            await websocket.close()

        await client.run(handler)
        texts = [message.get("text", message["type"]) for message in client.sent[1:]]
        assert texts == ["own", "delivered", "websocket.close"]

    async def test_close_while_a_client_does_not_read(self) -> None:
        client = Client()
        reads = asyncio.Event()

        async def wait(message: Message) -> None:
            await reads.wait()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            client.before_send = wait
            sending = asyncio.ensure_future(websocket.send("own"))
            await asyncio.sleep(0)
            websocket.start_closing(1000)
            reads.set()
            await sending
            with pytest.raises(WebSocketDisconnect):
                await websocket.send("late")
            await websocket.close()

        await client.run(handler)
        texts = [message.get("text", message["type"]) for message in client.sent[1:]]
        assert texts == ["own", "websocket.close"]

    async def test_to_a_client_that_left(self) -> None:
        client = Client()
        ended = []

        async def gone(message: Message) -> None:
            raise OSError

        async def handler(websocket: WebSocket) -> None:
            websocket.when_closed(lambda: ended.append(websocket.close_code))
            await websocket.accept()
            client.before_send = gone
            websocket.deliver({"type": "websocket.send", "text": "x"})
            assert websocket.close_code == 1006

        await client.run(handler)
        assert ended == [1006]

    async def test_error_of_the_server(self) -> None:
        client = Client()
        reported = []

        async def fail(message: Message) -> None:
            raise RuntimeError("the server's own error")

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            client.before_send = fail
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: reported.append(str(context["exception"]))
            )
            websocket.deliver({"type": "websocket.send", "text": "x"})
            assert not websocket.closed

        await client.run(handler)
        assert reported == ["the server's own error"]


class TestDeny:
    START: Message = {
        "type": "http.response.start",
        "status": 401,
        "headers": [(b"x-name", b"value")],
    }

    async def test_with_a_response(self) -> None:
        client = Client(extensions={"websocket.http.response": {}})
        await client.websocket.deny(self.START, b"who are you?")
        assert client.sent == [
            {**self.START, "type": "websocket.http.response.start"},
            {"type": "websocket.http.response.body", "body": b"who are you?"},
        ]

    async def test_of_a_server_that_cannot(self) -> None:
        client = Client()
        await client.websocket.deny(self.START, b"who are you?")
        assert [message["type"] for message in client.sent] == ["websocket.close"]
        assert client.websocket.closed


class TestSteps:
    """What the table says, a connection does."""

    DENY: Message = {"type": "http.response.start", "status": 401, "headers": []}

    async def reach(self, state: State) -> Client:
        client = Client()
        if state in (State.ACCEPTED, State.ENDED):
            await client.websocket.accept()
        if state is State.CLOSED:
            await client.websocket.close(4000)
        if state is State.ENDED:
            client.leave()
            with pytest.raises(WebSocketDisconnect):
                await client.websocket.receive()
        assert client.websocket._state is state
        client.say("a message")
        return client

    @pytest.mark.parametrize("step", ["accept", "receive", "send", "close", "deny"])
    @pytest.mark.parametrize("state", State, ids=lambda state: state.name.lower())
    async def test_step(self, state: State, step: str) -> None:
        client = await self.reach(state)
        args = {"send": ("text",), "deny": (self.DENY, b"no")}.get(step, ())
        call = getattr(client.websocket, step)(*args)
        if step not in STEPS[state] and state is not State.ENDED:
            allowed = ", ".join(map(repr, STEPS[state]))
            with pytest.raises(RuntimeError) as caught:
                await call
            error = str(caught.value)
            assert error.startswith(f"{step!r} is not allowed: this WebSocket {state.value}.")
            assert f"Allowed now: {allowed}." in error
        elif step == "close" or (step in STEPS[state] and state is not State.CLOSED):
            await call
            assert client.websocket._state is STEPS[state][step]
        else:  # to receive after the end, and what comes too late without a mistake
            with pytest.raises(WebSocketDisconnect):
                await call
            assert client.websocket._state is state

    async def test_sent_after_the_close(self) -> None:
        client = Client()

        async def handler(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.close()
            with pytest.raises(RuntimeError, match=r"Write 'websocket.send\(...\)' before"):
                await websocket.send("too late")

        await client.run(handler)
        assert client.sent == [
            ACCEPTED,
            {"type": "websocket.close", "code": 1000, "reason": ""},
        ]

    async def test_sent_after_the_end_of_the_handler(self) -> None:
        """By a task that it has left: no mistake of the one that sends."""
        client = Client()
        await client.websocket.accept()
        await client.websocket.close_on_loop()
        with pytest.raises(WebSocketDisconnect):
            await client.websocket.send("too late")

    async def test_accepted_by_two_tasks(self) -> None:
        client = Client()

        async def slowly() -> list[tuple[bytes, bytes]]:
            await asyncio.sleep(0)
            return []

        client.websocket._accept_headers = slowly
        await client.run(lambda ws: asyncio.gather(ws.send("a"), ws.send("b")))
        assert client.sent[0]["type"] == "websocket.accept"
        assert {m["text"] for m in client.sent[1:]} == {"a", "b"}

    async def test_handshake_that_fails_can_be_denied(self) -> None:
        client = Client(extensions={"websocket.http.response": {}})

        async def fail() -> list[tuple[bytes, bytes]]:
            raise ValueError("the session cannot be saved")

        client.websocket._accept_headers = fail
        with pytest.raises(ValueError, match="cannot be saved"):
            await client.websocket.accept()
        await client.websocket.deny(self.DENY, b"no")
        assert [m["type"].rpartition(".")[2] for m in client.sent] == ["start", "body"]


class TestMistakes:
    """What a handler returns, and what it forgets."""

    @pytest.mark.parametrize(
        "value",
        ["text", {"a": 1}, ["a"], b"x", ("text", 200), ("text", {"X": "y"}), Response("x")],
    )
    def test_refused_with_success(self, value: Any) -> None:
        with pytest.raises(
            TypeError, match="'chat' returned a response with status 200"
        ) as caught:
            check_returned(value, "chat", accepted=False)
        assert "'return \"Log in first.\", 401'" in str(caught.value)

    @pytest.mark.parametrize(
        "value",
        [None, ("text", 403), ("text", "403 No"), Response(status=302), ("text", "x"), object()],
    )
    def test_refused(self, value: Any) -> None:
        check_returned(value, "chat", accepted=False)

    def test_coroutine(self) -> None:
        async def load() -> None: ...

        with pytest.raises(TypeError, match=r"returned the coroutine '.*load'.* Write 'await'"):
            check_returned(load(), "chat", accepted=False)

    @pytest.mark.parametrize("name", ["accept", "send_json", "receive", "close"])
    async def test_not_awaited(self, name: str) -> None:
        client = Client()
        getattr(client.websocket, name)()
        with pytest.raises(RuntimeError, match=rf"Write 'await websocket.{name}\(...\)'"):
            client.websocket.check_returned(None, "chat")

    async def test_awaited(self) -> None:
        client = Client()
        await client.websocket.accept()
        await client.websocket.close()
        client.websocket.check_returned(None, "chat")

    async def test_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        client = Client(extensions={"websocket.http.response": {}}, path="/chat")

        @client.app.websocket("/chat")
        async def chat() -> None:
            current.accept()  # type: ignore[unused-coroutine]

        await client.app(client.scope, client.to_app.get, client.send)
        assert client.sent[0]["status"] == 500
        assert "Write 'await websocket.accept(...)'" in caplog.text


class TestFreed:
    """A connection that has ended is freed at once, not when the garbage is collected."""

    @pytest.mark.parametrize(
        "end",
        ["loop", "receive", "close", "deny", "abort", "sync", "away", "error", "error in sync"],
    )
    async def test_freed(self, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "AWAY_SECONDS", 0)
        app = Flask(__name__, static_folder=None)
        notes: list[Any] = []

        def note() -> None:
            connection: Any = current
            notes.append(ref(connection._get_current_object()))

        async def handler() -> Any:
            note()
            if end == "deny":
                return "no", 403
            if end == "abort":
                abort(403)
            if end == "close":
                await current.accept()
                await current.close(4000)
            elif end == "loop":
                async for message in current:
                    await current.send(message)
            else:
                await current.accept()
                if end == "away":
                    await asyncio.sleep(0.01)
                while True:
                    await current.send(await current.receive())
                    assert end != "error", "on purpose"

        def sync_handler() -> None:
            note()
            for message in current.sync:
                current.sync.send(message)
                assert end != "error in sync", "on purpose"

        app.logger.disabled = True
        app.websocket("/")(sync_handler if "sync" in end else handler)
        client = Client()
        del client.websocket  # the app makes its own
        client.say("a", "b")
        client.leave()
        gc.collect()
        gc.disable()
        try:
            await app(client.scope, client.to_app.get, client.send)
            async with asyncio.timeout(10):
                while notes[0]() is not None:  # the loop has it until its next step
                    await asyncio.sleep(0.001)
        finally:
            gc.enable()
