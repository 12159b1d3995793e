"""The WebSocket connection, for asynchronous and for plain handlers.

The protocol's states are Starlette's `WebSocket`; here is what it leaves to its users: a reader
that notices a client which leaves, accepting on first use, and the denial of a handshake with a
whole response (ASGI extension `websocket.http.response`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket as StarletteWebSocket
from starlette.websockets import WebSocketDisconnect as WebSocketDisconnect
from starlette.websockets import WebSocketState

from .http import Headers, encode_headers
from .threads import Driver, value_or_awaitable

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
"""Close codes: RFC 6455 section 7.4.1, and the IANA registry for 1012."""

SWITCHING_PROTOCOLS: Final = 101
"""The status of a handshake's answer (RFC 6455 section 4.2.2)."""

QUEUED_MESSAGES: Final = 64
"""How many received messages wait for the handler before the client has to."""

GRACE_SECONDS: Final = 1.0
"""How long a handler whose client has left may go on without asking for a message."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


class WebSocket:
    """One connection. In an `async def` handler every method is awaited; in a `def` handler it
    blocks the connection's own thread and gives the value.

    `receive` and `send` accept the handshake first, if the handler has not. Both raise
    `WebSocketDisconnect` (with `code` and `reason`) once the client has left.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        driver: Driver,
        accept_headers: Callable[[], Awaitable[Headers]],
    ) -> None:
        self._socket = StarletteWebSocket(scope, receive, send)
        self._driver = driver
        self._accept_headers = accept_headers
        self._inbox: deque[str | bytes] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._started = asyncio.Event()
        self._receiving = 0
        self._taken = 0
        self.scope = scope
        self.close_code: int | None = None
        """The close code once the connection is closed, by either side (RFC 6455 7.4)."""
        self.close_reason = ""
        self.accepted = False

    # -- what the handshake says

    @property
    def requested_subprotocols(self) -> list[str]:
        """The subprotocols that the client offers, in its order of preference."""
        return list(self.scope.get("subprotocols", ()))

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.close_code is not None

    # -- both colours

    def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> Any:
        """Complete the handshake. *subprotocol*: one of `requested_subprotocols`. *headers*:
        header lines for its answer, beside the session's cookie."""
        return value_or_awaitable(self._accept(subprotocol, headers))

    def receive(self, timeout: float | None = None) -> Any:
        """The next message, `str` or `bytes`. *timeout*: seconds after which `TimeoutError` is
        raised; by default there is no limit."""
        return value_or_awaitable(self._receive(timeout))

    def receive_json(self, timeout: float | None = None) -> Any:
        """The next message, parsed as JSON. Raises `ValueError` for one that is no JSON."""
        return value_or_awaitable(self._receive_json(timeout))

    def send(self, data: str | bytes) -> Any:
        """Send a text message or a binary one."""
        return value_or_awaitable(self._send(data))

    def send_json(self, *args: Any, **kwargs: Any) -> Any:
        """Send a text message of JSON; the arguments are those of `jsonify`."""
        return value_or_awaitable(self._send_json(*args, **kwargs))

    def close(self, code: int = NORMAL, reason: str | None = None) -> Any:
        """End the connection; nothing happens if it has ended. Before `accept` this refuses the
        handshake, with status 403."""
        return value_or_awaitable(self._close(code, reason))

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """The messages, until the client leaves."""
        while True:
            try:
                message = await self._receive(None)
            except WebSocketDisconnect:
                return
            yield message

    def __iter__(self) -> Iterator[str | bytes]:
        """The same for a `def` handler."""
        while True:
            try:
                message = self.receive()
            except WebSocketDisconnect:
                return
            yield message

    # -- on the loop

    json_module: Any = None
    """What `receive_json` and `send_json` use: the app's JSON provider."""

    async def _accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        if self.closed:
            raise self._disconnect()
        if self.accepted:
            raise RuntimeError(
                "The handshake has been completed; call 'accept' once, before 'receive' and"
                " 'send', which otherwise do it themselves."
            )
        if subprotocol is not None and subprotocol not in self.requested_subprotocols:
            raise ValueError(
                f"The client did not offer the subprotocol {subprotocol!r};"
                f" it offers {self.requested_subprotocols}."
            )
        lines = [*await self._accept_headers(), *encode_headers(SWITCHING_PROTOCOLS, headers)]
        self.accepted = True
        try:
            await self._socket.accept(subprotocol, lines)
        except OSError:  # it left; Starlette says so only once the handshake is complete
            self._gone(ABNORMAL, None)
            raise self._disconnect() from None
        self._started.set()

    async def _receive(self, timeout: float | None) -> str | bytes:
        if not self.accepted:
            await self._accept()
        if not self._inbox and not self.closed:
            self._receiving += 1
            try:
                async with asyncio.timeout(timeout):
                    while not self._inbox and not self.closed:
                        self._changed.clear()
                        await self._changed.wait()
            finally:
                self._receiving -= 1
        if self._inbox:
            self._taken += 1
            self._room.set()
            return self._inbox.popleft()
        raise self._disconnect()

    async def _receive_json(self, timeout: float | None) -> Any:
        try:
            return self.json_module.loads(await self._receive(timeout))
        except RecursionError:
            raise ValueError("The message's JSON is nested too deep.") from None

    async def _send(self, data: str | bytes) -> None:
        if not self.accepted:
            await self._accept()
        message: Message = {"type": "websocket.send"}
        if isinstance(data, str):
            message["text"] = data
        elif isinstance(data, bytes | bytearray | memoryview):
            message["bytes"] = bytes(data)
        else:
            raise TypeError(
                f"A WebSocket message is str or bytes, not {type(data).__name__}; for JSON write"
                " 'websocket.send_json(...)'."
            )
        if self.closed:
            raise self._disconnect()
        try:
            await self._socket.send(message)
        except WebSocketDisconnect as gone:
            self._gone(gone.code, gone.reason)
            raise self._disconnect() from None
        except RuntimeError:
            if self.closed:  # while this waited
                raise self._disconnect() from None
            raise

    async def _send_json(self, *args: Any, **kwargs: Any) -> None:
        value = self.json_module._prepare_response_obj(args, kwargs)
        await self._send(self.json_module.dumps(value))

    async def _close(self, code: int = NORMAL, reason: str | None = None) -> None:
        if self.closed:
            return
        self.close_code, self.close_reason = code, reason or ""
        self._changed.set()
        self._room.set()
        self._started.set()
        if self._socket.application_state is not WebSocketState.DISCONNECTED:
            try:
                if self._socket.client_state is WebSocketState.CONNECTING:
                    await self._socket.receive()  # websocket.connect comes first
                await self._socket.close(code, reason)
            except (WebSocketDisconnect, RuntimeError, OSError):
                pass  # it left at this very moment

    def _gone(self, code: int, reason: str | None) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason or ""
        self._changed.set()

    def _disconnect(self) -> WebSocketDisconnect:
        return WebSocketDisconnect(self.close_code or ABNORMAL, self.close_reason)

    async def gone(self) -> None:
        """Read what the client sends; return when it has left and the handler does not see to
        that itself: it waits for something other than a message."""
        await self._started.wait()
        while not self.closed:
            if len(self._inbox) >= QUEUED_MESSAGES:
                self._room.clear()
                await self._room.wait()
                continue
            try:
                message = await self._socket.receive()
            except RuntimeError:  # closed by the handler meanwhile
                break
            if message["type"] == "websocket.disconnect":
                self._gone(message.get("code", ABNORMAL), message.get("reason"))
                break
            text = message.get("text")
            self._inbox.append(text if text is not None else message["bytes"])
            self._changed.set()
        # A handler that is at work on a message may finish it, and take those that are left.
        taken = -1
        while taken != self._taken or self._receiving:
            taken = self._taken
            await asyncio.sleep(GRACE_SECONDS)

    async def deny(self, start: Message, content: bytes) -> None:
        """Refuse the handshake with a response, or with a bare 403 if the server has no
        `websocket.http.response` extension."""
        self.close_code = NORMAL
        self._started.set()
        try:
            if self._socket.client_state is WebSocketState.CONNECTING:
                await self._socket.receive()
            if "websocket.http.response" not in self.scope.get("extensions", {}):
                await self._socket.close()
                return
            await self._socket.send({**start, "type": "websocket.http.response.start"})
            await self._socket.send({"type": "websocket.http.response.body", "body": content})
        except OSError:
            pass  # it left at this very moment


def origin_allowed(scope: Scope, allowed: Iterable[str] | None) -> bool:
    """Whether the page that opens this WebSocket may (RFC 6455 section 10.2). Browsers always
    say what page it is: no `Origin` means another client. Otherwise it has to be the page's own
    host with the same scheme and port, or one of *allowed* (``"https://example.com"``; ``"*"``
    for any)."""
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if not origins:
        return True
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    allowed = () if allowed is None else allowed
    if "*" in allowed:
        return True
    if len(origins) != 1 or len(hosts) != 1:
        return False
    origin = _parsed(origins[0].decode("latin-1"))
    if origin is None:
        return False
    scheme = "https" if scope.get("scheme") in ("wss", "https") else "http"
    own = _parsed(f"{scheme}://{hosts[0].decode('latin-1')}")
    return origin == own or any(origin == _parsed(other) for other in allowed)


def _parsed(origin: str) -> tuple[str, str, int | None] | None:
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return None
    if not url.hostname or url.username is not None:
        return None
    if f"{url.scheme}://{url.netloc}".lower() != origin.lower():  # RFC 6454 section 6.2: no path
        return None
    return url.scheme, url.hostname, port if port is not None else _DEFAULT_PORTS.get(url.scheme)
