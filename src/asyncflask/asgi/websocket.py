"""The WebSocket that handlers use, with the same methods in `async def` and `def` handlers.
`connection.py` implements it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from inspect import CORO_CREATED, getcoroutinestate
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast, overload

from starlette.types import Message, Receive, Scope, Send

from .connection import Connection
from .stepping import Coro
from .threads import on_loop
from .waiting import value_or_awaitable
from .websocket_rules import CLOSED, CONNECTING, ENDED, NORMAL, check_returned, disconnect_type

T = TypeVar("T")

_NO_API: Final = "Typed messages need asyncflask.api. Write 'import asyncflask.api' in your app."


class WebSocket(Connection):
    """A WebSocket connection. Await its methods in an `async def` handler; in a `def` handler they
    block the connection's thread and return the value. ::

        @app.websocket("/echo")
        async def echo():
            async for message in websocket:
                await websocket.send(message)

    `receive` and `send` complete the handshake first if you have not called `accept`. Both raise
    `WebSocketDisconnect`, with `code` and `reason`, once the client has disconnected.
    """

    def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> Coro[None]:
        """Complete the handshake.

        :param subprotocol: one of `requested_subprotocols`. Default: the first of the route's
            subprotocols that the client requested.
        :param headers: additional header lines for the response. The session cookie is added.
        """
        return self._called("accept", self.accept_on_loop(subprotocol, headers))

    def receive(self, timeout: float | None = None) -> Coro[str | bytes]:
        """Return the next message: `str` for text, `bytes` for binary.

        :param timeout: the seconds to wait before raising `TimeoutError`. Default: no limit.
        :raises WebSocketDisconnect: if the client has disconnected.
        """
        coro = self.receive_on_loop() if timeout is None else self._receive_within(timeout)
        return coro if get_ident() == self.thread else self._called("receive", coro)

    def receive_json(self, timeout: float | None = None) -> Coro[Any]:
        """Return the next message, parsed as JSON. Raises `ValueError` if it is not valid JSON.
        *timeout*: as for `receive`."""
        return self._called("receive_json", self._receive_json(timeout))

    def send(self, data: str | bytes) -> Coro[None]:
        """Send a text or binary message and wait until the server has accepted it. If the client
        does not read, that takes at most `WEBSOCKET_SEND_TIMEOUT` seconds.

        :raises WebSocketDisconnect: if the client has disconnected.
        """
        coro = self.send_on_loop(data)
        return coro if get_ident() == self.thread else self._called("send", coro)

    def send_json(self, *args: object, **kwargs: object) -> Coro[None]:
        """Send a value as a JSON text message. The arguments are those of `jsonify`."""
        return self._called("send_json", self._send_json(*args, **kwargs))

    @overload
    def receive_as(self, kind: type[T], timeout: float | None = None) -> Coro[T]: ...
    @overload
    def receive_as(self, kind: object, timeout: float | None = None) -> Coro[Any]: ...
    def receive_as(self, kind: object, timeout: float | None = None) -> Coro[Any]:
        """Return the next message, parsed as JSON and validated as the type *kind*; requires
        `import asyncflask.api`. Raises its `InvalidMessage`, a `ValueError`, if validation
        fails."""
        return self._called("receive_as", self._receive_as(kind, timeout))

    def send_as(self, kind: object, value: object) -> Coro[None]:
        """Validate *value* as the type *kind* and send it as JSON."""
        return self._called("send_as", self._send_as(kind, value))

    async def _receive_as(self, kind: object, timeout: float | None) -> Any:
        return self.read_as(kind, await self._receive_within(timeout))

    async def _send_as(self, kind: object, value: object) -> None:
        await self.send_on_loop(self.write_as(kind, value))

    @staticmethod
    def read_as(kind: object, message: str | bytes) -> Any:
        """Convert a message for `receive_as`. Replaced by `asyncflask.api`."""
        raise RuntimeError(_NO_API)

    @staticmethod
    def write_as(kind: object, value: object) -> str:
        """Convert a value for `send_as`. Replaced by `asyncflask.api`."""
        raise RuntimeError(_NO_API)

    def close(self, code: int = NORMAL, reason: str | None = None) -> Coro[None]:
        """Close the connection. Does nothing if it is closed. Before `accept` this rejects the
        handshake with status 403.

        :param code: the close code. Default: 1000, normal closure.
        :param reason: a text, of which the first 123 bytes are sent.
        :raises ValueError: if *code* must not be sent (RFC 6455 section 7.4).
        """
        return self._called("close", self.close_on_loop(code, reason, CLOSED))

    def deliver(self, message: Message) -> Awaitable[None] | None:
        """Queue an ASGI message (``{"type": "websocket.send", "text": ...}``) for the client, from
        anywhere on the loop; broadcasts use this. It keeps its order among the handler's messages.
        Before `accept` it waits, and after the end it is discarded. Never raises.

        If the client does not read, messages are queued up to the route's limits. Beyond them, the
        send policy applies: ``"close"`` closes the connection with 1013, and ``"drop_oldest"``
        discards the oldest message. ``"wait"`` returns an awaitable, done once there is room;
        cancelling it withdraws the message. In all other cases `deliver` returns `None`.
        """
        return self._outbox.deliver(message)

    def when_closed(self, func: Callable[[], object]) -> None:
        """Call *func* on the loop as soon as either side has ended the connection."""
        self._when_closed.append(func)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Iterate over the messages until the client disconnects."""
        while True:
            try:
                message = await self.receive_on_loop()
            except disconnect_type():
                return
            yield message

    if not TYPE_CHECKING:  # type checkers: only `sync` has it

        def __iter__(self) -> Iterator[str | bytes]:
            """Iterate over the messages in a `def` handler until the client disconnects."""
            if on_loop():
                raise RuntimeError(
                    "In an 'async def' handler, write 'async for message in websocket:'. A plain"
                    " 'for' works in 'def' handlers only."
                )
            while True:
                try:
                    message = self.receive()
                except disconnect_type():
                    return
                yield message

    @property
    def sync(self) -> SyncWebSocket:
        """This WebSocket with types for sync code, for type checkers; at runtime a `def` handler
        does not need it. Raises `RuntimeError` on the loop."""
        if on_loop():
            raise RuntimeError(
                "'websocket.sync' is for 'def' functions, but this is an 'async def' function,"
                " or was called by one. Remove '.sync' and write 'await', as in 'await"
                " websocket.receive()'."
            )
        return cast("SyncWebSocket", self)

    def hand_over(self) -> tuple[Receive, Send]:
        """Return the server's `receive` and `send`, for another ASGI app to take over before
        the handshake. For this app, the connection then has ended."""
        if self._state is not CONNECTING or self._connected:
            raise RuntimeError(
                "A hook accepted this WebSocket, but the mounted app has to. Remove"
                " 'websocket.accept()' from the hook."
            )
        self.watch = None
        send: Send = self._outbox.send
        self._ended(NORMAL, None, ENDED)
        self._outbox.end()
        return self._receive_now, send

    # -- mistakes

    def _called(self, name: str, coro: Coro[T]) -> Coro[T]:
        called = value_or_awaitable(coro)
        if called is coro and self._state is CONNECTING and isinstance(coro, CoroutineType):
            self._calls.append((name, coro))
        return called

    def check_returned(self, value: object, endpoint: str | None) -> None:
        """Raise an error if the handler returned *value* by mistake or forgot an `await`."""
        for name, coro in self._calls:
            if getcoroutinestate(coro) == CORO_CREATED:
                coro.close()
                raise RuntimeError(
                    f"The WebSocket handler for {endpoint!r} called 'websocket.{name}(...)'"
                    f" without awaiting it. Write 'await websocket.{name}(...)'."
                )
        check_returned(value, endpoint, self.accepted)


class SyncWebSocket(Protocol):
    """A `WebSocket` as a `def` handler sees it: methods block and return the value."""

    scope: Scope
    close_code: int | None
    close_reason: str
    accepted: bool
    subprotocol: str | None

    @property
    def requested_subprotocols(self) -> list[str]: ...
    @property
    def closed(self) -> bool: ...
    def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None: ...
    def receive(self, timeout: float | None = None) -> str | bytes: ...
    def receive_json(self, timeout: float | None = None) -> Any: ...
    def send(self, data: str | bytes) -> None: ...
    def send_json(self, *args: object, **kwargs: object) -> None: ...
    @overload
    def receive_as(self, kind: type[T], timeout: float | None = None) -> T: ...
    @overload
    def receive_as(self, kind: object, timeout: float | None = None) -> Any: ...
    def send_as(self, kind: object, value: object) -> None: ...
    def close(self, code: int = NORMAL, reason: str | None = None) -> None: ...
    def when_closed(self, func: Callable[[], object]) -> None: ...
    def __iter__(self) -> Iterator[str | bytes]: ...


# Used in Python's warning for a coroutine without await: "coroutine 'websocket.send' was ...".
for _name in ("accept", "receive", "send", "close"):
    getattr(Connection, f"{_name}_on_loop").__qualname__ = f"websocket.{_name}"
for _name in ("receive_json", "send_json", "receive_as", "send_as"):
    getattr(WebSocket, f"_{_name}").__qualname__ = f"websocket.{_name}"
