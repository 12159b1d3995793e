"""The WebSocket as handlers have it: the same methods for `async def` and for `def`.

What they do is in `connection.py`. The names that the pipeline needs are here, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from inspect import CORO_CREATED, getcoroutinestate
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast, overload

from starlette.types import Message, Receive, Scope, Send

from . import connection
from .connection import Connection
from .connection import load as load
from .threads import Coro, on_loop, value_or_awaitable
from .websocket_rules import CLOSED, CONNECTING, ENDED, check_returned
from .websocket_rules import INTERNAL_ERROR as INTERNAL_ERROR
from .websocket_rules import NORMAL as NORMAL
from .websocket_rules import POLICY_VIOLATION as POLICY_VIOLATION
from .websocket_rules import SERVICE_RESTART as SERVICE_RESTART
from .websocket_rules import WebSocketOptions as WebSocketOptions
from .websocket_rules import origin_allowed as origin_allowed

if TYPE_CHECKING:
    from starlette.websockets import WebSocketDisconnect as WebSocketDisconnect

T = TypeVar("T")


def __getattr__(name: str) -> Any:
    if name != "WebSocketDisconnect":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return connection.WebSocketDisconnect


_NO_API: Final = "Typed messages need asyncflask.api. Write 'import asyncflask.api' in your app."


class WebSocket(Connection):
    """One connection. In an `async def` handler every method is awaited; in a `def` handler it
    blocks the connection's thread and gives the value.

    `receive` and `send` accept the handshake first, if the handler has not. Both raise
    `WebSocketDisconnect` (with `code` and `reason`) once the client has left.
    """

    def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> Coro[None]:
        """Complete the handshake. *subprotocol*: one of `requested_subprotocols`; by default the
        first of the route's that is among them. *headers*: header lines for its answer, beside
        the session's cookie."""
        return self._called("accept", self.accept_on_loop(subprotocol, headers))

    def receive(self, timeout: float | None = None) -> Coro[str | bytes]:
        """The next message, `str` or `bytes`. *timeout*: seconds after which `TimeoutError` is
        raised; by default there is no limit."""
        coro = self.receive_on_loop() if timeout is None else self._receive_within(timeout)
        return coro if get_ident() == self.thread else self._called("receive", coro)

    def receive_json(self, timeout: float | None = None) -> Coro[Any]:
        """The next message, parsed as JSON. Raises `ValueError` for one that is no JSON."""
        return self._called("receive_json", self._receive_json(timeout))

    def send(self, data: str | bytes) -> Coro[None]:
        """Send a text message or a binary one, and wait until the server has taken it: as long
        as the client reads, at most the send timeout."""
        coro = self.send_on_loop(data)
        return coro if get_ident() == self.thread else self._called("send", coro)

    def send_json(self, *args: object, **kwargs: object) -> Coro[None]:
        """Send a text message of JSON; the arguments are those of `jsonify`."""
        return self._called("send_json", self._send_json(*args, **kwargs))

    @overload
    def receive_as(self, kind: type[T], timeout: float | None = None) -> Coro[T]: ...
    @overload
    def receive_as(self, kind: object, timeout: float | None = None) -> Coro[Any]: ...
    def receive_as(self, kind: object, timeout: float | None = None) -> Coro[Any]:
        """The next message, JSON, as a value of the type *kind*: see `asyncflask.api`, which has
        to be imported. Raises its `InvalidMessage`, a `ValueError`, for one of another form."""
        return self._called("receive_as", self._receive_as(kind, timeout))

    def send_as(self, kind: object, value: object) -> Coro[None]:
        """Send *value* as JSON, validated as of the type *kind*."""
        return self._called("send_as", self._send_as(kind, value))

    async def _receive_as(self, kind: object, timeout: float | None) -> Any:
        return self.read_as(kind, await self._receive_within(timeout))

    async def _send_as(self, kind: object, value: object) -> None:
        await self.send_on_loop(self.write_as(kind, value))

    @staticmethod
    def read_as(kind: object, message: str | bytes) -> Any:
        """What `receive_as` makes of a message; replaced by `asyncflask.api`."""
        raise RuntimeError(_NO_API)

    @staticmethod
    def write_as(kind: object, value: object) -> str:
        """What `send_as` makes of a value; replaced by `asyncflask.api`."""
        raise RuntimeError(_NO_API)

    def close(self, code: int = NORMAL, reason: str | None = None) -> Coro[None]:
        """End the connection; nothing happens if it has ended. Before `accept` this refuses the
        handshake, with status 403. Of *reason* the first 123 bytes are sent. Raises `ValueError`
        for a *code* that cannot be sent (RFC 6455 section 7.4)."""
        return self._called("close", self.close_on_loop(code, reason, CLOSED))

    def deliver(self, message: Message) -> Awaitable[None] | None:
        """Hand over a ready ASGI message (``{"type": "websocket.send", "text": ...}``), from
        anywhere on the loop: a broadcast's way to a client. It keeps its place among what the
        handler sends. Before `accept` it waits; after the end nothing happens. Does not raise.

        If the client does not read, messages wait, up to the route's limits. What happens then
        is its policy: ``"close"`` cuts the client off with 1013, ``"drop_oldest"`` forgets a
        message for each new one; with ``"wait"`` there is something to await, done when there is
        room, or to cancel, which takes the message back. In all other cases: `None`.
        """
        return self._outbox.deliver(message)

    def when_closed(self, func: Callable[[], object]) -> None:
        """Have *func* called on the loop as soon as the connection has ended, by either end."""
        self._when_closed.append(func)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """The messages, until the client leaves."""
        while True:
            try:
                message = await self.receive_on_loop()
            except connection.WebSocketDisconnect:
                return
            yield message

    if not TYPE_CHECKING:  # for a type checker, only `sync` has it

        def __iter__(self) -> Iterator[str | bytes]:
            """The same for a `def` handler."""
            while True:
                try:
                    message = self.receive()
                except connection.WebSocketDisconnect:
                    return
                yield message

    @property
    def sync(self) -> SyncWebSocket:
        """This WebSocket, with its types for sync code. A `def` handler can do without it,
        unless its types are checked. Raises `RuntimeError` on the loop."""
        if on_loop():
            raise RuntimeError(
                "'websocket.sync' is for 'def' functions, and this is an 'async def' function, or"
                " was called by one. Leave out '.sync' and write 'await', as in 'await"
                " websocket.receive()'."
            )
        return cast("SyncWebSocket", self)

    def hand_over(self) -> tuple[Receive, Send]:
        """Leave the connection, of which nothing has been answered, to another ASGI app: the
        server's `receive` and `send`. For the handler it has ended."""
        if self._state is not CONNECTING or self._connected:
            raise RuntimeError(
                "A hook has accepted the WebSocket, which is for the mounted app to do."
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
        """When the handler has returned *value*: raise for what it does by mistake."""
        for name, coro in self._calls:
            if getcoroutinestate(coro) == CORO_CREATED:
                coro.close()
                raise RuntimeError(
                    f"The WebSocket handler for {endpoint!r} called 'websocket.{name}(...)' and"
                    f" did not wait for it. Write 'await websocket.{name}(...)'."
                )
        check_returned(value, endpoint, self.accepted)


class SyncWebSocket(Protocol):
    """A `WebSocket` as a `def` handler sees it: methods block, and give the value."""

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


# What Python says of a coroutine that nobody awaits: "coroutine 'websocket.send' was ...".
for _name in ("accept", "receive", "send", "close"):
    getattr(Connection, f"{_name}_on_loop").__qualname__ = f"websocket.{_name}"
for _name in ("receive_json", "send_json", "receive_as", "send_as"):
    getattr(WebSocket, f"_{_name}").__qualname__ = f"websocket.{_name}"
