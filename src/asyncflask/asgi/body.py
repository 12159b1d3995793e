"""A request's body: received from its client, limited, kept in memory or in a file, and read by
sync and async code. `Body` is the only reader of a request's messages."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import Context
from typing import IO, Any, Final

from starlette.types import Message, Receive, Scope
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from .scope import ORIGIN
from .stalls import Wait
from .stepping import start_in
from .threads import Driver, on_loop
from .waiting import wait

SMALL_BODY_BYTES: Final = 65_536
"""A body announced with at most this size is received before any user function is called, so
that a slow client holds no thread and async hooks can read the body. Of larger ones, this much
is received before a thread is taken for the view. Servers buffer as much per connection anyway."""

SPOOL_BYTES: Final = 1_114_112
"""A body that is received ahead for async code is kept in memory up to this size, and in a
temporary file beyond it. So is an uploaded file. 1 MiB, plus 64 KiB for the form around it."""

WRITE_BYTES: Final = 256_000
"""How much is written to the file at a time: each write is a hop to a thread."""

READ_BYTES: Final = 65_536
"""How much of a body sync code reads at a time."""

READ_AHEAD_BYTES: Final = 256_000
"""How much of an unread body is buffered while waiting for a stream's client to leave."""

READ_AHEAD_SECONDS: Final = 0.1
MAX_READ_AHEAD_SECONDS: Final = 30.0
"""The first and the longest pause before more than that is read."""


class Body(Wait):
    """A request's body, as it arrives: an async iterable of `bytes`. Sync code reads it through
    `file`. Raises `ClientDisconnected` (400) if the client leaves before the end.

    *lines*: the headers by name, if none is repeated. *context*: the context to run *receive*
    in, since it may keep that (see `InContext`). Default: the current one.
    """

    error: Exception | None = None
    """The exception to raise when it is read."""

    left = False
    """`True` if the client is known to have left."""

    told = False
    """`True` if the limit was set."""

    taken = 0
    """The number of bytes read."""

    all_came = False
    """`True` if all of it has arrived."""

    arrived = 0
    """The number of bytes that have arrived."""

    spooled: IO[bytes] | None = None
    """The file for a body too large for memory."""

    refusal: Callable[[], Exception] | None = None
    """Returns the exception for code on the loop that reads what was deliberately not received."""

    wanted = 0
    ends_at_stop = True
    reproach = "sent too little of its body"

    _most_unread: int | None = None
    _over: Exception | None = None
    """The error, if it is the limit's."""

    _reader: io.BytesIO | io.BufferedReader | None = None
    _kept = False
    _limit: int | None = None
    _received: asyncio.Event | None = None
    _receiving = False
    _receiver: asyncio.Task[Any] | None = None
    _given_up: asyncio.Task[Any] | None = None
    """The task that was receiving when the body was given up."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        lines: Mapping[bytes, bytes] | None = None,
        context: Context | None = None,
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._context = context
        self.chunks: deque[bytes | memoryview] = deque()
        self.content_length, has_body = announced(scope, lines)
        self.complete = self.all_came = not has_body

    @property
    def closable(self) -> bool:
        """`True` if the response may close the connection (RFC 9112 section 9.6). HTTP/2 has no
        such header, and in WSGI it is up to the server."""
        http_1: bool = self.scope.get("http_version", "1.1") < "2"
        return http_1 and ORIGIN not in self.scope

    @property
    def pulls(self) -> bool:
        """`True` if the client requests each chunk of a stream, as WSGI servers and tests do."""
        return ORIGIN in self.scope

    # -- on the loop

    async def _message(self, wanted: bool = True) -> None:
        rest = self.begin(wanted)
        if rest is not None:
            await rest

    def begin(self, wanted: bool = True) -> Awaitable[None] | None:
        """Receive one message. If that has to wait for the client, return the rest, to await at
        once. *wanted*: `True` if the body is needed, not only news of the client."""
        if self._receiving:
            return self._received_by_another(wanted)
        context = self._context
        if context is None:
            return self.received_from(self._receive(), wanted)
        message, rest = start_in(context, self._receive)
        if rest is not None:
            return self.received_from(rest, wanted)
        self.take(message)
        return None

    async def _received_by_another(self, wanted: bool) -> None:
        if self._received is None:
            self._received = asyncio.Event()
        self.wanted += wanted
        try:
            await self._received.wait()
        finally:
            self.wanted -= wanted

    async def received_from(self, rest: Awaitable[Message], wanted: bool = True) -> None:
        """Receive the message that *rest* returns."""
        self._receiving = True
        self.wanted += wanted
        self._receiver = task = asyncio.current_task()
        if not self.complete:
            self.begin_wait()
        try:
            message = await rest
        except asyncio.CancelledError:
            given_up, self._given_up = self._given_up, None
            if task is None or given_up is not task or task.uncancel() > 0:
                raise
            return
        finally:
            self.end_wait()
            self.wanted -= wanted
            self._receiver = None
            self._receiving = False
            if self._received is not None:
                self._received.set()
                self._received = None
        self.take(message)

    def put(self, content: bytes) -> None:
        """Note that all of the body has arrived; *content* is still to be read."""
        self.take({"type": "http.request", "body": content})

    def take(self, message: Message) -> None:
        """Process a received message."""
        if message["type"] == "http.disconnect":
            self.left = True
            if not self.complete:
                self.refuse(ClientDisconnected())
            return
        if chunk := message.get("body", b""):
            self.arrived += len(chunk)
            self.chunks.append(chunk)
            if self._limit is not None:
                self._check(self._limit)
        if not message.get("more_body", False):
            self.complete = self.all_came = True

    async def fill(self) -> None:
        """Wait until there is something to read, or nothing more will arrive."""
        while not self.chunks and not self.complete:
            await self._message()

    def limit(self, size: int | None) -> None:
        """Reject more than *size* bytes: reading then raises `RequestEntityTooLarge` (413), at
        once if more are announced."""
        if self._over is not None and self.error is self._over and size != self._limit:
            self.error = self._over = None
            self.complete = self.all_came
        self.told = True
        self._limit = size
        if size is not None:
            self._check(size)

    def _check(self, limit: int) -> None:
        if max(self.content_length, self.arrived) > limit and self.error is None:
            self.exceeded(RequestEntityTooLarge())

    def exceeded(self, error: Exception) -> None:
        """`refuse`, until another limit is set."""
        self._over = error
        self.refuse(error)

    def refuse(self, error: Exception) -> None:
        """Stop receiving. Reading raises *error*."""
        self.error, self.complete = error, True

    def give_up(self, error: Exception) -> None:
        """`refuse`, and cancel receiving."""
        self.refuse(error)
        self._given_up = self._receiver
        if self._receiver is not None:
            self._receiver.cancel()

    def leave(self) -> None:
        """Treat the client as gone, though the server does not know it yet."""
        self.left = True
        self.give_up(ClientDisconnected())

    def moved(self) -> int:
        return self.arrived

    def timeout(self) -> float | None:
        """`None` for a body from a test or over WSGI, where the server waits on a thread."""
        return None if self.pulls else super().timeout()

    async def receive_ahead(self, size: int | None = None) -> None:
        """Receive the body now, so that sync reads need not wait, but stop after more than
        *size* bytes. Default: `SPOOL_BYTES`. See `spool`."""
        await self.receive_some(SPOOL_BYTES if size is None else size)
        if self.error is not None:
            raise self.error

    async def receive_some(self, size: int) -> None:
        """The same, but errors are only raised when the body is read."""
        while not self.complete and self.arrived <= size:
            await self._message()

    async def spool(
        self,
        driver: Driver,
        most: int | None = None,
        also: Callable[[bytes | memoryview], object] | None = None,
    ) -> None:
        """Receive the body into a temporary file: all of it, or a little more than *most*
        bytes. *also* is called with each piece, on a thread, which is not held between pieces."""
        while not self.complete and (most is None or self.arrived <= most):
            await driver.run_apart(self._write_out, also)
            await self.receive_ahead(self.arrived + WRITE_BYTES)
        if self.spooled is not None:
            await driver.run_apart(self._write_out, also)
            await driver.run_apart(self.spooled.seek, 0)

    async def keep(self, driver: Driver) -> None:
        """Receive the rest, to be read after the request has ended."""
        with suppress(HTTPException):
            await self.receive_ahead()
            await self.spool(driver)
        self._kept = True

    def _write_out(self, also: Callable[[bytes | memoryview], object] | None) -> None:
        if self.spooled is None:
            self.spooled = tempfile.TemporaryFile()
        while self.chunks:
            chunk = self.chunks.popleft()
            self.spooled.write(chunk)
            if also is not None:
                also(chunk)

    def next_chunk(self, size: int | None = None) -> bytes | memoryview:
        """Take the next chunk that has arrived, or *size* bytes of it; empty if there is none."""
        if not self.chunks:
            return b""
        chunk = self.chunks.popleft()
        if size is not None and len(chunk) > size:
            view = memoryview(chunk)
            self.chunks.appendleft(view[size:])
            chunk = view[:size]
        self.taken += len(chunk)
        return chunk

    async def gone_unread(self) -> None:
        """`gone`, while a response is sent. Keeps at most `SPOOL_BYTES` of the body and
        discards the rest; reading the body then raises an error."""
        self._most_unread = SPOOL_BYTES
        await self.gone()

    async def gone(self) -> None:
        """Wait until the client has left. What arrives of the body meanwhile is kept."""
        pause = READ_AHEAD_SECONDS
        while not self.left:
            if self.arrived - self.taken > READ_AHEAD_BYTES and not self.all_came:
                # Ever more slowly, but never stopping: a client whose body nobody reads may
                # leave.
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_READ_AHEAD_SECONDS)
            await self._message(wanted=False)
            most = self._most_unread
            if self.chunks and most is not None and self.arrived - self.taken > most:
                if self.error is None:
                    self.refuse(RequestEntityTooLarge())
                self.chunks.clear()

    async def as_receive(self) -> Message:
        """`receive` for an ASGI app that only sends a response: reports the client's
        disconnect."""
        await self.gone()
        return {"type": "http.disconnect"}

    async def is_disconnected(self) -> bool:
        """Return `True` if the client has left, without waiting. Only known once all of the
        body has been received."""
        if not self.left and self.complete:
            task = asyncio.ensure_future(self._message())
            await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        return self.left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.live = True  # holds no thread, and may be a feed that is mostly silent
        while True:
            await self.fill()
            if self.error is not None:
                raise self.error
            if not self.chunks:
                return
            yield bytes(self.next_chunk())

    # -- sync code

    def rewind(self) -> None:
        """Rewind the body on disk, so that it can be read again."""
        assert self.spooled is not None
        self.spooled.seek(0)
        self.taken = 0

    def take_all(self) -> bytes | None:
        """Return the rest of the body if it has arrived and is in memory; otherwise `None`."""
        if not self.complete or self.error is not None or self.spooled is not None:
            return None
        self.taken = self.arrived
        chunks = self.chunks
        if len(chunks) == 1:
            return bytes(chunks.popleft())
        content = b"".join(chunks)
        chunks.clear()
        return content

    def raw_file(self) -> io.BytesIO | BodyFile:
        """Return a file for sync code that reads much at a time."""
        content = self.take_all() if self.arrived <= READ_BYTES else None
        return BodyFile(self) if content is None else io.BytesIO(content)

    def file(self) -> io.BytesIO | io.BufferedReader:
        """Return the file for sync code. There is only one, since its buffer holds what was
        read."""
        reader = self._reader
        if reader is None:
            raw = self.raw_file()
            reader = io.BufferedReader(raw, READ_BYTES) if isinstance(raw, BodyFile) else raw
            self._reader = reader
        return reader

    def end(self) -> None:
        """Release all resources, at the end of the request."""
        if self._kept:
            return
        if self.spooled is not None:
            self.spooled.close()
        self._context = None
        self._receive = _closed  # breaks a possible cycle through the server's


class BodyFile(io.RawIOBase):
    """A body as a file for sync code, which waits for the loop if it reads more than has
    arrived. For async code, the async iterable."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    def readable(self) -> bool:
        return True

    def _ready(self) -> None:
        body = self._body
        if not body.chunks and not body.complete and body.error is None:
            if on_loop():
                if body.refusal is not None:
                    raise body.refusal()
                raise RuntimeError(
                    "The body of this request has not been received, and sync code on the"
                    " event loop cannot wait for it. With 'stream=True' on the route, write"
                    " 'async for chunk in request.stream'. An async hook after the view can"
                    " only read what was read before."
                )
            wait(body.fill())
        if body.error is not None:
            raise body.error

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """Read everything, or at most *size* bytes. A chunk that fits is not copied."""
        body = self._body
        if size is None or size < 0:
            return self.readall()
        if body.spooled is not None and body.error is None:
            data = body.spooled.read(size)
            body.taken += len(data)
            if data or body.complete:
                return data
        self._ready()
        return bytes(body.next_chunk(size))

    def readall(self) -> bytes:
        body = self._body
        parts: list[bytes | memoryview] = []
        if body.spooled is not None and body.error is None:
            content = body.spooled.read()
            body.taken += len(content)
            if body.complete and not body.chunks:
                return content
            parts.append(content)
        while True:
            self._ready()
            if not body.chunks:
                return b"".join(parts)
            while body.chunks:
                parts.append(body.next_chunk())

    def close(self) -> None:
        """Do nothing: the buffer around this file, as in a WSGI environ, closes it when it is
        dropped, while the request continues. See `Body.end`."""


async def _closed() -> Message:
    return {"type": "http.disconnect"}


def announced(scope: Scope, lines: Mapping[bytes, bytes] | None = None) -> tuple[int, bool]:
    """Return the length that the request announces (0 if none), and `True` if it may have a
    body."""
    if scope["type"] != "http":
        return 0, False
    if lines is None:
        lines = dict(reversed(scope["headers"]))  # of repeated headers, the first one counts
    value = lines.get(b"content-length")
    if value is not None:
        value = value.strip(b" \t")
        if value.isdigit() and len(value) < 20:
            length = int(value)
            return length, length > 0
        # Servers check it (RFC 9112 section 6.2). An invalid number limits nothing.
        return 0, True
    if b"transfer-encoding" in lines:
        return 0, True
    http_1 = scope.get("http_version", "1.1") < "2"
    return 0, not http_1 and scope["method"] not in ("GET", "HEAD")
