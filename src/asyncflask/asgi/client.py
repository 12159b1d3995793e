"""In-memory clients of an ASGI app, for tests: WebSocket sessions and event streams. For
requests, use httpx's `ASGITransport` or WSGI; for start-up and shutdown, `lifespan`."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp, Message, Scope
from starlette.websockets import WebSocketDisconnect

from .events import MIMETYPE, EventParser, ServerSentEvent
from .stepping import Coro
from .threads import on_loop
from .waiting import value_or_awaitable, wait
from .websocket_rules import INTERNAL_ERROR

T = TypeVar("T")
State = dict[str, Any]
HeaderLines = Mapping[str, str] | Iterable[tuple[str, str]]
OnAnswer = Callable[[list[tuple[str, str]]], object]

LEAVE_SECONDS: Final = 5
"""Seconds that the app has to end after its client has left."""


class _OtherAnswer(Exception):
    """The app answered with a response other than the client asked for."""

    message: str

    def __init__(self, status_code: int, headers: list[tuple[str, str]], body: bytes) -> None:
        super().__init__(self.message.format(status_code))
        self.status_code = status_code
        self.headers = headers
        self.body = body


class NoEventStream(_OtherAnswer):
    """The app answered a request for an event stream with another response."""

    message = "The response has status {} and is not an event stream."


class WebSocketDenied(_OtherAnswer):
    """The app rejected the WebSocket's handshake with a response."""

    message = "The WebSocket was rejected with status {}."


class _Session(AbstractAsyncContextManager[object], Generic[T]):
    """A client that receives items one by one from an app that runs as a task. Use `with` and
    `for` in sync code, `async with` and `async for` in async code."""

    end: type[Exception]
    """The exception that `receive` raises at the end."""

    def __init__(self, app: ASGIApp, scope: Scope, on_answer: OnAnswer | None) -> None:
        self.scope = scope
        self.response_headers: list[tuple[str, str]] = []
        self._app = app
        self._on_answer = on_answer  # called with the response's headers
        self._task: asyncio.Task[None] | None = None

    def _answered(self, message: Message) -> list[tuple[str, str]]:
        self.response_headers = headers = _text(message.get("headers", ()))
        if self._on_answer is not None:
            self._on_answer(headers)
        return headers

    async def _body(self) -> bytes:
        """Read the body of the response that came instead."""
        body = b""
        more = True
        while more:
            message = await self._message()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return body

    async def _message(self) -> Message:
        raise NotImplementedError

    async def _receive(self) -> T:
        raise NotImplementedError

    async def _receive_json(self) -> object:
        raise NotImplementedError

    def receive(self) -> Coro[T]:
        """Return the app's next message or event."""
        return value_or_awaitable(self._receive())

    def receive_json(self) -> Coro[Any]:
        """Return the app's next message, or its next event's data, parsed as JSON."""
        return value_or_awaitable(self._receive_json())

    def __enter__(self) -> object:
        return wait(self.__aenter__())

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        wait(self.__aexit__(exc_type, exc_value, tb))

    if not TYPE_CHECKING:  # type checkers: only the sync faces have it

        def __iter__(self) -> Iterator[T]:
            if on_loop():
                raise RuntimeError("In an 'async def' test, write 'async for', not 'for'.")
            while True:
                try:
                    item = self.receive()
                except self.end:
                    return
                yield item

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            try:
                item = await self._receive()
            except self.end:
                return
            yield item


class WebSocketSession(_Session[str | bytes]):
    """The client of a WebSocket. Use `with` in sync code; use `async with` in async code, and
    await the methods.

    Entering the block opens the connection and waits for the handshake. It raises
    `WebSocketDenied` if the app rejects it. Once the app has closed the connection, `receive`
    raises Starlette's `WebSocketDisconnect`.
    """

    end = WebSocketDisconnect

    if TYPE_CHECKING:  # the same object, with sync code's types

        def __enter__(self) -> SyncWebSocketSession: ...

    def __init__(
        self,
        app: ASGIApp,
        url: str,
        *,
        base_url: str = "http://localhost",
        headers: HeaderLines = (),
        subprotocols: Iterable[str] = (),
        state: State | None = None,
        on_accept: OnAnswer | None = None,
    ) -> None:
        scope = _scope(url, base_url, headers, state)
        scope["headers"] += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        scope["subprotocols"] = list(subprotocols)
        scope["extensions"] = {"websocket.http.response": {}}
        super().__init__(app, scope, on_accept)
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message | BaseException | None] = asyncio.Queue()
        self.accepted_subprotocol: str | None = None

    async def _run(self) -> None:
        try:
            await self._app(self.scope, self._to_app.get, self._from_app.put)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            await self._from_app.put(error)
        else:
            await self._from_app.put(None)

    async def _message(self) -> Message:
        message = await self._from_app.get()
        if message is None or isinstance(message, BaseException):
            await self._from_app.put(None)  # for the next call
            raise message or WebSocketDisconnect(1006)
        if message["type"] == "websocket.close" and message.get("code") == INTERNAL_ERROR:
            await self._raise_of_app()
        return message

    async def _raise_of_app(self) -> None:
        """After a close with 1011, raise the handler's error, unless the app handled it."""
        assert self._task is not None
        await asyncio.wait([self._task], timeout=LEAVE_SECONDS)
        if self._task.done() and not self._from_app.empty():
            end = self._from_app.get_nowait()
            await self._from_app.put(None)
            if isinstance(end, BaseException):
                raise end

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        try:
            await self._to_app.put({"type": "websocket.connect"})
            await self._handshake()
        except BaseException:
            await self._ended()
            raise
        return self

    async def _handshake(self) -> None:
        message = await self._message()
        if message["type"] == "websocket.accept":
            self.accepted_subprotocol = message.get("subprotocol")
            self._answered(message)
            return
        if message["type"] == "websocket.close":
            raise WebSocketDenied(403, [], b"")
        status, headers = message["status"], _text(message["headers"])
        raise WebSocketDenied(status, headers, await self._body())

    async def _ended(self) -> None:
        assert self._task is not None
        await asyncio.wait([self._task], timeout=LEAVE_SECONDS)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
            raise RuntimeError(
                f"The WebSocket handler did not end within {LEAVE_SECONDS} s after its client"
                " disconnected."
            )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self._close()
        await self._ended()
        while not self._from_app.empty():
            message = self._from_app.get_nowait()
            if isinstance(message, BaseException) and exc_value is None:
                raise message

    async def _receive(self) -> str | bytes:
        message = await self._message()
        if message["type"] == "websocket.close":
            await self._from_app.put(None)
            raise WebSocketDisconnect(message.get("code", 1000), message.get("reason"))
        text = message.get("text")
        data: str | bytes = text if text is not None else message["bytes"]
        return data

    async def _receive_json(self) -> object:
        return json.loads(await self._receive())

    async def _send(self, data: str | bytes) -> None:
        key = "text" if isinstance(data, str) else "bytes"
        await self._to_app.put({"type": "websocket.receive", key: data})

    async def _close(self, code: int = 1000, reason: str = "") -> None:
        await self._to_app.put({"type": "websocket.disconnect", "code": code, "reason": reason})

    def send(self, data: str | bytes) -> Coro[None]:
        """Send a message to the app."""
        return value_or_awaitable(self._send(data))

    def send_json(self, value: object) -> Coro[None]:
        """Send *value* as JSON in a text message."""
        return value_or_awaitable(self._send(json.dumps(value)))

    def close(self, code: int = 1000, reason: str = "") -> Coro[None]:
        """Close the connection."""
        return value_or_awaitable(self._close(code, reason))


class EventSource(_Session[ServerSentEvent]):
    """The client of an event stream. Use `with` in sync code; use `async with` in async code,
    and await `receive`.

    Entering the block sends the request and waits for the response. It raises `NoEventStream`
    if that is not an event stream. Iterate over the object to get the events until the stream
    ends; leaving the block disconnects.
    """

    end = EOFError

    if TYPE_CHECKING:  # the same object, with sync code's types

        def __enter__(self) -> SyncEventSource: ...

    def __init__(
        self,
        app: ASGIApp,
        url: str,
        *,
        base_url: str = "http://localhost",
        headers: HeaderLines = (),
        last_event_id: str | None = None,
        state: State | None = None,
        on_answer: OnAnswer | None = None,
    ) -> None:
        scope = {**_scope(url, base_url, headers, state), "type": "http", "method": "GET"}
        super().__init__(app, scope, on_answer)
        lines = [(b"accept", MIMETYPE.encode("ascii"))]
        if last_event_id is not None:
            lines.append((b"last-event-id", last_event_id.encode()))
        self.scope["headers"] += lines
        self.last_event_id = last_event_id
        """The id with which a new `EventSource` resumes the stream here."""
        self._parser = EventParser()
        self._events: deque[ServerSentEvent] = deque()
        # Room for one message, so that the app waits for its client.
        self._from_app: asyncio.Queue[Message | BaseException | None] = asyncio.Queue(1)
        self._asked = self._ended = False
        self._left = asyncio.Event()

    @property
    def retry(self) -> int | None:
        """The reconnection delay that the app requested, in milliseconds, or `None`."""
        return self._parser.retry

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            await self._app(self.scope, self._next_for_app, self._send)
        except BaseException as exc:
            error = exc
        await self._from_app.put(error)

    async def _next_for_app(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if not self._left.is_set():
            await self._from_app.put(message)

    async def _message(self) -> Message:
        message = await self._from_app.get()
        if isinstance(message, BaseException):
            raise message
        if message is None:
            raise RuntimeError("The app returned in the middle of its response.")
        return message

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        try:
            start = await self._message()
            headers = self._answered(start)
            kind = next((v for n, v in headers if n.lower() == "content-type"), "")
            if start["status"] != 200 or kind.partition(";")[0].strip() != MIMETYPE:
                raise NoEventStream(start["status"], headers, await self._body())
        except BaseException:
            await self._leave()
            raise
        return self

    async def _leave(self) -> BaseException | None:
        """Disconnect and wait until the app ends. Return its error."""
        assert self._task is not None
        self._left.set()
        end: Message | BaseException | None = None
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                while not self._task.done() or not self._from_app.empty():
                    end = await self._from_app.get()
        except TimeoutError:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise RuntimeError(
                f"The event stream did not end within {LEAVE_SECONDS} s after its client"
                " disconnected."
            ) from None
        await self._task
        return end if isinstance(end, BaseException) else None

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        error = await self._leave()
        if error is not None and exc_value is None:
            raise error

    async def _receive(self) -> ServerSentEvent:
        while not self._events:
            if self._ended:
                raise EOFError("The event stream has ended.")
            message = await self._message()
            self._events.extend(self._parser.feed(message.get("body", b"")))
            self._ended = not message.get("more_body", False)
        event = self._events.popleft()
        if event.id is not None:
            self.last_event_id = str(event.id)
        return event

    async def _receive_json(self) -> object:
        return json.loads((await self._receive()).data)


class SyncWebSocketSession(Protocol):
    """A `WebSocketSession` in a `with` block of sync code: methods block and return the value."""

    scope: Scope
    response_headers: list[tuple[str, str]]
    accepted_subprotocol: str | None

    def receive(self) -> str | bytes: ...
    def receive_json(self) -> Any: ...
    def send(self, data: str | bytes) -> None: ...
    def send_json(self, value: object) -> None: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    def __iter__(self) -> Iterator[str | bytes]: ...


class SyncEventSource(Protocol):
    """An `EventSource` in a `with` block of sync code."""

    scope: Scope
    response_headers: list[tuple[str, str]]
    last_event_id: str | None

    @property
    def retry(self) -> int | None: ...
    def receive(self) -> ServerSentEvent: ...
    def receive_json(self) -> Any: ...
    def __iter__(self) -> Iterator[ServerSentEvent]: ...


def _scope(
    url: str,
    base_url: str,
    headers: HeaderLines,
    state: State | None,
) -> Scope:
    """Return the part of the scope that requests and WebSockets share."""
    base = urlsplit(base_url)
    target = urlsplit(url)
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("host", target.netloc or base.netloc))
    secure = (target.scheme or base.scheme) in ("https", "wss")
    return {
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "https" if secure else "http",
        "path": unquote(target.path),
        "raw_path": target.path.encode("ascii"),
        "root_path": "",
        "query_string": target.query.encode("ascii"),
        "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in pairs],
        "client": ("127.0.0.1", 50000),
        "server": (base.hostname, base.port or (443 if secure else 80)),
        "state": {} if state is None else state.copy(),
    }


def _text(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
