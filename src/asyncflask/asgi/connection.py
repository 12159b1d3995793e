"""A WebSocket connection, on the loop: the handshake, accepted on first use or rejected with a
response (ASGI extension `websocket.http.response`), noticing a client that leaves, and cutting
off one that does not read. `websocket.py` has the interface for handlers; `websocket_rules.py`
has the states and the steps allowed in each.

A handler that needs a message calls the server's `receive` itself, so that a message costs no
task switch. Only while the handler does not ask for messages does another task (`gone`)
receive, and queue, them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Message, Receive, Scope, Send

from .head import Headers, encode_headers
from .inbox import Bell, Inbox
from .loops import task_on
from .outbox import IN_A_ROW, Outbox
from .servers import (
    abort,
    drops_accept_headers,
    has_hung_up,
    is_closed,
    is_of_server,
    server_of,
    tell_once,
    unsent_bytes,
)
from .stepping import in_this_context
from .threads import Driver
from .websocket_rules import (
    ABNORMAL,
    ACCEPTED,
    CONNECTING,
    ENDED,
    NORMAL,
    SEND_TIMEOUT,
    TOO_BIG,
    TRY_AGAIN_LATER,
    State,
    WebSocketOptions,
    bytes_of,
    check_code,
    disconnect_type,
    message_of,
    next_state,
    shortened,
)

if TYPE_CHECKING:
    from starlette.websockets import WebSocketDisconnect

SWITCHING_PROTOCOLS: Final = 101
"""The status of an accepted handshake (RFC 6455 section 4.2.2)."""

FORBIDDEN: Final = 403
"""The status of a handshake rejected without a response (ASGI: `websocket.close`)."""

AWAY_SECONDS: Final = 0.05
"""Seconds after which messages are received ahead if the handler does not ask for any. On a
busy connection, the timer is set once per interval, not per message."""

GRACE_SECONDS: Final = 1.0
"""Seconds that a handler whose client has left may continue without asking for a message."""

CLOSE_SECONDS: Final = 5.0
"""Seconds that a client that is cut off has to learn why."""


class Connection:
    """Our end of a connection. Used on the loop's thread only. The `..._on_loop` methods
    implement those of `WebSocket`."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        driver: Driver,
        accept_headers: Callable[[], Awaitable[Headers]],
    ) -> None:
        direct = is_of_server(send)
        self._outbox = Outbox(send, direct=direct, stalled=self._stalled, failed=self._failed)
        # A server's `receive` is a queue: any task may use it, and cancelling loses nothing. A
        # middleware's is always called in the same task and context.
        self._shared = direct and is_of_server(receive)
        """`True` if more than one task may receive."""
        self._receive_now: Receive = receive if self._shared else in_this_context(receive)
        self._max_size: int | None = None
        self._loop = driver.loop
        self.thread = 0
        """The loop's thread, once the handshake is complete: there, `receive` and `send` are
        awaited. Asking for a running loop takes three times as long on Python 3.11, which asks
        the system for the process id each time."""
        self._calls: list[tuple[str, CoroutineType[object, None, object]]] = []
        """The calls of an async handler before that, to check that they were awaited."""
        self._accept_headers = accept_headers
        self._state = CONNECTING
        self._connected = False
        """`True` after `websocket.connect` was received."""
        self._direct = False
        """`True` if the handshake is complete, the connection open, and `receive` shared."""
        self._closing: asyncio.Task[None] | None = None
        self._inbox = Inbox()
        """Messages received ahead."""
        self._news = Bell()
        """Rung for those who wait for a message, or for their turn to receive."""
        self._watcher = Bell()
        """Rung for the task of `gone`."""
        self._reader: asyncio.Task[object] | None = None
        """The task that is in the server's `receive`."""
        self._taken = 0
        """How many messages the handler has asked for."""
        self._rest_at = IN_A_ROW
        """The number of messages after which other tasks may run, in case all were available at
        once."""
        self._away = False
        """`True` if the handler asks for no messages, so they are received ahead."""
        self._look_later: asyncio.TimerHandle | None = None
        self.scope = scope
        self.json_module: Any = None
        """The app's JSON provider, for `receive_json` and `send_json`."""
        self.close_code: int | None = None
        """The close code, once either end has closed the connection (RFC 6455 section 7.4)."""
        self.close_reason = ""
        self.accepted = False
        self.subprotocol: str | None = None
        """The subprotocol agreed on in the handshake."""
        self._when_closed: list[Callable[[], object]] = []
        self.watch: Callable[[], object] | None = None
        """Called to start `gone`, if it is not running: most handlers wait for messages
        themselves and need no task for it."""

    def configure(self, options: WebSocketOptions) -> None:
        """Apply the route's options, before the handler runs."""
        self._max_size = options.max_message_size
        self._outbox.options = options

    @property
    def requested_subprotocols(self) -> list[str]:
        """The subprotocols that the client offered, in its order of preference."""
        return list(self.scope.get("subprotocols", ()))

    @property
    def closed(self) -> bool:
        """`True` if nothing can be sent any more."""
        return self.close_code is not None

    # -- the handshake

    def _step(self, step: str) -> State:
        """Return the state that *step* leads to. Raises an error if it is not allowed now."""
        try:
            return next_state(self._state, step)
        except KeyError:
            raise self.disconnect_error() from None

    async def accept_on_loop(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        state = self._step("accept")
        offered = self.requested_subprotocols
        if subprotocol is None:
            subprotocol = next(
                (s for s in self._outbox.options.subprotocols if s in offered), None
            )
        elif subprotocol not in offered:
            raise ValueError(
                f"The client did not offer the subprotocol {subprotocol!r}. It offers {offered}."
            )
        self._state = state
        try:
            lines = [*await self._accept_headers(), *encode_headers(SWITCHING_PROTOCOLS, headers)]
            await self._connect()
        except BaseException:
            if not self.closed:
                self._state = CONNECTING  # an error handler's response may still reject it
                self._news.ring()
            raise
        if self.closed:  # closed in the meantime
            raise self.disconnect_error()
        self.accepted = True
        self.subprotocol = subprotocol
        if lines and (server := drops_accept_headers(self._outbox.send)):
            tell_once(
                f"{server} does not send headers in a WebSocket's handshake: changes of the"
                " session before 'websocket.accept()', and headers passed to it, are lost."
                " Change the session in a request, or serve the app with uvicorn, gunicorn or"
                " Hypercorn."
            )
        accept = {"type": "websocket.accept", "subprotocol": subprotocol, "headers": lines}
        try:
            await self._outbox.put_first(accept)
        except OSError:
            self._gone(ABNORMAL, None)
            raise self.disconnect_error() from None
        if is_closed(self._outbox.send):  # uvicorn silently ignored the message
            self._gone(ABNORMAL, None)
            raise self.disconnect_error()
        self._outbox.open()
        self.thread = get_ident()
        self._calls.clear()  # breaks reference cycles
        if not self.closed:
            self._direct = self._shared
            self._look_soon()
            if not self._shared:
                self._away = True
                self._start_watching()
        self._news.ring()

    async def _connect(self) -> None:
        """Receive `websocket.connect`, which servers send before they accept an answer (ASGI)."""
        if not self._connected:
            self._connected = True
            await self._receive_now()

    async def deny(self, start: Message, content: bytes) -> None:
        """Reject the handshake with a response, or with a bare 403 if the server does not
        support `websocket.http.response`."""
        self._ended(NORMAL, None, self._step("deny"))
        self._outbox.end()
        answer: tuple[Message, ...] = ({"type": "websocket.close", "code": NORMAL, "reason": ""},)
        if "websocket.http.response" in self.scope.get("extensions", {}):
            answer = (
                {**start, "type": "websocket.http.response.start"},
                {"type": "websocket.http.response.body", "body": content},
            )
        elif start["status"] != FORBIDDEN:
            server = server_of(self._outbox.send) or "This server"
            tell_once(
                f"{server} cannot reject a WebSocket with a response: the client gets an empty"
                f" {FORBIDDEN}, instead of the app's status {start['status']}. Serve the app"
                " with uvicorn, Hypercorn or Granian."
            )
        try:
            await self._connect()
            for message in answer:
                await self._outbox.put_first(message)
        except OSError:
            pass  # the client left at this moment

    # -- receiving

    async def receive_on_loop(self) -> str | bytes:
        while True:
            if (
                self._taken >= self._rest_at
                or self._reader is not None
                or not self._direct
                or self._inbox
            ):
                ahead = await self._wait_for_turn()
                if ahead is not None:
                    return ahead
            self._taken += 1
            self._reader = task_on(self._loop)
            try:
                message = await self._receive_now()
            except asyncio.CancelledError:
                if not self._was_woken():
                    raise
                continue
            finally:
                self._reader = None
                if self._news.waiters:
                    self._news.ring()
                if self._look_later is None:
                    self._look_soon()
            data = message.get("text")
            if data is None or self._max_size is not None:
                data = self._checked(message)
            if data is not None:
                return data

    async def _receive_within(self, timeout: float | None) -> str | bytes:
        if timeout is None:
            return await self.receive_on_loop()
        if self._state is CONNECTING:
            await self.accept_on_loop()
        await self._rest()
        async with asyncio.timeout(timeout):
            return await self.receive_on_loop()

    async def _wait_for_turn(self) -> str | bytes | None:
        """Return a message that was received ahead, or `None` if the caller may receive."""
        while True:
            if self._state is CONNECTING:
                await self.accept_on_loop()
            await self._rest()
            if self._inbox:
                self._taken += 1
                self._watcher.ring()  # there is room again
                return self._inbox.take()
            if self.close_code is not None:
                raise self.disconnect_error()
            if self._direct and self._reader is None:
                return None
            await self._news.wait()

    async def _rest(self) -> None:
        """Let other tasks run, now and then."""
        if self._taken >= self._rest_at:
            self._rest_at = self._taken + IN_A_ROW
            await asyncio.sleep(0)

    async def _receive_json(self, timeout: float | None) -> object:
        try:
            return self.json_module.loads(await self._receive_within(timeout))
        except RecursionError:
            raise ValueError("The message's JSON is nested too deeply.") from None

    def _was_woken(self) -> bool:
        """Return `True` if only `_wake` cancelled the receiving task."""
        task = task_on(self._loop)
        return self._reader is None and task is not None and not task.uncancel()

    def _checked(self, message: Message) -> str | bytes | None:
        """Return the handler's data in *message*, or `None` if the message, or its size, ends
        the connection."""
        if message["type"] == "websocket.disconnect":
            self._gone(message.get("code", ABNORMAL), message.get("reason"))
            return None
        data: str | bytes | None = message.get("text")
        if data is None:
            data = message["bytes"]
        limit = self._max_size
        if limit is not None and bytes_of(data, limit) > limit:
            self.start_closing(TOO_BIG, f"Messages may have at most {limit} bytes.")
            return None
        return data

    def _look_soon(self) -> None:
        """Check in a while whether the handler asks for messages."""
        if self._direct:
            # A timer keeps its context until its time, even if it is cancelled.
            self._look_later = self._loop.call_later(
                AWAY_SECONDS, self._look, self._taken, context=self._outbox.context
            )

    def _look(self, taken_before: int) -> None:
        self._look_later = None
        if self._reader is not None:
            return  # the reader schedules this again after the next message
        if self._taken == taken_before:
            self._away = True
            self._start_watching()
        else:
            self._look_soon()

    def _start_watching(self) -> None:
        self._watcher.ring()
        if self.watch is not None:
            self._outbox.context.copy().run(self.watch)

    async def gone(self) -> None:
        """Receive messages that the handler does not ask for. Return when the connection has
        ended and the handler would not notice, since it waits for something other than a
        message."""
        while not self.closed:
            if self._away:
                self._away = not self._shared
                await self._receive_ahead()
            else:
                await self._watcher.wait()
        if self._closing is not None:
            await asyncio.wait([self._closing])
        await self._grace()

    async def _receive_ahead(self) -> None:
        while not self.closed and self._reader is None:
            if self._inbox.full:
                await self._wait_for_room()
                continue
            self._reader = task_on(self._loop)
            try:
                message = await self._receive_now()
            except asyncio.CancelledError:
                if not self._was_woken():
                    raise
                return
            finally:
                self._reader = None
            if (data := self._checked(message)) is not None:
                self._inbox.put(data)
                if self._news.waiters:
                    self._news.ring()
                    if self._shared:  # the handler is receiving again
                        self._look_soon()
                        return

    async def _wait_for_room(self) -> None:
        """Check the connection itself while the handler takes nothing: a disconnect would be
        behind unread messages."""
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._watcher.wait()
        except TimeoutError:
            if has_hung_up(self._outbox.send):
                self._gone(ABNORMAL, None)

    async def _grace(self) -> None:
        """Let the handler finish its current message and take those that are left."""
        taken = -1
        while taken != self._taken or self._news.waiters:
            taken = self._taken
            await asyncio.sleep(GRACE_SECONDS)

    # -- sending

    async def send_on_loop(self, data: str | bytes) -> None:
        if self._state is not ACCEPTED:
            self._step("send")
            await self.accept_on_loop()
        message = (
            {"type": "websocket.send", "text": data} if type(data) is str else message_of(data)
        )
        try:
            sent = self._outbox.put(message)
            if sent is not None:
                await sent
        except OSError:
            self._lost()
            raise self.disconnect_error() from None
        except RuntimeError:
            if self.closed:  # closed while this waited
                raise self.disconnect_error() from None
            raise

    async def _send_json(self, *args: object, **kwargs: object) -> None:
        value = self.json_module._prepare_response_obj(args, kwargs)
        await self.send_on_loop(self.json_module.dumps(value))

    def _lost(self) -> None:
        """Handle a client that left, as `send` reports. Messages from before are still for the
        handler."""
        while self._direct and not self._inbox.full:
            coro: Any = self._receive_now()
            try:
                coro.send(None)
            except StopIteration as stop:
                if (data := self._checked(stop.value)) is not None:
                    self._inbox.put(data)
            except RuntimeError:  # the server allows only one receive, which another task holds
                break
            else:
                coro.close()
                break
        self._gone(ABNORMAL, None)

    def _failed(self, error: Exception) -> None:
        """Handle *error*, which the server raised for a delivered message."""
        if isinstance(error, OSError):
            self._lost()
            return
        message = "A message was not delivered to a WebSocket."
        self._loop.call_exception_handler({"message": message, "exception": error})

    # -- the end

    async def close_on_loop(
        self, code: int = NORMAL, reason: str | None = None, state: State = ENDED
    ) -> None:
        self.start_closing(code, reason, state)
        if self._closing is not None:
            await asyncio.wait([self._closing])

    def start_closing(self, code: int, reason: str | None = None, state: State = ENDED) -> None:
        """`close` without waiting, on the loop; for others than the handler."""
        check_code(code)
        if not self.closed:
            reason = None if reason is None else shortened(reason)
            self._start_closing(code, reason, self._outbox.options.send_timeout, state)

    def _start_closing(
        self, code: int, reason: str | None, timeout: float | None, state: State
    ) -> None:
        self._ended(code, reason, state)
        # A task, since the caller may be cancelled, and the client must be told anyway.
        tell = self._tell(code, reason, timeout)
        self._closing = self._loop.create_task(tell, context=Context())

    async def _tell(self, code: int, reason: str | None, timeout: float | None) -> None:
        message = {"type": "websocket.close", "code": code, "reason": reason or ""}
        try:
            async with asyncio.timeout(timeout) as limit:
                if self.accepted:
                    await self._put_close(message)
                else:
                    await self._connect()
                    await self._outbox.put_first(message)
        except Exception as error:
            if limit.expired():
                self.abort()
            elif not isinstance(error, RuntimeError | OSError) and not is_closed(
                self._outbox.send
            ):
                raise
            # Otherwise the client left at this moment, perhaps by violating the protocol;
            # uvicorn then raises an `AssertionError`.

    async def _put_close(self, message: Message) -> None:
        """Send the close as the last message. Daphne rejects the codes that RFC 6455 section
        7.4.1 has for servers; the connection must be closed anyway."""
        try:
            await self._outbox.put_last(message)
        except (RuntimeError, OSError):
            raise
        except Exception:
            code = message["code"]
            if not NORMAL < code < 3000:
                raise
            server = server_of(self._outbox.send) or "This server"
            tell_once(
                f"{server} does not send the close code {code}: the client gets {code + 3000}."
            )
            await self._outbox.put_last({**message, "code": code + 3000})

    def _gone(self, code: int, reason: str | None) -> None:
        """Handle a client that has left."""
        if self.close_code is None:
            self._ended(code, reason, ENDED)
            self._outbox.cancel()

    def _ended(self, code: int, reason: str | None, state: State) -> None:
        """Wake those who wait, and break reference cycles."""
        self._state, self.close_code, self.close_reason = state, code, reason or ""
        del self._accept_headers
        self._calls.clear()
        self._news.ring()
        self._start_watching()
        if self._look_later is not None:
            self._look_later.cancel()
            self._look_later = None
        if self._direct and self._reader is not None:
            reader, self._reader = self._reader, None
            reader.cancel()
        self._direct = False
        when_closed, self._when_closed = self._when_closed, []
        for func in when_closed:
            func()

    def _stalled(self, why: str) -> None:
        """Cut off a client that does not read, and drop its queued messages."""
        self._outbox.end()
        self._start_closing(TRY_AGAIN_LATER, why, CLOSE_SECONDS, ENDED)

    def abort(self) -> None:
        """Abort the connection, if possible, unless the client has received everything. ASGI
        has no message for that, and a server that closes waits for the client."""
        if self.flushed:
            return
        self._outbox.cancel()
        abort(self._outbox.send)

    def linger(self, done: Callable[[], object], before: int | None = None) -> None:
        """After the close, call *done* when the client has received everything. Abort if it
        stops reading."""
        timeout, unsent = self._outbox.options.send_timeout, unsent_bytes(self._outbox.send)
        if unsent and timeout is not None and before is not None and unsent >= before:
            self.abort()
            unsent = 0
        if unsent:
            self._loop.call_later(timeout or SEND_TIMEOUT, self.linger, done, unsent)
        else:
            done()

    @property
    def flushed(self) -> bool:
        """`True` if the client has received everything, as far as the server tells."""
        return not unsent_bytes(self._outbox.send) and (
            self._closing is None or self._closing.done()
        )

    def is_end_of_this(self, error: BaseException) -> bool:
        """Return `True` if *error* reports the end of this connection, not of another one."""
        return self.closed and isinstance(error, disconnect_type())

    def disconnect_error(self) -> WebSocketDisconnect:
        return disconnect_type()(self.close_code or ABNORMAL, self.close_reason)
