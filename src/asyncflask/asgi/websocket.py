"""The WebSocket connection, for asynchronous and for plain handlers.

The protocol's states are Starlette's `WebSocket`; here is what it leaves to its users: noticing
a client that leaves, accepting on first use, limits, an end for a client that does not read, and
the denial of a handshake with a whole response (ASGI extension `websocket.http.response`).

Whoever needs a message calls the server's `receive` itself, so that one costs no task switch. Only
while the handler asks for none does another task receive (`gone`): for it the messages wait.
"""

from __future__ import annotations

import asyncio
import inspect
import select
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from starlette.types import Message, Receive, Scope, Send

from .http import Headers, encode_headers
from .outbox import POLICIES, QUEUED_BYTES, SEND_TIMEOUT, Outbox, Policy
from .outbox import QUEUED_MESSAGES as SEND_QUEUE
from .threads import ENDED, Driver, in_this_context, value_or_awaitable

if TYPE_CHECKING:
    from starlette.websockets import WebSocket as StarletteWebSocket
    from starlette.websockets import WebSocketDisconnect as WebSocketDisconnect
    from starlette.websockets import WebSocketState

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
"""Close codes: RFC 6455 section 7.4.1, and the IANA registry for 1012 and 1013."""

_NOT_SENT: Final = 1004, 1005, 1006
"""Codes between these that are for one side only, or for nothing."""

REASON_BYTES: Final = 123
"""How long the reason of a close is at most (RFC 6455 section 5.5)."""

SWITCHING_PROTOCOLS: Final = 101
"""The status of a handshake's answer (RFC 6455 section 4.2.2)."""

QUEUED_MESSAGES: Final = 64
"""How many received messages wait for the handler before the client has to; and after how many the
loop is given to others, if all of them are there at once."""

AWAY_SECONDS: Final = 0.05
"""After how long without being asked for a message they are received ahead. The timer of a busy
connection is set once in this time, not for each message."""

GRACE_SECONDS: Final = 1.0
"""How long a handler whose client has left may go on without asking for a message."""

CLOSE_SECONDS: Final = 5.0
"""How long a client that is cut off may take to learn why."""

if sys.version_info >= (3, 12):
    _task_on = asyncio.current_task
else:  # where that is not written in C, and takes longer than what it looks up
    _task_on = vars(asyncio.tasks)["_current_tasks"].get

_DEFAULT_PORTS = {"http": 80, "https": 443}


def load() -> None:
    """Import Starlette's WebSocket, and have its names here. Done when a route is made for
    WebSockets: many apps have none, and it takes as long as a tenth of our own import."""
    from starlette import websockets

    globals().update(
        StarletteWebSocket=websockets.WebSocket,
        WebSocketDisconnect=websockets.WebSocketDisconnect,
        WebSocketState=websockets.WebSocketState,
    )


def __getattr__(name: str) -> Any:
    if name not in ("StarletteWebSocket", "WebSocketDisconnect", "WebSocketState"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load()
    return globals()[name]


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """What a route or the app lays down for its connections."""

    subprotocols: Sequence[str] = ()
    """Those that the server speaks, the best first. The first that the client offers is taken."""
    max_message_size: int | None = None
    """Bytes of a received message, beside the server's own limit; more closes with 1009."""
    send_timeout: float | None = SEND_TIMEOUT
    """Seconds in which the client has to take a message in; else it is closed with 1013."""
    send_queue: int = SEND_QUEUE
    """How many delivered messages may wait for the client."""
    send_queue_bytes: int = QUEUED_BYTES
    """How much they may be together; a longer message waits alone."""
    send_policy: Policy = "close"
    """What happens to a delivered message when that is full; see `WebSocket.deliver`."""

    def __post_init__(self) -> None:
        if isinstance(self.subprotocols, str):
            raise TypeError(
                f"'subprotocols' is a list of strings: write subprotocols=[{self.subprotocols!r}]."
            )
        if self.send_policy not in POLICIES:
            raise ValueError(f"'send_policy' is one of {POLICIES}, not {self.send_policy!r}.")
        for name in ("max_message_size", "send_timeout", "send_queue", "send_queue_bytes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name!r} is a number above 0, not {value!r}.")


_DEFAULT_OPTIONS = WebSocketOptions()


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
        if "WebSocketState" not in globals():
            load()
        # Python 3.11 has its fast way to attributes only while there are 30 of them at most.
        direct = _is_of_server(send)
        self._outbox = Outbox(send, direct=direct, stalled=self._stalled, failed=self._failed)
        # A server's is a queue, from which one may take in any task, and which loses nothing when
        # that is cancelled. A middleware's is always called in the same task and context.
        self._shared = direct and _is_of_server(receive)
        """Whether more than one task may receive."""
        self._receive_now: Receive = receive if self._shared else in_this_context(receive)
        in_turn = partial(self._in_turn, in_this_context(send))
        self._socket = StarletteWebSocket(scope, self._receive_now, in_turn)
        self._options = _DEFAULT_OPTIONS
        self._max_size: int | None = None
        self._closing: asyncio.Task[None] | None = None
        self._loop = driver.loop
        self.thread = get_ident()
        """That of the loop. To ask for a running loop takes three times as long on Python 3.11,
        which asks the system for the process every time."""
        self._accept_headers = accept_headers
        self._inbox: deque[str | bytes] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._started = asyncio.Event()
        self._away = asyncio.Event()
        self._reader: asyncio.Task[Any] | None = None
        """Who is in the server's `receive`."""
        self._turns = 0
        """How often the server's `receive` may be called with no more ado, unless there is a
        reader: the connection is open, and nothing waits in the inbox."""
        self._waiting = 0
        """How many wait for what the reader gets."""
        self._taken = 0
        """How many messages the handler has taken, and the turns that it has been given."""
        self._rest_at = QUEUED_MESSAGES
        self._taken_before = 0
        self._look_later: asyncio.TimerHandle | None = None
        self.scope = scope
        self.close_code: int | None = None
        """The close code once the connection is closed, by either side (RFC 6455 7.4)."""
        self.close_reason = ""
        self.accepted = False
        self.subprotocol: str | None = None
        """The subprotocol that was agreed on with the handshake."""
        self._when_closed: list[Callable[[], object]] = []
        self.give_up: Callable[[], object] = lambda: None
        """Called when a client is cut off and the handler does not notice."""

    def configure(self, options: WebSocketOptions) -> None:
        """Before the handler runs: what its route says."""
        self._options = options
        self._max_size = options.max_message_size
        self._outbox.limit(
            options.send_timeout,
            options.send_queue,
            options.send_queue_bytes,
            options.send_policy,
        )

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
        """Complete the handshake. *subprotocol*: one of `requested_subprotocols`; by default the
        first of the route's that is among them. *headers*: header lines for its answer, beside
        the session's cookie."""
        return value_or_awaitable(self._accept(subprotocol, headers))

    def receive(self, timeout: float | None = None) -> Any:
        """The next message, `str` or `bytes`. *timeout*: seconds after which `TimeoutError` is
        raised; by default there is no limit."""
        coro = self._receive() if timeout is None else self._receive_within(timeout)
        return coro if get_ident() == self.thread else value_or_awaitable(coro)

    def receive_json(self, timeout: float | None = None) -> Any:
        """The next message, parsed as JSON. Raises `ValueError` for one that is no JSON."""
        return value_or_awaitable(self._receive_json(timeout))

    def send(self, data: str | bytes) -> Any:
        """Send a text message or a binary one, and wait until the server has taken it: as long
        as the client reads, at most the send timeout."""
        coro = self._send(data)
        return coro if get_ident() == self.thread else value_or_awaitable(coro)

    def send_json(self, *args: Any, **kwargs: Any) -> Any:
        """Send a text message of JSON; the arguments are those of `jsonify`."""
        return value_or_awaitable(self._send_json(*args, **kwargs))

    def close(self, code: int = NORMAL, reason: str | None = None) -> Any:
        """End the connection; nothing happens if it has ended. Before `accept` this refuses the
        handshake, with status 403. Of *reason* the first 123 bytes are sent. Raises `ValueError`
        for a *code* that cannot be sent (RFC 6455 section 7.4)."""
        return value_or_awaitable(self._close(code, reason))

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
        """Have *func* called on the loop as soon as the connection has ended, by either side."""
        self._when_closed.append(func)

    def _ended(self, code: int, reason: str | None) -> None:
        self.close_code, self.close_reason = code, reason or ""
        self._end_turns()
        self._outbox.hold()
        for func in self._when_closed:
            func()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """The messages, until the client leaves."""
        while True:
            try:
                message = await self._receive()
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
        if subprotocol is None:
            offered = self.requested_subprotocols
            subprotocol = next((s for s in self._options.subprotocols if s in offered), None)
        lines = [*await self._accept_headers(), *encode_headers(SWITCHING_PROTOCOLS, headers)]
        self.accepted = True
        self.subprotocol = subprotocol
        try:
            await self._socket.accept(subprotocol, lines)
        except OSError:  # it left; Starlette says so only once the handshake is complete
            self._gone(ABNORMAL, None)
            raise self._disconnect() from None
        self._outbox.open()
        self._started.set()
        self._changed.set()
        self._watch()

    async def _receive(self) -> str | bytes:
        while True:
            if not self._turns or self._reader is not None:
                ahead = await self._wait_for_turn()
                if ahead is not None:
                    return ahead
            self._turns -= 1
            self._reader = _task_on(self._loop)
            try:
                message = await self._receive_now()
            except asyncio.CancelledError:
                if not self._was_woken():
                    raise
                continue
            finally:
                self._reader = None
                if self._waiting:
                    self._changed.set()
                if self._look_later is None:
                    self._watch()
            data = message.get("text")
            if data is None or self._max_size is not None:
                data = self._checked(message)
            if data is not None:
                return data

    async def _receive_within(self, timeout: float | None) -> str | bytes:
        if timeout is None:
            return await self._receive()
        if not self.accepted:
            await self._accept()
        await self._rest()
        async with asyncio.timeout(timeout):
            return await self._receive()

    async def _wait_for_turn(self) -> str | bytes | None:
        """Give a message that has been received ahead; or `None` when the caller may receive."""
        if not self.accepted:
            await self._accept()
        while True:
            await self._rest()
            if self._inbox:
                self._taken += 1
                self._room.set()
                return self._inbox.popleft()
            if self.close_code is not None:
                raise self._disconnect()
            if self._reader is None and self._shared and self._started.is_set():
                self._turns, self._taken = self._rest_at - self._taken, self._rest_at
                return None
            self._waiting += 1
            try:
                self._changed.clear()
                await self._changed.wait()
            finally:
                self._waiting -= 1

    async def _rest(self) -> None:
        """Let others run, now and then: the messages may all have been there."""
        self._end_turns()
        if self._taken >= self._rest_at:
            self._rest_at = self._taken + QUEUED_MESSAGES
            await asyncio.sleep(0)

    def _end_turns(self) -> None:
        self._taken -= self._turns
        self._turns = 0

    def _was_woken(self) -> bool:
        """Whether it was `_wake` alone that cancelled who receives."""
        task = _task_on(self._loop)
        return self._reader is None and task is not None and not task.uncancel()

    def _checked(self, message: Message) -> str | bytes | None:
        """What *message* has for the handler; `None` if it, or its size, ends the connection."""
        if message["type"] == "websocket.disconnect":
            self._socket.client_state = WebSocketState.DISCONNECTED
            self._gone(message.get("code", ABNORMAL), message.get("reason"))
            return None
        data: str | bytes | None = message.get("text")
        if data is None:
            data = message["bytes"]
        limit = self._max_size
        if limit is not None and _bytes_of(data, limit) > limit:
            self.start_closing(TOO_BIG, f"Messages may have {limit} bytes here.")
            return None
        return data

    def _watch(self) -> None:
        """Look in a while whether the handler asks for messages."""
        if self._shared and self.close_code is None:
            self._taken_before = self._taken - self._turns
            self._look_later = self._loop.call_later(AWAY_SECONDS, self._look)

    def _look(self) -> None:
        self._look_later = None
        if self._reader is None:
            if self._taken - self._turns == self._taken_before:
                self._away.set()
            else:
                self._watch()

    def _wake(self) -> None:
        """The connection has ended: tell whoever waits for a message."""
        self._changed.set()
        self._room.set()
        self._started.set()
        self._away.set()
        if self._look_later is not None:
            self._look_later.cancel()
            self._look_later = None
        if self._shared and self._reader is not None:
            reader, self._reader = self._reader, None
            reader.cancel()

    async def _receive_json(self, timeout: float | None) -> Any:
        try:
            return self.json_module.loads(await self._receive_within(timeout))
        except RecursionError:
            raise ValueError("The message's JSON is nested too deep.") from None

    async def _send(self, data: str | bytes) -> None:
        outbox = self._outbox
        turns = outbox.turns
        if not turns:
            await self._may_send()
        message = {"type": "websocket.send", "text": data} if type(data) is str else _message(data)
        try:
            if turns > 1:  # what `put` does then, without a call
                outbox.turns = 0
                coro = outbox.send(message)
                try:
                    waits_for = next(coro.__await__(), ENDED)
                except BaseException:
                    outbox.rested()
                    raise
                if waits_for is ENDED and not outbox.queue:
                    outbox.turns = turns - 1
                    return
                sent = outbox.go_on_with(coro, waits_for)
            else:
                sent = outbox.put(message)
            if sent is not None:
                await sent
        except OSError:
            self._lost()
            raise self._disconnect() from None
        except RuntimeError:
            if self.closed:  # while this waited
                raise self._disconnect() from None
            raise

    async def _may_send(self) -> None:
        if not self.accepted:
            await self._accept()
        if self.close_code is not None:
            raise self._disconnect()

    async def _send_json(self, *args: Any, **kwargs: Any) -> None:
        value = self.json_module._prepare_response_obj(args, kwargs)
        await self._send(self.json_module.dumps(value))

    async def _close(self, code: int = NORMAL, reason: str | None = None) -> None:
        self.start_closing(code, reason)
        if self._closing is not None:
            await asyncio.wait([self._closing])

    def start_closing(self, code: int, reason: str | None = None) -> None:
        """`close` that does not wait, for the loop."""
        if not ((1000 <= code <= 1014 and code not in _NOT_SENT) or 3000 <= code <= 4999):
            raise ValueError(
                f"{code!r} is no close code to send: write 1000, or one of your own, 4000 to 4999."
            )
        if reason is not None:
            reason = reason.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")
        if not self.closed:
            self._start_closing(code, reason, self._options.send_timeout)

    def _start_closing(self, code: int, reason: str | None, timeout: float | None) -> None:
        self._ended(code, reason)
        self._wake()
        # A task: whoever closes may be cancelled, and the client is to be told nevertheless.
        self._closing = asyncio.ensure_future(self._tell(code, reason, timeout))

    async def _tell(self, code: int, reason: str | None, timeout: float | None) -> None:
        if self._socket.application_state is WebSocketState.DISCONNECTED:
            return
        try:
            async with asyncio.timeout(timeout) as limit:
                if self._socket.client_state is WebSocketState.CONNECTING:
                    await self._socket.receive()  # websocket.connect comes first
                await self._socket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, OSError):
            if limit.expired():
                self.abort()
            # Otherwise it left at this very moment.

    async def _in_turn(self, send: Send, message: Message) -> None:
        """What Starlette sends: messages of the handshake at once, a close after the rest."""
        if message["type"] == "websocket.close" and self.accepted:
            await self._outbox.put_last(message)
        else:
            await send(message)

    def _gone(self, code: int, reason: str | None) -> None:
        if self.close_code is None:
            self._ended(code, reason)
            self._outbox.cancel()
            self._wake()

    def _lost(self) -> None:
        """The client has left, says `send`. What had come before is for the handler yet."""
        while self._shared and self._started.is_set() and self.close_code is None:
            coro: Any = self._receive_now()
            try:
                coro.send(None)
            except StopIteration as stop:
                if (data := self._checked(stop.value)) is not None:
                    self._inbox.append(data)
                if len(self._inbox) >= QUEUED_MESSAGES:
                    break
            except RuntimeError:  # a server that lets but one receive, and one is about to
                break
            else:
                coro.close()
                break
        self._gone(ABNORMAL, None)

    # -- a client that does not read

    def _stalled(self, why: str) -> None:
        """Cut it off: what waits for it is forgotten."""
        if self.closed:  # it is the close which the client does not take
            return
        self._outbox.end()
        self._start_closing(TRY_AGAIN_LATER, why, CLOSE_SECONDS)
        self._giving_up = asyncio.ensure_future(self._give_up())

    async def _give_up(self) -> None:
        await self._close()
        await self._grace()
        self.give_up()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._lost()
        elif not self.closed:
            context = {
                "message": "A message was not delivered to a WebSocket.",
                "exception": error,
            }
            self._loop.call_exception_handler(context)

    def abort(self) -> None:
        """Unless the client has everything: break off the connection, if that is in reach. ASGI
        has no message for it, and a server that closes waits for the client."""
        if self.flushed:
            return
        self._outbox.cancel()
        getattr(self._transport, "abort", bool)()

    def linger(self, done: Callable[[], object], before: int | None = None) -> None:
        """After the close: call *done* when the client has taken everything in, and break off
        if it takes no more."""
        timeout, unsent = self._options.send_timeout, self._unsent
        if unsent and timeout is not None and before is not None and unsent >= before:
            self.abort()
            unsent = 0
        if unsent:
            self._loop.call_later(timeout or SEND_TIMEOUT, self.linger, done, unsent)
        else:
            done()

    @property
    def flushed(self) -> bool:
        """Whether the client has all that was sent, as far as the server says."""
        return not self._unsent and (self._closing is None or self._closing.done())

    @property
    def _unsent(self) -> int:
        size: int = getattr(self._transport, "get_write_buffer_size", int)()
        return size

    @property
    def _transport(self) -> Any:
        # A method of the server's own connection, unless there is middleware which has its own.
        send = self._outbox.send
        return getattr(send.__self__, "transport", None) if inspect.ismethod(send) else None

    def is_own_end(self, error: BaseException) -> bool:
        """Whether *error* says that this connection has ended, and not another one."""
        return self.closed and isinstance(error, WebSocketDisconnect)

    def _disconnect(self) -> WebSocketDisconnect:
        return WebSocketDisconnect(self.close_code or ABNORMAL, self.close_reason)

    async def gone(self) -> None:
        """Receive what the handler does not; return when the client has left and the handler does
        not see to that itself: it waits for something other than a message."""
        await self._started.wait()
        while not self.closed:
            if self._shared:
                await self._away.wait()
                self._away.clear()
            await self._receive_ahead()
        if self._closing is not None:
            await asyncio.wait([self._closing])
        await self._grace()

    async def _receive_ahead(self) -> None:
        while not self.closed and self._reader is None:
            if len(self._inbox) >= QUEUED_MESSAGES:
                await self._wait_for_room()
                continue
            self._reader = _task_on(self._loop)
            try:
                message = await self._receive_now()
            except asyncio.CancelledError:
                if not self._was_woken():
                    raise
                return
            finally:
                self._reader = None
            if (data := self._checked(message)) is not None:
                self._inbox.append(data)
                self._end_turns()
                if self._waiting:
                    self._changed.set()
                    if self._shared:  # the handler is back, and receives for itself
                        self._watch()
                        return

    async def _wait_for_room(self) -> None:
        """The disconnect is behind what the client has sent, and that is not read now. So look
        at the connection itself, when the handler takes nothing."""
        self._room.clear()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._room.wait()
        except TimeoutError:
            if self._has_hung_up():
                self._gone(ABNORMAL, None)

    def _has_hung_up(self) -> bool:
        """Whether the other end has closed the connection, though not all is read that it sent.
        If the server does not know that either, Linux does; elsewhere it is not known."""
        if getattr(self._transport, "is_closing", bool)():
            return True
        sock = self._transport and self._transport.get_extra_info("socket")
        if not sock or not hasattr(select, "POLLRDHUP"):
            return False
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    async def _grace(self) -> None:
        """A handler that is at work on a message may finish it, and take those that are left."""
        taken = -1
        while taken != self._taken or self._waiting:
            taken = self._taken
            await asyncio.sleep(GRACE_SECONDS)

    async def deny(self, start: Message, content: bytes) -> None:
        """Refuse the handshake with a response, or with a bare 403 if the server has no
        `websocket.http.response` extension."""
        self._ended(NORMAL, None)
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


def _message(data: Any) -> Message:
    if isinstance(data, str):
        return {"type": "websocket.send", "text": data}
    if isinstance(data, bytes | bytearray | memoryview):
        return {"type": "websocket.send", "bytes": bytes(data)}
    raise TypeError(
        f"A WebSocket message is str or bytes, not {type(data).__name__}; for JSON write"
        " 'websocket.send_json(...)'."
    )


_SERVERS: Final = frozenset({"uvicorn", "hypercorn", "asyncio", "asyncflask"})
"""The packages whose connections, or queues in their place, lose nothing when a `receive` is
cancelled; the in-memory client's is one."""


def _is_of_server(func: Any) -> bool:
    """Whether *func* is a coroutine method of the server's connection; anything else may be a
    middleware's, which could lose a message when it is cancelled."""
    if not inspect.ismethod(func) or not inspect.iscoroutinefunction(func):
        return False
    return type(func.__self__).__module__.partition(".")[0] in _SERVERS


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
    origin = _parsed(origins[0].decode("latin-1").strip(" \t"))
    if origin is None:
        return False
    scheme = "https" if scope.get("scheme") in ("wss", "https") else "http"
    own = _parsed(f"{scheme}://{hosts[0].decode('latin-1').strip()}")
    return origin == own or any(origin == _parsed(other) for other in allowed)


def _bytes_of(data: str | bytes, limit: int) -> int:
    """The size of *data* as it was sent; of a text that is within *limit* anyway, about."""
    if isinstance(data, bytes) or len(data) * 4 <= limit:
        return len(data)
    return len(data.encode())


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
